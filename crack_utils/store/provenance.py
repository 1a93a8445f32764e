"""What a run is computed with. It contains no name of a user, a host or a folder, because people share pages."""

import contextlib
import importlib.metadata
import platform
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import crack_utils
from crack_utils.errors import UserError
from crack_utils.store.files import REPOSITORY, timestamp
from crack_utils.store.run import Run

PACKAGES = (
    *("crack-utils", "torch", "torchvision", "numpy", "scipy", "pandas", "pillow", "opencv-python-headless", "scikit-image"),
    *("safetensors", "pydantic", "matplotlib", "segmentation-models-pytorch", "papermill", "nbconvert", "ipywidgets"),
)
TOGETHER = ("processes", "backend")  # of a training by several processes
SESSION_STATE = (
    "machine",
    "threads",
    "device",
    "precision",
    "python",
    "os",
    "packages",
    "code",
)  # may differ between the sessions of a run


@contextlib.contextmanager
def recorded(run: Run, step: str, hardware: dict[str, Any]) -> Iterator[None]:
    """Record in provenance.json the software and hardware of the block and the time that the block takes, even if the block fails.

    The step is training or evaluation. A resumed training adds its time to the time of its earlier sessions. The other values are those
    of the last session; ``changed`` names the values that differed in an earlier session.
    """
    kept, began = run.provenance.load(), time.perf_counter()
    session = {"started": timestamp(), "duration_s": 0.0, "sessions": 1, "changed": []}  # duration: wall clock
    session |= {**hardware, "seed": run.params.load().seed, **software()}
    if step == "training" and step in kept:
        earlier = kept[step]
        session |= {"started": earlier["started"], "duration_s": earlier["duration_s"], "sessions": earlier["sessions"] + 1}
        session["changed"] = sorted({*earlier["changed"], *changed_state(earlier, session, (*SESSION_STATE, *TOGETHER))})
    before_s = session["duration_s"]
    run.provenance.save(kept | {step: session})
    try:
        yield
    finally:
        session["duration_s"] = round(before_s + time.perf_counter() - began, 2)
        with contextlib.suppress(UserError):  # a full disk; the error of the block matters more
            run.provenance.save(kept | {step: session})


def trained_with(run: Run) -> int | None:
    """The number of CPU threads that trained the run; None if it is not known."""
    return run.provenance.load().get("training", {}).get("threads")


def computed_in(run: Run) -> str:
    """The precision that trains the run: fp32, tf32 or bf16. Runs of an earlier version took float32, on a GPU with TF32."""
    kept = run.params.resolved()
    if kept["precision"] != "auto":
        return kept["precision"]
    return "tf32" if kept["device"].startswith("cuda") else "fp32"


def software() -> dict[str, Any]:
    """Versions of Python, the system, those of PACKAGES that are installed, and this project's code."""
    packages = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            packages[name] = importlib.metadata.version(name)
    return {
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()}",
        "packages": packages,
        "code": {"version": crack_utils.__version__, **commit(REPOSITORY)},
    }


def changed_state(one: dict[str, Any], other: dict[str, Any], names: Sequence[str] = SESSION_STATE) -> list[str]:
    """The values with these names that differ between two sessions."""
    return [name for name in names if one.get(name) != other.get(name)]


def commit(repository: Path) -> dict[str, Any]:
    """The commit that is checked out, and whether the package differs from this commit. Without a checkout the commit is None."""
    unknown = {"commit": None, "dirty": False}
    if not (repository / ".git").exists():  # an installed package; a repository above belongs to another project
        return unknown
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--", "crack_utils"]
    try:
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return unknown
    head = re.search(r"^# branch.oid ([0-9a-f]+)$", done.stdout, re.MULTILINE)
    dirty = any(not line.startswith("#") for line in done.stdout.splitlines())
    return {"commit": head[1], "dirty": dirty} if head else unknown
