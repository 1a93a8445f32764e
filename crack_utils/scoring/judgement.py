"""How one split was predicted, and the threshold that suits it best."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch

from crack_utils.networks.prediction import check_finite
from crack_utils.scoring.counts import tolerance_counts
from crack_utils.scoring.scores import best_threshold, precision_recall_f1
from crack_utils.scoring.thresholds import SEG_THRESHOLDS

BLOCK = 32  # predictions held at a time, so that all cores count


@dataclasses.dataclass(frozen=True)
class Judgement:
    """How one split was predicted: tp, fp, fn (N, T) at the tolerance, has_crack (N,), decision_probs (N,)."""

    thresholds: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    has_crack: np.ndarray
    decision_probs: np.ndarray

    @property
    def per_image(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Precision, recall, F1 of the cracked images, each (positives, T)."""
        return precision_recall_f1(self.tp[self.has_crack], self.fp[self.has_crack], self.fn[self.has_crack])

    @property
    def curves(self) -> pd.DataFrame:
        """Mean precision, recall and F1 of the cracked images, by threshold."""
        scores = zip(("precision", "recall", "f1"), self.per_image, strict=True)
        return pd.DataFrame({name: values.mean(axis=0) for name, values in scores}, index=pd.Index(self.thresholds, name="threshold"))

    def segmentation(self, at: int) -> dict[str, float]:
        """The record's segmentation figures at threshold number ``at``: means over the cracked images."""
        precision, recall, f1 = (float(values[:, at].mean()) for values in self.per_image)
        return {"precision": precision, "recall": recall, "f1": f1}


def judge(predictions: Iterator[tuple[Any, torch.Tensor | np.ndarray, float]], thresholds: np.ndarray = SEG_THRESHOLDS) -> Judgement:
    """Count over a split, some images at a time: each prediction is ``(crop, seg_prob, decision_prob)``, the crop has a ``mask``."""
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
