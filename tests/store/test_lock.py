"""One process at a time trains or evaluates a run."""

import subprocess
import sys

import pytest
from conftest import REPOSITORY

from crack_utils.errors import Interrupted, UserError
from crack_utils.store import Run, claimed, is_claimed, load_status
from crack_utils.store.files import Json

HOLD = "from crack_utils.store import Run, claimed\nwith claimed(Run('a'), 'training'):\n    print('held', flush=True)\n    input()"


@pytest.fixture
def holder(home):
    """Another process that holds the lock of run a."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_run_in_the_hands_of_another_process_is_refused(holder):
    assert is_claimed(Run("a"))
    who = rf"process {holder.pid} on \S+, training since 20\d\d-\S+Z"
    message = rf"run a is in the hands of another process \({who}\); wait until that process ends, or choose another run_name"
    with pytest.raises(UserError, match=message), claimed(Run("a"), "training"):
        pytest.fail("two processes hold the lock")
    assert not is_claimed(Run("b"))


def test_the_lock_is_free_again_when_its_process_ends(holder):
    holder.communicate("\n")
    assert not is_claimed(Run("a"))
    with claimed(Run("a"), "training"):
        assert is_claimed(Run("a"))
    assert not is_claimed(Run("a"))


def test_the_lock_is_free_again_when_its_process_was_killed(holder):
    holder.kill()
    holder.wait()
    assert not is_claimed(Run("a"))
    with claimed(Run("a"), "training"):
        pass


def test_an_error_inside_frees_the_lock(home):
    with pytest.raises(RuntimeError), claimed(Run("a"), "training"):
        raise RuntimeError
    assert not is_claimed(Run("a"))


def test_a_second_signal_does_not_keep_the_first_from_being_noted(home, monkeypatch):
    run, write = Run("a"), Json.save

    def save(self, values):
        if values["state"] == "interrupted" and not signals:
            signals.append(1)
            raise KeyboardInterrupt
        write(self, values)

    signals = []
    monkeypatch.setattr(Json, "save", save)
    with pytest.raises(Interrupted), claimed(run, "evaluation"):
        raise Interrupted("stopped", 15)
    assert signals
    assert load_status(run).label == "interrupted: stopped"


def test_a_folder_that_cannot_be_locked_is_not_said_to_be_in_other_hands(home):
    Run("a").path(".lock").mkdir(parents=True)
    with pytest.raises(OSError, match="director") as caught, claimed(Run("a"), "training"):
        pytest.fail("the lock cannot be held")
    assert "another process" not in str(caught.value)
    assert not is_claimed(Run("a"))
    (home / "runs" / "file").write_text("")
    with pytest.raises(OSError) as caught, claimed(Run("file"), "training"):
        pytest.fail("the lock cannot be held")
    assert "another process" not in str(caught.value)
