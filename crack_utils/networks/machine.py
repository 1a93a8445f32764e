"""The machine: its devices, and the number of threads."""

import contextlib
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from crack_utils.config import usable_cores
from crack_utils.errors import ParameterError
from crack_utils.networks.memory import memory_kept
from crack_utils.networks.precision import describe_precision, tf32


def resolve_device(name: str) -> torch.device:
    """The device of this name; ``auto`` takes cuda, then mps, then cpu. Raise ParameterError if this machine has no such device."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    device = torch.device(name)
    if not there[device.type] or (device.index or 0) >= max(1, torch.cuda.device_count()):
        raise ParameterError(f"device: this machine has no {name}; use auto or cpu")
    return device


def hardware(device: torch.device, precision: str = "fp32") -> dict[str, Any]:
    """The machine, the number of CPU threads, the device and the precision, for the run's provenance."""
    about = {"machine": machine(device), "threads": torch.get_num_threads(), "device": str(device)}
    return about | {"precision": describe_precision(precision, device)}


def machine(device: torch.device) -> str:
    """The GPU's name, or the processor and the number of cores that this process may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = platform.machine()
    with contextlib.suppress(OSError):  # only Linux has this file
        cpu += "".join(re.findall(r"^model name\s*:( .+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)[:1])
    return f"{cpu}, {usable_cores()} cores"


@contextlib.contextmanager
def computing(device: torch.device, threads: int | None = None, precision: str = "fp32", processes: int = 1) -> Iterator[dict[str, Any]]:
    """Compute with as many CPU threads as an earlier session did: the last digits of sums depend on this number.

    Never with more threads than this process's share of the cores, if so many ``processes`` compute together on this machine. The variable
    OMP_NUM_THREADS, if set, decides alone. TF32 is used only in the ``precision`` tf32. The block gets the :func:`hardware`.
    """
    before = torch.get_num_threads()
    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(min(threads or before, max(1, usable_cores() // processes)))
    try:
        with memory_kept() if device.type == "cpu" else contextlib.nullcontext(), tf32(precision == "tf32"):
            yield hardware(device, precision)
    finally:
        torch.set_num_threads(before)
