"""Numbers of processes, devices and networks with which several processes do not train."""

import pytest
import torch
import torch.distributed as dist
from conftest import TINY, TinyNet, small_params

from crack_utils.__main__ import main
from crack_utils.errors import ParameterError
from crack_utils.training import train_run
from crack_utils.training.ranks import Group


@pytest.fixture
def launched(monkeypatch):
    """The environment of the first of two processes that torchrun starts."""
    values = {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "localhost", "MASTER_PORT": 0}
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))


@pytest.fixture
def group():
    """A group of one process."""
    yield Group(dist.HashStore(), 0, 1, 4, torch.device("cpu"), lambda: "nobody")
    dist.destroy_process_group()


def test_a_batch_has_an_image_for_each_process(small_data):
    with pytest.raises(ParameterError, match="processes 3 share a batch, so batch_size 2 must be at least 3"):
        small_params(small_data, processes=3, batch_size=2)


def test_new_processes_do_not_know_the_parts_of_a_test(home, small_data):
    with pytest.raises(ParameterError, match="new processes cannot take over the parts of this training; start the program with torchrun"):
        train_run(small_params(small_data, processes=2, batch_size=2), "a", parts=TINY)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch_size": 4, "processes": 3}, "processes 3: torchrun has started 2; leave out this parameter"),
        ({"batch_size": 1}, "batch_size 1: 2 processes share a batch of at least 2 images"),
    ],
)
def test_torchrun_must_suit_the_parameters(home, small_data, launched, values, message):
    with pytest.raises(ParameterError, match=message):
        train_run(small_params(small_data, **values), "a", parts=TINY)


def test_torchrun_starts_no_other_command(home, launched, capsys):
    assert main(["evaluate", "a"]) == 1
    assert "torchrun starts several processes, and only the command train" in capsys.readouterr().err


class NormalisingNet(TinyNet):
    """TinyNet with batch normalisation."""

    def __init__(self, params):
        super().__init__(params)
        self.norm = torch.nn.BatchNorm2d(params.input_channels)


def test_batch_normalisation_is_refused_on_cpus_and_replaced_on_gpus(small_data, group):
    model = NormalisingNet(small_params(small_data))
    with pytest.raises(ParameterError, match="this network has batch normalisation, which 1 processes can only compute together on GPUs"):
        group.prepared(model, [])
    names, weights = list(model.state_dict()), list(model.parameters())
    group.join(model, torch.optim.SGD(model.parameters()))
    assert isinstance(model.norm, torch.nn.SyncBatchNorm)
    assert list(model.state_dict()) == names
    assert all(kept is weight for kept, weight in zip(model.parameters(), weights, strict=True))  # those that the optimizer knows
