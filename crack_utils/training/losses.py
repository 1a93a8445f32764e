"""The terms of the training's loss."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional as F

from crack_utils.config import RunParameters
from crack_utils.data import Batch


class Outputs(NamedTuple):
    """The outputs of the network for a batch: ``decision_logits`` (N, 1) and ``seg_logits`` (N, 1, H, W)."""

    decision_logits: torch.Tensor
    seg_logits: torch.Tensor


class PositiveWeights(NamedTuple):
    """Factors of the losses of crack pixels and of cracked images, scalars. None stands for 1."""

    pixels: torch.Tensor | None = None
    images: torch.Tensor | None = None


UNWEIGHTED = PositiveWeights()


class Term(NamedTuple):
    """A term of the loss.

    Args:
        loss: takes outputs, batch and positive weights; returns the loss of each image, (N,).
        weight: takes the run's parameters and the epoch 0, 1, ...; returns the weight of the term.
    """

    loss: Callable[[Outputs, Batch, PositiveWeights], torch.Tensor]
    weight: Callable[[RunParameters, int], float]


def segmentation_loss(
    seg_logits: torch.Tensor,
    mask: torch.Tensor,
    valid: torch.Tensor,
    weight: torch.Tensor | None = None,
    pos_weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Binary cross-entropy of each image: the mean over its valid pixels.

    Args:
        seg_logits: (N, 1, H, W).
        mask: (N, 1, H, W) in {0, 1}.
        valid: (N, 1, H, W) in {0, 1}; 0 marks padding, which does not count.
        weight: (N, 1, H, W), multiplies each pixel's loss before the mean.
        pos_weight: scalar, multiplies the loss of crack pixels.

    Returns:
        (N,) losses.
    """
    loss = F.binary_cross_entropy_with_logits(seg_logits, mask, weight, reduction="none", pos_weight=pos_weight) * valid
    return loss.sum((1, 2, 3)) / valid.sum((1, 2, 3))


def decision_loss(decision_logits: torch.Tensor, has_crack: torch.Tensor, pos_weight: torch.Tensor | None = None) -> torch.Tensor:
    """Binary cross-entropy of each image's decision: (N, 1) logits and (N, 1) labels in {0, 1} to (N,) losses."""
    return F.binary_cross_entropy_with_logits(decision_logits, has_crack, reduction="none", pos_weight=pos_weight)[:, 0]


def loss_weights(params: RunParameters, epoch: int) -> tuple[float, float]:
    """Weights of the segmentation and the decision loss in epoch n = 0, 1, ...

    Balanced weights are ``1 - n / epochs`` and ``delta * n / epochs``, where delta is ``delta_cls_loss``. Otherwise the weights are always
    1 and ``delta``. Without decision loss the weights are 1 and 0.
    """
    if not params.decision_loss:
        return 1.0, 0.0
    share, delta = epoch / params.epochs, params.delta_cls_loss
    return (1 - share, delta * share) if params.dynamically_balanced_loss else (1.0, delta)


TERMS = {  # mining goes by the first term
    "segmentation": Term(
        lambda outputs, batch, positive: segmentation_loss(outputs.seg_logits, batch.mask, batch.valid, batch.weight, positive.pixels),
        lambda params, epoch: loss_weights(params, epoch)[0],
    ),
    "decision": Term(
        lambda outputs, batch, positive: decision_loss(outputs.decision_logits, batch.has_crack, positive.images),
        lambda params, epoch: loss_weights(params, epoch)[1],
    ),
}
