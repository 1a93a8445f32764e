import os
import tracemalloc

import numpy as np
import pytest
import torch
from scipy import ndimage
from scoring_by_hand import large, naive_counts

from crack_utils.scoring import SEG_THRESHOLDS, dilate, disc_counts, exceeded, tolerance_counts, tolerance_maps
from crack_utils.scoring.counts import zones


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


def test_large_images_count_as_whole_arrays_do():
    probs, masks = large()
    counted = tolerance_counts(probs, masks, SEG_THRESHOLDS)
    for i in range(2):
        near = dilate(masks[i], 2)
        for t, threshold in enumerate(SEG_THRESHOLDS):
            predicted = probs[i] > threshold
            expected = (near & predicted).sum(), (predicted & ~near).sum(), (masks[i] & ~predicted).sum()
            assert tuple(int(count[i, t]) for count in counted) == expected


class OnDevice(torch.Tensor):
    """A tensor on the CPU that says it lies on a GPU."""

    is_cuda = True


def test_tensors_count_as_arrays_do_wherever_they_lie():
    probs, masks = large(5)
    at = np.float32(SEG_THRESHOLDS)
    probs[:, 0, : 3 * len(at)] = np.resize([at, np.nextafter(at, np.float32(0)), np.nextafter(at, np.float32(1))], 300)[: 3 * len(at)]
    for kind in (np.float32, np.float64):
        for arm in (0, 2):
            expected = np.stack(tolerance_counts(probs.astype(kind), masks, SEG_THRESHOLDS, arm))
            tensors, truths = torch.from_numpy(probs.astype(kind)), torch.from_numpy(masks)
            for given in (tensors, tensors.as_subclass(OnDevice)):
                for truth in (truths, masks):
                    np.testing.assert_array_equal(np.stack(tolerance_counts(given, truth, SEG_THRESHOLDS, arm)), expected)


def test_zones_of_a_case_done_by_hand():
    mask = np.zeros((5, 7), bool)
    mask[2, 2] = True
    assert zones(mask).tolist() == [[0, 0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0, 0], [1, 1, 2, 1, 1, 0, 0], *[[0, 0, 1, 0, 0, 0, 0]] * 2]
    assert (zones(mask, 0) == 2 * mask).all()


@pytest.mark.parametrize(
    ("prob", "mask", "thresholds", "message"),
    [
        ([[0.5, 1.5]], [[True, False]], [0.5], r"probabilities must lie in \[0, 1\], got 0.5 to 1.5; logits need a sigmoid"),
        ([[-0.1, 0.5]], [[True, False]], [0.5], "probabilities must lie"),
        ([[np.nan, 0.5]], [[True, False]], [0.5], "probabilities must lie"),
        ([[0.5]], [[True, False]], [0.5], r"the probabilities have shape \(1, 1\), but the mask has \(1, 2\)"),
        ([[0.5, 0.5]], [[True, False]], [0.5, 0.4], "thresholds must ascend"),
        ([[0.5, 0.5]], [[True, False]], [np.nan, 0.5], "thresholds must ascend"),
        ([[[0.5, 0.5]]], [[[True, False]]], [0.5], r"must be \(H, W\) with pixels in it, got \(1, 1, 2\); several images are \(N, H, W\)"),
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


@pytest.mark.parametrize("cores", [1, 2, 16])
def test_memory_grows_with_the_cores_not_with_the_number_of_images(cores, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)

    def peak(images):
        probs, masks = large(images)
        tracemalloc.start()
        tolerance_counts(probs, masks, SEG_THRESHOLDS)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(8)
    assert peak(64) < cores * peak(1) + 64 * 10_000 + 2**20  # the counts themselves, no maps of 60 000 pixels


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
