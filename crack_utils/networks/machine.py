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


def resolve_device(name: str) -> torch.device:
    """The device of this name; ``auto`` takes cuda, then mps, then cpu. Raise ParameterError if this machine has no such device."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    device = torch.device(name)
    if not there[device.type] or (device.index or 0) >= max(1, torch.cuda.device_count()):
        raise ParameterError(f"device: this machine has no {name}; use auto or cpu")
    return device


def hardware(device: torch.device) -> dict[str, Any]:
    """The machine, the number of CPU threads, the device and the precision, for the run's provenance."""
    is_tf32 = device.type == "cuda" and torch.backends.cudnn.allow_tf32
    precision = "float32, TF32 in convolutions" if is_tf32 else "float32"
    return {"machine": machine(device), "threads": torch.get_num_threads(), "device": str(device), "precision": precision}


def machine(device: torch.device) -> str:
    """The GPU's name, or the processor and the number of cores that this process may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = platform.machine()
    with contextlib.suppress(OSError):  # only Linux has this file
        cpu += "".join(re.findall(r"^model name\s*:( .+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)[:1])
    return f"{cpu}, {usable_cores()} cores"


@contextlib.contextmanager
def computing(device: torch.device, threads: int | None = None, processes: int = 1) -> Iterator[dict[str, Any]]:
    """Compute with as many CPU threads as an earlier session did: the last digits of sums depend on this number.

    Never with more threads than this process's share of the cores, if so many ``processes`` compute together on this machine. The variable
    OMP_NUM_THREADS, if set, decides alone. The block gets the :func:`hardware`.
    """
    before = torch.get_num_threads()
    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(min(threads or before, max(1, usable_cores() // processes)))
    try:
        with memory_kept() if device.type == "cpu" else contextlib.nullcontext():
            yield hardware(device)
    finally:
        torch.set_num_threads(before)
