"""What earlier starts of the program know of a data set. Without a cache, everything is computed from the files."""

import dataclasses
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from crack_utils.data.cache import Cache, noting
from crack_utils.data.contents import Contents, hash_of, read_contents
from crack_utils.data.crops import Crop, Pair, read_crops
from crack_utils.data.pixels import KeptCrop, read_kept

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Kept:
    """The cache and the contents of a data set. Both are None if nothing is kept. Make one with :func:`open_kept`."""

    cache: Cache | None = None
    contents: Contents | None = None

    def remembered(self, key: Any, compute: Callable[[], T], files: Iterable[Path] = ()) -> T:
        """A value that the key and the data set's files decide: of an earlier start, or computed.

        The value is not kept if some of the ``files``, which ``compute`` may list, lie elsewhere, or if files changed meanwhile.
        """
        if self.contents is None:
            return compute()

        return self.cache.remembered((self.contents.key, key), compute, lambda: self._has(files) and self.contents.is_present())

    def crops(self, pairs: Sequence[Pair], channels: int, reading: Sequence[str]) -> Sequence[Crop | KeptCrop]:
        """Crops, from the cache if it has them. ``reading`` are the parameters that decide how masks are read."""
        if self.contents is None or not self._has(path for pair in pairs for path in (pair.image_path, pair.mask_path)):
            return read_crops(pairs, channels)
        return read_kept(self.cache, self.contents, pairs, channels, reading)

    def hashes(self, paths: Collection[str]) -> dict[str, tuple[int, str]]:
        """Size in bytes and sha256 of files, by path."""
        if self.contents is not None and all(path in self.contents.hashes for path in paths):
            return {path: (self.contents.stamps[path][0], self.contents.hashes[path]) for path in paths}
        with ThreadPoolExecutor() as pool:
            return dict(zip(paths, pool.map(lambda path: (os.path.getsize(path), hash_of(path)), paths), strict=True))

    def _has(self, paths: Iterable[Path | None]) -> bool:
        return all(path is None or str(path) in self.contents.hashes for path in paths)


def open_kept(cache: Cache | None, folders: Sequence[Path]) -> Kept:
    """What a cache knows of the data set in these folders.

    Nothing is kept of a data set that is changing at this moment, nor of one that has the cache inside.
    """
    if cache is None or any(cache.folder.is_relative_to(folder) for folder in folders):
        return Kept()
    path = cache.path(("stamps", [str(folder) for folder in folders]), "known")
    cache.use(path)
    known = cache.load(path, {})
    contents = read_contents(folders, known, cache.young_s)
    if contents is None:
        return Kept()
    now = {name: (stamp, contents.hashes[name]) for name, stamp in contents.stamps.items()}
    if now != known:
        with noting(cache):
            cache.save(path, now)
    return Kept(cache, contents)
