import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage
from scipy.spatial.distance import cdist
from skimage.morphology import skeletonize

from crack_utils.scoring.figures import (
    decision_ranking,
    engineering,
    failures,
    false_alarms,
    headline,
    in_millimetres,
    intervals,
    protocol_figures,
    without_leaks,
)
from crack_utils.scoring.images import RADII_PX, Measured, measure
from crack_utils.scoring.thresholds import SEG_THRESHOLDS

LINE = np.zeros((40, 60), bool)
LINE[10, 5:55] = True  # fifty pixels
BESIDE = np.roll(LINE, 1, axis=0)  # the same a pixel lower
FAR = np.roll(LINE, 20, axis=0)
NOTHING = np.zeros_like(LINE)


def measured(*images, decision=0.9, photos="abcdefghijkl"):
    """A test set of (predicted, truth) masks, probabilities 0.9 on prediction and 0.2 off it; one photo an image."""
    test = Measured(SEG_THRESHOLDS)
    abouts = [
        {"stem": f"s{i}", "photo": photos[i], "decision_prob": decision if predicted.any() else 0.1}
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
    figures = protocol_figures(measured((LINE, LINE), (BESIDE, LINE), (FAR, LINE), (NOTHING, LINE)))
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


NEAR_LINE = int((ndimage.distance_transform_edt(~LINE) <= 2).sum())
FLOOD = 2 * (NEAR_LINE / 2400) / (NEAR_LINE / 2400 + 1)  # F1 within 2 px of a prediction that covers the image
ALL = ("precision", "recall", "f1")


@pytest.mark.parametrize(
    ("predicted", "score", "hd95", "average_precision", "oracle", "ece"),
    [
        (LINE, 1, 0, 1, 1, (50 * 0.1 + 2350 * 0.2) / 2400),
        (FAR, 0, 20, 50 / 2400, FLOOD, (50 * 0.9 + 2350 * (0.2 - 50 / 2350)) / 2400),
        (NOTHING, 0, math.hypot(40, 60), 50 / 2400, FLOOD, 0.2 - 50 / 2400),
    ],
    ids=["perfect", "disjoint", "nothing predicted"],
)
def test_every_figure_at_its_limits_whatever_is_predicted_where_there_is_no_crack(predicted, score, hd95, average_precision, oracle, ece):
    figures = protocol_figures(measured((predicted, LINE), (NOTHING, NOTHING), (BESIDE, NOTHING)))
    for name in ("record_2px", "disc_0px", "disc_2px", "disc_5px"):
        for pooling in ("mean", "pooled"):
            assert figures[f"{name}_{pooling}"] == dict.fromkeys(ALL, score), name
    for name in ("crack_iou_mean", "crack_iou_pooled", "dice_mean", "dice_pooled", "cl_dice_mean"):
        assert figures[name] == score, name
    rest = (2400 - 50 - (predicted & ~LINE).sum()) / (2400 - 50 * score)
    assert figures["mean_iou_pooled"] == pytest.approx((score + rest) / 2)
    assert figures["hd95_mean_px"] == figures["hd95_median_px"] == pytest.approx(hd95)
    assert figures["average_precision_pooled"] == pytest.approx(average_precision)
    assert figures["oracle"]["ods"] == figures["oracle"]["ois"] == pytest.approx(oracle)
    assert figures["calibration"]["ece"] == pytest.approx(ece, abs=1e-3)
    with pytest.raises(ValueError, match="no cracked image to score"):
        protocol_figures(measured((predicted, NOTHING)))


def disc_f1(predicted, truth, radius):
    """(hit, predicted, found, truth) by the distances to the nearest pixel of the other mask."""
    to_truth, to_predicted = (
        ndimage.distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, np.inf) for mask in (truth, predicted)
    )
    return (predicted & (to_truth <= radius)).sum(), predicted.sum(), (truth & (to_predicted <= radius)).sum(), truth.sum()


def two_sided(hit, predicted, found, truth):
    precision, recall = hit / max(predicted, 1), found / truth
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask):
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


def test_every_figure_equals_an_independent_implementation_on_random_masks():
    from torchmetrics.functional import classification as library

    rng, images = np.random.default_rng(5), []
    for i in range(7):
        noise = ndimage.gaussian_filter(rng.random((30 + i, 50 - i)), 2)
        truth = noise > np.quantile(noise, 0.9)
        prob = (0.6 * (noise - noise.min()) / np.ptp(noise) + 0.4 * rng.random(noise.shape)).astype(np.float32)
        prob[0, :5] = 0.5  # on the threshold: not predicted
        images.append((prob, truth))
    test = Measured(SEG_THRESHOLDS)
    test.add_all(({"stem": f"s{i}", "photo": f"p{i}", "decision_prob": 0.9}, prob, truth, 0.5) for i, (prob, truth) in enumerate(images))
    figures, masks = protocol_figures(test), [(prob.astype(float) > 0.5, truth) for prob, truth in images]

    plus = np.zeros((5, 5), bool)
    plus[2] = plus[:, 2] = True
    counts = np.array(
        [((ndimage.binary_dilation(t, plus) & p).sum(), (p & ~ndimage.binary_dilation(t, plus)).sum(), (t & ~p).sum()) for p, t in masks]
    ).T
    record = np.array([counts[0] / (counts[0] + counts[1]), counts[0] / (counts[0] + counts[2])])
    assert figures["record_2px_mean"]["precision"] == pytest.approx(record[0].mean())
    assert figures["record_2px_mean"]["recall"] == pytest.approx(record[1].mean())
    assert figures["record_2px_mean"]["f1"] == pytest.approx((2 * record.prod(axis=0) / record.sum(axis=0)).mean())
    tp, fp, fn = counts.sum(axis=1)
    pooled = {"precision": tp / (tp + fp), "recall": tp / (tp + fn), "f1": 2 * tp / (2 * tp + fp + fn)}
    assert figures["record_2px_pooled"] == pytest.approx(pooled)
    for radius in RADII_PX:
        each = np.array([disc_f1(*pair, radius) for pair in masks])
        means = np.mean([two_sided(*row) for row in each], axis=0)
        assert list(figures[f"disc_{radius}px_mean"].values()) == pytest.approx(means.tolist())
        assert list(figures[f"disc_{radius}px_pooled"].values()) == pytest.approx(list(two_sided(*each.sum(axis=0))))

    def tensors(values):
        return torch.from_numpy(np.concatenate([value.ravel() for value in values]))

    predicted, truth, probs = tensors([p for p, _ in masks]), tensors([t for _, t in masks]).int(), tensors([p for p, _ in images])
    single = [(torch.from_numpy(p.ravel()).int(), torch.from_numpy(t.ravel()).int()) for p, t in masks]
    expected = {
        "crack_iou_mean": np.mean([library.binary_jaccard_index(*pair).item() for pair in single]),
        "crack_iou_pooled": library.binary_jaccard_index(predicted.int(), truth).item(),
        "mean_iou_pooled": library.multiclass_jaccard_index(predicted.int(), truth, num_classes=2).item(),
        "dice_mean": np.mean([library.binary_f1_score(*pair).item() for pair in single]),
        "dice_pooled": library.binary_f1_score(predicted.int(), truth).item(),
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert figures["average_precision_pooled"] == pytest.approx(library.binary_average_precision(probs, truth).item(), abs=2e-3)
    ece = library.binary_calibration_error(probs, truth, n_bins=16, norm="l1").item()
    assert figures["calibration"]["ece"] == pytest.approx(ece, abs=5e-4)
    distances = [cdist(outline(p), outline(t)) for p, t in masks]
    hd95 = [max(np.percentile(d.min(axis=0), 95), np.percentile(d.min(axis=1), 95)) for d in distances]
    assert figures["hd95_mean_px"] == pytest.approx(np.mean(hd95), abs=1e-4)
    assert figures["hd95_median_px"] == pytest.approx(np.median(hd95), abs=1e-4)
    lines = [(skeletonize(p), skeletonize(t)) for p, t in masks]
    shares = [((a & t).sum() / a.sum(), (b & p).sum() / b.sum()) for (a, b), (p, t) in zip(lines, masks, strict=True)]
    assert figures["cl_dice_mean"] == pytest.approx(np.mean([2 * a * b / (a + b) for a, b in shares]))

    swept = np.array([[disc_f1(prob.astype(float) > at, truth, 2) for at in SEG_THRESHOLDS[::20]] for prob, truth in images])
    some = Measured(SEG_THRESHOLDS[::20])
    some.add_all(({"stem": f"s{i}", "photo": "p", "decision_prob": 0.9}, prob, truth, 0.5) for i, (prob, truth) in enumerate(images))
    oracle = protocol_figures(some)["oracle"]
    assert oracle["ods"] == pytest.approx(max(two_sided(*row)[2] for row in swept.sum(axis=0)))
    assert oracle["ois"] == pytest.approx(np.mean([max(two_sided(*row)[2] for row in image) for image in swept]))


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


def test_a_blackened_image_is_empty_at_every_threshold():
    test = Measured(SEG_THRESHOLDS)
    about = {"stem": "s", "photo": "a", "decision_prob": 0.1}
    test.add_all([(about, np.where(LINE, np.float32(0.9), np.float32(0.2)), LINE, np.inf)])
    assert (test.curves["f1"] == 0).all()
    assert protocol_figures(test)["oracle"]["ods"] == 0


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
