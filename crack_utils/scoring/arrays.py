"""The arrays that come in, and their checks."""

import math
from typing import Any

import numpy as np

from crack_utils.errors import UserError


def as_array(values: Any) -> np.ndarray:
    """Return an array, a list, or a tensor on any device as an array; tensors of 16 bits become float32."""
    if hasattr(values, "detach"):  # a tensor, recognised without torch
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() and values.element_size() < 4 else values
    return np.asarray(values)


def as_image(prob: Any, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """One image's probabilities, float32 or float64, and its mask, bool, both (H, W).

    Raises:
        ValueError: other shapes.
    """
    prob, mask = as_array(prob), as_array(mask)
    check_shapes(prob.shape, mask.shape)
    return prob if prob.dtype == np.float32 else prob.astype(np.float64), mask.astype(bool, copy=False)


def check_shapes(prob: tuple[int, ...], mask: tuple[int, ...]) -> None:
    """Raise ValueError unless both shapes are the same (H, W) with at least one pixel."""
    if tuple(prob) != tuple(mask):
        raise ValueError(f"the probabilities have shape {tuple(prob)}, but the mask has {tuple(mask)}; give both the same shape")
    if len(prob) != 2 or 0 in prob:
        raise ValueError(f"an image must be (H, W) with pixels in it, got {tuple(prob)}; several images are (N, H, W), without a channel")


def ascending(thresholds: Any) -> np.ndarray:
    """The thresholds as float64; ValueError unless they ascend."""
    thresholds = np.asarray(thresholds, np.float64)
    if np.isnan(thresholds).any() or not (np.diff(thresholds) > 0).all():
        raise ValueError("thresholds must ascend; sort them")
    return thresholds


def check_probabilities(prob: Any) -> None:
    """Raise ValueError unless all values of an array or tensor lie in [0, 1]."""
    if math.prod(prob.shape) and not (prob.min() >= 0 and prob.max() <= 1):
        raise ValueError(f"probabilities must lie in [0, 1], got {prob.min():.6g} to {prob.max():.6g}; logits need a sigmoid first")


def check_finite(seg_prob: Any) -> None:
    """Raise UserError for predictions, an array or a tensor, that hold NaN or infinity."""
    if not (math.isfinite(seg_prob.min()) and math.isfinite(seg_prob.max())):
        raise UserError("the network's predictions are not numbers; train it again with a lower learning_rate")


def numbers(values: np.ndarray) -> list[float | None]:
    """An array as JSON holds it: None instead of NaN."""
    return [None if np.isnan(value) else float(value) for value in values]
