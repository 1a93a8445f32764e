"""The counts at 180 thresholds, timed against plain loops: ``python -m crack_utils bench evaluation``."""

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from crack_utils.metrics import SEG_THRESHOLDS, tolerance_counts

IMAGES, SIZE = 348, (360, 640)  # CRACK500's val
NESTED_IMAGES = 2  # the nested sums are timed on these few images; the time is scaled to all


def make_arrays(images: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random probabilities (N, H, W) float32 and masks of a few percent of the pixels."""
    rng = np.random.default_rng(seed)
    fields = np.stack([ndimage.gaussian_filter(rng.standard_normal(SIZE).astype(np.float32), 6) for _ in range(images)])
    probs = 1 / (1 + np.exp(-60 * fields))
    masks = fields + 0.01 * rng.standard_normal(fields.shape).astype(np.float32) > 1.6 * fields.std()
    return probs.astype(np.float32), masks


def plain_loop(probs: np.ndarray, masks: np.ndarray, count: Callable[[np.ndarray], int] = np.count_nonzero) -> np.ndarray:
    """TP, FP, FN, (3, N, T), by a loop over thresholds and whole boolean arrays."""
    counts = np.zeros((3, len(probs), len(SEG_THRESHOLDS)), np.int64)
    plus = np.abs(np.arange(-2, 3))[:, None] * np.abs(np.arange(-2, 3)) == 0
    for i, (prob, mask) in enumerate(zip(probs, masks, strict=True)):
        near = ndimage.binary_dilation(mask, plus)
        for t, threshold in enumerate(SEG_THRESHOLDS):
            predicted = prob > threshold
            counts[:, i, t] = count(near & predicted), count(predicted & ~near), count(mask & ~predicted)
    return counts


def nested_sum(pixels: np.ndarray) -> int:
    """Count as research code often does."""
    return sum(sum(pixels))


def ours(probs: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return np.stack(tolerance_counts(probs, masks, SEG_THRESHOLDS))


def time_counts(images: int = IMAGES) -> pd.DataFrame:
    """Time three ways to count at 180 thresholds, dilation included, on the same arrays. All must count the same.

    Raises:
        AssertionError: the counts differ.
    """
    probs, masks = make_arrays(images)
    ours(probs[:4], masks[:4])  # warm up
    mine, mine_s = timed(ours, probs, masks)
    loop, loop_s = timed(plain_loop, probs, masks)
    few = min(NESTED_IMAGES, images)
    nested, nested_s = timed(plain_loop, probs[:few], masks[:few], nested_sum)
    np.testing.assert_array_equal(mine, loop)
    np.testing.assert_array_equal(mine[:, :few], nested)
    nested_s *= images / few
    rows = [
        ("crack_utils.metrics.tolerance_counts (on all cores)", mine_s, 1.0),
        ("NumPy, a loop over thresholds (one core)", loop_s, loop_s / mine_s),
        (f"nested Python sums (one core; timed on {few} images, scaled)", nested_s, nested_s / mine_s),
    ]
    return pd.DataFrame(rows, columns=[f"180 thresholds over {images} images of 640 x 360", "seconds", "times ours"])


def growth_of_counts(images: int = IMAGES) -> pd.DataFrame:
    """Time and memory of the count by the number of images: time should grow with it, memory (beside the input) should not."""
    probs, masks = make_arrays(images)
    rows = []
    for count in (images // 4, images // 2, images):
        _, time_s = timed(ours, probs[:count], masks[:count])
        tracemalloc.start()
        ours(probs[:count], masks[:count])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        rows.append((count, time_s, 1000 * time_s / count, peak / 2**20))
    return pd.DataFrame(rows, columns=["images", "seconds", "ms an image", "peak memory beside the input (MiB)"])


def timed(run: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """The result of a call, and its seconds."""
    started = time.perf_counter()
    result = run(*arguments)
    return result, time.perf_counter() - started


if __name__ == "__main__":
    for measure in (time_counts, growth_of_counts):
        print(measure().to_string(index=False, float_format="{:.2f}".format), end="\n\n", flush=True)
