"""The terms of the training's loss."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from crack_utils.config import RunParameters
from crack_utils.data import Batch


class Outputs(NamedTuple):
    """The outputs of the network for a batch: ``decision_logits`` (N, 1) and ``seg_logits`` (N, 1, H, W)."""

    decision_logits: Tensor
    seg_logits: Tensor


class PositiveWeights(NamedTuple):
    """Factors of the losses of crack pixels and of cracked images, scalars. None stands for 1."""

    pixels: Tensor | None = None
    images: Tensor | None = None


UNWEIGHTED = PositiveWeights()


class Term(NamedTuple):
    """A term of the loss."""

    loss: Callable[[Outputs, Batch, PositiveWeights], Tensor]  # the loss of each image, (N,)
    weight: Callable[[RunParameters, int], float]  # the weight of the term in epoch 0, 1, ...


def segmentation_loss(
    seg_logits: Tensor, mask: Tensor, valid: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy of each image, (N,): the mean over its valid pixels. All arguments are (N, 1, H, W), but ``pos_weight``.

    Args:
        mask: in {0, 1}.
        valid: in {0, 1}; 0 marks padding, which does not count.
        weight: multiplies each pixel's loss before the mean.
        pos_weight: scalar, multiplies the loss of crack pixels.
    """
    loss = F.binary_cross_entropy_with_logits(seg_logits, mask, weight, reduction="none", pos_weight=pos_weight) * valid
    return loss.sum((1, 2, 3)) / valid.sum((1, 2, 3))


def decision_loss(decision_logits: Tensor, has_crack: Tensor, pos_weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of each image's decision: (N, 1) logits and (N, 1) labels in {0, 1} to (N,) losses."""
    return F.binary_cross_entropy_with_logits(decision_logits, has_crack, reduction="none", pos_weight=pos_weight)[:, 0]


def loss_weights(params: RunParameters, epoch: int) -> tuple[float, float]:
    """Weights of the segmentation and the decision loss in epoch n = 0, 1, ...: 1 and ``delta_cls_loss``; 1 and 0 without decision loss.

    Balanced weights are ``1 - n / epochs`` and ``delta_cls_loss * n / epochs``.
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


def used_terms(params: RunParameters, terms: Mapping[str, Term] = TERMS) -> dict[str, Term]:
    """The terms that a run computes: the two of the write-up, and each other term that has a weight in some epoch."""
    published = ("segmentation", "decision")
    return {name: term for name, term in terms.items() if name in published or any(term.weight(params, n) for n in range(params.epochs))}
