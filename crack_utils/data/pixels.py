"""Decoded crops in files of the cache. They are mapped into memory, so the system reads what is used, and processes share the pages."""

import contextlib
import dataclasses
import functools
import os
import shutil
import zlib
from collections.abc import Iterable, Sequence
from errno import ENOSPC
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crack_utils.config import written_whole
from crack_utils.data.cache import Cache, noting
from crack_utils.data.contents import Contents, digest
from crack_utils.data.crops import Crop, Pair, decoded, read_crops
from crack_utils.data.masks import MaskRule
from crack_utils.errors import UserError

SPARE = 2 * 2**30  # bytes of the disk that the cache leaves to checkpoints and results


class Row(NamedTuple):
    """Where a crop lies in a file of pixels: the image's bytes, then the mask's bits."""

    offset: int
    height: int
    width: int
    crack_px: int
    checksum: int


@dataclasses.dataclass(frozen=True)
class KeptCrop:
    """A crop in the cache, used as a :class:`Crop`. Sent to another process, it is a name and numbers, no pixels."""

    pair: Pair
    channels: int
    path: Path
    row: Row

    @property
    def size(self) -> tuple[int, int]:
        return self.row.height, self.row.width

    @property
    def crack_px(self) -> int:
        return self.row.crack_px

    @property
    def has_crack(self) -> bool:
        return self.row.crack_px > 0

    @property
    def image(self) -> np.ndarray:
        """(H, W, C) uint8, read-only."""
        return self._content()[: self._pixels * self.channels].reshape(*self.size, self.channels)

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool."""
        return np.unpackbits(self._content()[self._pixels * self.channels :], count=self._pixels).view(bool).reshape(self.size)

    @property
    def _pixels(self) -> int:
        return self.row.height * self.row.width

    def _content(self) -> np.ndarray:
        """The bytes of image and mask. They are decoded again if the file is gone or damaged."""
        with contextlib.suppress(OSError, ValueError):  # a file that is gone, or empty
            whole, checked = _mapped(self.path)
            content = whole[self.row.offset : self.row.offset + self._pixels * self.channels + -(-self._pixels // 8)]
            if self.row.offset in checked or zlib.crc32(content) == self.row.checksum:
                checked.add(self.row.offset)
                return content
            _mapped.cache_clear()
            self.path.unlink(missing_ok=True)  # the next start makes it again
        return packed(read_crops([self.pair], self.channels)[0])


@functools.cache
def _mapped(path: Path) -> tuple[np.ndarray, set[int]]:
    """The bytes of a file, and the offsets of the crops whose checksums this process has compared."""
    return np.asarray(np.memmap(path, np.uint8, "r")), set()


def packed(crop: Crop) -> np.ndarray:
    """A crop as the cache stores it, (N,) uint8."""
    return np.concatenate([crop.image.reshape(-1), np.packbits(crop.mask)])


def read_kept(cache: Cache, contents: Contents, pairs: Sequence[Pair], channels: int, reading: Sequence[str]) -> list[Crop | KeptCrop]:
    """Crops from the cache. Those that the cache lacks are decoded, and kept for the next start.

    ``reading`` are the parameters that decide how masks are read.
    """
    keys = [_key(contents, pair, channels, reading) for pair in pairs]
    found = {key: place for table in _tables(cache) for key, place in table.items()}
    lacking = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in found}
    if lacking:
        with noting(cache):
            found |= _write(cache, contents, lacking, channels)
    crops = {}
    if any(key not in found for key in lacking):
        crops = dict(zip(lacking, read_crops(list(lacking.values()), channels), strict=True))
    for path in {found[key][0] for key in keys if key in found}:
        cache.use(path)
    return [KeptCrop(pair, channels, *found[key]) if key in found else crops[key] for key, pair in zip(keys, pairs, strict=True)]


def _key(contents: Contents, pair: Pair, channels: int, reading: Sequence[str]) -> str:
    """A hash of all that decides a crop's pixels: usually the bytes of two files and the rule; all files for masks of label tools."""
    files = [contents.hashes[str(path)] if path else None for path in (pair.image_path, pair.mask_path)]
    if pair.mask_path is None or isinstance(pair.read_mask, MaskRule | None):
        how = dataclasses.replace(pair.read_mask, seen="", notes=()) if pair.read_mask else None
    else:
        how = contents.key, contents.names[str(pair.image_path)], tuple(reading)
    return digest((files, pair.box, channels, how))


def _tables(cache: Cache) -> Iterable[dict[str, tuple[Path, Row]]]:
    """By key, the places of the crops in each file of pixels that has its full size."""
    for path in cache.folder.glob("*.pixels"):
        size, rows = cache.load(path.with_suffix(".known"), (None, {}))
        with contextlib.suppress(FileNotFoundError):  # another process may have removed it
            if path.stat().st_size == size:
                yield {key: (path, row) for key, row in rows.items()}


def _write(cache: Cache, contents: Contents, lacking: dict[str, Pair], channels: int) -> dict[str, tuple[Path, Row]]:
    """Decode crops into a new file of pixels. Raise UserError or OSError if the disk takes no more, or the data set has changed."""
    path, rows, offset = cache.path(("pixels", *lacking), "pixels"), {}, 0
    with written_whole(path) as scratch, scratch.open("wb") as file:
        for key, crop in zip(lacking, decoded(list(lacking.values()), channels), strict=True):
            content = packed(crop)
            if shutil.disk_usage(scratch).free < SPARE + content.nbytes:
                raise OSError(ENOSPC, f"the disk has less than {SPARE >> 30} GB left")
            rows[key] = Row(offset, *crop.size, crop.crack_px, zlib.crc32(content))
            offset += file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if not contents.is_present():
            raise UserError("the files of the data set changed while they were read")
    cache.save(path.with_suffix(".known"), (offset, rows))
    cache.trim()
    return {key: (path, row) for key, row in rows.items()}
