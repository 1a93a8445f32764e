"""The functions that a training is made of: the optimizer, its step size, one training step, one validation."""

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from crack_utils.config import RunParameters
from crack_utils.data import Batch, CropDataset, RunData, batches, data_facts
from crack_utils.networks import build_model, predict
from crack_utils.scoring import average_precision, choose_threshold, judge
from crack_utils.training.losses import TERMS, UNWEIGHTED, Outputs, PositiveWeights, Term, used_terms


def build_optimizer(model: nn.Module, params: RunParameters) -> torch.optim.Optimizer:
    """The optimizer that a run's parameters describe."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[params.optimizer]
    decay = params.weight_decay if params.weight_decay is not None else 0.01 if params.optimizer == "adamw" else 0.0
    options = {"momentum": params.momentum} if params.optimizer == "sgd" else {}
    # On a CPU the fused step is six times as fast as the plain one. That saves a seventh of a training step on the sample.
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return kind(model.parameters(), lr=params.learning_rate, weight_decay=decay, fused=fused, **options)


def learning_rate(params: RunParameters, epoch: int) -> float:
    """The step size in epoch n = 0, 1, ...: linearly rising during the warm-up, then as the scheduler says."""
    rate, n = params.learning_rate, epoch - params.warmup_epochs
    if n < 0:
        return rate * (epoch + 1) / (params.warmup_epochs + 1)
    if params.scheduler == "cosine":
        return rate * (1 + math.cos(math.pi * n / (params.epochs - params.warmup_epochs))) / 2
    if params.scheduler:
        _, every, factor = params.scheduler.split()
        return rate * float(factor) ** (n // int(every))
    return rate


def is_checkpoint_epoch(params: RunParameters, epoch: int) -> bool:
    """Whether epoch 0, 1, ... ends with a checkpoint, and with a validation if the run validates."""
    return epoch % params.validation_n_epochs == 0 or epoch == params.epochs - 1


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    weights: Sequence[float],
    positive: PositiveWeights = UNWEIGHTED,
    terms: Mapping[str, Term] = TERMS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Learn from one batch, with a weight for each loss term.

    Returns each image's loss by term, (terms, N), and each image's 2 FP + FN of probabilities above 0.5, (N,).
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


def validate(model: nn.Module, params: RunParameters, data: RunData, device: torch.device) -> dict[str, float]:
    """The history's ``val_...`` figures, of the split that chooses the checkpoint, at the threshold with the best mean F1."""
    val = judge(predict(model, data.split(params.choosing_split), device, params.batch_size, params.num_workers))
    at = choose_threshold(val)
    return {
        **{f"val_{name}": score for name, score in val.segmentation(at).items()},
        "val_seg_threshold": float(val.thresholds[at]),
        "val_decision_ap": average_precision(val.has_crack, val.decision_probs),
    }


def positive_weights(dataset: CropDataset, device: torch.device) -> PositiveWeights:
    """The number of background pixels per crack pixel, and of crack-free images per cracked image; None without crack-free images.

    Counts the pixels that the network trains on: masks in the size of the input, widened by ``dilate``, without padding.
    """
    crack = pixels = 0
    for index in range(len(dataset)):
        mask, valid = dataset.labels(index)
        crack += int((dataset.dilated(mask[None].float())[0] * valid).sum())
        pixels += int(valid.sum())
    images = torch.tensor(dataset.negatives / dataset.positives, device=device) if dataset.negatives else None
    return PositiveWeights(torch.tensor((pixels - crack) / crack, device=device), images)


def measure_step(model: nn.Module, params: RunParameters, dataset: CropDataset, device: torch.device, n_images: int) -> tuple[float, float]:
    """Seconds of one training step on so many images, with loading, and of one image's prediction, measured on a copy of the network.

    Means, because the fastest step of a busy machine promises too little time.
    """
    scratch = copy.deepcopy(model)
    optimizer = build_optimizer(scratch, params)
    times, terms, keys = [], used_terms(params), [(i % len(dataset), i if params.augmentation else None) for i in range(n_images)]
    for _ in range(4):  # the first one warms up
        started = time.perf_counter()
        batch = next(batches(dataset, keys, n_images)).to(device)
        if params.num_workers:  # worker processes load while the network learns
            started = time.perf_counter()
        train_step(scratch, optimizer, batch, [1.0] * len(terms), terms=terms)[0].cpu()
        trained = time.perf_counter()
        with torch.inference_mode():
            scratch(batch.image[:1])[0].cpu()
        times.append((trained - started, time.perf_counter() - trained))
    return tuple(sum(values) / len(values) for values in zip(*times[1:], strict=True))


@dataclasses.dataclass(frozen=True)
class Parts:
    """The functions that a training is made of. A test or an experiment hands in another function."""

    facts: Callable = data_facts
    build_model: Callable = build_model
    terms: Mapping[str, Term] = dataclasses.field(default_factory=lambda: TERMS)
    step: Callable = train_step
    validate: Callable = validate
    measure: Callable = measure_step
