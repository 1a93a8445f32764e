"""From a run's parameters to a network, its device, and its predictions."""

import contextlib
import os
import pkgutil
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from crack_utils.config import NETWORKS, RunParameters
from crack_utils.data import Crop, CropDataset, batches, unfit
from crack_utils.errors import ParameterError


def build_model(params: RunParameters, fresh: bool = True) -> nn.Module:
    """The network that a run's parameters describe: images (N, C, H, W) to ``decision_logits`` (N, 1) and ``seg_logits`` (N, 1, H, W).

    The entry's target is called with ``in_channels`` and ``gradient_flow_adjustment``. A network with a choice of encoders also takes
    ``encoder`` and ``pretrained``. Without ``fresh``, stored weights replace the network's own, so no weights are fetched.
    """
    entry = NETWORKS[params.architecture]
    options = {"in_channels": params.input_channels, "gradient_flow_adjustment": params.gradient_flow_adjustment}
    if entry.encoder:
        options |= {"encoder": params.encoder or entry.encoder, "pretrained": params.pretrained and fresh}
    return pkgutil.resolve_name(f"crack_utils.networks.{entry.target}")(**options)


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def predict(
    model: nn.Module, dataset: CropDataset, device: torch.device, batch_size: int = 1, num_workers: int = 0
) -> Iterator[tuple[Crop, torch.Tensor, float]]:
    """Yield each crop; its segmentation probabilities at its own size, (H, W) float32 on ``device``; its decision probability."""
    model.eval()
    for batch in batches(dataset, range(len(dataset)), batch_size, num_workers):
        with torch.inference_mode():
            decision_logits, seg_logits = model(batch.image.to(device))
            decision_probs, seg_probs = decision_logits.sigmoid().cpu(), seg_logits.sigmoid()
        for index, decision_prob, seg_prob in zip(batch.index.tolist(), decision_probs, seg_probs, strict=True):
            yield dataset.crops[index], unfit(seg_prob[0], dataset.placements[index]), decision_prob.item()


def resolve_device(name: str) -> torch.device:
    """The device of this name; ``auto`` takes cuda, then mps, then cpu. Raise ParameterError if this machine has no such device."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    device = torch.device(name)
    if not there[device.type] or (device.index or 0) >= max(1, torch.cuda.device_count()):
        raise ParameterError(f"device: this machine has no {name}; use auto or cpu")
    return device


def hardware(device: torch.device) -> dict[str, str]:
    """The machine, the device and the precision, for the run's provenance."""
    is_tf32 = device.type == "cuda" and torch.backends.cudnn.allow_tf32
    precision = "float32, TF32 in convolutions" if is_tf32 else "float32"
    return {"machine": machine(device), "device": str(device), "precision": precision}


def machine(device: torch.device) -> str:
    """The GPU's name, or the processor and its number of cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = platform.machine()
    with contextlib.suppress(OSError):  # only Linux has this file
        cpu += "".join(re.findall(r"^model name\s*:( .+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)[:1])
    return f"{cpu}, {os.cpu_count()} cores"
