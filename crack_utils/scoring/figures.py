"""The figures of segmentation. Each is one entry of FIGURES, which metrics.json, the tables and docs/figures.md read."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from crack_utils.scoring.arrays import numbers
from crack_utils.scoring.images import Measured, exact_counts
from crack_utils.scoring.pixels import binned_average_precision, calibration
from crack_utils.scoring.scores import SCORES, disc_scores, intersection_over_union, optimal_scores, precision_recall_f1


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure of a test set: an entry of metrics.json's ``protocols`` and a row of a table."""

    key: str
    title: str
    compute: Callable[[pd.DataFrame, Measured], Any]  # from the rows of the cracked images, and the whole test set, to a value for JSON
    table: Literal["protocols", "overlap", "oracles"] = "overlap"  # "protocols": the value is precision, recall and F1
    parts: Mapping[str, str] = dataclasses.field(default_factory=dict)  # titles of the parts of the value that the table shows

    def rows(self, found: Mapping[str, Any]) -> list[tuple[str, Any]]:
        """Titles and values for the table, from metrics.json's ``protocols``; none where an older run lacks the figure."""
        if self.parts:
            return [(title, found[self.key][part]) for part, title in self.parts.items() if part in found.get(self.key, {})]
        return [(self.title, found[self.key])] if self.key in found else []


def _record(cracked: pd.DataFrame, _: Measured, pooled: bool) -> dict[str, float]:
    return _scores(precision_recall_f1, cracked[["tp", "fp", "fn"]], pooled)


def _disc(cracked: pd.DataFrame, _: Measured, radius_px: int, pooled: bool) -> dict[str, float]:
    return _scores(disc_scores, cracked[[f"hit_{radius_px}px", "predicted_px", f"found_{radius_px}px", "truth_px"]], pooled)


def _scores(score: Callable, counts: pd.DataFrame, pooled: bool) -> dict[str, float]:
    """The scores of the counts' columns: of their sums if ``pooled``, else the means over images."""
    columns = counts.to_numpy().T
    values = score(*(columns.sum(axis=1) if pooled else columns))
    return {name: float(np.mean(value)) for name, value in zip(SCORES, values, strict=True)}


def _pooled_iou(cracked: pd.DataFrame) -> tuple[float, float]:
    """IoU of the crack pixels and of all other pixels."""
    tp, fp, fn = (count.sum() for count in exact_counts(cracked))
    tn = cracked["image_px"].sum() - tp - fp - fn
    return float(intersection_over_union(tp, fp, fn)), float(intersection_over_union(tn, fp, fn))


def _oracle(_: pd.DataFrame, test: Measured) -> dict[str, float]:
    discs = {name: np.array([np.atleast_1d(each[name]) for each in test.discs]) for name in test.discs[0]}
    return optimal_scores(discs, test.thresholds)


def _calibration(_: pd.DataFrame, test: Measured) -> dict[str, Any]:
    return {name: values if name == "ece" else numbers(values) for name, values in calibration(test.histogram).items()}


FIGURES = (  # in metrics.json's order
    Figure(
        "record_2px_mean",
        "the record's count: hits within a plus of 2 px, misses without tolerance; mean over images",
        partial(_record, pooled=False),
        "protocols",
    ),
    Figure("record_2px_pooled", "the record's count, pixels of all images pooled", partial(_record, pooled=True), "protocols"),
    Figure("disc_0px_mean", "exact pixels, mean over images (F1 is Dice)", partial(_disc, radius_px=0, pooled=False), "protocols"),
    Figure("disc_0px_pooled", "exact pixels, pooled (F1 is Dice)", partial(_disc, radius_px=0, pooled=True), "protocols"),
    Figure("disc_2px_mean", "disc of 2 px on both sides, mean over images", partial(_disc, radius_px=2, pooled=False), "protocols"),
    Figure("disc_2px_pooled", "disc of 2 px on both sides, pooled", partial(_disc, radius_px=2, pooled=True), "protocols"),
    Figure("disc_5px_mean", "disc of 5 px on both sides, mean over images", partial(_disc, radius_px=5, pooled=False), "protocols"),
    Figure("disc_5px_pooled", "disc of 5 px on both sides, pooled", partial(_disc, radius_px=5, pooled=True), "protocols"),
    Figure("crack_iou_mean", "IoU of crack, mean over images", lambda cracked, _: float(cracked["iou"].mean())),
    Figure("crack_iou_pooled", "IoU of crack, pooled", lambda cracked, _: _pooled_iou(cracked)[0]),
    Figure("mean_iou_pooled", "mean IoU (of crack and of the rest), pooled", lambda cracked, _: sum(_pooled_iou(cracked)) / 2),
    Figure("dice_mean", "Dice, mean over images", lambda cracked, test: _disc(cracked, test, radius_px=0, pooled=False)["f1"]),
    Figure("dice_pooled", "Dice, pooled", lambda cracked, test: _disc(cracked, test, radius_px=0, pooled=True)["f1"]),
    Figure(
        "average_precision_pooled",
        "average precision of pixels, pooled (to about three digits)",
        lambda _, test: binned_average_precision(test.histogram),
    ),
    Figure("cl_dice_mean", "clDice (centrelines), mean over images", lambda cracked, _: float(cracked["cl_dice"].mean())),
    Figure(
        "hd95_mean_px",
        "HD95, mean over images (px; lower is better; one far false alarm raises it much)",
        lambda cracked, _: float(cracked["hd95_px"].mean()),
    ),
    Figure("hd95_median_px", "HD95, median over images (px)", lambda cracked, _: float(cracked["hd95_px"].median())),
    Figure(
        "oracle",
        "oracles: they choose thresholds on the images they score, so they are not results of a model",
        _oracle,
        "oracles",
        {
            "ods": "ODS (oracle: pooled F1, disc of 2 px, at the one of the 180 thresholds that is best on test)",
            "ois": "OIS (oracle: mean F1, disc of 2 px, at each image's own best threshold)",
        },
    ),
    Figure(
        "calibration",
        "pixels by probability in 16 bins: mean probability (`confidence`), share of crack (`share`), number (`pixels`)",
        _calibration,
        parts={"ece": "expected calibration error of pixels, pooled (lower is better)"},
    ),
)


def protocol_figures(measured: Measured, figures: Iterable[Figure] = FIGURES) -> dict[str, Any]:
    """Compute the figures of segmentation by key.

    Raises:
        ValueError: there is no cracked image.
    """
    cracked = measured.per_image.query("has_crack")
    if cracked.empty:
        raise ValueError("there is no cracked image, so the segmentation cannot be scored")
    return {figure.key: figure.compute(cracked, measured) for figure in figures}


def figures_markdown(figures: Iterable[Figure] = FIGURES) -> str:
    """A Markdown table of the figures: their keys in metrics.json's ``protocols``, and what they are."""
    rows = [
        f"| `{key}` | {title} |"
        for figure in figures
        for key, title in [(figure.key, figure.title), *((f"{figure.key}.{part}", title) for part, title in figure.parts.items())]
    ]
    return "\n".join(["| Key | Figure |", "|---|---|", *rows])
