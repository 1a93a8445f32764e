import numpy as np
import pytest

from crack_utils import metrics


def naive_counts(prob, mask, threshold, arm=2):
    """The definition, pixel by pixel."""
    height, width = mask.shape
    tp = fp = fn = 0
    for y in range(height):
        for x in range(width):
            predicted = float(prob[y, x]) > threshold
            near = any(
                0 <= y + dy < height and 0 <= x + dx < width and mask[y + dy, x + dx]
                for step in range(-arm, arm + 1)
                for dy, dx in ((step, 0), (0, step))
            )
            tp += near and predicted
            fp += not near and predicted
            fn += bool(mask[y, x]) and not predicted
    return tp, fp, fn


def test_there_are_180_thresholds_from_a_tenth_on():
    assert len(metrics.SEG_THRESHOLDS) == 180
    assert metrics.SEG_THRESHOLDS[0] == 0.1
    np.testing.assert_array_equal(metrics.SEG_THRESHOLDS, np.arange(0.1, 1, 0.005))


@pytest.mark.parametrize("arm", [0, 1, 2, 5])
def test_counts_of_all_thresholds_equal_the_naive_loop(arm):
    rng = np.random.default_rng(arm)
    probs = rng.random((3, 13, 17)).astype(np.float32)
    probs[0, :3] = np.float32(0.375)  # exactly on a threshold, or just beside it, as float32 has it
    probs[1, :3] = metrics.SEG_THRESHOLDS[40]
    masks = rng.random((3, 13, 17)) < 0.1
    masks[2] = False
    tp, fp, fn = metrics.tolerance_counts(probs, masks, metrics.SEG_THRESHOLDS, tolerance_px=arm)
    for i in range(3):
        for t in (0, 17, 39, 40, 41, 55, 56, 120, 179):
            assert (tp[i, t], fp[i, t], fn[i, t]) == naive_counts(probs[i], masks[i], metrics.SEG_THRESHOLDS[t], arm)


def test_counts_of_a_case_done_by_hand():
    mask = np.zeros((5, 7), bool)
    mask[2, 2] = True  # its plus: row 2 columns 0..4, column 2 rows 0..4
    prob = np.zeros((5, 7), np.float32)
    prob[2, 4] = prob[0, 2] = 0.9  # within 2 pixels along an axis: hits
    prob[1, 3] = 0.9  # diagonal neighbour: a false alarm, for the plus is no square
    prob[2, 6] = 0.9  # too far
    tp, fp, fn = metrics.tolerance_counts([prob], [mask], [0.5])
    assert (tp.item(), fp.item(), fn.item()) == (2, 2, 1)


def test_maps_show_what_the_counts_count():
    rng = np.random.default_rng(3)
    prob, mask = rng.random((20, 30)).astype(np.float32), rng.random((20, 30)) < 0.08
    counts = metrics.tolerance_counts([prob], [mask], [0.6])
    hit, miss, false_alarm = metrics.tolerance_maps(prob, mask, 0.6)
    assert (hit.sum(), false_alarm.sum(), miss.sum()) == tuple(count.item() for count in counts)


@pytest.mark.parametrize(
    ("tp", "fp", "fn", "expected"),
    [(6, 2, 4, (0.75, 0.6, 2 / 3)), (5, 0, 0, (1, 1, 1)), (0, 5, 5, (0, 0, 0)), (0, 0, 5, (0, 0, 0)), (0, 0, 0, (0, 0, 0))],
)
def test_scores_by_hand_and_at_the_limits(tp, fp, fn, expected):
    np.testing.assert_allclose(metrics.precision_recall_f1(tp, fp, fn), expected)


def test_the_first_of_the_best_thresholds_wins():
    f1 = np.array([[0.1, 0.6, 0.5, 0.6], [0.3, 0.4, 0.5, 0.4]])
    assert metrics.best_threshold(f1) == 1
    with pytest.raises(ValueError, match="no cracked image"):
        metrics.best_threshold(np.empty((0, 4)))


def naive_decision(has_crack, probs):
    """F1-best threshold (lowest of equals) and average precision, by trying every score."""
    best, area, recall_before = (-1.0, None), 0.0, 0.0
    for threshold in sorted(set(probs.tolist()), reverse=True):
        decided = probs >= threshold
        tp = (decided & has_crack).sum()
        precision, recall = tp / decided.sum(), tp / has_crack.sum()
        area += precision * (recall - recall_before)
        recall_before = recall
        f1 = 2 * tp / (decided.sum() + has_crack.sum())
        if f1 >= best[0] - 1e-12:
            best = (f1, threshold)
    return best[1], area


def test_decision_threshold_and_average_precision_equal_trying_every_score():
    rng = np.random.default_rng(0)
    for _ in range(50):
        has_crack = rng.random(15) < 0.5
        has_crack[0] = True
        probs = rng.integers(0, 8, 15).astype(np.float32) / 8  # with ties
        threshold, area = naive_decision(has_crack, probs.astype(float))
        assert metrics.average_precision(has_crack, probs) == pytest.approx(area)
        assert metrics.best_decision_threshold(has_crack, probs) == pytest.approx(threshold)


def test_without_negatives_the_decision_threshold_is_the_lowest_score():
    assert metrics.best_decision_threshold(np.array([True, True, True]), np.array([0.9, 0.4, 0.7])) == 0.4


def test_decision_table_by_hand():
    scores = metrics.decision_scores(np.array([True, True, True, False, False]), np.array([0.9, 0.5, 0.2, 0.5, 0.1]), 0.5)
    assert (scores["tp"], scores["fp"], scores["fn"], scores["tn"]) == (2, 1, 1, 1)
    assert scores["accuracy"] == 0.6
    assert scores["precision"] == scores["recall"] == pytest.approx(2 / 3)
