"""From a run's parameters to a network."""

import importlib

from torch import nn

from crack_utils.config import NETWORKS, RunParameters


def build_model(params: RunParameters, fresh: bool = True) -> nn.Module:
    """The network that a run's parameters describe.

    The entry's target is called with ``in_channels`` and ``gradient_flow_adjustment``. A network with a choice of encoders also takes
    ``encoder`` and ``pretrained``.

    Args:
        fresh: with the weights that training starts from. Otherwise the weights are replaced by stored ones, and nothing is fetched.

    Returns:
        A module from images (N, C, H, W) to ``decision_logits`` (N, 1) and ``seg_logits`` (N, 1, H, W).
    """
    entry = NETWORKS[params.architecture]
    file, name = entry.target.split(":")
    network = getattr(importlib.import_module(f"crack_utils.networks.{file}"), name)
    options = {"in_channels": params.input_channels, "gradient_flow_adjustment": params.gradient_flow_adjustment}
    if entry.encoder:
        options |= {"encoder": params.encoder or entry.encoder, "pretrained": params.pretrained and fresh}
    return network(**options)


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
