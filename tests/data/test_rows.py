"""A photo read by rows has the pixels of the photo decoded as a whole."""

import numpy as np
import pytest
from made_photos import write_png, write_tiff
from PIL import ExifTags, Image

from crack_utils.data import decode
from crack_utils.data.png_rows import PngRows, write_grey_png
from crack_utils.data.rows import Whole, open_rows
from crack_utils.data.tiff_parts import TiffParts
from crack_utils.errors import DataError

RNG = np.random.default_rng(1)
DEEP = RNG.integers(0, 2**16, (40, 30, 3), np.uint16)
COLOURS = RNG.integers(0, 255, (700, 500, 4), np.uint8).cumsum(0, np.uint8)  # smooth downwards, so that PNG filters differ
BANDS = [(0, 300), (250, 600), (600, 700), (100, 101), (0, 700)]  # the last two begin again


def agree(path, kind, channels=3, notes=()):
    whole = decode(path, "RGB" if channels == 3 else "L")
    whole = whole.reshape(*whole.shape[:2], channels)
    with open_rows(path, channels, 0) as photo:
        assert type(photo._parts) is kind
        assert photo.size == whole.shape[:2]
        for top, bottom in BANDS:
            bottom = min(bottom, photo.size[0])
            np.testing.assert_array_equal(photo.rows(min(top, bottom - 1), bottom), whole[min(top, bottom - 1) : bottom])
        assert photo.notes() == list(notes)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_png(tmp_path, mode, channels):
    image = Image.fromarray(COLOURS[..., :3]).convert(mode)
    image.save(tmp_path / "a.png")
    agree(tmp_path / "a.png", PngRows, channels)


def test_png_in_one_chunk_or_many_and_of_a_few_rows(tmp_path):
    pixels = COLOURS[..., :3]
    agree(write_png(tmp_path / "one.png", pixels, 8, 2), PngRows)
    agree(write_png(tmp_path / "few.png", pixels[:3], 8, 2), PngRows)
    agree(write_png(tmp_path / "full.png", pixels[:512], 8, 2), PngRows)  # whole groups of rows


def test_png_that_is_not_read_by_rows_is_decoded_as_a_whole(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(COLOURS[..., :3]).save(tmp_path / "lying.png", exif=exif)
    agree(tmp_path / "lying.png", Whole)
    agree(write_png(tmp_path / "deep.png", DEEP, 16, 2), Whole)
    Image.fromarray(COLOURS[..., 0] > 99).save(tmp_path / "bits.png")
    agree(tmp_path / "bits.png", Whole)
    Image.fromarray(COLOURS[..., :3]).save(tmp_path / "a.jpg")
    agree(tmp_path / "a.jpg", Whole)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "zstd"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P"])
def test_tiff_in_strips(tmp_path, mode, compression):
    if compression == "jpeg" and mode in ("RGBA", "P"):
        pytest.skip("JPEG in TIFF has no such kind")
    image = Image.fromarray(COLOURS[..., :3]).convert(mode)
    image.save(tmp_path / "a.tif", compression=compression, strip_size=64 * 1024)
    for channels in (1, 3):
        agree(tmp_path / "a.tif", TiffParts, channels)


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}, {"byteorder": ">"}, {"bigtiff": True}],
    ids=str,
)
@pytest.mark.parametrize("kind", ["grey", "rgb", "rgba", "deep grey", "deep rgb"])
def test_tiff_in_tiles(tmp_path, kind, options):
    pixels = COLOURS.astype(np.uint16) * 257 if "deep" in kind else COLOURS
    pixels = {"grey": pixels[..., 0], "rgb": pixels[..., :3], "rgba": pixels}[kind.removeprefix("deep ")]
    photometric = "minisblack" if pixels.ndim == 2 else "rgb"
    extra = {"extrasamples": ["unassalpha"]} if kind == "rgba" else {}
    pixels = np.maximum(pixels, 1)
    path = write_tiff(tmp_path / "a.tif", pixels, tile=(64, 48), photometric=photometric, **extra, **options)
    agree(path, TiffParts)
    agree(path, TiffParts, 1)


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_tiff_that_exif_turns(tmp_path, orientation, compression):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(COLOURS[..., :3]).save(tmp_path / "a.tif", exif=exif, compression=compression, strip_size=20_000)
    agree(tmp_path / "a.tif", TiffParts)


def test_tiff_in_planes_is_decoded_as_a_whole(tmp_path):
    path = write_tiff(tmp_path / "a.tif", np.moveaxis(COLOURS[..., :3], 2, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(decode(path, "RGB"), COLOURS[..., :3])
    agree(path, Whole)


def test_transparent_pixels_are_counted_once_and_mentioned(tmp_path):
    pixels = np.maximum(COLOURS, 1)
    pixels[:350, :250, 3] = 0
    note = "25.00 % of the photo is fully transparent; the colours stored there are searched too."
    Image.fromarray(pixels).save(tmp_path / "a.png")
    agree(tmp_path / "a.png", PngRows, notes=[note])
    path = write_tiff(tmp_path / "a.tif", pixels, tile=(64, 48), photometric="rgb", extrasamples=["unassalpha"])
    agree(path, TiffParts, notes=[note])
    Image.fromarray(pixels).save(tmp_path / "a.webp", lossless=True, exact=True)
    agree(tmp_path / "a.webp", Whole, notes=[note])


def test_dark_values_of_16_bits_are_refused_by_rows_too(tmp_path):
    path = write_tiff(tmp_path / "a.tif", COLOURS[..., 0].astype(np.uint16) << 3, tile=(64, 48))
    with pytest.raises(DataError, match=r"a\.tif has 16 bits a channel, but all its values lie below 2048 of 65535"), open_rows(path, 3, 0):
        pass


def test_damaged_files_are_named(tmp_path):
    pixels = COLOURS[..., :3]
    content = write_png(tmp_path / "a.png", pixels, 8, 2).read_bytes()
    (tmp_path / "short.png").write_bytes(content[: len(content) // 2])
    at = content.index(b"IDAT") + 1000
    (tmp_path / "wrong.png").write_bytes(content[:at] + bytes(50) + content[at + 50 :])
    write_tiff(tmp_path / "a.tif", pixels, tile=(64, 48), compression="zlib", photometric="rgb")
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "short.tif").write_bytes(content[: len(content) // 2])
    for name in ("short.png", "wrong.png", "short.tif"):
        with pytest.raises(DataError, match=rf"cannot read .*{name} \(\d+ bytes\) as an image"), open_rows(tmp_path / name, 3, 0) as photo:
            photo.rows(0, 700)


def test_a_photo_that_is_not_large_is_decoded_as_a_whole(tmp_path):
    write_png(tmp_path / "a.png", COLOURS[..., :3], 8, 2)
    with open_rows(tmp_path / "a.png", 3) as photo:
        assert type(photo._parts) is Whole
        assert not photo.is_large
        np.testing.assert_array_equal(photo.rows(0, 700), COLOURS[..., :3])


def test_an_error_while_a_photo_is_open_is_not_taken_for_one_of_the_photo(tmp_path):
    write_png(tmp_path / "a.png", COLOURS[..., :3], 8, 2)
    with pytest.raises(PermissionError, match="elsewhere"), open_rows(tmp_path / "a.png", 3):
        raise PermissionError("elsewhere")


def test_a_grey_png_is_written_by_rows(tmp_path):
    write_grey_png(tmp_path / "a.png", (700, 500), (COLOURS[top : top + 300, :, 0] for top in range(0, 700, 300)))
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), COLOURS[..., 0])
