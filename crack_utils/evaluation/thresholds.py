"""The segmentation threshold of a single image."""

from typing import Any

import numpy as np

from crack_utils.config import RunParameters


def applied_threshold(seg_prob: Any, decided: bool, threshold: float, params: RunParameters) -> float:
    """The threshold of one image. Two of the run's parameters change this threshold.

    - ``blackening``: infinity if the image is decided crack-free, so the mask is empty.
    - ``lowered_threshold``: 0.9 of the threshold if the image is decided cracked but no pixel exceeds the threshold.

    Args:
        seg_prob: (H, W) array or tensor.
        decided: the image is decided cracked.
        threshold: the run's threshold.
    """
    if params.blackening and not decided:
        return np.inf
    if params.lowered_threshold and decided and not float(seg_prob.max()) > threshold:
        return 0.9 * threshold
    return threshold
