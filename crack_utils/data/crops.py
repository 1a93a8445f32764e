"""A crop: where its files lie, and its pixels."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

SPLITS = ("train", "val", "test")
OFFSETS = r"(_(0|[1-9]\d{0,4})){2}"  # CRACK500 appends two offsets to a photo's name; a date and a time have more digits


@dataclasses.dataclass(frozen=True)
class Pair:
    """Where the image and the mask of one crop lie.

    Args:
        mask_path: None for an image of a negatives folder, which has no crack.
        box: (top, left, height, width) of the crop in the file; None: the whole file.
        source: the data set that the image comes from, if a layout merges several.
        ending: a regular expression of what the crop's name appends to its photo's name.
        read_mask: from the mask's path to (H, W) bool, if the mask is no image file.
    """

    image_path: Path
    mask_path: Path | None
    box: tuple[int, int, int, int] | None = None
    source: str = ""
    ending: str = OFFSETS
    read_mask: Callable[[Path], np.ndarray] | None = None

    @property
    def stem(self) -> str:
        """The file's name without suffix. A box appends its offsets as CRACK500 does: x first, counted from 1."""
        return self.image_path.stem + (f"_{self.box[1] + 1}_{self.box[0] + 1}" if self.box else "")

    @property
    def photo(self) -> str:
        """The name of the photo that the crop was cut from."""
        return re.sub(rf"{self.ending}(\.jpg)?$", "", self.stem)  # merged sets have names such as x_1_1.jpg.jpg


@dataclasses.dataclass(frozen=True)
class Crop:
    """A decoded crop at its own size: image (H, W, C) uint8, mask (H, W) bool."""

    pair: Pair
    image: np.ndarray
    mask: np.ndarray

    @property
    def has_crack(self) -> bool:
        """Whether the mask has a crack pixel."""
        return bool(self.mask.any())
