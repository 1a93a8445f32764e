"""A training that is watched, stopped, and goes on."""

import copy
import dataclasses

import pytest
import torch
from conftest import TINY, TinyNet, small_params, write_dataset
from tiny_training import StopInEpoch, watch_steps

from crack_utils.config import parse_parameters
from crack_utils.errors import DataError, MissingRun, UserError
from crack_utils.evaluation import evaluate_run
from crack_utils.store import Run
from crack_utils.training import Watcher, train_run
from crack_utils.training.log import epoch_line


@pytest.mark.parametrize("form", [0.5, "1 of 2, min 0.1"])
def test_a_stopped_training_with_sampling_and_mining_goes_on_the_same(home, tmp_path, form):
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
    whole = train_run(params, "whole", parts=TINY)
    with pytest.raises(KeyboardInterrupt):
        train_run(params, "stopped", watcher=StopInEpoch(3), parts=TINY)
    stopped = train_run(params, "stopped", parts=TINY)
    assert stopped.model.path.read_bytes() == whole.model.path.read_bytes()


def test_a_training_does_not_go_on_with_other_images(home, tmp_path):
    root = write_dataset(tmp_path / "d")
    params = small_params(root, epochs=3, validation_n_epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train_run(params, "a", watcher=StopInEpoch(2), parts=TINY)
    write_dataset(root, train=6)
    message = r"the data set are not those that run a began with \(17 files with hash \w{8} then, 21 files with hash \w{8} now\)"
    with pytest.raises(DataError, match=message):
        train_run(params, "a", parts=TINY)
    with pytest.raises(UserError, match="run a began with other training images; choose another run_name, or remove "):
        train_run(dataclasses.replace(params, changed_data=True), "a", parts=TINY)
    assert train_run(params, "a", overwrite=True, parts=TINY).is_trained


# --- stopped by a watcher


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
        sampling = torch.tensor(training.memory.difficulty), torch.tensor(training.memory.uses)
        self.ends.append(copy.deepcopy((row, sampling, training.model.state_dict(), training.optimizer.state_dict())))


class Drawing:
    """A training of three epochs of five batches: three of all images, then two of the hardest."""

    def __init__(self, root, parts=TINY):
        self.root = root
        self.steps, self.parts = watch_steps(parts=dataclasses.replace(parts, build_model=lambda params, fresh=True: DrawingNet(params)))

    def train(self, name, watcher=None, **more):
        values = {"epochs": 3, "batch_size": 2, "frequency_of_use_sampling": True, "validation_n_epochs": 2, "hard_negative_mining": 0.5}
        return train_run(small_params(self.root, **values | more), name, watcher=watcher, parts=self.parts)


@pytest.fixture
def drawing(home, tmp_path):
    return Drawing(write_dataset(tmp_path / "d", train=3, negatives=6))


@pytest.mark.slow
@pytest.mark.parametrize("values", [{}, {"num_workers": 1}, {"hard_negative_mining": "1 of 2, min 0.1"}])
def test_a_training_stopped_after_every_batch_ends_bit_for_bit_as_the_unbroken_one(drawing, values):
    watcher = StopAfter()
    whole = drawing.train("whole", watcher, **values)
    trained_on, whole_ends = drawing.steps.copy(), watcher.ends
    drawing.steps.clear()
    n_stops, ends = 0, []
    while not Run("often").is_trained:
        watcher = StopAfter(1)
        often = drawing.train("often", watcher, **values)
        ends += watcher.ends
        n_stops += 1
        assert n_stops <= len(trained_on) + 1
    assert drawing.steps == trained_on
    torch.testing.assert_close(ends, whole_ends, rtol=0, atol=0, equal_nan=True)
    assert often.model.path.read_bytes() == whole.model.path.read_bytes()
    histories = [run.history.load().drop(columns="time_s") for run in (often, whole)]
    assert histories[0].equals(histories[1])


@pytest.mark.parametrize(
    ("batches", "epoch", "done"),
    [(2, 1, "4 of 9"), (3, 1, "6 of 9"), (4, 1, "8 of 9"), (5, 1, "9 of 9"), (6, 2, "2 of 9"), (13, 3, "6 of 9"), (15, 3, "9 of 9")],
)
def test_a_stopped_training_says_where_it_stands_and_goes_on_from_there(drawing, batches, epoch, done):
    run = drawing.train("a", StopAfter(batches))
    assert not run.is_trained
    assert run.log.load().endswith(f"\nStopped in epoch {epoch} of 3 after {done} images; the same run goes on from here.\n")
    assert run.history.load()["epoch"].tolist() == list(range(1, epoch))
    with pytest.raises(MissingRun, match="run a has not finished training; train the run first"):
        evaluate_run(run)
    resumed = StopAfter()
    drawing.train("a", resumed)
    assert len(drawing.steps) == 15
    assert len(resumed.ends) == 4 - epoch
    begin = f"Going on with a after epoch {epoch - 1} and {done.split()[0]} images of epoch {epoch}: "
    assert begin + "3 epochs of 6 + 3 images on cpu: about " in run.log.load()
    assert run.model.path.read_bytes() == drawing.train("whole").model.path.read_bytes()


def test_the_time_left_is_that_of_what_is_left(home, tmp_path):
    drawing = Drawing(write_dataset(tmp_path / "d", train=3, negatives=6), dataclasses.replace(TINY, measure=lambda *_: (4, 0)))
    drawing.train("a", StopAfter(6))
    run = drawing.train("a", StopAfter(1))
    assert [line.split(": ")[-1] for line in run.log.load().splitlines() if "about" in line] == ["about 60 s", "about 36 s"]


def test_the_time_left_has_the_validations_to_come():
    params = parse_parameters({"epochs": 6, "validation_n_epochs": 2})  # validates after epochs 1, 3, 5 and 6
    history = [{"epoch": epoch, "loss": 1.0, "time_s": 10.0} for epoch in (1, 2, 3)]
    assert epoch_line(params, history, validation_s=2.0).endswith("| 36 s left")
    assert epoch_line(dataclasses.replace(params, validate=False, use_best_model=False), history, validation_s=2.0).endswith("| 30 s left")


def test_what_came_after_a_stop_and_was_lost_is_trained_again(drawing):
    drawing.train("a", StopAfter(7))  # in epoch 2, which is not validated: the next checkpoint is that of epoch 3
    watcher = StopAfter()
    watcher.on_epoch = lambda training: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        drawing.train("a", watcher)
    assert Run("a").history.load()["epoch"].tolist() == [1, 2]
    assert drawing.train("a").model.path.read_bytes() == drawing.train("whole").model.path.read_bytes()


def test_a_watcher_hears_of_every_batch_and_every_epoch_with_its_validation(drawing):
    watcher = StopAfter()
    run = drawing.train("a", watcher)
    assert watcher.heard == [(epoch, done, 9) for epoch in (1, 2, 3) for done in (2, 4, 6, 8, 9)]
    assert [("val_f1" in row, row["epoch"]) for row, *_ in watcher.ends] == [(True, 1), (False, 2), (True, 3)]
    assert run.is_trained


@pytest.mark.parametrize("method", ["on_batch", "on_epoch", "should_stop"])
def test_what_a_watcher_raises_is_not_lost(drawing, method):
    def fail(*_):
        raise RuntimeError("the display is gone")

    watcher = StopAfter()
    setattr(watcher, method, fail)
    with pytest.raises(RuntimeError, match="the display is gone"):
        drawing.train("a", watcher)
