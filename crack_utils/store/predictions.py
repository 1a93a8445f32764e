"""A split's predictions."""

import contextlib
import dataclasses
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from crack_utils.errors import MissingRun, ParameterError
from crack_utils.store.files import reading, written_whole


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Stored predictions of one split, each map at its crop's own size."""

    stems: list[str]
    seg_probs: list[np.ndarray]  # (H, W) float32
    masks: list[np.ndarray]  # (H, W) bool
    decision_probs: np.ndarray  # (N,) float32

    @property
    def has_crack(self) -> np.ndarray:
        """(N,) bool"""
        return np.array([mask.any() for mask in self.masks], bool)


class PredictionWriter:
    """Write predictions image by image, so that memory does not grow with the split. A plain .npz comes out.

    Each map is a member of its own: ``seg_probs/00000`` and ``masks/00000`` in the order of ``stems``.
    """

    def __init__(self, archive: zipfile.ZipFile):
        self._archive = archive
        self._stems: list[str] = []
        self._decision_probs: list[float] = []

    def add(self, stem: str, seg_prob: np.ndarray, mask: np.ndarray, decision_prob: float) -> None:
        number = f"{len(self._stems):05d}"
        self._write(f"seg_probs/{number}", np.asarray(seg_prob, np.float32))
        self._write(f"masks/{number}", np.asarray(mask, bool))
        self._stems.append(stem)
        self._decision_probs.append(decision_prob)

    def close(self) -> None:
        self._write("stems", np.array(self._stems))
        self._write("decision_probs", np.array(self._decision_probs, np.float32))

    def _write(self, name: str, array: np.ndarray) -> None:
        with self._archive.open(f"{name}.npy", "w") as file:
            np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


@contextlib.contextmanager
def write_predictions(run_dir: Path, split: str) -> Iterator[PredictionWriter]:
    """Open a split's predictions for writing; they appear when the block ends well."""
    with (
        written_whole(_predictions_path(run_dir, split)) as scratch,
        zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        writer = PredictionWriter(archive)
        yield writer
        writer.close()


def load_predictions(run_dir: Path, split: str, only: Collection[str] | None = None) -> Predictions:
    """Read a split's predictions.

    Args:
        run_dir: the run's folder, such as ``runs/sample``.
        split: val or test.
        only: load no other stems than these.

    Raises:
        MissingRun: the run was not evaluated.
    """
    path = _predictions_path(run_dir, split)
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


def _predictions_path(run_dir: Path, split: str) -> Path:
    if split not in ("val", "test"):
        raise ParameterError(f"split {split!r} has no predictions; choose val or test")
    return Path(run_dir) / "predictions" / f"{split}.npz"
