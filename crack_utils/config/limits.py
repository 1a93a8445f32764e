"""What this process may use of its machine: not all, in a container or in the job of a cluster."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

SWEEP = "CRACK_SWEEP"  # this environment variable tells a member of a sweep the process of the sweep
LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR")  # torchrun sets these environment variables
CGROUPS = Path("/sys/fs/cgroup")  # where Linux keeps the limits of containers and of jobs
OWN_GROUPS = Path("/proc/self/cgroup")
V1_FILES = {"cpu.max": "cpu/{}/cpu.cfs_quota_us cpu/{}/cpu.cfs_period_us", "memory.max": "memory/{}/memory.limit_in_bytes"}


def usable_cores(cgroups: Path = CGROUPS, own: Path = OWN_GROUPS) -> int:
    """The number of cores that this process may use: those of the machine, of its affinity, or of its container, whichever is least."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [int(quota) / int(period) for quota, period in _limits("cpu.max", cgroups, own) if quota not in ("max", "-1")]
    return max(1, min([cores, *map(int, shares)]))


def usable_memory_gib(cgroups: Path = CGROUPS, own: Path = OWN_GROUPS) -> float:
    """The memory in GiB that this process may use: that of the machine or of its container. Infinite if the system tells neither."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else float("inf")
    return min([machine, *(int(size) for (size,) in _limits("memory.max", cgroups, own) if size != "max")]) / 2**30


def launched_processes() -> int:
    """The number of processes that torchrun has started on all machines, with this one; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in LAUNCHED) else 1


def kills_for_memory() -> int:
    """How many processes this machine has killed because memory ran out; 0 if the system does not tell."""
    with contextlib.suppress(OSError):
        return sum(map(int, re.findall(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(encoding="utf-8"), re.MULTILINE)))
    return 0


def _limits(name: str, cgroups: Path, own: Path) -> Iterator[list[str]]:
    """The words of a control group's limit, for the group of this process and each group around it, of both versions of control groups."""
    with contextlib.suppress(OSError):
        named = {Path(line.split(":", 2)[2].strip("/")) for line in own.read_text(encoding="utf-8").splitlines()}
        for group in named.union(*(inner.parents for inner in named)):
            for files in (f"{{}}/{name}", V1_FILES[name]):
                with contextlib.suppress(OSError):
                    yield [word for file in files.split() for word in (cgroups / file.format(group)).read_text(encoding="utf-8").split()]
