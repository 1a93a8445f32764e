"""The predictions of a split, as a plain .npz file, and test images to look at."""

import contextlib
import dataclasses
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from crack_utils.errors import MissingRun, ParameterError
from crack_utils.scoring import pick_examples, tolerance_maps
from crack_utils.store.files import reading, written_whole
from crack_utils.store.run import Run


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
    when the block ends without an error. Each map is a member of its own: ``seg_probs/00000``, ``masks/00000``, in the order of ``stems``.
    """
    stems: list[str] = []
    decision_probs: list[float] = []
    path = run_dir / "predictions" / f"{split}.npz"
    with written_whole(path) as scratch, zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:

        def write(name: str, array: np.ndarray) -> None:
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)

        def add(stem: str, seg_prob: np.ndarray, mask: np.ndarray, decision_prob: float) -> None:
            write(f"seg_probs/{len(stems):05d}", np.asarray(seg_prob, np.float32))
            write(f"masks/{len(stems):05d}", np.asarray(mask, bool))
            stems.append(stem)
            decision_probs.append(decision_prob)

        yield add
        write("stems", np.array(stems))
        write("decision_probs", np.array(decision_probs, np.float32))


def load_predictions(run_dir: Path, split: str, only: Collection[str] | None = None) -> Predictions:
    """Read the predictions of a split (val or test), or ``only`` those of some stems. Raise MissingRun if the run was not evaluated."""
    if split not in ("val", "test"):
        raise ParameterError(f"split {split!r} has no predictions; choose val or test")
    path = Path(run_dir) / "predictions" / f"{split}.npz"
    if not path.is_file():
        raise MissingRun(f"no predictions of {split} in {run_dir}; evaluate the run first")
    with reading(path), np.load(path, allow_pickle=False) as archive:
        stems = [str(stem) for stem in archive["stems"]]
        wanted = [i for i, stem in enumerate(stems) if only is None or stem in only]
        maps = ([archive[f"{kind}/{i:05d}"] for i in wanted] for kind in ("seg_probs", "masks"))
        return Predictions([stems[i] for i in wanted], *maps, archive["decision_probs"][wanted])


@dataclasses.dataclass(frozen=True)
class Example:
    """One test image to look at. Maps are (H, W); the image is (H, W) or (H, W, 3) uint8."""

    stem: str
    image: np.ndarray
    mask: np.ndarray
    seg_prob: np.ndarray
    decision_prob: float
    f1: float
    threshold: float  # of this image; infinite if the run empties the mask
    decided: bool

    @property
    def errors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hits, misses and false alarms at the run's threshold, as the 2-pixel figures count them."""
        return tolerance_maps(self.seg_prob, self.mask, self.threshold)


def load_examples(run: Run, kind: str, limit: int | None = None) -> list[Example]:
    """The examples of one kind (worst, median, best, crack-free), from the run's artifacts alone."""
    rows = pick_examples(run.per_image.load()).query("kind == @kind")[:limit]
    stored = load_predictions(run.folder, "test", set(rows.stem))
    decided_at, examples = run.metrics.load()["decision"]["threshold"], []
    for row in rows.itertuples():
        i = stored.stems.index(row.stem)
        maps, decided = (stored.masks[i], stored.seg_probs[i]), float(stored.decision_probs[i]) >= decided_at
        with Image.open(run.path(f"examples/{row.stem}.jpg")) as file:
            examples.append(Example(row.stem, np.asarray(file), *maps, row.decision_prob, row.f1, row.threshold, decided))
    return examples


def save_photo(run: Run, stem: str, image: np.ndarray) -> None:
    """Keep a test photo (H, W, C) uint8, to be shown beside its prediction."""
    with written_whole(run.path(f"examples/{stem}.jpg")) as scratch:
        Image.fromarray(image.squeeze()).save(scratch, format="JPEG", quality=92)
