"""Who works on a run, and how its last step ended: the locks of the run's folder, and status.json."""

import contextlib
import dataclasses
import errno
import os
import socket
from collections.abc import Iterator

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from crack_utils.errors import MissingRun, UserError
from crack_utils.store.files import timestamp
from crack_utils.store.run import Run

# The command ``run`` holds its lock around those of the training and the evaluation, which are processes of their own.
LOCKS = {"training": ".lock", "evaluation": ".lock", "pages": ".pages.lock"}
WAIT_S = 1  # a process that only asks whether a lock is held holds the lock for an instant
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)  # what network file systems without locks answer


@dataclasses.dataclass(frozen=True)
class Status:
    """The state of a run."""

    state: str  # running, finished, interrupted, failed or killed
    step: str  # training, evaluation or pages
    time: str = ""  # in UTC: since when the state holds; empty for runs of earlier versions
    reason: str = ""  # one sentence without a full stop, for all states but running and finished
    pid: int = 0  # of the process that works on the run
    host: str = ""

    @property
    def label(self) -> str:
        """The state in a few words, such as ``running (training)`` or ``failed: no space left``."""
        if self.state == "finished":
            return "trained" if self.step == "training" else "finished"
        return f"running ({self.step} since {self.time})" if self.state == "running" else f"{self.state}: {self.reason}"


def load_status(run: Run) -> Status | None:
    """The state of a run; None if nobody has worked on the run yet."""
    with contextlib.suppress(MissingRun, TypeError):  # a missing or unreadable file, as runs of earlier versions have
        status = Status(**run.status.load())
        if status.state == "running" and is_claimed(run, status.step):
            return status
        if {"training": run.is_trained, "evaluation": run.is_evaluated}.get(status.step):  # the results say more than the last word
            return Status("finished", status.step, status.time)
        if status.state != "running":
            return status
        reason = "the process ended without a word, as a process does that is killed or finds no memory"
        return Status("killed", status.step, status.time, reason)
    if run.is_trained:
        return Status("finished", "evaluation" if run.is_evaluated else "training")
    return Status("interrupted", "training", "", "the training has not finished") if run.history.exists else None


def save_status(run: Run, state: str, step: str, reason: str = "") -> None:
    """Write the state of a run."""
    worker = {"pid": os.getpid(), "host": socket.gethostname()} if state == "running" else {}
    run.status.save({"state": state, "step": step, "time": timestamp(), "reason": reason, **worker})


@contextlib.contextmanager
def claimed(run: Run, step: str) -> Iterator[None]:
    """Keep other processes from this step of the run, and keep the state of the run in status.json.

    The step is training, evaluation or pages. Raise UserError if another process works on the step already.
    """
    with held(run, step):
        save_status(run, "running", step)
        try:
            yield
        except BaseException as error:
            if step != "pages" or not is_claimed(run, "training"):  # the state is not that of another process
                _save_ending(run, error, step)
            raise
        save_status(run, "finished", step)


@contextlib.contextmanager
def held(run: Run, step: str) -> Iterator[None]:
    """Keep other processes from this step of the run. Raise UserError if another process works on the step already."""
    run.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_lock(run, step, WAIT_S))
        except Timeout:
            raise UserError(_refusal(run)) from None
        yield


def refuse_claimed(run: Run, step: str) -> None:
    """Raise UserError if another process works on this step of the run. Nothing is written."""
    if is_claimed(run, step):
        raise UserError(_refusal(run))


def is_claimed(run: Run, *steps: str) -> bool:
    """Whether another process works on one of these steps of the run; by default on any step."""
    for step in steps or LOCKS:
        if run.path(LOCKS[step]).is_file():
            try:
                with _lock(run, step, 0):
                    pass
            except Timeout:
                return True
    return False


def _lock(run: Run, step: str, timeout_s: float) -> BaseFileLock:
    """The held lock of a step. Raise Timeout if another process holds the lock."""
    path = run.path(LOCKS[step])
    try:
        return FileLock(path).acquire(timeout=timeout_s).lock
    except Timeout:
        raise
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
    return SoftFileLock(path.with_suffix(".file")).acquire(timeout=timeout_s).lock


def _refusal(run: Run) -> str:
    advice = "wait until that process ends, or choose another run_name"
    with contextlib.suppress(MissingRun, TypeError):
        status = Status(**run.status.load())
        if status.state == "running":
            who = f"process {status.pid} on {status.host}, {status.step} since {status.time}"
            return f"run {run.name} is in the hands of another process ({who}); {advice}"
    return f"run {run.name} is in the hands of another process; {advice}"


def _save_ending(run: Run, error: BaseException, step: str) -> None:
    with contextlib.suppress(OSError, UserError):  # the error itself matters more than a disk that is full
        try:
            save_status(run, *_ending(error, step))
        except KeyboardInterrupt:  # a sweep and a terminal send two signals at once, and the second comes here
            save_status(run, *_ending(error, step))


def _ending(error: BaseException, step: str) -> tuple[str, str, str]:
    """State, step and reason of a step that ended with an error."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", step, str(error) or "stopped from the keyboard"
    reason = getattr(error, "reason", str(error))  # of a notebook: without a folder of this machine
    return "failed", step, reason if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
