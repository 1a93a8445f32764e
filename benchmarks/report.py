"""How long the report of a large test set takes: ``python -m crack_utils bench report``."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image

from crack_utils.config import parse_parameters
from crack_utils.data import Crop, data_facts, find_data
from crack_utils.evaluation import score_run
from crack_utils.networks import SegDecNet
from crack_utils.reporting.runner import execute_and_render
from crack_utils.store import Run, sample_folder

SIZE = (360, 640)


def report(images: int = 1124) -> pd.DataFrame:
    """Execute and render a run with generated photos and predictions. Returns the seconds of each step and the size of each page."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["CRACK_HOME"] = folder  # this process ends with the benchmark
        print(f"Generating {images} test images of 640 x 360 and their predictions ...", flush=True)
        run = _generated_run(Path(folder) / "data", images)
        times = [time.perf_counter()]
        for only_missing in (False, True):
            page = execute_and_render(run.params.load(), run, only_missing)
            times.append(time.perf_counter())
        whole_s, pages_s = times[1] - times[0], times[2] - times[1]
        rows = {"execute the five notebooks and render their pages (s)": whole_s, "render the pages alone (s)": pages_s}
        rows |= {f"{path.name} (MB)": path.stat().st_size / 1e6 for path in sorted(page.parent.glob("*.html"))}
    return pd.DataFrame(rows.items(), columns=[f"report of {images} test images", ""])


def _generated_run(root: Path, images: int) -> Run:
    """A run of noise: photos in CRACK500's layout, the files of a training that never ran, and predictions near the truth."""
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
    run, data = Run("generated"), find_data(params, sample_folder())
    run.params.save(params, {"device": "cpu", "input_height": 360, "input_width": 640, "evaluate_negatives": False}, data_facts(data))
    losses = dict.fromkeys(("loss", "loss_segmentation", "loss_decision"), np.exp(-np.arange(params.epochs) / 20))
    history = pd.DataFrame({"epoch": range(1, params.epochs + 1), **losses, "learning_rate": 0.001, "time_s": 1.0})
    for name in ("val_precision", "val_recall", "val_f1", "val_decision_ap", "val_seg_threshold"):
        history[name] = 1 - history["loss"][:: params.validation_n_epochs]
    run.history.save(history.to_dict("records"))
    run.log.add("Generated: nothing was trained")
    run.model.save(SegDecNet())

    def predicted(split: str) -> Iterator[tuple[Crop, torch.Tensor, float]]:
        for crop in data.split(split).crops:
            logits = 14 * (cv2.GaussianBlur(crop.mask.astype(np.float32), (0, 0), 2) - 0.4) + 2 * _smooth(rng, 6)
            yield crop, torch.from_numpy(1 / (1 + np.exp(-logits))), float(rng.uniform(0.5, 1))

    score_run(run, data, predicted)
    return run


def _smooth(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """A smooth random field (H, W) float32 with mean 0 and standard deviation 1."""
    field = cv2.GaussianBlur(rng.standard_normal(SIZE, np.float32), (0, 0), sigma)
    return (field - field.mean()) / field.std()


if __name__ == "__main__":
    print(report().to_string(index=False, float_format="{:.2f}".format))
