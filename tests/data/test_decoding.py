import dataclasses
from pathlib import Path

import numpy as np
import pytest
from conftest import read_crop, small_params, write_pair
from made_data import write_folder
from PIL import ExifTags, Image

from crack_utils.data import Pair, find_data, read_crops
from crack_utils.data.crops import OFFSETS, cut
from crack_utils.data.layouts.folders import find_folders
from crack_utils.data.run_data import own_size
from crack_utils.errors import DataError


def test_a_mask_pixel_above_127_is_crack(tmp_path):
    Image.fromarray(np.full((4, 4, 3), 90, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.array([[0, 127], [128, 255]], np.uint8).repeat(2, 0).repeat(2, 1)).save(tmp_path / "m.png")
    crop = read_crop(Pair(tmp_path / "a.png", tmp_path / "m.png"), 3)
    np.testing.assert_array_equal(crop.mask[::2, ::2], [[False, False], [True, True]])


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_files_serve_both_inputs(tmp_path, channels):
    for mode in ("L", "RGB", "RGBA", "P"):
        Image.new(mode, (8, 4)).save(tmp_path / f"{mode}.png")
        assert read_crop(Pair(tmp_path / f"{mode}.png", None), channels).image.shape == (4, 8, channels)


def test_a_mask_may_be_painted_in_any_colour(tmp_path):
    image = np.zeros((4, 4, 3), np.uint8)
    image[1, :, 0] = 255  # red, whose grey value is 76
    Image.fromarray(image).save(tmp_path / "m.png")
    assert read_crop(Pair(tmp_path / "m.png", tmp_path / "m.png"), 3).mask.sum() == 4


def test_a_phone_s_photo_is_turned_as_it_is_shown(tmp_path):
    shown = np.zeros((64, 32, 3), np.uint8)
    shown[:, :8] = 200
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # stored lying, to be turned clockwise
    Image.fromarray(np.rot90(shown)).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(shown).save(tmp_path / "m.png")
    crop = read_crop(Pair(tmp_path / "a.png", tmp_path / "m.png"), 3)
    np.testing.assert_array_equal(crop.image, shown)
    assert own_size([Pair(tmp_path / "a.png", None)]) == (32, 64)


def test_files_that_cannot_be_used_are_named(tmp_path):
    write_pair(tmp_path / "a.jpg", tmp_path / "a.png")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"empty\.jpg \(0 bytes\) as an image: it is empty"):
        read_crop(Pair(tmp_path / "empty.jpg", tmp_path / "a.png"), 3)
    (tmp_path / "half.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:900])
    with pytest.raises(DataError, match=r"cannot read .*half\.jpg"):
        read_crop(Pair(tmp_path / "half.jpg", tmp_path / "a.png"), 3)
    Image.new("L", (64, 32)).save(tmp_path / "small.png")
    with pytest.raises(DataError, match=r"small\.png is 64 x 32, its image 128 x 64"):
        read_crop(Pair(tmp_path / "a.jpg", tmp_path / "small.png"), 3)
    Image.fromarray(np.zeros((64, 128), np.float32)).save(tmp_path / "deep.tif")
    with pytest.raises(DataError, match=r"deep\.tif has pixels of mode F .*convert it to 8 or 16 bits"):
        read_crop(Pair(tmp_path / "deep.tif", tmp_path / "a.png"), 3)
    with pytest.raises(DataError, match=r"mask .*deep\.tif has pixels that are fractions; save it with whole numbers"):
        read_crop(Pair(tmp_path / "a.jpg", tmp_path / "deep.tif"), 3)
    Image.fromarray(np.zeros((64, 128), np.uint16)).save(tmp_path / "negative.tif", tiffinfo={262: 0})
    for pair in (Pair(tmp_path / "negative.tif", None), Pair(tmp_path / "a.jpg", tmp_path / "negative.tif")):
        with pytest.raises(DataError, match=r"negative\.tif stores white as 0 in 16 bits"):
            read_crop(pair, 3)
    (tmp_path / "d" / "traincrop" / "folder.jpg").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no image that is read"):
        find_folders(tmp_path / "d")


@pytest.mark.parametrize(
    ("size", "grid", "crop"),
    [
        ((3000, 4000), (8, 6), (376, 672)),
        ((1440, 2560), (4, 4), (360, 640)),
        ((2560, 1440), (4, 4), (640, 360)),
        ((50, 1100), (1, 2), (50, 552)),
    ],
)
def test_large_photos_are_cut_into_equal_crops_that_cover_them(tmp_path, size, grid, crop):
    Image.new("L", size[::-1]).save(tmp_path / "IMG_20240101_120000.png")
    crops = cut(Pair(tmp_path / "IMG_20240101_120000.png", None))
    assert len(crops) == len({pair.stem for pair in crops}) == grid[0] * grid[1]
    assert {pair.box[2:] for pair in crops} == {crop}
    assert {pair.photo for pair in crops} == {"IMG_20240101_120000"}
    for ending, photo in ((OFFSETS, "IMG"), ("", "IMG_1_3")):
        assert {dataclasses.replace(pair, image_path=Path("IMG_1_3.png"), ending=ending).photo for pair in crops} == {photo}
    covered = np.zeros(size, bool)
    for top, left, height, width in (pair.box for pair in crops):
        covered[top : top + height, left : left + width] = True
    assert covered.all()
    assert own_size(crops) == (-(-min(crop) // 8) * 8, max(crop))


def test_crops_of_a_large_photo_are_its_parts(tmp_path):
    root = write_folder(tmp_path / "own", photos=4, crops=1, size=(700, 1200))
    run_data = find_data(small_params(root, dataset="folder"), tmp_path)
    assert run_data.input_size == (352, 600)
    assert "Large photos of train that were cut into crops of about 640 x 360 pixels: 2." in run_data.notes
    crops = run_data.split("test").crops
    assert len(crops) == 4
    (whole,) = read_crops([Pair(crops[0].pair.image_path, crops[0].pair.mask_path)], 3)
    for crop in crops:
        top, left, height, width = crop.pair.box
        np.testing.assert_array_equal(crop.image, whole.image[top : top + height, left : left + width])
        np.testing.assert_array_equal(crop.mask, whole.mask[top : top + height, left : left + width])
        assert crop.image.base is None  # the whole photo is let go
