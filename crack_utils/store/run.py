"""A run: a folder below ``runs/``, the files in this folder, its lock, and the epoch of its weights."""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from crack_utils.config import RunParameters, check_run_name, is_run_name
from crack_utils.errors import MissingRun
from crack_utils.store import files, formats

if TYPE_CHECKING:
    import torch


@dataclasses.dataclass(frozen=True)
class Run:
    """One run. ``run.metrics.load()`` reads metrics.json, ``run.metrics.save(values)`` writes the file.

    A name that no run can have raises a ParameterError.
    """

    name: str

    params = formats.Parameters("params.json")
    history = files.History("history.csv")
    log = files.Log("train.log")
    status = files.Json("status.json")
    checkpoint = files.Checkpoint("checkpoint.pt")  # only until the training finishes
    best = files.Weights("best.safetensors")  # earlier versions kept the best weights beside the checkpoint
    model = files.Weights("model.safetensors")  # this file says that the training has finished
    chosen = files.Json("chosen.json")
    per_image = files.PerImage("per_image.csv")
    curves = files.Table("curves.csv", index="threshold")  # scores of test and, as ``val_...``, of the split that chose the thresholds
    metrics = formats.Metrics("metrics.json")  # this file says that the evaluation has finished
    provenance = files.Provenance("provenance.json")

    def __post_init__(self):
        check_run_name(self.name)

    @property
    def folder(self) -> Path:
        """The run's folder. The folder may not exist yet."""
        return files.home() / "runs" / self.name

    def path(self, file_name: str) -> Path:
        """The path of a file in the run's folder. Raise MissingRun for a name that leaves the folder, as a damaged file may hold."""
        if Path(file_name).is_absolute() or ".." in Path(file_name).parts:
            raise MissingRun(f"run {self.name} names the file {file_name!r}, which is outside its folder; do not trust this run")
        return self.folder / file_name

    def notebook(self, name: str) -> Path:
        """The path of the executed copy of notebook ``name``."""
        return self.path(f"{name}.ipynb")

    @property
    def is_trained(self) -> bool:
        """Whether the training has finished."""
        return self.model.exists

    @property
    def is_evaluated(self) -> bool:
        """Whether the evaluation has finished."""
        return self.metrics.exists


class Unwritten(Run):
    """A run in a process that helps another process to train. This one reads and writes none of the run's files."""

    log = history = checkpoint = best = model = chosen = files.Nothing("")


def find_run(run_name: str | None) -> Run:
    """The run of this name, or the newest finished training. Raise MissingRun if there is no such finished training."""
    if run_name:
        run = Run(run_name)
        if not run.is_trained:
            state = "has not finished training" if run.folder.is_dir() else "does not exist"
            raise MissingRun(f"run {run_name} {state}; train the run first: papermill train.ipynb out.ipynb -p run_name {run_name}")
        return run
    found = sorted((files.home() / "runs").rglob("model.safetensors"), key=lambda path: path.stat().st_mtime)
    names = [path.parent.relative_to(files.home() / "runs").as_posix() for path in found if (path.parent / "params.json").is_file()]
    names = [name for name in names if is_run_name(name)]
    if not names:
        raise MissingRun("there is no finished training yet; train a run first: papermill train.ipynb out.ipynb")
    return Run(names[-1])


def finish_training(run: Run, model: "torch.nn.Module") -> None:
    """Write the final weights and remove the checkpoint, which only an unfinished training needs."""
    run.model.save(model)
    for file in (run.checkpoint, run.best):
        file.remove()


def forget_results(run: Run) -> None:
    """Remove the results of a training and an evaluation, before another training starts in the same folder."""
    names = [artifact.path for name, artifact in vars(Run).items() if isinstance(artifact, files.Artifact) and name != "status"]
    executed = ["train.ipynb", "evaluate.ipynb", "visualize.ipynb", "report.ipynb"]
    for name in [*names, *executed, "predictions/val.npz", "predictions/test.npz"]:
        run.path(name).unlink(missing_ok=True)
    shutil.rmtree(run.path("examples"), ignore_errors=True)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The epoch of the evaluated weights."""

    epoch: int  # 1, 2, ...
    by: str | None  # the split that chose the epoch; None if the run takes the last weights without a choice
    validation: dict[str, float]  # the history's ``val_...`` figures of this epoch; empty if the epoch was not validated


def chosen_epoch(params: RunParameters, row: Mapping[str, float]) -> Chosen:
    """The choice of the epoch that this row of the history describes."""
    validation = {name: float(value) for name, value in row.items() if name.startswith("val_") and not pd.isna(value)}
    return Chosen(int(row["epoch"]), params.choosing_split if params.chooses_checkpoint else None, validation)


def load_chosen(run: Run) -> Chosen | None:
    """The chosen epoch. None if the epoch is not known: runs of an earlier version that chose by ``both`` did not keep the epoch."""
    if run.chosen.exists:
        return Chosen(**run.chosen.load())
    params, history = run.params.load(), run.history.load()
    if not params.chooses_checkpoint:
        return chosen_epoch(params, history.iloc[-1])
    column = {"seg": "val_f1", "dec": "val_decision_ap"}.get(params.best_model_type)
    return chosen_epoch(params, history.loc[history[column].idxmax()]) if column else None
