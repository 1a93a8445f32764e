"""Large photos cut into crops."""

import dataclasses

import numpy as np

from crack_utils.data.crops import Pair
from crack_utils.data.decoding import read_size

LARGEST_UNCUT = 1024  # longest side of a photo that stays whole
CUT_SIZE = (360, 640)  # (height, width) of a crop, as in CRACK500


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
