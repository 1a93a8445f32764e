"""How a photo is covered with tiles that the network can take."""

import math

import numpy as np

from crack_utils.data import Placement

OVERLAP = 0.25  # least overlap, as a share of a tile's side: a network sees little around the edge of a tile


def tile_size(size: tuple[int, int], input_size: tuple[int, int], scale: float) -> tuple[tuple[int, int], Placement]:
    """The (height, width) of a photo's tiles in pixels of the photo, and how each tile lies in the input.

    At this scale a tile fills the input and lies as the input lies. If the photo is narrower than a tile, the rest is padding.
    """
    height, width = (min(side, round(inputs / scale)) for side, inputs in zip(size, input_size, strict=True))
    inner = [min(inputs, max(1, round(side * scale))) for side, inputs in zip((height, width), input_size, strict=True)]
    top, left = ((inputs - side) // 2 for side, inputs in zip(inner, input_size, strict=True))
    return (height, width), Placement(height, width, False, *inner, top, left)


def blend(side: int, tile: int) -> list[tuple[int, np.ndarray]]:
    """Where tiles of ``tile`` pixels start along a photo's side of ``side`` pixels, and the weights of their pixels.

    Tiles overlap by at least OVERLAP. The weights fall evenly from the middle of a tile to its edges. At every pixel of the photo the
    weights of all tiles add up to 1, so no seam is visible.

    Returns:
        For each tile its first pixel and its weights, (tile,) float32.
    """
    steps = math.ceil((side - tile) / max(1, (1 - OVERLAP) * tile))
    starts = np.linspace(0, side - tile, steps + 1).round().astype(int).tolist()
    ramp = np.minimum(np.arange(1, tile + 1), np.arange(tile, 0, -1)).astype(np.float64)
    total = np.zeros(side)
    for start in starts:
        total[start : start + tile] += ramp
    return [(start, (ramp / total[start : start + tile]).astype(np.float32)) for start in starts]
