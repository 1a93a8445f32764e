"""The evaluation page's tables."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pandas as pd

from crack_utils.reporting.tables import SCORE_NAMES
from crack_utils.scoring import FIGURES, WIDTHS_PX, Figure


def headline_table(results: dict[str, Any]) -> pd.DataFrame:
    """How good the model is, in at most eight rows that need no knowledge of the code."""
    decision, segmentation, crack_free = results["decision"], results["segmentation_2px"], results["crack_free"]
    protocols, sure, length = results["protocols"], results["intervals"], results["engineering"]
    found, free = f"{decision['tp']} of {decision['tp'] + decision['fn']}", crack_free["images"]
    rows = [("Cracked images found", found, _percent(sure["decision"]["recall"], 0), "images with a crack that were called cracked")]
    if free:
        alarms = f"{100 * crack_free['false_alarm_pixel_share']:.2f} %"
        called = _percent(sure["decision"]["false_positive_share"], 0)
        rows.append(("Crack-free images called cracked", f"{decision['fp']} of {free}", called, "false alarms of the decision"))
        rows.append(
            ("Pixels marked on crack-free images", alarms, _percent(sure["false_alarm_pixel_share"], 2), "false alarms of the segmentation")
        )
    for name, words in (
        ("f1", "the record's figure: precision and recall in one; 1 is perfect"),
        ("precision", "share of an image's marked pixels that lie on a crack or within 2 pixels of one"),
        ("recall", "hits set against the crack's pixels that were missed; 1: none was"),
    ):
        title = f"{SCORE_NAMES[name]} within 2 pixels"
        rows.append((title, f"{segmentation[name]:.3f}", _interval(sure["segmentation_2px"][name]), words))
    overlap = f"{protocols['crack_iou_pooled']:.3f}"
    rows.append(
        ("Exact overlap (IoU)", overlap, _interval(sure["crack_iou_pooled"]), "pixels both mark by pixels either marks, no tolerance")
    )
    share = f"{100 * length['length_px'] / length['true_length_px']:.0f} %"
    words = "length of predicted cracks by that of the true ones, on cracked images"
    rows.append(("Crack length", share, _percent(sure["length_px_by_true"], 0), words))
    return pd.DataFrame(rows, columns=["Figure", "On test", "95 % interval", "What it is"], dtype=object)


def _interval(bounds: list[float | None]) -> str:
    return "" if None in bounds else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def _percent(bounds: list[float | None], digits: int) -> str:
    return "" if None in bounds else f"{100 * bounds[0]:.{digits}f} to {100 * bounds[1]:.{digits}f} %"


def protocols_table(results: dict[str, Any], figures: Iterable[Figure] = FIGURES) -> pd.DataFrame:
    """Precision, recall and F1 by every way of counting."""
    found = results["protocols"]
    rows = [(title, *scores.values()) for figure in figures if figure.table == "protocols" for title, scores in figure.rows(found)]
    return pd.DataFrame(rows, columns=["Protocol", "Precision", "Recall", "F1"], dtype=object)


def overlap_table(results: dict[str, Any], figures: Iterable[Figure] = FIGURES) -> pd.DataFrame:
    """The other figures in use. The oracles stand last: they choose thresholds on the very images they score."""
    figures = sorted((figure for figure in figures if figure.table != "protocols"), key=lambda figure: figure.table == "oracles")
    rows = [row for figure in figures for row in figure.rows(results["protocols"])]
    return pd.DataFrame(rows, columns=["Figure", "On test"], dtype=object)


def engineering_table(results: dict[str, Any], mm_per_px: float | None) -> pd.DataFrame:
    """Crack length, width and density of the cracked test images, predicted against true; in mm where a pixel's size is known."""
    found, scale = results["engineering"], mm_per_px or 1
    unit, density = ("mm", "m per m\u00b2") if mm_per_px else ("px", "px per 1000 px\u00b2")
    titles = {
        "length_px": (f"Length in all ({unit})", scale),
        "width_mean_px": (f"Width, mean ({unit})", scale),
        "width_p95_px": (f"Width, the images' 95th percentiles ({unit})", scale),
        "density": (f"Density ({density})", 1000 / scale),
    }
    rows = []
    for name, (title, factor) in titles.items():
        true, predicted, error = found[f"true_{name}"], found[name], found[f"{name}_mean_absolute_error"]
        off = f"{100 * (predicted / true - 1):+.1f} %" if true and predicted is not None else ""
        rows.append(
            (
                title,
                *(None if value is None else round(value * factor, 3) for value in (true, predicted)),
                off,
                error and round(error * factor, 3),
            )
        )
    if results["crack_free"]["images"]:
        rows.append((f"Length drawn on crack-free images ({unit})", 0, round(found["false_length_px"] * scale, 3), "", ""))
    return pd.DataFrame(rows, columns=["Measure", "True", "Predicted", "Off by", "Mean error of an image"], dtype=object)


def failures_table(results: dict[str, Any], mm_per_px: float | None) -> pd.DataFrame:
    """How much of the true cracks is found, by their width; widths that do not occur are left out."""
    found, scale, unit = results["failures"]["by_width"], mm_per_px or 1, "mm" if mm_per_px else "px"
    bounds = [0, *(f"{bound * scale:.3g}" for bound in WIDTHS_PX.values())]
    words = [f"below {bounds[1]}", *(f"{low} to {high}" for low, high in pairwise(bounds[1:-1])), f"{bounds[-2]} and more"]
    whole = sum(each["line_px"] for each in found.values())
    rows = [
        (f"{title} {unit}", f"{100 * each['line_px'] / whole:.1f} %", f"{100 * each['found']:.1f} %", _percent(each["interval"], 1))
        for title, each in zip(words, found.values(), strict=True)
        if each["line_px"]
    ]
    return pd.DataFrame(rows, columns=["Width of the crack", "Share of all cracks", "Found", "95 % interval"], dtype=object)


def leaks_table(results: dict[str, Any]) -> pd.DataFrame:
    """The headline figures with and without the test images that leak from train or val."""
    kept = results["without_leaks"]
    rows = []
    for kind, title in (("segmentation_2px", "within 2 pixels"), ("decision", "of the decision")):
        for name in ("precision", "recall", "f1"):
            without = kept[kind][name] if kept[kind] else None
            rows.append((f"{SCORE_NAMES[name]} {title}", results[kind][name], without))
    return pd.DataFrame(rows, columns=["Figure", "All test images", "Without those that leak"], dtype=object)
