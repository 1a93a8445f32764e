"""Readers of images, masks, lists and configurations on drawn input: our own error or a whole result, never a silent half."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from conftest import small_params, write_pair
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from crack_utils.config import read_yaml
from crack_utils.data import decode, find_data
from crack_utils.data.masks import MaskRule
from crack_utils.errors import UserError

often = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
seldom = settings(often, max_examples=60)
SPLITS = ("train", "val", "test")


def encoded(kind, size=(24, 40)):
    """A small image file of a kind."""
    rng, file = np.random.default_rng(0), io.BytesIO()
    grey = Image.fromarray(rng.integers(0, 255, size, np.uint8))
    mode, form = kind.split()
    {"I;16": lambda: Image.fromarray(rng.integers(0, 65535, size, np.uint16))}.get(mode, lambda: grey.convert(mode))().save(file, form)
    return file.getvalue()


KINDS = [
    *("L PNG", "RGB PNG", "RGBA PNG", "P PNG", "1 PNG", "I;16 PNG", "L JPEG", "RGB JPEG", "CMYK JPEG"),
    *("L TIFF", "RGB TIFF", "I;16 TIFF", "L BMP", "P GIF", "RGB WEBP", "RGB JPEG2000", "F TIFF"),
]
FILES = {kind: encoded(kind) for kind in KINDS}


@st.composite
def damaged(draw):
    """The bytes of an image file with a few bytes changed, and perhaps cut short."""
    content = bytearray(FILES[draw(st.sampled_from(KINDS))])
    for place, value in draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=8)):
        content[place] = value
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)


@often
@given(damaged(), st.sampled_from(["L", "RGB"]))
def test_a_damaged_image_is_an_image_or_our_error(content, mode):
    try:
        pixels = decode(content, mode)
    except UserError as error:
        assert str(error)
        return
    assert pixels.dtype == np.uint8 and pixels.ndim == (2 if mode == "L" else 3) and pixels.size


@often
@given(damaged())
def test_a_damaged_mask_is_a_mask_or_our_error(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mask.png")
        path.write_bytes(content)
        try:
            mask = MaskRule()(path)
        except UserError as error:
            assert "mask.png" in str(error)
            return
    assert mask.dtype == bool and mask.ndim == 2


@often
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))))
def test_a_configuration_is_values_or_our_error(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.yaml")
        path.write_bytes(content)
        try:
            assert isinstance(read_yaml(path), dict)
        except UserError as error:
            assert "a.yaml" in str(error)


IMAGES, MASKS = (
    ("images", "Images", "img", "JPEGImages", "photos", "pictures", ""),
    ("masks", "Masks", "labels", "SegmentationClass", "gt", ""),
)
MASK_NAMES = ("{}.png", "{}_mask.png", "{}_GT.png", "{}_label.png", "mask_{}.png", "{}.jpg.png", "{}.bmp", "{}.txt")
OTHERS = (
    "notes.txt",
    "Thumbs.db",
    "images/.DS_Store",
    "masks/lonely.png",
    "images/film.mp4",
    "images/phone.heic",
    "a/b/c.csv",
    "images/deep/x.jpg",
    "negatives/val/road.jpg",
)
DAMAGE = ("none", "none", "none", "cut", "empty", "pointer", "text", "no mask", "two masks", "link", "small mask")


@st.composite
def folders(draw):
    """How a folder of photos looks."""
    return {
        "split": draw(st.sampled_from(["", "", "train", "Train", "dataset", "dataset/train"])),
        "images": draw(st.sampled_from(IMAGES)),
        "masks": draw(st.sampled_from(MASKS)),
        "suffix": draw(st.sampled_from([".jpg", ".JPG", ".jpeg", ".png", ".webp", ".tif"])),
        "mask": draw(st.sampled_from(MASK_NAMES)),
        "name": draw(st.sampled_from(["road{}a", "IMG_{}", "x {} y", "a_{}_1", "Straße{}", "{}"])),
        "damage": draw(st.lists(st.sampled_from(DAMAGE), min_size=3, max_size=8)),
        "others": draw(st.lists(st.sampled_from(OTHERS), unique=True, max_size=4)),
        "listed": draw(st.sampled_from(["", "", "train.txt", "val.txt"])),
    }


def build(root, look):
    """Write the folder."""
    for i, damage in enumerate(look["damage"]):
        base, name = root / look["split"], look["name"].format(i)
        image, mask = base / look["images"] / (name + look["suffix"]), base / look["masks"] / look["mask"].format(name)
        mask = mask if mask != image and mask.suffix != ".txt" else mask.with_name(f"{name}_GT.png")
        write_pair(image, mask, seed=i)
        if damage == "cut":
            image.write_bytes(image.read_bytes()[:300])
        elif damage in ("empty", "pointer", "text"):
            words = {"empty": "", "pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "text": "no image"}
            image.write_text(words[damage])
        elif damage == "no mask":
            mask.unlink()
        elif damage == "two masks":
            mask.with_suffix(".bmp" if mask.suffix != ".bmp" else ".png").write_bytes(mask.read_bytes())
        elif damage == "link":
            image.unlink()
            image.symlink_to("nowhere.jpg")
        elif damage == "small mask":
            Image.new("L", (30, 20)).save(mask)
    for name in look["others"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"something" if "negatives" not in name else FILES["L JPEG"])
    if look["listed"]:
        (root / look["listed"]).write_text("\r\n".join(look["name"].format(i) for i in range(2)))


@pytest.mark.parametrize("on_bad_data", ["skip", "stop"])
def test_every_file_is_used_or_named_with_its_reason(on_bad_data):
    outcomes = {"whole": 0, "refused": 0}

    @seldom
    @given(folders())
    def check(look):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder, "own")
            build(root, look)
            files = {path for path in root.rglob("*") if not path.is_dir()}
            try:
                data = find_data(small_params(root, dataset="folder", on_bad_data=on_bad_data), root)
                for split in SPLITS:
                    data.split(split)
            except UserError as error:
                assert str(root) in str(error) or "own" in str(error) or "photos show a crack" in str(error), error
                outcomes["refused"] += 1
                return
            used = {path for split in SPLITS for pair in data.pairs[split] for path in (pair.image_path, pair.mask_path) if path}
            used |= {root / name for name in ("train.txt", "val.txt") if (root / name).is_file()}
            unused = {each.path for each in data.unused}
            assert not used & unused
            assert used | unused == files, (look, sorted(files - used - unused), sorted((used | unused) - files))
            assert all(each.reason for each in data.unused)
            assert on_bad_data == "skip" or not any(each.fix for each in data.unused)
            outcomes["whole"] += 1

    check()
    assert min(outcomes.values()) >= 3, outcomes  # both ends are reached
