"""The two losses of SegDecNet, the weights of pixels and images, and the schedule that balances the two."""

import torch
from torch.nn import functional as F


def segmentation_loss(
    seg_logits: torch.Tensor,
    mask: torch.Tensor,
    valid: torch.Tensor,
    weight: torch.Tensor | None = None,
    pos_weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Binary cross-entropy of each image, the mean over its valid pixels.

    Args:
        seg_logits: (N, 1, H, W).
        mask: (N, 1, H, W) in {0, 1}.
        valid: (N, 1, H, W) in {0, 1}; 0 marks padding, which counts nowhere.
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


def loss_weights(epoch: int, epochs: int, delta: float, balanced: bool) -> tuple[float, float]:
    """Weights of the segmentation and the decision loss in epoch n = 0 .. epochs - 1.

    Balanced they are ``1 - n / epochs`` and ``delta * n / epochs``, else always 1 and ``delta``.
    """
    share = epoch / epochs
    return (1 - share, delta * share) if balanced else (1.0, delta)
