"""Hits, misses and false alarms within a tolerance."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch

from crack_utils.scoring.arrays import _array, _ascending, _check_shapes, _image
from crack_utils.scoring.distances import dilate_disc, disc
from crack_utils.scoring.on_device import _above_on_device
from crack_utils.scoring.thresholds import _above


def tolerance_counts(
    probs: Sequence[np.ndarray] | torch.Tensor, masks: Sequence[np.ndarray] | torch.Tensor, thresholds: np.ndarray, tolerance_px: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the record's hits, false alarms and misses for all thresholds in one pass over the pixels.

    With truth T, prediction P and T2, T dilated by a plus with arms of ``tolerance_px``: TP = |T2 and P|,
    FP = |not T2 and P|, FN = |T and not P|. Tensors on a GPU are counted there, all else on all cores; memory does not grow with N.

    Args:
        probs: (N, H, W) probabilities in [0, 1], or N arrays or tensors of differing (H, W); compared in float64.
        masks: the same shape(s), bool, true on crack.
        thresholds: (T,) ascending.
        tolerance_px: arms of the plus, in pixels; 0 demands exact hits.

    Returns:
        TP, FP and FN, each (N, T) int64.

    Raises:
        ValueError: shapes that differ or have a channel, thresholds that do not ascend, probabilities outside [0, 1].

    Source: the published record's metric (Bozic et al.'s experiments on CRACK500).
    """
    thresholds = _ascending(thresholds)
    if len(probs) != len(masks):
        raise ValueError(f"{len(probs)} probability maps, but {len(masks)} masks")

    def count(i: int) -> np.ndarray:
        return _count_one(probs[i], masks[i], thresholds, tolerance_px)

    if len(probs) < 4 or getattr(probs[0], "is_cuda", False):
        counts = [count(i) for i in range(len(probs))]
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            counts = list(pool.map(count, range(len(probs))))
    tp, fp, fn = np.array(counts, np.int64).reshape(len(probs), 3, len(thresholds)).transpose(1, 0, 2)
    return tp, fp, fn


def _count_one(prob: np.ndarray | torch.Tensor, mask: np.ndarray | torch.Tensor, thresholds: np.ndarray, tolerance_px: int) -> np.ndarray:
    """TP, FP, FN of one image, (3, T)."""
    if isinstance(prob, torch.Tensor) and prob.device.type == "cuda":
        _check_shapes(prob.shape, mask.shape)
        far, near_only, crack = _above_on_device(prob.detach(), mask, thresholds, tolerance_px)
    else:
        prob, mask = _image(prob, mask)
        kind = dilate(mask, tolerance_px).astype(np.uint8) + mask  # 0 far, 1 near only, 2 crack
        far, near_only, crack = _above(prob, kind, 3, thresholds)
    return np.stack([(near_only + crack)[1:], far[1:], crack[0] - crack[1:]])


def disc_counts(prob: np.ndarray, mask: np.ndarray, thresholds: np.ndarray, radius_px: int) -> dict[str, np.ndarray]:
    """Two-sided counts within a Euclidean disc, for all thresholds in one pass.

    A predicted pixel hits where the truth has a crack pixel within ``radius_px``; a pixel of the truth is found where the prediction
    has one. So precision = hit / predicted and recall = found / truth, as crack papers have it (2 or 5 px; 0 demands equality).

    Args:
        prob: (H, W) probabilities in [0, 1].
        mask: (H, W) bool.
        thresholds: (T,) ascending.
        radius_px: of the disc, in pixels.

    Returns:
        ``hit``, ``predicted``, ``found`` (T,) each, and ``truth``, a number.

    Raises:
        ValueError: as :func:`tolerance_counts`.

    Source: the tolerance margin of CrackForest (Shi et al. 2016) and DeepCrack (Zou et al. 2019).
    """
    (prob, mask), thresholds = _image(prob, mask), _ascending(thresholds)
    far, near = _above(prob, dilate_disc(mask, radius_px), 2, thresholds)
    # Dilating the prediction at each threshold is one look at the largest probability within the disc.
    found = _above(cv2.dilate(prob, disc(radius_px)), mask, 2, thresholds)[1]
    return {"hit": near[1:], "predicted": (near + far)[1:], "found": found[1:], "truth": int(found[0])}


def tolerance_maps(prob: np.ndarray, mask: np.ndarray, threshold: float, tolerance_px: int = 2) -> tuple[np.ndarray, ...]:
    """Where the hits (TP), misses (FN) and false alarms (FP) of :func:`tolerance_counts` lie, in this order.

    Args:
        prob: (H, W) probabilities.
        mask: (H, W) bool.
        threshold: compared in float64.
        tolerance_px: arms of the plus, in pixels.

    Returns:
        Three (H, W) bool maps.
    """
    prob, mask = _image(prob, mask)
    predicted, near = prob.astype(np.float64) > threshold, dilate(mask, tolerance_px)
    return near & predicted, mask & ~predicted, predicted & ~near


def dilate(mask: np.ndarray, tolerance_px: int) -> np.ndarray:
    """Dilate a mask by a plus.

    Args:
        mask: (H, W), true on crack.
        tolerance_px: arms of the plus, in pixels; 0 leaves the mask.

    Returns:
        (H, W) bool.
    """
    mask = _array(mask).astype(bool, copy=False)
    _check_shapes(mask.shape, mask.shape)
    if tolerance_px == 0:
        return mask
    plus = np.zeros((2 * tolerance_px + 1, 2 * tolerance_px + 1), np.uint8)
    plus[tolerance_px] = plus[:, tolerance_px] = 1
    return cv2.dilate(np.ascontiguousarray(mask).view(np.uint8), plus).view(bool)
