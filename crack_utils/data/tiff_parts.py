"""The tiles or strips of a TIFF file, decoded one by one."""

import functools
import io

import numpy as np
from PIL import Image, TiffImagePlugin

from crack_utils.data.photos import HEIGHT, WIDTH, converted, stored_size, transparent

TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325  # tags of TIFF
STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_COUNTS, PLANAR = 273, 278, 279, 284
COPIED = (258, 259, 262, 266, 277, 317, 320, 338, 339, 347, 529, 530, 531, 532)  # tags that say how a tile's pixels are stored
LARGEST_PART = 2**25  # pixels of a strip or tile that is decoded at once
CACHED = 2**26  # pixels of decoded tiles that are kept for the next rows


def has_parts(file: Image.Image) -> bool:
    """Whether an image is a TIFF file in tiles or strips that can be decoded one by one."""
    if file.format != "TIFF" or file.tag_v2.get(PLANAR, 1) != 1:
        return False
    (height, width), tags = _part_size(file), file.tag_v2
    is_listed = {TILE_OFFSETS, TILE_COUNTS} <= set(tags) or {STRIP_OFFSETS, STRIP_COUNTS} <= set(tags)
    return is_listed and 0 < height * width <= LARGEST_PART


def _part_size(file: Image.Image) -> tuple[int, int]:
    tags, size = file.tag_v2, stored_size(file)
    if TILE_WIDTH in tags and TILE_LENGTH in tags:
        return tags[TILE_LENGTH], tags[TILE_WIDTH]
    return min(tags.get(ROWS_PER_STRIP, size[0]), size[0]), size[1]


class TiffParts:
    """The tiles or strips of a TIFF file. Each is decoded by Pillow as a small TIFF file of its own."""

    def __init__(self, file: Image.Image, mode: str, bits: int):
        self.size, self._part, self._mode, self._bits = stored_size(file), _part_size(file), mode, bits
        tags, self._is_tiled = file.tag_v2, TILE_OFFSETS in file.tag_v2
        self._stream = file.fp
        self._offsets = tags[TILE_OFFSETS if self._is_tiled else STRIP_OFFSETS]
        self._counts = tags[TILE_COUNTS if self._is_tiled else STRIP_COUNTS]
        self._tags, self._prefix = {tag: (tags[tag], tags.tagtype.get(tag)) for tag in COPIED if tag in tags}, tags.prefix
        self._across = -(-self.size[1] // self._part[1])
        expected = self._across * -(-self.size[0] // self._part[0])
        if len(self._offsets) < expected or len(self._counts) < expected:
            raise OSError(f"the file says that it has {expected} tiles, but holds {len(self._offsets)}")
        self._seen_transparent: dict[int, int] = {}
        n_kept = max(1, min(2 * self._across, CACHED // (self._part[0] * self._part[1])))
        self._decoded = functools.lru_cache(n_kept)(self._decode)

    @property
    def transparent(self) -> int:
        return sum(self._seen_transparent.values())

    def read(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        pixels = np.empty((height, width, 3)[: 2 if self._mode == "L" else 3], np.uint8)
        bottom, right = top + height, left + width
        for row in range(top // self._part[0], -(-bottom // self._part[0])):
            for column in range(left // self._part[1], -(-right // self._part[1])):
                part = self._decoded(row * self._across + column)
                y, x = row * self._part[0], column * self._part[1]
                y_from, x_from, y_to, x_to = max(top, y), max(left, x), min(bottom, y + self._part[0]), min(right, x + self._part[1])
                pixels[y_from - top : y_to - top, x_from - left : x_to - left] = part[y_from - y : y_to - y, x_from - x : x_to - x]
        return pixels

    def _decode(self, number: int) -> np.ndarray:
        """The pixels of one part, without those beyond the edge of the photo."""
        y, x = number // self._across * self._part[0], number % self._across * self._part[1]
        inside = min(self._part[0], self.size[0] - y), min(self._part[1], self.size[1] - x)
        if not self._counts[number]:  # a part that the file leaves out, as GDAL does where nothing was photographed
            self._seen_transparent[number] = inside[0] * inside[1]
            return np.zeros((*inside, 3)[: 2 if self._mode == "L" else 3], np.uint8)
        self._stream.seek(self._offsets[number])
        content = self._stream.read(self._counts[number])
        stored = self._part if self._is_tiled else inside  # the last strip may be shorter
        with Image.open(io.BytesIO(self._as_file(content, stored))) as image:
            image.load()
            image = image.crop((0, 0, inside[1], inside[0]))
            if number not in self._seen_transparent:
                self._seen_transparent[number] = transparent(image)
            return converted(image, self._mode, self._bits)

    def _as_file(self, content: bytes, size: tuple[int, int]) -> bytes:
        """A TIFF file with one strip of this content."""
        head = TiffImagePlugin.ImageFileDirectory_v2(prefix=self._prefix)
        for tag, (value, kind) in self._tags.items():
            if kind:
                head.tagtype[tag] = kind
            head[tag] = value
        head[HEIGHT], head[WIDTH], head[ROWS_PER_STRIP] = size[0], size[1], size[0]
        head[STRIP_OFFSETS], head[STRIP_COUNTS] = (0,), (len(content),)  # Pillow adds the length of the head to the offset
        file = io.BytesIO()
        head.save(file)
        file.write(content)
        return file.getvalue()
