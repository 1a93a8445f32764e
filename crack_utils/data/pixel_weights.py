"""Weights of the pixels of a mask."""

import numpy as np
from scipy import ndimage


def crack_weights(mask: np.ndarray, w_max: float, power: float) -> np.ndarray:
    """Weights of the weighted segmentation loss: 1 outside the cracks, and ``w_max * (d / max d) ** power`` on each 8-connected crack.

    Here d is the Euclidean distance to the nearest pixel outside the crack.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) float32.
    """
    weight = np.ones(mask.shape, np.float32)
    if mask.any() and not mask.all():
        distance = ndimage.distance_transform_edt(mask)
        cracks, count = ndimage.label(mask, np.ones((3, 3)))
        middle = ndimage.maximum(distance, cracks, np.arange(1, count + 1))
        weight[mask] = w_max * (distance[mask] / middle[cracks[mask] - 1]) ** power
    return weight
