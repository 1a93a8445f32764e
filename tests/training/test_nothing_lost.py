"""What must not be lost or hidden when something happens to a training, its folder or its data."""

import dataclasses
import os
import shutil
import signal
import time

import pytest
import torch
from conftest import TINY, small_params, write_dataset, write_pair

from crack_utils.data import augment, find_data
from crack_utils.data.contents import YOUNG_S
from crack_utils.errors import DataError, Interrupted, ParameterError, UserError
from crack_utils.evaluation import evaluate_run
from crack_utils.store import Run, load_status
from crack_utils.training import Watcher, train_run, train_step
from crack_utils.training.step import positive_weights

MINED = {"epochs": 3, "validation_n_epochs": 1, "hard_negative_mining": 0.5, "batch_size": 2}


def evaluated(run):
    return evaluate_run(run, build_model=TINY.build_model)


def same_weights(one, other):
    return one.model.path.read_bytes() == other.model.path.read_bytes()


# --- two processes


def test_a_run_that_another_process_finished_while_the_data_were_read_is_kept(home, small_data):
    params = small_params(small_data)
    kept = {}

    def facts(data):
        other = train_run(params, "a", parts=TINY)
        evaluated(other)
        kept.update({path: path.read_bytes() for path in (other.model.path, other.metrics.path, other.history.path)})
        return TINY.facts(data)

    run = train_run(params, "a", parts=dataclasses.replace(TINY, facts=facts))
    assert {path: path.read_bytes() for path in kept} == kept
    assert run.is_evaluated


def test_other_parameters_that_another_process_trained_meanwhile_are_not_replaced(home, small_data):
    def facts(data):
        train_run(small_params(small_data, epochs=1), "a", parts=TINY)
        return TINY.facts(data)

    with pytest.raises(ParameterError, match=r"epochs 1 there, 2 now.*a run with more epochs is another run"):
        train_run(small_params(small_data), "a", parts=dataclasses.replace(TINY, facts=facts))
    assert Run("a").is_trained and Run("a").params.load().epochs == 1


# --- the data


def paint_another_mask(root, split):
    path = next((root / f"{split}crop").glob("*.png"))
    write_pair(root / "new.jpg", path, seed=4)
    return path


def test_a_finished_run_says_that_its_data_changed_unless_told_otherwise(home, small_data):
    params = small_params(small_data)
    run = train_run(params, "a", parts=TINY)
    weights = run.model.path.read_bytes()
    paint_another_mask(small_data, "train")
    with pytest.raises(DataError, match="the files of the data set are not those that run a began with"):
        train_run(params, "a", parts=TINY)
    train_run(dataclasses.replace(params, changed_data=True), "a", parts=TINY)
    assert run.model.path.read_bytes() == weights
    train_run(params, "a", overwrite=True, parts=TINY)
    assert run.model.path.read_bytes() != weights


def test_an_evaluation_refuses_swapped_masks_and_records_what_was_accepted(home, small_data):
    params = small_params(small_data)
    run = train_run(params, "a", parts=TINY)
    before = run.params.facts()["fingerprint"]
    paint_another_mask(small_data, "test")
    with pytest.raises(DataError, match="set changed_data to True to go on"):
        evaluated(run)
    assert not run.is_evaluated and run.params.facts()["fingerprint"] == before
    run = train_run(dataclasses.replace(params, changed_data=True), "a", parts=TINY)
    evaluated(run)
    facts = run.params.facts()
    assert facts["former_data"] == [before] and facts["fingerprint"] != before
    assert "The files of the data set changed during this run (changed_data): 17 files with hash " in facts["notes"][-1]


def test_a_run_is_what_it_was_trained_on_not_where_that_lay(home, tmp_path, monkeypatch):
    data = write_dataset(home / "data" / "mine")
    one = train_run(small_params(data), parts=TINY)
    assert "mine" in one.params.resolved()["data_root"] and str(home) not in one.params.path.read_text()
    moved = tmp_path / "moved"
    shutil.move(home, moved)
    monkeypatch.setenv("CRACK_HOME", str(moved))
    assert 0 <= evaluated(Run(one.name))["segmentation_2px"]["f1"] <= 1
    elsewhere = shutil.copytree(moved / "data" / "mine", tmp_path / "elsewhere")
    assert train_run(small_params(elsewhere), parts=TINY).name == one.name
    paint_another_mask(elsewhere, "train")
    assert train_run(small_params(elsewhere), parts=TINY).name != one.name


def test_what_does_not_change_the_result_reaches_a_finished_run(home, small_data):
    run = train_run(small_params(small_data), "a", parts=TINY)
    train_run(small_params(small_data, mm_per_px=0.5, record_run="run6_6"), "a", parts=TINY)
    assert (run.params.load().mm_per_px, run.params.resolved()["record_run"]) == (0.5, "run6_6")
    train_run(small_params(small_data), "a", parts=TINY)
    assert run.params.load().mm_per_px == 0.5  # not given is not taken back


# --- signals


class Signal(Watcher):
    """Sends a signal to this process when so many batches of an epoch are done."""

    def __init__(self, number, epoch, done):
        self.number, self.at = number, (epoch, done)

    def on_batch(self, training, epoch, done, total):
        if (epoch, done) == self.at:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(
    ("number", "epoch", "done"), [(signal.SIGINT, 1, 2), (signal.SIGTERM, 2, 4), (signal.SIGTERM, 3, 7), (signal.SIGINT, 2, 7)]
)
def test_a_signal_stops_the_training_after_the_batch_and_nothing_is_lost(home, small_data, number, epoch, done):
    params = small_params(small_data, **MINED)
    whole = train_run(params, "whole", parts=TINY)
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=f"stopped in epoch {epoch} of 3 after {done} of 7 images") as caught:
        train_run(params, "a", watcher=Signal(number, epoch, done), parts=TINY)
    assert caught.value.signal == number and signal.getsignal(number) == before
    status = load_status(Run("a"))
    assert (status.state, status.step) == ("interrupted", "training") and "after" in status.reason
    assert Run("a").checkpoint.load()["position"]["results"].shape[1] == done
    resumed = train_run(params, "a", parts=TINY)
    assert same_weights(whole, resumed) and load_status(resumed).state == "finished"
    histories = [run.history.load().drop(columns="time_s") for run in (whole, resumed)]
    assert histories[0].equals(histories[1])


def test_a_signal_during_validation_ends_the_validation_at_once_and_keeps_the_epoch(home, small_data):
    params, calls = small_params(small_data, **MINED), []
    whole = train_run(params, "whole", parts=TINY)

    def validate(*arguments):
        calls.append(None)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("the validation went on")
        return TINY.validate(*arguments)

    with pytest.raises(Interrupted, match="stopped in epoch 2 of 3 after 7 of 7 images"):
        train_run(params, "a", parts=dataclasses.replace(TINY, validate=validate))
    assert Run("a").history.load()["epoch"].tolist() == [1]
    assert same_weights(whole, train_run(params, "a", parts=TINY))


# --- checkpoints


def test_best_weights_and_checkpoint_are_one_file(home, small_data):
    seen = []

    class Look(Watcher):
        def on_epoch(self, training):
            state = training.run.checkpoint.load()
            seen.append(state["best"]["epoch"])
            if state["best"]["epoch"] == len(training.history):
                assert all(torch.equal(value, state["best_model"][name]) for name, value in state["model"].items())
            assert not list(training.run.folder.glob("*.safetensors"))

    train_run(small_params(small_data, **MINED), "a", watcher=Look(), parts=TINY)
    assert len(seen) == 3 and seen[0] == 1


def test_a_loss_that_is_no_number_ends_the_training_at_its_batch(home, small_data):
    params, batches = small_params(small_data, **MINED | {"hard_negative_mining": 0}), []

    def step(model, optimizer, batch, *more):
        losses, errors = train_step(model, optimizer, batch, *more)
        batches.append(batch.index.tolist())
        return (losses * float("nan") if len(batches) == 5 else losses), errors

    message = r"no longer a number in epoch 2, after 2 images, at (\w+), (\w+); the checkpoint after epoch 1 is kept; lower learning_rate"
    with pytest.raises(UserError, match=message) as caught:
        train_run(params, "a", parts=dataclasses.replace(TINY, step=step))
    stems = [crop.pair.stem for crop in find_data(params, home).split("train").crops]
    assert len(batches) == 5 and all(stems[index] in str(caught.value) for index in batches[-1])
    assert load_status(Run("a")).state == "failed"
    assert len(Run("a").checkpoint.load()["history"]) == 1


# --- what a training learns from


@pytest.mark.parametrize(
    "values", [{"dilate": 3}, {"input_width": 128, "input_height": 64}, {"dilate": 4, "input_width": 136, "input_height": 72}]
)
def test_positive_weights_count_the_pixels_that_are_trained_on(home, tmp_path, values):
    params = small_params(write_dataset(tmp_path / "d", size=(96, 200)), **values)
    dataset = find_data(params, home).split("train")
    items = [dataset[index] for index in range(len(dataset))]
    crack = sum((item["mask"] * item["valid"]).sum() for item in items)
    pixels = sum(item["valid"].sum() for item in items)
    assert positive_weights(dataset, torch.device("cpu")).pixels == pytest.approx(float((pixels - crack) / crack))


def test_augmenting_an_image_leaves_the_generators_of_gpus_alone(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    torch.manual_seed(7)  # seeds them: the check can fail
    assert seeded == [7]
    image, labels = torch.rand(3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.bool)
    parts = ["horizontal_flip", "color_jitter"]
    before = torch.get_rng_state()
    one, other = (augment(image, labels, 3, parts)[0] for _ in range(2))
    assert seeded == [7] and torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_training_from_the_cache_is_the_same(home, small_data, tiny_network, monkeypatch):
    params = small_params(small_data, num_workers=1)
    monkeypatch.setenv("CRACK_CACHE", "off")
    plain = train_run(params, "plain", parts=tiny_network)
    assert not (home / "data").exists()
    monkeypatch.delenv("CRACK_CACHE")
    time.sleep(YOUNG_S)  # of files that changed a moment ago nothing is kept
    first, second = (train_run(params, name, parts=tiny_network) for name in ("first", "second"))
    assert len([*(home / "data" / "cache").glob("*.pixels")]) == 3
    for run in (first, second):
        assert run.model.path.read_bytes() == plain.model.path.read_bytes()
        assert run.history.load().drop(columns="time_s").equals(plain.history.load().drop(columns="time_s"))
        assert run.params.facts() == plain.params.facts()
