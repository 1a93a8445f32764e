"""What a run was computed with."""

import contextlib
import datetime
import importlib.metadata
import platform
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import torch

import crack_utils
from crack_utils.networks.devices import machine
from crack_utils.store.places import REPOSITORY
from crack_utils.store.run import Run

PACKAGES = (
    *("crack-utils", "torch", "torchvision", "numpy", "scipy", "pandas", "pillow", "opencv-python-headless", "scikit-image"),
    *("safetensors", "pydantic", "matplotlib", "segmentation-models-pytorch", "papermill", "nbconvert", "ipywidgets"),
)
_STATE = ("machine", "device", "python", "os", "packages", "code")  # what may differ between a run's sessions


@contextlib.contextmanager
def recorded(run: Run, step: str, device: torch.device) -> Iterator[None]:
    """Keep in provenance.json what the block is computed with and how long it takes, also if it is stopped or fails.

    A training that goes on adds its time to that of its earlier sessions; the rest of the record is of the last session, with the
    names of what was another before under ``changed``.

    Args:
        step: training or evaluation.
    """
    kept, started = run.load_provenance(), time.perf_counter()
    about = record(device, run.load_params().seed)
    if step == "training" and step in kept:
        earlier = kept[step]
        about |= {"started": earlier["started"], "duration_s": earlier["duration_s"], "sessions": earlier["sessions"] + 1}
        about["changed"] = sorted({*earlier["changed"], *_differing(earlier, about)})
    before_s = about["duration_s"]
    run.save_provenance(kept | {step: about})
    try:
        yield
    finally:
        about["duration_s"] = round(before_s + time.perf_counter() - started, 2)
        run.save_provenance(kept | {step: about})


def record(device: torch.device, seed: int) -> dict[str, Any]:
    """What a step that begins now on this device is computed with, ready for JSON."""
    return {
        "started": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "duration_s": 0.0,  # wall clock
        "sessions": 1,
        "changed": [],
        "machine": machine(device),
        "device": str(device),
        "precision": "float32" + (", TF32 in convolutions" if device.type == "cuda" and torch.backends.cudnn.allow_tf32 else ""),
        "seed": seed,
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()}",
        "packages": _packages(),
        "code": {"version": crack_utils.__version__, **_commit()},
    }


def _differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    return [name for name in _STATE if a[name] != b[name]]


def _packages() -> dict[str, str]:
    """Versions of those of PACKAGES that are installed."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _commit() -> dict[str, Any]:
    """The commit that is checked out, None where there is no checkout, and whether the package differs from it."""
    repository = REPOSITORY
    unknown = {"commit": None, "dirty": False}
    if not (repository / ".git").exists():  # installed somewhere: a repository further up is another project's
        return unknown
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--", "crack_utils"]
    try:
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return unknown
    commit = re.search(r"^# branch.oid ([0-9a-f]+)$", done.stdout, re.MULTILINE)
    dirty = any(not line.startswith("#") for line in done.stdout.splitlines())
    return {"commit": commit[1], "dirty": dirty} if commit else unknown
