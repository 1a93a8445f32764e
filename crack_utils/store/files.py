"""Files are written whole or not at all, and a damaged file gives one message."""

import contextlib
import os
import pickle
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from crack_utils.errors import MissingRun


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A scratch path that becomes ``path`` when the block ends without an error: no reader ever meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    try:
        yield Path(scratch)
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    finally:
        Path(scratch).unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file."""
    with written_whole(path) as scratch:
        scratch.write_bytes(content)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Path]:
    """Turn the errors of a missing or damaged file into one message.

    Raises:
        MissingRun: names the file and the fix.
    """
    try:
        yield path
    except FileNotFoundError:
        raise MissingRun(f"{path} is missing; train the run first, then evaluate") from None
    except (ValueError, EOFError, RuntimeError, KeyError, SafetensorError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise MissingRun(f"{path} is damaged ({error}); remove {path.parent} and train again") from None
