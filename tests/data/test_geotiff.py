import pytest
from made_photos import FOOT, GEOGRAPHIC, METRE, PROJECTED, UNKNOWN, write_geotiff
from PIL import Image

from crack_utils.data import ground_scale


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([PROJECTED, METRE], 2),
        ([PROJECTED, (3072, 0, 1, 25832)], 2),  # UTM zone 32 N is in metres
        ([PROJECTED, (3072, 0, 1, 2263), FOOT], 0.6096),
        ([PROJECTED, FOOT], 0.6096),
    ],
)
def test_the_side_of_a_pixel_in_metres_or_feet_becomes_mm(tmp_path, keys, expected):
    path = write_geotiff(tmp_path / "a.tif", keys)
    side, said = ground_scale(path)
    assert side == pytest.approx(expected)
    assert said == "The side of a pixel comes from the GeoTIFF."


def test_a_turned_grid_has_its_sides_in_the_matrix(tmp_path):
    matrix = (0.003, 0.004, 0, 0, 0.004, -0.003, 0, 0, *(0,) * 7, 1)
    assert ground_scale(write_geotiff(tmp_path / "a.tif", [PROJECTED, METRE], None, matrix))[0] == pytest.approx(5)


@pytest.mark.parametrize(
    ("keys", "scale", "said"),
    [
        ([GEOGRAPHIC], (1e-8, 1e-8, 0.0), "in degrees, not in metres"),
        ([PROJECTED, (3072, 0, 1, 3857), METRE], (0.002, 0.002, 0.0), "drawn for web maps"),
        ([PROJECTED, UNKNOWN], (0.002, 0.002, 0.0), "in no unit that is known"),
        ([PROJECTED, (3072, 0, 1, 2263)], (0.002, 0.002, 0.0), "in no unit that is known"),  # New York: US feet
        ([PROJECTED], (0.002, 0.002, 0.0), "in no unit that is known"),
        ([], (0.002, 0.002, 0.0), "in no unit that is known"),
        ([PROJECTED, METRE], (0.002, 0.003, 0.0), "sides of 0.002 and 0.003"),
        ([PROJECTED, METRE], (0.0, 0.0, 0.0), "sides of 0 and 0"),
    ],
)
def test_a_scale_that_is_no_length_on_the_ground_is_not_used_and_that_is_said(tmp_path, keys, scale, said):
    path = write_geotiff(tmp_path / "a.tif", keys, scale)
    assert ground_scale(path)[0] is None
    assert said in ground_scale(path)[1]
    assert "give --mm-per-px" in ground_scale(path)[1]


def test_other_files_have_no_scale(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    Image.new("L", (4, 4)).save(tmp_path / "a.tif", dpi=(300, 300))
    assert ground_scale(tmp_path / "a.png") == ground_scale(tmp_path / "a.tif") == (None, "")
