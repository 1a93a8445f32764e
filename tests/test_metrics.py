import tracemalloc

import numpy as np
import pytest
import torch
from scipy import ndimage

from crack_utils.scoring.benchmark import evaluation, growth
from crack_utils.scoring.calibration import CELLS, binned_average_precision, calibration, probability_histogram
from crack_utils.scoring.counts import dilate, disc_counts, tolerance_counts, tolerance_maps
from crack_utils.scoring.decision import average_precision, best_decision_threshold, decision_scores, roc_curve
from crack_utils.scoring.on_device import _above_on_device
from crack_utils.scoring.scores import best_threshold, disc_scores, intersection_over_union, optimal_scores, precision_recall_f1
from crack_utils.scoring.thresholds import SEG_THRESHOLDS, exceeded


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
    assert len(SEG_THRESHOLDS) == 180
    assert SEG_THRESHOLDS[0] == 0.1
    np.testing.assert_array_equal(SEG_THRESHOLDS, np.arange(0.1, 1, 0.005))


@pytest.mark.parametrize("arm", [0, 1, 2, 5])
def test_counts_of_all_thresholds_equal_the_naive_loop(arm):
    rng = np.random.default_rng(arm)
    probs = rng.random((3, 13, 17)).astype(np.float32)
    probs[0, :3] = np.float32(0.375)  # exactly on a threshold, or just beside it, as float32 has it
    probs[1, :3] = SEG_THRESHOLDS[40]
    masks = rng.random((3, 13, 17)) < 0.1
    masks[2] = False
    tp, fp, fn = tolerance_counts(probs, masks, SEG_THRESHOLDS, tolerance_px=arm)
    for i in range(3):
        for t in (0, 17, 39, 40, 41, 55, 56, 120, 179):
            assert (tp[i, t], fp[i, t], fn[i, t]) == naive_counts(probs[i], masks[i], SEG_THRESHOLDS[t], arm)


def test_counts_of_a_case_done_by_hand():
    mask = np.zeros((5, 7), bool)
    mask[2, 2] = True  # its plus: row 2 columns 0..4, column 2 rows 0..4
    prob = np.zeros((5, 7), np.float32)
    prob[2, 4] = prob[0, 2] = 0.9  # within 2 pixels along an axis: hits
    prob[1, 3] = 0.9  # diagonal neighbour: a false alarm, for the plus is no square
    prob[2, 6] = 0.9  # too far
    tp, fp, fn = tolerance_counts([prob], [mask], [0.5])
    assert (tp.item(), fp.item(), fn.item()) == (2, 2, 1)


def test_maps_show_what_the_counts_count():
    rng = np.random.default_rng(3)
    prob, mask = rng.random((20, 30)).astype(np.float32), rng.random((20, 30)) < 0.08
    counts = tolerance_counts([prob], [mask], [0.6])
    hit, miss, false_alarm = tolerance_maps(prob, mask, 0.6)
    assert (hit.sum(), false_alarm.sum(), miss.sum()) == tuple(count.item() for count in counts)


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
        assert average_precision(has_crack, probs) == pytest.approx(area)
        assert best_decision_threshold(has_crack, probs) == pytest.approx(threshold)


def test_without_negatives_the_decision_threshold_is_the_lowest_score():
    assert best_decision_threshold(np.array([True, True, True]), np.array([0.9, 0.4, 0.7])) == 0.4


def test_decision_table_by_hand():
    scores = decision_scores(np.array([True, True, True, False, False]), np.array([0.9, 0.5, 0.2, 0.5, 0.1]), 0.5)
    assert (scores["tp"], scores["fp"], scores["fn"], scores["tn"]) == (2, 1, 1, 1)
    assert scores["accuracy"] == 0.6
    assert scores["precision"] == scores["recall"] == pytest.approx(2 / 3)


# --- exactness of the table, and what goes in


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "thresholds",
    [SEG_THRESHOLDS, [0.45, 0.5, np.inf], [-1, 0, 0.3, 1], [0.5, 0.5 + 1e-9], np.linspace(0, 1, 400)],
    ids=["record", "infinite", "outside", "close", "many"],
)
def test_the_table_tells_exactly_how_many_thresholds_are_exceeded(dtype, thresholds):
    thresholds = np.asarray(thresholds, float)
    finite = thresholds[(thresholds >= 0) & (thresholds <= 1)].astype(dtype)
    beside = [np.nextafter(finite, dtype(2)), np.nextafter(finite, dtype(-2))]
    prob = np.concatenate([finite, *beside, np.random.default_rng(0).random(5000).astype(dtype), [0, 1]]).clip(0, 1).astype(dtype)
    expected = (prob[:, None].astype(np.float64) > thresholds).sum(axis=1)
    np.testing.assert_array_equal(exceeded(prob, thresholds), expected)


def large(images=2, seed=0):
    rng = np.random.default_rng(seed)
    probs = rng.random((images, 200, 300)).astype(np.float32)  # more pixels than are looked up at a time
    return probs, rng.random(probs.shape) < 0.03


def test_large_images_count_as_whole_arrays_do():
    probs, masks = large()
    counted = tolerance_counts(probs, masks, SEG_THRESHOLDS)
    for i in range(2):
        near = dilate(masks[i], 2)
        for t, threshold in enumerate(SEG_THRESHOLDS):
            predicted = probs[i] > threshold
            expected = (near & predicted).sum(), (predicted & ~near).sum(), (masks[i] & ~predicted).sum()
            assert tuple(int(count[i, t]) for count in counted) == expected


def test_tensors_count_as_arrays_do_wherever_they_lie():
    probs, masks = large(5)
    at = np.float32(SEG_THRESHOLDS)
    probs[:, 0, : 3 * len(at)] = np.resize([at, np.nextafter(at, np.float32(0)), np.nextafter(at, np.float32(1))], 300)[: 3 * len(at)]
    expected = np.stack(tolerance_counts(probs, masks, SEG_THRESHOLDS))
    tensors = tolerance_counts(torch.from_numpy(probs), torch.from_numpy(masks), SEG_THRESHOLDS)
    np.testing.assert_array_equal(np.stack(tensors), expected)
    for arm in (0, 2):  # what a GPU would do, here on the CPU
        far, near_only, crack = _above_on_device(torch.from_numpy(probs[0]), torch.from_numpy(masks[0]), SEG_THRESHOLDS, arm)
        tp, fp, fn = tolerance_counts(probs[:1], masks[:1], SEG_THRESHOLDS, arm)
        np.testing.assert_array_equal((near_only + crack)[1:], tp[0])
        np.testing.assert_array_equal(far[1:], fp[0])
        np.testing.assert_array_equal(crack[0] - crack[1:], fn[0])


@pytest.mark.parametrize(
    ("prob", "mask", "thresholds", "message"),
    [
        ([[0.5, 1.5]], [[True, False]], [0.5], r"probabilities must lie in \[0, 1\], got 0.5 to 1.5; logits need a sigmoid"),
        ([[-0.1, 0.5]], [[True, False]], [0.5], "probabilities must lie"),
        ([[np.nan, 0.5]], [[True, False]], [0.5], "probabilities must lie"),
        ([[0.5]], [[True, False]], [0.5], r"shape \(1, 1\), but a mask of \(1, 2\)"),
        ([[0.5, 0.5]], [[True, False]], [0.5, 0.4], "thresholds must ascend"),
        ([[0.5, 0.5]], [[True, False]], [np.nan, 0.5], "thresholds must ascend"),
        ([[[0.5, 0.5]]], [[[True, False]]], [0.5], r"must be \(H, W\) with pixels in it, got \(1, 1, 2\); several are \(N, H, W\)"),
        ([0.5, 0.5], [True, False], [0.5], r"must be \(H, W\)"),
        ([[]], [[]], [0.5], r"must be \(H, W\) with pixels"),
    ],
)
def test_what_cannot_be_counted_is_refused(prob, mask, thresholds, message):
    prob, mask = np.array(prob, np.float32), np.array(mask, bool)
    for count in (
        lambda: tolerance_counts([prob], [mask], thresholds),
        lambda: tolerance_counts(torch.from_numpy(prob)[None], torch.from_numpy(mask)[None], thresholds),
        lambda: disc_counts(prob, mask, thresholds, 2),
    ):
        with pytest.raises(ValueError, match=message):
            count()


def test_tensors_of_any_kind_lists_and_many_thresholds_are_taken():
    prob, mask = [[0.25, 0.75], [0.5, 1.0]], [[True, False], [True, True]]
    expected = [count.tolist() for count in tolerance_counts(np.array([prob]), np.array([mask]), [0.5], 0)]
    tensors = [torch.tensor([prob], dtype=kind, requires_grad=True) for kind in (torch.float16, torch.bfloat16, torch.float64)]
    for given in ([prob], *tensors):
        assert [count.tolist() for count in tolerance_counts(given, [mask], [0.5], 0)] == expected
    assert exceeded(torch.tensor(prob), [0.3, 0.6]).tolist() == [[0, 2], [1, 2]]
    with pytest.raises(ValueError, match="must ascend"):
        exceeded(np.array(prob), [0.6, 0.3])
    for count in (21_845, 70_000):
        many = np.linspace(0, 0.7, count)
        tp, fp, fn = (each[0] for each in tolerance_counts([prob], [mask], many, 0))
        assert (tp[0], tp[-1], fp[-1], fn[-1]) == (3, 1, 1, 2)


def test_scores_of_numbers_are_numbers():
    for scores in (precision_recall_f1(6, 2, 4), disc_scores(6, 8, 6, 10), [intersection_over_union(6, 2, 4)]):
        assert all(isinstance(score, float) for score in scores)
    assert precision_recall_f1(6, 2, 4) == pytest.approx((0.75, 0.6, 2 * 0.75 * 0.6 / 1.35))
    assert precision_recall_f1(0, 7, 0) == (0, 0, 0)  # an empty truth


def test_memory_does_not_grow_with_the_number_of_images():
    def peak(images):
        probs, masks = large(images)
        tracemalloc.start()
        tolerance_counts(probs, masks, SEG_THRESHOLDS)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(8)
    assert peak(64) < peak(8) + 56 * 10_000 + 2**20  # the counts themselves, no maps of 60 000 pixels


# --- two-sided counts within a disc


@pytest.mark.parametrize("radius", [0, 2, 5])
def test_disc_counts_are_those_of_distances(radius):
    rng = np.random.default_rng(radius)
    prob, mask = ndimage.gaussian_filter(rng.random((40, 60)), 2).astype(np.float32), rng.random((40, 60)) < 0.02
    prob = (prob - prob.min()) / np.ptp(prob)
    counted = disc_counts(prob, mask, SEG_THRESHOLDS, radius)
    to_truth = ndimage.distance_transform_edt(~mask)
    for t in (0, 60, 100, 140, 179):
        predicted = prob > SEG_THRESHOLDS[t]
        to_predicted = ndimage.distance_transform_edt(~predicted) if predicted.any() else np.full(mask.shape, np.inf)
        assert counted["hit"][t] == (predicted & (to_truth <= radius)).sum()
        assert counted["predicted"][t] == predicted.sum()
        assert counted["found"][t] == (mask & (to_predicted <= radius)).sum()
    assert counted["truth"] == mask.sum()


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


# --- against a library


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


def test_the_benchmark_compares_what_counts_the_same():

    table = evaluation(images=2)  # raises if the three ways differ
    assert table["times ours"][0] == 1
    assert (table["seconds"] > 0).all()
    assert growth(images=4)["images"].tolist() == [1, 2, 4]
