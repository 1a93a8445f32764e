"""A split's predictions, as a plain .npz file."""

import contextlib
import dataclasses
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np

from crack_utils.errors import MissingRun, ParameterError
from crack_utils.store.files import reading, written_whole


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Stored predictions of one split. Each map has its crop's own size."""

    stems: list[str]
    seg_probs: list[np.ndarray]  # (H, W) float32
    masks: list[np.ndarray]  # (H, W) bool
    decision_probs: np.ndarray  # (N,) float32

    @property
    def has_crack(self) -> np.ndarray:
        """(N,) bool"""
        return np.array([mask.any() for mask in self.masks], bool)


@contextlib.contextmanager
def write_predictions(run_dir: Path, split: str) -> Iterator[Callable[[str, np.ndarray, np.ndarray, float], None]]:
    """Write predictions image by image, so that memory does not grow with the split.

    The block gets a function that takes an image's stem, ``seg_prob`` (H, W), ``mask`` (H, W) and ``decision_prob``. The file appears
    when the block ends without an error. Each map is a member of the file: ``seg_probs/00000`` and ``masks/00000``, in the order of
    ``stems``.
    """
    stems: list[str] = []
    decision_probs: list[float] = []
    with (
        written_whole(_path(run_dir, split)) as scratch,
        zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):

        def write(name: str, array: np.ndarray) -> None:
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)

        def add(stem: str, seg_prob: np.ndarray, mask: np.ndarray, decision_prob: float) -> None:
            number = f"{len(stems):05d}"
            write(f"seg_probs/{number}", np.asarray(seg_prob, np.float32))
            write(f"masks/{number}", np.asarray(mask, bool))
            stems.append(stem)
            decision_probs.append(decision_prob)

        yield add
        write("stems", np.array(stems))
        write("decision_probs", np.array(decision_probs, np.float32))


def load_predictions(run_dir: Path, split: str, only: Collection[str] | None = None) -> Predictions:
    """Read a split's predictions.

    Args:
        run_dir: the run's folder, such as ``runs/sample``.
        split: val or test.
        only: load these stems only.

    Raises:
        MissingRun: the run was not evaluated.
    """
    path = _path(run_dir, split)
    if not path.is_file():
        raise MissingRun(f"no predictions of {split} in {run_dir}; evaluate the run first")
    with reading(path), np.load(path, allow_pickle=False) as archive:
        stems = [str(stem) for stem in archive["stems"]]
        wanted = [i for i, stem in enumerate(stems) if only is None or stem in only]
        return Predictions(
            stems=[stems[i] for i in wanted],
            seg_probs=[archive[f"seg_probs/{i:05d}"] for i in wanted],
            masks=[archive[f"masks/{i:05d}"] for i in wanted],
            decision_probs=archive["decision_probs"][wanted],
        )


def _path(run_dir: Path, split: str) -> Path:
    if split not in ("val", "test"):
        raise ParameterError(f"split {split!r} has no predictions; choose val or test")
    return Path(run_dir) / "predictions" / f"{split}.npz"
