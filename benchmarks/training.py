"""Training steps, timed: ``python -m crack_utils bench training``. ``--against plain`` also times a plain PyTorch implementation."""

import argparse
import contextlib
import copy
import functools
import json
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from crack_utils.config import parse_parameters
from crack_utils.data import Batch
from crack_utils.networks import build_model, hardware, resolve_device
from crack_utils.networks.fourier import Conv2d
from crack_utils.networks.memory import memory_kept
from crack_utils.networks.norm import FeatureNorm
from crack_utils.training import build_optimizer, train_step

MATRIX = 2048  # side of the square matrices whose product shows the machine's arithmetic ceiling


class PlainNorm(nn.Module):
    """FeatureNorm as its formula reads."""

    def __init__(self, norm: FeatureNorm):
        super().__init__()
        self.scale, self.bias, self.eps, self.relu = norm.scale, norm.bias, norm.eps, norm.relu

    def forward(self, x: Tensor) -> Tensor:
        mean, std = torch.mean(x, (2, 3), keepdim=True), torch.std(x, (2, 3), keepdim=True)
        x = self.scale * (x - mean) / torch.sqrt(std + self.eps)
        x = x if self.bias is None else x + self.bias
        return F.relu(x) if self.relu else x


def plain(model: nn.Module) -> nn.Module:
    """A copy of a network with PyTorch's own convolutions and :class:`PlainNorm`."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, FeatureNorm):
                setattr(module, name, PlainNorm(child))
            elif isinstance(child, Conv2d):
                child.__class__ = nn.Conv2d
    return model


def plain_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """Learn from one image at a time, and fetch both losses of each."""
    for image, mask, has_crack in zip(batch.image, batch.mask, batch.has_crack, strict=True):
        decision_logits, seg_logits = model(image[None])
        segmentation = F.binary_cross_entropy_with_logits(seg_logits, mask[None])
        decision = F.binary_cross_entropy_with_logits(decision_logits, has_crack[None])
        optimizer.zero_grad()
        (segmentation + decision).backward()
        optimizer.step()
        segmentation.item(), decision.item()


def drawn_batch(size: tuple[int, int], count: int, channels: int = 3) -> Batch:
    """Random images (height, width) with a bar for a crack."""
    torch.manual_seed(0)
    mask = torch.zeros(count, 1, *size)
    mask[:, :, size[0] // 2 : size[0] // 2 + 4] = 1
    return Batch(
        torch.rand(count, channels, *size), mask, torch.ones_like(mask), torch.ones_like(mask), torch.ones(count, 1), torch.arange(count)
    )


def ways(kind: str, against: str | None, size: tuple[int, int], count: int, device: torch.device) -> dict[str, Callable[[], None]]:
    """What is timed, by name."""
    params = parse_parameters({"dataset": "sample", "device": str(device)})
    torch.manual_seed(0)
    ours, batch = build_model(params).to(device), drawn_batch(size, count).to(device)
    models = {"crack_utils": ours} | ({"plain": plain(ours)} if against else {})
    if kind == "inference":

        def predict(model: nn.Module, images: list[Tensor]) -> None:
            with torch.inference_mode():
                for image in images:
                    model(image)[1].sigmoid().cpu()

        parts = {"crack_utils": [batch.image], "plain": batch.image.split(1)}
        return {name: functools.partial(predict, model.eval(), parts[name]) for name, model in models.items()}
    optimizer = build_optimizer(ours, params)
    found = {"crack_utils": lambda: train_step(ours, optimizer, batch, [1.0, 1.0])[0].cpu()}
    if against:
        plain_optimizer = torch.optim.Adam(models["plain"].parameters())
        found["plain"] = lambda: plain_step(models["plain"], plain_optimizer, batch)
    return found


def measure(
    kind: str, size: tuple[int, int], count: int, device: torch.device, against: str | None = None, repeats: int = 5
) -> pd.DataFrame:
    """Time each way in turn, ``repeats`` times, each time after a warm-up. The plain way has the memory as PyTorch's user gets it.

    Returns for each way: seconds (median), images a second, peak memory in MiB, and the arithmetic of the direct way as a share of the
    machine's ceiling, which may exceed 1 for an algorithm with less arithmetic.
    """
    timed = ways(kind, against, size, count, device)
    with FlopCounterMode(display=False) as counter:
        ways(kind, "plain", size, count, device)["plain"]()
    memory, times = {}, {name: [] for name in timed}
    for _ in range(repeats):
        for name, run in timed.items():
            with memory_kept() if name != "plain" and device.type == "cpu" else contextlib.nullcontext():
                reset_peak(device)
                run()
                times[name].append(seconds(run, device))
                memory[name] = peak_mib(device)
    rows, ceiling = [], arithmetic_ceiling(device)
    for name, values in times.items():
        middle = statistics.median(values)
        share = counter.get_total_flops() / middle / ceiling
        rows.append({"way": name, "seconds": middle, "images/s": count / middle, "peak MiB": memory[name], "share of ceiling": share})
    table = pd.DataFrame(rows)
    return table.assign(speedup=table["seconds"].iloc[-1] / table["seconds"]) if against else table


def seconds(run: Callable[[], None], device: torch.device) -> float:
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def arithmetic_ceiling(device: torch.device) -> float:
    """Operations a second of a product of large matrices in float32, the best of five."""
    a = torch.rand(MATRIX, MATRIX, device=device)
    torch.mm(a, a)
    return 2 * MATRIX**3 / min(seconds(lambda: torch.mm(a, a), device) for _ in range(5))


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak of this process begins anew


def peak_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def main(kind: str = "training") -> None:
    parser = argparse.ArgumentParser(prog=f"python -m crack_utils bench {kind}", description="Time SegDecNet on random images.")
    parser.add_argument("--size", default="640x360", help="width x height of the input; default: 640x360")
    parser.add_argument("--batch", type=int, default=1, help="images at a time; default: 1")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1; default: auto")
    parser.add_argument("--against", choices=["plain"], help="also time a plain implementation, one image at a time")
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the median is shown; default: 5")
    parser.add_argument("--json", type=Path, help="a file for the same figures")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    device = resolve_device(options.device)
    about = hardware(device) | {"torch": torch.__version__, "kind": kind, "size": options.size, "batch": options.batch}
    table = measure(kind, (height, width), options.batch, device, options.against, options.repeats)
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(table.to_string(index=False, float_format="{:.3f}".format))
    if options.json:
        options.json.write_text(json.dumps(about | {"ways": table.to_dict("records")}, indent=2) + "\n")


if __name__ == "__main__":
    main()
