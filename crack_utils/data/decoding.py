"""From files to pixels."""

import contextlib
import io
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from crack_utils.data.crops import Crop, Pair
from crack_utils.errors import DataError

JPEG_NOISE = 16  # grey values that JPEG compression adds to black


def read_crops(pairs: Sequence[Pair], channels: int) -> list[Crop]:
    """Decode many crops on all cores. Neighbouring crops of one file are decoded together.

    Raises:
        DataError: see :func:`read_crop`.
    """
    files = [list(crops) for _, crops in itertools.groupby(pairs, key=lambda pair: pair.image_path)]
    with ThreadPoolExecutor() as pool:
        return list(itertools.chain.from_iterable(pool.map(lambda crops: _read_photo(crops, channels), files)))


def read_crop(pair: Pair, channels: int) -> Crop:
    """Decode one crop. A mask's pixel above 127 is crack.

    Raises:
        DataError: a file is no image, the mask has another size, or the mask has no pixel above 127 but is not black.
    """
    return _read_photo([pair], channels)[0]


def _read_photo(pairs: Sequence[Pair], channels: int) -> list[Crop]:
    """Decode crops of one file."""
    pair = pairs[0]
    image = decode(pair.image_path, "RGB" if channels == 3 else "L")
    image = image.reshape(*image.shape[:2], channels)
    mask = np.zeros(image.shape[:2], bool) if pair.mask_path is None else _read_mask(pair)
    if mask.shape != image.shape[:2]:
        raise DataError(
            f"mask {pair.mask_path} is {mask.shape[1]} x {mask.shape[0]}, its image {image.shape[1]} x {image.shape[0]}; "
            "they must be of one size"
        )
    return [Crop(each, _part(image, each.box), _part(mask, each.box)) for each in pairs]


def _part(array: np.ndarray, box: tuple[int, int, int, int] | None) -> np.ndarray:
    if box is None:
        return array
    top, left, height, width = box
    return array[top : top + height, left : left + width].copy()  # a view would keep the whole photo in memory


def shows_crack(pair: Pair) -> bool:
    """Whether the mask file has any crack pixel."""
    return pair.mask_path is not None and bool(_read_mask(pair).any())


def _read_mask(pair: Pair) -> np.ndarray:
    """The mask of a whole file, (H, W) bool."""
    path = pair.mask_path
    if pair.read_mask:
        return pair.read_mask(path)
    grey = decode(path, "RGB").max(axis=2)  # crack may have any colour
    noise = JPEG_NOISE if pair.source or path.suffix.lower() in (".jpg", ".jpeg") else 0  # merged sets were JPEG files once
    if noise < grey.max() <= 127:
        raise DataError(f"mask {path} holds values up to {grey.max()}; crack must be brighter than 127, the rest 0")
    return grey > 127


def decode(source: Path | bytes, mode: str) -> np.ndarray:
    """The pixels of an image, turned as its EXIF data says.

    Args:
        source: a file, or a file's bytes.
        mode: L for grey, RGB for colour.

    Returns:
        (H, W) uint8 for L, (H, W, 3) uint8 for RGB.

    Raises:
        DataError: the source is no image of 8 bits a channel.
    """
    with _opened(source) as image:
        if image.mode.startswith(("I", "F")):
            raise DataError(f"{_called(source)} has pixels of mode {image.mode}; convert it to 8 bits a channel")
        return np.asarray(ImageOps.exif_transpose(image).convert(mode))  # phones store photos lying on their side


def read_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image as a viewer shows the image. Reads only the file's header."""
    with _opened(path) as file:
        is_lying = file.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return (file.width, file.height) if is_lying else (file.height, file.width)


@contextlib.contextmanager
def _opened(source: Path | bytes) -> Iterator[Image.Image]:
    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    try:
        with Image.open(file) as image:
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size if source.is_file() else 0
        reason = "it is empty" if not size else str(error).removesuffix(f" {file!r}")
        raise DataError(f"cannot read {_called(source)} ({size} bytes) as an image: {reason}; replace or remove it") from None


def _called(source: Path | bytes) -> str:
    return "the photo" if isinstance(source, bytes) else str(source)
