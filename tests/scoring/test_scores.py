import numpy as np
import pytest
import torch
from scoring_by_hand import large, naive_decision

from crack_utils.scoring import (
    average_precision,
    best_decision_threshold,
    best_threshold,
    binned_average_precision,
    calibration,
    decision_scores,
    disc_counts,
    disc_scores,
    intersection_over_union,
    optimal_scores,
    precision_recall_f1,
    probability_histogram,
    roc_curve,
    tolerance_counts,
)
from crack_utils.scoring.pixels import CELLS


@pytest.mark.parametrize(
    ("tp", "fp", "fn", "expected"),
    [(6, 2, 4, (0.75, 0.6, 2 / 3)), (5, 0, 0, (1, 1, 1)), (0, 5, 5, (0, 0, 0)), (0, 0, 5, (0, 0, 0)), (0, 0, 0, (0, 0, 0))],
)
def test_scores_by_hand_and_at_the_limits(tp, fp, fn, expected):
    np.testing.assert_allclose(precision_recall_f1(tp, fp, fn), expected)


def test_the_first_of_the_best_thresholds_wins():
    f1 = np.array([[0.1, 0.6, 0.5, 0.6], [0.3, 0.4, 0.5, 0.4]])
    assert best_threshold(f1) == 1
    with pytest.raises(ValueError, match="no cracked image"):
        best_threshold(np.empty((0, 4)))


def test_decision_threshold_and_average_precision_equal_trying_every_score():
    rng = np.random.default_rng(0)
    for _ in range(50):
        has_crack = rng.random(15) < 0.5
        has_crack[0] = True
        probs = rng.integers(0, 8, 15).astype(np.float32) / 8  # with ties
        threshold, area = naive_decision(has_crack, probs.astype(float))
        assert average_precision(has_crack, probs) == pytest.approx(area)
        assert best_decision_threshold(has_crack, probs) == pytest.approx(threshold)


def test_without_negatives_the_decision_threshold_is_the_lowest_score():
    assert best_decision_threshold(np.array([True, True, True]), np.array([0.9, 0.4, 0.7])) == 0.4


def test_decision_table_by_hand():
    scores = decision_scores(np.array([True, True, True, False, False]), np.array([0.9, 0.5, 0.2, 0.5, 0.1]), 0.5)
    assert (scores["tp"], scores["fp"], scores["fn"], scores["tn"]) == (2, 1, 1, 1)
    assert scores["accuracy"] == 0.6
    assert scores["precision"] == scores["recall"] == pytest.approx(2 / 3)


def test_scores_of_numbers_are_numbers():
    for scores in (precision_recall_f1(6, 2, 4), disc_scores(6, 8, 6, 10), [intersection_over_union(6, 2, 4)]):
        assert all(isinstance(score, float) for score in scores)
    assert precision_recall_f1(6, 2, 4) == pytest.approx((0.75, 0.6, 2 * 0.75 * 0.6 / 1.35))
    assert precision_recall_f1(0, 7, 0) == (0, 0, 0)  # an empty truth


def test_disc_scores_of_a_case_done_by_hand():
    mask, prob = np.zeros((9, 9), bool), np.zeros((9, 9), np.float32)
    mask[4, 2:6] = True  # four pixels of crack
    prob[5, 3] = 0.9  # diagonal to two of them: within sqrt(2)
    prob[0, 8] = 0.9  # far from all
    counts = disc_counts(prob, mask, [0.5], 2)
    assert (counts["hit"][0], counts["predicted"][0], counts["found"][0], counts["truth"]) == (1, 2, 3, 4)
    precision, recall, f1 = disc_scores(**counts)
    assert (precision.item(), recall.item(), f1.item()) == pytest.approx((1 / 2, 3 / 4, 0.6))
    exact = disc_scores(**disc_counts(prob, mask, [0.5], 0))
    assert [value.item() for value in exact] == [0, 0, 0]


def test_scores_at_their_limits():
    mask = np.zeros((20, 20), bool)
    mask[5, 3:15] = True
    perfect, disjoint, empty = mask.astype(np.float32), np.roll(mask, 12, axis=0).astype(np.float32), np.zeros((20, 20), np.float32)
    for prob, expected in ((perfect, 1), (disjoint, 0), (empty, 0)):
        tp, fp, fn = (count[0] for count in tolerance_counts([prob], [mask], [0.5]))
        assert precision_recall_f1(tp, fp, fn)[2] == pytest.approx(1 if expected else 0)
        assert disc_scores(**disc_counts(prob, mask, [0.5], 2))[2].item() == expected
        assert intersection_over_union(*(count[0] for count in tolerance_counts([prob], [mask], [0.5], 0))).item() == expected
    for prob in (perfect, empty):  # an empty truth, and both empty: nothing can be hit
        counts = disc_counts(prob, np.zeros_like(mask), [0.5], 2)
        assert [value.item() for value in disc_scores(**counts)] == [0, 0, 0]


def test_oracles_choose_thresholds_on_what_they_score():
    counts = {
        "hit": np.array([[8, 4], [2, 6]]),
        "predicted": np.array([[10, 4], [10, 6]]),
        "found": np.array([[8, 4], [2, 6]]),
        "truth": np.array([[8], [8]]),
    }
    scores = optimal_scores(counts, np.array([0.3, 0.6]))
    pooled = [2 * (10 / 20) * (10 / 16) / (10 / 20 + 10 / 16), 2 * (10 / 10) * (10 / 16) / (10 / 10 + 10 / 16)]
    assert scores["ods"] == pytest.approx(max(pooled))
    assert scores["ods_threshold"] == 0.6
    single = [2 * 0.8 * 1 / 1.8, 2 * 1 * 0.75 / 1.75]
    assert scores["ois"] == pytest.approx(np.mean(single))


def test_pixel_scores_agree_with_torchmetrics():
    from torchmetrics.functional import classification as library

    probs, masks = large(1)
    prob = np.where(masks[0], np.sqrt(probs[0]), probs[0]).astype(np.float32)
    flat, truth = torch.from_numpy(prob.ravel()), torch.from_numpy(masks[0].ravel()).int()
    histogram = probability_histogram(prob, masks[0])
    assert binned_average_precision(histogram) == pytest.approx(library.binary_average_precision(flat, truth).item(), abs=1e-3)
    ece = library.binary_calibration_error(flat, truth, n_bins=16, norm="l1").item()
    assert calibration(histogram)["ece"] == pytest.approx(ece, abs=3e-4)
    exact = [count[0, 0] for count in tolerance_counts([prob], [masks[0]], [0.5], 0)]
    assert intersection_over_union(*exact) == pytest.approx(library.binary_jaccard_index(flat, truth).item(), abs=1e-6)
    assert precision_recall_f1(*exact)[2] == pytest.approx(library.binary_f1_score(flat, truth).item(), abs=1e-6)


@pytest.mark.parametrize("scale", [1, 5, 20, 80])
def test_average_precision_is_right_however_sure_the_network_is(scale):
    """Sharp sigmoids crowd nearly all pixels at 0 and 1, where equal cells could not tell them apart."""
    from torchmetrics.functional import classification as library

    rng = np.random.default_rng(0)
    mask = rng.random((200, 300)) < 0.05
    prob = torch.from_numpy(scale * (rng.normal(0, 0.5, mask.shape) + 1.2 * mask - 0.6)).float().sigmoid()
    expected = library.binary_average_precision(prob.ravel(), torch.from_numpy(mask).ravel().int()).item()
    assert binned_average_precision(probability_histogram(prob, mask)) == pytest.approx(expected, abs=1e-3)


def test_pixel_figures_by_hand_and_where_there_is_nothing():
    prob, mask = np.array([[0.9, 0.8, 0.3, 0.1]]), np.array([[True, False, True, False]])
    histogram = probability_histogram(prob, mask)
    assert histogram.sum(axis=1).tolist() == [2, 2]
    assert binned_average_precision(histogram) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    ends = probability_histogram(np.array([[0, 1, -0.0, 0.5]]), np.array([[False, True, False, True]]))
    assert (ends[0, 0], ends[1, -1], ends[1, CELLS // 2]) == (2, 1, 1)
    with pytest.raises(ValueError, match="probabilities must lie"):
        probability_histogram(prob - 0.2, mask)
    with pytest.raises(ValueError, match="no crack pixel"):
        binned_average_precision(probability_histogram(prob, ~(mask | True)))
    with pytest.raises(ValueError, match="no pixel"):
        calibration(np.zeros_like(histogram))


def test_the_decisions_limits():
    cracked = np.array([True, True, False, False])
    perfect, reversed_, alike = np.array([0.9, 0.8, 0.2, 0.1]), np.array([0.1, 0.2, 0.8, 0.9]), np.full(4, 0.5)
    for probs, precision, area in ((perfect, 1, 1), (reversed_, (1 / 3 + 2 / 4) / 2, 0), (alike, 0.5, 0.5)):
        assert average_precision(cracked, probs) == pytest.approx(precision)
        false, true = roc_curve(cracked, probs)
        assert np.trapezoid(true, false) == pytest.approx(area)
    assert best_decision_threshold(cracked, perfect) == 0.8
    assert best_decision_threshold(cracked, reversed_) == 0.1
    for figure in (average_precision, best_decision_threshold, roc_curve):
        with pytest.raises(ValueError, match="no cracked image"):
            figure(~cracked & False, perfect)
        with pytest.raises(ValueError, match="NaN"):
            figure(cracked, perfect * np.nan)
    nobody = decision_scores(cracked, perfect, 1.5)
    assert (nobody["precision"], nobody["recall"], nobody["f1"], nobody["fn"], nobody["tn"]) == (0, 0, 0, 2, 2)
    assert decision_scores(cracked, perfect, 0.8)["f1"] == 1


def test_the_decisions_scores_agree_with_torchmetrics():
    from torchmetrics.functional import classification as library

    rng = np.random.default_rng(4)
    has_crack, probs = rng.random(300) < 0.4, rng.random(300).round(2)  # with ties
    probs = np.where(has_crack, np.sqrt(probs), probs)
    false, true = roc_curve(has_crack, probs)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    tensors = torch.from_numpy(probs), torch.from_numpy(has_crack).int()
    assert np.trapezoid(true, false) == pytest.approx(library.binary_auroc(*tensors).item(), abs=1e-6)
    assert average_precision(has_crack, probs) == pytest.approx(library.binary_average_precision(*tensors).item(), abs=1e-6)
    with pytest.raises(ValueError, match="no crack-free image"):
        roc_curve(np.ones(3, bool), probs[:3])


def test_calibration_of_a_case_done_by_hand():
    prob = np.array([[0.1, 0.1, 0.9, 0.9, 0.9, 0.9]], np.float32)
    mask = np.array([[False, True, True, True, True, False]])
    found = calibration(probability_histogram(prob, mask), bins=2)
    assert found["pixels"].tolist() == [2, 4]
    assert found["share"].tolist() == [0.5, 0.75]
    assert found["confidence"] == pytest.approx([0.1, 0.9], abs=1e-4)
    assert found["ece"] == pytest.approx((2 * 0.4 + 4 * 0.15) / 6, abs=1e-4)
