"""From the shapes of label tools to pixels. One rule holds for all: a pixel belongs to a shape if its centre lies inside.

Coordinates are (x, y) in pixels. The corner of the first pixel is (0, 0) and its centre is (0.5, 0.5). All functions change ``mask``,
(H, W) bool, and leave out what lies outside the mask.
"""

import base64
import binascii
import io
import itertools
from collections.abc import Sequence

import numpy as np
from PIL import Image

LINE_WIDTH = 10  # pixels; a line of a label tool has no width. LabelMe's own converter draws lines so wide.


def fill_polygon(mask: np.ndarray, ring: Sequence[Sequence[float]]) -> None:
    """Fill a polygon by the even-odd rule.

    Along the row of pixel centres, each crossing of an edge changes between outside and inside. Libraries do something else: OpenCV and
    Pillow add the outline, and scikit-image tests each pixel against each edge, which takes seconds for a photo.
    """
    height, width = mask.shape
    starts = checked_points(ring) - 0.5  # now pixel centres are whole numbers
    ends = np.roll(starts, -1, axis=0)
    falls = (starts[:, 1] <= ends[:, 1])[:, None]
    (x0, y0), (x1, y1) = np.where(falls, starts, ends).T, np.where(falls, ends, starts).T
    first, last = (np.ceil(y.clip(-1, height)).clip(0).astype(int) for y in (y0, y1))  # an edge crosses rows first, ..., last - 1
    times = last - first
    edge = np.repeat(np.arange(len(times)), times)
    if not len(edge):
        return
    row = np.arange(len(edge)) - (np.cumsum(times) - times - first)[edge]
    x = x0[edge] + (row - y0[edge]) * ((x1 - x0)[edge] / (y1 - y0)[edge])
    column = np.ceil(x.clip(-1, width)).clip(0).astype(int)
    (top, bottom), (left, right) = ((values.min(), values.max() + 1) for values in (row, column))
    changes = np.zeros((bottom - top, right - left), np.uint8)
    np.bitwise_xor.at(changes, (row - top, column - left), 1)
    mask[top:bottom, left:right] |= np.bitwise_xor.accumulate(changes, axis=1)[:, : width - left].astype(bool)


def fill_ellipse(mask: np.ndarray, centre: Sequence[float], radii: Sequence[float], rotation: float = 0.0) -> None:
    """Fill an ellipse. ``radii`` are those along its own x and y axes, which are rotated clockwise by ``rotation`` degrees."""
    (x, y), (rx, ry) = checked_points([centre, radii])
    reach = max(rx, ry)
    top, left = (int(np.clip(np.floor(value - reach), 0, side)) for value, side in zip((y, x), mask.shape, strict=True))
    bottom, right = (int(np.clip(np.ceil(value + reach), 0, side)) for value, side in zip((y, x), mask.shape, strict=True))
    rows, columns = np.ogrid[top:bottom, left:right]
    dx, dy, turn = columns + 0.5 - x, rows + 0.5 - y, np.deg2rad(rotation)
    along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    if min(rx, ry) > 0:
        mask[top:bottom, left:right] |= (along / rx) ** 2 + (across / ry) ** 2 <= 1


def draw_line(mask: np.ndarray, points: Sequence[Sequence[float]]) -> None:
    """Draw a line through the points. A pixel belongs to the line if its centre is at most half of LINE_WIDTH away."""
    points = checked_points(points)
    for start, end in itertools.pairwise(points):
        along = end - start
        if length := np.hypot(*along):
            aside = np.array([-along[1], along[0]]) * (LINE_WIDTH / 2 / length)
            fill_polygon(mask, [start + aside, end + aside, end - aside, start - aside])
    for point in points:
        fill_ellipse(mask, point, (LINE_WIDTH / 2, LINE_WIDTH / 2))


def paste(mask: np.ndarray, part: np.ndarray, left: int, top: int) -> None:
    """Add a smaller mask (H, W) bool, whose first pixel lies at column ``left`` and row ``top``."""
    height, width = mask.shape
    inside = part[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    if inside.size:
        top, left = max(0, top), max(0, left)
        mask[top : top + inside.shape[0], left : left + inside.shape[1]] |= inside


def runs(counts: Sequence[int], size: tuple[int, int], order: str) -> np.ndarray:
    """A mask (height, width) bool from the lengths of its runs, which begin with background. ``order``: C by rows, F by columns."""
    counts = np.asarray(counts)
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any() or counts.sum() != size[0] * size[1]:
        raise ValueError(f"the runs have {counts.sum()} pixels instead of {size[1]} x {size[0]}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(size, order=order)


def counts_of(text: str) -> list[int]:
    """The lengths of runs in COCO's compressed text: five bits a character, the lowest first; from the fourth run on, differences.

    pycocotools decodes such a text too, but leaves pixels undefined if the text is cut off. The sum of these lengths shows a cut.
    """
    counts, value, shift = [], 0, 0
    for digit in (character - 48 for character in text.encode("ascii")):
        if not 0 <= digit < 64:
            raise ValueError("the runs are no text of COCO's compression")
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:  # the last character of a number, which may be negative
            value -= (digit >> 4 & 1) << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value, shift = 0, 0
    return counts


def pixels_of_png(data: bytes | str) -> np.ndarray:
    """The mask (H, W) bool in a PNG, or in the base64 text of one: all pixels that are neither transparent nor, without alpha, black."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True) if isinstance(data, str) else data)) as image:
            if image.has_transparency_data:
                return np.asarray(image.convert("RGBA"))[..., 3] > 0
            values = np.asarray(image.convert("RGB") if image.mode == "P" else image)
    except (OSError, binascii.Error, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"the mask is no PNG: {error}") from None
    return values > 0 if values.ndim == 2 else values.any(axis=2)


def checked_points(points: Sequence[Sequence[float]]) -> np.ndarray:
    """Points as (N, 2) float."""
    points = np.asarray(points, float)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError("points must be pairs of finite numbers")
    return points.clip(-1e9, 1e9)  # far outside any photo
