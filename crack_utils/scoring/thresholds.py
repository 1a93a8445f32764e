"""How many thresholds each probability exceeds."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from crack_utils.scoring.arrays import as_array, ascending, check_probabilities

if TYPE_CHECKING:
    import torch

SEG_THRESHOLDS = np.arange(0.1, 1, 0.005)  # the 180 values of the record
CHUNK = 2**17  # pixels looked up at a time: the intermediate arrays stay in the processor's cache
TABLE_CELLS = (2**12, 2**16)  # numbers of equal cells of [0, 1]; the first that gives each threshold a cell of its own is used


def in_single(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 not above each float64 threshold. A float32 exceeds the one exactly where it exceeds the other."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded.astype(np.float64) > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)


@lru_cache(maxsize=8)
def _tables(thresholds: tuple[float, ...], single: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """For each cell of [0, 1] and one cell above: how many thresholds lie below the cell, and the threshold inside it (else infinity).

    None where two thresholds share a cell of the finest table.
    """
    values = in_single(np.array(thresholds)) if single else np.array(thresholds)
    inside = np.flatnonzero((values >= 0) & (values < 1))
    if len(values) >= 2**16:  # more than the table's integers count
        return None
    for cells in TABLE_CELLS:
        cell = (values[inside] * cells).astype(int)
        if len(set(cell)) == len(cell):
            below = np.searchsorted(values, np.arange(cells + 1) / cells, side="left")
            edge = np.full(cells + 1, np.inf, values.dtype)
            edge[cell] = values[inside]
            return below.astype(np.uint16), edge
    return None


def exceeded(prob: Any, thresholds: np.ndarray) -> np.ndarray:
    """Count exactly how many of T ascending thresholds each probability exceeds, compared in float64.

    Takes an array or a tensor in [0, 1] of any shape; returns small integers of the same shape, 0 to T.
    """
    prob, thresholds = as_array(prob), ascending(thresholds)
    prob = prob if prob.dtype == np.float32 else prob.astype(np.float64)
    check_probabilities(prob)
    return _look_up(prob, thresholds)


def _look_up(prob: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    tables = _tables(tuple(thresholds.tolist()), prob.dtype == np.float32)
    if tables is None:
        return np.searchsorted(thresholds, np.asarray(prob, np.float64), side="left")
    below, edge = tables
    cell = (prob * prob.dtype.type(len(below) - 1)).astype(np.intp)  # a power of two: exact
    return below.take(cell, mode="clip") + (prob > edge.take(cell, mode="clip"))


def count_above(prob: np.ndarray, kind: np.ndarray, kinds: int, thresholds: np.ndarray) -> np.ndarray:
    """Count the pixels of each kind that exceed each threshold.

    Takes (H, W) probabilities in [0, 1], float32 or float64; (H, W) kinds, 0 to ``kinds`` - 1; ascending thresholds (T,) float64. Returns
    (kinds, T + 1) int64: all pixels of the kind, then those above threshold 0, 1, ...
    """
    check_probabilities(prob)
    size = len(thresholds) + 1
    is_small = kinds * size < 2**16
    histogram = np.zeros(kinds * size, np.int64)
    prob, kind = prob.ravel(), kind.ravel()
    for start in range(0, prob.size, CHUNK):
        level = _look_up(prob[start : start + CHUNK], thresholds)
        if is_small:  # OpenCV counts faster, and lets other threads work meanwhile
            key = level.astype(np.uint16, copy=False) + np.multiply(size, kind[start : start + CHUNK], dtype=np.uint16)
            counted = cv2.calcHist([key[None]], [0], None, [kinds * size], [0, kinds * size]).ravel()
        else:
            counted = np.bincount(level + np.int64(size) * kind[start : start + CHUNK], minlength=kinds * size)
        histogram += counted.astype(np.int64)
    return histogram.reshape(kinds, size)[:, ::-1].cumsum(axis=1)[:, ::-1]


def count_above_on_gpu(prob: "torch.Tensor", kind: np.ndarray, kinds: int, thresholds: np.ndarray) -> np.ndarray:
    """Count as :func:`count_above` does, on the device of ``prob``. Only this function imports torch."""
    import torch

    check_probabilities(prob)
    is_double = prob.dtype == torch.float64
    bounds = torch.from_numpy(thresholds if is_double else in_single(thresholds)).to(prob.device)
    level = torch.bucketize(prob if is_double else prob.float(), bounds)
    size = len(thresholds) + 1
    kind = torch.from_numpy(kind).to(prob.device).long()
    histogram = torch.bincount((level + size * kind).ravel(), minlength=kinds * size).view(kinds, size)
    return histogram.flip(1).cumsum(1).flip(1).cpu().numpy()
