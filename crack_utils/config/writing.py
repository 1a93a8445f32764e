"""Files that are written as a whole: no reader ever meets half of one."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from crack_utils.errors import UserError

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A scratch path that becomes ``path`` when the block ends without an error: no reader ever meets half a file."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        os.close(handle)
        try:
            yield Path(scratch)
            os.chmod(scratch, 0o644)
            os.replace(scratch, path)
        finally:
            Path(scratch).unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the errors of a full or read-only disk into a UserError that names the file and the fix."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        advice = "nothing that was finished is lost; mend this, and give the same command again"
        raise UserError(f"{path} cannot be written ({error.strerror}); {advice}") from None


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a whole file."""
    with written_whole(path) as scratch:
        scratch.write_bytes(content)
