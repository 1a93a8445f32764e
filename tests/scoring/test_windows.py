"""Geometry measured by windows is that of the whole mask."""

import cv2
import numpy as np
import pytest

from crack_utils.scoring import crack_geometry
from crack_utils.scoring.windows import geometry_by_windows


def draw_cracks(size, count, widths, seed=0):
    """Random polylines of some widths, (H, W) bool."""
    rng, mask = np.random.default_rng(seed), np.zeros(size, np.uint8)
    for _ in range(count):
        points = rng.integers(0, size[::-1], (5, 2)).astype(np.int32)
        cv2.polylines(mask, [points], False, 1, int(rng.integers(*widths)))
    mask[rng.integers(0, size[0], 20), rng.integers(0, size[1], 20)] = 1  # single pixels
    return mask.astype(bool)


@pytest.mark.parametrize("window", [64, 100, 128, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_windows_add_up_to_the_whole(window, seed):
    mask = draw_cracks((300, 420), 5, (1, 14), seed)
    whole = crack_geometry(mask)
    by_windows = geometry_by_windows(lambda top, bottom: mask[top:bottom], mask.shape, window, halo=64)
    assert by_windows.pop("length_px") == whole["length_px"]
    for name, value in by_windows.items():
        assert value == pytest.approx(whole[name], rel=1e-12)


def test_an_empty_mask_and_a_full_one():
    for mask in (np.zeros((90, 70), bool), np.ones((90, 70), bool)):
        by_windows = geometry_by_windows(lambda top, bottom, mask=mask: mask[top:bottom], mask.shape, window=32, halo=64)
        np.testing.assert_equal({**by_windows, "length_px": 0, "density": 0}, {**crack_geometry(mask), "length_px": 0, "density": 0})
    assert geometry_by_windows(lambda top, bottom: np.zeros((bottom - top, 70), bool), (90, 70), 32)["length_px"] == 0


def test_a_window_that_is_all_crack_takes_no_width_from_the_rest():
    mask = np.zeros((300, 300), bool)
    mask[40:150, 20:230] = True
    mask[200:203] = True
    by_windows = geometry_by_windows(lambda top, bottom: mask[top:bottom], mask.shape, window=32, halo=16)
    assert 3 <= by_windows["width_mean_px"] < 40


def test_a_link_across_the_corner_of_four_windows_counts_once():
    for turn in (np.asarray, np.fliplr):
        mask = turn(np.eye(64, dtype=bool))
        whole = crack_geometry(mask)["length_px"]
        assert geometry_by_windows(lambda top, bottom, mask=mask: mask[top:bottom], mask.shape, 32, 16)["length_px"] == whole
