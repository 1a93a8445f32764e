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
from typing import Any

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
CELL_BITS = 14  # of a float32, which probabilities in one cell may differ in: 512 cells from a power of two to the next
CELLS = 2 * ((int(np.float32(0.5).view(np.uint32)) >> CELL_BITS) + 1)  # by the probability below 0.5, mirrored above


# --- what goes in ----------------------------------------------------------------------------------------------------


def _array(values: Any) -> np.ndarray:
    """An array, or a tensor on any device, as an array."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
    return np.asarray(values)


def _image(prob: Any, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """One image's probabilities, float32 or float64, and its mask, bool, both (H, W).

    Raises:
        ValueError: other shapes.
    """
    prob, mask = _array(prob), _array(mask)
    _check_shapes(prob.shape, mask.shape)
    return prob if prob.dtype == np.float32 else prob.astype(np.float64), mask.astype(bool, copy=False)


def _check_shapes(prob: tuple[int, ...], mask: tuple[int, ...]) -> None:
    if tuple(prob) != tuple(mask):
        raise ValueError(f"probabilities of shape {tuple(prob)}, but a mask of {tuple(mask)}; they must be alike")
    if len(prob) != 2 or 0 in prob:
        raise ValueError(f"an image must be (H, W) with pixels in it, got {tuple(prob)}; several are (N, H, W), without a channel")


def _ascending(thresholds: Any) -> np.ndarray:
    thresholds = np.asarray(thresholds, np.float64)
    if np.isnan(thresholds).any() or not (np.diff(thresholds) > 0).all():
        raise ValueError("thresholds must ascend; sort them")
    return thresholds


def check_probabilities(prob: np.ndarray | torch.Tensor) -> None:
    """Raise ValueError for what is not all in [0, 1]."""
    if math.prod(prob.shape) and not (prob.min() >= 0 and prob.max() <= 1):
        raise ValueError(f"probabilities must lie in [0, 1], got {prob.min():.6g} to {prob.max():.6g}; logits need a sigmoid first")


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


def exceeded(prob: np.ndarray | torch.Tensor, thresholds: np.ndarray) -> np.ndarray:
    """How many thresholds each probability is above, exactly: a table tells for each cell of [0, 1].

    Args:
        prob: in [0, 1], of any shape.
        thresholds: (T,) ascending, compared in float64.

    Returns:
        Small integers of the same shape, 0 to T.
    """
    prob, thresholds = _array(prob), _ascending(thresholds)
    prob = prob if prob.dtype == np.float32 else prob.astype(np.float64)
    check_probabilities(prob)
    return _look_up(prob, thresholds, _tables(thresholds, prob.dtype))


def _tables(thresholds: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray] | None:
    return _make_tables(tuple(np.asarray(thresholds, np.float64).tolist()), dtype == np.float32)


def _look_up(prob: np.ndarray, thresholds: np.ndarray, tables: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    if tables is None:
        return np.searchsorted(thresholds, np.asarray(prob, np.float64), side="left")
    below, edge = tables
    cell = (prob * prob.dtype.type(len(below) - 1)).astype(np.intp)  # a power of two: exact
    return below.take(cell, mode="clip") + (prob > edge.take(cell, mode="clip"))


def _above(prob: np.ndarray, kind: np.ndarray, kinds: int, thresholds: np.ndarray) -> np.ndarray:
    """Pixels of each kind (H, W) that exceed threshold 0, 1, ...: (kinds, T + 1), the first column all of the kind."""
    check_probabilities(prob)
    size = len(thresholds) + 1
    is_small = kinds * size < 2**16
    histogram = np.zeros(kinds * size, np.int64)
    prob, kind, tables = prob.ravel(), kind.ravel(), _tables(thresholds, prob.dtype)
    for start in range(0, prob.size, CHUNK):
        level = _look_up(prob[start : start + CHUNK], thresholds, tables)
        if is_small:  # OpenCV counts faster, and lets other threads work meanwhile
            key = level.astype(np.uint16, copy=False) + np.uint16(size) * kind[start : start + CHUNK]
            counted = cv2.calcHist([key[None]], [0], None, [kinds * size], [0, kinds * size]).ravel()
        else:
            counted = np.bincount(level + np.int64(size) * kind[start : start + CHUNK], minlength=kinds * size)
        histogram += counted.astype(np.int64)
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


# --- scores ----------------------------------------------------------------------------------------------------------


def precision_recall_f1(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1, their harmonic mean; each is 0 where ``tp`` is 0.

    Args:
        tp, fp, fn: counts, numbers or of one shape.

    Returns:
        Three of that shape, in [0, 1].
    """
    tp, fp, fn = (_array(count).astype(np.float64) for count in (tp, fp, fn))
    hit = tp > 0
    precision = np.divide(tp, tp + fp, out=np.zeros_like(tp), where=hit)
    recall = np.divide(tp, tp + fn, out=np.zeros_like(tp), where=hit)
    f1 = np.divide(2 * tp, 2 * tp + fp + fn, out=np.zeros_like(tp), where=hit)  # the harmonic mean, rounded once
    return precision[()], recall[()], f1[()]


def best_threshold(f1: np.ndarray) -> int:
    """The threshold with the best mean F1; the first of equals, as the record has it.

    Args:
        f1: (N, T), of each image at each threshold.

    Returns:
        Its index, 0 to T - 1.

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

    Source: scikit-learn's definition, which interpolates nothing.
    """
    tp, fp, positives, _ = decision_curve(has_crack, probs)
    return float(np.sum(tp / (tp + fp) * np.diff(tp, prepend=0)) / positives)


def best_decision_threshold(has_crack: np.ndarray, probs: np.ndarray) -> float:
    """The score among ``probs`` that gives the best F1 as decision threshold; the lowest of equals.

    Args:
        has_crack: (N,) bool, at least one true.
        probs: (N,) probabilities.

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
    has_crack, probs = _array(has_crack).astype(bool), _array(probs).astype(np.float64)
    if not has_crack.any():
        raise ValueError("no cracked image to judge the decision by")
    if np.isnan(probs).any():
        raise ValueError("decision scores must be numbers; some are NaN")
    order = np.argsort(-probs, kind="stable")
    scores = probs[order]
    last = np.r_[np.flatnonzero(np.diff(scores)), len(scores) - 1]  # of each run of equal scores
    tp = np.cumsum(has_crack[order])[last]
    return tp, last + 1 - tp, int(has_crack.sum()), scores[last]


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


def intersection_over_union(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """TP / (TP + FP + FN), the Jaccard index; 0 where nothing is counted.

    Args:
        tp, fp, fn: exact counts (tolerance 0), numbers or of one shape.

    Returns:
        Of that shape, in [0, 1].
    """
    tp, fp, fn = (_array(count).astype(np.float64) for count in (tp, fp, fn))
    return np.divide(tp, tp + fp + fn, out=np.zeros_like(tp), where=tp + fp + fn > 0)[()]


def disc_scores(hit: np.ndarray, predicted: np.ndarray, found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of :func:`disc_counts`; 0 where there is nothing to divide by.

    Args:
        hit, predicted, found, truth: counts, numbers or of one shape.

    Returns:
        Three of that shape, in [0, 1].
    """
    hit, predicted, found, truth = (_array(count).astype(np.float64) for count in (hit, predicted, found, truth))
    precision = np.divide(hit, predicted, out=np.zeros_like(hit), where=predicted > 0)
    recall = np.divide(found, truth, out=np.zeros_like(found), where=truth > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    return precision[()], recall[()], f1[()]


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
    has_crack = _array(has_crack).astype(bool)
    decided = _array(probs).astype(np.float64) >= threshold
    tp, fp = int((decided & has_crack).sum()), int((decided & ~has_crack).sum())
    fn, tn = int((~decided & has_crack).sum()), int((~decided & ~has_crack).sum())
    precision, recall, f1 = (float(value) for value in precision_recall_f1(tp, fp, fn))
    accuracy = (tp + tn) / len(has_crack)
    return dict(precision=precision, recall=recall, f1=f1, accuracy=accuracy, threshold=threshold, tp=tp, fp=fp, fn=fn, tn=tn)
