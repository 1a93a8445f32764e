"""Pixels counted by their probability: average precision and calibration."""

from functools import lru_cache

import numpy as np

from crack_utils.scoring.arrays import as_image, check_probabilities

CELL_BITS = 14  # the last bits of a float32, which a cell ignores: 512 cells from each power of two to the next
CELLS = 2 * ((int(np.float32(0.5).view(np.uint32)) >> CELL_BITS) + 1)  # one half of the cells below 0.5, their mirror image above


def probability_histogram(prob: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Count pixels by probability, off and on the crack. The sum over images pools their pixels.

    Cells are finest near 0 and 1, where most pixels of a confident network lie: 512 cells from each power of two to the next, mirrored
    above 0.5. Takes (H, W) probabilities in [0, 1] and (H, W) bool; returns (2, CELLS) int64.
    """
    prob, mask = as_image(prob, mask)
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
    """Average precision of pixels from :func:`probability_histogram`, right to about three digits: pixels of one cell count as equal.

    Raise ValueError if there is no crack pixel.
    """
    if not histogram[1].any():
        raise ValueError("there is no crack pixel, so there is no average precision")
    false, true = histogram[:, ::-1].cumsum(axis=1, dtype=np.float64)
    precision = np.divide(true, true + false, out=np.zeros_like(true), where=true + false > 0)
    return float(np.sum(precision * np.diff(true, prepend=0)) / true[-1])


def calibration(histogram: np.ndarray, bins: int = 16) -> dict[str, np.ndarray | float]:
    """Compare the probabilities of pixels with the shares of crack among them, from :func:`probability_histogram`, in bins of equal width.

    Returns:
        For each bin ``confidence`` (mean probability), ``share`` (of crack among the bin's pixels) and ``pixels`` (their number). And
        ``ece``, the expected calibration error: the mean over pixels of the distance between share and confidence (Guo et al. 2017;
        here of the class crack alone). The histogram keeps probabilities to within 1 / 4096.

    Raises:
        ValueError: there is no pixel.
    """
    if not histogram.any():
        raise ValueError("there is no pixel, so there is no calibration")
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
