"""What is said and shown of a photo's prediction, and the files that are written."""

import dataclasses

import numpy as np
import pytest
from conftest import small_params, write_pair
from PIL import Image

from crack_utils.errors import DataError, UserError
from crack_utils.evaluation import PhotoPrediction
from crack_utils.reporting.photo import describe, overlay, predict_file


def draw_photo(size, crack=np.s_[:0], channels=3):
    """A grey photo with a dark crack where ``crack`` says, and the crack's mask."""
    mask = np.zeros(size, bool)
    mask[crack] = True
    return np.where(mask, 30, 160).astype(np.uint8)[..., None].repeat(channels, axis=2), mask


def prediction_of(mask, **values):
    image = draw_photo(mask.shape, mask)[0]
    defaults = dict(decision_prob=0.75, decided=True, threshold=0.5, decision_threshold=0.25, decision_trained=True)
    return PhotoPrediction(image, mask.astype(np.float32), **{**defaults, **values})


def test_the_overlay_colours_the_crack_and_nothing_else():
    mask = draw_photo((30, 40), np.s_[10:14, 5:35])[1]
    prediction = prediction_of(mask)
    picture = overlay(prediction)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[~mask], prediction.image[~mask])
    assert set(map(tuple, picture[mask].tolist())) == {(158, 75, 9)}  # 0.7 vermilion on the crack's 30
    np.testing.assert_array_equal(prediction.image, draw_photo(mask.shape, mask)[0])  # the photo stays as it was


def test_a_grey_photo_is_shown_with_a_coloured_crack():
    mask = draw_photo((30, 40), np.s_[10:14, 5:35])[1]
    prediction = dataclasses.replace(prediction_of(mask), image=draw_photo(mask.shape, mask, channels=1)[0])
    picture = overlay(prediction)
    assert picture.shape == (30, 40, 3)
    assert set(map(tuple, picture[mask].tolist())) == {(158, 75, 9)}


def test_the_description_says_it_in_plain_sentences():
    prediction = prediction_of(draw_photo((30, 40), np.s_[10:14, 5:35])[1])
    decided, pixels, px = describe(prediction).splitlines()
    assert decided == "Decided: crack (probability 0.75; threshold 0.25)."
    assert pixels == "Crack pixels: 10.00 % of the photo (probability above 0.5)."
    length = f"{prediction.geometry['length_px']:.0f} px"
    assert px == f"Crack length: {length}; width: 4.0 px on average, at most 4.0 px along 95 % of the length."
    millimetres = describe(prediction, 0.5).splitlines()[3]
    assert "width: 2.0 mm on average, at most 2.0 mm along 95 % of the length (1 px is 0.5 mm)." in millimetres


def test_the_description_of_nothing_and_of_everything_and_of_an_untrained_decision():
    nothing = prediction_of(np.zeros((30, 40), bool), decided=False, decision_prob=0.1, decision_trained=False)
    lines = describe(nothing, 0.5).splitlines()
    assert lines[0].startswith("Decided: no crack")
    assert "decision_loss is off" in lines[1]
    assert lines[2].startswith("Crack pixels: 0.00 %")
    assert len(lines) == 3
    everything = describe(prediction_of(np.ones((30, 40), bool)), 0.5)
    assert "no width" in everything
    assert "nan" not in everything


def test_an_emptied_mask_is_explained():
    blackened = prediction_of(np.zeros((30, 40), bool), decided=False, threshold=np.inf)
    assert "blackening" in describe(blackened)


class FindDarkness:
    """Predicts dark pixels as crack, in a predictor's place."""

    params = small_params("photos")

    def __call__(self, image):
        return prediction_of(image[..., 0] < 60)


def test_no_file_is_ever_overwritten(tmp_path):
    write_pair(tmp_path / "a.jpg", tmp_path / "a_mask.png")  # a layout of CRACK500
    predictor, truth = FindDarkness(), (tmp_path / "a_mask.png").read_bytes()
    with pytest.raises(UserError, match=r"a_mask\.png exists already; .*--output"):
        predict_file(predictor, tmp_path / "a.jpg", tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["a.jpg", "a_mask.png"]
    assert (tmp_path / "a_mask.png").read_bytes() == truth
    assert "a_cracks.png" in predict_file(predictor, tmp_path / "a.jpg", tmp_path / "out")
    assert np.unique(np.asarray(Image.open(tmp_path / "out" / "a_mask.png"))).tolist() == [0, 255]


def test_a_photo_that_the_run_cannot_take_is_named(tmp_path):
    class Refuse(FindDarkness):
        def __call__(self, image):
            raise DataError("the photo is an array of another shape")

    write_pair(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: the photo is an array of another shape"):
        predict_file(Refuse(), tmp_path / "a.jpg", tmp_path / "out")
    assert not (tmp_path / "out").exists()
