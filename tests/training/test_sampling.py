"""Which images an epoch trains on."""

import numpy as np
import torch
from conftest import small_params, write_dataset
from tiny_training import tiny_run, watch_steps

from crack_utils.data import find_data
from crack_utils.store import Run
from crack_utils.training import train_step
from crack_utils.training.sampling import draw_by_use, hard_set, hardest, mix_hard


def test_the_hardest_fifth_of_the_records_images_are_661():
    assert len(hardest(np.zeros(3307), 0.2)) == 661
    assert hardest(np.array([0.1, 0.9, 0.5, 0.7, 0.2]), 0.4).tolist() == [1, 3]
    assert len(hardest(np.zeros(5), 0)) == 0
    assert len(hardest(np.zeros(100), 0.29)) == 29


# --- sampling by use


def test_without_sampling_and_mining_every_image_is_trained_on_once_an_epoch(home, small_data):
    steps, parts = watch_steps()
    tiny_run(small_data, parts, epochs=2)
    assert [sorted(i for index, *_ in steps[epoch * 5 : epoch * 5 + 5] for i in index) for epoch in (0, 1)] == [[0, 1, 2, 3, 4]] * 2
    assert len(steps) == 10


def test_frequency_of_use_sampling_draws_as_many_crack_free_images_as_cracked_ones(home, tmp_path):
    steps, parts = watch_steps()
    tiny_run(write_dataset(tmp_path / "d", train=3, negatives=6), parts, epochs=4, frequency_of_use_sampling=True)
    epochs = [[index[0] for index, *_ in steps[i : i + 6]] for i in range(0, 24, 6)]
    for drawn in epochs:
        assert sorted(drawn)[:3] == [0, 1, 2]
        assert len(set(drawn) & set(range(3, 9))) == 3
    assert not set(epochs[0]) & set(epochs[1]) & set(range(3, 9))  # the unused come first
    assert "4 epochs of 6 + 0 images" in Run("tiny").log.load()


def test_little_used_negatives_are_drawn_first_and_the_first_draw_is_uniform():
    has_crack = np.array([True] * 20 + [False] * 40)
    rng = np.random.default_rng(0)
    first = np.zeros(60)
    for _ in range(2000):
        drawn = draw_by_use(has_crack, np.zeros(60, int), rng)
        assert len(drawn) == len(set(drawn)) == 40
        first[drawn] += 1
    assert (first[:20] == 2000).all()
    assert abs(first[20:] / 2000 - 0.5).max() < 0.06
    uses = np.zeros(60, int)
    for _ in range(30):
        uses += np.bincount(draw_by_use(has_crack, uses, rng), minlength=60)
    assert uses[20:].min() >= 12  # 15 on average
    assert uses[20:].max() <= 18


def test_sampling_weights_are_those_of_the_formula():
    uses = np.array([0, 0, 0, 1, 2, 4, 4, 3])
    w = 1 - uses / 4
    w = w - np.median(w) + 1
    w = w ** (4 * np.log(8))
    rng, has_crack = np.random.default_rng(1), np.array([True] + [False] * 8)
    drawn = [draw_by_use(has_crack, np.append(9, uses), rng)[1] - 1 for _ in range(20000)]
    np.testing.assert_allclose(np.bincount(drawn, minlength=8) / 20000, w / w.sum(), atol=0.012)


def test_too_few_negatives_are_used_as_evenly_as_possible():
    has_crack = np.array([True] * 7 + [False] * 3)
    uses = np.zeros(10, int)
    for _ in range(6):
        drawn = draw_by_use(has_crack, uses, np.random.default_rng(0))
        counts = np.bincount(drawn, minlength=10)
        assert counts[:7].tolist() == [1] * 7
        assert sorted(counts[7:]) == [2, 2, 3]
        uses += counts
    for seed in range(200):
        uses += np.bincount(draw_by_use(has_crack, uses, np.random.default_rng(seed)), minlength=10)
        assert np.ptp(uses[7:]) <= 1  # over the whole training too
    assert draw_by_use(np.array([True, True]), np.zeros(2, int), np.random.default_rng(0)).tolist() == [0, 1]


# --- mining of hard images


def test_the_hard_set_is_the_first_cut_that_holds_enough():
    difficulty = np.r_[np.zeros(16), [1.0, 1.0, 1.0, 5.0]]
    deviation, mean = difficulty.std(), difficulty.mean()
    assert (mean + 2 * deviation < 5) and (mean + 0.5 * deviation < 1 < mean + deviation)
    assert hard_set(difficulty, 0.04).tolist() == [19]
    assert hard_set(difficulty, 0.1).tolist() == [16, 17, 18, 19]  # 1 of 20 is not over 10 %
    assert hard_set(difficulty, 0.5).tolist() == list(range(20))
    assert hard_set(np.full(5, np.nan), 0.1).tolist() == []
    for values, cut, count in (([0.0] * 78 + [0.6] * 10 + [1.0] * 12, 2, 12), ([0.0] * 72 + [0.25] * 10 + [0.4] * 10 + [1.0] * 8, 0.5, 18)):
        difficulty = np.array(values)
        above = np.flatnonzero(difficulty > difficulty.mean() + cut * difficulty.std())
        assert len(above) == count  # each other cut would hold another number
        assert hard_set(difficulty, 0.1).tolist() == above.tolist()
    assert hard_set(np.array([1.0, np.nan, 1.0]), 0.1).tolist() == [0, 2]


def test_each_batch_holds_k_of_the_hard_set():
    order, is_first = mix_hard(np.arange(7), np.array([7, 8, 9]), 2, 5, np.random.default_rng(0))
    assert order[is_first].tolist() == list(range(7))
    for batch in (order[:5], order[5:10], order[10:]):
        assert set(batch[-2:]) <= {7, 8, 9}
        assert len(set(batch[-2:])) == 2


def test_mining_in_batches_starts_in_the_second_epoch_with_the_hardest_of_the_first(home, tmp_path):
    steps, parts = watch_steps()
    root = write_dataset(tmp_path / "d", train=6, negatives=4)
    run = tiny_run(root, parts, epochs=2, batch_size=4, hard_negative_mining="1 of 4, min 0.2")
    sizes = [len(index) for index, *_ in steps]
    assert sizes == [4, 4, 2, 4, 4, 4, 2]
    assert sorted(i for index, *_ in steps[:3] for i in index) == list(range(10))
    assert sorted(i for index, *_ in steps[3:] for i in index[:-1]) == list(range(10))
    assert "2 epochs of 10 + 4 images" in run.log.load()


def test_mining_by_share_repeats_the_hardest_by_the_difficulty_asked_for(home, small_data):
    losses = torch.tensor([0.5, 0.1, 0.2, 0.3, 0.4])
    errors = torch.tensor([0.0, 99.0, 0.0, 0.0, 0.0])

    def graded(model, optimizer, batch, *more):
        train_step(model, optimizer, batch, *more)
        return losses[batch.index].expand(2, -1), errors[batch.index]

    steps, parts = watch_steps(graded)
    for difficulty, hard in (("loss", 0), ("loss_errors", 1)):
        steps.clear()
        tiny_run(small_data, parts, epochs=1, hard_negative_mining=0.2, hard_negative_difficulty=difficulty)
        assert steps[5][0] == [hard]
    errors.zero_()  # then the loss alone tells: 2 FP + FN + 1
    losses[:] = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    steps.clear()
    tiny_run(small_data, parts, epochs=1, hard_negative_mining=0.2, hard_negative_difficulty="loss_errors", seed=1)
    assert steps[5][0] == [4]


def test_with_sampling_only_images_of_the_epoch_are_mined(home, tmp_path):
    """Images 3 to 8 have no crack; each epoch draws three of them. The hardest of all are never mined where they were not drawn."""

    def graded(model, optimizer, batch, *more):
        train_step(model, optimizer, batch, *more)
        return batch.index.float().expand(2, -1), torch.zeros(len(batch.index))

    steps, parts = watch_steps(graded)
    root = write_dataset(tmp_path / "d", train=3, negatives=6)
    tiny_run(root, parts, epochs=5, hard_negative_mining=0.5, frequency_of_use_sampling=True)
    epochs = [[index[0] for index, *_ in steps[i : i + 9]] for i in range(0, 45, 9)]
    for drawn in epochs:
        assert sorted(drawn[6:]) == sorted(drawn[:6])[3:]


def test_the_losses_of_an_epoch_are_those_of_its_first_pass(home, tmp_path):
    def graded(model, optimizer, batch, *more):
        train_step(model, optimizer, batch, *more)
        values = torch.ones(len(batch.index))
        if len(steps) > 3:  # the second epoch: the last of each batch is taken from the hard set
            values[-1] = 7.0
        return values.expand(2, -1), values

    steps, parts = watch_steps(graded)
    root = write_dataset(tmp_path / "d", train=6, negatives=4)
    run = tiny_run(root, parts, epochs=2, batch_size=4, hard_negative_mining="1 of 4, min 0.2")
    assert len(steps) == 7
    assert run.history.load()["loss_segmentation"].tolist() == [1, 1]


def test_mining_that_takes_no_image_says_so(home, small_data):
    note = "Note: hard_negative_mining 0.1 of 5 images is less than one image: no image is trained on twice"
    assert note in tiny_run(small_data, epochs=1, hard_negative_mining=0.1).log.load()
    assert "less than one" not in tiny_run(small_data, epochs=1, hard_negative_mining=0.2).log.load()


# --- augmentation


def test_augmentation_changes_cracked_images_half_the_time_and_nothing_when_off(home, small_data):
    plain = find_data(small_params(small_data), home).split("train")

    def batches_of(**values):
        seen = []
        _, parts = watch_steps(lambda model, optimizer, batch, *more: seen.append(batch) or train_step(model, optimizer, batch, *more))
        tiny_run(small_data, parts, epochs=12, **values)
        return seen

    def changed(**values):
        return [not torch.equal(batch.image[0], plain[batch.index.item()]["image"]) for batch in batches_of(**values)]

    assert not any(changed(augmentation=False))
    assert 0.15 < np.mean(changed()) < 0.6
    for batch in batches_of(augmentation_parts="vertical_flip"):
        image = plain[batch.index.item()]["image"]
        assert torch.equal(batch.image[0], image) or torch.equal(batch.image[0], image.flip(-2))
