"""The same on a GPU."""

import numpy as np
import torch
from torch.nn import functional as F

from crack_utils.scoring.arrays import check_probabilities


def _above_on_device(prob: torch.Tensor, mask: torch.Tensor | np.ndarray, thresholds: np.ndarray, tolerance_px: int) -> np.ndarray:
    """As :func:`_above`, on the device ``prob`` lies on: (3, T + 1)."""
    check_probabilities(prob)
    mask = torch.as_tensor(mask, device=prob.device).bool()
    arms = 2 * tolerance_px + 1
    padded = mask[None, None].to(torch.float32)
    near = torch.maximum(F.max_pool2d(padded, (arms, 1), 1, (tolerance_px, 0)), F.max_pool2d(padded, (1, arms), 1, (0, tolerance_px)))[0, 0]
    kind = near.long() + mask.long()
    bounds = torch.from_numpy(thresholds)
    if prob.dtype != torch.float64:
        prob, rounded = prob.to(torch.float32), bounds.to(torch.float32)  # see _make_tables
        bounds = torch.where(rounded.double() > bounds, torch.nextafter(rounded, torch.tensor(-torch.inf)), rounded)
    level = torch.bucketize(prob, bounds.to(prob.device))
    size = len(thresholds) + 1
    histogram = torch.bincount((level + size * kind).ravel(), minlength=3 * size).view(3, size)
    return histogram.flip(1).cumsum(1).flip(1).cpu().numpy()
