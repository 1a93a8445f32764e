"""Crops: where their files lie, large photos cut into crops, and from files to pixels."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from crack_utils.data.masks import MaskRule
from crack_utils.data.photos import decode, read_size
from crack_utils.errors import DataError

SPLITS = ("train", "val", "test")
OFFSETS = r"(_\d{1,5}){2}"  # CRACK500 appends two offsets to a photo's name; a date and a time have more digits
LARGEST_UNCUT = 1024  # longest side of a photo that stays whole
AHEAD = 64  # files that are decoded before the first of them is used
CUT_SIZE = (360, 640)  # (height, width) of a crop, as in CRACK500


@dataclasses.dataclass(frozen=True)
class Pair:
    """Where the image and the mask of one crop lie."""

    image_path: Path
    mask_path: Path | None  # None for an image of a negatives folder, which has no crack
    box: tuple[int, int, int, int] | None = None  # (top, left, height, width) of the crop in the file; None: the whole file
    source: str = ""  # the data set that the image comes from, if a layout merges several
    folder: str = ""  # of photos that share their names and differ, so that they count as different photos
    ending: str = OFFSETS  # a regular expression of what the crop's name appends to its photo's name
    read_mask: Callable[[Path], np.ndarray] | None = None  # from the mask's path to (H, W) bool; None: brighter than 127 is crack

    @property
    def stem(self) -> str:
        """The file's name without suffix. A box appends its offsets as CRACK500 does: x first, counted from 1."""
        return self.image_path.stem + (f"_{self.box[1] + 1}_{self.box[0] + 1}" if self.box else "")

    @property
    def photo(self) -> str:
        """The name of the photo that the crop was cut from."""
        name = re.sub(rf"{self.ending}(\.jpg)?$", "", self.image_path.stem)  # merged sets have names such as x_1_1.jpg.jpg
        return f"{self.folder}/{name}" if self.folder else name


@dataclasses.dataclass(frozen=True)
class Unused:
    """A file of the data set that no image or mask is read from."""

    path: Path
    reason: str  # what was seen, such as "photo without a mask"
    fix: str = ""  # what to do about it; a file with a fix stops the run unless on_bad_data is skip
    detail: str = ""  # what was seen of this file, such as "0 bytes"


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

    @property
    def crack_px(self) -> int:
        """The number of the mask's crack pixels."""
        return int(self.mask.sum())

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.mask.shape


def cut(pair: Pair) -> list[Pair]:
    """Cut a photo that is too large to train on into a grid of equal crops of about 640 x 360 pixels, as CRACK500's authors did.

    Crops overlap by a few pixels, so that their sides are divisible by 8. A photo whose sides have at most 1024 pixels stays whole.
    """
    size = read_size(pair.image_path)
    if max(size) <= LARGEST_UNCUT:
        return [pair]
    wanted = CUT_SIZE if size[0] <= size[1] else CUT_SIZE[::-1]
    (tops, height), (lefts, width) = (_cut_side(side, goal) for side, goal in zip(size, wanted, strict=True))
    return [dataclasses.replace(pair, box=(top, left, height, width)) for top in tops for left in lefts]


def _cut_side(side: int, goal: int) -> tuple[list[int], int]:
    """The offsets of the crops along one side, and their length."""
    parts = max(1, round(side / goal))
    length = min(side, -(-side // (8 * parts)) * 8)
    return np.linspace(0, side - length, parts).round().astype(int).tolist(), length


def read_crops(pairs: Sequence[Pair], channels: int) -> list[Crop]:
    """Decode crops on all cores. Raise DataError if a file is no image or a mask has another size."""
    return list(decoded(pairs, channels))


def decoded(pairs: Sequence[Pair], channels: int) -> Iterator[Crop]:
    """Decode crops one by one, a few files ahead, so that few are in memory. Neighbouring crops of one file are decoded together."""
    files = [list(crops) for _, crops in itertools.groupby(pairs, key=lambda pair: pair.image_path)]
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(files), AHEAD):
            for crops in pool.map(lambda crops: _read_photo(crops, channels), files[start : start + AHEAD]):
                yield from crops


def _read_photo(pairs: Sequence[Pair], channels: int) -> list[Crop]:
    """Decode crops of one file."""
    pair = pairs[0]
    image = decode(pair.image_path, "RGB" if channels == 3 else "L")
    size = image.shape[:2]
    mask = np.zeros(size, bool) if pair.mask_path is None else _read_mask(pair)
    if mask.shape != size:
        sizes = f"is {mask.shape[1]} x {mask.shape[0]}, its image {size[1]} x {size[0]}"
        raise DataError(f"mask {pair.mask_path} {sizes}; they must be of one size")
    image, crops = image.reshape(*size, channels), []
    for each in pairs:
        top, left, height, width = each.box or (0, 0, *size)
        part = np.s_[top : top + height, left : left + width]
        crops.append(Crop(each, image[part].copy(), mask[part].copy()))  # a view would keep the whole photo in memory
    return crops


def shows_crack(pair: Pair) -> bool:
    """Whether the mask file has any crack pixel."""
    return pair.mask_path is not None and bool(_read_mask(pair).any())


def _read_mask(pair: Pair) -> np.ndarray:
    """The mask of a whole file, (H, W) bool."""
    return (pair.read_mask or MaskRule())(pair.mask_path)
