"""The kinds of files in a run's folder. Each kind knows how to read and write its file."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import pandas as pd

from crack_utils.config import PARAMETER_DEFAULTS, RunParameters, parse_parameters
from crack_utils.store.files import reading, written_whole
from crack_utils.store.places import home

if TYPE_CHECKING:
    import torch

HISTORY_COLUMNS = ["epoch", "loss", "loss_segmentation", "loss_decision", "learning_rate", "time_s"]
VALIDATION_COLUMNS = ["val_precision", "val_recall", "val_f1", "val_seg_threshold", "val_decision_ap"]


@dataclasses.dataclass(frozen=True)
class RunFile:
    """One file of a run."""

    path: Path

    @property
    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.is_file()


Kind = TypeVar("Kind", bound=RunFile)


class Artifact(Generic[Kind]):
    """A line of :class:`crack_utils.store.Run`: the kind of a file and its name in the run's folder."""

    def __init__(self, kind: type[Kind], file_name: str):
        self.kind, self.file_name = kind, file_name

    def __get__(self, run: Any, owner: type) -> Kind:
        return self if run is None else self.kind(run.path(self.file_name))


class Json(RunFile):
    """A dictionary."""

    def save(self, values: dict[str, Any]) -> None:
        with written_whole(self.path) as scratch:
            scratch.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    def load(self) -> dict[str, Any]:
        with reading(self.path) as path:
            values = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict):
                raise ValueError("the file holds no names and values")
            return values


class Parameters(Json):
    """The run's parameters and the facts of its data."""

    def save(self, params: RunParameters, resolved: dict[str, Any], facts: dict[str, Any]) -> None:
        """Write the file.

        Args:
            params: the parameters as given, kept under ``given``.
            resolved: the values used instead of defaults such as "auto" and "the data set's own".
            facts: facts of the data, kept under ``data``; see :func:`crack_utils.data.data_facts`.
        """
        name = self.path.parent.relative_to(home() / "runs").as_posix()
        super().save({"run_name": name, **params.as_dict(), **resolved, "given": params.as_dict(), "data": facts})

    def load(self) -> RunParameters:
        """The parameters as they were given."""
        return parse_parameters(self.resolved()["given"])

    def resolved(self) -> dict[str, Any]:
        """The whole file. Parameters that a run of an earlier version lacks have their defaults."""
        values = super().load()
        with reading(self.path):
            if not {"given", "data"} <= set(values):
                raise ValueError("the file holds no parameters")
        return {**PARAMETER_DEFAULTS, **values}

    def facts(self) -> dict[str, Any]:
        """The facts of the data (see :func:`crack_utils.data.data_facts`)."""
        return self.resolved()["data"]


class Provenance(Json):
    """What training and evaluation were computed with. No step fails because of this file."""

    def load(self) -> dict[str, Any]:
        """The file, or an empty dictionary if the file is missing or damaged."""
        try:
            values = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}


class Table(RunFile):
    """A table, as .csv."""

    index: str | None = None  # the column that numbers the rows

    def save(self, frame: pd.DataFrame) -> None:
        with written_whole(self.path) as scratch:
            frame.to_csv(scratch, index=self.index is not None)

    def load(self) -> pd.DataFrame:
        with reading(self.path) as path:
            return pd.read_csv(path, index_col=self.index)


class History(Table):
    """Losses and validation by epoch, a row an epoch. Each loss term has a column ``loss_NAME``."""

    def save(self, rows: list[dict[str, float]]) -> None:
        known = [*HISTORY_COLUMNS, *VALIDATION_COLUMNS]
        more = [name for name in (rows[0] if rows else ()) if name not in known]
        super().save(pd.DataFrame(rows, columns=[*HISTORY_COLUMNS[:4], *more, *known[4:]]))


class PerImage(Table):
    """Scores of the test images, a row an image."""

    def load(self) -> pd.DataFrame:
        with reading(self.path) as path:
            # An image may be called NA. Only an empty cell is a missing value, such as a score of a crack-free image.
            frame = pd.read_csv(path, dtype={"stem": str, "photo": str}, keep_default_na=False, na_values={})
            numbers = frame.columns.difference(["stem", "photo", "has_crack"])
            return frame.assign(**{name: pd.to_numeric(frame[name].replace("", np.nan)) for name in numbers})


class Curves(Table):
    """Scores by threshold, of test and of the split that chose the thresholds (``val_...``)."""

    index = "threshold"


class Log(RunFile):
    """The training's log, continued by the evaluation."""

    def load(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def add(self, line: str) -> None:
        """Add a line and print the line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line, flush=True)


class Weights(RunFile):
    """A network's state dict. torch is imported only when weights are read or written."""

    def save(self, model: "torch.nn.Module") -> None:
        from safetensors.torch import save_file

        with written_whole(self.path) as scratch:
            save_file({key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}, scratch)

    def load_into(self, model: "torch.nn.Module") -> None:
        from safetensors.torch import load_file

        with reading(self.path) as path:
            model.load_state_dict(load_file(path))


class Checkpoint(RunFile):
    """The state of a training that has not finished."""

    def save(self, state: dict[str, Any]) -> None:
        import torch

        with written_whole(self.path) as scratch:
            torch.save(state, scratch)

    def load(self) -> dict[str, Any] | None:
        """The state, or None if there is no checkpoint."""
        if not self.exists:
            return None
        import torch

        with reading(self.path) as path:
            return torch.load(path, map_location="cpu", weights_only=True)
