"""Pixels by probability."""

from functools import lru_cache

import numpy as np

from crack_utils.scoring.arrays import _image, check_probabilities

CELL_BITS = 14  # of a float32, which probabilities in one cell may differ in: 512 cells from a power of two to the next
CELLS = 2 * ((int(np.float32(0.5).view(np.uint32)) >> CELL_BITS) + 1)  # by the probability below 0.5, mirrored above


def probability_histogram(prob: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Pixels by probability, off and on the crack. Sums over images pool them.

    Cells are the finer the nearer to 0 or 1, where a network that is sure of itself has most pixels: 512 from each power of two to
    the next, and mirrored above 0.5.

    Args:
        prob: (H, W) probabilities in [0, 1].
        mask: (H, W) bool.

    Returns:
        (2, CELLS) int64.
    """
    prob, mask = _image(prob, mask)
    check_probabilities(prob)
    prob = np.abs(prob.astype(np.float32))  # no -0.0
    is_upper = prob >= 0.5
    cell = (np.where(is_upper, 1 - prob, prob).view(np.uint32) >> CELL_BITS).astype(np.int64)
    cell = np.where(is_upper, CELLS - 1 - cell, cell)
    return np.bincount((cell + CELLS * mask).ravel(), minlength=2 * CELLS).reshape(2, CELLS)


@lru_cache(maxsize=1)
def _cell_middles() -> np.ndarray:
    """The probability in the middle of each cell, (CELLS,)."""
    edges = (np.arange(CELLS // 2 + 1, dtype=np.uint32) << CELL_BITS).view(np.float32).astype(np.float64)
    lower = np.minimum((edges[:-1] + edges[1:]) / 2, 0.5)
    return np.concatenate([lower, 1 - lower[::-1]])


def binned_average_precision(histogram: np.ndarray) -> float:
    """Average precision of pixels, for which those of one cell count as equal: right to about three digits.

    Args:
        histogram: (2, CELLS) of :func:`probability_histogram`.

    Raises:
        ValueError: there is no crack pixel.
    """
    if not histogram[1].any():
        raise ValueError("no crack pixel to judge by")
    false, true = histogram[:, ::-1].cumsum(axis=1, dtype=np.float64)
    precision = np.divide(true, true + false, out=np.zeros_like(true), where=true + false > 0)
    return float(np.sum(precision * np.diff(true, prepend=0)) / true[-1])


def calibration(histogram: np.ndarray, bins: int = 16) -> dict[str, np.ndarray | float]:
    """How far probabilities are shares, from :func:`probability_histogram`.

    Args:
        histogram: (2, CELLS).
        bins: of equal width.

    Returns:
        By bin ``confidence`` (mean probability), ``share`` (of crack among its pixels) and ``pixels``, and ``ece``, the expected
        calibration error: the mean over pixels of how far the two lie apart (Guo et al. 2017; here of the class crack alone).
        Probabilities are known to 1 / 4096.

    Raises:
        ValueError: there is no pixel.
    """
    if not histogram.any():
        raise ValueError("no pixel to judge by")
    middle = _cell_middles()
    at = np.minimum((middle * bins).astype(int), bins - 1)
    counts = np.stack([np.bincount(at, weights=row, minlength=bins) for row in histogram])
    pixels = counts.sum(axis=0)
    total = np.bincount(at, weights=histogram.sum(axis=0) * middle, minlength=bins)
    filled = pixels > 0
    confidence = np.divide(total, pixels, out=np.full(bins, np.nan), where=filled)
    share = np.divide(counts[1], pixels, out=np.full(bins, np.nan), where=filled)
    ece = float(np.sum(pixels[filled] * np.abs(share - confidence)[filled]) / pixels.sum())
    return {"confidence": confidence, "share": share, "pixels": pixels.astype(int), "ece": ece}
