import json
import math

import numpy as np
import pandas as pd
import pytest

from crack_utils import protocols
from crack_utils.metrics import SEG_THRESHOLDS
from crack_utils.protocols import Measured, measure

LINE = np.zeros((40, 60), bool)
LINE[10, 5:55] = True  # fifty pixels
BESIDE = np.roll(LINE, 1, axis=0)  # the same a pixel lower
FAR = np.roll(LINE, 20, axis=0)
NOTHING = np.zeros_like(LINE)


def measured(*images, decision=0.9):
    """A test set of (predicted, truth) masks, probabilities 0.9 on prediction and 0.2 off it; photos a, a, b, b, ..."""
    test = Measured(SEG_THRESHOLDS)
    abouts = [
        {"stem": f"s{i}", "photo": "abcdefghijkl"[i], "decision_prob": decision if predicted.any() else 0.1}
        for i, (predicted, _) in enumerate(images)
    ]
    test.add_all(
        (about, np.where(predicted, np.float32(0.9), np.float32(0.2)), truth, 0.5)
        for about, (predicted, truth) in zip(abouts, images, strict=True)
    )
    return test


def test_one_image_measured_by_hand():
    row = measure(np.where(BESIDE, np.float32(0.9), np.float32(0)), LINE, 0.5)
    assert (row["tp"], row["fp"], row["fn"]) == (50, 0, 50)  # the record: tolerance for what is predicted, none for what is missed
    assert (row["hit_0px"], row["found_0px"]) == (0, 0)
    assert (row["hit_2px"], row["found_2px"], row["predicted_px"], row["truth_px"], row["image_px"]) == (50, 50, 50, 50, 2400)
    assert row["hd95_px"] == 1
    assert row["cl_dice"] == 0
    assert row["length_px"] == row["true_length_px"] == 49
    assert row["width_mean_px"] == row["true_width_mean_px"] == 1
    assert row["density"] == 49 / 2400


def test_protocols_are_told_apart():
    figures = protocols.protocol_figures(measured((LINE, LINE), (BESIDE, LINE), (FAR, LINE), (NOTHING, LINE)))
    assert figures["record_2px_mean"] == pytest.approx({"precision": 2 / 4, "recall": (1 + 0.5) / 4, "f1": (1 + 2 / 3) / 4})
    assert figures["record_2px_pooled"]["precision"] == pytest.approx(100 / 150)
    assert figures["record_2px_pooled"]["recall"] == pytest.approx(100 / 250)  # TP 50 + 50, FN 0 + 50 + 50 + 50
    assert figures["disc_0px_mean"] == pytest.approx({"precision": 1 / 4, "recall": 1 / 4, "f1": 1 / 4})
    assert figures["disc_2px_mean"] == pytest.approx({"precision": 2 / 4, "recall": 2 / 4, "f1": 2 / 4})
    assert figures["disc_2px_pooled"] == pytest.approx({"precision": 100 / 150, "recall": 100 / 200, "f1": 4 / 7})
    assert figures["crack_iou_mean"] == 1 / 4
    assert figures["crack_iou_pooled"] == pytest.approx(50 / (50 + 100 + 150))
    rest = 4 * 2400 - 300
    assert figures["mean_iou_pooled"] == pytest.approx((1 / 6 + rest / (rest + 100 + 150)) / 2)
    assert figures["dice_pooled"] == pytest.approx(2 * 50 / (100 + 100 + 150))
    assert figures["hd95_mean_px"] == pytest.approx((0 + 1 + 20 + math.hypot(40, 60)) / 4)
    assert figures["cl_dice_mean"] == pytest.approx(1 / 4)
    assert figures["oracle"]["ods"] == pytest.approx(4 / 7)


def test_crack_free_images_count_in_no_figure_of_segmentation():
    with_them = measured((LINE, LINE), (BESIDE, LINE), (FAR, NOTHING), (NOTHING, NOTHING))
    without = measured((LINE, LINE), (BESIDE, LINE))
    assert protocols.protocol_figures(with_them) == protocols.protocol_figures(without)
    frame = with_them.per_image
    assert protocols.headline(frame, 0.5)["segmentation_2px"] == protocols.headline(without.per_image, 0.5)["segmentation_2px"]
    assert protocols.false_alarms(frame) == {"images": 2, "images_with_false_alarm": 1, "false_alarm_pixel_share": 50 / 2400 / 2}
    assert frame["f1"].isna().tolist() == [False, False, True, True]


def test_rows_come_worst_first_and_curves_pass_through_the_figures():
    test = measured((LINE, LINE), (FAR, LINE), (BESIDE, LINE))
    assert test.per_image["stem"].tolist() == ["s1", "s2", "s0"]
    curves = test.curves
    at = curves.iloc[80]  # threshold 0.5
    for name, value in protocols.headline(test.per_image, 0.5)["segmentation_2px"].items():
        assert at[name] == pytest.approx(value)


def test_without_leaks_their_images_are_left_out():
    frame = measured((LINE, LINE), (FAR, LINE)).per_image
    assert protocols.without_leaks(frame, [], 0.5) is None
    kept = protocols.without_leaks(frame, ["s0"], 0.5)
    assert kept["images_left_out"] == 1
    assert kept["segmentation_2px"]["f1"] == 0
    assert protocols.without_leaks(frame, ["s0", "s1"], 0.5)["segmentation_2px"] is None


def test_intervals_hold_the_figures_and_know_the_photos():
    images = [(LINE, LINE), (BESIDE, LINE), (FAR, LINE), (LINE, LINE), (FAR, NOTHING), (BESIDE, LINE), (NOTHING, LINE), (NOTHING, NOTHING)]
    frame = measured(*images).per_image
    found = protocols.intervals(frame, 0.5)
    assert found["photos"] == {"cracked": 6, "crack_free": 2}
    for kind, figures in protocols.headline(frame, 0.5).items():
        for name, (low, high) in found[kind].items():
            assert low <= figures[name] <= high
    assert found["decision"]["recall"][0] < 5 / 6
    assert found["false_alarm_pixel_share"] == [None, None]  # of two photos
    json.dumps(found, allow_nan=False)


def test_few_photos_and_what_never_varies_give_no_interval():
    found = protocols.intervals(measured((LINE, LINE), (BESIDE, LINE)).per_image, 0.5)
    assert found["segmentation_2px"]["f1"] == [None, None]
    found = protocols.intervals(measured(*[(LINE, LINE)] * 8).per_image, 0.5)
    assert found["segmentation_2px"]["f1"] == found["decision"]["recall"] == [None, None]  # all of eight: how sure is that?


def test_a_blackened_image_is_empty_at_every_threshold():
    test = Measured(SEG_THRESHOLDS)
    about = {"stem": "s", "photo": "a", "decision_prob": 0.1}
    test.add_all([(about, np.where(LINE, np.float32(0.9), np.float32(0.2)), LINE, np.inf)])
    assert (test.curves["f1"] == 0).all()
    assert protocols.protocol_figures(test)["oracle"]["ods"] == 0


def test_geometry_comes_in_millimetres_where_a_pixel_is_known():
    frame = measured((LINE, LINE)).per_image
    assert protocols.in_millimetres(frame, None) is frame
    row = protocols.in_millimetres(frame, 0.5).iloc[0]
    assert (row["length_mm"], row["true_length_mm"], row["width_mean_mm"]) == (24.5, 24.5, 0.5)


def test_lengths_add_up_and_widths_weigh_by_length():
    thick = np.zeros((40, 60), bool)
    thick[20:25, 5:55] = True
    test = measured((LINE, LINE), (LINE, thick), (FAR, NOTHING))
    frame = test.per_image
    found = protocols.engineering(frame)
    true_thick = frame.set_index("stem").loc["s1"]
    assert found["length_px"] == 2 * 49
    assert found["false_length_px"] == 49
    assert found["true_length_px"] == pytest.approx(49 + true_thick["true_length_px"])
    assert found["width_mean_px"] == 1
    weights = np.array([49, true_thick["true_length_px"]])
    assert found["true_width_mean_px"] == pytest.approx((weights * [1, true_thick["true_width_mean_px"]]).sum() / weights.sum())
    assert found["true_width_mean_px"] > 2
    assert found["density"] == pytest.approx(2 * 49 / (2 * 2400))
    assert found["length_px_mean_absolute_error"] == pytest.approx(abs(49 - true_thick["true_length_px"]) / 2)


def test_failures_by_hand_by_width_and_by_distance():
    thick = np.zeros((60, 80), bool)
    thick[40:48, 5:75] = True  # eight pixels wide, its line about seventy long
    thin = np.zeros_like(thick)
    thin[10, 5:55] = True
    stray = np.zeros_like(thick)
    stray[25, 5:15] = True  # 15 rows from either crack
    beside = np.zeros_like(thick)
    beside[13, 5:30] = True  # three rows from the thin crack: no hit, but no stray either
    row = measure(np.where(thick | stray | beside, np.float32(0.9), np.float32(0)), thick | thin, 0.5)
    assert (row["line_px_below_3px"], row["line_found_px_below_3px"]) == (50, 0)
    assert row["line_px_6_to_12px"] == row["line_found_px_6_to_12px"] > 60
    assert row["line_px_3_to_6px"] < 10  # the rounded ends
    assert row["line_px_from_12px"] == 0
    assert (row["fp"], row["stray_px"]) == (35, 10)

    found = protocols.failures(measured(*[(BESIDE, LINE), (NOTHING, LINE), (FAR, LINE)] * 2, (FAR, NOTHING)).per_image)
    assert found["fp_px"] == found["stray_px"] == 100  # what is drawn on the crack-free image counts elsewhere
    thinnest = found["by_width"]["below_3px"]
    assert (thinnest["line_px"], thinnest["found"]) == (300, pytest.approx(1 / 3))
    assert 0 <= thinnest["interval"][0] < 1 / 3 < thinnest["interval"][1]
    assert found["by_width"]["from_12px"] == {"line_px": 0, "found": None, "interval": [None, None]}


def test_nothing_predicted_anywhere_is_said_with_zeros_not_with_nan():
    test = measured((NOTHING, LINE), (NOTHING, LINE))
    frame = test.per_image
    figures = protocols.protocol_figures(test) | protocols.engineering(frame) | protocols.intervals(frame, 0.5) | protocols.failures(frame)
    json.dumps(figures, allow_nan=False)
    assert figures["record_2px_mean"]["f1"] == 0
    assert figures["width_mean_px"] is None


def test_the_decision_ranks_only_images_of_both_kinds():
    frame = pd.DataFrame({"has_crack": [True, True, False, False], "decision_prob": [0.9, 0.4, 0.6, 0.1]})
    assert protocols.decision_ranking(frame) == pytest.approx({"average_precision": (1 + 2 / 3) / 2, "roc_auc": 0.75})
    assert protocols.decision_ranking(frame[:2])["roc_auc"] is None
