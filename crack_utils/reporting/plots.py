"""Functions that draw arrays on Axes. Colour-blind readers can tell the colours apart. A page adapts the colours to its theme."""

import io
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crack_utils.scoring import roc_curve

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6BB1")
BLUE, ORANGE, GREEN, *OTHERS = PALETTE
GREY, INK = "#666666", "#010101"  # INK is for text on a coloured ground; no theme changes this colour
FEW = 30  # epochs; a longer curve has no marks


def figure(width: float = 6.4, height: float = 3.6) -> tuple[Figure, Axes]:
    """A figure (inches) in the report's style, and its Axes."""
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25}):
        fig, ax = plt.subplots(figsize=(width, height), layout="constrained")
    plt.close(fig)  # otherwise a notebook shows the figure a second time
    return fig, ax


def plot_loss(history: pd.DataFrame, column: str, label: str, ax: Axes) -> Axes:
    """One training loss by epoch: ``loss``, or the column ``loss_NAME`` of a term."""
    ax.plot(history["epoch"], history[column], color=BLUE, marker="." if len(history) <= FEW else None)
    return _by_epoch(ax, label)


def plot_validation(history: pd.DataFrame, ax: Axes) -> Axes:
    """The training loss and each of its terms by epoch. A second axis shows the decision's average precision, if there are validations."""
    terms, marker = [name for name in history if name.startswith("loss_")], "." if len(history) <= FEW else None
    for column, color in zip(["loss", *terms], cycle([BLUE, ORANGE, GREY, *OTHERS]), strict=False):
        ax.plot(history["epoch"], history[column], color=color, label=column.removeprefix("loss_"), marker=marker)
    lines = list(ax.get_lines())
    validated = history.dropna(subset="val_decision_ap")
    if len(validated):
        right = ax.twinx()
        lines += right.plot(validated["epoch"], validated["val_decision_ap"], "--o", color=GREEN, markersize=4, label="AP (right)")
        right.set(ylabel="average precision", ylim=(0, 1.02))
    legend = ax.figure.legend(handles=lines, loc="outside upper center", ncols=4, frameon=False)
    plt.setp(legend.get_texts(), parse_math=False)  # a name with dollar signs is no formula
    return _by_epoch(ax, "loss")


def plot_scores(history: pd.DataFrame, ax: Axes) -> Axes:
    """Precision, recall and F1 of each validation, at the validation's best threshold."""
    validated = history.dropna(subset="val_f1")
    for column, label, color in (("val_precision", "precision", BLUE), ("val_recall", "recall", ORANGE), ("val_f1", "F1", GREEN)):
        ax.plot(validated["epoch"], validated[column], color=color, label=label, marker="o", markersize=4)
    ax.legend(frameon=False, ncols=3)
    return _by_epoch(ax, "score at validation", ylim=(0, 1))


def _by_epoch(ax: Axes, ylabel: str, **limits: tuple[float, float]) -> Axes:
    ax.set(xlabel="epoch", **limits)
    ax.set_ylabel(ylabel, parse_math=False)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.margins(x=0.03)
    return ax


def plot_curves(groups: dict[str, Sequence[pd.DataFrame]], column: str, ylabel: str, ax: Axes) -> Axes:
    """One column of many histories by epoch. A run has a thin line, a group's mean a thick one. From the ninth group on, lines are grey."""
    for i, (label, histories) in enumerate(groups.items()):
        others = "others" if i == len(PALETTE) else None
        color, style, title = (PALETTE[i], "-", label) if i < len(PALETTE) else (GREY, ":", others)
        curves = [history.dropna(subset=column).set_index("epoch")[column] for history in histories]
        for curve in curves if len(curves) > 1 else []:
            ax.plot(curve.index, curve, color=color, linewidth=0.6, alpha=0.5)
        mean = pd.concat(curves, axis=1).mean(axis=1)
        ax.plot(mean.index, mean, style, color=color, linewidth=1.8, marker="." if len(mean) <= FEW else None, label=title)
    legend = ax.figure.legend(loc="outside lower left", frameon=False, fontsize=8)
    plt.setp(legend.get_texts(), parse_math=False)
    return _by_epoch(ax, ylabel)


def plot_thresholds(curves: pd.DataFrame, chosen: float, chosen_on: str, ax: Axes) -> Axes:
    """F1 by threshold on test and on the split that chose the threshold (columns test_f1 and val_f1). A line marks the chosen threshold."""
    if chosen_on != "test":
        ax.plot(curves.index, curves["val_f1"], color=BLUE, label="val, which chose")
    ax.plot(curves.index, curves["test_f1"], "--" if chosen_on != "test" else "-", color=ORANGE, label="test, for information")
    ax.axvline(chosen, color=GREY, linestyle=":", label=f"chosen: {chosen:.3f}")
    ax.set(xlabel="segmentation threshold", ylabel="mean F1 within 2 pixels", ylim=(0, 1))
    ax.figure.legend(loc="outside upper center", frameon=False, ncols=3)
    return ax


def plot_precision_recall(curves: pd.DataFrame, chosen: float, ax: Axes) -> Axes:
    """Mean precision by mean recall on test over all thresholds. A point marks the chosen threshold."""
    at = curves.iloc[np.abs(curves.index - chosen).argmin()]
    ax.plot(curves["test_recall"], curves["test_precision"], color=BLUE)
    ax.plot(at["test_recall"], at["test_precision"], "o", color=ORANGE, label=f"chosen threshold {chosen:.3f}")
    ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    ax.legend(frameon=False, loc="lower left")
    return ax


def plot_roc(has_crack: np.ndarray, probs: np.ndarray, decision: dict[str, float], ax: Axes) -> Axes:
    """The decision's ROC curve. A point marks the chosen threshold, a dotted line shows guessing."""
    ax.plot(*roc_curve(has_crack, probs), color=BLUE)
    ax.plot([0, 1], [0, 1], ":", color=GREY, label="guessing")
    ax.plot(decision["fp"] / (decision["fp"] + decision["tn"]), decision["recall"], "o", color=ORANGE, label="chosen threshold")
    ax.set(xlabel="crack-free images called cracked (share)", ylabel="cracked images found (share)", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.legend(frameon=False, loc="lower right")
    return ax


def plot_calibration(calibration: dict[str, Sequence[float | None]], ax: Axes) -> Axes:
    """True share of crack by predicted probability, a point a bin. On the dotted diagonal the two are equal."""
    ax.plot([0, 1], [0, 1], ":", color=GREY)
    ax.plot(np.array(calibration["confidence"], float), np.array(calibration["share"], float), "o-", color=BLUE, markersize=4)
    ax.set(xlabel="predicted probability of crack", ylabel="true share of crack", xlim=(0, 1), ylim=(0, 1))
    return ax


def plot_confusion(decision: dict[str, float], ax: Axes) -> Axes:
    """The decision's four counts as coloured fields."""
    counts = np.array([[decision["tp"], decision["fn"]], [decision["fp"], decision["tn"]]])
    ax.pcolormesh(counts, cmap="Blues", vmin=0, vmax=max(1, 1.4 * counts.max()), edgecolor="white", linewidth=2)
    ax.invert_yaxis()
    for (row, column), count in np.ndenumerate(counts):
        ax.text(column + 0.5, row + 0.5, count, ha="center", va="center", fontsize=16, color=INK)
    ax.set_xticks([0.5, 1.5], ["decided crack", "decided none"])
    ax.set_yticks([0.5, 1.5], ["crack", "no crack"], rotation=90, va="center")
    ax.grid(False)
    return ax


def plot_histogram(values: dict[str, Sequence[float]], xlabel: str, ax: Axes, bins: int = 12) -> Axes:
    """Share of images by value, a line a split."""
    edges = np.histogram_bin_edges(np.concatenate([np.asarray(each, float) for each in values.values()]), bins)
    for (name, each), color in zip(values.items(), (BLUE, ORANGE, GREEN), strict=False):
        ax.hist(each, edges, weights=np.full(len(each), 1 / max(1, len(each))), histtype="step", linewidth=1.6, color=color, label=name)
    ax.set(xlabel=xlabel, ylabel="share of images")
    ax.legend(frameon=False)
    return ax


def to_svg(fig: Figure) -> str:
    """A figure as an ``<svg>`` element with its texts as text. Equal figures give equal bytes."""
    file = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "crack"}):
        fig.savefig(file, format="svg", facecolor="white", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return "<svg" + file.getvalue().partition("<svg")[2]


def readings(fig: Figure) -> list[dict[str, Any]]:
    """The curves of a figure point by point, a dictionary a line. A page shows the value under the pointer.

    Keys: ``label``, the axis labels ``x_label`` and ``y_label``, the values ``x`` and ``y``, and the place of each point in the picture:
    ``left`` and ``top`` are shares of width and height.
    """
    fig.canvas.draw()
    found = []
    for line in [line for ax in fig.axes for line in ax.get_lines() if line.get_transform() == ax.transData]:  # no mark across the axes
        values = np.array(line.get_xydata(), float)
        values = values[np.isfinite(values).all(axis=1)]
        places = fig.transFigure.inverted().transform(line.axes.transData.transform(values)) if len(values) else values
        label, x_label, y_label = line.get_label(), line.axes.get_xlabel(), line.axes.get_ylabel()
        reading = {"label": y_label if label.startswith("_") else label, "x_label": x_label, "y_label": y_label}
        reading |= {name: [float(f"{value:.6g}") for value in values[:, i]] for i, name in enumerate("xy")}
        found.append(reading | {"left": places[:, 0].round(4).tolist(), "top": (1 - places[:, 1]).round(4).tolist()})
    return found


def describe(fig: Figure) -> str:
    """A figure's curves in words, for readers who cannot see the figure: first value, last value and range of each curve."""
    curves = [(curve["label"], curve["y"]) for curve in readings(fig) if curve["y"]]
    texts = [f"{label}: from {y[0]:.3g} to {y[-1]:.3g}, between {min(y):.3g} and {max(y):.3g}" for label, y in curves]
    return f"Curves of {'; '.join(texts)}." if texts else ""
