"""Members run side by side."""

import os
import queue
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


def slots(jobs: int | None = None, devices: Collection[str] = ("auto",), most: int | None = None) -> list[dict[str, str]]:
    """The environments members run in side by side: one a GPU, else as many as cores and memory carry.

    Args:
        jobs: how many; default: what the machine carries.
        devices: what the members' parameters ask for.
        most: how many there is work for.

    Raises:
        ParameterError: a member asks for one certain GPU.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if any(":" in device for device in devices):
        raise ParameterError("device: a sweep gives each member a GPU of its own; say cuda or auto")
    if torch.cuda.is_available() and set(devices) != {"cpu"}:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        gpus = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
        count = min(jobs or len(gpus), most or sys.maxsize)
        threads = str(max(1, cores // count))
        return [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)], "OMP_NUM_THREADS": threads} for i in range(count)]
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30 if hasattr(os, "sysconf") else GIB_PER_MEMBER
    count = min(jobs or max(1, min(cores, gib // GIB_PER_MEMBER)), most or sys.maxsize)
    return [{"OMP_NUM_THREADS": str(max(1, cores // count))}] * count


def run_members(
    members: list[Member],
    command: Callable[[Member], list[str]],
    environments: list[dict[str, str]],
    pages: bool,
    show: Callable[[dict[str, str]], None],
) -> dict[str, str]:
    """Run the members that are not finished, one in each environment at a time.

    Each is a process of its own: one that fails, or is killed, takes no other with it. What it prints goes to ``output.log`` in its
    run's folder. Stopped, it stops its members too; the next time they go on.

    Args:
        command: the command line of a member.
        environments: from :func:`slots`.
        pages: members without pages are not finished.
        show: called with the states whenever one changes.

    Returns:
        State by label: "finished", or "failed: why".
    """
    states = {member.label: "finished" if is_finished(member, pages) else "waiting" for member in members}
    waiting = [member for member in members if states[member.label] == "waiting"]
    if any(member.params.dataset == "sample" and not member.params.data_root for member in waiting):
        ensure_sample(sample_folder())  # once, not once a member
    free: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
    for environment in environments:
        free.put(environment)
    running: list[subprocess.Popen] = []
    stopped = False
    lock, starting = threading.Lock(), threading.Lock()

    def start(*words: Any, **options: Any) -> subprocess.Popen | None:
        with starting:  # so that a stop comes before it, and it is not done, or behind it, and finds the process
            process = None if stopped else subprocess.Popen(*words, **options)
            running.extend([process] if process else [])
            return process

    def note(label: str, state: str) -> None:
        with lock:
            states[label] = state
            show(states)

    def work(member: Member) -> None:
        environment = free.get()
        try:
            if stopped:
                return
            note(member.label, "running")
            note(member.label, _run_one(member, command(member), environment, start))
        finally:
            free.put(environment)

    show(states)
    with ThreadPoolExecutor(len(environments)) as pool:
        try:
            for done in [pool.submit(work, member) for member in waiting]:
                done.result()
        except BaseException:
            with starting:
                stopped = True
            for process in running:
                process.terminate()  # the command line takes it as it takes a stop from the keyboard
            raise
    return states


def _run_one(member: Member, command: list[str], environment: dict[str, str], start: Callable[..., subprocess.Popen | None]) -> str:
    if is_claimed(member.run):
        return "failed: in the hands of another process"
    log = member.run.path("output.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:  # of this attempt alone
        process = start(command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **environment})
        if process is None:
            return "stopped"
        status = process.wait()
    if status == 0:
        return "finished"
    if status == 130:
        return "stopped"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    why = f"killed by signal {-status}" if status < 0 else lines[-1].removeprefix("error: ") if lines else f"exit status {status}"
    return f"failed: {why}"
