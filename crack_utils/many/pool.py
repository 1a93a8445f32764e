"""Members side by side, each in a process of its own."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from crack_utils.data import ensure_sample
from crack_utils.errors import ParameterError
from crack_utils.many.members import Member
from crack_utils.many.progress import is_finished
from crack_utils.store import is_claimed, sample_folder

GIB_PER_MEMBER = 4  # a training at 640 x 360 with batch size 1 takes about 3


def slots(
    jobs: int | None = None, devices: Collection[str] = ("auto",), most: int | None = None, gpus: list[str] | None = None, cores: int = 0
) -> list[dict[str, str]]:
    """Environments for members that run side by side: one for each GPU, or as many as cores and memory allow.

    Args:
        jobs: the number of environments; default: as many as the machine can carry.
        devices: the values of ``device`` of all members.
        most: the number of members that have to run.
        gpus, cores: default: those of this machine.

    Raises:
        ParameterError: a member asks for one certain GPU.
    """
    if any(":" in device for device in devices):
        raise ParameterError("device: a sweep gives each member a GPU of its own; say cuda or auto")
    if gpus is None:
        gpus = visible_gpus(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    if set(devices) == {"cpu"}:
        gpus = []
    cores = cores or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    count = min(jobs or len(gpus) or max(1, min(cores, _memory_gib() // GIB_PER_MEMBER)), most or sys.maxsize)
    threads = {"OMP_NUM_THREADS": str(max(1, cores // count))}
    return [({"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {}) | threads for i in range(count)]


def visible_gpus(count: int) -> list[str]:
    """The names by which CUDA_VISIBLE_DEVICES calls a machine's ``count`` GPUs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible and count else [str(i) for i in range(count)]


def _memory_gib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30 if hasattr(os, "sysconf") else GIB_PER_MEMBER


class Processes:
    """The members' processes. The lock makes starting and stopping exclusive: a stop either prevents a start or sees the new process."""

    def __init__(self):
        self.stopped = False
        self._lock, self._started = threading.Lock(), []

    def start(self, command: list[str], **options: Any) -> subprocess.Popen | None:
        """Start a process. After a stop there is no new process."""
        with self._lock:
            if self.stopped:
                return None
            self._started.append(subprocess.Popen(command, **options))
            return self._started[-1]

    def stop(self) -> None:
        """End all processes, as a stop from the keyboard would."""
        with self._lock:
            self.stopped = True
        for process in self._started:
            process.terminate()


def run_members(
    members: list[Member],
    command: Callable[[Member], list[str]],
    environments: list[dict[str, str]],
    pages: bool,
    show: Callable[[dict[str, str]], None],
) -> dict[str, str]:
    """Run the unfinished members, one in each environment at a time.

    Each member is a process of its own. If one fails or is killed, the others go on. A member's output goes to ``output.log`` in the
    folder of the run. A stop also stops the members. The next call continues them.

    Args:
        command: the command line of a member.
        environments: from :func:`slots`.
        pages: a member without pages is not finished.
        show: called with all states whenever one changes.

    Returns:
        State by label: "finished", or "failed: why".
    """
    states = {member.label: "finished" if is_finished(member, pages) else "waiting" for member in members}
    waiting = [member for member in members if states[member.label] == "waiting"]
    if any(member.params.dataset == "sample" and not member.params.data_root for member in waiting):
        ensure_sample(sample_folder())  # once for all members
    processes, lock, rest = Processes(), threading.Lock(), iter(waiting)

    def change(member: Member, state: str) -> None:
        with lock:
            states[member.label] = state
            show(states)

    def work(environment: dict[str, str]) -> None:
        for member in rest:  # all environments take from the same list
            if not processes.stopped:
                change(member, "running")
                change(member, _run_one(member, command(member), environment, processes))

    show(states)
    with ThreadPoolExecutor(len(environments)) as pool:
        try:
            for done in [pool.submit(work, environment) for environment in environments]:
                done.result()
        except BaseException:
            processes.stop()
            raise
    return states


def _run_one(member: Member, command: list[str], environment: dict[str, str], processes: Processes) -> str:
    """Run a member to its end. Returns its state."""
    if is_claimed(member.run):
        return "failed: in the hands of another process"
    log = member.run.path("output.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:  # an earlier attempt's output is overwritten
        process = processes.start(command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **environment})
        status = 130 if process is None else process.wait()
    if status in (0, 130):  # 130: stopped from the keyboard
        return "stopped" if status else "finished"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    why = f"killed by signal {-status}" if status < 0 else lines[-1].removeprefix("error: ") if lines else f"exit status {status}"
    return f"failed: {why}"
