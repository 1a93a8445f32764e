"""From counts to scores."""

import numpy as np
import pandas as pd

from crack_utils.scoring.arrays import as_array

SCORES = ("precision", "recall", "f1")


def precision_recall_f1(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1, their harmonic mean; each is 0 where ``tp`` is 0.

    Args:
        tp, fp, fn: counts, numbers or of one shape.

    Returns:
        Three of that shape, in [0, 1].
    """
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
    """Find the threshold with the best mean F1; of equals the first, as in the record.

    Args:
        f1: (N, T), the F1 of each image at each threshold.

    Returns:
        Its index, 0 to T - 1.

    Raises:
        ValueError: there is no image to choose by.
    """
    if len(f1) == 0:
        raise ValueError("there is no cracked image, so no segmentation threshold can be chosen")
    return int(np.argmax(f1.mean(axis=0)))


def intersection_over_union(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray) -> np.ndarray:
    """TP / (TP + FP + FN), the Jaccard index; 0 where all counts are 0.

    Args:
        tp, fp, fn: exact counts (tolerance 0), numbers or of one shape.

    Returns:
        Of that shape, in [0, 1].
    """
    tp, fp, fn = (as_array(count).astype(np.float64) for count in (tp, fp, fn))
    return np.divide(tp, tp + fp + fn, out=np.zeros_like(tp), where=tp + fp + fn > 0)[()]


def disc_scores(hit: np.ndarray, predicted: np.ndarray, found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of :func:`disc_counts`; 0 where there is nothing to divide by.

    Args:
        hit, predicted, found, truth: counts, numbers or of one shape.

    Returns:
        Three of that shape, in [0, 1].
    """
    hit, predicted, found, truth = (as_array(count).astype(np.float64) for count in (hit, predicted, found, truth))
    precision = np.divide(hit, predicted, out=np.zeros_like(hit), where=predicted > 0)
    recall = np.divide(found, truth, out=np.zeros_like(found), where=truth > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)
    return precision[()], recall[()], f1[()]


def optimal_scores(counts: dict[str, np.ndarray], thresholds: np.ndarray) -> dict[str, float]:
    """ODS and OIS: oracles that choose thresholds on the images they score. They are not results of a model.

    Args:
        counts: of :func:`disc_counts`, stacked: (N, T) each, ``truth`` (N, 1).
        thresholds: (T,).

    Returns:
        ``ods``, the pooled F1 at the one threshold that is best for all images; ``ods_threshold``, this threshold; ``ois``, the mean
        over images of the F1 at each image's own best threshold. (Arbelaez et al. 2011 pool for OIS too; crack papers take the mean.)
    """
    pooled = disc_scores(**{name: values.sum(axis=0) for name, values in counts.items()})[2]
    single = disc_scores(**{**counts, "truth": np.broadcast_to(counts["truth"], counts["hit"].shape)})[2]
    best = int(np.argmax(pooled))
    return {"ods": float(pooled[best]), "ods_threshold": float(thresholds[best]), "ois": float(single.max(axis=1).mean())}
