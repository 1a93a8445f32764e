"""A folder of what earlier starts computed from the files of data sets. Whatever is damaged there is computed again.

An entry's name is a hash of all that decides the entry's value, and of the program. Nothing in an entry is ever changed.
"""

import contextlib
import dataclasses
import functools
import hashlib
import os
import pickle
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
import PIL
import scipy
from PIL import features

from crack_utils.config import write_bytes
from crack_utils.data.contents import YOUNG_S, digest
from crack_utils.data.layouts.files import readable_suffixes
from crack_utils.errors import DataError, UserError

LIMIT = 20 * 2**30  # bytes
LATELY_S = 3600  # an entry that was used in these last seconds is not removed, even if one data set exceeds the limit
OWN = re.compile(r"\.?(?P<entry>[0-9a-f]{32})\.(known|pixels)(-.*)?")  # a name with a dot before it is not yet written whole
DAMAGE = (OSError, ValueError, EOFError, AttributeError, ImportError, pickle.UnpicklingError)  # what reading a damaged entry raises

T = TypeVar("T")
_noted: set[Path] = set()  # the folders of which this process has said that they take no more


class Entry(NamedTuple):
    """The files that belong together in a cache."""

    name: str
    size: int  # bytes
    used_s: float  # when they were last used, in seconds since 1970


@dataclasses.dataclass(frozen=True)
class Cache:
    """A cache's folder.

    ``limit`` is the size in bytes above which the entries that were used longest ago are removed. ``young_s`` is explained in
    ``contents.py``.
    """

    folder: Path
    limit: int = LIMIT
    young_s: float = YOUNG_S

    def path(self, key: Any, suffix: str) -> Path:
        """The file of an entry. Entries of another version of the program have other names."""
        return self.folder / f"{digest((program(), key))}.{suffix}"

    def load(self, path: Path, default: Any = None) -> Any:
        """The value in a file of the cache; the default if the file is missing or damaged."""
        with contextlib.suppress(*DAMAGE):
            content = path.read_bytes()
            if hashlib.sha256(content[32:]).digest() == content[:32]:
                return pickle.loads(content[32:])
        return default

    def save(self, path: Path, value: Any) -> None:
        """Write a value to a file of the cache."""
        content = pickle.dumps(value)
        write_bytes(path, hashlib.sha256(content).digest() + content)

    def use(self, path: Path) -> None:
        """Note that an entry was used now."""
        with contextlib.suppress(OSError):  # another process may have removed the entry
            os.utime(path)

    def remembered(self, key: Any, compute: Callable[[], T], is_sure: Callable[[], bool]) -> T:
        """A value that the key alone decides: of an earlier start, or computed. The value is kept if it surely belongs to the key."""
        path = self.path(key, "known")
        self.use(path)
        if (value := self.load(path)) is None:
            value = compute()
            if is_sure():
                with noting(self):
                    self.save(path, value)
        return value

    def entries(self) -> list[Entry]:
        """All entries, those used longest ago first."""
        files: dict[str, list[os.stat_result]] = {}
        for path in self._files():
            with contextlib.suppress(FileNotFoundError):  # another process may clean up too
                files.setdefault(OWN.fullmatch(path.name)["entry"], []).append(path.stat())
        found = [Entry(name, sum(each.st_size for each in those), max(each.st_mtime for each in those)) for name, those in files.items()]
        return sorted(found, key=lambda entry: entry.used_s)

    def trim(self) -> None:
        """Remove the entries used longest ago, until the rest keeps to the limit. Entries that were used lately stay."""
        entries = self.entries()
        excess = sum(entry.size for entry in entries) - self.limit
        for entry in entries:
            if excess > 0 and entry.used_s < time.time() - LATELY_S:
                self.remove(entry.name)
                excess -= entry.size

    def remove(self, entry: str = "") -> None:
        """Remove an entry; by default all. Files of others in the folder stay."""
        for path in self._files():
            if OWN.fullmatch(path.name)["entry"].startswith(entry):
                path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return [path for path in self.folder.glob("*") if OWN.fullmatch(path.name)]


@contextlib.contextmanager
def noting(cache: Cache) -> Iterator[None]:
    """Turn the errors of a disk that takes no more into one note: the work goes on without the cache."""
    try:
        yield
    except DataError:
        raise
    except (UserError, OSError) as error:
        if cache.folder not in _noted:
            _noted.add(cache.folder)
            print(f"Note: decoded images are not kept for the next start: {str(error).partition(';')[0]}.", flush=True)


@functools.cache
def program() -> str:
    """A hash of all that decodes: the files of this room, the libraries, and the formats that they read."""
    sources = [path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py"))]
    formats = [features.version(name) for name in ("jpg", "libtiff", "webp", "jpg_2000", "avif")], sorted(readable_suffixes())
    return digest((hashlib.sha256(b"".join(sources)).digest(), [each.__version__ for each in (cv2, np, PIL, scipy)], formats))
