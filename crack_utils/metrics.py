"""Counts, then scores; the choice of thresholds. Arrays or tensors in, plain numbers and small arrays out.

A pixel is predicted as crack where its probability is *above* the segmentation threshold; an image is decided cracked where
its probability is *at or above* the decision threshold.

The rule for empty masks, everywhere: an image whose truth holds no crack counts in no figure of segmentation, neither in a mean nor
in a pooled one; it counts in the decision, and its predicted pixels are false alarms, a figure of their own. A cracked image whose
predicted mask is empty counts with precision, recall, F1, IoU and clDice 0, and with the image's diagonal as HD95.
"""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from crack_utils.geometry import cl_dice, crack_geometry, dilate_disc, disc, hd95, skeleton, to_millimetres

__all__ = [
    "SEG_THRESHOLDS",
    "average_precision",
    "best_decision_threshold",
    "best_threshold",
    "binned_average_precision",
    "calibration",
    "cl_dice",
    "crack_geometry",
    "decision_curve",
    "decision_scores",
    "dilate",
    "dilate_disc",
    "disc_counts",
    "disc_scores",
    "exceeded",
    "hd95",
    "intersection_over_union",
    "optimal_scores",
    "precision_recall_f1",
    "probability_histogram",
    "roc_curve",
    "skeleton",
    "to_millimetres",
    "tolerance_counts",
    "tolerance_maps",
]

SEG_THRESHOLDS = np.arange(0.1, 1, 0.005)  # the 180 values of the record
CHUNK = 2**17  # pixels looked up at a time: what is made on the way stays in the processor's cache
TABLE_CELLS = (2**12, 2**16)  # equal cells of [0, 1] in which thresholds are looked up: the coarser that tells them apart
CELLS = 2**16  # equal cells of [0, 1] in which probabilities are counted


# --- how many thresholds a probability exceeds -----------------------------------------------------------------------


@lru_cache(maxsize=8)
def _make_tables(thresholds: tuple[float, ...], single: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """For each cell of [0, 1] and one above: how many thresholds lie below it, and the one within (else infinity).

    None where two thresholds share a cell of the finest table. Against a threshold of double precision a float32 compares as against
    the largest float32 not above it.
    """
    values = np.array(thresholds)
    if single:
        rounded = values.astype(np.float32)
        values = np.where(rounded.astype(np.float64) > values, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    inside = np.flatnonzero((values >= 0) & (values < 1))
    for cells in TABLE_CELLS:
        cell = (values[inside] * cells).astype(int)
        if len(set(cell)) == len(cell):
            below = np.searchsorted(values, np.arange(cells + 1) / cells, side="left")
            edge = np.full(cells + 1, np.inf, values.dtype)
            edge[cell] = values[inside]
            return below.astype(np.uint16), edge
    return None


def exceeded(prob: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many thresholds each probability is above, exactly: a table tells for each cell of [0, 1].

    Args:
        prob: float32 or float64 in [0, 1], of any shape.
        thresholds: (T,) ascending, compared in float64.

    Returns:
        Small integers of the same shape, 0 to T.
    """
    check_probabilities(prob)
    return _look_up(prob, thresholds, _tables(thresholds, prob.dtype))


def check_probabilities(prob: np.ndarray | torch.Tensor) -> None:
    """Raise ValueError for what is not all in [0, 1]."""
    if math.prod(prob.shape) and not (prob.min() >= 0 and prob.max() <= 1):
        raise ValueError(f"probabilities must lie in [0, 1], got {prob.min():.6g} to {prob.max():.6g}; logits need a sigmoid first")


def _tables(thresholds: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray] | None:
    return _make_tables(tuple(np.asarray(thresholds, np.float64).tolist()), dtype == np.float32)


def _look_up(prob: np.ndarray, thresholds: np.ndarray, tables: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    if tables is None:
        return np.searchsorted(thresholds, np.asarray(prob, np.float64), side="left")
    below, edge = tables
    cell = (prob * prob.dtype.type(len(below) - 1)).astype(np.int32)  # a power of two: exact
    return below.take(cell) + (prob > edge.take(cell))


def _above(prob: np.ndarray, kind: np.ndarray, kinds: int, thresholds: np.ndarray) -> np.ndarray:
    """Pixels of each kind (H, W) that exceed threshold 0, 1, ...: (kinds, T + 1), the first column all of the kind."""
    check_probabilities(prob)
    size = len(thresholds) + 1
    step = np.uint16(size) if kinds * size < 2**16 else size
    histogram = np.zeros(kinds * size, np.int64)
    prob, kind, tables = prob.ravel(), kind.ravel(), _tables(thresholds, prob.dtype)
    for start in range(0, prob.size, CHUNK):
        level = _look_up(prob[start : start + CHUNK], thresholds, tables)
        histogram += np.bincount(level + step * kind[start : start + CHUNK], minlength=kinds * size)
    return histogram.reshape(kinds, size)[:, ::-1].cumsum(axis=1)[:, ::-1]


# --- counts ----------------------------------------------------------------------------------------------------------


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
        ValueError: shapes that differ, thresholds that do not ascend, probabilities outside [0, 1].

    Source: the published record's metric (Bozic et al.'s experiments on CRACK500).
    """
    thresholds = np.asarray(thresholds, np.float64)
    if len(probs) != len(masks):
        raise ValueError(f"{len(probs)} probability maps, but {len(masks)} masks")
    if (np.diff(thresholds) <= 0).any():
        raise ValueError("thresholds must ascend; sort them")

    def count(i: int) -> np.ndarray:
        return _count_one(probs[i], masks[i], thresholds, tolerance_px)

    if len(probs) < 4:
        counts = [count(i) for i in range(len(probs))]
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            counts = list(pool.map(count, range(len(probs))))
    tp, fp, fn = np.array(counts, np.int64).reshape(len(probs), 3, len(thresholds)).transpose(1, 0, 2)
    return tp, fp, fn


def _count_one(prob: np.ndarray | torch.Tensor, mask: np.ndarray | torch.Tensor, thresholds: np.ndarray, tolerance_px: int) -> np.ndarray:
    """TP, FP, FN of one image, (3, T)."""
    if tuple(prob.shape) != tuple(mask.shape):
        raise ValueError(f"probabilities of shape {tuple(prob.shape)}, but a mask of {tuple(mask.shape)}; they must be alike")
    if isinstance(prob, torch.Tensor) and prob.device.type == "cuda":
        far, near_only, crack = _above_on_device(prob, mask, thresholds, tolerance_px)
    else:
        prob, mask = (np.asarray(each.cpu() if isinstance(each, torch.Tensor) else each) for each in (prob, mask))
        mask = mask.astype(bool, copy=False)
        prob = prob if prob.dtype == np.float32 else prob.astype(np.float64)
        kind = dilate(mask, tolerance_px).astype(np.uint8) + mask  # 0 far, 1 near only, 2 crack
        far, near_only, crack = _above(prob, kind, 3, thresholds)
    return np.stack([(near_only + crack)[1:], far[1:], crack[0] - crack[1:]])


def _above_on_device(prob: torch.Tensor, mask: torch.Tensor | np.ndarray, thresholds: np.ndarray, tolerance_px: int) -> np.ndarray:
    """As :func:`_above`, on the device ``prob`` lies on: (3, T + 1)."""
    check_probabilities(prob)
    mask = torch.as_tensor(mask, device=prob.device).bool()
    arms = 2 * tolerance_px + 1
    padded = mask[None, None].to(torch.float32)
    near = torch.maximum(F.max_pool2d(padded, (arms, 1), 1, (tolerance_px, 0)), F.max_pool2d(padded, (1, arms), 1, (0, tolerance_px)))[0, 0]
    kind = near.long() + mask.long()
    bounds = torch.from_numpy(thresholds)
    if prob.dtype != torch.float64:
        prob, rounded = prob.to(torch.float32), bounds.to(torch.float32)  # see _make_tables
        bounds = torch.where(rounded.double() > bounds, torch.nextafter(rounded, torch.tensor(-torch.inf)), rounded)
    level = torch.bucketize(prob, bounds.to(prob.device))
    size = len(thresholds) + 1
    histogram = torch.bincount((level + size * kind).ravel(), minlength=3 * size).view(3, size)
    return histogram.flip(1).cumsum(1).flip(1).cpu().numpy()


def disc_counts(prob: np.ndarray, mask: np.ndarray, thresholds: np.ndarray, radius_px: int) -> dict[str, np.ndarray]:
    """Two-sided counts within a Euclidean disc, for all thresholds in one pass.

    A predicted pixel hits where the truth has a crack pixel within ``radius_px``; a pixel of the truth is found where the prediction
    has one. So precision = hit / predicted and recall = found / truth, as crack papers have it (2 or 5 px; 0 demands equality).

    Args:
        prob: (H, W) probabilities in [0, 1].
        mask: (H, W) bool.
        thresholds: (T,) ascending.

    Returns:
        ``hit``, ``predicted``, ``found`` (T,) each, and ``truth``, a number.
    """
    prob, mask = np.asarray(prob), np.asarray(mask, bool)
    prob = prob if prob.dtype == np.float32 else prob.astype(np.float64)
    far, near = _above(prob, dilate_disc(mask, radius_px), 2, thresholds)
    # Dilating the prediction at each threshold is one look at the largest probability within the disc.
    found = _above(cv2.dilate(prob, disc(radius_px)), mask, 2, thresholds)[1]
    return {"hit": near[1:], "predicted": (near + far)[1:], "found": found[1:], "truth": int(found[0])}


def tolerance_maps(prob: np.ndarray, mask: np.ndarray, threshold: float, tolerance_px: int = 2) -> tuple[np.ndarray, ...]:
    """Where the hits, misses and false alarms of :func:`tolerance_counts` lie: three (H, W) bool maps."""
    mask = np.asarray(mask, bool)
    predicted, near = np.asarray(prob, np.float64) > threshold, dilate(mask, tolerance_px)
    return near & predicted, mask & ~predicted, predicted & ~near


def dilate(mask: np.ndarray, tolerance_px: int) -> np.ndarray:
    """Dilate an (H, W) bool mask by a plus with arms of ``tolerance_px``."""
    mask = np.asarray(mask, bool)
    if tolerance_px == 0:
        return mask
    plus = np.zeros((2 * tolerance_px + 1, 2 * tolerance_px + 1), np.uint8)
    plus[tolerance_px] = plus[:, tolerance_px] = 1
    return cv2.dilate(np.ascontiguousarray(mask).view(np.uint8), plus).view(bool)


# --- scores ----------------------------------------------------------------------------------------------------------


def precision_recall_f1(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and their harmonic mean for counts of any shape; each is 0 where ``tp`` is 0."""
    tp, fp, fn = (np.asarray(count, np.float64) for count in (tp, fp, fn))
    hit = tp > 0
    precision = np.divide(tp, tp + fp, out=np.zeros_like(tp), where=hit)
    recall = np.divide(tp, tp + fn, out=np.zeros_like(tp), where=hit)
    f1 = np.divide(2 * tp, 2 * tp + fp + fn, out=np.zeros_like(tp), where=hit)  # the harmonic mean, rounded once
    return precision, recall, f1


def best_threshold(f1: np.ndarray) -> int:
    """Index of the threshold with the best mean of (N, T) per-image F1; the first of equals.

    Raises:
        ValueError: there is no image to choose by.
    """
    if len(f1) == 0:
        raise ValueError("no cracked image to choose the segmentation threshold by")
    return int(np.argmax(f1.mean(axis=0)))


def average_precision(has_crack: np.ndarray, probs: np.ndarray) -> float:
    """Area under the decision's precision-recall steps: the sum of precision times gain in recall over falling thresholds.

    Args:
        has_crack: (N,) bool, at least one true.
        probs: (N,) probabilities.
    """
    tp, fp, positives, _ = decision_curve(has_crack, probs)
    return float(np.sum(tp / (tp + fp) * np.diff(tp, prepend=0)) / positives)


def best_decision_threshold(has_crack: np.ndarray, probs: np.ndarray) -> float:
    """The score among ``probs`` that gives the best F1 as decision threshold; the lowest of equals.

    Without a crack-free image this is the lowest score of all: nothing was there to be told apart.
    """
    tp, fp, positives, scores = decision_curve(has_crack, probs)
    _, _, f1 = precision_recall_f1(tp, fp, positives - tp)
    return float(scores[len(f1) - 1 - np.argmax(f1[::-1])])


def decision_curve(has_crack: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """TP and FP at every distinct score taken as threshold, falling; the number of positives; the scores.

    Args:
        has_crack: (N,) bool, at least one true.
        probs: (N,) probabilities.
    """
    has_crack, probs = np.asarray(has_crack, bool), np.asarray(probs, np.float64)
    if not has_crack.any():
        raise ValueError("no cracked image to judge the decision by")
    order = np.argsort(-probs, kind="stable")
    scores = probs[order]
    last = np.r_[np.flatnonzero(np.diff(scores)), len(scores) - 1]  # of each run of equal scores
    tp = np.cumsum(has_crack[order])[last]
    return tp, last + 1 - tp, int(has_crack.sum()), scores[last]


def probability_histogram(prob: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Pixels by probability, in 65536 equal cells, off and on the crack: (2, 65536) int64. Sums over images pool them."""
    cell = np.minimum((np.asarray(prob, np.float32) * np.float32(CELLS)).astype(np.int32), CELLS - 1)
    return np.bincount((cell + CELLS * np.asarray(mask, bool).astype(np.int32)).ravel(), minlength=2 * CELLS).reshape(2, CELLS)


def binned_average_precision(histogram: np.ndarray) -> float:
    """Average precision of pixels from :func:`probability_histogram`; probabilities of one cell count as equal, which a network
    that is sure of most pixels makes differ in the third digit.

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
        histogram: (2, 65536).
        bins: of equal width; a power of two.

    Returns:
        By bin ``confidence`` (mean probability), ``share`` (of crack among its pixels) and ``pixels``, and ``ece``, the expected
        calibration error: the mean over pixels of how far the two lie apart (Guo et al. 2017; here of the class crack alone).
        Probabilities are known to 1 / 131072.
    """
    middle = (np.arange(CELLS) + 0.5) / CELLS
    counts = histogram.reshape(2, bins, -1).sum(axis=2)
    pixels = counts.sum(axis=0)
    total = (histogram.sum(axis=0) * middle).reshape(bins, -1).sum(axis=1)
    filled = pixels > 0
    confidence = np.divide(total, pixels, out=np.full(bins, np.nan), where=filled)
    share = np.divide(counts[1], pixels, out=np.full(bins, np.nan), where=filled)
    ece = float(np.sum(pixels[filled] * np.abs(share - confidence)[filled]) / pixels.sum())
    return {"confidence": confidence, "share": share, "pixels": pixels, "ece": ece}


def intersection_over_union(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """TP / (TP + FP + FN) of exact counts of any shape; 0 where nothing is counted."""
    tp, fp, fn = (np.asarray(count, np.float64) for count in (tp, fp, fn))
    return np.divide(tp, tp + fp + fn, out=np.zeros_like(tp), where=tp + fp + fn > 0)


def disc_scores(hit: np.ndarray, predicted: np.ndarray, found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of :func:`disc_counts`, of any shape; 0 where there is nothing to divide by."""
    hit, predicted, found, truth = (np.asarray(count, np.float64) for count in (hit, predicted, found, truth))
    precision = np.divide(hit, predicted, out=np.zeros_like(hit), where=predicted > 0)
    recall = np.divide(found, truth, out=np.zeros_like(found), where=truth > 0)
    both = precision + recall
    return precision, recall, np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)


def optimal_scores(counts: dict[str, np.ndarray], thresholds: np.ndarray) -> dict[str, float]:
    """ODS and OIS, which choose thresholds on the images they score: oracles, no result of a model.

    Args:
        counts: of :func:`disc_counts`, stacked: (N, T) each, ``truth`` (N, 1).
        thresholds: (T,).

    Returns:
        ``ods``, the pooled F1 at the one threshold best for all images, which is ``ods_threshold``; ``ois``, the mean over images of
        the F1 at each image's own best threshold. (Arbelaez et al. 2011, who pool for OIS too; crack papers take the mean.)
    """
    pooled = disc_scores(**{name: values.sum(axis=0) for name, values in counts.items()})[2]
    single = disc_scores(**{**counts, "truth": np.broadcast_to(counts["truth"], counts["hit"].shape)})[2]
    best = int(np.argmax(pooled))
    return {"ods": float(pooled[best]), "ods_threshold": float(thresholds[best]), "ois": float(single.max(axis=1).mean())}


def roc_curve(has_crack: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of crack-free images called cracked, and of cracked ones found, at every distinct score, falling; both from 0 to 1.

    Args:
        has_crack: (N,) bool, with both kinds.
        probs: (N,) probabilities.
    """
    tp, fp, positives, _ = decision_curve(has_crack, probs)
    negatives = len(has_crack) - positives
    if negatives == 0:
        raise ValueError("no crack-free image: a ROC curve takes both kinds")
    return np.r_[0, fp / negatives], np.r_[0, tp / positives]


def decision_scores(has_crack: np.ndarray, probs: np.ndarray, threshold: float) -> dict[str, float]:
    """The decision table: precision, recall, f1, accuracy, threshold, tp, fp, fn, tn.

    Args:
        has_crack: (N,) bool.
        probs: (N,) probabilities.
        threshold: decided cracked at or above it.
    """
    has_crack = np.asarray(has_crack, bool)
    decided = np.asarray(probs, np.float64) >= threshold
    tp, fp = int((decided & has_crack).sum()), int((decided & ~has_crack).sum())
    fn, tn = int((~decided & has_crack).sum()), int((~decided & ~has_crack).sum())
    precision, recall, f1 = (float(value) for value in precision_recall_f1(tp, fp, fn))
    accuracy = (tp + tn) / len(has_crack)
    return dict(precision=precision, recall=recall, f1=f1, accuracy=accuracy, threshold=threshold, tp=tp, fp=fp, fn=fn, tn=tn)
