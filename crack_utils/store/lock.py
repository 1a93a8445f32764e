"""The lock of a run's folder: only one process trains or evaluates a run at a time."""

import contextlib
from collections.abc import Iterator

from filelock import FileLock, Timeout

from crack_utils.errors import UserError
from crack_utils.store.run import Run


@contextlib.contextmanager
def claimed(run: Run) -> Iterator[None]:
    """Keep other processes out of the run's folder.

    Raises:
        UserError: another process has the lock.
        OSError: the file system refuses a lock file.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run.path(".lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"run {run.name} is in the hands of another process; wait until that process ends, or choose another run_name"
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_claimed(run: Run) -> bool:
    """Whether another process trains or evaluates this run."""
    if not run.path(".lock").is_file():
        return False
    try:
        with claimed(run):
            return False
    except UserError:
        return True
