"""A run's folder: the only place that knows its file names. Read and write, nothing else.

``runs/NAME/`` holds params.json, history.csv, train.log, model.safetensors (its presence says that training finished),
checkpoint.pt and best.safetensors (only until then), predictions/{val,test}.npz, per_image.csv, curves.csv, examples/, metrics.json
(its presence says that evaluation finished), provenance.json and the executed notebooks.
"""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from crack_utils.config.parameters import PARAMETER_DEFAULTS, RunParameters, parse_parameters
from crack_utils.config.run_names import check_run_name, is_run_name
from crack_utils.errors import MissingRun, UserError
from crack_utils.store.files import reading, written_whole
from crack_utils.store.places import home

try:
    import fcntl
except ImportError:
    fcntl = None

HISTORY_COLUMNS = ["epoch", "loss", "loss_segmentation", "loss_decision", "learning_rate", "time_s"]
VALIDATION_COLUMNS = ["val_precision", "val_recall", "val_f1", "val_seg_threshold", "val_decision_ap"]


@dataclasses.dataclass(frozen=True)
class Run:
    """One run's folder."""

    name: str

    def __post_init__(self):
        check_run_name(self.name)

    @property
    def folder(self) -> Path:
        return home() / "runs" / self.name

    def path(self, file_name: str) -> Path:
        return self.folder / file_name

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes out of the folder, where the system can.

        Raises:
            UserError: another process trains or evaluates this run.
        """
        if fcntl is None:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path(".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(f"run {self.name} is in the hands of another process; wait for it, or choose another run_name") from None
            yield

    @property
    def is_claimed(self) -> bool:
        """Whether another process trains or evaluates this run."""
        if not self.path(".lock").is_file():
            return False
        try:
            with self.claimed():
                return False
        except UserError:
            return True

    def notebook(self, name: str) -> Path:
        """Where the executed copy of notebook ``name`` is kept."""
        return self.path(f"{name}.ipynb")

    # --- parameters and data facts
    @property
    def has_params(self) -> bool:
        """Whether a training began here; a comparison's folder has none."""
        return self.path("params.json").is_file()

    def save_params(self, params: RunParameters, resolved: dict[str, Any], facts: dict[str, Any]) -> None:
        """Write params.json.

        Args:
            params: as given, kept under ``given``.
            resolved: values that replaced a default such as "auto" or "the data set's own".
            facts: what the data turned out to be, kept under ``data``.
        """
        values = {**params.as_dict(), **resolved}
        self._write_json("params.json", {"run_name": self.name, **values, "given": params.as_dict(), "data": facts})

    def load_params(self) -> RunParameters:
        """The parameters as they were given."""
        return parse_parameters(self.load_resolved()["given"])

    def load_resolved(self) -> dict[str, Any]:
        """All of params.json."""
        values = self._read_json("params.json")
        with reading(self.path("params.json")):
            if not {"given", "data"} <= set(values):
                raise ValueError("it holds no parameters")
        return {**PARAMETER_DEFAULTS, **values}  # a run of an earlier version lacks what came later

    def load_facts(self) -> dict[str, Any]:
        return self.load_resolved()["data"]

    def save_provenance(self, values: dict[str, Any]) -> None:
        """Write provenance.json: what training and evaluation were computed with."""
        self._write_json("provenance.json", values)

    def load_provenance(self) -> dict[str, Any]:
        """All of provenance.json; nothing where an earlier version wrote none, or it is damaged: no run fails for it."""
        try:
            values = json.loads(self.path("provenance.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    # --- training
    @property
    def is_trained(self) -> bool:
        return self.path("model.safetensors").is_file()

    def save_history(self, rows: list[dict[str, float]]) -> None:
        with written_whole(self.path("history.csv")) as scratch:
            pd.DataFrame(rows, columns=HISTORY_COLUMNS + VALIDATION_COLUMNS).to_csv(scratch, index=False)

    def load_history(self) -> pd.DataFrame:
        with reading(self.path("history.csv")) as path:
            return pd.read_csv(path)

    def load_log(self) -> str:
        """The training's log, continued by the evaluation."""
        return self.path("train.log").read_text(encoding="utf-8")

    def log(self, line: str) -> None:
        """Add a line to train.log and print it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path("train.log").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line, flush=True)

    def save_best(self, model: torch.nn.Module) -> None:
        self._save_weights("best.safetensors", model)

    def save_model(self, model: torch.nn.Module) -> None:
        """Write the final weights, which says that training finished, and drop what only an unfinished one needs."""
        self._save_weights("model.safetensors", model)
        for name in ("checkpoint.pt", "best.safetensors"):
            self.path(name).unlink(missing_ok=True)

    def load_best(self, model: torch.nn.Module) -> None:
        self._load_weights("best.safetensors", model)

    def load_model(self, model: torch.nn.Module) -> None:
        self._load_weights("model.safetensors", model)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        with written_whole(self.path("checkpoint.pt")) as scratch:
            torch.save(state, scratch)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The state after the last validated epoch of a training that did not finish, or after the batch it was stopped at."""
        if not self.path("checkpoint.pt").is_file():
            return None
        with reading(self.path("checkpoint.pt")) as path:
            return torch.load(path, map_location="cpu", weights_only=True)

    # --- evaluation
    @property
    def is_evaluated(self) -> bool:
        return self.path("metrics.json").is_file()

    def save_metrics(self, metrics: dict[str, Any]) -> None:
        self._write_json("metrics.json", metrics)

    def load_metrics(self) -> dict[str, Any]:
        return self._read_json("metrics.json")

    def save_per_image(self, frame: pd.DataFrame) -> None:
        with written_whole(self.path("per_image.csv")) as scratch:
            frame.to_csv(scratch, index=False)

    def load_per_image(self) -> pd.DataFrame:
        with reading(self.path("per_image.csv")) as path:
            # An image may well be called NA; empty is what has no value, such as the scores of a crack-free image.
            frame = pd.read_csv(path, dtype={"stem": str, "photo": str}, keep_default_na=False, na_values={})
            numbers = frame.columns.difference(["stem", "photo", "has_crack"])
            return frame.assign(**{name: pd.to_numeric(frame[name].replace("", np.nan)) for name in numbers})

    def save_curves(self, frame: pd.DataFrame) -> None:
        """Write curves.csv: scores of val (of what chose the thresholds) and of test, by threshold."""
        with written_whole(self.path("curves.csv")) as scratch:
            frame.to_csv(scratch)

    def load_curves(self) -> pd.DataFrame:
        with reading(self.path("curves.csv")) as path:
            return pd.read_csv(path, index_col="threshold")

    def save_photo(self, stem: str, image: np.ndarray) -> None:
        """Keep a test photo (H, W, C) uint8 to be shown beside its prediction."""
        with written_whole(self.path(f"examples/{stem}.jpg")) as scratch:
            Image.fromarray(image.squeeze()).save(scratch, format="JPEG", quality=92)

    def load_photo(self, stem: str) -> np.ndarray:
        with Image.open(self.path(f"examples/{stem}.jpg")) as file:
            return np.asarray(file)

    def forget_results(self) -> None:
        """Remove what a training and an evaluation left, before another one starts in the same folder."""
        names = ("params.json", "history.csv", "train.log", "model.safetensors", "checkpoint.pt", "best.safetensors")
        names += ("predictions/val.npz", "predictions/test.npz", "per_image.csv", "curves.csv", "metrics.json", "provenance.json")
        names += ("train.ipynb", "evaluate.ipynb", "visualize.ipynb", "report.ipynb")  # their executed copies
        for name in names:
            self.path(name).unlink(missing_ok=True)
        shutil.rmtree(self.path("examples"), ignore_errors=True)

    # --- helpers
    def _save_weights(self, name: str, model: torch.nn.Module) -> None:
        with written_whole(self.path(name)) as scratch:
            save_file({key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}, scratch)

    def _load_weights(self, name: str, model: torch.nn.Module) -> None:
        with reading(self.path(name)) as path:
            model.load_state_dict(load_file(path))

    def _write_json(self, name: str, values: dict[str, Any]) -> None:
        with written_whole(self.path(name)) as scratch:
            scratch.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    def _read_json(self, name: str) -> dict[str, Any]:
        if not self.path(name).is_file():
            raise MissingRun(f"run {self.name} has no {name} in {self.folder}; train it first, then evaluate")
        with reading(self.path(name)) as path:
            return json.loads(path.read_text(encoding="utf-8"))


def find_run(run_name: str | None) -> Run:
    """The run of that name, or the newest finished training.

    Raises:
        MissingRun: there is none; train comes first.
    """
    if run_name:
        run = Run(run_name)
        if not run.is_trained:
            state = "has not finished training" if run.folder.is_dir() else "does not exist"
            raise MissingRun(f"run {run_name} {state}; train comes first: papermill train.ipynb out.ipynb -p run_name {run_name}")
        return run
    found = sorted((home() / "runs").rglob("model.safetensors"), key=lambda path: path.stat().st_mtime)
    names = [path.parent.relative_to(home() / "runs").as_posix() for path in found if (path.parent / "params.json").is_file()]
    names = [name for name in names if is_run_name(name)]
    if not names:
        raise MissingRun("there is no finished training yet; train comes first: papermill train.ipynb out.ipynb")
    return Run(names[-1])
