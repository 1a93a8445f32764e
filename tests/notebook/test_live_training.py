"""A training in a thread, with a view."""

import dataclasses

import pytest
import torch
from conftest import TINY, TinyNet, small_params
from safetensors.torch import load_file

from crack_utils.config import parse_parameters
from crack_utils.errors import DataError
from crack_utils.notebook.widgets import LiveTraining, watch
from crack_utils.notebook.widgets.live import curves_figure
from crack_utils.training import train_run


class Dropping(TinyNet):
    """A network with dropout: its training shows whether the network was in training mode, and which random numbers it drew."""

    def forward(self, image):
        return super().forward(torch.nn.functional.dropout(image, 0.5, self.training))


@pytest.fixture
def dropping():
    return dataclasses.replace(TINY, build_model=lambda params, fresh=True: Dropping(params))


def test_watching_a_training_does_not_change_it(home, small_data, dropping):
    params = small_params(small_data)
    alone = train_run(params, "alone", parts=dropping)
    live = LiveTraining(params, "watched", dropping)
    live.start()
    watched = live.wait()
    for name, value in load_file(alone.path("model.safetensors")).items():
        torch.testing.assert_close(load_file(watched.path("model.safetensors"))[name], value, rtol=0, atol=0)
    assert live.view.status.value == "Finished."
    assert "up to epoch 2" in live.view.curves.value
    assert "Watched image of val" in live.view.predictions.value


def test_a_training_is_watched_only_in_jupyterlab_and_only_once(home, small_data, dropping, monkeypatch):
    params = small_params(small_data, epochs=1)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert watch(params, "a", dropping) is None
    monkeypatch.setenv("JPY_SESSION_NAME", "train.ipynb")
    live = watch(params, "a", dropping)
    assert watch(params, "a", dropping) in (live, None)  # None: the training has finished
    assert live.wait().is_trained
    assert watch(params, "a", dropping) is None


def test_a_training_that_is_stopped_or_fails_says_so(home, small_data, dropping):
    params = small_params(small_data)
    stopped = LiveTraining(params, "stopped", dropping)
    stopped.view.stop()
    stopped.start()
    assert not stopped.wait().is_trained
    assert stopped.view.status.value.startswith("Stopped; all is kept.")
    assert stopped.view.button.disabled
    failed = LiveTraining(small_params(small_data / "nowhere"), "failed", dropping)
    failed.start()
    with pytest.raises(DataError, match="nowhere"):
        failed.wait()
    assert failed.view.status.value.startswith("Failed: ")


def test_each_loss_term_has_a_curve():
    history = [{"epoch": 1, "loss": 1.0, "loss_segmentation": 0.5, "loss_decision": 0.4, "loss_dice": 0.3}]
    axes = curves_figure(history, parse_parameters({})).axes
    assert [line.get_label() for line in axes[0].get_lines()] == ["segmentation", "decision", "dice"]
    assert [line.get_label() for line in axes[1].get_lines()] == ["F1", "decision AP"]
