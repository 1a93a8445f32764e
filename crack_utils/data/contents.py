"""What the files of a data set hold, without reading those again that have not changed since an earlier start.

A file whose stamp (size, times of the last changes, number on the disk) is known still holds what it held. A program can set back the time
of a modification, but not the time of a change of the file's entry, so both count. A stamp tells nothing of a file that changed a moment
ago, because a second change may fall into the same tick of the clock: see ``YOUNG_S``.
"""

import dataclasses
import functools
import hashlib
import os
import stat
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crack_utils.data.layouts.files import ARCHIVE_SUFFIXES, FILM_SUFFIXES, names_below

YOUNG_S = 3.0  # a file that changed less than so many seconds ago is not known by its stamp; file systems count in up to 2 s
NEVER_READ = ARCHIVE_SUFFIXES | FILM_SUFFIXES

Stamp = tuple[int, ...]  # empty for what is no file, such as a broken link


@dataclasses.dataclass(frozen=True)
class Contents:
    """The files in the folders of a data set: stamps and sha256 by path."""

    folders: tuple[Path, ...]
    stamps: Mapping[str, Stamp]
    hashes: Mapping[str, str]

    @functools.cached_property
    def names(self) -> dict[str, str]:
        """The name of each file by its path, the same wherever the folders lie."""
        return {path: f"{number}/{path[len(str(folder)) :]}" for number, folder in enumerate(self.folders) for path in self._below(folder)}

    @functools.cached_property
    def key(self) -> str:
        """One sha256 of the names and contents of all files."""
        return digest(sorted((name, self.hashes[path]) for path, name in self.names.items()))

    def is_present(self) -> bool:
        """Whether the folders still hold these files."""
        return stamps_in(self.folders) == self.stamps

    def _below(self, folder: Path) -> list[str]:
        return [path for path in self.stamps if path.startswith(f"{folder}{os.sep}")]


def stamps_in(folders: Sequence[Path]) -> dict[str, Stamp]:
    """The stamps of all files below those of the folders that are there, by path."""
    return {path: _stamp(path) for folder in folders if folder.is_dir() for path in names_below(folder)}


def _stamp(path: str) -> Stamp:
    try:
        seen = os.stat(path)
    except OSError:
        return ()
    return (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino) if stat.S_ISREG(seen.st_mode) else ()


def read_contents(folders: Sequence[Path], known: Mapping[str, tuple[Stamp, str]], young_s: float = YOUNG_S) -> Contents | None:
    """The contents of folders. Files are read whose stamp differs from the known stamp.

    Returns None if a file changed less than ``young_s`` seconds ago, or meanwhile, or cannot be read: then nothing is sure.
    """
    now_ns = time.time_ns()
    stamps = stamps_in(folders)
    youngest = max((_changed_ns(stamp) for stamp in stamps.values() if stamp), default=0)
    if youngest > now_ns - young_s * 1e9:
        return None
    new = [path for path, stamp in stamps.items() if known.get(path, ((), ""))[0] != stamp]
    try:
        with ThreadPoolExecutor() as pool:
            read = dict(zip(new, pool.map(lambda path: _known_by(path, stamps[path]), new), strict=True))
    except OSError:
        return None
    contents = Contents(tuple(folders), stamps, {path: read.get(path) or known.get(path, ((), ""))[1] for path in stamps})
    return contents if not new or contents.is_present() else None


def _changed_ns(stamp: Stamp) -> int:
    """When the file changed last. On Windows the third number is the time of the file's creation; elsewhere nobody can set it."""
    return stamp[1] if os.name == "nt" else stamp[2]


def _known_by(path: str, stamp: Stamp) -> str:
    """What stands for the contents of a file. No layout reads archives and films, so their size will do."""
    return str(stamp[:1]) if not stamp or Path(path).suffix.lower() in NEVER_READ else hash_of(path)


def hash_of(path: str) -> str:
    """The sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """A short sha256 of what a value shows as text."""
    return hashlib.sha256(repr(value).encode(errors="surrogateescape")).hexdigest()[:32]
