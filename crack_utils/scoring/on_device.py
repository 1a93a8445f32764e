"""Counting on a GPU. No other module of this room imports torch."""

import numpy as np
import torch

from crack_utils.scoring.arrays import check_probabilities
from crack_utils.scoring.thresholds import in_single


def count_above(prob: torch.Tensor, kind: np.ndarray, kinds: int, thresholds: np.ndarray) -> np.ndarray:
    """Count as :func:`crack_utils.scoring.thresholds.count_above` does, on the device of ``prob``."""
    check_probabilities(prob)
    is_double = prob.dtype == torch.float64
    bounds = torch.from_numpy(thresholds if is_double else in_single(thresholds)).to(prob.device)
    level = torch.bucketize(prob if is_double else prob.float(), bounds)
    size = len(thresholds) + 1
    kind = torch.from_numpy(kind).to(prob.device).long()
    histogram = torch.bincount((level + size * kind).ravel(), minlength=kinds * size).view(kinds, size)
    return histogram.flip(1).cumsum(1).flip(1).cpu().numpy()
