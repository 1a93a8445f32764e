"""The decision whether an image shows a crack: its curve, thresholds and scores."""

import numpy as np

from crack_utils.scoring.arrays import as_array
from crack_utils.scoring.scores import precision_recall_f1


def average_precision(has_crack: np.ndarray, probs: np.ndarray) -> float:
    """Average precision of the decision: precision times the gain in recall, summed over falling thresholds.

    Args:
        has_crack: (N,) bool, at least one true.
        probs: (N,) probabilities.

    Source: scikit-learn's definition, without interpolation.
    """
    tp, fp, positives, _ = decision_curve(has_crack, probs)
    return float(np.sum(tp / (tp + fp) * np.diff(tp, prepend=0)) / positives)


def best_decision_threshold(has_crack: np.ndarray, probs: np.ndarray) -> float:
    """The score among ``probs`` that gives the best F1 as decision threshold; the lowest of equals.

    Without a crack-free image this is the lowest score of all.

    Args:
        has_crack: (N,) bool, at least one true.
        probs: (N,) probabilities.
    """
    tp, fp, positives, scores = decision_curve(has_crack, probs)
    _, _, f1 = precision_recall_f1(tp, fp, positives - tp)
    return float(scores[len(f1) - 1 - np.argmax(f1[::-1])])


def decision_curve(has_crack: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """TP and FP with every distinct score as threshold, in falling order; the number of cracked images; the scores.

    Args:
        has_crack: (N,) bool, at least one true.
        probs: (N,) probabilities.
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

    Args:
        has_crack: (N,) bool, with images of both kinds.
        probs: (N,) probabilities.
    """
    tp, fp, positives, _ = decision_curve(has_crack, probs)
    negatives = len(has_crack) - positives
    if negatives == 0:
        raise ValueError("there is no crack-free image; a ROC curve needs images of both kinds")
    return np.r_[0, fp / negatives], np.r_[0, tp / positives]


def decision_scores(has_crack: np.ndarray, probs: np.ndarray, threshold: float) -> dict[str, float]:
    """The decision table: precision, recall, f1, accuracy, threshold, tp, fp, fn, tn.

    Args:
        has_crack: (N,) bool.
        probs: (N,) probabilities.
        threshold: an image at or above it is decided cracked.
    """
    has_crack = as_array(has_crack).astype(bool)
    decided = as_array(probs).astype(np.float64) >= threshold
    tp, fp = int((decided & has_crack).sum()), int((decided & ~has_crack).sum())
    fn, tn = int((~decided & has_crack).sum()), int((~decided & ~has_crack).sum())
    precision, recall, f1 = (float(value) for value in precision_recall_f1(tp, fp, fn))
    accuracy = (tp + tn) / len(has_crack)
    return dict(precision=precision, recall=recall, f1=f1, accuracy=accuracy, threshold=threshold, tp=tp, fp=fp, fn=fn, tn=tn)
