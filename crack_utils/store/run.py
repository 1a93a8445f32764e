"""A run: a folder below ``runs/`` and the files in this folder."""

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from crack_utils.config import check_run_name, is_run_name
from crack_utils.errors import MissingRun
from crack_utils.store.artifacts import Artifact, Checkpoint, Curves, History, Json, Log, Parameters, PerImage, Provenance, Weights
from crack_utils.store.places import home

if TYPE_CHECKING:
    import torch


@dataclasses.dataclass(frozen=True)
class Run:
    """One run. ``run.metrics.load()`` reads metrics.json, ``run.metrics.save(values)`` writes the file.

    Raises:
        ParameterError: a run cannot have this name.
    """

    name: str

    params = Artifact(Parameters, "params.json")
    history = Artifact(History, "history.csv")
    log = Artifact(Log, "train.log")
    checkpoint = Artifact(Checkpoint, "checkpoint.pt")  # only until the training finishes, and so is the next file
    best = Artifact(Weights, "best.safetensors")
    model = Artifact(Weights, "model.safetensors")  # this file says that the training has finished
    chosen = Artifact(Json, "chosen.json")
    per_image = Artifact(PerImage, "per_image.csv")
    curves = Artifact(Curves, "curves.csv")
    metrics = Artifact(Json, "metrics.json")  # this file says that the evaluation has finished
    provenance = Artifact(Provenance, "provenance.json")

    def __post_init__(self):
        check_run_name(self.name)

    @property
    def folder(self) -> Path:
        """The run's folder. The folder may not exist yet."""
        return home() / "runs" / self.name

    def path(self, file_name: str) -> Path:
        """The path of a file in the run's folder."""
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


def finish_training(run: Run, model: "torch.nn.Module") -> None:
    """Write the final weights and remove the files that only an unfinished training needs."""
    run.model.save(model)
    for file in (run.checkpoint, run.best):
        file.path.unlink(missing_ok=True)


def forget_results(run: Run) -> None:
    """Remove the results of a training and an evaluation, before another training starts in the same folder."""
    names = [artifact.file_name for artifact in vars(Run).values() if isinstance(artifact, Artifact)]
    names += ["predictions/val.npz", "predictions/test.npz"]
    names += [f"{name}.ipynb" for name in ("train", "evaluate", "visualize", "report")]  # executed copies
    for name in names:
        run.path(name).unlink(missing_ok=True)
    shutil.rmtree(run.path("examples"), ignore_errors=True)


def find_run(run_name: str | None) -> Run:
    """The run of this name, or the newest finished training.

    Raises:
        MissingRun: there is no such finished training.
    """
    if run_name:
        run = Run(run_name)
        if not run.is_trained:
            state = "has not finished training" if run.folder.is_dir() else "does not exist"
            raise MissingRun(f"run {run_name} {state}; train the run first: papermill train.ipynb out.ipynb -p run_name {run_name}")
        return run
    found = sorted((home() / "runs").rglob("model.safetensors"), key=lambda path: path.stat().st_mtime)
    names = [path.parent.relative_to(home() / "runs").as_posix() for path in found if (path.parent / "params.json").is_file()]
    names = [name for name in names if is_run_name(name)]
    if not names:
        raise MissingRun("there is no finished training yet; train a run first: papermill train.ipynb out.ipynb")
    return Run(names[-1])
