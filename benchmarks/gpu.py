"""All precisions on a GPU, checked and timed: ``python -m crack_utils bench gpu``. It stops where a result is wrong."""

import argparse
import dataclasses
import runpy
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from crack_utils.data import Batch, Crop, CropDataset, DeviceData, Loader, Pair
from crack_utils.networks import InPrecision, SegDecNet, chosen_ways, computing, resolve_device
from crack_utils.training import train_step

TRAINING = runpy.run_path(str(Path(__file__).with_name("training.py")))
LARGEST_GAP = {"fp32": 1e-4, "tf32": 2e-2, "bf16": 0.2}  # of the segmentation logits to those of a CPU in fp32, by their largest
STEPS = 20  # in which a network must learn one batch


def network(device: torch.device, precision: str) -> torch.nn.Module:
    """A fresh network; its weights are those of each other call."""
    torch.manual_seed(0)
    model = SegDecNet().to(device)
    return model if precision == "fp32" else InPrecision(model, precision)


def check(precision: str, device: torch.device, size: tuple[int, int]) -> dict[str, float]:
    """The gap to a CPU, and the loss before and after learning one batch. Raise AssertionError if one of them is wrong."""
    batch = TRAINING["drawn_batch"](size, 2)
    batch = dataclasses.replace(batch, image=batch.image * (1 - batch.mask))
    exact, model = network(torch.device("cpu"), "fp32"), network(device, precision)
    with torch.inference_mode():
        expected, logits = exact(batch.image)[1], model(batch.image.to(device))[1].cpu()
    gap = float((logits - expected).abs().max() / expected.abs().max())
    assert gap < LARGEST_GAP[precision], f"{precision}: the logits differ from those of a CPU by {gap:.2g} of their largest"
    batch = batch.to(device)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    losses = [float(train_step(model, optimizer, batch, [1.0, 0.0])[0][0].mean()) for _ in range(STEPS)]
    assert losses[-1] < 0.8 * losses[0], f"{precision}: the network does not learn: {losses}"
    return {"gap to a CPU": gap, "first loss": losses[0], f"loss after {STEPS} steps": losses[-1]}


def time_batches(device: torch.device, size: tuple[int, int], images: int = 64, count: int = 8) -> pd.DataFrame:
    """Milliseconds an augmented image by a loader of one process, and by batches made on the device. Both must be equal."""
    rng = np.random.default_rng(0)
    pixels, masks = rng.integers(256, size=(images, *size, 3), dtype=np.uint8), rng.random((images, *size)) < 0.03
    crops = [Crop(Pair(Path(f"{n}.png"), None), image, mask) for n, (image, mask) in enumerate(zip(pixels, masks, strict=True))]
    dataset, rows, made = CropDataset(crops, size), [], {}
    for name, loader in (("Loader", Loader(dataset, count)), ("DeviceData", DeviceData(dataset, count, device))):
        for is_timed in (False, True):
            started = time.perf_counter()
            made[name] = [batch.to(device) for batch in loader.batches([(n, n) for n in range(images)])]
            made[name][-1].image.sum().item()  # waits for the device
            if is_timed:
                rows.append({"batches": name, "ms an image": 1000 * (time.perf_counter() - started) / images})
    for one, other in zip(*made.values(), strict=True):
        for field in dataclasses.fields(Batch):
            torch.testing.assert_close(getattr(one, field.name), getattr(other, field.name), rtol=0, atol=1e-5)
    return pd.DataFrame(rows)


def measure(device: torch.device, size: tuple[int, int], batches: tuple[int, ...], repeats: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The checks of each precision, and the times of each kind of work, precision and batch."""
    checks, times = [], []
    for precision in LARGEST_GAP:
        with computing(device, precision=precision):
            checks.append({"precision": precision, **check(precision, device, size)})
            for kind in ("training", "inference"):
                for count in batches:
                    table = TRAINING["measure"](kind, size, count, device, repeats=repeats, precision=precision)
                    times.append({"work": kind, "precision": precision, "batch": count, **table.drop(columns="way").iloc[0]})
    return pd.DataFrame(checks), pd.DataFrame(times)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m crack_utils bench gpu", description="Check and time all precisions on a GPU.")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu (slow); default: cuda")
    parser.add_argument("--size", default="640x360", help="width x height of the input; default: 640x360")
    parser.add_argument("--batches", default="1,10", help="images at a time, separated by commas; default: 1,10")
    parser.add_argument("--repeats", type=int, default=20, help="runs of which the median is shown; default: 20")
    options = parser.parse_args()
    device, (width, height) = resolve_device(options.device), map(int, options.size.split("x"))
    with computing(device) as about:
        print(f"{about['machine']}, torch {torch.__version__}, {options.size}")
        print(time_batches(device, (height, width)).to_string(index=False, float_format="{:.3f}".format))
    for table in measure(device, (height, width), tuple(map(int, options.batches.split(","))), options.repeats):
        print(table.to_string(index=False, float_format="{:.4f}".format))
    print(*chosen_ways(), sep="\n")
