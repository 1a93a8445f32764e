"""SIGINT and SIGTERM stop a training without a loss."""

import dataclasses
import os
import signal

import pytest
from conftest import TINY, small_params, write_dataset

from crack_utils.errors import Interrupted
from crack_utils.store import Run, is_claimed, load_status
from crack_utils.training import Watcher, train_run


class SignalAt(Watcher):
    """Sends this process a signal after a batch or after an epoch: at (epoch, images done), or at (epoch, None)."""

    def __init__(self, number, *at, times=1):
        self.number, self.at, self.times = number, at, times

    def on_batch(self, training, epoch, done, total):
        self._send(epoch, done)

    def on_epoch(self, training):
        self._send(len(training.history), None)

    def _send(self, *now):
        for _ in range(self.times if now == self.at else 0):
            os.kill(os.getpid(), self.number)


@pytest.fixture
def params(home, tmp_path):
    root = write_dataset(tmp_path / "d", train=4, negatives=2)
    return small_params(root, epochs=3, validation_n_epochs=2, hard_negative_mining=0.5)


def check_that_the_run_goes_on_the_same(params):
    histories = [train_run(params, name, parts=TINY).history.load().drop(columns="time_s") for name in ("a", "whole")]
    assert histories[0].equals(histories[1])
    assert Run("a").model.path.read_bytes() == Run("whole").model.path.read_bytes()
    assert load_status(Run("a")).state == "finished"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("times", [1, 3])  # papermill and clusters send more than one
def test_a_signal_stops_a_training_after_its_batch_and_the_batch_is_kept(params, number, times):
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="stopped in epoch 2 of 3 after 4 of 9 images") as caught:
        train_run(params, "a", watcher=SignalAt(number, 2, 4, times=times), parts=TINY)
    assert caught.value.signal == number
    assert signal.getsignal(number) == before
    assert Run("a").checkpoint.load()["position"]["results"].shape[1] == 4
    assert load_status(Run("a")).label == "interrupted: stopped in epoch 2 of 3 after 4 of 9 images"
    assert not is_claimed(Run("a"))
    check_that_the_run_goes_on_the_same(params)


def test_a_signal_ends_a_validation_at_once_and_the_images_of_its_epoch_are_kept(params):
    def validate(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the validation goes on")

    with pytest.raises(Interrupted, match="stopped in epoch 1 of 3 after 9 of 9 images"):
        train_run(params, "a", parts=dataclasses.replace(TINY, validate=validate))
    check_that_the_run_goes_on_the_same(params)


def test_a_signal_between_two_epochs_is_not_forgotten(params):
    with pytest.raises(Interrupted, match="stopped in epoch 3 of 3 after 1 of 9 images"):
        train_run(params, "a", watcher=SignalAt(signal.SIGTERM, 2, None), parts=TINY)
    check_that_the_run_goes_on_the_same(params)


def test_a_training_that_a_signal_met_at_its_very_end_has_finished_and_the_signal_is_told(params):
    with pytest.raises(Interrupted, match="the training has finished") as caught:
        train_run(params, "a", watcher=SignalAt(signal.SIGTERM, 3, None), parts=TINY)
    assert caught.value.signal == signal.SIGTERM
    assert load_status(Run("a")).label == "trained"
    check_that_the_run_goes_on_the_same(params)


def test_a_run_with_its_result_is_finished_whatever_was_noted_last(params):
    run = train_run(params, "a", parts=TINY)
    run.status.save(run.status.load() | {"state": "running", "pid": 1, "host": "gone"})  # killed right after the weights were written
    assert load_status(run).label == "trained"
    run.status.save(run.status.load() | {"state": "interrupted", "reason": "stopped from the keyboard"})
    assert load_status(run).label == "trained"
