"""Test images, each measured by every way of counting."""

import dataclasses
import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd

from crack_utils.scoring.arrays import as_array
from crack_utils.scoring.counts import disc_counts, tolerance_counts, tolerance_maps
from crack_utils.scoring.geometry import cl_dice, crack_geometry, crack_widths, dilate_disc, hd95, skeleton, within
from crack_utils.scoring.pixels import probability_histogram
from crack_utils.scoring.scores import SCORES, intersection_over_union, mean_curves, precision_recall_f1

RADII_PX = (0, 2, 5)  # of the Euclidean disc, the tolerances of crack papers
WIDTHS_PX = {"below_3px": 3, "3_to_6px": 6, "6_to_12px": 12, "from_12px": np.inf}  # classes of true width and their upper bounds
FAR_PX = 10  # a false alarm farther than this from every crack is a stray, not an outline drawn too broad
GEOMETRY = ("length_px", "width_mean_px", "width_p95_px", "density")


def measure(seg_prob: np.ndarray, mask: np.ndarray, threshold: float) -> dict[str, float]:
    """Count and score one image, (H, W) float32 probabilities and (H, W) bool; pixels above the threshold are predicted as crack.

    Returns:
        The record's ``tp``, ``fp``, ``fn``; ``hit_Rpx``, ``found_Rpx`` for each radius R of RADII_PX, ``predicted_px``, ``truth_px``,
        ``image_px``; ``cl_dice``, ``hd95_px``; the geometry of the prediction, and of the truth under names that begin with ``true_``;
        the counts of :func:`_misses_and_strays`.
    """
    mask = np.asarray(mask, bool)
    predicted = np.asarray(seg_prob, np.float64) > threshold
    hit, miss, false_alarm = tolerance_maps(seg_prob, mask, threshold)
    row: dict[str, float] = {
        "tp": int(hit.sum()),
        "fp": int(false_alarm.sum()),
        "fn": int(miss.sum()),
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
    """Count where the prediction fails.

    ``line_px_CLASS`` are the pixels of the truth's skeleton ``line`` by the width there, for each class of WIDTHS_PX;
    ``line_found_px_CLASS`` are those within 2 px of the prediction; ``stray_px`` are predicted pixels farther than FAR_PX from the truth.
    """
    bounds = list(WIDTHS_PX.values())[:-1]
    classes = np.digitize(crack_widths(mask, line), bounds)
    found = dilate_disc(predicted, 2)[line]
    row = {"stray_px": int((predicted & ~within(mask, FAR_PX)).sum())}
    for i, name in enumerate(WIDTHS_PX):
        row |= {f"line_px_{name}": int((classes == i).sum()), f"line_found_px_{name}": int((found & (classes == i)).sum())}
    return row


@dataclasses.dataclass
class Measured:
    """A test set, measured image by image. Memory grows by some KB an image.

    ``rows`` are those of :func:`measure`. The other fields are of the cracked images: ``counts`` holds the record's tp, fp, fn at every
    threshold, ``discs`` the counts within a disc of 2 px at every threshold, and ``histogram`` the pooled probabilities.
    """

    thresholds: np.ndarray
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    counts: list[np.ndarray] = dataclasses.field(default_factory=list)
    discs: list[dict[str, np.ndarray]] = dataclasses.field(default_factory=list)
    histogram: np.ndarray | int = 0

    def add_all(self, images: Iterable[tuple[dict[str, Any], Any, np.ndarray, float]]) -> None:
        """Measure images on all cores, in their order, few at a time. Each image is the first columns of its row (stem, photo,
        decision_prob), ``seg_prob`` as an array or a tensor on any device, ``mask`` and ``threshold``."""
        pending: deque[Future] = deque()
        with ThreadPoolExecutor() as pool:
            for image in images:
                pending.append(pool.submit(self._examine, *image))
                if len(pending) > 2 * (os.cpu_count() or 1):
                    self._take(*pending.popleft().result())
            for examined in pending:
                self._take(*examined.result())

    def _examine(self, about: dict[str, Any], prob: Any, mask: np.ndarray, threshold: float) -> tuple[dict[str, Any], Any]:
        seg_prob = as_array(prob)
        row = {**about, "has_crack": bool(mask.any()), "threshold": threshold, **measure(seg_prob, mask, threshold)}
        if not mask.any():
            return row, None
        if np.isinf(threshold):  # a blackened image: nothing is predicted at any threshold
            prob = seg_prob = np.zeros_like(seg_prob)
        counts = np.concatenate(tolerance_counts([prob], [mask], self.thresholds))  # on the GPU, if the tensor lies there
        discs = disc_counts(seg_prob, mask, self.thresholds, 2)
        return row, (counts, discs, probability_histogram(seg_prob, mask))

    def _take(self, row: dict[str, Any], over_thresholds: Any) -> None:
        self.rows.append(row)
        if over_thresholds:
            counts, discs, histogram = over_thresholds
            self.counts.append(counts)
            self.discs.append(discs)
            self.histogram = self.histogram + histogram

    @property
    def per_image(self) -> pd.DataFrame:
        """A row for each image.

        Cracked images come first, the worst F1 on top. Crack-free images have no scores; they follow, most predicted pixels on top.
        Each ``error_...`` of the geometry is the predicted value minus the true one.
        """
        frame = pd.DataFrame(self.rows)
        for name, values in zip(SCORES, precision_recall_f1(frame["tp"], frame["fp"], frame["fn"]), strict=True):
            frame[name] = np.where(frame["has_crack"], values, np.nan)
        frame["iou"] = np.where(frame["has_crack"], intersection_over_union(*exact_counts(frame)), np.nan)
        for name in GEOMETRY:
            frame[f"error_{name}"] = frame[name] - frame[f"true_{name}"]
        alarms = np.where(frame["has_crack"], 0, -frame["predicted_px"] / frame["image_px"])
        return frame.iloc[np.lexsort([alarms, frame["f1"]])].reset_index(drop=True)

    @property
    def curves(self) -> pd.DataFrame:
        """Mean precision, recall and F1 of the cracked images, by threshold."""
        return mean_curves(*np.array(self.counts).transpose(1, 0, 2), self.thresholds)


def exact_counts(frame: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    """TP, FP and FN without tolerance."""
    hit = frame["hit_0px"]
    return hit, frame["predicted_px"] - hit, frame["truth_px"] - hit
