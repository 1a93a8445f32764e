"""Distances between masks."""

import math

import cv2
import numpy as np


def distance_to_zero(mask: np.ndarray) -> np.ndarray:
    """(H, W) float32: the Euclidean distance from each pixel to the nearest zero pixel, between centres, exact up to rounding."""
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def hd95(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Hausdorff distance at 95 percent in px: the larger of the two directed 95th percentiles, as in MONAI.

    A directed percentile takes the Euclidean distances from all boundary pixels of one mask to the nearest boundary pixel of the
    other, and interpolates linearly. (MedPy pools both directions before it takes one percentile.) The distance is nan without a crack
    in the truth, and the image's diagonal, sqrt(H^2 + W^2), where only the prediction is empty.

    Args:
        predicted: (H, W), true on predicted crack.
        truth: (H, W), true on crack.
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
    """Dilate a mask by a disc.

    Args:
        mask: (H, W), true on crack.
        radius_px: in pixels; 0 leaves the mask.

    Returns:
        (H, W) bool, true within ``radius_px`` of the mask.
    """
    return cv2.dilate(np.asarray(mask, bool).astype(np.uint8), disc(radius_px)).astype(bool)
