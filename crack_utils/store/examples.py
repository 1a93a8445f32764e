"""Test images to look at, from a run's artifacts."""

import dataclasses

import numpy as np
from PIL import Image

from crack_utils.scoring import pick_examples, tolerance_maps
from crack_utils.store.files import written_whole
from crack_utils.store.predictions import load_predictions
from crack_utils.store.run import Run


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
    numbers = {stem: i for i, stem in enumerate(stored.stems)}
    decision_threshold = run.metrics.load()["decision"]["threshold"]
    return [
        Example(
            stem=row.stem,
            image=load_photo(run, row.stem),
            mask=stored.masks[i],
            seg_prob=stored.seg_probs[i],
            decision_prob=row.decision_prob,
            f1=row.f1,
            threshold=row.threshold,
            decided=float(stored.decision_probs[i]) >= decision_threshold,
        )
        for row in rows.itertuples()
        for i in [numbers[row.stem]]
    ]


def save_photo(run: Run, stem: str, image: np.ndarray) -> None:
    """Keep a test photo (H, W, C) uint8, to be shown beside its prediction."""
    with written_whole(run.path(f"examples/{stem}.jpg")) as scratch:
        Image.fromarray(image.squeeze()).save(scratch, format="JPEG", quality=92)


def load_photo(run: Run, stem: str) -> np.ndarray:
    """A test photo that :func:`save_photo` kept, (H, W) or (H, W, 3) uint8."""
    with Image.open(run.path(f"examples/{stem}.jpg")) as file:
        return np.asarray(file)
