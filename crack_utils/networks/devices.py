"""Where a network computes."""

import contextlib
import os
import platform
import re
from pathlib import Path

import torch

from crack_utils.errors import ParameterError


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
