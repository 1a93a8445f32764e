"""How a photo lies: the orientation that EXIF states, and whether a mask lies as the photo is shown or as the photo is stored."""

import io
import math
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import ExifTags, Image
from scipy import ndimage

TURNS = {  # by orientation: the quarter turns against the clock, and whether the picture is mirrored left to right after them
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}
COMPARED = 4_000_000  # pixels of a photo whose contents are compared
RING_PX = (3, 8)  # the ring around a mask begins and ends so many pixels away from the mask
LEAST_CONTRAST = 3.0  # grey values by which a crack must be darker than its ring in one placement, beyond the other placement


def orientation_of(file: Image.Image) -> int:
    """The orientation that the file states in EXIF or XMP, 1 to 8; 1 if the file states none or another number.

    Reads no pixels, except of a PNG file whose EXIF data stand behind its pixels.
    """
    if file.format == "PNG" and "exif" not in file.info and not _has_late_text(file):
        orientation = Image.Image.getexif(file).get(ExifTags.Base.Orientation, 1)  # PngImageFile.getexif would decode the whole file
    else:
        orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in TURNS else 1


def _has_late_text(file: Image.Image) -> bool:
    """Whether a PNG file has chunks with EXIF or text behind its pixels."""
    if file.fp is None:  # the file was loaded, and Pillow has read these chunks
        return False
    place = file.fp.tell()
    file.fp.seek(8)
    kinds = [kind for kind, _, _ in png_chunks(file.fp)]
    file.fp.seek(place)
    behind = kinds[kinds.index(b"IDAT") :] if b"IDAT" in kinds else []
    return not {b"eXIf", b"tEXt", b"zTXt", b"iTXt"}.isdisjoint(behind)


def png_chunks(stream: io.BufferedIOBase) -> Iterator[tuple[bytes, int, int]]:
    """The kind, place and length of the chunks of a PNG file from here on."""
    place = stream.tell()
    while len(head := stream.read(8)) == 8:
        length = int.from_bytes(head[:4], "big")
        yield head[4:], place + 8, length
        place += 12 + length
        stream.seek(place)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn the stored pixels (H, W, ...) as a viewer shows them. The result is a view."""
    quarters, is_mirrored = TURNS[orientation]
    pixels = np.rot90(pixels, quarters)
    return pixels[:, ::-1] if is_mirrored else pixels


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The (height, width) that a viewer shows of stored pixels of this (height, width)."""
    return size[::-1] if orientation >= 5 else size


def stored_rows(top: int, bottom: int, size: tuple[int, int], orientation: int) -> tuple[int, int, int, int]:
    """Where rows of the shown photo lie in the stored pixels, which are of ``size`` (height, width): (top, left, height, width)."""
    (height, width), quarters = turned_size(size, orientation), TURNS[orientation][0]
    first = top if quarters in (0, 3) else height - bottom
    return (first, 0, bottom - top, width) if quarters % 2 == 0 else (0, first, width, bottom - top)


def orientation_evidence(image: np.ndarray, mask: np.ndarray, orientation: int) -> str:
    """Decide how a mask lies whose photo states an orientation other than 1.

    Sizes decide where they differ. Otherwise the contents decide: cracks are darker than their surroundings, so the grey values under the
    mask are compared with those of a ring around the mask, in both placements.

    Args:
        image: (H, W) or (H, W, C) uint8, the photo as shown.
        mask: (h, w) bool, as the mask's file stores it.
        orientation: what the photo's EXIF data state, 1 to 8.

    Returns:
        "turned" if the mask fits the photo as shown, "stored" if it fits the photo as stored and must be turned like the photo, "unknown"
        if both fit about equally, and "neither" if the mask has another size than both.
    """
    fits_turned, fits_stored = mask.shape == image.shape[:2], turned_size(mask.shape, orientation) == image.shape[:2]
    if not (fits_turned and fits_stored):
        return "turned" if fits_turned else "stored" if fits_stored else "neither"
    if orientation == 1:
        return "turned"
    grey = image if image.ndim == 2 else image.mean(axis=2)
    as_turned, as_stored = abs(crack_contrast(grey, mask)), abs(crack_contrast(grey, turned(mask, orientation)))  # sealed cracks are bright
    if max(as_turned, as_stored) < LEAST_CONTRAST or abs(as_turned - as_stored) < LEAST_CONTRAST:
        return "unknown"
    return "turned" if as_turned > as_stored else "stored"


def smaller(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A photo (H, W) and its mask (h, w) bool, reduced by one whole number if they are too large to compare quickly."""
    step = math.ceil(math.sqrt(image.size / COMPARED))
    if step == 1:
        return image, mask
    reduced = [cv2.resize(each, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA) for each in (image, mask.astype(np.float32))]
    return reduced[0], reduced[1] > 0.25


def crack_contrast(grey: np.ndarray, mask: np.ndarray) -> float:
    """By how many grey values the pixels under the mask are darker on average than a ring around the mask; 0 without mask or ring."""
    far = ndimage.distance_transform_edt(~mask) if mask.any() else np.zeros(mask.shape)
    ring = (far >= RING_PX[0]) & (far <= RING_PX[1])
    return float(grey[ring].mean() - grey[mask].mean()) if mask.any() and ring.any() else 0.0
