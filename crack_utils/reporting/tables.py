"""The report's tables, from a run's artifacts."""

import html
import re
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from crack_utils.evaluation import pick_examples
from crack_utils.protocols import WIDTHS_PX, in_millimetres

# The write-up's rows, in its order; its "Gradien-flow" is mended.
WRITE_UP_PARAMETERS = {
    "batch_size": "Batch size",
    "epochs": "Epochs",
    "learning_rate": "Learning rate",
    "delta_cls_loss": "Delta CLS Loss",
    "dilate": "Dilate",
    "dynamically_balanced_loss": "Dynamically balanced loss",
    "gradient_flow_adjustment": "Gradient-flow adjustment",
    "frequency_of_use_sampling": "Frequency-of-use sampling",
    "weighted_segmentation_loss": "Weighted segmentation loss",
    "use_best_model": "Use best model",
    "best_model_type": "Best model type",
    "validate": "Validate",
    "validate_on_test": "Validate on test",
    "augmentation": "Augmentation",
    "optimizer": "Optimizer",
    "use_negatives": "Use negatives",
    "hard_negative_mining": "Hard negative mining",
}
LOSSES = {"loss": "loss", "decision loss": "loss_decision", "segmentation loss": "loss_segmentation"}  # by title, in its order
LONG_CELL = 40  # characters; such a cell may break into lines
WIDE, MANY_ROWS = 4, 40  # more columns do not fit a phone; more rows are better scrolled than stacked
SET_NAMES = {"train": "Train", "test": "Test", "val": "Validation"}  # in the write-up's order
SCORE_NAMES = {"precision": "Precision", "recall": "Recall", "f1": "F1", "accuracy": "Accuracy", "threshold": "Threshold"}


def plain(value: Any) -> str:
    """A cell's text: six significant digits, seven for numbers close to 1, whole numbers as they are."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "none"
    if isinstance(value, float | np.floating):
        return f"{value:.7g}" if 0.999 < value < 1 else f"{value:.6g}"
    return str(value)


class Link(NamedTuple):
    """A cell that leads to another page."""

    text: str
    href: str


class Html(str):
    """A cell that is HTML already."""


def _cell(value: Any) -> str:
    if isinstance(value, Html):
        return value
    if isinstance(value, Link):
        return f'<a href="{html.escape(value.href)}">{_breakable(value.text)}</a>'
    return _breakable(plain(value))


def _data(name: str, cell: str) -> str:
    kind = ' class="text"' if len(re.sub("<[^>]*>", "", cell)) > LONG_CELL else ""
    return f'<td{kind} data-label="{name}">{cell}</td>'


def _breakable(text: str) -> str:
    """HTML of a text whose long words may break behind an underscore."""
    return html.escape(text).replace("_", "_<wbr>")


def to_html(frame: pd.DataFrame, kind: str = "") -> str:
    """An HTML table of the further class ``kind``. One too wide for a narrow screen is stacked there, each cell behind its
    column's name."""
    names = [html.escape(str(name)) for name in frame.columns]
    head = "".join(f'<th scope="col">{_breakable(str(name))}</th>' for name in frame.columns)
    cells = [list(map(_data, names, map(_cell, row))) for row in frame.itertuples(index=False)]
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    is_wide = len(names) > WIDE or any('class="text"' in cell for row in cells for cell in row)
    kind += " results stacked" if len(frame) == 1 or (is_wide and len(frame) <= MANY_ROWS) else " results"
    return f'<table class="{kind.strip()}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def to_figure(frame: pd.DataFrame, key: str, caption: str, folded: bool = False, sortable: bool = False, filtered: bool = False) -> str:
    """A table under its caption, as a page numbers it (see :func:`crack_utils.notebook.show_table`); a reader may leave out rows of a
    ``filtered`` one."""
    kinds = [kind for kind, is_on in {"sortable": sortable, "filtered": filtered}.items() if is_on]
    table, caption = to_html(frame, " ".join(kinds)), html.escape(caption)
    about = f'class="table" data-key="{html.escape(key)}"'
    if folded:
        return f'<figure {about}><details><summary><span class="caption">{caption}</span></summary>{table}</details></figure>'
    return f"<figure {about}><figcaption>{caption}</figcaption>{table}</figure>"


def notice(text: str) -> str:
    """One thing a reader must know, set off from the rest."""
    return f'<p class="notice" role="note">{html.escape(text)}</p>'


def folded_log(log: str) -> str:
    """A log, folded."""
    summary = f"Log ({len(log.splitlines())} lines)"
    return f'<details class="log"><summary>{summary}</summary><pre>{html.escape(log)}</pre></details>'


def dataset_table(resolved: dict[str, Any]) -> pd.DataFrame:
    """Input channels and size, and samples a set, from params.json."""
    counts = resolved["data"]["counts"]
    rows = {"Input channels": resolved["input_channels"], "Input height": resolved["input_height"], "Input width": resolved["input_width"]}
    rows |= {f"{name} samples": sum(counts[split].values()) for split, name in SET_NAMES.items()}
    return pd.DataFrame({"Parameter": rows.keys(), "Value": pd.Series(list(rows.values()), dtype=object)})


def counts_table(facts: dict[str, Any]) -> pd.DataFrame:
    """Positives, negatives and their sum, by set and in all."""
    rows = [(name, facts["counts"][split]["positives"], facts["counts"][split]["negatives"]) for split, name in SET_NAMES.items()]
    rows.append(("Sum", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    frame = pd.DataFrame(rows, columns=["Set", "Positives", "Negatives"])
    return frame.assign(Sum=frame["Positives"] + frame["Negatives"])


def parameters_table(resolved: dict[str, Any]) -> pd.DataFrame:
    """The rows of the write-up's table of run parameters."""
    values = [resolved[name] for name in WRITE_UP_PARAMETERS]
    values = [{"adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}.get(value, value) for value in values]
    return pd.DataFrame({"Parameter": WRITE_UP_PARAMETERS.values(), "Value": pd.Series(values, dtype=object)})


def other_parameters_table(resolved: dict[str, Any]) -> pd.DataFrame:
    """The parameters the write-up's table lacks; folders stay out of a page that is passed on."""
    hidden = {*WRITE_UP_PARAMETERS, "run_name", "given", "data", "data_root", "negatives_root"}
    rows = {name: value for name, value in resolved.items() if name not in hidden}
    return pd.DataFrame({"Parameter": rows.keys(), "Value": pd.Series(list(rows.values()), dtype=object)})


def decision_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """The decision on test: scores, threshold and counts."""
    names = {**SCORE_NAMES, "tp": "TP", "fp": "FP", "fn": "FN", "tn": "TN"}
    return pd.DataFrame([{title: metrics["decision"][name] for name, title in names.items()}], dtype=object)


def segmentation_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """The 2-pixel figures on test."""
    scores = metrics["segmentation_2px"]
    return pd.DataFrame([{title: scores[name] for name, title in SCORE_NAMES.items() if name in scores}], dtype=object)


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


PROTOCOL_NAMES = {
    "record_2px_mean": "the record: plus of 2 px, tolerance for precision alone; mean over images",
    "record_2px_pooled": "the same, pixels of all images pooled",
    "disc_0px_mean": "exact pixels; mean over images (F1 is Dice)",
    "disc_0px_pooled": "exact pixels; pooled (F1 is Dice)",
    "disc_2px_mean": "disc of 2 px, both sides; mean over images",
    "disc_2px_pooled": "disc of 2 px, both sides; pooled",
    "disc_5px_mean": "disc of 5 px, both sides; mean over images",
    "disc_5px_pooled": "disc of 5 px, both sides; pooled",
}
OVERLAP_NAMES = {
    "crack_iou_mean": "IoU of crack, mean over images",
    "crack_iou_pooled": "IoU of crack, pooled",
    "mean_iou_pooled": "mean IoU (of crack and of the rest), pooled",
    "dice_mean": "Dice, mean over images",
    "dice_pooled": "Dice, pooled",
    "average_precision_pooled": "average precision of pixels, pooled (to about three digits)",
    "cl_dice_mean": "clDice (centrelines), mean over images",
    "hd95_mean_px": "HD95, mean over images (px; less is better; one far false alarm counts much)",
    "hd95_median_px": "HD95, median over images (px)",
}


def protocols_table(results: dict[str, Any]) -> pd.DataFrame:
    """Precision, recall and F1 by every protocol."""
    rows = [(title, *results["protocols"][name].values()) for name, title in PROTOCOL_NAMES.items()]
    return pd.DataFrame(rows, columns=["Protocol", "Precision", "Recall", "F1"], dtype=object)


def overlap_table(results: dict[str, Any]) -> pd.DataFrame:
    """What else is in use; the oracles choose thresholds on the very images they score."""
    found = results["protocols"]
    rows = [(title, found[name]) for name, title in OVERLAP_NAMES.items()]
    rows.append(("expected calibration error of pixels, pooled (less is better)", found["calibration"]["ece"]))
    rows.append(("ODS (oracle: F1, disc of 2 px, pooled, at that of the 180 thresholds best on test)", found["oracle"]["ods"]))
    rows.append(("OIS (oracle: the same, at each image's own best threshold)", found["oracle"]["ois"]))
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


def per_image_table(frame: pd.DataFrame, mm_per_px: float | None, examples: dict[str, int]) -> pd.DataFrame:
    """The columns of per_image.csv that a reader looks for, in millimetres where a pixel's size is known.

    Args:
        examples: how many of each kind are shown on the same page; their names lead there.
    """
    unit = "mm" if mm_per_px else "px"
    titles = {"stem": "Image", "has_crack": "Crack", "decision_prob": "Decision score", **SCORE_NAMES, "iou": "IoU", "cl_dice": "clDice"}
    for name, title in {"length": "length", "width_mean": "width"}.items():
        titles |= {f"{name}_{unit}": f"{title.title()} ({unit})", f"true_{name}_{unit}": f"True {title} ({unit})"}
    measured = in_millimetres(frame, mm_per_px).round(4)
    table = measured[[name for name in titles if name in measured and name != "threshold"]].rename(columns=titles)
    shown = pick_examples(frame).groupby("kind", sort=False)["stem"]
    places = {stem: f"#case-{kind}-{number}" for kind, stems in shown for number, stem in enumerate(stems[: examples.get(kind, 0)])}
    return table.assign(
        Image=[Link(stem, places[stem]) if stem in places else stem for stem in frame["stem"]],
        Crack=np.where(frame["has_crack"], "yes", "no"),
    )
