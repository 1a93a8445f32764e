import json

import numpy as np
import pandas as pd
import pytest
from scoring_by_hand import BESIDE, FAR, LINE, NOTHING, measured

from crack_utils.scoring import (
    decision_ranking,
    engineering,
    failures,
    false_alarms,
    headline,
    in_millimetres,
    intervals,
    measure,
    protocol_figures,
    without_leaks,
)


def test_crack_free_images_count_in_no_figure_of_segmentation():
    with_them = measured((LINE, LINE), (BESIDE, LINE), (FAR, NOTHING), (NOTHING, NOTHING))
    without = measured((LINE, LINE), (BESIDE, LINE))
    assert protocol_figures(with_them) == protocol_figures(without)
    frame = with_them.per_image
    assert headline(frame, 0.5)["segmentation_2px"] == headline(without.per_image, 0.5)["segmentation_2px"]
    assert false_alarms(frame) == {"images": 2, "images_with_false_alarm": 1, "false_alarm_pixel_share": 50 / 2400 / 2}
    assert frame["f1"].isna().tolist() == [False, False, True, True]


def test_rows_come_worst_first_and_curves_pass_through_the_figures():
    test = measured((LINE, LINE), (FAR, LINE), (BESIDE, LINE))
    assert test.per_image["stem"].tolist() == ["s1", "s2", "s0"]
    free = measured((NOTHING, NOTHING), (LINE, NOTHING), (LINE, LINE), (LINE | FAR, NOTHING)).per_image
    assert free["stem"].tolist() == ["s2", "s3", "s1", "s0"]  # behind the cracked one, the greatest false alarm first
    assert free.loc[3, "error_length_px"] == 0 and free.loc[2, "error_length_px"] == 49
    curves = test.curves
    at = curves.iloc[80]  # threshold 0.5
    for name, value in headline(test.per_image, 0.5)["segmentation_2px"].items():
        assert at[name] == pytest.approx(value)


def test_without_leaks_their_images_are_left_out():
    frame = measured((LINE, LINE), (FAR, LINE)).per_image
    assert without_leaks(frame, [], 0.5) is None
    kept = without_leaks(frame, ["s0"], 0.5)
    assert kept["images_left_out"] == 1
    assert kept["segmentation_2px"]["f1"] == 0
    assert without_leaks(frame, ["s0", "s1"], 0.5)["segmentation_2px"] is None


def test_intervals_hold_the_figures_and_know_the_photos():
    images = [(LINE, LINE), (BESIDE, LINE), (FAR, LINE), (LINE, LINE), (FAR, NOTHING), (BESIDE, LINE), (NOTHING, LINE), (NOTHING, NOTHING)]
    frame = measured(*images).per_image
    found = intervals(frame, 0.5)
    assert found["photos"] == {"cracked": 6, "crack_free": 2}
    for name, (low, high) in found["segmentation_2px"].items():
        assert low <= headline(frame, 0.5)["segmentation_2px"][name] <= high
    assert found["decision"]["recall"][0] < 5 / 6 < found["decision"]["recall"][1]
    assert found["false_alarm_pixel_share"] == found["decision"]["precision"] == found["decision"]["f1"] == [None, None]  # of two photos
    json.dumps(found, allow_nan=False)
    more = measured(*images[:7], *[(FAR, NOTHING), (NOTHING, NOTHING)] * 2).per_image  # five crack-free photos
    sure, figures = intervals(more, 0.5)["decision"], headline(more, 0.5)["decision"]
    assert [name for name in ("precision", "recall", "f1", "accuracy") if not sure[name][0] < figures[name] < sure[name][1]] == []
    assert sure["precision"] != sure["recall"] and sure["false_positive_share"][0] < 3 / 5 < sure["false_positive_share"][1]


def test_crops_of_one_photo_are_drawn_together():
    images = [(LINE, LINE), (LINE, LINE), (FAR, LINE), (FAR, LINE), (BESIDE, LINE), (BESIDE, LINE)] * 2

    def width(photos):
        found = intervals(measured(*images, photos=photos).per_image, 0.5)
        return {name: high - low for name, (low, high) in {**found["segmentation_2px"], "iou": found["crack_iou_pooled"]}.items()}

    alone, together = width("abcdefghijkl"), width("aabbccddeeff")
    assert all(together[name] > 1.2 * alone[name] for name in alone)


def test_few_photos_and_what_never_varies_give_no_interval():
    found = intervals(measured((LINE, LINE), (BESIDE, LINE)).per_image, 0.5)
    assert found["segmentation_2px"]["f1"] == [None, None]
    found = intervals(measured(*[(LINE, LINE)] * 8).per_image, 0.5)
    assert found["segmentation_2px"]["f1"] == found["decision"]["recall"] == [None, None]  # all of eight: how sure is that?


def test_geometry_comes_in_millimetres_where_a_pixel_is_known():
    frame = measured((LINE, LINE)).per_image
    assert in_millimetres(frame, None) is frame
    assert engineering(frame, 0.5)["true_length_mm"] == 24.5
    assert "length_mm" not in engineering(frame)
    nothing = engineering(measured((NOTHING, LINE)).per_image, 0.5)
    assert (nothing["length_mm"], nothing["width_mean_mm"], nothing["true_width_mean_mm"]) == (0, None, 0.5)
    row = in_millimetres(frame, 0.5).iloc[0]
    assert (row["length_mm"], row["true_length_mm"], row["width_mean_mm"]) == (24.5, 24.5, 0.5)


def test_lengths_add_up_and_widths_weigh_by_length():
    thick = np.zeros((40, 60), bool)
    thick[20:25, 5:55] = True
    test = measured((LINE, LINE), (LINE, thick), (FAR, NOTHING))
    frame = test.per_image
    found = engineering(frame)
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

    found = failures(measured(*[(BESIDE, LINE), (NOTHING, LINE), (FAR, LINE)] * 2, (FAR, NOTHING)).per_image)
    assert found["fp_px"] == found["stray_px"] == 100  # what is drawn on the crack-free image counts elsewhere
    thinnest = found["by_width"]["below_3px"]
    assert (thinnest["line_px"], thinnest["found"]) == (300, pytest.approx(1 / 3))
    assert 0 <= thinnest["interval"][0] < 1 / 3 < thinnest["interval"][1]
    assert found["by_width"]["from_12px"] == {"line_px": 0, "found": None, "interval": [None, None]}


def test_a_width_that_few_photos_have_gets_no_interval():
    wide = np.zeros((40, 60), bool)
    wide[12:28, 5:55] = True
    frame = measured(*[(LINE, LINE), (FAR, LINE)] * 4, (wide, wide), (LINE, wide)).per_image
    found = failures(frame)["by_width"]
    assert None not in found["below_3px"]["interval"]
    assert 0 < found["from_12px"]["found"] < 1 and found["from_12px"]["interval"] == [None, None]


def test_nothing_predicted_anywhere_is_said_with_zeros_not_with_nan():
    test = measured((NOTHING, LINE), (NOTHING, LINE))
    frame = test.per_image
    figures = protocol_figures(test) | engineering(frame) | intervals(frame, 0.5) | failures(frame)
    json.dumps(figures, allow_nan=False)
    assert figures["record_2px_mean"]["f1"] == 0
    assert figures["width_mean_px"] is None


def test_the_decision_ranks_only_images_of_both_kinds():
    frame = pd.DataFrame({"has_crack": [True, True, False, False], "decision_prob": [0.9, 0.4, 0.6, 0.1]})
    assert decision_ranking(frame) == pytest.approx({"average_precision": (1 + 2 / 3) / 2, "roc_auc": 0.75})
    assert decision_ranking(frame[:2])["roc_auc"] is None
