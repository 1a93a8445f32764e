"""From counts to scores: of the segmentation, and of the decision whether an image shows a crack."""

import numpy as np
import pandas as pd

from crack_utils.scoring.arrays import as_array

SCORES = ("precision", "recall", "f1")


def precision_recall_f1(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1, their harmonic mean, from counts of one shape; each is in [0, 1], and 0 where ``tp`` is 0."""
    tp, fp, fn = (as_array(count).astype(np.float64) for count in (tp, fp, fn))
    hit = tp > 0
    precision = np.divide(tp, tp + fp, out=np.zeros_like(tp), where=hit)
    recall = np.divide(tp, tp + fn, out=np.zeros_like(tp), where=hit)
    f1 = np.divide(2 * tp, 2 * tp + fp + fn, out=np.zeros_like(tp), where=hit)  # the harmonic mean, rounded once
    return precision[()], recall[()], f1[()]


def mean_curves(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, thresholds: np.ndarray) -> pd.DataFrame:
    """Mean precision, recall and F1 over images, a row for each threshold, from counts (N, T)."""
    scores = (values.mean(axis=0) for values in precision_recall_f1(tp, fp, fn))
    return pd.DataFrame(dict(zip(SCORES, scores, strict=True)), index=pd.Index(thresholds, name="threshold"))


def best_threshold(f1: np.ndarray) -> int:
    """The index of the threshold with the best mean F1, from the F1 (N, T) of each image; of equals the first, as in the record.

    Raise ValueError if there is no image.
    """
    if len(f1) == 0:
        raise ValueError("there is no cracked image, so no segmentation threshold can be chosen")
    return int(np.argmax(f1.mean(axis=0)))


def intersection_over_union(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """TP / (TP + FP + FN), the Jaccard index, in [0, 1], from exact counts (tolerance 0) of one shape; 0 where all counts are 0."""
    tp, fp, fn = (as_array(count).astype(np.float64) for count in (tp, fp, fn))
    return np.divide(tp, tp + fp + fn, out=np.zeros_like(tp), where=tp + fp + fn > 0)[()]


def disc_scores(hit: np.ndarray, predicted: np.ndarray, found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of :func:`disc_counts`, in [0, 1], from counts of one shape; 0 where there is nothing to divide by."""
    hit, predicted, found, truth = (as_array(count).astype(np.float64) for count in (hit, predicted, found, truth))
    precision = np.divide(hit, predicted, out=np.zeros_like(hit), where=predicted > 0)
    recall = np.divide(found, truth, out=np.zeros_like(found), where=truth > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    return precision[()], recall[()], f1[()]


def optimal_scores(counts: dict[str, np.ndarray], thresholds: np.ndarray) -> dict[str, float]:
    """ODS and OIS: oracles that choose thresholds on the images they score. They are not results of a model.

    Takes the stacked counts of :func:`disc_counts`, (N, T) each and ``truth`` (N, 1), and the thresholds (T,).

    Returns:
        ``ods``, the pooled F1 at the one threshold that is best for all images; ``ods_threshold``, this threshold; ``ois``, the mean
        over images of the F1 at each image's own best threshold. (Arbelaez et al. 2011 pool for OIS too; crack papers take the mean.)
    """
    pooled = disc_scores(**{name: values.sum(axis=0) for name, values in counts.items()})[2]
    single = disc_scores(**{**counts, "truth": np.broadcast_to(counts["truth"], counts["hit"].shape)})[2]
    best = int(np.argmax(pooled))
    return {"ods": float(pooled[best]), "ods_threshold": float(thresholds[best]), "ois": float(single.max(axis=1).mean())}


def average_precision(has_crack: np.ndarray, probs: np.ndarray) -> float:
    """Average precision of the decision: precision times the gain in recall, summed over falling thresholds.

    Takes (N,) bool with at least one true, and (N,) probabilities. Source: scikit-learn's definition, without interpolation.
    """
    tp, fp, positives, _ = decision_curve(has_crack, probs)
    return float(np.sum(tp / (tp + fp) * np.diff(tp, prepend=0)) / positives)


def best_decision_threshold(has_crack: np.ndarray, probs: np.ndarray) -> float:
    """The score among ``probs`` that gives the best F1 as decision threshold; the lowest of equals.

    Without a crack-free image this is the lowest score of all. Arguments as in :func:`average_precision`.
    """
    tp, fp, positives, scores = decision_curve(has_crack, probs)
    _, _, f1 = precision_recall_f1(tp, fp, positives - tp)
    return float(scores[len(f1) - 1 - np.argmax(f1[::-1])])


def decision_curve(has_crack: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """TP and FP with every distinct score as threshold, in falling order; the number of cracked images; the scores.

    Arguments as in :func:`average_precision`.
    """
    has_crack, probs = as_array(has_crack).astype(bool), as_array(probs).astype(np.float64)
    if not has_crack.any():
        raise ValueError("there is no cracked image, so the decision cannot be scored")
    if np.isnan(probs).any():
        raise ValueError("decision scores must be numbers; some are NaN")
    order = np.argsort(-probs, kind="stable")
    scores = probs[order]
    last = np.r_[np.flatnonzero(np.diff(scores)), len(scores) - 1]  # of each run of equal scores
    tp = np.cumsum(has_crack[order])[last]
    return tp, last + 1 - tp, int(has_crack.sum()), scores[last]


def roc_curve(has_crack: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ROC curve: at every distinct score, in falling order, the share of crack-free images called cracked and of cracked ones found.

    Takes (N,) bool with images of both kinds, and (N,) probabilities.
    """
    tp, fp, positives, _ = decision_curve(has_crack, probs)
    negatives = len(has_crack) - positives
    if negatives == 0:
        raise ValueError("there is no crack-free image; a ROC curve needs images of both kinds")
    return np.r_[0, fp / negatives], np.r_[0, tp / positives]


def decision_scores(has_crack: np.ndarray, probs: np.ndarray, threshold: float) -> dict[str, float]:
    """The decision table: precision, recall, f1, accuracy, threshold, tp, fp, fn, tn, from (N,) bool and (N,) probabilities.

    An image at or above ``threshold`` is decided cracked.
    """
    has_crack = as_array(has_crack).astype(bool)
    decided = as_array(probs).astype(np.float64) >= threshold
    tp, fp = int((decided & has_crack).sum()), int((decided & ~has_crack).sum())
    fn, tn = int((~decided & has_crack).sum()), int((~decided & ~has_crack).sum())
    precision, recall, f1 = (float(value) for value in precision_recall_f1(tp, fp, fn))
    accuracy = (tp + tn) / len(has_crack)
    return dict(precision=precision, recall=recall, f1=f1, accuracy=accuracy, threshold=threshold, tp=tp, fp=fp, fn=fn, tn=tn)
