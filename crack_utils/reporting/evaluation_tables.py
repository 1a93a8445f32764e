"""The evaluation page's tables."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pandas as pd

from crack_utils.reporting.html import interval, percent_interval, unit_and_scale
from crack_utils.reporting.tables import SCORE_NAMES
from crack_utils.scoring import FIGURES, SCORES, WIDTHS_PX, Figure


def headline_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """How good the network is, in at most eight rows that need no knowledge of the code."""
    decision, crack_free, length, bounds = (metrics[name] for name in ("decision", "crack_free", "engineering", "intervals"))
    decided, scores = bounds["decision"], metrics["segmentation_2px"]
    found, limits = f"{decision['tp']} of {decision['tp'] + decision['fn']}", percent_interval(decided["recall"], 0)
    rows = [("Cracked images found", found, limits, "images with a crack that were called cracked")]
    if crack_free["images"]:
        called, limits = f"{decision['fp']} of {crack_free['images']}", percent_interval(decided["false_positive_share"], 0)
        rows.append(("Crack-free images called cracked", called, limits, "false alarms of the decision"))
        share, limits = f"{100 * crack_free['false_alarm_pixel_share']:.2f} %", percent_interval(bounds["false_alarm_pixel_share"], 2)
        rows.append(("Pixels marked on crack-free images", share, limits, "false alarms of the segmentation"))
    for name, words in {
        "f1": "the record's main figure: precision and recall in one number; 1 is perfect",
        "precision": "share of an image's marked pixels that lie on a crack or within 2 pixels of one",
        "recall": "hits divided by the sum of hits and missed crack pixels; 1 means that none was missed",
    }.items():
        limits = interval(bounds["segmentation_2px"][name])
        rows.append((f"{SCORE_NAMES[name]} within 2 pixels", f"{scores[name]:.3f}", limits, words))
    overlap, limits = f"{metrics['protocols']['crack_iou_pooled']:.3f}", interval(bounds["crack_iou_pooled"])
    words = "pixels marked in both prediction and truth, as a share of those marked in either"
    rows.append(("Exact overlap (IoU)", overlap, limits, words))
    share, limits = f"{100 * length['length_px'] / length['true_length_px']:.0f} %", percent_interval(bounds["length_px_by_true"], 0)
    rows.append(("Crack length", share, limits, "length of predicted cracks, as a share of the length of true ones, on cracked images"))
    return pd.DataFrame(rows, columns=["Figure", "On test", "95 % interval", "What it is"], dtype=object)


def protocols_table(results: dict[str, Any], figures: Iterable[Figure] = FIGURES) -> pd.DataFrame:
    """Precision, recall and F1 by every way of counting."""
    rows = [(title, *scores.values()) for each in figures if each.table == "protocols" for title, scores in each.rows(results["protocols"])]
    return pd.DataFrame(rows, columns=["Protocol", "Precision", "Recall", "F1"], dtype=object)


def overlap_table(results: dict[str, Any], figures: Iterable[Figure] = FIGURES) -> pd.DataFrame:
    """The other figures in use. The oracles stand last: they choose thresholds on the very images they score."""
    figures = sorted((figure for figure in figures if figure.table != "protocols"), key=lambda figure: figure.table == "oracles")
    rows = [row for figure in figures for row in figure.rows(results["protocols"])]
    return pd.DataFrame(rows, columns=["Figure", "On test"], dtype=object)


def engineering_table(metrics: dict[str, Any], mm_per_px: float | None) -> pd.DataFrame:
    """Length, width and density of the cracks on the cracked test images, predicted and true; in mm if the size of a pixel is known."""
    found, (unit, scale) = metrics["engineering"], unit_and_scale(mm_per_px)
    density = "m per m\u00b2" if unit == "mm" else "px per 1000 px\u00b2"
    lengths = {"length_px": "Length, total", "width_mean_px": "Width, mean", "width_p95_px": "Width, 95th percentile of an image, mean"}
    titles = {name: (f"{title} ({unit})", scale) for name, title in lengths.items()} | {"density": (f"Density ({density})", 1000 / scale)}
    rows = []
    for name, (title, factor) in titles.items():
        true, predicted, error = (found[each] for each in (f"true_{name}", name, f"{name}_mean_absolute_error"))
        off = f"{100 * (predicted / true - 1):+.1f} %" if true and predicted is not None else ""
        true, predicted, error = (None if value is None else round(value * factor, 3) for value in (true, predicted, error))
        rows.append((title, true, predicted, off, error))
    if metrics["crack_free"]["images"]:
        rows.append((f"Length predicted on crack-free images ({unit})", 0, round(found["false_length_px"] * scale, 3), "", ""))
    return pd.DataFrame(rows, columns=["Measure", "True", "Predicted", "Off by", "Mean error of an image"], dtype=object)


def failures_table(metrics: dict[str, Any], mm_per_px: float | None) -> pd.DataFrame:
    """How much of the true cracks is found, by their width. Widths that do not occur have no row."""
    found, (unit, scale) = metrics["failures"]["by_width"], unit_and_scale(mm_per_px)
    bounds = [f"{bound * scale:.3g}" for bound in WIDTHS_PX.values()][:-1]
    titles = [f"below {bounds[0]}", *(f"{low} to {high}" for low, high in pairwise(bounds)), f"at least {bounds[-1]}"]
    whole = sum(each["line_px"] for each in found.values())
    rows = []
    for title, each in zip(titles, found.values(), strict=True):
        if each["line_px"]:
            shares = [f"{100 * share:.1f} %" for share in (each["line_px"] / whole, each["found"])]
            rows.append((f"{title} {unit}", *shares, percent_interval(each["interval"], 1)))
    return pd.DataFrame(rows, columns=["Width of the crack", "Share of all cracks", "Found", "95 % interval"], dtype=object)


def leaks_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """The headline figures with and without the test images that leak from train or val."""
    kept, rows = metrics["without_leaks"], []
    for kind, title in {"segmentation_2px": "within 2 pixels", "decision": "of the decision"}.items():
        rows += [(f"{SCORE_NAMES[name]} {title}", metrics[kind][name], kept[kind] and kept[kind][name]) for name in SCORES]
    return pd.DataFrame(rows, columns=["Figure", "All test images", "Without images that leak"], dtype=object)
