"""What goes in: arrays and tensors, checked."""

import math
from typing import Any

import numpy as np
import torch


def _array(values: Any) -> np.ndarray:
    """An array, or a tensor on any device, as an array."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
    return np.asarray(values)


def _image(prob: Any, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """One image's probabilities, float32 or float64, and its mask, bool, both (H, W).

    Raises:
        ValueError: other shapes.
    """
    prob, mask = _array(prob), _array(mask)
    _check_shapes(prob.shape, mask.shape)
    return prob if prob.dtype == np.float32 else prob.astype(np.float64), mask.astype(bool, copy=False)


def _check_shapes(prob: tuple[int, ...], mask: tuple[int, ...]) -> None:
    if tuple(prob) != tuple(mask):
        raise ValueError(f"probabilities of shape {tuple(prob)}, but a mask of {tuple(mask)}; they must be alike")
    if len(prob) != 2 or 0 in prob:
        raise ValueError(f"an image must be (H, W) with pixels in it, got {tuple(prob)}; several are (N, H, W), without a channel")


def _ascending(thresholds: Any) -> np.ndarray:
    thresholds = np.asarray(thresholds, np.float64)
    if np.isnan(thresholds).any() or not (np.diff(thresholds) > 0).all():
        raise ValueError("thresholds must ascend; sort them")
    return thresholds


def check_probabilities(prob: np.ndarray | torch.Tensor) -> None:
    """Raise ValueError for what is not all in [0, 1]."""
    if math.prod(prob.shape) and not (prob.min() >= 0 and prob.max() <= 1):
        raise ValueError(f"probabilities must lie in [0, 1], got {prob.min():.6g} to {prob.max():.6g}; logits need a sigmoid first")
