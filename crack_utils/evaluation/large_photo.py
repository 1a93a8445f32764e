"""What a run predicts of a photo that is too large to hold in memory: masks of one bit a pixel."""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from crack_utils.scoring import geometry_by_windows

BAND = 256  # rows that are unpacked at a time


@dataclasses.dataclass(frozen=True)
class LargePrediction:
    """What a run predicts of one large photo. The fields are those of :class:`crack_utils.evaluation.PhotoPrediction`."""

    size: tuple[int, int]  # (height, width)
    packed: np.ndarray  # (H, W / 8) uint8, the mask with one bit a pixel
    decision_prob: float
    decided: bool
    threshold: float
    decision_threshold: float
    decision_trained: bool

    def mask_rows(self, top: int, bottom: int) -> np.ndarray:
        """The rows of the mask from ``top`` to before ``bottom``, (bottom - top, W) bool."""
        return np.unpackbits(self.packed[top:bottom], axis=1, count=self.size[1]).view(bool)

    def bands(self, rows: int = BAND) -> Iterator[tuple[int, int]]:
        """The first row and the row after the last of each group of rows."""
        return ((top, min(top + rows, self.size[0])) for top in range(0, self.size[0], rows))

    @functools.cached_property
    def crack_share(self) -> float:
        """The share of the photo's pixels that are crack."""
        n_crack = sum(int(np.bitwise_count(self.packed[top:bottom]).sum()) for top, bottom in self.bands())
        return n_crack / (self.size[0] * self.size[1])

    @functools.cached_property
    def geometry(self) -> dict[str, float]:
        """Length, width and density of the mask (see :func:`crack_utils.scoring.geometry_by_windows`)."""
        return geometry_by_windows(self.mask_rows, self.size)
