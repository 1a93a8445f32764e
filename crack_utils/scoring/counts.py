"""Hits, misses and false alarms within a tolerance."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np

from crack_utils.scoring.arrays import as_array, as_image, ascending, check_shapes
from crack_utils.scoring.geometry import dilate_disc, disc
from crack_utils.scoring.thresholds import count_above, count_above_on_gpu


def zones(mask: Any, tolerance_px: int = 2) -> np.ndarray:
    """Divide an image into the three zones of the tolerance count, (H, W) uint8.

    0: farther from any crack than the tolerance (a plus with arms of ``tolerance_px``); 1: off the crack, within the tolerance; 2: crack.
    """
    mask = as_array(mask).astype(bool, copy=False)
    return dilate(mask, tolerance_px).view(np.uint8) + mask


def outcomes(predicted: Sequence[np.ndarray], missed: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """TP, FP and FN: the one definition of the tolerance count.

    A predicted pixel is a hit on a crack and within the tolerance; elsewhere it is a false alarm. A crack pixel that is not predicted
    is a miss: misses have no tolerance. ``predicted`` are the predicted pixels of each of the :func:`zones`, as counts or as bool maps;
    ``missed`` are the other pixels of each zone.
    """
    return predicted[1] + predicted[2], predicted[0], missed[2]


def tolerance_counts(
    probs: Sequence[Any], masks: Sequence[Any], thresholds: np.ndarray, tolerance_px: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the record's hits, false alarms and misses for all thresholds in one pass over the pixels.

    With truth T, prediction P and T2, T dilated by a plus with arms of ``tolerance_px``: TP = |T2 and P|,
    FP = |not T2 and P|, FN = |T and not P|. Tensors on a GPU are counted there, all else on all cores. Beside the input, memory grows
    with the number of cores, not with N.

    Args:
        probs: (N, H, W) probabilities in [0, 1], or N arrays or tensors of differing (H, W); compared in float64.
        masks: the same shape(s), bool, true on crack.
        thresholds: (T,) ascending.

    Returns:
        TP, FP and FN, each (N, T) int64. A ``tolerance_px`` of 0 demands exact hits.

    Raises:
        ValueError: shapes that differ or have a channel, thresholds that do not ascend, probabilities outside [0, 1].

    Source: the published record's metric (Bozic et al.'s experiments on CRACK500).
    """
    thresholds = ascending(thresholds)
    if len(probs) != len(masks):
        raise ValueError(f"there are {len(probs)} probability maps, but {len(masks)} masks; give one mask for each map")

    def count(i: int) -> np.ndarray:
        return _count_one(probs[i], masks[i], thresholds, tolerance_px)

    if len(probs) < 4 or getattr(probs[0], "is_cuda", False):
        counts = [count(i) for i in range(len(probs))]
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            counts = list(pool.map(count, range(len(probs))))
    tp, fp, fn = np.array(counts, np.int64).reshape(len(probs), 3, len(thresholds)).transpose(1, 0, 2)
    return tp, fp, fn


def _count_one(prob: Any, mask: Any, thresholds: np.ndarray, tolerance_px: int) -> np.ndarray:
    """TP, FP, FN of one image, (3, T)."""
    if getattr(prob, "is_cuda", False):
        check_shapes(prob.shape, mask.shape)
        above = count_above_on_gpu(prob.detach(), zones(mask, tolerance_px), 3, thresholds)
    else:
        prob, mask = as_image(prob, mask)
        above = count_above(prob, zones(mask, tolerance_px), 3, thresholds)
    return np.stack(outcomes(above[:, 1:], above[:, :1] - above[:, 1:]))


def tolerance_maps(prob: Any, mask: Any, threshold: float, tolerance_px: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the hits (TP), misses (FN) and false alarms (FP) of :func:`tolerance_counts` lie, in this order: three (H, W) bool maps."""
    prob, mask = as_image(prob, mask)
    predicted = prob.astype(np.float64) > threshold
    of_zone = zones(mask, tolerance_px) == np.arange(3, dtype=np.uint8)[:, None, None]
    hit, false_alarm, miss = outcomes(of_zone & predicted, of_zone & ~predicted)
    return hit, miss, false_alarm


def disc_counts(prob: Any, mask: Any, thresholds: np.ndarray, radius_px: int) -> dict[str, np.ndarray | int]:
    """Two-sided counts within a Euclidean disc, for all thresholds in one pass.

    A predicted pixel is a hit where the truth has a crack pixel within ``radius_px``. A crack pixel of the truth is found where the
    prediction has one within ``radius_px``. So precision = hit / predicted and recall = found / truth, as in crack papers (2 or 5 px; 0
    demands equality). Takes probabilities in [0, 1] and a mask, (H, W) each, and ascending thresholds (T,).

    Returns:
        ``hit``, ``predicted``, ``found`` (T,) each, and ``truth``, a number.

    Raises:
        ValueError: as :func:`tolerance_counts`.

    Source: the tolerance margin of CrackForest (Shi et al. 2016) and DeepCrack (Zou et al. 2019).
    """
    (prob, mask), thresholds = as_image(prob, mask), ascending(thresholds)
    far, near = count_above(prob, dilate_disc(mask, radius_px), 2, thresholds)
    # A pixel lies in the dilated prediction of a threshold where the largest probability within the disc exceeds the threshold.
    found = count_above(cv2.dilate(prob, disc(radius_px)), mask, 2, thresholds)[1]
    return {"hit": near[1:], "predicted": (near + far)[1:], "found": found[1:], "truth": int(found[0])}


def dilate(mask: Any, tolerance_px: int) -> np.ndarray:
    """Dilate a mask (H, W) by a plus with arms of ``tolerance_px`` pixels: (H, W) bool; 0 leaves the mask."""
    mask = as_array(mask).astype(bool, copy=False)
    check_shapes(mask.shape, mask.shape)
    if tolerance_px == 0:
        return mask
    plus = np.zeros((2 * tolerance_px + 1, 2 * tolerance_px + 1), np.uint8)
    plus[tolerance_px] = plus[:, tolerance_px] = 1
    return cv2.dilate(np.ascontiguousarray(mask).view(np.uint8), plus).view(bool)
