"""The counts of one split at every threshold, and the threshold that suits the split best."""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from crack_utils.scoring.arrays import check_finite
from crack_utils.scoring.counts import tolerance_counts
from crack_utils.scoring.scores import SCORES, best_threshold, mean_curves, precision_recall_f1
from crack_utils.scoring.thresholds import SEG_THRESHOLDS

BLOCK = 32  # predictions held at a time, so that all cores count


@dataclasses.dataclass(frozen=True)
class Judgement:
    """The counts of one split: tp, fp, fn (N, T) within the tolerance, has_crack (N,), decision_probs (N,)."""

    thresholds: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    has_crack: np.ndarray
    decision_probs: np.ndarray

    @property
    def cracked(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """TP, FP, FN of the cracked images."""
        return self.tp[self.has_crack], self.fp[self.has_crack], self.fn[self.has_crack]

    @property
    def per_image(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Precision, recall, F1 of the cracked images, each (positives, T)."""
        return precision_recall_f1(*self.cracked)

    @property
    def curves(self) -> pd.DataFrame:
        """Mean precision, recall and F1 of the cracked images, by threshold."""
        return mean_curves(*self.cracked, self.thresholds)

    def segmentation(self, at: int) -> dict[str, float]:
        """The record's segmentation figures at threshold number ``at``: means over the cracked images."""
        return {name: float(values[:, at].mean()) for name, values in zip(SCORES, self.per_image, strict=True)}


def judge(predictions: Iterable[tuple[Any, Any, float]], thresholds: np.ndarray = SEG_THRESHOLDS) -> Judgement:
    """Count the predictions of a split, some images at a time. A prediction is ``(crop, seg_prob, decision_prob)``: any object with a
    ``mask``, the probabilities (H, W) as an array or a tensor on any device, and a number.

    Raises:
        UserError: predictions that are not numbers.
    """
    counts, has_crack, decision_probs = [], [], []
    predictions = iter(predictions)
    while block := list(itertools.islice(predictions, BLOCK)):
        crops, seg_probs, probs = zip(*block, strict=True)
        for seg_prob in seg_probs:
            check_finite(seg_prob)
        masks = [crop.mask for crop in crops]
        counts.append(tolerance_counts(seg_probs, masks, thresholds))
        has_crack += [bool(mask.any()) for mask in masks]
        decision_probs += probs
    tp, fp, fn = np.concatenate(counts, axis=1)
    return Judgement(thresholds, tp, fp, fn, np.array(has_crack), np.array(decision_probs, np.float32))


def choose_threshold(judgement: Judgement) -> int:
    """Number of the segmentation threshold with the best mean F1."""
    return best_threshold(judgement.per_image[2])
