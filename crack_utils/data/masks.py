"""Mask files: their pixels as stored, and the rule by which the masks of a data set are read."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import ImageOps

from crack_utils.data.photos import is_negative, load, opened
from crack_utils.errors import DataError

if TYPE_CHECKING:
    from crack_utils.data.mask_rules import Look

NOISE = 16  # grey values that JPEG compression adds to black
MIDDLE = 127  # the threshold between black and white


@dataclasses.dataclass(frozen=True)
class Pixels:
    """A mask file as it is stored, turned as its EXIF says."""

    values: np.ndarray  # (H, W) grey values or palette numbers, or (H, W, 3) uint8 colours
    colours: np.ndarray | None  # (256, 3) uint8, the palette; None: the values are no palette numbers
    alpha: np.ndarray | None  # (H, W) uint8; None if every pixel is opaque
    is_jpeg: bool

    @property
    def top(self) -> int:
        """The value of white."""
        return 65535 if self.values.dtype != np.uint8 else 255

    @property
    def grey(self) -> np.ndarray:
        """(H, W): the brightest channel, because crack may have any colour."""
        if self.colours is not None:
            return self.colours.max(axis=1)[self.values]
        return self.values if self.values.ndim == 2 else self.values.max(axis=2)

    @property
    def colour(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        if self.colours is not None:
            return self.colours[self.values]
        if self.values.ndim == 3:
            return self.values
        return np.repeat((self.values // (257 if self.top > 255 else 1)).astype(np.uint8)[..., None], 3, axis=2)


def read_pixels(path: Path) -> Pixels:
    """Decode a mask file without interpreting the file. Raise DataError if the file is no image."""
    with opened(path) as image:
        is_jpeg = image.format == "JPEG"
        if is_negative(image):
            raise DataError(f"mask {path} stores white as 0 in 16 bits, which would be read inverted; save it with black as 0")
        load(image, path)
        image = ImageOps.exif_transpose(image)
        if image.mode == "F":
            raise DataError(f"mask {path} has pixels that are fractions; save it with whole numbers, best 0 and 255")
        alpha, palette = None, None
        if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
            alpha = np.asarray(image.convert("RGBA").getchannel("A"))
            alpha = None if alpha.min() == 255 else alpha
        if image.mode in ("P", "PA"):
            image, palette = image if image.mode == "P" else image.convert("P"), np.zeros((256, 3), np.uint8)
            listed = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
            palette[: len(listed)] = listed
            values = np.asarray(image)
        elif image.mode == "1":
            values = np.asarray(image).astype(np.uint8) * 255
        elif image.mode.startswith("I"):
            values = np.asarray(image).clip(0, 65535).astype(np.uint16)
        elif image.mode in ("L", "LA", "La"):
            values = np.asarray(image.getchannel("L") if image.mode != "L" else image)
        else:
            values = np.asarray(image.convert("RGB"))
            spread = values.max(axis=2).astype(np.int16) - values.min(axis=2)
            values = values if spread.max() > (NOISE if is_jpeg else 0) else values[..., 0]
    return Pixels(values, palette, alpha, is_jpeg)


@dataclasses.dataclass(frozen=True)
class MaskRule:
    """How all masks of a data set are read. Called with the path of a mask, it returns the crack pixels, (H, W) bool."""

    kind: str = "bright"  # bright, dark, alpha, values, colour or soft
    threshold: int | None = None  # of bright and dark, in grey values of the file; None: half of white
    has_ones: bool = False  # in masks of the values 0 and 1 alone, 1 is crack, although other masks have other values
    values: tuple[int, ...] = ()  # grey values or palette numbers that are crack
    colour: tuple[int, int, int] = (0, 0, 0)
    seen: str = ""  # what the masks hold, in words
    notes: tuple[str, ...] = ()  # sentences for the reader of the run's pages

    def __call__(self, path: Path) -> np.ndarray:
        return self.read(read_pixels(path))

    def read(self, pixels: Pixels) -> np.ndarray:
        """The crack pixels, (H, W) bool."""
        if self.kind == "alpha":
            return np.zeros(pixels.grey.shape, bool) if pixels.alpha is None else pixels.alpha > MIDDLE
        if self.kind == "values":
            return np.isin(pixels.values if pixels.values.ndim == 2 else pixels.grey, self.values)
        if self.kind == "colour":
            apart = np.abs(pixels.colour.astype(np.int16) - self.colour).max(axis=2)
            return apart <= (48 if pixels.is_jpeg else 0)
        grey = pixels.grey
        if self.has_ones and not pixels.is_jpeg and grey.max() == 1:
            return grey == 1
        if self.kind == "soft":
            return is_softly_crack(grey)
        threshold = self.threshold_of(pixels.top)
        return grey <= threshold if self.kind == "dark" else grey > threshold

    def threshold_of(self, top: int) -> int:
        """The grey value up to which a pixel is dark, in a file in which white has the value ``top``."""
        return top // 2 if self.threshold is None else self.threshold

    @property
    def words(self) -> str:
        """The rule as a sentence."""
        threshold = "half of white" if self.threshold is None else self.threshold
        crack = {
            "bright": f"a pixel brighter than {threshold} is crack",
            "dark": f"a pixel of at most {threshold} is crack",
            "alpha": "an opaque pixel is crack",
            "values": f"a pixel of value {' or '.join(map(str, self.values))} is crack",
            "colour": f"a pixel of colour {bytes(self.colour).hex()} is crack",
            "soft": "a pixel brighter than half of the brightest pixel within 2 pixels is crack",
        }[self.kind]
        ones = "; in masks of the values 0 and 1, a pixel of value 1 is crack" if self.has_ones else ""
        return f"{self.seen + '; ' if self.seen else ''}{crack}{ones}."

    def counts(self, look: "Look") -> bool:
        """Whether :meth:`count` is right for a mask. The levels of a palette are no grey values."""
        return look.kind != "index" or self.kind in ("alpha", "values", "colour")

    def count(self, look: "Look") -> int:
        """The number of crack pixels of a mask, from what the mask holds."""
        if self.kind == "alpha":
            return sum(look.colours.values()) if look.kind == "alpha" else 0
        if self.kind == "colour":
            return look.colours.get(bytes(self.colour).hex(), 0)
        if self.kind == "values":
            return sum(look.levels.get(value, 0) for value in self.values)
        threshold = 0 if self.has_ones and look.is_ones else self.threshold_of(look.top)
        bright = sum(count for value, count in look.levels.items() if value > threshold)
        if self.kind == "dark":
            return sum(look.levels.values()) - bright
        return bright + (look.kept_softly if self.kind == "soft" else 0)


def is_softly_crack(grey: np.ndarray) -> np.ndarray:
    """The crack pixels, (H, W) bool, of a mask (H, W) uint8 that was resized with smoothing.

    Smoothing makes a hairline dark. A pixel is crack if it is brighter than half of the brightest pixel in the 5 x 5 pixels around.
    """
    return grey > np.maximum(NOISE, cv2.dilate(grey, np.ones((5, 5), np.uint8)) // 2)
