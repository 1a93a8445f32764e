"""Stop short trainings at random moments, and start two processes on one run. Nothing may be lost.

``python -m tests.faults`` takes about half an hour on two cores, and ``--quick`` a few minutes. A kill starts a run in one of four ways
and hits it by one of four signals. Then the same command is given again until it finishes, and the run is compared with an unbroken one.
The exit status is 1 if anything differs from what is promised.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))
from conftest import REPOSITORY, write_dataset

from crack_utils.store import Run, is_claimed, load_status, report_dir

EPOCHS, CHECKPOINTS = 3, (1, 3)
PARAMETERS = {"dataset": "crack500", "epochs": EPOCHS, "validation_n_epochs": 2, "hard_negative_mining": 0.5, "device": "cpu"}
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGKILL to the child": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "Ctrl-C": signal.SIGINT}
WAYS = ("train", "run", "papermill", "sweep")
PAPERMILL_SIGTERM = "SIGTERM to papermill, which dies of it, and its kernel too"  # papermill has no handler: as bad as SIGKILL
ORPHANS_S = 15  # a kernel and a worker of a loader look every few seconds whether their parent lives
LIMIT_S = 400
ONE_BATCH = 1  # images

# Python runs this in every process of this program: it notes each image that a training has done.
TRACER = """
import importlib.util, os, sys, time
class Finder:
    def find_spec(self, name, path, target=None):
        if name != "crack_utils.training.loop":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        spec.loader.exec_module = lambda module, run=spec.loader.exec_module: (run(module), trace(module.Training))
        return spec
def trace(training):
    keep = training._keep
    def _keep(self, images, results):
        keep(self, images, results)
        with open(os.environ["FAULTS_TRACE"], "a") as file:
            file.write(f"{time.time()} {self.run.name} {len(self.history)} {self.n_done} {self.results.shape[1]}\\n")
    training._keep = _keep
sys.meta_path.insert(0, Finder())
"""


@dataclass
class Place:
    """The folder of everything: the data, CRACK_HOME, configurations, traces, and what the processes said."""

    folder: Path
    times: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        for name in ("home/runs", "traces", "said", "hook"):
            (self.folder / name).mkdir(parents=True)
        write_dataset(self.folder / "data", train=3, negatives=1)
        self.parameters = {**PARAMETERS, "data_root": str(self.folder / "data")}
        (self.folder / "hook" / "sitecustomize.py").write_text(TRACER)
        for name, more in {"one": {}, "two": {"sweep": {"seeds": [0, 1]}}}.items():
            (self.folder / f"{name}.yaml").write_text(json.dumps(self.parameters | more))
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a program in the background passes on that it ignores Ctrl-C
        os.environ["CRACK_HOME"] = str(self.folder / "home")  # also of this process, which reads the runs

    def command(self, way: str, name: str, workers: int = 0) -> list[str]:
        """The command line of one of the ways, for a run (or a sweep) of this name."""
        python = [sys.executable, "-m", "crack_utils"]
        given = ["-p", "run_name", name, "-p", "num_workers", str(workers)]
        if way == "papermill":
            more = [word for pair in self.parameters.items() for word in ("-p", *map(str, pair))]
            return [sys.executable, "-m", "papermill", "train.ipynb", str(self.folder / f"{name}.ipynb"), *given, *more]
        if way == "sweep":
            return [*python, "sweep", str(self.folder / "two.yaml"), *given, "--jobs", "2", "--no-pages"]
        if way in ("evaluate", "render"):
            return [*python, way, name]
        more = ["--overwrite", "-p", "seed", "1"] if way == "run --overwrite" else []
        return [*python, way.split()[0], str(self.folder / "one.yaml"), *given, *more]

    def start(self, case: str, command: list[str], process: str = "") -> subprocess.Popen:
        """Start a command in a session of its own. All processes of a case have its name in their environment."""
        paths = os.pathsep.join([str(self.folder / "hook"), str(REPOSITORY)])
        trace = str(self.folder / "traces" / case)
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "FAULTS_CASE": case, "FAULTS_TRACE": trace}
        cwd = REPOSITORY / "notebooks" if "papermill" in command else REPOSITORY
        with (self.folder / "said" / f"{case}{process}.txt").open("ab") as said:
            return subprocess.Popen(command, cwd=cwd, env=environment, stdout=said, stderr=said, start_new_session=True)

    def said(self, case: str, process: str = "") -> list[str]:
        """The lines that a process of a case wrote."""
        return (self.folder / "said" / f"{case}{process}.txt").read_text(errors="replace").splitlines()

    def traced(self, case: str, since: float, until: float = float("inf")) -> list[list[str]]:
        """The images done in this time: time, run, whole epochs before, images of the epoch, images in an epoch."""
        path = self.folder / "traces" / case
        lines = [line.split() for line in path.read_text().splitlines()] if path.is_file() else []
        return [line for line in lines if since <= float(line[0]) <= until]


def processes(case: str) -> list[psutil.Process]:
    """The living processes of a case."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("FAULTS_CASE") == case and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def waited(condition, limit_s: float, step_s: float = 0.02) -> bool:
    """Wait until the condition holds. Returns whether it holds."""
    end = time.time() + limit_s
    while not (holds := condition()) and time.time() < end:
        time.sleep(step_s)
    return bool(holds)


def images_kept(run: Run, per_epoch: int) -> int:
    """How many images of its training a run still has."""
    if run.is_trained:
        return EPOCHS * per_epoch
    state = run.checkpoint.load() or {"history": []}
    results = state.get("position", {}).get("results")
    return len(state["history"]) * per_epoch + (0 if results is None else results.shape[1])


def differences(name: str, reference: str) -> list[str]:
    """The files in which a finished run differs from an unbroken one."""
    run, whole = Run(name), Run(reference)
    if not run.is_trained:
        return ["not trained"]
    files = ["model.safetensors", *(("metrics.json", "per_image.csv") if run.is_evaluated else ())]
    found = [file for file in files if run.path(file).read_bytes() != whole.path(file).read_bytes()]
    histories = [each.history.load().drop(columns="time_s") for each in (run, whole)]
    return found + ([] if histories[0].equals(histories[1]) else ["history.csv"])


class Kill:
    """One run that is stopped once or twice, and then finished."""

    def __init__(self, place: Place, number: int, way: str, signals: list[str], rng: random.Random):
        self.place, self.way, self.signals, self.rng = place, way, signals, rng
        self.case = f"kill{number:03d}"
        workers = 1 if way == "train" and "SIGKILL to the child" in signals else rng.choice([0, 1])
        self.command = place.command(way, self.case, workers)
        self.runs = [Run(f"{self.case}/seed{seed}") for seed in (0, 1)] if way == "sweep" else [Run(self.case)]
        self.kept = {run.name: 0 for run in self.runs}
        self.moments, self.lost, self.wrong, self.statuses = [], 0, [], []

    def row(self) -> dict[str, object]:
        """Stop, continue to the end, compare. Returns the row of the table."""
        for name in self.signals:
            self._stop(name)
        for _ in range(2):
            process = self.place.start(self.case, self.command)
            if self._ended(process) == 0:
                break
        self._check(process.returncode == 0, f"the command does not finish: {self.place.said(self.case)[-1:]}")
        for run, reference in zip(self.runs, ("two/seed0", "two/seed1"), strict=False):
            self.wrong += differences(run.name, reference)
            status = load_status(run)
            self._check(status and status.state == "finished", f"at the end the state is {status and status.label}")
        pages = [report_dir(run.name) / "index.html" for run in self.runs] if self.way == "run" else []
        self._check(all(page.is_file() and "Not finished" not in page.read_text() for page in pages), "no whole page")
        workers, moments = self.command[self.command.index("num_workers") + 1], ", then ".join(self.moments)
        row = {"way": f"{self.way} ({workers})", "signal": ", then ".join(self.signals), "moment": moments}
        status = " ".join(map(str, self.statuses))
        return {"case": self.case, **row, "status": status, "lost": self.lost, "differences": "; ".join(self.wrong) or "none"}

    def _check(self, holds: object, what: str) -> None:
        self.wrong += [] if holds else [what]

    def _ended(self, process: subprocess.Popen) -> int:
        try:
            return process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.wrong.append("it did not end")
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()

    def _moment(self, process: subprocess.Popen, started: float) -> str:
        """Wait for a random moment of the run. Returns the moment in words."""
        times, rng = self.place.times, self.rng
        images = sum(times["images"] - kept for kept in self.kept.values())
        phase = rng.choices(["start", "images", "end"], [0.2, 0.6, 0.2])[0] if images > 1 else "start"
        after = {"start": 0, "images": rng.randrange(1, max(2, images)), "end": images}[phase]
        rest_s = {"start": times["start"], "images": 0.4, "end": times["end"] if self.way in ("run", "sweep") else 1.5}[phase]
        waited(lambda: len(self.place.traced(self.case, started)) >= after or process.poll() is not None, LIMIT_S)
        wait_s = rng.uniform(0, rest_s)
        waited(lambda: process.poll() is not None, wait_s)
        return f"{wait_s:.1f} s after {f'image {after}' if after else 'the start'}"

    def _stop(self, name: str) -> None:
        started = time.time()
        process = self.place.start(self.case, self.command)
        self.moments.append(self._moment(process, started))
        sent = self._send(name, process)
        status = self._ended(process)
        self.statuses.append(status)
        waited(lambda: not processes(self.case), ORPHANS_S, 0.5)
        for left in processes(self.case):
            self.wrong.append(f"left over: {' '.join(left.cmdline()[1:5])}")
            left.kill()
        if self.way == "papermill" and name == "SIGTERM":
            name = PAPERMILL_SIGTERM
        if sent:
            self._check_status(name, status if status >= 0 or name == "SIGKILL" else 128 - status)
        else:
            self._check(status == 0, f"exit status {status} without a signal")
            self.moments[-1] += " (too late)"
        for run in self.runs:
            self._check_run(run, name if sent else "", started, sent)

    def _send(self, name: str, process: subprocess.Popen) -> float:
        """Send the signal. Returns when; 0 if the process had ended before."""
        if name == "SIGKILL to the child":
            words = "ipykernel_launcher" if self.way in ("run", "papermill") else "--member" if self.way == "sweep" else ""

            def children() -> list[psutil.Process]:
                return [each for each in processes(self.case) if each.pid != process.pid and words in " ".join(each.cmdline())]

            waited(lambda: process.poll() is not None or children(), LIMIT_S)
            chosen = children()
        else:
            chosen = [process] if process.poll() is None else []
        for each in chosen[:1]:
            sent = time.time()
            (os.killpg if name == "Ctrl-C" else os.kill)(each.pid, SIGNALS[name])  # a terminal sends Ctrl-C to all of a session
            return sent
        return 0

    def _check_status(self, name: str, status: int) -> None:
        expected = {"SIGKILL": [-9], "SIGKILL to the child": [1], "Ctrl-C": [130]}.get(name, [143])
        if self.way == "papermill":  # papermill itself chooses the status: 138 for a dead kernel
            expected += {"SIGKILL to the child": [138], "Ctrl-C": [1, 138]}.get(name, [])
        self._check(status in expected, f"exit status {status} instead of {expected}")

    def _check_run(self, run: Run, name: str, started: float, sent: float) -> None:
        """What is lost, what the state says, and whether the lock is free."""
        self._check(not is_claimed(run), "the lock is held")
        status = load_status(run)
        state = status.state if status else "none"
        killed = {"SIGKILL": ["killed"], PAPERMILL_SIGTERM: ["killed", "interrupted"], "SIGKILL to the child": ["killed", "failed"], "": []}
        true = killed.get(name, ["interrupted"])
        if self.way == "run" and name == "SIGKILL to the child":
            true = ["failed"]
        true += ["none"] if not run.folder.is_dir() or not run.status.exists else []
        true += ["finished"] if run.is_trained else []
        true += ["interrupted"] if self.way == "sweep" and name == "SIGKILL to the child" else []
        self._check(state in true, f"the state is {status.label if status else state}")
        per_epoch = self.place.times["images"] // EPOCHS
        lines = [line for line in self.place.traced(self.case, started, sent or time.time()) if line[1] == run.name]
        before = self.kept[run.name]
        done = int(lines[-1][2]) * per_epoch + int(lines[-1][3]) if lines else before
        floor = max(before, *(epoch * per_epoch for epoch in (0, *CHECKPOINTS) if epoch * per_epoch < done), 0)
        kept = self.kept[run.name] = images_kept(run, per_epoch)
        most = done - floor if name.startswith(("SIGKILL", PAPERMILL_SIGTERM)) else ONE_BATCH
        self.lost += max(0, done - kept)
        self._check(done - kept <= most, f"lost {done - kept} images, at most {most} may be lost")


# --- two processes on one run

PAIRS = {  # and how far the run is before: fresh, trained or finished
    ("train", "train"): ("fresh", "trained"),
    ("run", "run"): ("fresh", "trained", "finished"),
    ("train", "run"): ("fresh", "finished"),
    ("papermill", "train"): ("fresh",),
    ("train", "evaluate"): ("fresh", "trained"),
    ("evaluate", "evaluate"): ("trained",),
    ("run", "evaluate"): ("trained",),
    ("run", "render"): ("fresh", "trained", "finished"),
    ("render", "render"): ("finished",),
    ("run --overwrite", "train"): ("fresh", "finished"),
    ("run --overwrite", "run"): ("fresh", "finished"),
}
IN_HANDS = r"run \S+ is in the hands of another process \(process \d+ on \S+, (training|evaluation|pages) since \S+Z\); wait until .*"
REFUSALS = rf"(error: |.*UserError: ){IN_HANDS}|error: run \S+ (has not finished training|does not exist|holds a training with other).*"


def pair(place: Place, number: int, words: tuple[str, str], before: str, rng: random.Random) -> dict[str, object]:
    """Start two processes on one run. Returns the row of the table."""
    case, wrong = f"pair{number:03d}", []
    run, delay_s = Run(case), rng.uniform(0, 2)
    if before != "fresh":
        made = () if before == "finished" else ("metrics.json", "per_image.csv", "curves.csv", "*.ipynb", "predictions", "examples")
        shutil.copytree(Run("one").folder, run.folder, ignore=shutil.ignore_patterns("status.json", *made))
    first = place.start(case, place.command(words[0], case), "a")
    time.sleep(delay_s)
    second = place.start(case, place.command(words[1], case), "b")
    statuses = [process.wait(LIMIT_S) for process in (first, second)]
    last = [(place.said(case, name) or [""])[-1] for name in "ab"]
    for way, status, line in zip(words, statuses, last, strict=True):
        if status and not (status == 1 and re.fullmatch(REFUSALS, line)):
            wrong.append(f"{way} ended with {status}: {line}")
    overwritten = words[0] == "run --overwrite" and statuses[0] == 0
    wrong += [] if 0 in statuses else ["nobody did the work"]
    wrong += differences(case, "two/seed1" if overwritten else "one")
    wrong += ["not evaluated"] if before == "finished" and not run.is_evaluated else []
    log = run.log.load()
    counts = {"trainings": log.count("Training ") + log.count("Going on"), "evaluations": log.count("Final evaluation")}
    wrong += [f"{count} {name}" for name, count in counts.items() if count > 1]
    status = load_status(run)
    wrong += [] if status and status.state == "finished" and not is_claimed(run) else [f"the state is {status and status.label}"]
    wrong += [f"left over: {process.pid}" for process in processes(case)]
    refused = [way for way, status in zip(words, statuses, strict=True) if status]
    row = {"case": case, "pair": " / ".join(words), "before": before, "delay": f"{delay_s:.1f} s", "refused": ", ".join(refused) or "none"}
    return row | {"differences": "; ".join(wrong) or "none"}


# --- the program


def prepared(folder: Path) -> Place:
    """The place of everything, with two unbroken runs: ``one``, and the sweep ``two``."""
    place, started = Place(folder), time.time()
    done = [place.start("one", place.command("run", "one")), place.start("two", place.command("sweep", "two"))]
    for name, process in zip(("one", "two"), done, strict=True):
        if process.wait(LIMIT_S):
            raise SystemExit("\n".join(place.said(name)))
    lines = place.traced("one", started)
    place.times = {"images": len(lines), "start": 0.8 * (float(lines[0][0]) - started), "end": 0.5 * (time.time() - float(lines[-1][0]))}
    return place


def kills(place: Place, count: int, rng: random.Random) -> pd.DataFrame:
    """Kill runs: each way by each signal in turn. Some are killed twice. Two at a time, but sweeps, which are two processes, alone."""
    kinds = [(way, name) for name in SIGNALS for way in WAYS]
    signals = [[kinds[i % len(kinds)][1]] + (rng.choices([*SIGNALS]) if rng.random() < 0.2 else []) for i in range(count)]
    for given, (way, _) in zip(signals, kinds * count, strict=False):
        given[1:] = [] if way == "sweep" else given[1:]
    todo = [Kill(place, i, kinds[i % len(kinds)][0], given, random.Random(rng.random())) for i, given in enumerate(signals)]
    with ThreadPoolExecutor(2) as pool:
        rows = [*pool.map(_shown, [kill for kill in todo if kill.way != "sweep"])]
    return pd.DataFrame(rows + [_shown(kill) for kill in todo if kill.way == "sweep"])


def _shown(kill: Kill) -> dict[str, object]:
    row = kill.row()
    print(" | ".join(map(str, row.values())), flush=True)
    return row


def pairs(place: Place, count: int, rng: random.Random) -> pd.DataFrame:
    """Start pairs of processes, each kind in turn."""
    kinds = [(words, before) for words, states in PAIRS.items() for before in states]
    rows = []
    for number in range(count):
        rows.append(pair(place, number, *kinds[number % len(kinds)], rng))
        print(" | ".join(map(str, rows[-1].values())), flush=True)
    return pd.DataFrame(rows)


def main() -> int:
    """Run the program. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="6 kills and 3 pairs")
    options = parser.parse_args()
    counts, rng = (6, 3) if options.quick else (options.kills, options.pairs), random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        place = prepared(Path(folder) / "place")
        tables = [kills(place, counts[0], rng), pairs(place, counts[1], rng)]
    n_wrong = 0
    for name, table in zip(("kills", "pairs"), tables, strict=True):
        wrong = int((table["differences"] != "none").sum()) if len(table) else 0
        n_wrong += wrong
        print(f"\n{table.to_string(index=False)}\n{len(table)} {name}: {len(table) - wrong} as promised, {wrong} not")
    print(f"Images lost: {int(tables[0]['lost'].sum())} by {counts[0]} kills")
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
