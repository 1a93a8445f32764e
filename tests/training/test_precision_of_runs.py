"""Trainings in bf16, trainings whose results are read later, and batches made on the device: what a GPU does, computed on a CPU."""

import dataclasses
import json
import shutil

import pytest
import torch
from conftest import TINY, small_params
from tiny_training import tiny_run
from torch._dynamo import OptimizedModule

from crack_utils.data import DeviceData, find_data
from crack_utils.errors import ParameterError, UserError
from crack_utils.evaluation import evaluate_run
from crack_utils.networks.segdecnet import conv_block, pool, segmentation_head
from crack_utils.reporting import provenance
from crack_utils.store import Run, computed_in
from crack_utils.training import Watcher, train_run, train_step


def losses(run):
    return torch.tensor([row["loss"] for row in run.history.load().to_dict("records")])


def same(run, other):
    """Whether two runs have the same losses and weights, bit for bit."""
    return torch.equal(losses(run), losses(other)) and run.model.path.read_bytes() == other.model.path.read_bytes()


def test_a_training_in_bf16_learns_as_one_in_fp32_and_says_so(home, small_data):
    values = {"epochs": 4, "learning_rate": 0.01, "validation_n_epochs": 3}
    runs = {each: train_run(small_params(small_data, precision=each, **values), each, parts=TINY) for each in ("fp32", "bf16")}
    exact, rounded = (losses(run) for run in runs.values())
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0, atol=0.01)
    assert exact[-1] < exact[0] - 0.02
    run = runs["bf16"]
    assert "on cpu in bf16: about" in run.log.path.read_text()
    evaluate_run(run, TINY.build_model)
    kept = run.provenance.load()
    assert kept["training"]["precision"] == kept["evaluation"]["precision"] == "bfloat16; float32 in weights, normalisation and losses"
    assert provenance.rows(run)["Precision"].startswith("bfloat16")
    assert run.params.resolved()["precision"] == "bf16"


class Stop(Watcher):
    """Stops after so many batches."""

    def __init__(self, batches):
        self.left = batches

    def should_stop(self):
        self.left -= 1
        return self.left <= 0


def as_if_begun_in_bf16(run):
    """Write that ``auto`` chose bf16, as it does on a GPU."""
    values = json.loads(run.params.path.read_text())
    run.params.path.write_text(json.dumps(values | {"precision": "bf16"}))


def test_a_training_goes_on_in_the_precision_in_which_it_began(home, small_data):
    params, run = small_params(small_data), Run("a")
    train_run(params, "a", watcher=Stop(2), parts=TINY)
    as_if_begun_in_bf16(run)
    with pytest.raises(ParameterError, match="precision 'auto' there, 'fp32' now"):
        train_run(dataclasses.replace(params, precision="fp32"), "a", parts=TINY)
    train_run(params, "a", parts=TINY)
    assert "after epoch 0 and 2 images of epoch 1: 2 epochs of 5 + 1 images on cpu in bf16" in run.log.path.read_text()
    training = run.provenance.load()["training"]
    assert training["precision"].startswith("bfloat16") and training["changed"] == ["precision"]
    assert run.params.resolved()["precision"] == "bf16"
    evaluate_run(run, TINY.build_model)  # auto is not slow on a CPU
    assert run.provenance.load()["evaluation"]["precision"] == "float32"
    assert provenance.rows(run)["Evaluated"].endswith("not with the training's precision")


@pytest.mark.parametrize(("device", "precision"), [("cuda:1", "tf32"), ("cpu", "fp32")])
def test_a_run_of_an_earlier_version_has_the_precision_that_its_device_had(home, small_data, device, precision):
    run = train_run(small_params(small_data, epochs=1), "a", parts=TINY)
    values = json.loads(run.params.path.read_text()) | {"device": device}
    del values["precision"], values["given"]["precision"]
    run.params.path.write_text(json.dumps(values))
    assert computed_in(run) == precision


def test_other_parameters_that_replace_a_training_do_not_take_over_its_precision(home, small_data):
    train_run(small_params(small_data), "a", watcher=Stop(2), parts=TINY)
    as_if_begun_in_bf16(Run("a"))
    run = train_run(small_params(small_data, epochs=1), "a", overwrite=True, parts=TINY)
    assert run.params.resolved()["precision"] == "fp32"


def test_a_training_goes_on_from_states_that_lie_in_memory_as_on_a_gpu(home, small_data):
    whole = train_run(small_params(small_data), "whole", parts=TINY)
    train_run(small_params(small_data), "a", watcher=Stop(4), parts=TINY)
    checkpoint = Run("a").checkpoint
    state = checkpoint.load()
    for values in state["optimizer"]["state"].values():
        for name, value in values.items():
            values[name] = value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
    assert any(not value.is_contiguous() for values in state["optimizer"]["state"].values() for value in values.values())
    checkpoint.save(state)
    assert same(train_run(small_params(small_data), "a", parts=TINY), whole)


class ReadsLater(Watcher):
    """From the first batch on, results are read only at the end of a pass. May stop after so many batches."""

    def __init__(self, batches=1000):
        self.left, self.unread = batches, []

    def on_batch(self, training, epoch, done, total):
        training.read_every = 50
        self.unread.append(len(training.unread))

    def should_stop(self):
        self.left -= 1
        return self.left <= 0


def test_results_that_are_read_later_are_the_same(home, small_data):
    params, watcher = small_params(small_data, hard_negative_mining=0.4, hard_negative_difficulty="loss_errors"), ReadsLater()
    whole = train_run(params, "whole", parts=TINY)
    assert same(train_run(params, "later", watcher=watcher, parts=TINY), whole)
    assert watcher.unread == [0, 1, 2, 3, 4, 1, 2, 1, 2, 3, 4, 5, 1, 2]  # two epochs of 5 + 2 images
    for batches in (3, 4):
        train_run(params, "stopped", watcher=ReadsLater(batches), parts=TINY)
    assert same(train_run(params, "stopped", watcher=ReadsLater(), parts=TINY), whole)


@pytest.mark.parametrize("watcher", [Watcher(), ReadsLater()])
def test_a_loss_that_is_no_number_is_named_at_the_end_of_the_pass_at_the_latest(home, small_data, watcher):
    done = []

    def step(*arguments):
        results, errors = train_step(*arguments)
        done.append(arguments[2].index.tolist())
        return results * (torch.nan if len(done) == 2 else 1), errors

    params = small_params(small_data, batch_size=2)
    with pytest.raises(UserError, match=r"no longer a number in epoch 1, after 2 images, at ") as error:
        train_run(params, "a", watcher=watcher, parts=dataclasses.replace(TINY, step=step))
    assert len(done) == (2 if type(watcher) is Watcher else 3)
    crops = find_data(params, home).split("train").crops
    assert ", ".join(crops[index].pair.stem for index in done[1]) + "; there is no checkpoint yet" in str(error.value)


class OnDevice(Watcher):
    """From the second pass on, batches are made on the device."""

    def on_batch(self, training, epoch, done, total):
        if not isinstance(training.loader, DeviceData):
            training.loader = DeviceData(training.dataset, training.params.batch_size, training.device)


@pytest.mark.parametrize("parts", ["horizontal_flip vertical_flip rotation", "horizontal_flip vertical_flip rotation color_jitter"])
def test_a_training_learns_the_same_from_batches_made_on_the_device(home, small_data, parts):
    values = {"augmentation_parts": parts, "epochs": 3, "batch_size": 2, "dilate": 2}
    loaded = tiny_run(small_data, **values)
    expected, weights = losses(loaded), loaded.model.path.read_bytes()
    made = train_run(loaded.params.load(), "made", watcher=OnDevice(), parts=TINY)
    if "jitter" not in parts:
        assert made.model.path.read_bytes() == weights
    torch.testing.assert_close(losses(made), expected, rtol=0, atol=1e-5)


class NormedNet(torch.nn.Module):
    """A block and a head of SegDecNet, with a channel that is constant."""

    def __init__(self, params):
        super().__init__()
        self.block, self.head, self.decision_head = conv_block(3, 4), segmentation_head(4, 5), torch.nn.Linear(10, 1)
        self.block[0].weight.data[0] = 0

    def forward(self, image):
        features = self.block(image)
        seg_logits = self.head(features)
        return self.decision_head(pool(features, seg_logits)), seg_logits


class Learners(Watcher):
    """Notes after each epoch whether a compiled network learned."""

    def __init__(self):
        self.compiled = []

    def on_epoch(self, training):
        self.compiled.append(isinstance(training.learner, OptimizedModule))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_network_learns_the_same(home, small_data, precision):
    parts = dataclasses.replace(TINY, build_model=lambda params, fresh=True: NormedNet(params))
    values = {"epochs": 2, "batch_size": 2, "precision": precision, "learning_rate": 0.01}
    plain = tiny_run(small_data, parts, **values)
    expected = losses(plain)
    params, watcher = small_params(small_data, hard_negative_mining=0, validate=False, compile_network=True, **values), Learners()
    compiled = train_run(params, "compiled", watcher=watcher, parts=parts)
    assert watcher.compiled == [True, True]
    torch.testing.assert_close(losses(compiled), expected, rtol=0, atol=1e-5 if precision == "fp32" else 1e-2)
