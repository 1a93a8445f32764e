"""Several processes train one run: what is equal to a training by one process, and what happens when a process ends too early."""

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest
import rank_program
import torch
from conftest import REPOSITORY, small_params, write_dataset
from fault_place import waited
from safetensors.torch import load_file

from crack_utils.config import parse_parameters
from crack_utils.errors import Interrupted, UserError
from crack_utils.reporting.provenance import rows
from crack_utils.store import Run, load_status
from crack_utils.training import Watcher, train_run

pytestmark = pytest.mark.slow
PROGRAM = REPOSITORY / "tests" / "training" / "rank_program.py"
LIMIT_S = 120
MINED = {"hard_negative_mining": 0.5, "hard_negative_difficulty": "loss_errors"}
MIXED = {"hard_negative_mining": "1 of 3, min 0.1", "frequency_of_use_sampling": True}


def torchrun(home, *words, processes=2, **environment):
    """``torchrun WORDS``, with ``home`` in the repository's place."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *map(str, words)]
    environment = {**os.environ, "CRACK_HOME": str(home), "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=LIMIT_S)


def values_of(root, **values):
    return small_params(
        root, **{"epochs": 3, "batch_size": 3, "optimizer": "sgd", "momentum": 0.9, "validation_n_epochs": 2, **values}
    ).given()


def write_trainings(folder, *trainings):
    folder.mkdir(exist_ok=True)
    (folder / "trainings.json").write_text(json.dumps(trainings))
    return folder


def images_of(folder, name, rank):
    return [json.loads(line) for line in (folder / f"{name}.{rank}").read_text().splitlines()]


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The folder of trainings that two processes did together, and of the same trainings by one process; what torchrun printed."""
    folder = tmp_path_factory.mktemp("together")
    root, home = write_dataset(folder / "d", train=5, negatives=2), folder / "home"  # 7 images: the last batch of 3 has one image
    drop = values_of(root, **MINED)
    trainings = [("mined", values_of(root, **MINED)), ("mixed", values_of(root, **MIXED))]
    dropping = [("dropping", drop), ("dropping-stopped", drop, (2, 4, 1)), ("dropping", drop)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRACK_HOME", str(home))
        for name, values in trainings:
            rank_program.train(folder, f"{name}-alone", values)
        done = torchrun(home, PROGRAM, write_trainings(folder, *trainings, *dropping))
        assert done.returncode == 0, done.stderr
        yield folder, done.stdout


@pytest.mark.parametrize("name", ["mined", "mixed"])
def test_two_processes_train_as_one(together, name):
    folder, _ = together
    two, one = Run(name), Run(f"{name}-alone")
    histories = [run.history.load().drop(columns="time_s") for run in (two, one)]
    np.testing.assert_allclose(*histories, rtol=1e-5)
    weights = [load_file(run.model.path) for run in (two, one)]
    torch.testing.assert_close(*weights, rtol=1e-5, atol=1e-6)
    shares = zip(images_of(folder, name, 0), images_of(folder, name, 1), strict=True)
    batches = [first + second if first != second else first for first, second in shares]  # a process without an image repeats the first one
    assert batches == images_of(folder, f"{name}-alone", 0)
    assert {len(batch) for batch in batches} >= {1, 3}


def test_a_stopped_training_goes_on_in_all_processes_as_the_unbroken_one(together):
    folder, _ = together
    whole, stopped = Run("dropping"), Run("dropping-stopped")
    assert stopped.model.path.read_bytes() == whole.model.path.read_bytes()
    assert whole.history.load().drop(columns="time_s").equals(stopped.history.load().drop(columns="time_s"))
    assert stopped.log.load().count("Stopped in epoch") == 3
    for rank in (0, 1):
        assert images_of(folder, "dropping-stopped", rank) == images_of(folder, "dropping", rank)
    assert not whole.history.load()["loss"].equals(Run("mined").history.load()["loss"])  # dropout was at work


def test_only_one_process_writes_and_a_finished_run_is_shown(together):
    _, printed = together
    run = Run("mined")
    log = run.log.load().splitlines()
    assert [sum(line.startswith(f"Epoch {epoch}/3") for line in log) for epoch in (1, 2, 3)] == [1, 1, 1]
    assert "Processes: 2, joined by gloo" in log
    assert printed.count("Run dropping has finished training before") == 1
    about = run.provenance.load()["training"]
    assert (about["processes"], about["backend"]) == (2, "gloo")
    assert "1 threads, 2 processes (gloo), " in rows(run)["Machine"]
    assert "processes" not in Run("mined-alone").provenance.load()["training"]


def test_a_killed_process_ends_the_others_and_the_run_goes_on(together, tmp_path):
    folder, _ = together
    training = write_trainings(tmp_path / "killed", ("dropping-killed", values_of(folder / "d", **MINED)))
    killed = torchrun(folder / "home", PROGRAM, training, DIE="1 7")  # in epoch 2; an epoch has 4 batches
    run = Run("dropping-killed")
    assert killed.returncode != 0
    assert "another process of the training has ended; the other processes stop too, and the same command goes on" in killed.stderr
    assert load_status(run).state == "failed"
    assert run.history.load()["epoch"].tolist() == [1]
    done = torchrun(folder / "home", PROGRAM, training)
    assert done.returncode == 0, done.stderr
    assert run.model.path.read_bytes() == Run("dropping").model.path.read_bytes()


# --- processes that process 0 starts, with a whole network


class Break(Watcher):
    """Sends a signal after a batch: to this process, or to the process that it has started."""

    def __init__(self, epoch, done, number, to_child):
        self.at, self.number, self.to_child = (epoch, done), number, to_child

    def on_batch(self, training, epoch, done, total):
        if (epoch, done) == self.at:
            (child,) = multiprocessing.active_children()
            os.kill(child.pid if self.to_child else os.getpid(), self.number)


def test_a_started_process_that_is_killed_or_stopped_costs_nothing_but_time(home, tmp_path):
    root = write_dataset(tmp_path / "d", train=3, negatives=1)
    params = parse_parameters(values_of(root, hard_negative_mining=0, batch_size=2, processes=2, validation_n_epochs=1))
    whole = train_run(params, "whole")
    with pytest.raises(Interrupted, match="stopped in epoch 2 of 3 after 4 of 4 images") as caught:  # one batch after the signal
        train_run(params, "broken", watcher=Break(2, 2, signal.SIGTERM, to_child=False))
    assert caught.value.signal == signal.SIGTERM
    message = r"process 1 of the training ended with status -9 \(killed\); the other processes stop too, and the same command goes on"
    with pytest.raises(UserError, match=message):
        train_run(params, "broken", watcher=Break(3, 2, signal.SIGKILL, to_child=True))
    assert multiprocessing.active_children() == []
    broken = train_run(params, "broken")
    assert broken.model.path.read_bytes() == whole.model.path.read_bytes()
    assert broken.history.load().drop(columns="time_s").equals(whole.history.load().drop(columns="time_s"))
    alone = train_run(dataclasses.replace(params, processes=1, validate=False), "alone")
    np.testing.assert_allclose(alone.history.load()["loss"], whole.history.load()["loss"], rtol=1e-4)


def test_a_started_process_that_fails_says_why(home, tmp_path):
    root = write_dataset(tmp_path / "d")

    def remove():  # while the new process is still importing torch
        assert waited(multiprocessing.active_children, LIMIT_S)
        shutil.rmtree(root)

    threading.Thread(target=remove).start()
    params = parse_parameters(values_of(root, batch_size=2, processes=2))
    with pytest.raises(UserError, match=f"process 1 of the training ended with DataError: data_root {root} is not a folder; .* stop too"):
        train_run(params, "a")
    assert load_status(Run("a")).state == "failed"


def test_started_processes_end_when_the_first_one_is_killed(home, tmp_path):
    root = write_dataset(tmp_path / "d", train=3, negatives=1)
    path = tmp_path / "a.yaml"
    path.write_text(json.dumps(values_of(root, epochs=500, batch_size=2, processes=2, validate=False)))
    words = [sys.executable, "-m", "crack_utils", "train", str(path), "-p", "run_name", "a"]
    first = subprocess.Popen(words, cwd=REPOSITORY, env={**os.environ, "CRACK_HOME": str(home), "OMP_NUM_THREADS": "1"})
    try:
        assert waited(lambda: Run("a").history.exists, LIMIT_S)
        others = psutil.Process(first.pid).children(recursive=True)
        assert len(others) >= 1
    finally:
        first.kill()
        first.wait()
    assert waited(lambda: not any(other.is_running() for other in others), LIMIT_S)


def test_torchrun_starts_the_command(home, tmp_path):
    root = write_dataset(tmp_path / "d", train=3, negatives=1)
    path = tmp_path / "a.yaml"
    path.write_text(json.dumps(values_of(root, epochs=1, batch_size=2)))
    done = torchrun(home, "-m", "crack_utils", "train", path, "-p", "run_name", "a")
    assert done.returncode == 0, done.stderr
    assert Run("a").is_trained
    assert done.stdout.count("Epoch 1/1") == 1
    assert Run("a").provenance.load()["training"]["processes"] == 2
