"""The rows of a PNG file, decoded group by group."""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from crack_utils.data.exif import png_chunks
from crack_utils.data.photos import converted, transparent

COMPRESSION = 3  # of 9: masks are nearly black and become small at once


def is_read_by_rows(file: Image.Image, bits: int, orientation: int) -> bool:
    """Whether an image is a PNG file whose rows can be decoded one after the other, and need not be turned."""
    return file.format == "PNG" and orientation == 1 and bits == 8 and not (file.info.get("interlace") or file.is_animated)


class PngRows:
    """The rows of a PNG file from top to bottom. Reading a row above the last ones begins again.

    A row of a PNG file builds on the row above it. So each group of rows, together with the last row before it, is decoded by Pillow as a
    small PNG file of its own.
    """

    GROUP = 256  # rows that are decoded at a time

    def __init__(self, file: Image.Image, mode: str, bits: int):
        self.size, self._mode, self._bits, self._stream = (file.height, file.width), mode, bits, file.fp
        self._stream.seek(8)
        self._head = {}
        for kind, place, length in png_chunks(self._stream):
            if kind == b"IDAT":
                self._first = place
                break
            if kind in (b"IHDR", b"PLTE", b"tRNS"):
                self._stream.seek(place)
                self._head[kind] = self._stream.read(length)
        color = self._head[b"IHDR"][9]
        self._row_bytes = 1 + self.size[1] * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
        self.transparent, self._counted = 0, 0
        self._begin()

    def _begin(self) -> None:
        self._source, self._before = self._filtered(), b""
        self._top, self._kept = 0, []  # the rows that are kept begin at _top
        self._bottom = 0

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        if top < self._top:
            self._begin()
        while self._bottom < top + height:
            self._kept.append(self._next_group())
            self._bottom += len(self._kept[-1])
            while self._kept and self._top + len(self._kept[0]) <= top:
                self._top += len(self._kept.pop(0))
        return np.concatenate(self._kept)[top - self._top : top - self._top + height, left : left + width]

    def _next_group(self) -> np.ndarray:
        count = min(self.GROUP, self.size[0] - self._bottom)
        rows = next(self._source, b"")
        if len(rows) != count * self._row_bytes:
            raise OSError("the file ends before its last row")
        with Image.open(io.BytesIO(self._as_file(self._before + rows))) as image:
            image.load()
            first = 1 if self._before else 0
            image = image.crop((0, first, image.width, image.height))
            self._before = b"\0" + image.crop((0, count - 1, image.width, count)).tobytes()
            if self._bottom == self._counted:  # the first time that these rows are read
                self._counted += count
                self.transparent += transparent(image)
            return converted(image, self._mode, self._bits)

    def _as_file(self, rows: bytes) -> bytes:
        """A PNG file of these rows, which are packed but not compressed."""
        header = struct.pack(">II", self.size[1], len(rows) // self._row_bytes) + self._head[b"IHDR"][8:]
        chunks = [(b"IHDR", header), *((kind, content) for kind, content in self._head.items() if kind != b"IHDR")]
        chunks += [(b"IDAT", zlib.compress(rows, 0)), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(map(packed, *zip(*chunks, strict=True)))

    def _filtered(self) -> Iterator[bytes]:
        """The unpacked rows of the file, in groups."""
        unpack, group = zlib.decompressobj(), self._row_bytes * self.GROUP
        rest = bytearray()
        self._stream.seek(self._first - 8)
        for kind, _, length in png_chunks(self._stream):
            if kind != b"IDAT":
                break
            content = self._stream.read(length)
            while content:
                rest += unpack.decompress(content, group)
                content = unpack.unconsumed_tail
                while len(rest) >= group:
                    yield bytes(rest[:group])
                    del rest[:group]
        rest += unpack.flush()
        yield bytes(rest)


def packed(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_grey_png(path: Path, size: tuple[int, int], rows: Iterable[np.ndarray]) -> None:
    """Write a grey picture of (height, width) pixels as PNG from groups of its rows, (n, W) uint8. Only one group is in memory."""
    pack = zlib.compressobj(COMPRESSION)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + packed(b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], 8, 0, 0, 0, 0)))
        for group in rows:
            if content := pack.compress(np.pad(group, ((0, 0), (1, 0))).tobytes()):  # a row begins with the number of its filter, 0
                file.write(packed(b"IDAT", content))
        file.write(packed(b"IDAT", pack.flush()) + packed(b"IEND", b""))
