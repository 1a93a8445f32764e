"""Photos of any kind: turned as EXIF says, brought to 8 bits a channel, or refused in words."""

import io
import struct
import sys
import threading
import zlib

import numpy as np
import pytest
from conftest import write_pair
from made_photos import chunk, write_png, write_tiff
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from crack_utils.data import Pair, decode, read_crops
from crack_utils.data.crops import cut
from crack_utils.data.photos import LARGE, check_kind, opened, read_size
from crack_utils.errors import DataError

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 2**16, (40, 30, 3), np.uint16)  # 16 bits a channel


# --- turned as EXIF says


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_size_pixels_and_crops_are_those_of_the_turned_photo(tmp_path, suffix, orientation):
    path, exif = tmp_path / f"a.{suffix}", Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = np.linspace(0, 255, 1200).astype(np.uint8) * np.ones((70, 1), np.uint8)
    stored[:10] //= 2
    Image.fromarray(stored).save(path, exif=exif, **{"webp": {"lossless": True}, "jpg": {"quality": 100}}.get(suffix, {}))
    in_memory = Image.fromarray(stored)
    in_memory.getexif()[ExifTags.Base.Orientation] = orientation
    shown = np.asarray(ImageOps.exif_transpose(in_memory))
    image = decode(path, "L")
    assert read_size(path) == image.shape == shown.shape
    np.testing.assert_allclose(image.astype(int), shown, atol=3)
    crops = read_crops(cut(Pair(path, None)), 1)
    assert len(crops) == 2
    together = np.zeros(shown.shape, np.uint8)
    for crop in crops:
        top, left, height, width = crop.pair.box
        assert crop.image.shape[:2] == (height, width)
        together[top : top + height, left : left + width] = crop.image[..., 0]
    np.testing.assert_array_equal(together, image)


def test_a_png_with_exif_behind_its_pixels_is_turned_and_another_is_not_decoded_for_its_size(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = tmp_path / "late.png"
    Image.new("L", (60, 40)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:-12] + chunk(b"eXIf", exif.tobytes()[6:]) + content[-12:])
    assert read_size(path) == decode(path, "L").shape == (60, 40)
    damaged = tmp_path / "damaged.png"
    at = content.index(b"IDAT")
    damaged.write_bytes(content[: at + 4] + b"nonsense" + content[at + 12 :])
    assert read_size(damaged) == (40, 60)
    with pytest.raises(DataError, match=r"cannot read .*damaged\.png"):
        decode(damaged, "L")


# --- kinds


def test_of_16_bits_a_channel_the_upper_8_are_kept_in_grey_and_in_colour(tmp_path):
    grey, upper = DEEP[..., 0], (DEEP >> 8).astype(np.uint8)
    files = [
        write_png(tmp_path / "g.png", grey, 16, 0),
        write_tiff(tmp_path / "g.tif", grey),
        write_tiff(tmp_path / "big.tif", grey, byteorder=">"),
    ]
    for path in files:
        np.testing.assert_array_equal(decode(path, "L"), upper[..., 0])
        np.testing.assert_array_equal(decode(path, "RGB"), np.repeat(upper[..., :1], 3, 2))
    files = [write_png(tmp_path / "c.png", DEEP, 16, 2), write_tiff(tmp_path / "c.tif", DEEP, photometric="rgb")]
    for path in files:
        np.testing.assert_array_equal(decode(path, "RGB"), upper)


def test_12_bits_in_a_file_of_16_are_refused_instead_of_read_as_black(tmp_path):
    for path in (
        write_png(tmp_path / "g.png", DEEP[..., 0] >> 4, 16, 0),
        write_png(tmp_path / "c.png", DEEP >> 4, 16, 2),
        write_tiff(tmp_path / "g.tif", DEEP[..., 0] >> 4),
        write_tiff(tmp_path / "c.tif", DEEP >> 4, photometric="rgb"),
    ):
        with pytest.raises(DataError, match=rf"{path.name} has 16 bits a channel, but all its values lie below 4096 of 65535.*spread"):
            decode(path, "RGB")
    assert not decode(write_png(tmp_path / "black.png", DEEP[..., 0] * 0, 16, 0), "L").any()
    Image.new("L", (9, 9), 12).save(tmp_path / "night.png")  # 8 bits may be as dark as they like
    assert decode(tmp_path / "night.png", "L").max() == 12


@pytest.mark.parametrize("kind", ["L", "LA", "RGB", "RGBA", "CMYK", "P", "1", "YCbCr"])
def test_kinds_of_8_bits_and_less_keep_their_colours(tmp_path, kind):
    colours = np.zeros((20, 20, 3), np.uint8)
    colours[:10], colours[:, 5:] = 255, 0
    colours[12:, 12:] = 255
    image = Image.fromarray(colours).convert(kind)
    path = tmp_path / ("a.png" if kind in ("L", "LA", "P", "1", "RGBA") else "a.tif")
    image.save(path)
    for mode in ("RGB", "L"):
        expected = colours if mode == "RGB" else colours[..., 0]
        np.testing.assert_allclose(decode(path, mode).astype(int), expected, atol=1)


def test_transparency_is_dropped_and_the_colour_below_it_stays(tmp_path):
    pixels = np.full((4, 4, 4), (200, 100, 50, 0), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode(tmp_path / "a.png", "RGB"), pixels[..., :3])


@pytest.mark.parametrize("suffix", ["jp2", "webp", "bmp", "gif", "png", "tif"])
def test_formats_without_loss_give_the_pixels_that_were_saved(tmp_path, suffix):
    pixels = RNG.integers(0, 255, (40, 60), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(decode(tmp_path / f"a.{suffix}", "L"), pixels)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiled_tiff_is_read(tmp_path, compression):
    pixels = RNG.integers(0, 255, (100, 150, 3), np.uint8)
    path = write_tiff(tmp_path / "a.tif", pixels, tile=(64, 48), compression=compression, photometric="rgb")
    np.testing.assert_array_equal(decode(path, "RGB"), pixels)


def test_numbers_that_are_no_grey_values_are_refused_in_words(tmp_path):
    for kind, said in ((np.float32, "mode F"), (np.int32, "mode I"), (np.int16, "mode I"), (np.float16, "cannot identify")):
        path = write_tiff(tmp_path / "a.tif", DEEP[..., 0].astype(kind))
        with pytest.raises(DataError, match=rf"a\.tif .*{said}.*8 .*bits a channel, grey or RGB"):
            decode(path, "L")
    Image.new("LAB", (9, 9)).save(tmp_path / "lab.tif")
    with pytest.raises(DataError, match=r"lab\.tif has pixels of mode LAB"):
        decode(tmp_path / "lab.tif", "RGB")


# --- pages and frames


def note_of(path):
    with opened(path) as file:
        return check_kind(file, path)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_the_first_frame_is_read_and_the_others_are_mentioned(tmp_path, suffix):
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("white", "red", "black")]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    assert decode(tmp_path / f"a.{suffix}", "L").min() == 255
    assert note_of(tmp_path / f"a.{suffix}") == "The file has 3 frames; only the first is read."


def test_the_first_page_is_read_unless_a_later_one_is_larger(tmp_path):
    def write(*sizes):
        pages = [Image.new("L", size, 200 - 50 * number) for number, size in enumerate(sizes)]
        pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
        return tmp_path / "a.tif"

    assert note_of(write((60, 40), (60, 40), (60, 40))) == "The file has 3 pages of one size; only the first is read."
    assert decode(tmp_path / "a.tif", "L").max() == decode(tmp_path / "a.tif", "L").min() == 200
    assert note_of(write((60, 40), (30, 20))) == ""  # a preview
    assert note_of(write((60, 40))) == ""
    with pytest.raises(DataError, match=r"the first page of .*a\.tif has 30 x 20 pixels, and page 2 is larger"):
        decode(write((30, 20), (60, 40)), "L")


# --- HEIC


def test_a_heic_photo_is_read_with_its_package_and_asks_for_it_without(tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    grey = np.full((64, 96, 3), 160, np.uint8)
    grey[:, 40:50] = 30
    pillow_heif.from_pillow(Image.fromarray(grey)).save(tmp_path / "a.heic", quality=95)
    assert read_size(tmp_path / "a.heic") == (64, 96)
    np.testing.assert_allclose(decode(tmp_path / "a.heic", "RGB").astype(int), grey, atol=25)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError, match=r"a\.heic is a HEIC photo.*pip install 'crack-utils\[heic\]', or save it as JPEG"):
        decode(tmp_path / "a.heic", "RGB")


# --- large images and traps


def test_a_file_too_short_for_its_pixels_is_a_trap(tmp_path):
    path = write_png(tmp_path / "trap.png", np.zeros((2, 2)), 8, 2, size=(30000, 30000))
    for look in (read_size, lambda path: decode(path, "L"), lambda path: decode(path.read_bytes(), "L")):
        with pytest.raises(DataError, match=r"says that it has 30000 x 30000 pixels, but its \d+ bytes cannot hold so many"):
            look(path)


def test_more_pixels_than_are_decoded_at_once_are_refused(tmp_path):
    path = write_png(tmp_path / "a.png", np.zeros((2, 2)), 8, 0, size=(40000, 40000))
    path.write_bytes(path.read_bytes() + bytes(300_000))
    with pytest.raises(DataError, match=r"40000 x 40000 pixels; at most 1073741824 can be decoded at once; cut it into parts"):
        decode(path, "L")


def test_a_photo_above_pillows_limit_is_opened_and_the_limit_stays(tmp_path, recwarn):
    limit, size = Image.MAX_IMAGE_PIXELS, (14000, 15000)
    assert size[0] * size[1] > LARGE
    content = zlib.compress(bytes(15001) * 14000)
    header = struct.pack(">IIBBBBB", 15000, 14000, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", content), chunk(b"IEND", b""))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    threads = [threading.Thread(target=read_size, args=[tmp_path / "a.png"]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_size(tmp_path / "a.png") == size
    assert limit == Image.MAX_IMAGE_PIXELS
    assert not recwarn.list


def test_text_behind_the_pixels_of_a_png_does_no_harm(tmp_path):
    write_pair(tmp_path / "a.png")
    text, file = PngImagePlugin.PngInfo(), io.BytesIO()
    text.add_text("Comment", "late", zip=False)
    Image.open(tmp_path / "a.png").save(file, "PNG", pnginfo=text)
    assert decode(file.getvalue(), "L").shape == (64, 128)
