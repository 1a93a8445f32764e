import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from crack_utils.data.exif import orientation_evidence, smaller, stored_rows, turned


def scene(size, seed=0):
    """A grainy road with one wavy dark crack, (H, W) uint8, and the crack's mask."""
    rng = np.random.default_rng(seed)
    across = np.arange(size[1])
    down = size[0] / 3 + size[0] / 5 * np.sin(across / size[1] * 6 + seed)
    mask = np.abs(np.arange(size[0])[:, None] - down) < 2
    return (rng.normal(140, 12, size) - 70 * mask).clip(0, 255).astype(np.uint8), mask


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_is_what_pillow_does_and_rows_are_found_in_the_stored_pixels(orientation):
    stored = np.arange(6 * 9, dtype=np.uint8).reshape(6, 9)
    image = Image.fromarray(stored)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    shown = turned(stored, orientation)
    np.testing.assert_array_equal(shown, np.asarray(ImageOps.exif_transpose(image)))
    top, left, height, width = stored_rows(1, 4, stored.shape, orientation)
    np.testing.assert_array_equal(turned(stored[top : top + height, left : left + width], orientation), shown[1:4])


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("size", [(96, 160), (128, 128)])
def test_the_placement_of_a_mask_is_told_by_its_size_or_by_the_dark_crack(orientation, size):
    stored, mask = scene(size)
    shown = turned(stored, orientation)
    assert orientation_evidence(shown, mask, orientation) == "stored"
    assert orientation_evidence(np.repeat(shown[..., None], 3, 2), turned(mask, orientation), orientation) == "turned"


def test_a_bright_sealed_crack_and_a_very_large_photo_tell_too():
    grey, mask = scene((128, 128))
    assert orientation_evidence(turned(255 - grey, 3), mask, 3) == "stored"
    image, small = smaller(np.kron(turned(grey, 3), np.ones((20, 20), np.uint8)), np.kron(mask, np.ones((20, 20), bool)))
    assert image.shape == small.shape == (1280, 1280)
    assert orientation_evidence(image, small, 3) == "stored"


def test_what_cannot_be_told_is_unknown_and_another_size_fits_neither():
    grey, mask = scene((96, 160))
    assert orientation_evidence(turned(grey, 3), np.zeros_like(mask), 3) == "unknown"
    assert orientation_evidence(np.full((96, 160), 140, np.uint8), mask, 3) == "unknown"
    symmetric = np.zeros((96, 160), bool)
    symmetric[46:50] = True
    assert orientation_evidence(np.where(symmetric, 60, 140).astype(np.uint8), symmetric, 3) == "unknown"
    assert orientation_evidence(grey, np.zeros((10, 10), bool), 6) == "neither"
    assert orientation_evidence(grey, mask, 1) == "turned"
    assert orientation_evidence(turned(grey, 6), np.zeros_like(mask), 6) == "stored"  # by its size alone


def test_a_noisy_texture_alone_decides_nothing():
    said = []
    for seed in range(20):
        texture = np.random.default_rng(seed).normal(140, 25, (96, 160)).clip(0, 255).astype(np.uint8)
        said.append(orientation_evidence(texture, scene((96, 160), seed)[1], 3))
    assert set(said) <= {"unknown", "turned", "stored"}
    assert said.count("unknown") >= 17
