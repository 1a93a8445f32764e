"""The files of runs: where they lie, how they are read and written, and their kinds."""

import contextlib
import dataclasses
import json
import os
import pickle
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import numpy as np
import pandas as pd
from safetensors import SafetensorError

from crack_utils.config import PARAMETER_DEFAULTS, RunParameters, check_run_name, parse_parameters
from crack_utils.errors import MissingRun

if TYPE_CHECKING:
    import torch

REPOSITORY = Path(__file__).resolve().parents[2]
HISTORY_COLUMNS = ["epoch", "loss", "loss_segmentation", "loss_decision"]  # then the columns of other loss terms
LATER_COLUMNS = ["learning_rate", "time_s", "val_precision", "val_recall", "val_f1", "val_seg_threshold", "val_decision_ap"]


def home() -> Path:
    """The folder with ``runs/``, ``report/`` and ``data/``: the repository, or the folder that CRACK_HOME names."""
    return Path(os.environ.get("CRACK_HOME") or REPOSITORY)


def sample_folder() -> Path:
    """The folder of the drawn sample."""
    return home() / "data" / "sample"


def report_dir(run_name: str) -> Path:
    """The folder of a run's pages."""
    return home() / "report" / check_run_name(run_name)


def report_index() -> Path:
    """The page that lists all runs."""
    return home() / "report" / "index.html"


def relative_url(target: Path, page: Path) -> str:
    """The address of a file in a link on a page."""
    return quote(Path(os.path.relpath(target, page.parent)).as_posix())


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A scratch path that becomes ``path`` when the block ends without an error: no reader ever meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    try:
        yield Path(scratch)
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    finally:
        Path(scratch).unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file."""
    with written_whole(path) as scratch:
        scratch.write_bytes(content)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Path]:
    """Turn the errors of a missing or damaged file into a MissingRun that names the file and the fix."""
    try:
        yield path
    except FileNotFoundError:
        raise MissingRun(f"{path} is missing; train the run first, then evaluate") from None
    except (ValueError, EOFError, RuntimeError, KeyError, SafetensorError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise MissingRun(f"{path} is damaged ({error}); remove {path.parent} and train again") from None


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A file of a run. In the lines of :class:`crack_utils.store.Run` the path is the name in the run's folder."""

    path: Path | str

    def __get__(self, run: Any, owner: type) -> Self:
        return self if run is None else dataclasses.replace(self, path=run.path(self.path))

    @property
    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.is_file()


class Json(Artifact):
    """A dictionary."""

    def save(self, values: dict[str, Any]) -> None:
        write_bytes(self.path, (json.dumps(values, indent=2) + "\n").encode())

    def load(self) -> dict[str, Any]:
        with reading(self.path) as path:
            values = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict):
                raise ValueError("the file holds no names and values")
            return values


class Parameters(Json):
    """The run's parameters and the facts of its data."""

    def save(self, params: RunParameters, resolved: dict[str, Any], facts: dict[str, Any]) -> None:
        """Write the file: ``params`` as given, the values used instead of defaults such as "auto" (``resolved``), and the data's facts."""
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
        with contextlib.suppress(MissingRun):
            return super().load()
        return {}


@dataclasses.dataclass(frozen=True)
class Table(Artifact):
    """A table, as .csv."""

    index: str | None = None  # the column that numbers the rows

    def save(self, frame: pd.DataFrame) -> None:
        with written_whole(self.path) as scratch:
            frame.to_csv(scratch, index=self.index is not None)

    def load(self) -> pd.DataFrame:
        with reading(self.path) as path:
            return pd.read_csv(path, index_col=self.index, float_precision="round_trip")


class History(Table):
    """Losses and validation by epoch, a row an epoch. Each loss term has a column ``loss_NAME``."""

    def save(self, rows: list[dict[str, float]]) -> None:
        more = [name for name in (rows[0] if rows else ()) if name not in HISTORY_COLUMNS + LATER_COLUMNS]
        super().save(pd.DataFrame(rows, columns=HISTORY_COLUMNS + more + LATER_COLUMNS))


class PerImage(Table):
    """Scores of the test images, a row an image."""

    def load(self) -> pd.DataFrame:
        with reading(self.path) as path:
            # An image may be called NA. Only an empty cell is a missing value, such as a score of a crack-free image.
            texts = {"stem": str, "photo": str}
            frame = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={}, float_precision="round_trip")
            numbers = frame.columns.difference(["stem", "photo", "has_crack"])
            return frame.assign(**{name: pd.to_numeric(frame[name].replace("", np.nan)) for name in numbers})


class Log(Artifact):
    """The training's log, continued by the evaluation."""

    def load(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def add(self, line: str) -> None:
        """Add a line and print the line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line, flush=True)


class Weights(Artifact):
    """A network's state dict. torch is imported only when weights are read or written."""

    def save(self, model: "torch.nn.Module") -> None:
        from safetensors.torch import save_file

        with written_whole(self.path) as scratch:
            save_file({key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}, scratch)

    def load_into(self, model: "torch.nn.Module") -> None:
        from safetensors.torch import load_file

        with reading(self.path) as path:
            model.load_state_dict(load_file(path))


class Checkpoint(Artifact):
    """The state of a training that has not finished."""

    def save(self, state: dict[str, Any]) -> None:
        import torch

        with written_whole(self.path) as scratch:
            torch.save(state, scratch)

    def load(self) -> dict[str, Any] | None:
        """The state, or None if there is no checkpoint."""
        import torch

        with reading(self.path) as path:
            return torch.load(path, map_location="cpu", weights_only=True) if self.exists else None
