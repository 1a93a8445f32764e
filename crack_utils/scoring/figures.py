"""The figures of a test set from its images."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from crack_utils.scoring.calibration import binned_average_precision, calibration
from crack_utils.scoring.decision import average_precision, decision_scores, roc_curve
from crack_utils.scoring.geometry import to_millimetres
from crack_utils.scoring.images import GEOMETRY, RADII_PX, WIDTHS_PX, Measured, exact_counts
from crack_utils.scoring.scores import disc_scores, intersection_over_union, optimal_scores, precision_recall_f1
from crack_utils.scoring.uncertainty import LEAST_PHOTOS, bootstrap_interval, ratio, ratio_or_zero


def protocol_figures(measured: Measured) -> dict[str, Any]:
    """The figures of segmentation by every protocol, each named so that no two can be confused."""
    frame = measured.per_image.query("has_crack")
    if frame.empty:
        raise ValueError("no cracked image to score the segmentation by")
    tp, fp, fn = (frame[name].to_numpy() for name in ("tp", "fp", "fn"))
    figures: dict[str, Any] = {
        "record_2px_mean": _named(precision_recall_f1(tp, fp, fn)),
        "record_2px_pooled": _named(precision_recall_f1(tp.sum(), fp.sum(), fn.sum())),
    }
    for radius in RADII_PX:
        counts = [frame[name].to_numpy() for name in (f"hit_{radius}px", "predicted_px", f"found_{radius}px", "truth_px")]
        figures[f"disc_{radius}px_mean"] = _named(disc_scores(*counts))
        figures[f"disc_{radius}px_pooled"] = _named(disc_scores(*(count.sum() for count in counts)))
    tp, fp, fn = (count.sum() for count in exact_counts(frame))
    crack, rest = (float(intersection_over_union(hit, fp, fn)) for hit in (tp, frame["image_px"].sum() - tp - fp - fn))
    calibrated = calibration(measured.histogram)
    discs = {name: np.array([np.atleast_1d(each[name]) for each in measured.discs]) for name in measured.discs[0]}
    return figures | {
        "crack_iou_mean": float(frame["iou"].mean()),
        "crack_iou_pooled": crack,
        "mean_iou_pooled": (crack + rest) / 2,
        "dice_mean": figures["disc_0px_mean"]["f1"],
        "dice_pooled": figures["disc_0px_pooled"]["f1"],
        "average_precision_pooled": binned_average_precision(measured.histogram),
        "cl_dice_mean": float(frame["cl_dice"].mean()),
        "hd95_mean_px": float(frame["hd95_px"].mean()),
        "hd95_median_px": float(frame["hd95_px"].median()),
        "oracle": optimal_scores(discs, measured.thresholds),
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
        "decision": decision_scores(frame["has_crack"], frame["decision_prob"], decided_at),
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
    false, true = roc_curve(has_crack, probs) if not has_crack.all() else (None, None)
    area = None if false is None else float(np.trapezoid(true, false))
    return {"average_precision": average_precision(has_crack, probs), "roc_auc": area}


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
        scaled = to_millimetres(measured, mm_per_px)
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
    geometry = [to_millimetres({name: frame[f"{side}{name}"] for name in GEOMETRY}, mm_per_px) for side in ("", "true_")]
    return frame.assign(**geometry[0], **{f"true_{name}": values for name, values in geometry[1].items()})
