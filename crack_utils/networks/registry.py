"""From a run's parameters to a network and its predictions."""

import pkgutil
from collections.abc import Iterator

import torch
from torch import nn

from crack_utils.config import NETWORKS, RunParameters
from crack_utils.data import Crop, CropDataset, batches, unfit


def build_model(params: RunParameters, fresh: bool = True) -> nn.Module:
    """The network that a run's parameters describe: images (N, C, H, W) to ``decision_logits`` (N, 1) and ``seg_logits`` (N, 1, H, W).

    The entry's target is called with ``in_channels`` and ``gradient_flow_adjustment``. A network with a choice of encoders also takes
    ``encoder`` and ``pretrained``. Without ``fresh``, stored weights replace the network's own, so no weights are fetched.
    """
    entry = NETWORKS[params.architecture]
    options = {"in_channels": params.input_channels, "gradient_flow_adjustment": params.gradient_flow_adjustment}
    if entry.encoder:
        options |= {"encoder": params.encoder or entry.encoder, "pretrained": params.pretrained and fresh}
    return pkgutil.resolve_name(f"crack_utils.networks.{entry.target}")(**options)


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def predict(
    model: nn.Module, dataset: CropDataset, device: torch.device, batch_size: int = 1, num_workers: int = 0
) -> Iterator[tuple[Crop, torch.Tensor, float]]:
    """Yield each crop; its segmentation probabilities at its own size, (H, W) float32 on ``device``; its decision probability."""
    model.eval()
    for batch in batches(dataset, range(len(dataset)), batch_size, num_workers):
        with torch.inference_mode():
            decision_logits, seg_logits = model(batch.image.to(device))
            decision_probs, seg_probs = decision_logits.sigmoid().cpu(), seg_logits.sigmoid()
        for index, decision_prob, seg_prob in zip(batch.index.tolist(), decision_probs, seg_probs, strict=True):
            yield dataset.crops[index], unfit(seg_prob[0], dataset.placements[index]), decision_prob.item()
