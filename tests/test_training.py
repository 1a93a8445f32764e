import copy

import numpy as np
import pytest
import torch
from conftest import TinyNet, small_params, write_dataset

from crack_utils.config import parse_parameters
from crack_utils.data import Batch, find_data
from crack_utils.errors import MissingRun, ParameterError, UserError
from crack_utils.evaluation.run import evaluate_run
from crack_utils.networks import SegDecNet, build_model, predict
from crack_utils.scoring import Judgement
from crack_utils.store import Run
from crack_utils.training import (
    Training,
    Watcher,
    better,
    build_optimizer,
    draw_by_use,
    duration,
    hard_set,
    hardest,
    learning_rate,
    mix_hard,
    train_run,
    train_step,
)


def weights(run):
    model = SegDecNet()
    run.model.load_into(model)
    return model.state_dict()


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_the_hardest_fifth_of_the_records_images_are_661():
    assert len(hardest(np.zeros(3307), 0.2)) == 661
    assert hardest(np.array([0.1, 0.9, 0.5, 0.7, 0.2]), 0.4).tolist() == [1, 3]
    assert len(hardest(np.zeros(5), 0)) == 0
    assert len(hardest(np.zeros(100), 0.29)) == 29


@pytest.mark.parametrize(
    ("kind", "val_f1", "val_decision_ap", "expected"),
    [
        ("seg", 0.6, 0.1, True),
        ("seg", 0.5, 0.9, False),
        ("dec", 0.1, 0.9, True),
        ("dec", 0.9, 0.8, False),
        ("both", 0.5, 0.9, True),
        ("both", 0.9, 0.7, False),
    ],
)
def test_what_makes_a_model_the_best(kind, val_f1, val_decision_ap, expected):
    best = {"epoch": 1, "val_f1": 0.5, "val_decision_ap": 0.8}
    assert better({"val_f1": val_f1, "val_decision_ap": val_decision_ap}, best, kind) is expected


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One training of two epochs, each validated, shared by the tests that only read it."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRACK_HOME", str(folder))
        params = small_params(write_dataset(folder / "data"), validation_n_epochs=1, hard_negative_mining=0.5)
        yield train_run(params, "first"), params, folder


@pytest.fixture
def in_trained_home(trained, monkeypatch):
    monkeypatch.setenv("CRACK_HOME", str(trained[2]))
    return trained


def test_a_training_leaves_its_history_log_and_weights(in_trained_home):
    run, _, _ = in_trained_home
    history = run.history.load()
    assert history["epoch"].tolist() == [1, 2]
    np.testing.assert_allclose(history["loss"][0], history["loss_segmentation"][0])  # epoch 0: all weight on the segmentation
    np.testing.assert_allclose(history["loss"][1], 0.5 * history["loss_segmentation"][1] + 0.005 * history["loss_decision"][1])
    assert history["val_f1"].notna().all()
    log = run.log.load().splitlines()
    assert log[0].startswith("Training first: 2 epochs of 5 + 2 images on cpu: about ")
    assert "train: 5 images, 4 with a crack, 1 without" in log
    assert [line.split(" | ")[0] for line in log[-5:]] == [
        "Epoch 1/2",
        "Validation (epoch 1)",
        "Epoch 2/2",
        "Validation (epoch 2)",
        f"Chosen by val (epoch {history['val_f1'].idxmax() + 1})",
    ]
    assert run.is_trained
    assert not run.path("checkpoint.pt").exists()
    assert not run.path("best.safetensors").exists()


def test_the_same_seed_gives_the_same_run_and_another_seed_another(in_trained_home):
    run, params, folder = in_trained_home
    again = train_run(params, "again")
    assert same(weights(run), weights(again))
    columns = [name for name in run.history.load() if name != "time_s"]
    assert run.history.load()[columns].equals(again.history.load()[columns])
    other = train_run(small_params(folder / "data", validation_n_epochs=1, hard_negative_mining=0.5, seed=1), "other")
    assert not same(weights(run), weights(other))


def test_a_stopped_training_goes_on_as_the_unbroken_one_would_have(in_trained_home, monkeypatch):
    run, params, _ = in_trained_home
    real = Training._train_epoch

    def stop_in_second_epoch(self, epoch):
        if epoch == 1:
            raise KeyboardInterrupt
        return real(self, epoch)

    monkeypatch.setattr(Training, "_train_epoch", stop_in_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        train_run(params, "stopped")
    assert not Run("stopped").is_trained
    assert Run("stopped").history.load()["epoch"].tolist() == [1]
    monkeypatch.setattr(Training, "_train_epoch", real)
    resumed = train_run(params, "stopped")
    assert "Going on with stopped after epoch 1 of 2 epochs" in resumed.log.load()
    assert same(weights(run), weights(resumed))
    assert resumed.history.load()["val_f1"].tolist() == run.history.load()["val_f1"].tolist()


def test_a_finished_training_is_shown_and_other_parameters_do_not_replace_it(in_trained_home, capsys):
    run, params, folder = in_trained_home
    before = run.path("model.safetensors").stat().st_mtime_ns
    train_run(params, "first")
    assert "shown, not repeated" in capsys.readouterr().out
    with pytest.raises(ParameterError, match=r"other parameters \(epochs 2 there, 1 now"):
        train_run(small_params(folder / "data", epochs=1, validation_n_epochs=1, hard_negative_mining=0.5), "first")
    assert run.path("model.safetensors").stat().st_mtime_ns == before


def test_without_a_name_a_run_is_called_after_its_parameters(home, small_data):
    params = small_params(small_data, epochs=1, validate=False, hard_negative_mining=0)
    run = train_run(params)
    assert run.name == f"crack500-{params.fingerprint()}"
    assert run.history.load()["val_f1"].isna().all()
    assert "Chosen: the last weights (epoch 1)" in run.log.load()


def test_overwriting_drops_what_the_other_training_left(home, small_data):
    run = Run("a")
    run.params.save(small_params(small_data, epochs=9), {}, {})
    run.path("metrics.json").write_text("{}")
    with pytest.raises(UserError, match="nowhere"):
        train_run(small_params("nowhere", epochs=1), "a", overwrite=True)
    assert run.params.load().epochs == 9  # nothing is dropped before all is known to be well
    train_run(small_params(small_data, epochs=1, validate=False, hard_negative_mining=0), "a", overwrite=True)
    assert run.params.load().epochs == 1
    assert not run.is_evaluated


def test_nothing_is_written_when_the_data_cannot_be_used(home, small_data):
    next((small_data / "testcrop").glob("*.jpg")).write_bytes(b"")
    with pytest.raises(UserError, match="it is empty"):
        train_run(small_params(small_data), "a")
    assert not Run("a").folder.exists()


def test_a_missing_device_is_refused(home, small_data):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ParameterError, match="device: cuda is not there on this machine; use auto or cpu"):
        train_run(small_params(small_data, device="cuda"))


def test_batches_are_true_batches_with_mean_losses(small_data):
    torch.manual_seed(0)
    model = SegDecNet()
    image, mask = torch.rand(2, 3, 64, 128), (torch.rand(2, 1, 64, 128) < 0.1).float()
    batch = Batch(image, mask, torch.ones_like(mask), torch.ones_like(mask), torch.ones(2, 1), torch.arange(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0)
    train_step(model, optimizer, batch, (1.0, 1.0))
    together = [p.grad.clone() for p in model.parameters()]
    alone = []
    for i in (0, 1):
        ones = torch.ones(1, 1, 64, 128)
        one = Batch(image[i : i + 1], mask[i : i + 1], ones, ones, torch.ones(1, 1), torch.tensor([i]))
        train_step(model, optimizer, one, (1.0, 1.0))
        alone.append([p.grad.clone() for p in model.parameters()])
    for both, first, second in zip(together, *alone, strict=True):
        torch.testing.assert_close(both, (first + second) / 2, rtol=1e-3, atol=1e-5)


def test_learning_lowers_the_loss():
    torch.manual_seed(0)
    model = SegDecNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    image = torch.rand(1, 3, 64, 128)
    mask = torch.zeros(1, 1, 64, 128)
    mask[..., 30:34, 20:100] = 1
    image[mask.expand_as(image) > 0] = 0
    batch = Batch(image, mask, torch.ones_like(mask), torch.ones_like(mask), torch.ones(1, 1), torch.zeros(1, dtype=torch.long))
    losses = [train_step(model, optimizer, batch, (1.0, 0.01))[0].item() for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]


def test_durations_read_as_people_say_them():
    assert [duration(seconds) for seconds in (12.4, 240, 36000)] == ["12 s", "4 min", "10.0 h"]


# --- the switches, by what they do


@pytest.fixture
def steps(tiny_network, monkeypatch):
    """The batches of a training with a tiny network, each as (index, weights, pos_weights)."""
    seen = []
    real = train_step

    def spy(model, optimizer, batch, weights, pos_weights=(None, None)):
        seen.append((batch.index.tolist(), weights, pos_weights))
        return real(model, optimizer, batch, weights, pos_weights)

    monkeypatch.setattr(training, "train_step", spy)
    monkeypatch.setattr(training, "measure_step", lambda *_: (0, 0))
    return seen


def tiny_run(root, **values):
    return train_run(small_params(root, **{"hard_negative_mining": 0, "validate": False} | values), "tiny", overwrite=True)


def batches_of(monkeypatch, root, **values):
    """The batches a training takes."""
    seen = []
    real = train_step
    with monkeypatch.context() as patch:
        patch.setattr(
            training, "train_step", lambda model, optimizer, batch, *more: seen.append(batch) or real(model, optimizer, batch, *more)
        )
        tiny_run(root, **values)
    return seen


def test_augmentation_changes_cracked_images_half_the_time_and_nothing_when_off(home, small_data, steps, monkeypatch):
    plain = find_data(small_params(small_data), home).split("train")

    def changed(**values):
        taken = batches_of(monkeypatch, small_data, epochs=12, **values)
        return [not torch.equal(batch.image[0], plain[batch.index.item()]["image"]) for batch in taken]

    assert not any(changed(augmentation=False))
    assert 0.15 < np.mean(changed()) < 0.6
    vertical = batches_of(monkeypatch, small_data, epochs=12, augmentation_parts="vertical_flip")
    for batch in vertical:
        image = plain[batch.index.item()]["image"]
        assert torch.equal(batch.image[0], image) or torch.equal(batch.image[0], image.flip(-2))


def test_one_step_follows_the_gradient_of_the_losses_as_they_are_written(small_data):
    """Plain gradient descent of rate 1 against the formulas, with every weight there is."""
    torch.manual_seed(0)
    model = TinyNet(small_params(small_data)).double()
    image, mask = torch.rand(2, 3, 8, 9, dtype=torch.float64), (torch.rand(2, 1, 8, 9) < 0.4).double()
    valid, weight = (torch.rand(2, 1, 8, 9) < 0.8).double(), 1 + torch.rand(2, 1, 8, 9, dtype=torch.float64)
    label = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    crack, cracked = torch.tensor(3.0).double(), torch.tensor(0.25).double()
    expected = copy.deepcopy(model)
    decision, seg = expected(image)
    log = torch.nn.functional.logsigmoid
    pixels = -(crack * mask * log(seg) + (1 - mask) * log(-seg)) * weight * valid
    images = -(cracked * label * log(decision) + (1 - label) * log(-decision))
    loss = 0.7 * (pixels.sum((1, 2, 3)) / valid.sum((1, 2, 3))).mean() + 0.2 * images.mean()
    loss.backward()
    batch = Batch(image, mask, valid, weight, label, torch.arange(2))
    train_step(model, torch.optim.SGD(model.parameters(), lr=1), batch, (0.7, 0.2), (crack, cracked))
    for after, start in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(after, start - start.grad)


@pytest.mark.parametrize("adjusted", [True, False])
@pytest.mark.parametrize("architecture", ["segdecnet", "segdecnet++", "segdecnet-jim", "unet", "segformer"])
def test_each_architecture_is_built_as_the_parameters_say(small_data, architecture, adjusted):
    if architecture in ("unet", "segformer"):
        pytest.importorskip("segmentation_models_pytorch", reason="the extra 'baselines' is not installed")
    encoder = {"unet": "resnet18", "segformer": "mit_b0"}.get(architecture)
    params = small_params(small_data, architecture=architecture, encoder=encoder, input_channels=1, gradient_flow_adjustment=adjusted)
    model = build_model(params)
    assert model.gradient_flow_adjustment is adjusted
    assert model.eval()(torch.rand(1, 1, 64, 128))[1].shape == (1, 1, 64, 128)
    kinds = {"segdecnet": "SegDecNet", "segdecnet++": "SegDecNetPlusPlus", "segdecnet-jim": "SegDecNetJim"}
    assert type(model).__name__ == kinds.get(architecture, "Baseline")
    if encoder:
        from crack_utils.networks import Baseline

        assert type(model.network).__name__.lower() == architecture
        sizes = [[p.shape for p in each.network.encoder.parameters()] for each in (model, Baseline(architecture, encoder, 1))]
        assert sizes[0] == sizes[1]


@pytest.mark.parametrize(("architecture", "layer"), [("segdecnet++", "gate1.project.weight"), ("segdecnet-jim", "seg_head.0.weight")])
def test_the_family_trains_and_is_evaluated_by_its_name(home, small_data, architecture, layer):
    run = train_run(small_params(small_data, architecture=architecture, epochs=1, hard_negative_mining=0, validate=False), "a")
    stored = tiny_weights(run)
    assert layer in stored
    assert any(name.startswith("up1") for name in stored) is (architecture != "segdecnet-jim")
    assert f"Network: {architecture} with " in run.log.load()
    assert 0 <= evaluate_run(run)["segmentation_2px"]["f1"] <= 1


def test_without_sampling_and_mining_every_image_is_trained_on_once_an_epoch(home, small_data, steps):
    tiny_run(small_data, epochs=2)
    assert [sorted(i for index, *_ in steps[epoch * 5 : epoch * 5 + 5] for i in index) for epoch in (0, 1)] == [[0, 1, 2, 3, 4]] * 2
    assert len(steps) == 10


def test_frequency_of_use_sampling_draws_as_many_crack_free_images_as_cracked_ones(home, tmp_path, steps):
    root = write_dataset(tmp_path / "d", train=3, negatives=6)
    tiny_run(root, epochs=4, frequency_of_use_sampling=True)
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


def test_mining_in_batches_starts_in_the_second_epoch_with_the_hardest_of_the_first(home, tmp_path, steps):
    root = write_dataset(tmp_path / "d", train=6, negatives=4)
    run = tiny_run(root, epochs=2, batch_size=4, hard_negative_mining="1 of 4, min 0.2")
    sizes = [len(index) for index, *_ in steps]
    assert sizes == [4, 4, 2, 4, 4, 4, 2]
    assert sorted(i for index, *_ in steps[:3] for i in index) == list(range(10))
    assert sorted(i for index, *_ in steps[3:] for i in index[:-1]) == list(range(10))
    assert "2 epochs of 10 + 4 images" in run.log.load()


def test_mining_by_share_repeats_the_hardest_by_the_difficulty_asked_for(home, small_data, steps, monkeypatch):
    losses = torch.tensor([0.5, 0.1, 0.2, 0.3, 0.4])
    errors = torch.tensor([0.0, 99.0, 0.0, 0.0, 0.0])
    real = train_step

    def graded(model, optimizer, batch, *more):
        real(model, optimizer, batch, *more)
        return losses[batch.index], losses[batch.index], errors[batch.index]

    monkeypatch.setattr(training, "train_step", graded)
    for difficulty, hard in (("loss", 0), ("loss_errors", 1)):
        steps.clear()
        tiny_run(small_data, epochs=1, hard_negative_mining=0.2, hard_negative_difficulty=difficulty)
        assert steps[5][0] == [hard]
    errors.zero_()  # then the loss alone tells: 2 FP + FN + 1
    losses[:] = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    steps.clear()
    tiny_run(small_data, epochs=1, hard_negative_mining=0.2, hard_negative_difficulty="loss_errors", seed=1)
    assert steps[5][0] == [4]


def test_with_sampling_only_images_of_the_epoch_are_mined(home, tmp_path, steps, monkeypatch):
    """Images 3 to 8 have no crack; each epoch draws three of them. The hardest of all are never mined where they were not drawn."""
    real = train_step

    def graded(model, optimizer, batch, *more):
        real(model, optimizer, batch, *more)
        return batch.index.float(), batch.index.float(), torch.zeros(len(batch.index))

    monkeypatch.setattr(training, "train_step", graded)
    tiny_run(write_dataset(tmp_path / "d", train=3, negatives=6), epochs=5, hard_negative_mining=0.5, frequency_of_use_sampling=True)
    epochs = [[index[0] for index, *_ in steps[i : i + 9]] for i in range(0, 45, 9)]
    for drawn in epochs:
        assert sorted(drawn[6:]) == sorted(drawn[:6])[3:]


def test_the_losses_of_an_epoch_are_those_of_its_first_pass(home, tmp_path, steps, monkeypatch):
    real = train_step

    def graded(model, optimizer, batch, *more):
        real(model, optimizer, batch, *more)
        values = torch.ones(len(batch.index))
        if len(steps) > 3:  # the second epoch: the last of each batch is taken from the hard set
            values[-1] = 7.0
        return values, values, values

    monkeypatch.setattr(training, "train_step", graded)
    run = tiny_run(write_dataset(tmp_path / "d", train=6, negatives=4), epochs=2, batch_size=4, hard_negative_mining="1 of 4, min 0.2")
    assert len(steps) == 7
    assert run.history.load()["loss_segmentation"].tolist() == [1, 1]


def test_errors_count_false_alarms_twice_and_no_padding():
    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = torch.nn.Parameter(torch.tensor([[[[1.0, 1.0, -1.0, -1.0, 1.0, -1.0]]]]))

        def forward(self, image):
            return self.logits[..., :1, 0, 0], self.logits

    model = Fixed()
    mask = torch.tensor([[[[1.0, 0.0, 1.0, 0.0, 0.0, 1.0]]]])  # hit, false alarm, miss, right, then padding
    valid = torch.tensor([[[[1.0, 1.0, 1.0, 1.0, 0.0, 0.0]]]])
    batch = Batch(torch.zeros(1, 3, 1, 6), mask, valid, torch.ones_like(mask), torch.ones(1, 1), torch.tensor([0]))
    errors = train_step(model, torch.optim.SGD(model.parameters(), 0.0), batch, (1.0, 0.0))[2]
    assert errors.tolist() == [2 * 1 + 1]


@pytest.mark.parametrize("form", [0.5, "1 of 2, min 0.1"])
def test_a_stopped_training_with_sampling_and_mining_goes_on_the_same(home, tmp_path, steps, monkeypatch, form):
    root = write_dataset(tmp_path / "d", train=3, negatives=6)
    params = small_params(
        root,
        epochs=4,
        batch_size=2,
        frequency_of_use_sampling=True,
        hard_negative_mining=form,
        validation_n_epochs=1,
        momentum=0.9,
        optimizer="sgd",
    )
    train_run(params, "whole")
    real = Training._train_epoch
    monkeypatch.setattr(
        Training, "_train_epoch", lambda self, epoch: real(self, epoch) if epoch < 2 else (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        train_run(params, "stopped")
    monkeypatch.setattr(Training, "_train_epoch", real)
    train_run(params, "stopped")
    assert Run("stopped").path("model.safetensors").read_bytes() == Run("whole").path("model.safetensors").read_bytes()


def test_a_training_does_not_go_on_with_other_images(home, tmp_path, steps, monkeypatch):
    root = write_dataset(tmp_path / "d")
    params = small_params(root, epochs=3, validation_n_epochs=1)
    real = Training._train_epoch
    monkeypatch.setattr(
        Training, "_train_epoch", lambda self, epoch: real(self, epoch) if epoch < 1 else (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        train_run(params, "a")
    write_dataset(root, train=6)
    with pytest.raises(UserError, match="the training images are not those run a began with"):
        train_run(params, "a")


# --- watched and stopped


class DrawingNet(TinyNet):
    """TinyNet with all that a training carries from batch to batch: draws, and statistics of a normalisation."""

    def __init__(self, params):
        super().__init__(params)
        self.norm = torch.nn.BatchNorm2d(params.input_channels)

    def forward(self, image):
        return super().forward(torch.nn.functional.dropout(self.norm(image), 0.3, self.training))


class StopAfter(Watcher):
    """Stops after so many batches, and keeps how the training stood after each epoch."""

    def __init__(self, batches=None):
        self.left, self.heard, self.ends = batches, [], []

    def should_stop(self):
        return self.left is not None and len(self.heard) >= self.left

    def on_batch(self, training, epoch, done, total):
        self.heard.append((epoch, done, total))

    def on_epoch(self, training):
        row = {name: value for name, value in training.history[-1].items() if name != "time_s"}
        sampling = torch.tensor(training.difficulty), torch.tensor(training.uses)
        self.ends.append(copy.deepcopy((row, sampling, training.model.state_dict(), training.optimizer.state_dict())))


@pytest.fixture
def drawing(home, tmp_path, steps, monkeypatch):
    """Parameters of three epochs of five batches: three of all images, then two of the hardest."""
    for module in (training, evaluation):
        monkeypatch.setattr(module, "build_model", lambda params, fresh=True: DrawingNet(params))
    root = write_dataset(tmp_path / "d", train=3, negatives=6)
    values = {"epochs": 3, "batch_size": 2, "frequency_of_use_sampling": True, "validation_n_epochs": 2, "hard_negative_mining": 0.5}
    return lambda **more: small_params(root, **values | more)


@pytest.mark.parametrize("values", [{}, {"num_workers": 1}, {"hard_negative_mining": "1 of 2, min 0.1"}])
def test_a_training_stopped_after_every_batch_ends_bit_for_bit_as_the_unbroken_one(drawing, steps, values):
    whole, params = StopAfter(), drawing(**values)
    train_run(params, "whole", watcher=whole)
    trained_on, sessions, ends = steps.copy(), 0, []
    steps.clear()
    while not Run("often").is_trained:
        watcher = StopAfter(1)
        train_run(params, "often", watcher=watcher)
        ends += watcher.ends
        sessions += 1
        assert sessions <= len(trained_on) + 1
    assert steps == trained_on
    torch.testing.assert_close(ends, whole.ends, rtol=0, atol=0, equal_nan=True)
    assert Run("often").path("model.safetensors").read_bytes() == Run("whole").path("model.safetensors").read_bytes()
    histories = [Run(name).history.load().drop(columns="time_s") for name in ("often", "whole")]
    assert histories[0].equals(histories[1])


@pytest.mark.parametrize(
    ("batches", "epoch", "done"),
    [(2, 1, "4 of 9"), (3, 1, "6 of 9"), (4, 1, "8 of 9"), (5, 1, "9 of 9"), (6, 2, "2 of 9"), (13, 3, "6 of 9"), (15, 3, "9 of 9")],
)
def test_a_stopped_training_says_where_it_stands_and_goes_on_from_there(drawing, steps, batches, epoch, done):
    params = drawing()
    run = train_run(params, "a", watcher=StopAfter(batches))
    assert not run.is_trained
    assert run.log.load().endswith(f"\nStopped in epoch {epoch} of 3 after {done} images; the same run goes on from here.\n")
    assert run.history.load()["epoch"].tolist() == list(range(1, epoch))
    with pytest.raises(MissingRun, match="run a has not finished training; train comes first"):
        evaluate_run(run)
    resumed = StopAfter()
    train_run(params, "a", watcher=resumed)
    assert len(steps) == 15
    assert len(resumed.ends) == 4 - epoch
    into = f"3 epochs of 6 + 3 images on cpu, {done.split()[0]} images into epoch {epoch}: about "
    assert f"Going on with a after epoch {epoch - 1} of {into}" in run.log.load()
    train_run(params, "whole")
    assert run.path("model.safetensors").read_bytes() == Run("whole").path("model.safetensors").read_bytes()


def test_the_time_left_is_that_of_what_is_left(drawing, monkeypatch):
    monkeypatch.setattr(training, "measure_step", lambda *_: (4, 0))
    train_run(drawing(), "a", watcher=StopAfter(6))
    run = train_run(drawing(), "a", watcher=StopAfter(1))
    assert [line.split(": ")[-1] for line in run.log.load().splitlines() if "about" in line] == ["about 60 s", "about 36 s"]


def test_what_came_after_a_stop_and_was_lost_is_trained_again(drawing):
    params = drawing()
    train_run(params, "a", watcher=StopAfter(7))  # in epoch 2, which is not validated: the next checkpoint is that of epoch 3
    watcher = StopAfter()
    watcher.on_epoch = lambda training: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        train_run(params, "a", watcher=watcher)
    assert Run("a").history.load()["epoch"].tolist() == [1, 2]
    train_run(params, "a")
    train_run(params, "whole")
    assert Run("a").path("model.safetensors").read_bytes() == Run("whole").path("model.safetensors").read_bytes()


def test_a_watcher_hears_of_every_batch_and_every_epoch_with_its_validation(drawing):
    watcher = StopAfter()
    run = train_run(drawing(), "a", watcher=watcher)
    assert watcher.heard == [(epoch, done, 9) for epoch in (1, 2, 3) for done in (2, 4, 6, 8, 9)]
    assert [("val_f1" in row, row["epoch"]) for row, *_ in watcher.ends] == [(True, 1), (False, 2), (True, 3)]
    assert run.is_trained


@pytest.mark.parametrize("method", ["on_batch", "on_epoch", "should_stop"])
def test_what_a_watcher_raises_is_not_lost(drawing, monkeypatch, method):
    def fail(*_):
        raise RuntimeError("the display is gone")

    monkeypatch.setattr(StopAfter, method, fail)
    with pytest.raises(RuntimeError, match="the display is gone"):
        train_run(drawing(), "a", watcher=StopAfter())


def test_two_processes_do_not_train_one_run(home, small_data, steps):
    with Run("a").claimed(), pytest.raises(UserError, match="run a is in the hands of another process"):
        train_run(small_params(small_data), "a")
    assert not Run("a").path("params.json").exists()
    train_run(small_params(small_data), "a")


def tiny_weights(run):
    from safetensors.torch import load_file

    return load_file(run.path("model.safetensors"))


def test_without_the_decision_loss_the_decision_stays_as_it_was(home, small_data, steps):
    torch.manual_seed(0)
    before = build_model(small_params(small_data)).state_dict()
    for trained in (True, False):
        after = tiny_weights(tiny_run(small_data, decision_loss=trained))
        assert torch.equal(after["decision_head.weight"], before["decision_head.weight"]) is not trained
        assert not torch.equal(after["seg.weight"], before["seg.weight"])
    assert steps[-1][1] == (1.0, 0.0)
    assert "The decision was not trained" in Run("tiny").log.load()


def test_balancing_off_keeps_the_weights_of_both_losses(home, small_data, steps):
    tiny_run(small_data, epochs=2, dynamically_balanced_loss=False, delta_cls_loss=0.3)
    assert {weights for _, weights, _ in steps} == {(1.0, 0.3)}
    steps.clear()
    tiny_run(small_data, epochs=2, delta_cls_loss=0.3)
    assert {weights for _, weights, _ in steps} == {(1.0, 0.0), (0.5, 0.15)}


def test_positive_weights_are_the_ratios_of_train(home, small_data, steps):
    tiny_run(small_data, epochs=1)
    assert steps[0][2] == (None, None)
    tiny_run(small_data, epochs=1, positive_weights=True)
    data = find_data(small_params(small_data), home)
    masks = [crop.mask for crop in data.split("train").crops]
    crack, pixels = sum(mask.sum() for mask in masks), sum(mask.size for mask in masks)
    segmentation, decision = steps[-1][2]
    assert segmentation.item() == pytest.approx((pixels - crack) / crack)
    assert decision.item() == pytest.approx(1 / 4)
    tiny_run(small_data, epochs=1, positive_weights=True, use_negatives=False)
    assert steps[-1][2][1] is None
    assert "the decision's positive weight stays 1" in Run("tiny").log.load()


def test_the_schedules_are_those_of_the_library():
    for scheduler, theirs in (
        ("step 5 0.95", lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.95)),
        ("cosine", lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 25)),
    ):
        params = parse_parameters({"scheduler": scheduler, "epochs": 25, "learning_rate": 0.1})
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        schedule = theirs(optimizer)
        for epoch in range(25):
            assert learning_rate(params, epoch) == pytest.approx(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    constant = parse_parameters({"learning_rate": 0.1})
    assert {learning_rate(constant, epoch) for epoch in range(100)} == {0.1}


def test_the_warm_up_rises_to_where_the_schedule_begins(home, small_data, steps):
    run = tiny_run(small_data, epochs=6, warmup_epochs=3, scheduler="cosine", learning_rate=0.4)
    rates = run.history.load()["learning_rate"].tolist()
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.3, 0.1])
    run = tiny_run(small_data, epochs=8, warmup_epochs=2, scheduler="step 2 0.5", learning_rate=0.3)
    assert run.history.load()["learning_rate"].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.15, 0.15, 0.075, 0.075])


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ({"optimizer": "sgd", "momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0}),
        ({"optimizer": "sgd"}, torch.optim.SGD, {"momentum": 0}),
        ({"optimizer": "adam"}, torch.optim.Adam, {"weight_decay": 0}),
        ({"optimizer": "adamw"}, torch.optim.AdamW, {"weight_decay": 0.01}),
        ({"optimizer": "adamw", "weight_decay": 0.1}, torch.optim.AdamW, {"weight_decay": 0.1}),
    ],
)
def test_each_optimizer_is_the_librarys(values, kind, expected):
    optimizer = build_optimizer(torch.nn.Linear(1, 1), parse_parameters({**values, "learning_rate": 0.5}))
    assert type(optimizer) is kind
    assert {name: optimizer.param_groups[0][name] for name in expected} == expected
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_both_asks_for_the_best_so_far_of_each(home, small_data, steps, monkeypatch):
    """Epoch 2 has the better F1, 3 the better decision, 4 reaches both, 5 only one. Without 4 it is 1: 3 does not reach 2's F1,
    though 2 was not chosen."""
    scores = {4: ([0.1, 0.5, 0.3, 0.5, 0.6], [0.5, 0.2, 0.9, 0.9, 0.1]), 1: ([0.1, 0.5, 0.3, 0.4], [0.5, 0.2, 0.9, 0.4])}
    for chosen, series in scores.items():
        f1, ap = map(iter, series)
        monkeypatch.setattr(training.metrics, "average_precision", lambda *_, ap=ap: next(ap))
        monkeypatch.setattr(Judgement, "segmentation", lambda *_, f1=f1: {"precision": 0, "recall": 0, "f1": next(f1)})
        run = tiny_run(small_data, epochs=len(series[0]), validate=True, validation_n_epochs=1, best_model_type="both")
        assert f"Chosen by val (epoch {chosen})" in run.log.load()


def test_without_the_best_model_the_last_weights_count_with_the_last_validations_thresholds(home, small_data, steps, monkeypatch):
    monkeypatch.setattr(training, "better", lambda row, *_: row["epoch"] == 1)
    best = tiny_weights(tiny_run(small_data, epochs=3, validate=True, validation_n_epochs=1, learning_rate=0.05))
    run = tiny_run(small_data, epochs=3, validate=True, validation_n_epochs=1, learning_rate=0.05, use_best_model=False)
    last = tiny_weights(run)
    assert not torch.equal(best["seg.weight"], last["seg.weight"])
    results, validated = evaluate_run(run), run.history.load().iloc[-1]
    assert results["segmentation_2px"]["threshold"] == pytest.approx(validated["val_seg_threshold"])
    assert results["val"]["segmentation_2px"]["f1"] == pytest.approx(validated["val_f1"])


def test_without_validation_val_is_not_read_until_the_end_and_then_chooses_the_thresholds(home, small_data, steps, monkeypatch):
    read = []
    real = predict
    spy = lambda model, dataset, *more: read.append(len(dataset)) or real(model, dataset, *more)  # noqa: E731
    monkeypatch.setattr(training, "predict", spy)
    monkeypatch.setattr(evaluation, "predict", spy)
    run = tiny_run(small_data, epochs=3, validate=False, validation_n_epochs=1)
    assert read == []
    results = evaluate_run(run)
    assert read == [2, 2]  # val, then test
    assert results["segmentation_2px"]["threshold"] == run.curves.load()["val_f1"].idxmax()


def test_validation_on_test_chooses_there_and_says_so(home, tmp_path, steps):
    root = write_dataset(tmp_path / "d", val=2, test=3)
    run = tiny_run(root, epochs=2, validate=True, validation_n_epochs=1, validate_on_test=True)
    results = evaluate_run(run)
    curves = run.curves.load()
    assert results["segmentation_2px"]["threshold"] == curves["test_f1"].idxmax()
    assert results["segmentation_2px"]["f1"] == pytest.approx(curves["test_f1"].max())
    assert results["segmentation_2px"]["f1"] == pytest.approx(run.history.load()["val_f1"].max())
    assert not run.path("predictions/val.npz").exists()
    log = run.log.load()
    assert "Validation on test (epoch 1)" in log
    assert "Chosen by test" in log
    assert any(note.startswith("Checkpoint and thresholds were chosen on test") for note in run.params.facts()["notes"])
    last = tiny_run(root, epochs=1, validate=False, validate_on_test=True, best_model_type="dec", use_negatives=False)
    assert [note.split(" (")[0] for note in last.params.facts()["notes"]] == ["The thresholds were chosen on test"]


def test_mining_that_takes_nobody_says_so(home, small_data, steps):
    note = "Note: hard_negative_mining 0.1 of 5 images is less than one: nothing is trained on twice"
    assert note in tiny_run(small_data, epochs=1, hard_negative_mining=0.1).log.load()
    assert "less than one" not in tiny_run(small_data, epochs=1, hard_negative_mining=0.2).log.load()
