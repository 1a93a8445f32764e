"""One training step."""

import copy
import time

import torch
from torch import nn

from crack_utils.config.parameters import RunParameters
from crack_utils.data.dataset import Batch, CropDataset, batches
from crack_utils.training.losses import decision_loss, segmentation_loss
from crack_utils.training.schedule import build_optimizer


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    weights: tuple[float, float],
    pos_weights: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None),
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Learn from one batch.

    Args:
        weights: of the segmentation and the decision loss.
        pos_weights: of crack pixels and of cracked images.

    Returns:
        Each image's segmentation and decision loss and 2 FP + FN, counted on probabilities above 0.5, (N,) each.
    """
    decision_logits, seg_logits = model(batch.image)
    seg_losses = segmentation_loss(seg_logits, batch.mask, batch.valid, batch.weight, pos_weights[0])
    decision_losses = decision_loss(decision_logits, batch.has_crack, pos_weights[1])
    loss = weights[0] * seg_losses.mean() + weights[1] * decision_losses.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    predicted = (seg_logits.detach() > 0) * batch.valid
    errors = (2 * predicted * (1 - batch.mask) + (1 - predicted) * batch.mask * batch.valid).sum((1, 2, 3))
    return seg_losses.detach(), decision_losses.detach(), errors


def positive_weights(dataset: CropDataset, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Background by crack pixels, and crack-free by cracked images (None where there is no crack-free one: nothing to balance)."""
    crack, pixels = sum(int(crop.mask.sum()) for crop in dataset.crops), sum(crop.mask.size for crop in dataset.crops)
    decision = torch.tensor(dataset.negatives / dataset.positives, device=device) if dataset.negatives else None
    return torch.tensor((pixels - crack) / crack, device=device), decision


def measure_step(model: nn.Module, params: RunParameters, dataset: CropDataset, device: torch.device) -> tuple[float, float]:
    """Seconds of one training step and of one image's prediction, measured on a copy of the network."""
    scratch = copy.deepcopy(model)
    optimizer = build_optimizer(scratch, params)
    keys = [i % len(dataset) for i in range(params.batch_size)]
    batch = next(batches(dataset, keys, params.batch_size)).to(device)
    times = []
    for _ in range(3):  # the first one warms up
        started = time.perf_counter()
        train_step(scratch, optimizer, batch, (1.0, 1.0))[0].cpu()
        trained = time.perf_counter()
        with torch.inference_mode():
            scratch(batch.image[:1])[0].cpu()
        times.append((trained - started, time.perf_counter() - trained))
    return tuple(min(values) for values in zip(*times[1:], strict=True))
