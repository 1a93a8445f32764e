"""A disk that is full, or may not be written to: nothing whole is damaged, and one sentence says what to do."""

import os
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY, run_command, small_params, write_dataset

from crack_utils.errors import UserError
from crack_utils.store import Run, load_status, save_photo, write_bytes, write_predictions
from crack_utils.training import Watcher, train_run


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A file system of two megabytes, as the home."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    monkeypatch.setenv("CRACK_HOME", str(folder))
    (folder / "runs").mkdir()
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(disk, left):
    """Leave so many bytes of the disk."""
    state = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(state.f_bavail * state.f_frsize - left))


def write_table(run, size):
    run.per_image.save(pd.DataFrame({"stem": ["a" * size]}))


def write_maps(run, size):
    with write_predictions(run.folder, "test") as add:
        add("a", np.random.default_rng(0).random((1, size // 4)).astype(np.float32), np.zeros((1, size // 4), bool), 0.5)


def write_example(run, size):
    save_photo(run, "a", np.random.default_rng(0).integers(255, size=(size // 90, 30, 3)).astype(np.uint8))


WRITES = {
    "params.json": lambda run, size: run.params.save(small_params("data" * (size // 4)), {}, {}),
    "metrics.json": lambda run, size: run.metrics.save({"failures": "a" * size}),
    "status.json": lambda run, size: run.status.save({"reason": "a" * size}),
    "provenance.json": lambda run, size: run.provenance.save({"training": "a" * size}),
    "chosen.json": lambda run, size: run.chosen.save({"by": "a" * size}),
    "history.csv": lambda run, size: run.history.save([{"epoch": 1}] * (size // 8)),
    "per_image.csv": write_table,
    "model.safetensors": lambda run, size: run.model.save(torch.nn.Linear(1, size // 8)),
    "checkpoint.pt": lambda run, size: run.checkpoint.save({"model": torch.zeros(size // 4)}),
    "predictions/test.npz": write_maps,
    "examples/a.jpg": write_example,
    "page.html": lambda run, size: write_bytes(run.path("page.html"), bytes(size)),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_full_disk_damages_no_whole_file(disk, name):
    run = Run("a")
    WRITES[name](run, 9000)
    whole = run.path(name).read_bytes()
    fill(disk, 50_000)
    with pytest.raises(UserError) as caught:
        WRITES[name](run, 900_000)
    assert str(caught.value).startswith(f"{run.path(name)} cannot be written (No space left on device); nothing that was finished is lost")
    assert run.path(name).read_bytes() == whole
    assert [path.name for path in run.path(name).parent.iterdir() if path.name.startswith(".")] == []  # no scratch file takes space


def test_the_log_says_that_the_disk_is_full(disk):
    run = Run("a")
    run.log.add("whole")
    fill(disk, 0)
    with pytest.raises(UserError, match=r"train\.log cannot be written \(No space left on device\)"):
        run.log.add("a" * 100_000)
    assert run.log.load().startswith("whole\n")


def test_a_training_goes_on_when_the_disk_has_space_again(disk, tmp_path):
    params = small_params(write_dataset(tmp_path / "data"), epochs=4, validation_n_epochs=1, hard_negative_mining=0.5)
    whole = train_run(params, "whole", parts=TINY)

    class Fill(Watcher):
        def on_epoch(self, training):
            if len(training.history) == 2:
                fill(disk, 0)

    with pytest.raises(UserError, match="cannot be written"):
        train_run(params, "a", watcher=Fill(), parts=TINY)
    (disk / "filler").unlink()
    assert not Run("a").is_trained and load_status(Run("a")).state in ("running", "killed", "failed")
    assert train_run(params, "a", parts=TINY).model.path.read_bytes() == whole.model.path.read_bytes()
    assert load_status(Run("a")).state == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("words", [["train"], ["run", "--no-pages"]])
def test_the_command_says_one_sentence_on_a_full_and_on_a_read_only_disk(disk, tmp_path, words):
    configuration = tmp_path / "a.yaml"
    configuration.write_text(f"dataset: crack500\ndata_root: {write_dataset(tmp_path / 'data')}\nepochs: 1\nhard_negative_mining: 0\n")
    done = run_command(disk, *words, configuration, timeout=120)  # the weights of SegDecNet take 65 MB
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {disk}/runs/a/checkpoint.pt cannot be written (No space left on device); ")
    assert done.stderr.count("\n") == 1
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    done = run_command(disk, *words, configuration, timeout=120)
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr and done.stderr.count("\n") == 1
