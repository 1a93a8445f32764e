import sys
from types import ModuleType

import pytest
import torch
from conftest import small_params

from crack_utils.config import NETWORKS
from crack_utils.config.choices import ENCODERS, Network
from crack_utils.networks import build_model


@pytest.mark.parametrize("architecture", NETWORKS)
def test_each_network_is_built_and_has_the_two_outputs(architecture):
    if architecture in ENCODERS:
        pytest.importorskip("segmentation_models_pytorch", reason="the extra 'baselines' is not installed")
    model = build_model(small_params("x", architecture=architecture, input_channels=1)).eval()
    decision_logits, seg_logits = model(torch.rand(1, 1, 64, 128))
    assert (decision_logits.shape, seg_logits.shape) == ((1, 1), (1, 1, 64, 128))


def test_an_entry_names_the_file_and_the_callable_of_a_network(monkeypatch):
    module = ModuleType("crack_utils.networks.tiny")
    module.build = lambda in_channels, gradient_flow_adjustment: torch.nn.Conv2d(in_channels, 1 + gradient_flow_adjustment, 3)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(NETWORKS, "segdecnet", Network("tiny:build", "tiny"))
    assert build_model(small_params("x", input_channels=1)).weight.shape == (2, 1, 3, 3)
