"""Each test image measured by every protocol."""

import dataclasses
import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import torch

from crack_utils.scoring.calibration import probability_histogram
from crack_utils.scoring.counts import dilate, disc_counts, tolerance_counts
from crack_utils.scoring.distances import dilate_disc, hd95, within
from crack_utils.scoring.geometry import cl_dice, crack_geometry, crack_widths, skeleton
from crack_utils.scoring.scores import intersection_over_union, precision_recall_f1

RADII_PX = (0, 2, 5)  # of the Euclidean disc, the tolerances of crack papers
WIDTHS_PX = {"below_3px": 3, "3_to_6px": 6, "6_to_12px": 12, "from_12px": np.inf}  # classes of true width, each below its bound
FAR_PX = 10  # false alarms farther from any crack are no outline drawn too broad
GEOMETRY = ("length_px", "width_mean_px", "width_p95_px", "density")


def measure(seg_prob: np.ndarray, mask: np.ndarray, threshold: float) -> dict[str, float]:
    """Counts and scores of one image at its threshold.

    Args:
        seg_prob: (H, W) float32.
        mask: (H, W) bool.
        threshold: predicted are the pixels above it.

    Returns:
        The record's ``tp``, ``fp``, ``fn``; ``hit_Rpx``, ``found_Rpx`` for each of RADII_PX, ``predicted_px``, ``truth_px``,
        ``image_px``; ``iou``, ``cl_dice``, ``hd95_px``; the geometry of prediction and truth, the truth's named ``true_...``; where
        it fails, see :func:`failures`.
    """
    mask = np.asarray(mask, bool)
    predicted = np.asarray(seg_prob, np.float64) > threshold
    near = dilate(mask, 2)
    row: dict[str, float] = {
        "tp": int((near & predicted).sum()),
        "fp": int((predicted & ~near).sum()),
        "fn": int((mask & ~predicted).sum()),
        "predicted_px": int(predicted.sum()),
        "truth_px": int(mask.sum()),
        "image_px": mask.size,
    }
    for radius in RADII_PX:
        row[f"hit_{radius}px"] = int((dilate_disc(mask, radius) & predicted).sum())
        row[f"found_{radius}px"] = int((mask & dilate_disc(predicted, radius)).sum())
    lines = skeleton(predicted), skeleton(mask)
    row["cl_dice"], row["hd95_px"] = cl_dice(predicted, mask, *lines), hd95(predicted, mask)
    row |= crack_geometry(predicted, lines[0])
    row |= {f"true_{name}": value for name, value in crack_geometry(mask, lines[1]).items()}
    return row | _misses_and_strays(predicted, mask, lines[1])


def _misses_and_strays(predicted: np.ndarray, mask: np.ndarray, line: np.ndarray) -> dict[str, int]:
    """Pixels of the truth's skeleton ``line`` by its width there (WIDTHS_PX), those within 2 px of the prediction, and predicted
    pixels farther than FAR_PX from the truth."""
    bounds = list(WIDTHS_PX.values())[:-1]
    classes = np.digitize(crack_widths(mask, line), bounds)
    found = dilate_disc(predicted, 2)[line]
    row = {"stray_px": int((predicted & ~within(mask, FAR_PX)).sum())}
    for i, name in enumerate(WIDTHS_PX):
        row |= {f"line_px_{name}": int((classes == i).sum()), f"line_found_px_{name}": int((found & (classes == i)).sum())}
    return row


@dataclasses.dataclass
class Measured:
    """A test set, image by image: ``rows`` of :func:`measure`; ``sweep`` (the record's tp, fp, fn) and ``discs`` (2 px) of the
    cracked images at every threshold; the pooled ``histogram`` of their probabilities. Memory grows by some KB an image."""

    thresholds: np.ndarray
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    sweep: list[np.ndarray] = dataclasses.field(default_factory=list)
    discs: list[dict[str, np.ndarray]] = dataclasses.field(default_factory=list)
    histogram: np.ndarray | int = 0

    def add_all(self, images: Iterable[tuple[dict[str, Any], np.ndarray, np.ndarray, float]]) -> None:
        """Measure images on all cores, in their order, few at a time.

        Args:
            images: of each what its row should say of it (stem, photo, decision_prob), ``seg_prob``, ``mask``, ``threshold``;
                probabilities may lie on a GPU.
        """
        pending: deque[Future] = deque()
        with ThreadPoolExecutor() as pool:
            for image in images:
                pending.append(pool.submit(self._examine, *image))
                if len(pending) > 2 * (os.cpu_count() or 1):
                    self._take(*pending.popleft().result())
            for examined in pending:
                self._take(*examined.result())

    def _examine(
        self, about: dict[str, Any], prob: np.ndarray | torch.Tensor, mask: np.ndarray, threshold: float
    ) -> tuple[dict[str, Any], Any]:
        seg_prob = prob if isinstance(prob, np.ndarray) else prob.cpu().numpy()
        row = {**about, "has_crack": bool(mask.any()), "threshold": threshold, **measure(seg_prob, mask, threshold)}
        if not mask.any():
            return row, None
        if np.isinf(threshold):  # blackened: nothing is predicted at any threshold
            prob = seg_prob = np.zeros_like(seg_prob)
        sweep = np.concatenate(tolerance_counts([prob], [mask], self.thresholds))  # on a GPU, if it is there
        discs = disc_counts(seg_prob, mask, self.thresholds, 2)
        return row, (sweep, discs, probability_histogram(seg_prob, mask))

    def _take(self, row: dict[str, Any], over_thresholds: Any) -> None:
        self.rows.append(row)
        if over_thresholds:
            sweep, discs, histogram = over_thresholds
            self.sweep.append(sweep)
            self.discs.append(discs)
            self.histogram = self.histogram + histogram

    @property
    def per_image(self) -> pd.DataFrame:
        """A row an image, with the scores of each cracked one, worst F1 first; crack-free images, which have none, last, those with the
        most predicted pixels first. An ``error_...`` of the geometry is predicted less true."""
        frame = pd.DataFrame(self.rows)
        scores = precision_recall_f1(frame["tp"], frame["fp"], frame["fn"])
        frame["precision"], frame["recall"], frame["f1"] = (np.where(frame["has_crack"], values, np.nan) for values in scores)
        frame["iou"] = np.where(frame["has_crack"], intersection_over_union(*exact_counts(frame)), np.nan)
        for name in GEOMETRY:
            frame[f"error_{name}"] = frame[name] - frame[f"true_{name}"]
        alarms = np.where(frame["has_crack"], 0, -frame["predicted_px"] / frame["image_px"])
        return frame.iloc[np.lexsort([alarms, frame["f1"]])].reset_index(drop=True)

    @property
    def curves(self) -> pd.DataFrame:
        """Mean precision, recall and F1 of the cracked images, by threshold."""
        counts = np.array(self.sweep).transpose(1, 0, 2)
        scores = [values.mean(axis=0) for values in precision_recall_f1(*counts)]
        return pd.DataFrame(
            dict(zip(("precision", "recall", "f1"), scores, strict=True)), index=pd.Index(self.thresholds, name="threshold")
        )


def exact_counts(frame: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    """TP, FP and FN without tolerance."""
    hit = frame["hit_0px"]
    return hit, frame["predicted_px"] - hit, frame["truth_px"] - hit
