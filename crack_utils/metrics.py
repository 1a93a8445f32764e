"""Counts, then scores; the choice of thresholds. Arrays in, plain numbers and small arrays out.

A pixel is predicted as crack where its probability is *above* the segmentation threshold; an image is decided cracked where
its probability is *at or above* the decision threshold.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

SEG_THRESHOLDS = np.arange(0.1, 1, 0.005)  # the 180 values of the record


def tolerance_counts(
    probs: Sequence[np.ndarray], masks: Sequence[np.ndarray], thresholds: np.ndarray, tolerance_px: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count hits, false alarms and misses for all thresholds in one pass over the pixels.

    With truth T, prediction P and T2, T dilated by a plus with arms of ``tolerance_px``: TP = |T2 and P|,
    FP = |not T2 and P|, FN = |T and not P|.

    Args:
        probs: (N, H, W) probabilities, or N arrays of differing (H, W); compared in float64.
        masks: the same shape(s), bool, true on crack.
        thresholds: (T,) ascending.
        tolerance_px: arms of the plus, in pixels; 0 demands exact hits.

    Returns:
        TP, FP and FN, each (N, T) int64.
    """
    thresholds = np.asarray(thresholds, np.float64)
    counts = np.zeros((3, len(probs), len(thresholds)), np.int64)
    for i, (prob, mask) in enumerate(zip(probs, masks, strict=True)):
        mask = np.asarray(mask, bool)
        near = dilate(mask, tolerance_px)
        # A pixel exceeds its first k thresholds and no other, so a histogram of k holds every count.
        exceeded = np.searchsorted(thresholds, np.asarray(prob, np.float64).ravel(), side="left")
        kind = near.ravel() + 2 * mask.ravel()
        histogram = np.bincount(kind * (len(thresholds) + 1) + exceeded, minlength=4 * (len(thresholds) + 1))
        far, near_only, _, crack = histogram.reshape(4, -1)
        counts[0, i] = _above(near_only + crack)
        counts[1, i] = _above(far)
        counts[2, i] = crack.sum() - _above(crack)
    return counts[0], counts[1], counts[2]


def tolerance_maps(prob: np.ndarray, mask: np.ndarray, threshold: float, tolerance_px: int = 2) -> tuple[np.ndarray, ...]:
    """Where the hits, misses and false alarms of :func:`tolerance_counts` lie: three (H, W) bool maps."""
    predicted, near = np.asarray(prob, np.float64) > threshold, dilate(mask, tolerance_px)
    return near & predicted, mask & ~predicted, predicted & ~near


def dilate(mask: np.ndarray, tolerance_px: int) -> np.ndarray:
    """Dilate an (H, W) bool mask by a plus with arms of ``tolerance_px``."""
    if tolerance_px == 0 or not mask.any():
        return mask
    plus = np.zeros((2 * tolerance_px + 1, 2 * tolerance_px + 1), bool)
    plus[tolerance_px] = plus[:, tolerance_px] = True
    return ndimage.binary_dilation(mask, plus)


def _above(histogram: np.ndarray) -> np.ndarray:
    """Pixels that exceed threshold 0, 1, ..., from the histogram of how many thresholds each exceeds."""
    return histogram[::-1].cumsum()[::-1][1:]


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
    tp, fp, positives, _ = _decision_curve(has_crack, probs)
    return float(np.sum(tp / (tp + fp) * np.diff(tp, prepend=0)) / positives)


def best_decision_threshold(has_crack: np.ndarray, probs: np.ndarray) -> float:
    """The score among ``probs`` that gives the best F1 as decision threshold; the lowest of equals.

    Without a crack-free image this is the lowest score of all: nothing was there to be told apart.
    """
    tp, fp, positives, scores = _decision_curve(has_crack, probs)
    _, _, f1 = precision_recall_f1(tp, fp, positives - tp)
    return float(scores[len(f1) - 1 - np.argmax(f1[::-1])])


def _decision_curve(has_crack: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """TP and FP at every distinct score taken as threshold, falling; the number of positives; the scores."""
    has_crack, probs = np.asarray(has_crack, bool), np.asarray(probs, np.float64)
    if not has_crack.any():
        raise ValueError("no cracked image to judge the decision by")
    order = np.argsort(-probs, kind="stable")
    scores = probs[order]
    last = np.r_[np.flatnonzero(np.diff(scores)), len(scores) - 1]  # of each run of equal scores
    tp = np.cumsum(has_crack[order])[last]
    return tp, last + 1 - tp, int(has_crack.sum()), scores[last]


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
