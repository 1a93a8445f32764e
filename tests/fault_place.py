"""Where :mod:`tests.faults` works: a small data set, a folder for runs, and processes that tell how far a training came."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))
from conftest import REPOSITORY, write_dataset

from crack_utils.store import Run

EPOCHS, CHECKPOINTS = 3, (1, 3)
PARAMETERS = {"dataset": "crack500", "epochs": EPOCHS, "validation_n_epochs": 2, "hard_negative_mining": 0.5, "device": "cpu"}
LIMIT_S = 400

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
    """The folder of everything: the data, CRACK_HOME, configurations, traces, and what the processes said.

    ``times`` has how many images an unbroken training does, and the seconds before the first image and after the last one.
    """

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
        """Start a command in a session of its own. All processes of a case have its trace in their environment."""
        paths = os.pathsep.join([str(self.folder / "hook"), str(REPOSITORY)])
        trace = str(self.folder / "traces" / case)
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "FAULTS_TRACE": trace}
        cwd = REPOSITORY / "notebooks" if "papermill" in command else REPOSITORY
        with (self.folder / "said" / f"{case}{process}.txt").open("ab") as said:
            return subprocess.Popen(command, cwd=cwd, env=environment, stdout=said, stderr=said, start_new_session=True)

    def processes(self, case: str) -> list[psutil.Process]:
        """The living processes of a case. The whole path of the trace tells them from those of another such program on this machine."""
        found, trace = [], str(self.folder / "traces" / case)
        for process in psutil.process_iter():
            try:
                if process.environ().get("FAULTS_TRACE") == trace and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def said(self, case: str, process: str = "") -> list[str]:
        """The lines that a process of a case wrote."""
        return (self.folder / "said" / f"{case}{process}.txt").read_text(errors="replace").splitlines()

    def traced(self, case: str, since: float, until: float = float("inf")) -> list[list[str]]:
        """The images done in this time: time, run, whole epochs before, images of the epoch, images in an epoch."""
        path = self.folder / "traces" / case
        lines = [line.split() for line in path.read_text().splitlines()] if path.is_file() else []
        return [line for line in lines if since <= float(line[0]) <= until]


def waited(condition: Callable[[], object], limit_s: float, step_s: float = 0.02) -> bool:
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
