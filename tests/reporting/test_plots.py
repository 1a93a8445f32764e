"""What the plots draw, read off the axes."""

import numpy as np
import pandas as pd
import pytest

from crack_utils.reporting.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    OTHERS,
    figure,
    plot_calibration,
    plot_confusion,
    plot_curves,
    plot_precision_recall,
    plot_roc,
    plot_thresholds,
    plot_validation,
)


@pytest.fixture
def ax():
    _, ax = figure()
    return ax


def curve(ax, index=0):
    return np.array(ax.get_lines()[index].get_xydata()).tolist()


def test_the_confusion_matrix_has_the_truth_in_rows_and_the_decision_in_columns(ax):
    plot_confusion({"tp": 1, "fp": 2, "fn": 3, "tn": 4}, ax)
    cells = {(text.get_position()[0] > 1, text.get_position()[1] > 1): text.get_text() for text in ax.texts}
    assert cells == {(False, False): "1", (True, False): "3", (False, True): "2", (True, True): "4"}
    assert ax.yaxis_inverted()
    assert [label.get_text() for label in ax.get_xticklabels()] == ["decided crack", "decided none"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["crack", "no crack"]


def test_the_roc_curve_passes_through_the_chosen_threshold(ax):
    has_crack, probs = np.array([True, True, False, False]), np.array([0.9, 0.4, 0.6, 0.1])
    plot_roc(has_crack, probs, {"fp": 1, "tn": 1, "recall": 1.0}, ax)
    assert curve(ax) == [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]
    assert curve(ax, 2) == [[0.5, 1]]


def test_the_calibration_leaves_empty_bins_out(ax):
    plot_calibration({"confidence": [0.1, None, 0.9], "share": [0.2, None, 0.7]}, ax)
    np.testing.assert_array_equal(curve(ax, 1), [[0.1, 0.2], [np.nan, np.nan], [0.9, 0.7]])


def test_thresholds_and_precision_by_recall_mark_the_chosen_one(ax):
    index = pd.Index([0.3, 0.5, 0.7], name="threshold")
    columns = {"val_f1": [0.1, 0.2, 0.3], "test_f1": [0.4, 0.5, 0.6], "test_precision": [0.2, 0.6, 0.9], "test_recall": [0.9, 0.7, 0.1]}
    curves = pd.DataFrame(columns, index=index)
    plot_thresholds(curves, 0.5, "val", ax)
    assert curve(ax) == [[0.3, 0.1], [0.5, 0.2], [0.7, 0.3]]
    assert curve(ax, 1) == [[0.3, 0.4], [0.5, 0.5], [0.7, 0.6]]
    assert ax.get_lines()[2].get_xdata() == [0.5, 0.5]
    ax.clear()
    plot_thresholds(curves, 0.5, "test", ax)  # which chose: val has no say
    assert curve(ax) == [[0.3, 0.4], [0.5, 0.5], [0.7, 0.6]]
    ax.clear()
    plot_precision_recall(curves, 0.5, ax)
    assert curve(ax) == [[0.9, 0.2], [0.7, 0.6], [0.1, 0.9]]
    assert curve(ax, 1) == [[0.7, 0.6]]


def test_the_curves_of_losses_are_those_of_the_history(ax):
    columns = {"epoch": [1, 2], "loss": [3.0, 2.0], "loss_segmentation": [1.0, 0.5], "loss_decision": [0.7, 0.6]}
    history = pd.DataFrame(columns | {"val_decision_ap": [np.nan, 0.8]})
    plot_validation(history, ax)
    drawn = {line.get_label(): (line.get_color(), line.get_ydata().tolist()) for axes in ax.figure.axes for line in axes.get_lines()}
    two = {"loss": (BLUE, [3, 2]), "segmentation": (ORANGE, [1, 0.5]), "decision": (GREY, [0.7, 0.6]), "AP (right)": (GREEN, [0.8])}
    assert drawn == two
    _, ax = figure()
    plot_validation(history.assign(loss_dice=[0.9, 0.4], loss_edge=[0.2, 0.1]), ax)  # terms that a newcomer adds
    drawn = {line.get_label(): (line.get_color(), line.get_ydata().tolist()) for axes in ax.figure.axes for line in axes.get_lines()}
    assert drawn == two | {"dice": (OTHERS[0], [0.9, 0.4]), "edge": (OTHERS[1], [0.2, 0.1])}


def test_beyond_the_palette_groups_are_grey_and_share_one_entry_of_the_legend(ax):
    history = pd.DataFrame({"epoch": [1, 2], "loss": [3.0, 2.0]})
    plot_curves({f"group {i}": [history] for i in range(10)}, "loss", "loss", ax)
    assert [line.get_color() for line in ax.get_lines()][7:] == [OTHERS[-1], GREY, GREY]
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == [*(f"group {i}" for i in range(8)), "others"]
