import math

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.distance import cdist
from skimage.morphology import skeletonize

from crack_utils.scoring import cl_dice, crack_geometry, dilate_disc, hd95, skeleton, to_millimetres
from crack_utils.scoring.geometry import crack_length, disc, within

EMPTY = np.zeros((30, 40), bool)


def band(height, first=10):
    """A level band, ``height`` px wide, from the left border of the image to the right one."""
    mask = EMPTY.copy()
    mask[first : first + height] = True
    return mask


def random_masks(count, seed=0):
    """Blots of many sizes, and specks that touch the border, in images upright and lying."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        noise = rng.random((24, 37) if i % 2 else (37, 24))
        smooth = ndimage.gaussian_filter(noise, i % 4)
        yield smooth > np.quantile(smooth, rng.uniform(0.5, 0.97))


def pairs(count, seed=0):
    masks = list(random_masks(2 * count, seed))
    return zip(masks[::2], [mask.T for mask in masks[1::2]], strict=True)


def drawing(*rows):
    return np.array([[character == "#" for character in row] for row in rows])


@pytest.mark.parametrize(
    ("rows", "length"),
    [
        (["...", "...", "..."], 0),
        (["...", ".#.", "..."], 1),
        (["#..", "...", "..#"], 2),
        (["...", "###", "..."], 2),
        (["#..", ".#.", "..#"], 2 * math.sqrt(2)),
        (["..#", ".#.", "#.."], 2 * math.sqrt(2)),
        (["#..", "#..", "###"], 4),  # a corner is no short cut
        (["#.#", ".#.", ".#."], 1 + 2 * math.sqrt(2)),
        (["##", "##"], 4),
        (["####"], 3),
        (["#", "#"], 1),
    ],
)
def test_length_by_hand(rows, length):
    assert crack_length(drawing(*rows)) == pytest.approx(length)


def naive_length(line):
    """Link by link over a set of pixels."""
    pixels = set(map(tuple, np.argwhere(line).tolist()))
    length = 0.0
    for y, x in pixels:
        length += ((y, x + 1) in pixels) + ((y + 1, x) in pixels)
        for step in (-1, 1):
            if (y + 1, x + step) in pixels and (y, x + step) not in pixels and (y + 1, x) not in pixels:
                length += math.sqrt(2)
        length += not any((y + dy, x + dx) in pixels for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)
    return length


def test_length_equals_the_walk_over_all_links():
    for mask in random_masks(40):
        assert crack_length(mask) == pytest.approx(naive_length(mask))
        assert crack_length(skeleton(mask)) == pytest.approx(naive_length(skeletonize(mask)))


def test_skeleton_keeps_every_piece_and_an_empty_mask():
    assert not skeleton(EMPTY).any()
    for mask in random_masks(40):
        pieces, count = ndimage.label(mask, np.ones((3, 3)))
        line = skeleton(mask)
        assert line.dtype == bool
        assert not line[~mask].any()
        assert len(np.unique(pieces[line])) == count


@pytest.mark.parametrize("width", range(1, 13))
@pytest.mark.parametrize("turn", [np.asarray, np.transpose])
def test_a_straight_band_has_its_width_odd_or_even_also_where_the_border_cuts_it(width, turn):
    mask, middle = turn(band(width)), turn(band(1, first=10 + (width - 1) // 2))
    measured = crack_geometry(mask, middle)
    assert measured["width_mean_px"] == measured["width_p95_px"] == width
    assert (measured["length_px"], measured["density"]) == (39, 39 / 1200)
    assert crack_geometry(mask)["width_p95_px"] == width  # thinning, too, ends on a middle row


def test_a_slanted_band_has_its_width_within_half_a_pixel():
    y, x = np.mgrid[-60:61, -60:61]
    for width in (2, 3, 6, 12):
        for angle in np.linspace(0, np.pi, 7):
            mask = np.abs(x * np.sin(angle) - y * np.cos(angle) + 0.3) <= width / 2
            line = skeleton(mask) & (np.hypot(y, x) < 40)  # the ends of a skeleton may fork
            assert crack_geometry(mask, line)["width_mean_px"] == pytest.approx(width, abs=0.5)


def test_widths_of_two_bands_are_averaged_along_the_skeleton():
    mask = EMPTY.copy()
    mask[4, 5:35] = True  # 30 px of width 1
    mask[15:20, 0:40] = True  # of width 5
    line = np.zeros_like(mask)
    line[4, 5:35] = line[17, 10:20] = True
    measured = crack_geometry(mask, line)
    assert measured["width_mean_px"] == (30 * 1 + 10 * 5) / 40
    assert measured["width_p95_px"] == 5
    assert measured["length_px"] == 29 + 9
    line[17, 11:20] = line[4, 24:35] = False  # 19 px of width 1, 1 px of width 5: the percentile is at rank 18.05 of 0 to 19
    assert crack_geometry(mask, line)["width_p95_px"] == pytest.approx(1.2)


def test_geometry_takes_a_skeleton_or_makes_its_own():
    for mask in random_masks(8):
        measured = crack_geometry(mask)
        assert measured == crack_geometry(mask, skeleton(mask))
        assert measured == crack_geometry(torch.from_numpy(mask))
        assert all(type(value) is float for value in measured.values())


def test_geometry_of_no_crack_and_of_nothing_but_crack():
    empty, full = crack_geometry(EMPTY), crack_geometry(~EMPTY)
    assert (empty["length_px"], empty["density"]) == (0, 0)
    assert full["length_px"] > 0
    assert all(math.isnan(measured[name]) for measured in (empty, full) for name in ("width_mean_px", "width_p95_px"))


def test_opencv_distances_are_scipys():
    for mask in random_masks(20):
        distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        np.testing.assert_allclose(distance, ndimage.distance_transform_edt(mask), rtol=1e-6)


def test_millimetres_by_hand():
    # 200 px of crack on 100 x 200 px at half a millimetre: 0.1 m on 0.05 m x 0.1 m = 0.005 m^2, so 20 m on each m^2.
    measured = dict(length_px=200.0, width_mean_px=3.0, width_p95_px=5.0, density=200 / 20000)
    scaled = to_millimetres(measured, 0.5)
    assert scaled == pytest.approx(dict(length_mm=100, width_mean_mm=1.5, width_p95_mm=2.5, density_per_m=20))
    assert math.isnan(to_millimetres(crack_geometry(EMPTY), 0.5)["width_mean_mm"])


@pytest.mark.parametrize("scale", [0, -1, math.nan])
def test_a_scale_that_is_not_above_zero_is_refused(scale):
    with pytest.raises(ValueError, match="mm_per_px must be above 0"):
        to_millimetres(crack_geometry(EMPTY), scale)


def test_cl_dice_by_hand():
    truth, predicted = EMPTY.copy(), EMPTY.copy()
    truth[10, 5:25] = True  # 20 px, all their own skeleton
    predicted[10, 20:30] = True  # 10 px, of which 5 lie on the truth
    precision, sensitivity = 5 / 10, 5 / 20
    expected = 2 * precision * sensitivity / (precision + sensitivity)
    assert cl_dice(predicted, truth) == pytest.approx(expected)
    assert cl_dice(predicted.tolist(), torch.from_numpy(truth)) == pytest.approx(expected)


def test_cl_dice_equals_the_formula():
    for predicted, truth in pairs(30):
        predicted_line, truth_line = (set(map(tuple, np.argwhere(skeletonize(mask)))) for mask in (predicted, truth))
        precision = sum(truth[pixel] for pixel in predicted_line) / len(predicted_line)
        sensitivity = sum(predicted[pixel] for pixel in truth_line) / len(truth_line)
        expected = 0 if precision * sensitivity == 0 else 2 / (1 / precision + 1 / sensitivity)
        value = cl_dice(predicted, truth)
        assert value == pytest.approx(expected)
        assert value == cl_dice(predicted, truth, skeleton(predicted), skeleton(truth))


def test_cl_dice_is_0_where_the_masks_meet_but_on_neither_skeleton():
    assert cl_dice(band(5, first=10), band(5, first=14)) == 0


def test_hd95_by_hand():
    truth, predicted = EMPTY.copy(), EMPTY.copy()
    truth[5, 5] = True
    predicted[5, 5] = predicted[8, 9] = True  # distances 0 and 5 to the truth, 0 back: the percentile is 0.95 of the way to 5
    assert hd95(predicted, truth) == hd95(truth, predicted) == pytest.approx(4.75)
    assert hd95(predicted.tolist(), torch.from_numpy(truth)) == pytest.approx(4.75)


def test_hd95_of_a_shifted_band_is_the_shift():
    assert hd95(band(4, first=13), band(4, first=10)) == 3


def naive_boundary(mask):
    """Erosion by a plus, with nothing but background off the image: as MONAI and MedPy take it."""
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


def test_hd95_equals_the_percentiles_of_all_distances():
    for predicted, truth in pairs(30):
        distances = cdist(naive_boundary(predicted), naive_boundary(truth))
        expected = max(np.percentile(distances.min(axis=axis), 95) for axis in (0, 1))
        assert hd95(predicted, truth) == pytest.approx(expected, rel=1e-6)


def test_perfect_disjoint_and_empty_masks():
    truth, far = band(3, first=2), band(3, first=20)
    assert (cl_dice(truth, truth), hd95(truth, truth)) == (1, 0)
    assert (cl_dice(far, truth), hd95(far, truth)) == (0, 18)
    assert (cl_dice(EMPTY, truth), hd95(EMPTY, truth)) == (0, 50)  # the diagonal of 30 x 40
    assert (cl_dice(~EMPTY, ~EMPTY), hd95(~EMPTY, ~EMPTY)) == (1, 0)
    for predicted in (truth, EMPTY):
        assert math.isnan(cl_dice(predicted, EMPTY))
        assert math.isnan(hd95(predicted, EMPTY))


def test_discs_by_hand():
    assert disc(0).tolist() == [[1]]
    assert disc(1).tolist() == [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    np.testing.assert_array_equal(disc(2), drawing("..#..", ".###.", "#####", ".###.", "..#.."))
    assert disc(5).dtype == np.uint8
    assert disc(5).sum() == 81  # lattice points in a circle of radius 5


def test_within_a_distance_is_what_the_disc_covers():
    mask = np.random.default_rng(0).random((40, 60)) > 0.99
    assert (within(mask, 7) == dilate_disc(mask, 7)).all()
    assert not within(np.zeros((4, 5)), 10).any()


@pytest.mark.parametrize("radius", [0, 1, 2, 5, 9])
def test_dilation_by_a_disc_is_all_within_its_radius(radius):
    assert not dilate_disc(EMPTY, radius).any()
    for mask in random_masks(8):
        dilated = dilate_disc(mask, radius)
        assert dilated.dtype == bool
        np.testing.assert_array_equal(dilated, ndimage.distance_transform_edt(~mask) <= radius)
    np.testing.assert_array_equal(dilate_disc(torch.from_numpy(mask), radius), dilated)
