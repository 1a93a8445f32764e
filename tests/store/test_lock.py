"""One process at a time trains or evaluates a run."""

import errno
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


@pytest.fixture
def without_locks(monkeypatch):
    """A network file system that refuses to lock files."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)


def test_on_a_file_system_without_locks_a_file_keeps_others_out(home, without_locks):
    with claimed(Run("a"), "training"):
        assert is_claimed(Run("a"))
        with pytest.raises(UserError, match="in the hands of another process"), claimed(Run("a"), "training"):
            pytest.fail("two hold the lock")
    assert not is_claimed(Run("a"))


def test_on_a_file_system_without_locks_the_lock_of_a_dead_process_is_taken_over(home, without_locks):
    code = "import fcntl, os\nfrom unittest import mock\n"
    code += f"with mock.patch('fcntl.flock', side_effect=OSError({errno.ENOLCK}, 'No locks available')):\n"
    code += "    " + HOLD.replace("\n", "\n    ").replace("input()", "os.kill(os.getpid(), 9)")
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-9, "held\n"), done.stderr
    assert list(Run("a").folder.glob(".lock*"))
    with claimed(Run("a"), "training"):
        assert is_claimed(Run("a"))
