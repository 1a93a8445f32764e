"""Masks as label tools, paint programs and resizing make them: read right where they can mean one thing, else refused."""

import numpy as np
import pytest
from conftest import small_params, write_pair
from PIL import Image, ImageDraw
from scipy import ndimage

from crack_utils.data import data_facts, find_data
from crack_utils.errors import DataError

VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128), (64, 0, 0)]


def scene(i, size=(64, 128)):
    """A crack's mask (H, W) bool, 2 or 3 pixels wide."""
    rows = np.arange(size[0])[:, None]
    line = 20 + 2 * i + np.arange(size[1])[None] * 0.15
    return np.abs(rows - line) < 1 + i % 2 / 2


def values(low, high, dtype=np.uint8):
    return lambda mask: Image.fromarray(np.where(mask, high, low).astype(dtype))


def palette(number, colours):
    def draw(mask):
        image = Image.fromarray((mask * number).astype(np.uint8), "P")
        image.putpalette([channel for colour in colours for channel in colour])
        return image

    return draw


def transparent(colour):
    def draw(mask):
        pixels = np.full((*mask.shape, 4), colour, np.uint8)
        pixels[..., 3] = mask * 255
        return Image.fromarray(pixels)

    return draw


def coloured(crack, rest):
    return lambda mask: Image.fromarray(np.where(mask[..., None], crack, rest).astype(np.uint8))


def opaque(mask):
    return values(0, 255)(mask).convert("RGBA")


def photo(mask):
    return Image.fromarray((np.random.default_rng(mask.sum()).normal(140, 12, mask.shape) - 70 * mask).astype(np.uint8))


def overlay(mask):
    return Image.fromarray(np.where(mask[..., None], [255, 0, 0], np.asarray(photo(mask))[..., None]).astype(np.uint8))


def classes(mask):
    return Image.fromarray(mask + 2 * np.roll(mask, 25, axis=0).astype(np.uint8))


def bordered(mask):
    wide = ndimage.binary_dilation(mask)
    return Image.fromarray(np.where(mask, 1, 255 * wide).astype(np.uint8))


def values_of_two(low, high, dtype=np.uint8):
    def draw(mask):
        other = np.roll(mask, 25, axis=0)
        return Image.fromarray(np.where(mask, high, low * other).astype(dtype))

    return draw


def write_set(root, *draws, n=6, suffix=".png", **options):
    """Photos with masks that ``draws`` make in turn. Returns the true masks by name."""
    truths = {}
    for i in range(n):
        name = f"wall{i}a"
        write_pair(root / "images" / f"{name}.png", None, seed=i)
        (root / "masks").mkdir(exist_ok=True)
        truths[name] = scene(i)
        draws[i % len(draws)](truths[name]).save(root / "masks" / f"{name}{suffix}", **options)
    return truths


def found(root, **given):
    return find_data(small_params(root, dataset="folder", **given), root)


def read(root, **given):
    """The masks that a run sees, by name."""
    data = found(root, **given)
    return {crop.pair.stem: crop.mask for split in ("train", "val", "test") for crop in data.split(split).crops}


READ_RIGHT = {
    "black and white": values(0, 255),
    "zeros and ones": values(0, 1),
    "0 and 128": values(0, 128),
    "1 and 2": values(1, 2),
    "one bit": Image.fromarray,
    "16 bit": values(0, 65535, np.uint16),
    "16 bit, zeros and ones": values(0, 1, np.uint16),
    "16 bit, 0 and 255": values(0, 255, np.uint16),
    "grey as colour": coloured((255, 255, 255), 0),
    "a dark colour on black": coloured((61, 61, 120), 0),
    "opaque RGBA": opaque,
    "white on transparent white": transparent(255),
    "black on transparent": transparent(0),
    "palette, class 1": palette(1, VOC),
    "palette, class 8": palette(8, VOC),
    "palette of greys": palette(1, [(i, i, i) for i in range(256)]),
    "palette without colours": palette(3, [(0, 0, 0)] * 256),
}


@pytest.mark.parametrize("draw", READ_RIGHT.values(), ids=READ_RIGHT)
def test_masks_that_mean_one_thing_are_read_right(tmp_path, draw):
    truths = write_set(tmp_path, draw)
    masks = read(tmp_path)
    assert masks.keys() == truths.keys()
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, truths[name])


REFUSED = {
    "inverted": (values(255, 0), r"so 9\d % of all mask pixels are crack, .* inverted or full .*6 masks .*; set mask_crack to dark"),
    "inverted zeros and ones": (values(1, 0), r"9\d % of all mask pixels are crack"),
    "white all over": (lambda mask: Image.new("L", mask.shape[::-1], 255), "have one value, 255"),
    "a palette whose first colour is white": (
        palette(1, [(255, 255, 255), (0, 0, 0)]),
        r"palettes with two colours, 000000 and ffffff; .* 9\d % of all",
    ),
    "classes with a border that does not count": (
        bordered,
        r"values 0 .* 1 .* 255 .* in whole areas, so crack can be several .*: the values",
    ),
    "thin classes": (values_of_two(85, 255), r"values 0 .* 85 .* in whole areas"),
    "16 bit classes": (values_of_two(30000, 65535, np.uint16), r"values 0 .* 30000 .* in whole areas"),
    "16 bit numbers": (
        values_of_two(20, 27, np.uint16),
        r"values 0 .* 27 .*the values, such as 27$|values 0 .* 27 .*the values, such as 27\.",
    ),
    "classes": (classes, r"values 0 \(\d+ %\), [12] .* in whole areas, so crack can be several"),
    "red on white": (coloured((255, 0, 0), 255), r"colours ffffff \(\d+ %\), ff0000 .*a colour, such as ff0000"),
    "a photo": (
        photo,
        r"100 % of the mask pixels are grey, neither black nor white, as in photos: 6 masks \(wall0a\.png, .* and 3 more\)",
    ),
    "a coloured overlay": (overlay, "more than 32 colours, as a photo or a coloured overlay has"),
    "equal masks": (
        lambda mask: values(0, 255)(scene(0)),
        r"all masks with a crack are equal, pixel by pixel: 6 masks \(wall0a\.png, .* and 3 more\)",
    ),
}


@pytest.mark.parametrize(("draw", "message"), REFUSED.values(), ids=REFUSED)
def test_masks_that_look_wrong_or_mean_several_things_stop_the_run(tmp_path, draw, message):
    write_set(tmp_path, draw)
    with pytest.raises(DataError, match=message):
        found(tmp_path)


CHOSEN = {
    "dark": values(255, 0),
    "1": palette(1, [(255, 255, 255), (0, 0, 0)]),
    "000000": palette(1, [(255, 255, 255), (0, 0, 0)]),
    "ff0000": coloured((255, 0, 0), 255),
    "alpha": transparent(90),
}


@pytest.mark.parametrize("choice", CHOSEN)
def test_mask_crack_tells_what_is_crack(tmp_path, choice):
    truths = write_set(tmp_path, CHOSEN[choice])
    for name, mask in read(tmp_path, mask_crack=choice).items():
        np.testing.assert_array_equal(mask, truths[name])


@pytest.mark.parametrize(("choice", "draw"), [("bright", values(0, 255, np.uint16)), ("dark", values(255, 0, np.uint16))])
def test_dark_16_bit_masks_are_read_by_their_own_values(tmp_path, choice, draw):
    truths = write_set(tmp_path, draw)
    for name, mask in read(tmp_path, mask_crack=choice).items():
        np.testing.assert_array_equal(mask, truths[name])


def test_several_classes_may_be_crack(tmp_path):
    truths = write_set(tmp_path, classes)
    for name, mask in read(tmp_path, mask_crack="1, 3").items():
        np.testing.assert_array_equal(mask, truths[name])
    for name, mask in read(tmp_path, mask_crack="1 2 3").items():
        np.testing.assert_array_equal(mask, truths[name] | np.roll(truths[name], 25, axis=0))
    with pytest.raises(DataError, match=r"mask_crack is alpha, but 6 masks \(wall0a\.png, .* have no transparency"):
        found(tmp_path, mask_crack="alpha")


def test_a_rule_holds_for_the_set_not_for_a_file(tmp_path):
    write_set(tmp_path, values(0, 255), coloured((255, 0, 0), 0))
    with pytest.raises(DataError, match=r"masks are of several kinds \(colour, grey\)"):
        found(tmp_path)
    truths = write_set(tmp_path / "transparent", transparent(255), values(0, 255))
    with pytest.raises(DataError, match=r"several kinds \(alpha, grey\)"):
        found(tmp_path / "transparent")
    truths = write_set(tmp_path / "ones", values(0, 255), values(0, 1))
    for name, mask in read(tmp_path / "ones").items():
        np.testing.assert_array_equal(mask, truths[name])


def test_palettes_that_number_two_colours_differently_are_read_by_colour(tmp_path):
    truths = write_set(tmp_path, palette(1, [(0, 0, 0), (255, 255, 255)]), lambda mask: palette(1, [(255, 255, 255), (0, 0, 0)])(~mask))
    for name, mask in read(tmp_path).items():
        np.testing.assert_array_equal(mask, truths[name])
    write_set(tmp_path / "more", palette(1, VOC), palette(2, VOC), palette(1, [(0, 0, 0), (9, 9, 9), (128, 0, 0)]))
    with pytest.raises(
        DataError, match=r"have palettes that differ, with numbers .* mask_crack tells what is crack: a colour$|: a colour\."
    ):
        found(tmp_path / "more")


def test_a_mask_that_is_inverted_among_others_is_named(tmp_path):
    write_set(tmp_path, values(0, 255), values(0, 255), values(255, 0))
    with pytest.raises(
        DataError, match=r"2 x mask that is nearly all crack \(wall2a\.png \(9\d %\), wall5a\.png \(9\d %\)\): invert the mask"
    ):
        found(tmp_path)
    write_set(tmp_path / "dark", values(255, 0))
    Image.new("L", (128, 64)).save(tmp_path / "dark/masks/wall5a.png")  # meant as a photo without a crack
    with pytest.raises(DataError, match=r"1 x mask that is nearly all crack \(wall5a\.png \(100 %\)\)"):
        found(tmp_path / "dark", mask_crack="dark")


def test_with_mask_crack_a_photo_among_the_masks_and_masks_without_the_value_are_named(tmp_path):
    truths = write_set(tmp_path, values(0, 255))
    photo(truths["wall3a"]).save(tmp_path / "masks/wall3a.png")
    with pytest.raises(DataError, match=r"1 x mask that is grey like a photo \(wall3a\.png\)"):
        found(tmp_path, mask_crack="bright")
    write_set(tmp_path / "ones", values(0, 1), values(0, 1), values(0, 255))
    notes = found(tmp_path / "ones", mask_crack="1").notes
    assert notes[0].endswith("a pixel of value 1 is crack), 2 masks (wall2a.png, wall5a.png) show no crack, although they are not black.")


def test_a_photo_among_the_masks_is_named(tmp_path):
    truths = write_set(tmp_path, values(0, 255))
    for name, draw in (("wall1a", photo), ("wall3a", overlay)):
        draw(truths[name]).save(tmp_path / "masks" / f"{name}.png")
    with pytest.raises(DataError, match=r"2 x mask that is grey like a photo \(wall1a\.png, wall3a\.png\): export a mask of two values"):
        found(tmp_path)
    masks = read(tmp_path, on_bad_data="skip")
    assert masks.keys() == truths.keys() - {"wall1a", "wall3a"}
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, truths[name])


def test_thin_cracks_that_smoothing_made_grey_are_kept(tmp_path):
    truths = {}
    for i in range(6):
        write_pair(tmp_path / "images" / f"wall{i}a.png", None, (192, 320), seed=i)
        (tmp_path / "masks").mkdir(exist_ok=True)
        full = Image.new("L", (1280, 768))
        draw = ImageDraw.Draw(full)
        draw.line([(0, 100 + 60 * i), (1279, 200 + 40 * i)], fill=255, width=14)
        for k in range(6):
            draw.line([(0, 60 + 110 * k), (1279, 110 * k)], fill=255, width=1)
        full.resize((320, 192), Image.Resampling.BILINEAR).save(tmp_path / "masks" / f"wall{i}a.png")
        truths[f"wall{i}a"] = np.asarray(full).reshape(192, 4, 320, 4).max(axis=(1, 3)) > 0
    data = found(tmp_path)
    for crop in (crop for split in ("train", "val", "test") for crop in data.split(split).crops):
        truth = truths[crop.pair.stem]
        bright = np.asarray(Image.open(crop.pair.mask_path)) > 127
        assert (crop.mask & truth).sum() > 0.8 * truth.sum() > 1.6 * (bright & truth).sum()
        assert not (crop.mask & ~ndimage.binary_dilation(truth, np.ones((3, 3)))).any()
    assert any("would lose thin cracks in 6 of 6 masks" in note and "This adds " in note for note in data.notes)


def test_what_a_threshold_loses_of_jpeg_masks_is_counted(tmp_path):
    truths = write_set(tmp_path, values(0, 255), suffix=".jpg", quality=85)
    grey = [np.asarray(Image.open(path)) for path in (tmp_path / "masks").iterdir()]
    lost = sum(int(((each > 16) & (each <= 127)).sum()) for each in grey)
    data = found(tmp_path)
    assert any(f"Grey mask pixels from 17 to 127 that do not count as crack: {lost} (" in note for note in data.notes)
    for name, mask in read(tmp_path).items():
        assert (mask != truths[name]).mean() < 0.01


def test_the_run_keeps_how_its_masks_were_read(tmp_path):
    truths = write_set(tmp_path, palette(1, VOC))
    data = found(tmp_path)
    facts = data_facts(data)["masks"]
    assert facts["read"] == "the masks have a palette, of which they use numbers 0 and 1; a pixel of value 1 is crack."
    sizes = {split: len(data.split(split).crops) for split in ("train", "val", "test")}
    mean = sum(facts["crack_share"][split] * n for split, n in sizes.items()) / 6
    assert mean == pytest.approx(np.mean([mask.mean() for mask in truths.values()]))
