"""The files of runs: where they lie, how they are read and written, and their kinds."""

import contextlib
import dataclasses
import datetime
import io
import json
import os
import pickle
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import numpy as np
import pandas as pd
from safetensors import SafetensorError

from crack_utils.config import check_run_name, write_bytes, writing, written_whole
from crack_utils.errors import MissingRun

if TYPE_CHECKING:
    import torch

    from crack_utils.data import Cache

REPOSITORY = Path(__file__).resolve().parents[2]  # of an installed package: a folder that holds nothing of this project
SHIPPED = next(folder for folder in (REPOSITORY / "crack_utils" / "shipped", REPOSITORY) if folder.is_dir())  # of notebooks and runs/
STATE = ("model", "optimizer", "history", "best", "images", "difficulty", "uses")  # every checkpoint has these
FORMAT = 2  # of params.json, metrics.json and the checkpoint; a change of their content raises this number
# Before version 3.1, pandas loses the last bit of a number unless it is told not to.
EXACT = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
HISTORY_COLUMNS = ["epoch", "loss", "loss_segmentation", "loss_decision"]  # then the columns of other loss terms
LATER_COLUMNS = ["learning_rate", "time_s", "val_precision", "val_recall", "val_f1", "val_seg_threshold", "val_decision_ap"]


def home() -> Path:
    """The folder with ``runs/``, ``report/`` and ``data/``: the folder that CRACK_HOME names, or the repository.

    For a package that is installed without the repository: the current folder.
    """
    return Path(os.environ.get("CRACK_HOME") or (REPOSITORY if SHIPPED == REPOSITORY else Path.cwd()))


def sample_folder() -> Path:
    """The folder of the drawn sample."""
    return home() / "data" / "sample"


def image_cache() -> "Cache | None":
    """The cache of decoded images: in the folder that CRACK_CACHE names, or in ``data/cache/``; None if CRACK_CACHE is ``off``."""
    from crack_utils.data import Cache  # needs what decodes images, which showing a run does not

    folder = os.environ.get("CRACK_CACHE") or home() / "data" / "cache"
    return None if folder == "off" else Cache(Path(folder).expanduser().absolute())


def report_dir(run_name: str) -> Path:
    """The folder of a run's pages."""
    return home() / "report" / check_run_name(run_name)


def report_index() -> Path:
    """The page that lists all runs."""
    return home() / "report" / "index.html"


def relative_url(target: Path, page: Path) -> str:
    """The address of a file in a link on a page."""
    return quote(Path(os.path.relpath(target, page.parent)).as_posix())


def timestamp() -> str:
    """The time now, in UTC."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self.path.unlink(missing_ok=True)


class Nothing(Artifact):
    """Stands for a file that another process reads and writes."""

    exists = True

    def load(self) -> None:
        pass

    def _drop(self, content: Any = None) -> None:
        pass

    add = save = load_into = remove = _drop


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


def check_format(path: Path, values: dict[str, Any], keys: Collection[str], step: str) -> None:
    """Raise MissingRun for a file of a later version, and for a file of an earlier version that lacks one of the keys.

    Earlier versions wrote no format. ``step`` is the command that makes the file again.
    """
    if values.get("format", 1) > FORMAT:
        raise MissingRun(f"{path} has format {values['format']}, and this version reads formats up to {FORMAT}; update the program")
    lacking = [key for key in keys if key not in values.get("data", values)] if "format" not in values else []
    if lacking:
        raise MissingRun(f"{path} is of an earlier version and lacks {', '.join(lacking)}; remove the file and {step} the run again")


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
            return pd.read_csv(path, index_col=self.index, **EXACT)


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
            frame = pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={}, **EXACT)
            numbers = frame.columns.difference(["stem", "photo", "has_crack"])
            return frame.assign(**{name: pd.to_numeric(frame[name].replace("", np.nan)) for name in numbers})


class Log(Artifact):
    """The training's log, continued by the evaluation."""

    def load(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def add(self, line: str) -> None:
        """Add a line and print the line."""
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        print(line, flush=True)


class Weights(Artifact):
    """A network's state dict. torch is imported only when weights are read or written."""

    def save(self, model: "torch.nn.Module") -> None:
        from safetensors.torch import save

        # Written by Python: an error of safetensors does not tell a full disk from a damaged file.
        write_bytes(self.path, save({key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}))

    def load_into(self, model: "torch.nn.Module") -> None:
        from safetensors.torch import load_file

        with reading(self.path) as path:
            model.load_state_dict(load_file(path))


class Checkpoint(Artifact):
    """The state of a training that has not finished."""

    def save(self, state: dict[str, Any]) -> None:
        import torch

        file = io.BytesIO()  # torch's own writer turns the error of a full disk into one of its own
        torch.save({"format": FORMAT, **state}, file)
        write_bytes(self.path, file.getbuffer())

    def load(self) -> dict[str, Any] | None:
        """The state, or None if there is no checkpoint."""
        import torch

        if not self.exists:
            return None
        with reading(self.path) as path:
            state = torch.load(path, map_location="cpu", weights_only=True)
        check_format(self.path, state, STATE, "train")
        return state
