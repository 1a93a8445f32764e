import numpy as np
import pytest
from scipy import stats

from crack_utils.scoring import bootstrap_interval, paired_difference
from crack_utils.scoring.summary import photo_sums, ratio


def with_ones(values):
    return np.stack([values, np.ones(len(values))], axis=1)


def test_values_are_summed_by_photo():
    sums = photo_sums(np.array([[1.0, 10], [2, 20], [4, 40]]), ["b", "a", "b"])
    assert sums.tolist() == [[2, 20], [5, 50]]


def test_with_one_image_a_photo_the_interval_is_the_usual_bootstrap():
    values = np.random.default_rng(1).normal(0.7, 0.1, 200)
    low, high = bootstrap_interval(with_ones(values), [str(i) for i in range(200)], ratio)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(2)).confidence_interval
    assert low == pytest.approx(theirs.low, abs=0.002)
    assert high == pytest.approx(theirs.high, abs=0.002)
    assert low < values.mean() < high


def test_crops_of_one_photo_do_not_make_it_surer():
    values = np.random.default_rng(1).normal(0.7, 0.1, 30)
    alone = bootstrap_interval(with_ones(values), list("abcdefghijklmnopqrstuvwxyz0123"), ratio)
    sixteenfold = bootstrap_interval(with_ones(values.repeat(16)), list(np.repeat(list("abcdefghijklmnopqrstuvwxyz0123"), 16)), ratio)
    assert sixteenfold == pytest.approx(alone)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        photo_level = rng.normal(0.6, 0.1, 40).repeat(4)  # crops of a photo are alike
        values = photo_level + rng.normal(0, 0.03, 160)
        low, high = bootstrap_interval(with_ones(values), np.arange(40).repeat(4).astype(str), ratio, resamples=300, seed=trial)
        covered += low <= 0.6 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_figure_may_be_any_function_of_sums():
    counts = np.array([[1, 0, 0], [0, 1, 1], [3, 0, 1], [2, 2, 0], [0, 0, 0]], float)  # TP, FP, FN
    f1 = lambda sums: 2 * sums[:, 0] / (2 * sums[:, 0] + sums[:, 1] + sums[:, 2])  # noqa: E731
    low, high = bootstrap_interval(counts, list("abcde"), f1)
    assert 0 <= low < 12 / 16 < high <= 1


def test_few_photos_and_what_does_not_vary_say_nothing():
    assert np.isnan(bootstrap_interval(with_ones(np.array([0.5, 0.7, 0.1, 0.2])), list("abcd"), ratio)).all()
    assert np.isnan(bootstrap_interval(with_ones(np.ones(9)), list("abcdefghi"), ratio)).all()
    assert np.isnan(bootstrap_interval(np.zeros((6, 2)), list("abcdef"), ratio)).all()


def test_a_clear_difference_is_told_from_chance():
    rng = np.random.default_rng(0)
    photos = np.arange(30).repeat(3).astype(str)
    b = rng.uniform(0.4, 0.9, 90)
    better = paired_difference(b + 0.05 + rng.normal(0, 0.02, 90), b, photos)
    assert better["difference"] == pytest.approx(0.05, abs=0.01)
    assert better["low"] > 0 and better["p"] < 0.01 and better["photos"] == 30
    chance = paired_difference(b + rng.normal(0, 0.05, 90), b, photos)
    assert chance["low"] < 0 < chance["high"] and chance["p"] > 0.05
    same = paired_difference(b, b, photos)
    assert (same["difference"], same["p"]) == (0, 1)


def test_the_p_value_is_that_of_the_exact_test():
    a, b = np.array([0.9, 0.8, 0.7, 0.85, 0.6]), np.array([0.7, 0.75, 0.72, 0.6, 0.5])
    exact = stats.permutation_test((a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf).pvalue
    assert paired_difference(a, b, list("abcde"), resamples=20000)["p"] == pytest.approx(exact, abs=0.01)


def test_of_few_photos_every_exchange_is_tried():
    a, photos = np.array([0.5, 0.6, 0.7, 0.8, 0.9]), list("abcde")
    found = paired_difference(a, a - 0.1, photos)
    assert found["p"] == 2 / 2**5  # all five the same way, or all the other: no less is possible
    assert {paired_difference(a, a - 0.1, photos, seed=seed)["p"] for seed in range(3)} == {found["p"]}
