"""Each test image measured by every protocol, and the figures of a test set from its images.

Which images count where is the rule at the top of :mod:`crack_utils.metrics`.
"""

import dataclasses
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import torch

from crack_utils import geometry, metrics
from crack_utils.uncertainty import LEAST_PHOTOS, bootstrap_interval, ratio, ratio_or_zero

RADII_PX = (0, 2, 5)  # of the Euclidean disc, the tolerances of crack papers
WIDTHS_PX = {"below_3px": 3, "3_to_6px": 6, "6_to_12px": 12, "from_12px": np.inf}  # classes of true width, each below its bound
FAR_PX = 10  # false alarms farther from any crack are no outline drawn too broad
GEOMETRY = ("length_px", "width_mean_px", "width_p95_px", "density")


# --- one image -------------------------------------------------------------------------------------------------------


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
    near = metrics.dilate(mask, 2)
    row: dict[str, float] = {
        "tp": int((near & predicted).sum()),
        "fp": int((predicted & ~near).sum()),
        "fn": int((mask & ~predicted).sum()),
        "predicted_px": int(predicted.sum()),
        "truth_px": int(mask.sum()),
        "image_px": mask.size,
    }
    for radius in RADII_PX:
        row[f"hit_{radius}px"] = int((metrics.dilate_disc(mask, radius) & predicted).sum())
        row[f"found_{radius}px"] = int((mask & metrics.dilate_disc(predicted, radius)).sum())
    lines = metrics.skeleton(predicted), metrics.skeleton(mask)
    row["cl_dice"], row["hd95_px"] = metrics.cl_dice(predicted, mask, *lines), metrics.hd95(predicted, mask)
    row |= metrics.crack_geometry(predicted, lines[0])
    row |= {f"true_{name}": value for name, value in metrics.crack_geometry(mask, lines[1]).items()}
    return row | _misses_and_strays(predicted, mask, lines[1])


def _misses_and_strays(predicted: np.ndarray, mask: np.ndarray, line: np.ndarray) -> dict[str, int]:
    """Pixels of the truth's skeleton ``line`` by its width there (WIDTHS_PX), those within 2 px of the prediction, and predicted
    pixels farther than FAR_PX from the truth."""
    bounds = list(WIDTHS_PX.values())[:-1]
    classes = np.digitize(geometry.crack_widths(mask, line), bounds)
    found = metrics.dilate_disc(predicted, 2)[line]
    row = {"stray_px": int((predicted & ~geometry.within(mask, FAR_PX)).sum())}
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
        sweep = np.concatenate(metrics.tolerance_counts([prob], [mask], self.thresholds))  # on a GPU, if it is there
        discs = metrics.disc_counts(seg_prob, mask, self.thresholds, 2)
        return row, (sweep, discs, metrics.probability_histogram(seg_prob, mask))

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
        scores = metrics.precision_recall_f1(frame["tp"], frame["fp"], frame["fn"])
        frame["precision"], frame["recall"], frame["f1"] = (np.where(frame["has_crack"], values, np.nan) for values in scores)
        frame["iou"] = np.where(frame["has_crack"], metrics.intersection_over_union(*exact_counts(frame)), np.nan)
        for name in GEOMETRY:
            frame[f"error_{name}"] = frame[name] - frame[f"true_{name}"]
        alarms = np.where(frame["has_crack"], 0, -frame["predicted_px"] / frame["image_px"])
        return frame.iloc[np.lexsort([alarms, frame["f1"]])].reset_index(drop=True)

    @property
    def curves(self) -> pd.DataFrame:
        """Mean precision, recall and F1 of the cracked images, by threshold."""
        counts = np.array(self.sweep).transpose(1, 0, 2)
        scores = [values.mean(axis=0) for values in metrics.precision_recall_f1(*counts)]
        return pd.DataFrame(
            dict(zip(("precision", "recall", "f1"), scores, strict=True)), index=pd.Index(self.thresholds, name="threshold")
        )


def exact_counts(frame: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    """TP, FP and FN without tolerance."""
    hit = frame["hit_0px"]
    return hit, frame["predicted_px"] - hit, frame["truth_px"] - hit


# --- a set -----------------------------------------------------------------------------------------------------------


def protocol_figures(measured: Measured) -> dict[str, Any]:
    """The figures of segmentation by every protocol, each named so that no two can be confused."""
    frame = measured.per_image.query("has_crack")
    if frame.empty:
        raise ValueError("no cracked image to score the segmentation by")
    tp, fp, fn = (frame[name].to_numpy() for name in ("tp", "fp", "fn"))
    figures: dict[str, Any] = {
        "record_2px_mean": _named(metrics.precision_recall_f1(tp, fp, fn)),
        "record_2px_pooled": _named(metrics.precision_recall_f1(tp.sum(), fp.sum(), fn.sum())),
    }
    for radius in RADII_PX:
        counts = [frame[name].to_numpy() for name in (f"hit_{radius}px", "predicted_px", f"found_{radius}px", "truth_px")]
        figures[f"disc_{radius}px_mean"] = _named(metrics.disc_scores(*counts))
        figures[f"disc_{radius}px_pooled"] = _named(metrics.disc_scores(*(count.sum() for count in counts)))
    tp, fp, fn = (count.sum() for count in exact_counts(frame))
    crack, rest = (float(metrics.intersection_over_union(hit, fp, fn)) for hit in (tp, frame["image_px"].sum() - tp - fp - fn))
    calibrated = metrics.calibration(measured.histogram)
    discs = {name: np.array([np.atleast_1d(each[name]) for each in measured.discs]) for name in measured.discs[0]}
    return figures | {
        "crack_iou_mean": float(frame["iou"].mean()),
        "crack_iou_pooled": crack,
        "mean_iou_pooled": (crack + rest) / 2,
        "dice_mean": figures["disc_0px_mean"]["f1"],
        "dice_pooled": figures["disc_0px_pooled"]["f1"],
        "average_precision_pooled": metrics.binned_average_precision(measured.histogram),
        "cl_dice_mean": float(frame["cl_dice"].mean()),
        "hd95_mean_px": float(frame["hd95_px"].mean()),
        "hd95_median_px": float(frame["hd95_px"].median()),
        "oracle": metrics.optimal_scores(discs, measured.thresholds),
        "calibration": {name: values if name == "ece" else numbers(values) for name, values in calibrated.items()},
    }


def _named(scores: Sequence[np.ndarray]) -> dict[str, float]:
    return {name: float(np.mean(values)) for name, values in zip(("precision", "recall", "f1"), scores, strict=True)}


def numbers(values: np.ndarray) -> list[float | None]:
    """An array as JSON has it: no NaN."""
    return [None if np.isnan(value) else float(value) for value in values]


def headline(frame: pd.DataFrame, decided_at: float) -> dict[str, Any]:
    """The record's figures of segmentation and decision on the images of a frame; None where there is no image to have them."""
    cracked = frame[frame["has_crack"]]
    if cracked.empty:
        return {"segmentation_2px": None, "decision": None}
    return {
        "segmentation_2px": {name: float(cracked[name].mean()) for name in ("precision", "recall", "f1")},
        "decision": metrics.decision_scores(frame["has_crack"], frame["decision_prob"], decided_at),
    }


def false_alarms(frame: pd.DataFrame) -> dict[str, float | int | None]:
    """On the crack-free images: how many there are, how many show any predicted crack, and on what share of their pixels."""
    free = frame[~frame["has_crack"]]
    share = float((free["predicted_px"] / free["image_px"]).mean()) if len(free) else None
    return {"images": len(free), "images_with_false_alarm": int((free["predicted_px"] > 0).sum()), "false_alarm_pixel_share": share}


def decision_ranking(frame: pd.DataFrame) -> dict[str, float | None]:
    """How well the decision's scores rank images, whatever the threshold: average precision, and the area under the ROC curve,
    which takes images of both kinds."""
    has_crack, probs = frame["has_crack"].to_numpy(), frame["decision_prob"].to_numpy()
    false, true = metrics.roc_curve(has_crack, probs) if not has_crack.all() else (None, None)
    area = None if false is None else float(np.trapezoid(true, false))
    return {"average_precision": metrics.average_precision(has_crack, probs), "roc_auc": area}


def without_leaks(frame: pd.DataFrame, leaking: Collection[str], decided_at: float) -> dict[str, Any] | None:
    """The headline figures without the test images that leak from train or val; None where none does."""
    leaks = frame["stem"].isin(leaking)
    return {"images_left_out": int(leaks.sum()), **headline(frame[~leaks], decided_at)} if leaks.any() else None


def intervals(frame: pd.DataFrame, decided_at: float) -> dict[str, Any]:
    """95 % intervals of the headline figures, resampling photos; ``photos`` says how many show a crack, and how many none. A figure
    has none where those of a kind that counts in it come from fewer than LEAST_PHOTOS."""
    frame = frame.assign(one=1.0, decided=frame["decision_prob"].astype(float) >= decided_at)
    cracked, crack_free = frame[frame["has_crack"]], frame[~frame["has_crack"]]
    photos = {"cracked": cracked["photo"].nunique(), "crack_free": crack_free["photo"].nunique()}

    def of(rows: pd.DataFrame, *values: pd.Series, figure: Callable[[np.ndarray], np.ndarray] = ratio) -> list[float | None]:
        if (rows.groupby("has_crack")["photo"].nunique() < LEAST_PHOTOS).any():
            return [None, None]
        return numbers(np.array(bootstrap_interval(np.stack(values, axis=1).astype(float), rows["photo"], figure)))

    truth, decided = frame["has_crack"], frame["decided"]
    found: dict[str, Any] = {
        "photos": photos,
        "segmentation_2px": {name: of(cracked, cracked[name], cracked["one"]) for name in ("precision", "recall", "f1")},
        "crack_iou_pooled": of(cracked, cracked["hit_0px"], sum(exact_counts(cracked))),
        "length_px_by_true": of(cracked, cracked["length_px"], cracked["true_length_px"]),
        "decision": {
            "precision": of(frame, decided & truth, decided, figure=ratio_or_zero),
            "recall": of(cracked, cracked["decided"], cracked["one"]),
            "f1": of(frame, 2 * (decided & truth), decided + truth.astype(int), figure=ratio_or_zero),
            "accuracy": of(frame, decided == truth, frame["one"]),
        },
    }
    if len(crack_free):
        found["decision"]["false_positive_share"] = of(crack_free, crack_free["decided"], crack_free["one"])
        found["false_alarm_pixel_share"] = of(crack_free, crack_free["predicted_px"] / crack_free["image_px"], crack_free["one"])
    return found


def engineering(frame: pd.DataFrame, mm_per_px: float | None = None) -> dict[str, Any]:
    """Length, width and density of cracks over the cracked images of a set, predicted against true, and the errors image by image.

    Lengths add up; a width is the mean over images of the image's own, weighted by length; a density is the length by the area. The
    errors of widths are those of the images where something was predicted. ``false_length_px`` is what was drawn on crack-free images.
    In millimetres too, where a pixel's size is known.
    """
    cracked, free = frame[frame["has_crack"]], frame[~frame["has_crack"]]
    found: dict[str, Any] = {"images": len(cracked), "false_length_px": float(free["length_px"].sum())}
    for name in GEOMETRY:
        for side in ("", "true_"):
            values, lengths = cracked[f"{side}{name}"], cracked[f"{side}length_px"]
            if name == "length_px":
                value = values.sum()
            elif name == "density":
                value = lengths.sum() / cracked["image_px"].sum()
            else:
                kept = values.notna() & (lengths > 0)
                value = np.average(values[kept], weights=lengths[kept]) if kept.any() else np.nan
            found[f"{side}{name}"] = None if np.isnan(value) else float(value)
        errors = (cracked[name] - cracked[f"true_{name}"]).abs()
        found[f"{name}_mean_absolute_error"] = None if errors.isna().all() else float(errors.mean())
    for side in ("", "true_") if mm_per_px else ():
        measured = {name: np.nan if found[side + name] is None else found[side + name] for name in GEOMETRY}
        scaled = metrics.to_millimetres(measured, mm_per_px)
        found |= {side + name: None if np.isnan(value) else value for name, value in scaled.items()}
    return found


def failures(frame: pd.DataFrame) -> dict[str, Any]:
    """Where the segmentation of the cracked images fails: what share of the true cracks' centrelines is found, within 2 px, by the
    crack's width there, with its 95 % interval; and how many of the false alarms (``fp_px``) are strays, over FAR_PX from any crack."""
    cracked = frame[frame["has_crack"]]
    by_width = {}
    for name in WIDTHS_PX:
        having = cracked[cracked[f"line_px_{name}"] > 0]
        counts = having[[f"line_found_px_{name}", f"line_px_{name}"]].to_numpy(float)
        found, line = counts.sum(axis=0)
        interval = numbers(np.array(bootstrap_interval(counts, having["photo"], ratio)))
        by_width[name] = {"line_px": int(line), "found": float(found / line) if line else None, "interval": interval}
    return {"by_width": by_width, "fp_px": int(cracked["fp"].sum()), "stray_px": int(cracked["stray_px"].sum())}


def in_millimetres(frame: pd.DataFrame, mm_per_px: float | None) -> pd.DataFrame:
    """Rows of images with their geometry in millimetres too, where a pixel's size is known."""
    if mm_per_px is None:
        return frame
    geometry = [metrics.to_millimetres({name: frame[f"{side}{name}"] for name in GEOMETRY}, mm_per_px) for side in ("", "true_")]
    return frame.assign(**geometry[0], **{f"true_{name}": values for name, values in geometry[1].items()})
