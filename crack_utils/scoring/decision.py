"""The decision's curve, thresholds and scores."""

import numpy as np

from crack_utils.scoring.arrays import _array
from crack_utils.scoring.scores import precision_recall_f1


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
