"""From the file of a photo to pixels of 8 bits a channel: which files are opened, which kinds are read, and how."""

import contextlib
import io
import itertools
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from crack_utils.data.exif import orientation_of, turned, turned_size
from crack_utils.errors import DataError, UserError

EIGHT_BITS = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}  # Pillow's modes
LARGE = 178_956_970  # pixels; Pillow refuses more, because a small file could fill the memory
MOST_PIXELS = 2**30  # of a file that is decoded as a whole, which takes up to 8 bytes a pixel
MOST_PER_BYTE = 1032 * 8  # pixels that a byte of a PNG file can hold at most: those of 1 bit, in the best case of its compression
DARKEST = 16  # grey values of 256: a file of more than 8 bits a channel below this is not used over its whole range
BAND = 256  # rows that are converted at a time
WIDTH, HEIGHT, BITS, SUBFILE, PHOTOMETRIC = 256, 257, 258, 254, 262  # tags of TIFF
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

_limit, _one_large = threading.Lock(), threading.Lock()


def decode(source: Path | bytes, mode: str) -> np.ndarray:
    """The pixels of a photo as a viewer shows it: (H, W) uint8 for mode L, (H, W, 3) uint8 for RGB.

    Of 16 bits a channel the upper 8 are kept. Transparency is dropped. Of several pages or frames the first is read. Photos above LARGE are
    decoded one after the other. Raise DataError if the file is no image, or an image of another kind.
    """
    with opened(source) as file:
        check_kind(file, source)
        bits = bits_of(file)
        with _one_large if file.width * file.height > LARGE else contextlib.nullcontext():
            load(file, source)
            pixels = converted(file, mode, bits)
            check_range(pixels.max(initial=0), bits, source)
            return np.ascontiguousarray(turned(pixels, orientation_of(file)))  # phones store photos lying on their side


def read_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image as a viewer shows the image. Reads only the file's header."""
    with opened(path) as file:
        return turned_size(stored_size(file), orientation_of(file))


def stored_size(file: Image.Image) -> tuple[int, int]:
    """(height, width) of the pixels as the file stores them.

    For TIFF, Pillow gives the size as shown from version 11.0 on, and the stored size before. The tags always give the stored size.
    """
    return (file.tag_v2[HEIGHT], file.tag_v2[WIDTH]) if file.format == "TIFF" else (file.height, file.width)


@contextlib.contextmanager
def opened(source: Path | bytes) -> Iterator[Image.Image]:
    """Open an image file. Errors in the block that come from a damaged file become a DataError that names the file."""
    with named_errors(source), opening(source) as file:
        yield file


@contextlib.contextmanager
def opening(source: Path | bytes) -> Iterator[Image.Image]:
    """Open an image file, for a block that does more than to read the file."""
    # From a file's name, Pillow 11.0 to 13.0 map some TIFF files into memory, and then mix up the pixels of those that EXIF turns.
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        _allow_heif(stream.read(64), source)
        with _without_limit():
            image = Image.open(stream)
        with image:
            if image.format != "TIFF":  # a TIFF file may be read by windows; load() checks the others
                _check_size(image, source)
            yield image


@contextlib.contextmanager
def named_errors(source: Path | bytes) -> Iterator[None]:
    """Turn the errors of a damaged file into a DataError that names the file."""
    try:
        yield
    except UserError:
        raise
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        n_bytes = _bytes_in(source)
        is_empty = not n_bytes and (isinstance(source, bytes) or source.is_file())
        reason = "it is empty" if is_empty else re.sub(r" <_io\..*>$", "", str(error))
        is_odd_tiff = "cannot identify" in reason and called(source).lower().endswith((".tif", ".tiff"))
        fix = "save it as 8 bits a channel, grey or RGB" if is_odd_tiff else "replace or remove it"
        raise DataError(f"cannot read {called(source)} ({n_bytes} bytes) as an image: {reason}; {fix}") from None


@contextlib.contextmanager
def _without_limit() -> Iterator[None]:
    """Let Pillow open large images, because :func:`_check_size` guards instead. The limit belongs to the process, so threads take turns."""
    with _limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_size(file: Image.Image, source: Path | bytes) -> None:
    """Raise DataError if the image would fill the memory, or if the file is too short for so many pixels."""
    pixels, n_bytes = file.width * file.height, _bytes_in(source)
    said = f"{called(source)} says that it has {file.width} x {file.height} pixels"
    if pixels > LARGE and pixels > MOST_PER_BYTE * n_bytes:
        raise DataError(f"{said}, but its {n_bytes} bytes cannot hold so many; the file is damaged or a trap, replace or remove it")
    if pixels > MOST_PIXELS:
        raise DataError(f"{said}; at most {MOST_PIXELS} can be decoded at once; cut it into parts, or save it as a tiled TIFF for predict")


def load(file: Image.Image, source: Path | bytes) -> None:
    """Decode an opened file as a whole."""
    _check_size(file, source)
    if file.width * file.height > LARGE and file.format == "TIFF":  # Pillow checks these again
        with _without_limit():
            file.load()
    file.load()


def check_kind(file: Image.Image, source: Path | bytes) -> str:
    """A sentence on pages or frames that are not read, or "". Raise DataError if the pixels are of a kind that is not read."""
    if file.mode not in EIGHT_BITS and not file.mode.startswith("I;16"):
        kind = {"F": "decimal numbers", "I": "numbers of 32 bits or with a sign"}.get(file.mode, "another kind")
        raise DataError(f"{called(source)} has pixels of mode {file.mode} ({kind}); convert it to 8 or 16 bits a channel, grey or RGB")
    if is_negative(file):
        raise DataError(f"{called(source)} stores white as 0 in 16 bits, which would be read inverted; save it with black as 0")
    if not getattr(file, "is_animated", False) or file.format in ("MPO", "HEIF"):  # phones put small pictures behind the photo
        return ""
    if file.format != "TIFF":
        return f"The file has {file.n_frames} frames; only the first is read."
    size, sizes = stored_size(file), _sizes_of_pages(file)
    if larger := next((number for number, (height, width) in sizes.items() if height * width > size[0] * size[1]), None):
        raise DataError(
            f"the first page of {called(source)} has {size[1]} x {size[0]} pixels, and page {larger} is larger; "
            "save the page that is meant as a file of one page"
        )
    alike = sum(each == size for each in sizes.values())
    return f"The file has {alike + 1} pages of one size; only the first is read." if alike else ""


def is_negative(file: Image.Image) -> bool:
    """Whether the file stores white as 0 and Pillow does not turn it over: Pillow 11.0 to 13.0 do that for 8 bits alone."""
    return file.format == "TIFF" and file.mode.startswith("I;16") and file.tag_v2.get(PHOTOMETRIC) == 0


def _sizes_of_pages(file: Image.Image) -> dict[int, tuple[int, int]]:
    """By page number from 2 on, the size of each page that is neither a reduced copy nor a transparency mask."""
    sizes = {}
    try:
        for number in itertools.count(2):
            file.seek(number - 1)
            if not file.tag_v2.get(SUBFILE, 0) & 0b101:
                sizes[number] = stored_size(file)
    except (EOFError, SyntaxError, ValueError, OSError, KeyError):  # the last page, or one that is no picture
        file.seek(0)
    return sizes


def bits_of(file: Image.Image) -> int:
    """Bits a channel that the file stores. Ask before the file is loaded, because loading may close the file."""
    if file.format == "TIFF":
        return max(file.tag_v2.get(BITS, (1,)))
    if file.format == "PNG":
        place = file.fp.tell()
        file.fp.seek(24)
        bits = file.fp.read(1)[0]
        file.fp.seek(place)
        return bits
    return 16 if file.mode.startswith("I;16") else 8


def converted(image: Image.Image, mode: str, bits: int) -> np.ndarray:
    """The pixels of a decoded image: (H, W) uint8 for mode L, (H, W, 3) uint8 for RGB. ``bits`` are the file's bits a channel."""
    pixels = np.empty((image.height, image.width, 3)[: 2 if mode == "L" else 3], np.uint8)
    for top in range(0, image.height, BAND):
        bottom = min(image.height, top + BAND)
        part = image if image.height <= BAND else image.crop((0, top, image.width, bottom))
        if part.mode.startswith("I;16"):
            grey = (np.asarray(part) >> (bits - 8)).astype(np.uint8)
            pixels[top:bottom] = grey if mode == "L" else grey[..., None]
        else:
            pixels[top:bottom] = np.asarray(part.convert(mode))
    return pixels


def transparent(image: Image.Image) -> int:
    """How many pixels of a decoded image are fully transparent."""
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.getchannel("A").histogram()[0] if "A" in image.getbands() else 0


def check_range(brightest: int, bits: int, source: Path | bytes) -> None:
    """Raise DataError if a file of more than 8 bits would become nearly black, as the 12 bits of a camera in a file of 16 bits do."""
    if bits > 8 and 0 < brightest < DARKEST:
        most, used = 2**bits - 1, (int(brightest) + 1) << (bits - 8)
        raise DataError(
            f"{called(source)} has {bits} bits a channel, but all its values lie below {used} of {most}, so it would be read as nearly "
            f"black; spread its values over 0 to {most}, or save it as 8 bits a channel"
        )


def _allow_heif(head: bytes, source: Path | bytes) -> None:
    """Let Pillow read HEIC photos if the file that begins with these bytes is one."""
    if head[4:8] != b"ftyp" or head[8:12] not in HEIF_BRANDS or b"avif" in head:
        return
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        fix = "pip install 'crack-utils[heic]', or save it as JPEG"
        raise DataError(f"{called(source)} is a HEIC photo, which needs one more package; {fix}") from None
    register_heif_opener()


def _bytes_in(source: Path | bytes) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size if source.is_file() else 0


def called(source: Path | bytes) -> str:
    """How a message names the source."""
    return "the photo" if isinstance(source, bytes) else str(source)
