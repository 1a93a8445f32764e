"""Where a network computes."""

import contextlib
import os
import platform
import re
from pathlib import Path

import torch

from crack_utils.errors import ParameterError


def resolve_device(name: str) -> torch.device:
    """The device a run computes on; ``auto`` takes cuda, then mps, then cpu.

    Raises:
        ParameterError: the device asked for is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    device = torch.device(name)
    if not there[device.type] or (device.index or 0) >= max(1, torch.cuda.device_count()):
        raise ParameterError(f"device: {name} is not there on this machine; use auto or cpu")
    return device


def machine(device: torch.device) -> str:
    """The GPU, or the processor and its cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = platform.machine()
    with contextlib.suppress(OSError):  # Linux alone has it
        cpu += "".join(re.findall(r"^model name\s*:( .+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)[:1])
    return f"{cpu}, {os.cpu_count()} cores"
