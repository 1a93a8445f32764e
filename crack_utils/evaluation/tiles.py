"""Tiles of a photo."""

import math

import numpy as np

from crack_utils.data import Placement

OVERLAP = 0.25  # of a tile's side, at least: what one tile sees at its edge, another sees with more around it


def tile_size(size: tuple[int, int], input_size: tuple[int, int], scale: float) -> tuple[tuple[int, int], Placement]:
    """The (height, width) of a photo's tiles in its own pixels, and how each lies in the input.

    At ``scale`` a tile fills the input, lying as the input lies; where the photo is narrower than that, the rest is padding.
    """
    height, width = (min(side, round(inputs / scale)) for side, inputs in zip(size, input_size, strict=True))
    inner = [min(inputs, max(1, round(side * scale))) for side, inputs in zip((height, width), input_size, strict=True)]
    top, left = ((inputs - side) // 2 for side, inputs in zip(inner, input_size, strict=True))
    return (height, width), Placement(height, width, False, *inner, top, left)


def blend(side: int, tile: int) -> list[tuple[int, np.ndarray]]:
    """Where tiles begin along a side of ``side`` pixels, and the weights (tile,) float32 of each one's pixels.

    Tiles overlap by at least OVERLAP. A weight falls evenly from the tile's middle to its edges; at every pixel the weights add up
    to 1, so that no seam is left.
    """
    steps = math.ceil((side - tile) / max(1, (1 - OVERLAP) * tile))
    starts = np.linspace(0, side - tile, steps + 1).round().astype(int).tolist()
    ramp = np.minimum(np.arange(1, tile + 1), np.arange(tile, 0, -1)).astype(np.float64)
    total = np.zeros(side)
    for start in starts:
        total[start : start + tile] += ramp
    return [(start, (ramp / total[start : start + tile]).astype(np.float32)) for start in starts]
