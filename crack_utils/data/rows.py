"""Rows of a photo that is too large to hold in memory: TIFF and PNG files are decoded part by part."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from crack_utils.data.exif import orientation_of, stored_rows, turned, turned_size
from crack_utils.data.photos import bits_of, check_kind, check_range, converted, load, named_errors, opening, transparent
from crack_utils.data.png_rows import PngRows, is_read_by_rows
from crack_utils.data.tiff_parts import TiffParts, has_parts

WHOLE_UP_TO = 2**25  # pixels; photos above are read and searched by rows
CHECKED_ROWS = 256  # rows that are looked through at a time for the brightest value


class PhotoRows:
    """A photo of which any rows can be read. Make one with :func:`open_rows`.

    ``size`` is (height, width) as shown. ``is_large`` says that the photo should not be held in memory as a whole.
    """

    def __init__(self, parts: "Whole | TiffParts | PngRows", path: Path, orientation: int, channels: int, is_large: bool, page_note: str):
        self._parts, self._path, self._orientation, self._page_note = parts, path, orientation, page_note
        self.size, self.channels, self.is_large = turned_size(parts.size, orientation), channels, is_large

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """The rows from ``top`` to before ``bottom`` of the photo as shown, (bottom - top, W, channels) uint8."""
        box = stored_rows(top, bottom, self._parts.size, self._orientation)
        with named_errors(self._path):
            pixels = np.ascontiguousarray(turned(self._parts.read(*box), self._orientation))
        return pixels.reshape(*pixels.shape[:2], self.channels)

    def notes(self) -> list[str]:
        """Sentences on pages that are not read, and on transparent pixels. Ask after all rows were read."""
        share, notes = self._parts.transparent / (self.size[0] * self.size[1]), [self._page_note] if self._page_note else []
        if share:
            notes.append(f"{100 * share:.2f} % of the photo is fully transparent; the colours stored there are searched too.")
        return notes


@contextlib.contextmanager
def open_rows(path: Path, channels: int, whole_up_to: int = WHOLE_UP_TO) -> Iterator[PhotoRows]:
    """Open a photo by rows. ``channels`` are 3 for colour, 1 for grey. Raise DataError as :func:`crack_utils.data.decode` does.

    Of photos above ``whole_up_to`` pixels, TIFF files and most PNG files are decoded part by part. Other files are decoded as a whole,
    which takes up to 5 bytes a pixel.
    """
    mode = "RGB" if channels == 3 else "L"
    with contextlib.ExitStack() as stack:
        with named_errors(path):
            file = stack.enter_context(opening(path))
            note, orientation, bits = check_kind(file, path), orientation_of(file), bits_of(file)
            is_large = file.width * file.height > whole_up_to
            if is_large and has_parts(file):
                parts = TiffParts(file, mode, bits)
            elif is_large and is_read_by_rows(file, bits, orientation):
                parts = PngRows(file, mode, bits)
            else:
                parts = Whole(file, mode, bits, path)
                orientation = orientation_of(file)  # Pillow turns a TIFF file when it is loaded
            if bits > 8:
                check_range(_brightest(parts), bits, path)
        yield PhotoRows(parts, path, orientation, channels, is_large, note)


def _brightest(parts: "Whole | TiffParts | PngRows") -> int:
    height, width = parts.size
    return max(parts.read(top, 0, min(CHECKED_ROWS, height - top), width).max() for top in range(0, height, CHECKED_ROWS))


class Whole:
    """A photo that Pillow has decoded. The pixels stay as Pillow keeps them, so that no copy of the whole is made."""

    def __init__(self, file: Image.Image, mode: str, bits: int, path: Path):
        load(file, path)
        self.size, self._file, self._mode, self._bits = (file.height, file.width), file, mode, bits
        self.transparent = transparent(file)

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        return converted(self._file.crop((left, top, left + width, top + height)), self._mode, self._bits)
