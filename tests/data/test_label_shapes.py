"""Shapes of label tools as pixels, beside rasterisers that work otherwise."""

import numpy as np
import pytest
from made_labels import SIZE, TWO_BLOCKS, TWO_BLOCKS_TEXT, block, inside, lengths, png, text_of
from PIL import Image, ImageDraw

from crack_utils.data.layouts.shapes import counts_of, draw_line, fill_ellipse, fill_polygon, paste, pixels_of_png, runs


def filled(ring, size=SIZE):
    mask = np.zeros(size, bool)
    fill_polygon(mask, ring)
    return mask


def polygons(kind, count=40):
    rng = np.random.default_rng(3)
    for _ in range(count):
        n = int(rng.integers(4, 30))
        if kind == "crossing itself, partly outside":
            yield rng.uniform((-20, -20), (150, 80), (n, 2))
        elif kind == "thin":
            x, y, half = np.linspace(3, 125, n), 32 + np.cumsum(rng.normal(0, 3, n)), rng.uniform(0.3, 1.5)
            yield np.concatenate([np.stack([x, y - half], 1), np.stack([x, y + half], 1)[::-1]])
        else:
            angle, radius = np.sort(rng.uniform(0, 2 * np.pi, n)), rng.uniform(5, 30, n)
            yield np.stack([64 + radius * np.cos(angle), 32 + radius * np.sin(angle)], 1)


@pytest.mark.parametrize("kind", ["star", "thin", "crossing itself, partly outside"])
def test_a_polygon_has_the_pixels_whose_centres_lie_inside(kind):
    for polygon in polygons(kind):
        np.testing.assert_array_equal(filled(polygon), inside(polygon))


def test_the_areas_of_thin_polygons_are_right_on_average():
    shares = [inside(polygon * 8, (8 * SIZE[0], 8 * SIZE[1])).sum() / 64 for polygon in polygons("thin")]
    areas = [filled(polygon).sum() for polygon in polygons("thin")]
    assert sum(areas) == pytest.approx(sum(shares), rel=0.01)


def test_labelmes_own_masks_add_a_third_of_a_pixel_along_the_outline():
    extra, outline = 0, 0.0
    for polygon in polygons("star"):
        image = Image.new("L", SIZE[::-1])
        ImageDraw.Draw(image).polygon([tuple(point) for point in polygon], outline=1, fill=1)  # what LabelMe's shape_to_mask draws
        extra += np.asarray(image).sum() - filled(polygon).sum()
        outline += np.hypot(*(polygon - np.roll(polygon, 1, axis=0)).T).sum()
    assert 0.2 < extra / outline < 0.45


def test_the_first_pixel_reaches_from_0_to_1():
    np.testing.assert_array_equal(filled([(0, 0), (1, 0), (1, 1), (0, 1)]), block(0, 0, 1, 1))
    np.testing.assert_array_equal(filled([(3, 2), (7, 2), (7, 5), (3, 5)]), block(2, 3, 3, 4))
    assert filled([(0, 0), (128, 0), (128, 64), (0, 64)]).all()
    assert filled([(-1e9, -1e9), (1e9, -1e9), (1e9, 1e9), (-1e9, 1e9)]).all()
    assert not filled([(200, 5), (300, 5), (300, 40)]).any()
    assert not filled([(5.2, 5), (5.4, 60), (5.3, 60)]).any()  # narrower than a pixel, between centres


def test_a_line_has_the_pixels_within_half_its_width():
    points = [(10.0, 10.0), (60.0, 40.0), (110.0, 15.0)]
    mask = np.zeros(SIZE, bool)
    draw_line(mask, points)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    dense = np.concatenate([np.linspace(points[i], points[i + 1], 2000) for i in range(2)])
    distance = np.min([np.hypot(columns - x, rows - y) for x, y in dense], axis=0)
    assert mask[distance < 4.99].all() and not mask[distance > 5.01].any()


def test_an_ellipse_may_be_rotated_and_reach_outside():
    mask = np.zeros(SIZE, bool)
    fill_ellipse(mask, (64, 32), (20, 5), rotation=90)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    np.testing.assert_array_equal(mask, ((columns - 64) / 5) ** 2 + ((rows - 32) / 20) ** 2 <= 1)
    fill_ellipse(mask, (0, 0), (300, 300))
    assert mask.all()


def test_a_part_is_pasted_where_it_lies_and_cut_at_the_edge():
    for top, left in ((3, 5), (-2, -3), (60, 120), (70, 5), (5, -20)):
        mask = np.zeros(SIZE, bool)
        paste(mask, np.ones((8, 10), bool), left, top)
        rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
        np.testing.assert_array_equal(mask, (rows >= top) & (rows < top + 8) & (columns >= left) & (columns < left + 10))


def test_cocos_compressed_runs_are_read():
    text = "c25?00000000000000000000000000000U6"  # pycocotools 2.0.11 wrote these texts
    np.testing.assert_array_equal(runs(counts_of(text), (20, 30), "F"), block(3, 4, 5, 16, (20, 30)))
    np.testing.assert_array_equal(runs(counts_of(TWO_BLOCKS_TEXT), SIZE, "F"), TWO_BLOCKS)
    assert counts_of("P`0") == [512]
    with pytest.raises(ValueError, match="pixels instead of 30 x 20"):
        runs(counts_of(text[:-2]), (20, 30), "F")


def test_runs_must_fill_the_mask():
    mask = np.random.default_rng(0).random((20, 30)) > 0.7
    np.testing.assert_array_equal(runs(lengths(mask.ravel(order="F")), mask.shape, "F"), mask)
    np.testing.assert_array_equal(runs(lengths(mask.ravel()), mask.shape, "C"), mask)
    for counts in ([5, 5], [600, 1], [-1, 601], [1.5, 598.5], []):
        with pytest.raises(ValueError, match="pixels instead of 30 x 20"):
            runs(counts, (20, 30), "C")
    with pytest.raises(ValueError, match="no text of COCO's compression"):
        counts_of("c25 ")


def test_the_pixels_of_a_png_are_those_neither_black_nor_transparent():
    mask = block(2, 3, 4, 5, (12, 15))
    palette = Image.fromarray(mask.astype(np.uint8))
    palette.putpalette([0, 0, 0, 255, 0, 0])
    alpha = np.dstack([np.full((*mask.shape, 3), 200, np.uint8), mask.astype(np.uint8) * 9])
    for data in (png(mask), png(mask.astype(np.uint8)), png(np.asarray(palette.convert("RGB"))), png(alpha), text_of(png(mask))):
        np.testing.assert_array_equal(pixels_of_png(data), mask)
    for data in (b"", b"no picture", "%%%", text_of(b"x")):
        with pytest.raises(ValueError, match="the mask is no PNG"):
            pixels_of_png(data)
