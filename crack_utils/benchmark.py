"""Measure what the report calls fast: ``python -m crack_utils bench evaluation`` (side by side with plain loops), ``bench report``."""

import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy import ndimage

from crack_utils import artifacts
from crack_utils.artifacts import Run
from crack_utils.config import parse_parameters
from crack_utils.data import RunData
from crack_utils.evaluation import score_run
from crack_utils.layouts import Crop
from crack_utils.metrics import SEG_THRESHOLDS, tolerance_counts
from crack_utils.model import SegDecNet

IMAGES, SIZE = 348, (360, 640)  # CRACK500's val
NESTED_IMAGES = 2  # the nested sums are timed on so few and scaled


def make_arrays(images: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random probabilities (N, H, W) float32 and masks of a few percent of the pixels."""
    rng = np.random.default_rng(seed)
    fields = np.stack([ndimage.gaussian_filter(rng.standard_normal(SIZE).astype(np.float32), 6) for _ in range(images)])
    probs = 1 / (1 + np.exp(-60 * fields))
    masks = fields + 0.01 * rng.standard_normal(fields.shape).astype(np.float32) > 1.6 * fields.std()
    return probs.astype(np.float32), masks


def numpy_loop(probs: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """TP, FP, FN, (3, N, T): a loop over thresholds of whole boolean arrays."""
    counts = np.zeros((3, len(probs), len(SEG_THRESHOLDS)), np.int64)
    plus = np.abs(np.arange(-2, 3))[:, None] * np.abs(np.arange(-2, 3)) == 0
    for i, (prob, mask) in enumerate(zip(probs, masks, strict=True)):
        near = ndimage.binary_dilation(mask, plus)
        for t, threshold in enumerate(SEG_THRESHOLDS):
            predicted = prob > threshold
            counts[:, i, t] = (
                np.count_nonzero(near & predicted),
                np.count_nonzero(predicted & ~near),
                np.count_nonzero(mask & ~predicted),
            )
    return counts


def nested_sums(probs: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The same with ``sum(sum(...))``, as research code often has it."""
    counts = np.zeros((3, len(probs), len(SEG_THRESHOLDS)), np.int64)
    plus = np.abs(np.arange(-2, 3))[:, None] * np.abs(np.arange(-2, 3)) == 0
    for i, (prob, mask) in enumerate(zip(probs, masks, strict=True)):
        near = ndimage.binary_dilation(mask, plus)
        for t, threshold in enumerate(SEG_THRESHOLDS):
            predicted = prob > threshold
            counts[:, i, t] = sum(sum(near & predicted)), sum(sum(predicted & ~near)), sum(sum(mask & ~predicted))
    return counts


def ours(probs: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return np.stack(tolerance_counts(probs, masks, SEG_THRESHOLDS))


def evaluation(images: int = IMAGES) -> pd.DataFrame:
    """Time the sweep of 180 thresholds, dilation included, by three ways on the same arrays; all must count the same.

    Raises:
        AssertionError: they do not.
    """
    probs, masks = make_arrays(images)
    ours(probs[:4], masks[:4])  # warm up
    mine, mine_s = _timed(ours, probs, masks)
    loop, loop_s = _timed(numpy_loop, probs, masks)
    few = min(NESTED_IMAGES, images)
    nested, nested_s = _timed(nested_sums, probs[:few], masks[:few])
    np.testing.assert_array_equal(mine, loop)
    np.testing.assert_array_equal(mine[:, :few], nested)
    nested_s *= images / few
    rows = [
        ("crack_utils.metrics.tolerance_counts (on all cores)", mine_s, 1.0),
        ("NumPy, a loop over thresholds (one core)", loop_s, loop_s / mine_s),
        (f"nested Python sums (one core; timed on {few} images, scaled)", nested_s, nested_s / mine_s),
    ]
    return pd.DataFrame(rows, columns=[f"sweep of 180 thresholds over {images} images of 640 x 360", "seconds", "times ours"])


def growth(images: int = IMAGES) -> pd.DataFrame:
    """Time and memory of the sweep by the number of images: time should grow with it, memory (beside the input) should not."""
    probs, masks = make_arrays(images)
    rows = []
    for count in (images // 4, images // 2, images):
        _, time_s = _timed(ours, probs[:count], masks[:count])
        tracemalloc.start()
        ours(probs[:count], masks[:count])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        rows.append((count, time_s, 1000 * time_s / count, peak / 2**20))
    return pd.DataFrame(rows, columns=["images", "seconds", "ms an image", "peak memory beside the input (MiB)"])


# --- a report of a large test set ------------------------------------------------------------------------------------


def report(images: int = 1124) -> pd.DataFrame:
    """Render the report of a run whose photos and predictions are generated: seconds of each step, and the size of each page."""
    from crack_utils.reporting import runner

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["CRACK_HOME"] = folder  # this process ends with the benchmark
        print(f"Generating {images} test images of 640 x 360 and their predictions ...", flush=True)
        run = _generated_run(Path(folder) / "data", images)
        (whole, whole_s), (_, pages_s) = (_timed(runner.execute_and_render, run.load_params(), run, again) for again in (False, True))
        rows = [("execute the five notebooks and render their pages (s)", whole_s), ("render the pages alone (s)", pages_s)]
        found = sorted(whole.parent.glob("*.html"))
        rows += [(f"{path.name} (MB)", path.stat().st_size / 1e6) for path in found]
    return pd.DataFrame(rows, columns=[f"report of {images} test images", ""])


def _generated_run(root: Path, images: int) -> Run:
    """A trained and evaluated run, of noise: photos in CRACK500's layout, a training that never was, predictions near the truth."""
    rng = np.random.default_rng(0)
    for split, count in {"train": 24, "val": 24, "test": images}.items():
        (root / f"{split}crop").mkdir(parents=True)
        for i in range(count):
            mask = _smooth(rng, 5) > 1.7
            photo = 130 + 14 * _smooth(rng, 40) + 18 * rng.standard_normal(SIZE) - 45 * mask
            stem = root / f"{split}crop" / f"{split}{i // 4:04d}_{1 + 640 * (i % 4)}_1"
            Image.fromarray(photo.clip(0, 255).astype(np.uint8)).convert("RGB").save(stem.with_suffix(".jpg"), quality=90)
            Image.fromarray(mask).save(stem.with_suffix(".png"))
    params = parse_parameters({"dataset": "crack500", "data_root": str(root), "device": "cpu"})
    run, data = Run("generated"), RunData(params, artifacts.sample_folder())
    run.save_params(params, {"device": "cpu", "input_height": 360, "input_width": 640, "evaluate_negatives": False}, data.facts)
    falling = np.exp(-np.arange(params.epochs) / 20)
    rows = [dict(epoch=n + 1, loss=v, loss_segmentation=v, loss_decision=v, learning_rate=0.001, time_s=1.0) for n, v in enumerate(falling)]
    for row in rows[:: params.validation_n_epochs]:
        row |= {f"val_{name}": 1 - row["loss"] for name in ("precision", "recall", "f1", "decision_ap")} | {"val_seg_threshold": 0.5}
    run.save_history(rows)
    run.log("Generated: nothing was trained")
    run.save_model(SegDecNet())

    def predicted(split: str) -> Iterator[tuple[Crop, torch.Tensor, float]]:
        for crop in data.split(split).crops:
            logits = 14 * (cv2.GaussianBlur(crop.mask.astype(np.float32), (0, 0), 2) - 0.4) + 2 * _smooth(rng, 6)
            yield crop, torch.from_numpy(1 / (1 + np.exp(-logits))), float(rng.uniform(0.5, 1))

    score_run(run, data, predicted)
    return run


def _smooth(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """A smooth random field (H, W) float32 of mean 0 and deviation 1."""
    field = cv2.GaussianBlur(rng.standard_normal(SIZE, np.float32), (0, 0), sigma)
    return (field - field.mean()) / field.std()


def _timed(run: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    started = time.perf_counter()
    result = run(*arguments)
    return result, time.perf_counter() - started
