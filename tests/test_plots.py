"""What the plots of the evaluation draw, read off the axes."""

import numpy as np
import pandas as pd
import pytest

from crack_utils.reporting.plots import figure, plot_calibration, plot_confusion, plot_precision_recall, plot_roc, plot_thresholds


@pytest.fixture
def ax():
    figure, ax = figure()
    yield ax
    plots.plt.close(figure)


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
