"""Many runs from one file: its members, and running them side by side.

A configuration is a sweep if it holds, beside the parameters all members share, the key ``sweep`` with any of ``grid`` (parameter:
list of values, every combination), ``members`` (name: its parameters, instead of a grid) and ``seeds`` (a list).
"""

import contextlib
import dataclasses
import itertools
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from crack_utils import artifacts
from crack_utils.artifacts import Run
from crack_utils.config import RunParameters, check_names, check_run_name, parse_parameters, read_yaml, resolve_folders
from crack_utils.errors import ParameterError, UserError
from crack_utils.sample import ensure_sample

GIB_PER_MEMBER = 4  # a training at 640 x 360 with batch size 1 takes about 3


@dataclasses.dataclass(frozen=True)
class Member:
    """One run of a configuration file; ``label`` is empty where the file is no sweep."""

    label: str
    run: Run
    params: RunParameters


# --- what a file holds -----------------------------------------------------------------------------------------------


def read_members(path: Path | str, overrides: list[list[str]] | None = None) -> list[Member]:
    """The runs a configuration file holds: one, or those of its sweep.

    The file's name is its path under ``runs/`` without suffix (elsewhere: its own), unless ``run_name`` is overridden; the members
    of a sweep lie in a folder of that name. Relative folders count from the repository in the file, from the current folder in an
    override. Overrides win over all that the file says.

    Raises:
        ParameterError: naming what is wrong, and in which member.
    """
    path = Path(path)
    values = resolve_folders(read_yaml(path), base=artifacts.home())
    given: dict[str, Any] = {name: None if value in ("None", "null") else value for name, value in overrides or []}
    name = check_run_name(given.pop("run_name", _name_of(path.resolve().with_suffix(""))))
    given = resolve_folders(given)
    if "sweep" not in values:
        return [Member("", Run(name), parse_parameters(values | given))]
    combinations = _combinations(values.pop("sweep"), path)
    swept = [key for _, differing in combinations for key in differing if key in given]
    if swept:
        raise ParameterError(f"{swept[0]} is what the sweep {path} varies; override another parameter, or edit the file")
    members = [_member(name, label, values | differing | given) for label, differing in combinations]
    first: dict[tuple[str, str | None], str] = {}
    for member in members:
        same = first.setdefault((member.params.fingerprint(), member.params.record_run), member.label)
        if same != member.label:
            raise ParameterError(f"sweep in {path}: {same} and {member.label} have the same parameters; list every value once")
    return members


def _name_of(file: Path) -> str:
    homes = [folder for folder in ((artifacts.home() / "runs").resolve(), artifacts.REPOSITORY / "runs") if file.is_relative_to(folder)]
    return file.relative_to(homes[0]).as_posix() if homes else file.name


def _member(sweep_name: str, label: str, values: dict[str, Any]) -> Member:
    try:
        return Member(label, Run(f"{sweep_name}/{label}"), parse_parameters(values))
    except ParameterError as error:
        raise ParameterError(f"member {label}: {error}") from None


def _combinations(sweep: Any, path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Label and differing parameters of each member."""
    if not isinstance(sweep, dict) or not sweep:
        raise ParameterError(f"sweep in {path}: should hold grid, members or seeds, got {sweep!r}")
    check_names(sweep, ("grid", "members", "seeds"), f"key of sweep in {path}:")
    grid, members, seeds = (
        empty if sweep.get(key) is None else sweep[key] for key, empty in (("grid", {}), ("members", {}), ("seeds", []))
    )
    if grid and members:
        raise ParameterError(f"sweep in {path}: give grid or members, not both")
    if not isinstance(grid, dict) or not all(isinstance(values, list) and values for values in grid.values()):
        raise ParameterError(f"sweep in {path}: grid should hold 'parameter: [value, ...]' lines, got {grid!r}")
    if not isinstance(members, dict) or not all(isinstance(values, dict | None) for values in members.values()):
        raise ParameterError(f"sweep in {path}: members should hold 'name: {{parameter: value}}' lines, got {members!r}")
    if not isinstance(seeds, list):
        raise ParameterError(f"sweep in {path}: seeds should be a list such as [101, 102], got {seeds!r}")
    if not (grid or members or seeds):
        raise ParameterError(f"sweep in {path}: it has no members; give grid, members or seeds")
    if seeds and any("seed" in values for values in (grid, *(each or {} for each in members.values()))):
        raise ParameterError(f"sweep in {path}: seed stands beside seeds; give one of them")
    named = [(str(label), values or {}) for label, values in members.items()] or [
        ("_".join(f"{name}-{value}" for name, value in zip(grid, values, strict=True)), dict(zip(grid, values, strict=True)))
        for values in itertools.product(*grid.values())
    ]
    found = [
        (re.sub(r"[^\w.+-]+", "-", "_".join(part for part in (label, *at) if part)), values | seed)
        for label, values in named
        for at, seed in ([((f"seed{number}",), {"seed": number}) for number in seeds] or [((), {})])
    ]
    for label, times in Counter(label for label, _ in found).items():
        if times > 1:
            raise ParameterError(f"sweep in {path}: {times} members would be called {label}; list every value once, or name the members")
    return found


def pick_member(path: Path | str, overrides: list[list[str]] | None = None, label: str | None = None) -> Member:
    """The only run of a configuration file, or the member of a sweep that ``label`` names.

    Raises:
        ParameterError: there is no such member, or it takes a label to tell which.
    """
    members = {member.label: member for member in read_members(path, overrides)}
    if label is None and "" not in members:
        raise ParameterError(
            f"{path} is a sweep of {len(members)} runs: use the command sweep, or --member with one of {', '.join(members)}"
        )
    if label is not None and "" in members:
        raise ParameterError(f"{path} is one run, no sweep: leave --member out")
    if label is not None:
        check_names({label: None}, members, "member")
    return members[label or ""]


# --- progress --------------------------------------------------------------------------------------------------------


def is_finished(member: Member, pages: bool) -> bool:
    """Whether a member was trained with these parameters and evaluated, and has its pages if it should."""
    return state(member, pages) == "finished"


def state(member: Member, pages: bool) -> str:
    """How far a member is that nobody works on: open, without pages (if it should have them), or finished."""
    if not (member.run.is_trained and member.run.is_evaluated and _is_of(member)):
        return "open"
    has_pages = not pages or (artifacts.report_dir(member.run.name) / "index.html").is_file()
    return "finished" if has_pages else "without pages"


def _is_of(member: Member) -> bool:
    """Whether the run's folder holds a training with the member's parameters."""
    with contextlib.suppress(UserError):  # what cannot be read is not finished: running the member says why
        return not member.run.load_params().differences(member.params)
    return False


def progress_table(members: list[Member], states: dict[str, str]) -> pd.DataFrame:
    """How far each member is, from its artifacts; ``states`` by label."""
    rows = []
    for member in members:
        history, test_f1 = pd.DataFrame({"epoch": [], "val_f1": []}), float("nan")
        if _is_of(member):
            with contextlib.suppress(UserError):  # not there yet
                history = member.run.load_history()
                test_f1 = member.run.load_metrics()["segmentation_2px"]["f1"]
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


# --- running ---------------------------------------------------------------------------------------------------------


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
        ensure_sample(artifacts.sample_folder())  # once, not once a member
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
    if member.run.is_claimed:
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


def member_command(path: str, overrides: list[list[str]], pages: bool, overwrite: bool = False) -> Callable[[Member], list[str]]:
    """The command line that runs one member of a file, as a cluster's engine would submit it."""

    def command(member: Member) -> list[str]:
        words = [sys.executable, "-m", "crack_utils", "run", path, *(["--member", member.label] if member.label else [])]
        words += [word for pair in overrides for word in ("-p", *pair)]
        return words + ["--no-pages"] * (not pages) + ["--overwrite"] * overwrite

    return command


def printer(members: list[Member]) -> Callable[[dict[str, str]], None]:
    """A function that shows the progress table: redrawn in place on a terminal, else a line for each change and the table at the end."""
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
    """The lines of a progress table that a terminal can redraw: none longer than it is wide, and of more members than it has lines
    only those that run or failed, behind a count of all."""
    counts = table["state"].str.partition(":")[0].value_counts()
    head = ", ".join(f"{count} {state}" for state, count in counts.items())
    if len(table) + 2 >= lines:
        table = table[table["state"].str.match("running|failed")].head(max(1, lines - 4))
    text = text_of(table).splitlines() if len(table) else []
    return [line[: columns - 1] for line in (head, *text)]


def text_of(table: pd.DataFrame) -> str:
    """A progress table as text."""
    return table.to_string(index=False, na_rep="", float_format="{:.4f}".format)
