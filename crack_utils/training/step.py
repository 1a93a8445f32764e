"""One training step."""

import copy
import time
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from crack_utils.config import RunParameters
from crack_utils.data import Batch, CropDataset, batches
from crack_utils.training.losses import TERMS, UNWEIGHTED, Outputs, PositiveWeights, Term
from crack_utils.training.schedule import build_optimizer


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    weights: Sequence[float],
    positive: PositiveWeights = UNWEIGHTED,
    terms: Mapping[str, Term] = TERMS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Learn from one batch.

    Args:
        weights: the weight of each loss term.
        positive: the weights of crack pixels and of cracked images.
        terms: the loss terms.

    Returns:
        Each image's loss by term, (terms, N), and each image's 2 FP + FN of probabilities above 0.5, (N,).
    """
    outputs = Outputs(*model(batch.image))
    losses = [term.loss(outputs, batch, positive) for term in terms.values()]
    loss = sum(weight * values.mean() for weight, values in zip(weights, losses, strict=True))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    predicted = (outputs.seg_logits.detach() > 0) * batch.valid
    errors = (2 * predicted * (1 - batch.mask) + (1 - predicted) * batch.mask * batch.valid).sum((1, 2, 3))
    return torch.stack(losses).detach(), errors


def positive_weights(dataset: CropDataset, device: torch.device) -> PositiveWeights:
    """The number of background pixels per crack pixel, and of crack-free images per cracked image; None without crack-free images."""
    crack, pixels = sum(int(crop.mask.sum()) for crop in dataset.crops), sum(crop.mask.size for crop in dataset.crops)
    images = torch.tensor(dataset.negatives / dataset.positives, device=device) if dataset.negatives else None
    return PositiveWeights(torch.tensor((pixels - crack) / crack, device=device), images)


def measure_step(model: nn.Module, params: RunParameters, dataset: CropDataset, device: torch.device) -> tuple[float, float]:
    """Seconds of one training step and of one image's prediction, measured on a copy of the network."""
    scratch = copy.deepcopy(model)
    optimizer = build_optimizer(scratch, params)
    keys = [i % len(dataset) for i in range(params.batch_size)]
    batch = next(batches(dataset, keys, params.batch_size)).to(device)
    times = []
    for _ in range(3):  # the first one warms up
        started = time.perf_counter()
        train_step(scratch, optimizer, batch, [1.0] * len(TERMS))[0].cpu()
        trained = time.perf_counter()
        with torch.inference_mode():
            scratch(batch.image[:1])[0].cpu()
        times.append((trained - started, time.perf_counter() - trained))
    return tuple(min(values) for values in zip(*times[1:], strict=True))
