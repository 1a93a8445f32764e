"""Which images are crops of one photo: whether numbers at the end of names are offsets, and whether equal names mean one photo."""

import dataclasses
import itertools
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from scipy import ndimage

from crack_utils.data.crops import OFFSETS, Pair
from crack_utils.data.photos import decode, read_size
from crack_utils.errors import DataError

COMPARED = 2  # overlaps that are compared for each photo
SMALLEST_OVERLAP = 4  # pixels of the shorter side of an overlap that is compared
COMPARED_NAMES = 5  # names that several folders share and whose photos are compared
JOINED = 0.5  # correlation of the edges of neighbouring tiles
ALIKE = 0.7  # correlation of two pictures of one piece of road


class _Box(NamedTuple):
    """A crop in its photo, if its name ends in offsets."""

    pair: Pair
    left: int
    top: int
    height: int
    width: int


def settle_offsets(pairs: Sequence[Pair], known: Sequence[Pair] = ()) -> list[Pair]:
    """The pairs, where the names of those that cannot be crops of one photo count as names of photos.

    Crops of one photo have one size; only the last column and row may be smaller. Where two crops overlap, both show the same pixels.
    ``known`` are settled pairs: what holds for these holds for pairs whose names begin alike.
    """
    by_photo = defaultdict(list)
    for pair in filter(_has_offsets, (*pairs, *known)):
        by_photo[pair.photo].append(pair)
    false = {photo for photo, crops in by_photo.items() if len({crop.stem for crop in crops}) > 1 and not _can_be_crops(crops)}
    false |= {dataclasses.replace(pair, ending=OFFSETS).photo for pair in known if not pair.ending}
    return [dataclasses.replace(pair, ending="") if _has_offsets(pair) and pair.photo in false else pair for pair in pairs]


def _has_offsets(pair: Pair) -> bool:
    """Whether the name of a pair that is a whole file ends in offsets."""
    return pair.ending == OFFSETS and pair.photo != pair.image_path.stem


def settle_names(pairs: Sequence[Pair], root: Path) -> list[Pair]:
    """The pairs, where photos of one name in several folders count as different photos if their pictures differ, as in sets that number
    the photos of each split anew. Some of these photos are compared.
    """
    by_photo = defaultdict(list)
    for pair in pairs:
        if pair.photo == pair.image_path.stem:
            by_photo[pair.photo].append(pair)
    shared = {photo: those for photo, those in by_photo.items() if len({pair.image_path.parent for pair in those}) > 1}
    if not shared or any(_look_alike(*those[:2]) for those in list(shared.values())[:COMPARED_NAMES]):
        return list(pairs)

    def placed(pair: Pair) -> Pair:
        return dataclasses.replace(
            pair, folder=Path(os.path.relpath(pair.image_path.parent, root)).as_posix()
        )  # a list may name files elsewhere

    return [placed(pair) if pair in shared.get(pair.photo, ()) else pair for pair in pairs]


def _look_alike(one: Pair, other: Pair) -> bool:
    """Whether two photos are one picture, by small copies. A photo that cannot be read is named later."""
    try:
        small = [cv2.resize(decode(pair.image_path, "L"), (32, 32), interpolation=cv2.INTER_AREA).astype(float) for pair in (one, other)]
    except DataError:
        return True
    return min(each.std() for each in small) < 1 or bool(np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1] > ALIKE)


def names_notes(pairs: Sequence[Pair]) -> list[str]:
    """Sentences on what the names were taken to mean."""
    numbered, placed = sum(not pair.ending for pair in pairs), sum(bool(pair.folder) for pair in pairs)
    alone = f"{numbered} images have names that end in two numbers which cannot be offsets. Each counts as a photo of its own."
    apart = f"{placed} images share their names with images of other folders, but differ from them. They count as different photos."
    return [*filter(None, [offsets_note(pairs)]), *[alone] * bool(numbered), *[apart] * bool(placed)]


def offsets_note(pairs: Sequence[Pair]) -> str | None:
    """The sentence that says how many images count as crops of one photo; None if there are none."""
    crops = defaultdict(set)
    for pair in filter(_has_offsets, pairs):
        crops[pair.photo].add(pair.stem)
    shared = [len(stems) for stems in crops.values() if len(stems) > 1]
    photos = "1 photo" if len(shared) == 1 else f"{len(shared)} photos"
    return f"{sum(shared)} images count as crops of {photos}, because their names end in two offsets." if shared else None


def _can_be_crops(crops: Sequence[Pair]) -> bool:
    """Whether the numbers can be offsets or rows and columns: x and y, or y and x."""
    boxes = list(_boxes(crops))
    turned = [box._replace(left=box.top, top=box.left) for box in boxes]
    ways = (boxes, turned) if boxes else ()
    return not boxes or any(_is_grid(each) or (_have_one_size(each) and all(map(_show_the_same, *_overlaps(each)))) for each in ways)


def _is_grid(boxes: Sequence[_Box]) -> bool:
    """Whether the numbers are rows and columns (``top`` and ``left``) of tiles of one photo: the pictures go on from tile to tile."""
    at = {(box.top, box.left): box for box in boxes}
    if len({(box.width, box.height) for box in boxes}) > 1 or min(len({place[i] for place in at}) for i in (0, 1)) < 2:
        return False
    beside = [(one, at[top, left + 1], False) for (top, left), one in at.items() if (top, left + 1) in at]
    below = [(one, at[top + 1, left], True) for (top, left), one in at.items() if (top + 1, left) in at]
    joints = [_agreement(*joint) for joint in (*beside[:COMPARED], *below[:COMPARED])]
    return bool(joints) and float(np.median(joints)) > JOINED


def _agreement(one: _Box, other: _Box, is_below: bool) -> float:
    """The correlation of the last rows or columns of a picture with the first ones of the next."""
    try:
        last, first = (np.atleast_2d(decode(box.pair.image_path, "L").astype(float)) for box in (one, other))
    except DataError:  # decoding names this file later
        return 1.0
    last, first = (last, first) if is_below else (last.T, first.T)
    edges = [ndimage.gaussian_filter1d(edge.mean(axis=0), 2) for edge in (last[-2:], first[:2])]
    return float(np.corrcoef(*edges)[0, 1]) if min(edge.std() for edge in edges) > 0 else 0.0


def _boxes(crops: Sequence[Pair]) -> Iterator[_Box]:
    for crop in crops:
        left, top = map(int, crop.image_path.stem.removesuffix(".jpg").split("_")[-2:])
        try:
            yield _Box(crop, left, top, *read_size(crop.image_path))
        except DataError:  # decoding names this file later
            continue


def _have_one_size(boxes: Sequence[_Box]) -> bool:
    """Whether all sides are as long as the longest but for a tenth, except in the last column and row."""
    width, height = max(box.width for box in boxes), max(box.height for box in boxes)
    last_left, last_top = max(box.left for box in boxes), max(box.top for box in boxes)
    return all((box.width >= 0.9 * width or box.left == last_left) and (box.height >= 0.9 * height or box.top == last_top) for box in boxes)


def _overlaps(boxes: Sequence[_Box]) -> tuple[list[_Box], list[_Box]]:
    """Some pairs of boxes that overlap, as two lists."""
    width, height = max(box.width for box in boxes), max(box.height for box in boxes)
    cells, found = defaultdict(list), []
    for box in boxes:
        column, row = box.left // width, box.top // height
        for i, j in itertools.product((-1, 0, 1), repeat=2):
            found += [(box, other) for other in cells[column + i, row + j] if min(_common(box, other)) >= SMALLEST_OVERLAP]
        if len(found) >= COMPARED:
            break
        cells[column, row].append(box)
    return [one for one, _ in found[:COMPARED]], [other for _, other in found[:COMPARED]]


def _common(one: _Box, other: _Box) -> tuple[int, int]:
    """Height and width of the overlap; below 1 if there is none."""
    right, bottom = min(one.left + one.width, other.left + other.width), min(one.top + one.height, other.top + other.height)
    return bottom - max(one.top, other.top), right - max(one.left, other.left)


def _show_the_same(one: _Box, other: _Box) -> bool:
    """Whether two boxes show the same pixels where they overlap."""
    (height, width), top, left = _common(one, other), max(one.top, other.top), max(one.left, other.left)
    try:
        parts = [
            decode(box.pair.image_path, "L")[top - box.top :, left - box.left :][:height, :width].astype(float) for box in (one, other)
        ]
    except DataError:  # decoding names this file later
        return True
    if min(part.std() for part in parts) < 1:  # nothing to compare but the grey value
        return bool(abs(parts[0] - parts[1]).mean() < 8)
    return bool(np.corrcoef(parts[0].ravel(), parts[1].ravel())[0, 1] > ALIKE)
