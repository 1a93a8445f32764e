"""From a run's parameters to its network."""

from torch import nn

from crack_utils.config.parameters import RunParameters
from crack_utils.networks.segdecnet import FAMILY


def build_model(params: RunParameters, fresh: bool = True) -> nn.Module:
    """The network a run's parameters describe.

    Args:
        fresh: with the weights training starts from; else with any, to be replaced by stored ones.

    Returns:
        A module from images (N, C, H, W) to ``decision_logits`` (N, 1) and ``seg_logits`` (N, 1, H, W).
    """
    if params.architecture in FAMILY:
        return FAMILY[params.architecture](params.input_channels, params.gradient_flow_adjustment)
    from crack_utils.networks.baselines import Baseline  # an extra

    pretrained = params.pretrained and fresh
    return Baseline(params.architecture, params.encoder, params.input_channels, pretrained, params.gradient_flow_adjustment)
