"""Whether the two numbers at the end of names are offsets of crops, or number photos."""

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Sequence

from crack_utils.data.crops import OFFSETS, Pair, read_size
from crack_utils.errors import DataError


def settle_offsets(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, where the names of those that can be no crops of one photo count as names of photos.

    Two crops of one photo are at least half a side apart in x or y, and all have one size; the last column and row may be smaller.
    """
    by_photo = defaultdict(list)
    for pair in pairs:
        if pair.ending == OFFSETS:
            by_photo[pair.photo].append(pair)
    false = {photo for photo, crops in by_photo.items() if len({crop.stem for crop in crops}) > 1 and not _can_be_crops(crops)}
    return [dataclasses.replace(pair, ending="") if pair.ending == OFFSETS and pair.photo in false else pair for pair in pairs]


def offsets_note(pairs: Sequence[Pair]) -> str | None:
    """The sentence that says how many images count as crops of one photo; None if there are none."""
    crops = defaultdict(set)
    for pair in pairs:
        if pair.ending == OFFSETS:
            crops[pair.photo].add(pair.stem)
    shared = [len(stems) for stems in crops.values() if len(stems) > 1]
    photos = "1 photo" if len(shared) == 1 else f"{len(shared)} photos"
    return f"{sum(shared)} images count as crops of {photos}, because their names end in two offsets." if shared else None


def _can_be_crops(crops: Sequence[Pair]) -> bool:
    boxes = set()
    for crop in crops:
        x, y = map(int, crop.stem.removesuffix(".jpg").split("_")[-2:])
        try:
            height, width = read_size(crop.image_path)
        except DataError:  # decoding names this file later
            continue
        boxes.add((x, y, width, height))
    if not boxes:
        return True
    widths, heights = {box[2] for box in boxes}, {box[3] for box in boxes}
    last_x, last_y = max(box[0] for box in boxes), max(box[1] for box in boxes)
    are_alike = all(_like(box[2], max(widths), box[0] == last_x) and _like(box[3], max(heights), box[1] == last_y) for box in boxes)
    return are_alike and _are_apart([box[:2] for box in boxes], min(widths) / 2, min(heights) / 2)


def _like(side: int, longest: int, is_last: bool) -> bool:
    """Whether a side is as long as the others are, but for a tenth. The last crop of a photo may be smaller."""
    return is_last or side >= 0.9 * longest


def _are_apart(corners: Sequence[tuple[int, int]], width: float, height: float) -> bool:
    """Whether any two corners are apart by ``width`` in x or by ``height`` in y."""
    cells = defaultdict(list)
    for x, y in corners:
        column, row = int(x // width), int(y // height)
        near = itertools.chain.from_iterable(cells[column + i, row + j] for i, j in itertools.product((-1, 0, 1), repeat=2))
        if any(abs(x - other) < width and abs(y - other_y) < height for other, other_y in near):
            return False
        cells[column, row].append((x, y))
    return True
