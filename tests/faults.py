"""Stop short trainings at random moments, and start two processes on one run. Nothing may be lost.

``python -m tests.faults`` takes half an hour on two cores, and ``--quick`` two minutes. A kill starts a run in one of four ways and hits
it by one of four signals. Then the same command is given again until it finishes, and the run is compared with an unbroken one. The exit
status is 1 if anything differs from what is promised.
"""

import argparse
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
from pathlib import Path

import pandas as pd
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fault_place import CHECKPOINTS, EPOCHS, LIMIT_S, Place, differences, images_kept, waited

from crack_utils.store import Run, is_claimed, load_status, report_dir

WAYS = ("train", "run", "papermill", "sweep")
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGKILL to the child": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "Ctrl-C": signal.SIGINT}
PAPERMILL_SIGTERM = "SIGTERM to papermill"  # papermill has no handler: it dies, and its kernel ends when it misses its parent
STATES = {  # by signal: what a run in work may be said to be
    "SIGKILL": ["killed"],
    "SIGKILL to the child": ["killed", "failed"],
    PAPERMILL_SIGTERM: ["killed", "interrupted"],
    "SIGTERM": ["interrupted"],
    "Ctrl-C": ["interrupted"],
    "": [],  # the run had ended before the signal
}
ORPHANS_S = 15  # a kernel and a worker of a loader look every few seconds whether their parent lives
ONE_BATCH = 1  # images


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
        references = ["two/seed0", "two/seed1"] if self.way == "sweep" else ["one"]
        for run, reference in zip(self.runs, references, strict=True):
            self.wrong += differences(run.name, reference)
            status = load_status(run)
            self._check(status and status.state == "finished", f"at the end the state is {status and status.label}")
        pages = [report_dir(run.name) / "index.html" for run in self.runs] if self.way == "run" else []
        self._check(all(page.is_file() and "Not finished" not in page.read_text() for page in pages), "no whole page")
        workers, moments = self.command[self.command.index("num_workers") + 1], ", then ".join(self.moments)
        row = {"way": f"{self.way} ({workers})", "signal": ", then ".join(self.signals), "moment": moments}
        status = " ".join(map(str, self.statuses))
        row |= {"status": status, "lost": self.lost, "differences": "; ".join(self.wrong) or "none"}
        print(self.case, *row.values(), sep=" | ", file=sys.stderr, flush=True)
        return row

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
        waited(lambda: not self.place.processes(self.case), ORPHANS_S, 0.5)
        for left in self.place.processes(self.case):
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
                return [each for each in self.place.processes(self.case) if each.pid != process.pid and words in " ".join(each.cmdline())]

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
        true = ["failed"] if (self.way, name) == ("run", "SIGKILL to the child") else STATES[name].copy()
        true += ["none"] if not run.status.exists else []  # the signal came before any work
        true += ["finished"] if run.is_trained else []
        if self.way == "sweep" and name.startswith("SIGKILL"):  # the other member, or members that miss their sweep, stop themselves
            true += ["interrupted"]
        self._check((status.state if status else "none") in true, f"the state is {status and status.label}")
        per_epoch, before = self.place.times["images"] // EPOCHS, self.kept[run.name]
        lines = [line for line in self.place.traced(self.case, started, sent or time.time()) if line[1] == run.name]
        done = int(lines[-1][2]) * per_epoch + int(lines[-1][3]) if lines else before
        saved = max(before, *(epoch * per_epoch for epoch in CHECKPOINTS if epoch * per_epoch < done), 0)
        kept = self.kept[run.name] = images_kept(run, per_epoch)
        most = done - saved if name.startswith(("SIGKILL", PAPERMILL_SIGTERM)) else ONE_BATCH
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
    if before == "trained":
        run.log.path.write_text(run.log.load().partition("Final evaluation")[0])
    first = place.start(case, place.command(words[0], case), "a")
    time.sleep(delay_s)
    second = place.start(case, place.command(words[1], case), "b")
    statuses = [process.wait(LIMIT_S) for process in (first, second)]
    last = [([line for line in place.said(case, name) if line.strip()] or [""])[-1] for name in "ab"]
    for way, status, line in zip(words, statuses, last, strict=True):
        if status and not (status == 1 and re.fullmatch(REFUSALS, line)):
            wrong.append(f"{way} ended with {status}: {line}")
    wrong += [] if 0 in statuses else ["nobody did the work"]
    overwritten = words[0] == "run --overwrite" and statuses[0] == 0
    wrong += differences(case, "two/seed1" if overwritten else "one")
    wrong += ["not evaluated"] if before == "finished" and not run.is_evaluated else []
    starts = [line.partition(" ")[0] for line in run.log.load().splitlines()]
    counts = {word: starts.count(word) for word in ("Training", "Going", "Final") if starts.count(word) > (word != "Going")}
    wrong += [f"lines of the log: {counts}"] if counts else []
    status = load_status(run)
    wrong += [] if status and status.state == "finished" and not is_claimed(run) else [f"the state is {status and status.label}"]
    wrong += [f"left over: {process.pid}" for process in place.processes(case)]
    refused = [way for way, status in zip(words, statuses, strict=True) if status]
    row = {"pair": " / ".join(words), "before": before, "delay": f"{delay_s:.1f} s", "refused": ", ".join(refused) or "none"}
    row |= {"differences": "; ".join(wrong) or "none"}
    print(case, *row.values(), sep=" | ", file=sys.stderr, flush=True)
    return row


# --- the program


def prepared(folder: Path, is_short: bool = False) -> Place:
    """The place of everything, with unbroken runs: ``one``, and the sweep ``two``, which a short program does without."""
    place, started = Place(folder), time.time()
    commands = {"one": place.command("run", "one"), "two": place.command("sweep", "two")}
    if is_short:
        commands = {"one": [*commands["one"], "--no-pages"]}
    done = {name: place.start(name, command) for name, command in commands.items()}
    for name, process in done.items():
        if process.wait(LIMIT_S):
            raise SystemExit("\n".join(place.said(name)))
    first, *_, last = lines = place.traced("one", started)
    place.times = {"images": len(lines), "start": 0.8 * (float(first[0]) - started), "end": 0.5 * (time.time() - float(last[0]))}
    return place


def kills(place: Place, kinds: list[tuple[str, str]], rng: random.Random, twice: float = 0.2) -> pd.DataFrame:
    """Kill runs, each given as (way, signal), and some twice. Two at a time, but sweeps, which are two processes, alone."""
    planned = []
    for number, (way, name) in enumerate(kinds):
        signals = [name, rng.choice([*SIGNALS])] if way != "sweep" and rng.random() < twice else [name]
        planned.append(Kill(place, number, way, signals, random.Random(rng.random())))
    with ThreadPoolExecutor(2) as pool:
        rows = [*pool.map(Kill.row, [kill for kill in planned if kill.way != "sweep"])]
    return pd.DataFrame(rows + [kill.row() for kill in planned if kill.way == "sweep"])


def pairs(place: Place, kinds: list[tuple[tuple[str, str], str]], rng: random.Random) -> pd.DataFrame:
    """Start pairs of processes, each given as (commands, state before)."""
    return pd.DataFrame([pair(place, number, *kind, rng) for number, kind in enumerate(kinds)])


SHORT_KILLS = [("train", "SIGTERM"), ("train", "SIGKILL"), ("papermill", "SIGKILL to the child")]
SHORT_PAIRS = [(("train", "train"), "fresh"), (("train", "evaluate"), "trained"), (("evaluate", "evaluate"), "trained")]


def short(folder: Path, rng: random.Random) -> list[pd.DataFrame]:
    """Three kills and three pairs. Returns their tables."""
    place = prepared(folder, is_short=True)
    return [kills(place, SHORT_KILLS, rng, twice=0), pairs(place, SHORT_PAIRS, rng)]


def whole(folder: Path, n_kills: int, n_pairs: int, rng: random.Random) -> list[pd.DataFrame]:
    """Each way by each signal in turn, and each pair from each state in turn. Returns the tables."""
    place = prepared(folder)
    all_kills = [(way, name) for name in SIGNALS for way in WAYS]
    all_pairs = [(words, before) for words, states in PAIRS.items() for before in states]
    killed = kills(place, [all_kills[i % len(all_kills)] for i in range(n_kills)], rng)
    return [killed, pairs(place, [all_pairs[i % len(all_pairs)] for i in range(n_pairs)], rng)]


def main() -> int:
    """Run the program. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="three kills and three pairs")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        place = Path(folder) / "place"
        tables = short(place, rng) if options.quick else whole(place, options.kills, options.pairs, rng)
    n_wrong = 0
    for name, table in ((name, table) for name, table in zip(("kills", "pairs"), tables, strict=True) if len(table)):
        wrong = int((table["differences"] != "none").sum())
        lost = f"; images lost and trained again: {table['lost'].sum()}" if "lost" in table else ""
        print(f"{table.to_string(index=False)}\n{len(table)} {name}: {len(table) - wrong} as promised, {wrong} not{lost}\n")
        n_wrong += wrong
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
