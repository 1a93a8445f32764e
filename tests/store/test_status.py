"""The state of a run: who works on it, or how its last step ended."""

import json
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from crack_utils.errors import Interrupted, MissingRun, UserError
from crack_utils.store import Run, claimed, load_status

HOLD = "from crack_utils.store import Run, claimed\nwith claimed(Run('a'), 'evaluation'):\n    print('held', flush=True)\n    input()"


def test_a_run_that_nobody_worked_on_has_no_state(home):
    assert load_status(Run("a")) is None


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (None, "finished", ""),
        (UserError("no such file"), "failed", "no such file"),
        (ZeroDivisionError("by zero"), "failed", "ZeroDivisionError: by zero"),
        (SystemExit(3), "failed", "SystemExit: 3"),
        (KeyboardInterrupt(), "interrupted", "stopped from the keyboard"),
        (Interrupted("stopped in epoch 2", 15), "interrupted", "stopped in epoch 2"),
    ],
)
def test_the_state_says_how_a_step_ended(home, error, state, reason):
    try:
        with claimed(Run("a"), "training"):
            assert load_status(Run("a")).state == "running"
            if error:
                raise error
    except BaseException as raised:
        assert raised is error
    found = load_status(Run("a"))
    assert (found.state, found.step, found.reason, found.pid) == (state, "training", reason, 0)


def test_a_killed_process_does_not_run_on_in_the_state(home):
    process = subprocess.Popen([sys.executable, "-c", HOLD], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    found = load_status(Run("a"))
    assert (found.state, found.step, found.pid) == ("running", "evaluation", process.pid)
    process.kill()
    process.communicate()
    found = load_status(Run("a"))
    assert (found.state, found.step) == ("killed", "evaluation")
    assert "ended without a word" in found.label


def test_pages_that_fail_say_nothing_over_a_training_of_another_process(home):
    """The command run holds one lock, and the kernel of its notebook, or of JupyterLab, another."""
    with pytest.raises(UserError), claimed(Run("a"), "training"):
        with pytest.raises(UserError), claimed(Run("a"), "pages"):
            Run("a").status.save({"state": "running", "step": "training", "time": "", "reason": ""})
            raise UserError("the notebook was refused")
        assert load_status(Run("a")).step == "training"
        raise UserError


def test_runs_of_earlier_versions_have_the_state_that_their_files_tell(home):
    run = Run("a")
    run.folder.mkdir(parents=True)
    run.history.path.write_text("epoch\n1\n")
    assert (load_status(run).state, load_status(run).label) == ("interrupted", "interrupted: the training has not finished")
    run.model.path.touch()
    assert load_status(run).label == "trained"
    run.metrics.path.touch()
    assert load_status(run).label == "finished"
    run.status.path.write_text("{half")
    assert load_status(run).label == "finished"


@pytest.mark.parametrize("name", ["../other/a.jpg", "/etc/hostname", "examples/../../b"])
def test_no_name_in_a_file_of_a_run_leaves_its_folder(home, name):
    with pytest.raises(MissingRun, match="outside its folder"):
        Run("a").path(name)


def test_files_of_other_versions_are_told_in_words(home):
    run = Run("a")
    run.metrics.path.parent.mkdir(parents=True)
    run.metrics.path.write_text(json.dumps({"format": 99}))
    with pytest.raises(MissingRun, match=r"metrics.json has format 99, and this version reads formats up to \d; update the program"):
        run.metrics.load()
    run.metrics.path.write_text(json.dumps({"decision": {}, "segmentation_2px": {}}))
    with pytest.raises(
        MissingRun, match=r"is of an earlier version and lacks crack_free, val, .*; remove the file and evaluate the run again"
    ):
        run.metrics.load()
    run.params.path.write_text(json.dumps({"given": {}, "data": {"counts": {}}}))
    with pytest.raises(MissingRun, match=r"is of an earlier version and lacks title, .*; remove the file and train the run again"):
        run.params.load()
    run.checkpoint.save({"model": {}})
    assert run.checkpoint.load()["format"] == 2
    run.checkpoint.save({"model": {}, "format": 3})
    with pytest.raises(MissingRun, match=r"checkpoint\.pt has format 3"):
        run.checkpoint.load()
