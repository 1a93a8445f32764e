"""The members of a sweep: how far each is, and running them side by side, each in a process of its own."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd

from crack_utils.config import SWEEP, usable_cores, usable_memory_gib
from crack_utils.data import ensure_sample
from crack_utils.errors import ParameterError, UserError
from crack_utils.many.members import Member
from crack_utils.store import is_claimed, load_status, report_dir, sample_folder


def is_finished(member: Member, pages: bool) -> bool:
    """Whether a member is trained with its parameters, evaluated, and rendered if ``pages``."""
    return state(member, pages) == "finished"


def state(member: Member, pages: bool) -> str:
    """The state of a member that no process works on: open, without pages (if ``pages``), or finished."""
    if not (member.run.is_trained and member.run.is_evaluated and _has_same_parameters(member)):
        return "open"
    has_pages = not pages or (report_dir(member.run.name) / "index.html").is_file()
    return "finished" if has_pages else "without pages"


def described(member: Member, pages: bool) -> str:
    """The state of a member in words, with the reason for an ending before the end."""
    found, status = state(member, pages), load_status(member.run)
    return status.label if found == "open" and status and _has_same_parameters(member) else found


def _has_same_parameters(member: Member) -> bool:
    """Whether the run's folder holds a training with the member's parameters."""
    with contextlib.suppress(UserError):  # a run with an unreadable file is not finished; running the member says why
        return not member.run.params.load().differences(member.params)
    return False


def progress_table(members: list[Member], states: dict[str, str]) -> pd.DataFrame:
    """Epochs, F1 and state of each member. ``states`` has the states by label."""
    rows = []
    for member in members:
        history, test_f1 = pd.DataFrame({"epoch": [], "val_f1": []}), float("nan")
        if _has_same_parameters(member):
            with contextlib.suppress(UserError):  # a file does not exist yet
                history = member.run.history.load()
                test_f1 = member.run.metrics.load()["segmentation_2px"]["f1"]
        rows.append(
            {
                "member": member.label or member.run.name,
                "epoch": f"{len(history)}/{member.params.epochs}",
                "val F1": history["val_f1"].max(),
                "test F1": test_f1,
                "state": states[member.label],
            }
        )
    return pd.DataFrame(rows)


def printer(members: list[Member]) -> Callable[[dict[str, str]], None]:
    """A function that shows the states: a terminal shows one table, redrawn in place; elsewhere each change is a line."""
    shown: dict[str, str] = {}
    drawn = 0

    def show(states: dict[str, str]) -> None:
        nonlocal drawn
        if not sys.stdout.isatty():
            if not shown:
                print(f"finished before: {sum(state == 'finished' for state in states.values())}", flush=True)
            for label in [label for label, state in states.items() if shown and shown[label] != state]:
                print(f"{label or members[0].run.name}: {states[label]}", flush=True)
            shown.update(states)
            return
        lines = fitted(progress_table(members, states), *shutil.get_terminal_size())
        print(f"\x1b[{drawn}A\x1b[J" * bool(drawn) + "\n".join(lines), flush=True)
        drawn = len(lines)

    return show


def fitted(table: pd.DataFrame, columns: int, lines: int) -> list[str]:
    """A progress table as lines that fit a terminal of this size. The first line counts the states.

    If there are more members than lines, only running and failed members have a line.
    """
    counts = table["state"].str.partition(":")[0].value_counts()
    head = ", ".join(f"{count} {state}" for state, count in counts.items())
    if len(table) + 2 >= lines:
        table = table[table["state"].str.match("running|failed")].head(max(1, lines - 4))
    text = text_of(table).splitlines() if len(table) else []
    return [line[: columns - 1] for line in (head, *text)]


def text_of(table: pd.DataFrame) -> str:
    """A progress table as text."""
    return table.to_string(index=False, na_rep="", float_format="{:.4f}".format)


GIB_PER_MEMBER = 4  # a training at 640 x 360 with batch size 1 takes about 3


def slots(
    jobs: int | None = None,
    devices: Collection[str] = ("auto",),
    members: int | None = None,
    most: int | None = None,
    gpus: list[str] | None = None,
    cores: int = 0,
) -> list[dict[str, str]]:
    """Environments for ``jobs`` members that run side by side: by default one for each GPU, or as many as cores and memory allow.

    ``devices`` are the values of ``device`` of all ``members``, of which ``most`` still have to run. By default, ``gpus`` and ``cores`` are
    those that this process may use.

    Raises:
        ParameterError: a member asks for one certain GPU.
    """
    import torch  # here, because commands that only list members need no torch

    if any(":" in device for device in devices):
        raise ParameterError("device: a sweep gives each member a GPU of its own; say cuda or auto")
    if gpus is None:
        gpus = visible_gpus(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    if set(devices) == {"cpu"}:
        gpus = []
    cores = cores or usable_cores()
    count = jobs or len(gpus) or max(1, min(cores, int(min(cores, usable_memory_gib() / GIB_PER_MEMBER))))
    # The last digits depend on the number of threads, so a resumed sweep has the same number, however few members it still has to run.
    threads = {"OMP_NUM_THREADS": str(max(1, cores // min(count, members or count)))}
    count = min(count, most or members or count)
    return [({"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {}) | threads for i in range(count)]


def visible_gpus(count: int) -> list[str]:
    """The names by which CUDA_VISIBLE_DEVICES calls a machine's ``count`` GPUs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible and count else [str(i) for i in range(count)]


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

    Each member is a process of its own. If one fails or is killed, the others go on. Its output goes to ``output.log`` in the folder of
    the run. A stop also stops the members. The next call continues them.
    ``command`` gives a member's command line; ``environments`` come from :func:`slots`; a member without ``pages`` is not finished;
    ``show`` gets all states whenever one changes. Returns the states by label: "finished", or "failed: why".
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
        process = processes.start(
            command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **environment, SWEEP: str(os.getpid())}
        )
        status = 130 if process is None else process.wait()
    if status in (0, 130, 143):  # stopped by SIGINT or SIGTERM
        return "stopped" if status else "finished"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    why = f"killed by signal {-status}" if status < 0 else lines[-1].removeprefix("error: ") if lines else f"exit status {status}"
    return f"failed: {why}"
