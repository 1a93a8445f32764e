"""Length and width of cracks, and distances between masks. Every mask is (H, W), true on crack."""

import math

import cv2
import numpy as np
from skimage.morphology import skeletonize


def skeleton(mask: np.ndarray) -> np.ndarray:
    """Thin a mask to lines one pixel wide, (H, W) bool; each 8-connected piece keeps at least one pixel (Zhang and Suen 1984)."""
    return skeletonize(np.asarray(mask, bool))


def crack_length(skeleton_mask: np.ndarray) -> float:
    """Length along a skeleton in px: 1 for each link to a 4-neighbour, sqrt(2) for each diagonal one.

    A diagonal link does not count where two straight links already join its ends. A line runs from the centre of its first pixel to
    the centre of its last, so n pixels in a row have length n - 1; a single pixel has length 1. The length is exact along rows, columns
    and diagonals; lines of other slants come out up to 8 percent too long.
    """
    return _length(link_counts(np.pad(np.asarray(skeleton_mask, bool), 1)))


def link_counts(framed: np.ndarray) -> np.ndarray:
    """The straight links, diagonal links and single pixels of a skeleton with a frame of one pixel around it, (3,) int.

    Counted are the pixels inside the frame, and the links inside the frame or from there to the right and lower side of the frame. So the
    counts of neighbouring windows add up to those of the whole.
    """
    line = framed[1:, 1:]
    upper_left, upper_right, lower_left, lower_right = line[:-1, :-1], line[:-1, 1:], line[1:, :-1], line[1:, 1:]
    straight = np.sum(upper_left & upper_right) + np.sum(upper_left & lower_left)
    falling = upper_left & lower_right & ~(upper_right | lower_left)
    rising = upper_right & lower_left & ~(upper_left | lower_right)
    around = cv2.boxFilter(framed.astype(np.uint8), -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)[1:-1, 1:-1]
    alone = upper_left & (around == 1)
    return np.array([straight, falling.sum() + rising.sum(), alone.sum()])


def _length(counts: np.ndarray) -> float:
    straight, diagonal, alone = counts
    return float(straight + math.sqrt(2) * diagonal + alone)


def crack_geometry(mask: np.ndarray, skeleton_mask: np.ndarray | None = None) -> dict[str, float]:
    """Measure length, width and density of the cracks of one image.

    Only pixels inside the image are background, so a crack that the border cuts keeps its width. An empty mask has length and density 0
    and widths nan. A mask without background has widths nan too, because it has no edge. Thinning takes up to half the width off each
    end of a crack, so wide and short cracks come out somewhat too short.

    Args:
        skeleton_mask: the skeleton of ``mask``, if already computed.

    Returns:
        ``length_px`` (see :func:`crack_length`), ``width_mean_px`` and ``width_p95_px`` over the skeleton's pixels, and
        ``density``, the length divided by the image's area, in 1/px.
    """
    mask = np.asarray(mask, bool)
    line = skeleton(mask) if skeleton_mask is None else np.asarray(skeleton_mask, bool)
    widths = crack_widths(mask, line).astype(float) if line.any() else np.zeros(0)
    return geometry_of(link_counts(np.pad(line, 1)), widths, mask.size)


def geometry_of(counts: np.ndarray, widths: np.ndarray, area: int) -> dict[str, float]:
    """The result of :func:`crack_geometry` from counts of :func:`link_counts`, widths at the skeleton's pixels, and the area in px."""
    length_px, widths = _length(counts), widths if len(widths) else np.array([math.nan])
    return dict(
        length_px=length_px,
        width_mean_px=float(widths.mean()),
        width_p95_px=float(np.percentile(widths, 95)),
        density=length_px / area,
    )


def crack_widths(mask: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Width in px at each pixel of the skeleton ``line``, row by row; nan where the mask has no background.

    Twice the distance to the background minus 1 would be right for odd widths only: a width of 2 px would come out as 1. Therefore each
    pixel is split into four quarters. A straight band w pixels wide then has 2w rows, and each of its two middle rows lies w half
    pixels from the background. The width is the largest distance among the quarters of the skeleton's pixel, one of which lies in a
    middle row. Slanted bands come out some tenths of a pixel too narrow.
    """
    if mask.all():
        return np.full(int(line.sum()), math.nan)
    halved = cv2.resize(mask.astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    distance = distance_to_zero(halved)
    row, column = 2 * np.argwhere(line).T
    return np.max([distance[row + y, column + x] for y in (0, 1) for x in (0, 1)], axis=0)


def to_millimetres(geometry: dict[str, float], mm_per_px: float) -> dict[str, float]:
    """Turn :func:`crack_geometry` into ``length_mm``, ``width_mean_mm``, ``width_p95_mm`` and ``density_per_m`` (m of crack per m^2).

    Raise ValueError if ``mm_per_px``, the side of a pixel, is not above 0.
    """
    if not mm_per_px > 0:
        raise ValueError(f"mm_per_px must be above 0, got {mm_per_px}; give the side of a pixel on the surface in millimetres")
    return dict(
        length_mm=geometry["length_px"] * mm_per_px,
        width_mean_mm=geometry["width_mean_px"] * mm_per_px,
        width_p95_mm=geometry["width_p95_px"] * mm_per_px,
        density_per_m=geometry["density"] / mm_per_px * 1000,  # 1/px to 1/mm to 1/m
    )


def cl_dice(
    predicted: np.ndarray, truth: np.ndarray, predicted_skeleton: np.ndarray | None = None, truth_skeleton: np.ndarray | None = None
) -> float:
    """Centreline Dice: the harmonic mean of topology precision and topology sensitivity (Shit et al. 2021).

    Precision is the share of the prediction's skeleton that lies in the truth; sensitivity is the share of the truth's skeleton that
    lies in the prediction. The score is nan without a crack in the truth, and 0 where only the prediction is empty.
    The skeletons are computed unless they are given.
    """
    predicted, truth = np.asarray(predicted, bool), np.asarray(truth, bool)
    if not truth.any():
        return math.nan
    if not (predicted & truth).any():
        return 0.0
    predicted_line = skeleton(predicted) if predicted_skeleton is None else np.asarray(predicted_skeleton, bool)
    truth_line = skeleton(truth) if truth_skeleton is None else np.asarray(truth_skeleton, bool)
    precision = (predicted_line & truth).sum() / predicted_line.sum()
    sensitivity = (truth_line & predicted).sum() / truth_line.sum()
    return float(2 * precision * sensitivity / (precision + sensitivity)) if precision + sensitivity > 0 else 0.0


def distance_to_zero(mask: np.ndarray) -> np.ndarray:
    """(H, W) float32: the Euclidean distance from each pixel to the nearest zero pixel, between centres, exact up to rounding."""
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def hd95(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Hausdorff distance at 95 percent in px: the larger of the two directed 95th percentiles, as in MONAI.

    A directed percentile takes the Euclidean distances from all boundary pixels of one mask to the nearest boundary pixel of the
    other, and interpolates linearly. (MedPy pools both directions before it takes one percentile.) The distance is nan without a crack
    in the truth, and the image's diagonal, sqrt(H^2 + W^2), where only the prediction is empty.
    """
    predicted, truth = np.asarray(predicted, bool), np.asarray(truth, bool)
    if not truth.any():
        return math.nan
    if not predicted.any():
        return math.hypot(*truth.shape)
    predicted_edge, truth_edge = _boundary(predicted), _boundary(truth)
    to_truth = np.percentile(distance_to_zero(~truth_edge)[predicted_edge], 95)
    to_predicted = np.percentile(distance_to_zero(~predicted_edge)[truth_edge], 95)
    return float(max(to_truth, to_predicted))


def _boundary(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: the mask's pixels with a 4-neighbour off the mask or off the image. Every crack has such a boundary."""
    padded = np.pad(mask, 1)
    return mask & ~(padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:])


def within(mask: np.ndarray, distance_px: float) -> np.ndarray:
    """The result of :func:`dilate_disc`, computed faster for large distances."""
    mask = np.asarray(mask, bool)
    return distance_to_zero(~mask) <= distance_px if mask.any() else mask


def disc(radius_px: int) -> np.ndarray:
    """(2r + 1, 2r + 1) uint8: 1 where a pixel's centre lies within ``radius_px`` of the middle one's."""
    square = np.arange(-radius_px, radius_px + 1) ** 2
    return (square[:, None] + square <= radius_px**2).astype(np.uint8)


def dilate_disc(mask: np.ndarray, radius_px: int) -> np.ndarray:
    """Dilate a mask by a disc: (H, W) bool, true within ``radius_px`` pixels of the mask; 0 leaves the mask."""
    return cv2.dilate(np.asarray(mask, bool).astype(np.uint8), disc(radius_px)).astype(bool)
