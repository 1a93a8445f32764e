"""What is said and shown of a photo's prediction, and the files that are written."""

import dataclasses

import numpy as np
import pytest
from conftest import small_params, write_pair
from made_photos import GEOGRAPHIC, METRE, PROJECTED, write_geotiff
from PIL import Image

from crack_utils.data import open_rows
from crack_utils.errors import DataError, UserError
from crack_utils.evaluation import LargePrediction, PhotoPrediction
from crack_utils.reporting.photo import describe, overlay, predict_file, reduced_overlay


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

    def predict_large(self, photo):
        return large_prediction_of(photo.rows(0, photo.size[0])[..., 0] < 60)


def large_prediction_of(mask):
    return LargePrediction(mask.shape, np.packbits(mask, axis=1), 0.75, True, 0.5, 0.25, True)


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


# --- large photos, several kinds, GeoTIFF


def test_a_large_photo_gets_the_words_and_the_mask_of_a_small_one(tmp_path):
    image, mask = draw_photo((300, 500), np.s_[100:104, 5:435])
    Image.fromarray(image).save(tmp_path / "a.png")
    small = predict_file(FindDarkness(), tmp_path / "a.png", tmp_path / "small", 2).splitlines()
    large = predict_file(FindDarkness(), tmp_path / "a.png", tmp_path / "large", 2, whole_up_to=0).splitlines()
    assert large[:-2] == small[:-1]
    assert large[-2] == "The large photo was measured in parts: cracks up to 256 px wide are exact, wider ones come out too narrow."
    for name in ("a_mask.png", "a_cracks.png"):
        pictures = [np.asarray(Image.open(tmp_path / folder / name)) for folder in ("small", "large")]
        np.testing.assert_array_equal(*pictures)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "large/a_mask.png")) > 0, mask)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_reduced_overlay_averages_the_photo_and_keeps_thin_cracks(tmp_path, channels):
    image, mask = draw_photo((301, 503), np.s_[100:101, 5:435])
    Image.fromarray(image).save(tmp_path / "a.png")
    with open_rows(tmp_path / "a.png", channels, whole_up_to=0) as photo:
        picture = reduced_overlay(photo, large_prediction_of(mask), 4)
    assert picture.shape == (76, 126, 3)
    is_coloured = picture[..., 0] > picture[..., 2]
    assert is_coloured.sum() == 108
    assert is_coloured[25, 1:109].all()
    assert (picture[~is_coloured] == 160).all()


def test_the_scale_of_a_geotiff_is_used_unless_one_is_given(tmp_path):
    image = draw_photo((30, 40), np.s_[10:14, 5:35])[0]
    metres = write_geotiff(tmp_path / "m.tif", [PROJECTED, METRE], pixels=image)
    degrees = write_geotiff(tmp_path / "d.tif", [GEOGRAPHIC], pixels=image)
    said = predict_file(FindDarkness(), metres, tmp_path / "1")
    assert "width: 8.0 mm on average" in said
    assert "(1 px is 2 mm)." in said
    assert "The side of a pixel comes from the GeoTIFF." in said.splitlines()
    given = predict_file(FindDarkness(), metres, tmp_path / "2", 3)
    assert "(1 px is 3 mm)" in given
    assert "GeoTIFF" not in given
    said = predict_file(FindDarkness(), degrees, tmp_path / "3")
    assert " mm on average" not in said
    assert "in degrees, not in metres, so no length is in mm; give --mm-per-px." in said


def test_pages_and_transparency_that_are_not_read_are_mentioned(tmp_path):
    frames = [Image.fromarray(draw_photo((30, 40))[0]) for _ in range(2)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", (40, 30), "red")])
    assert "The file has 2 frames; only the first is read." in predict_file(FindDarkness(), tmp_path / "a.gif", tmp_path / "out")
    clear = np.dstack([draw_photo((30, 40))[0], np.zeros((30, 40), np.uint8)])
    Image.fromarray(clear).save(tmp_path / "b.png")
    assert "100.00 % of the photo is fully transparent" in predict_file(FindDarkness(), tmp_path / "b.png", tmp_path / "out")


def test_what_is_no_photo_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no photo .*nothing\.jpg: it is no file; give the path"):
        predict_file(FindDarkness(), tmp_path / "nothing.jpg", tmp_path / "out")
    with pytest.raises(DataError, match=r"there is no photo .*: it is a folder without photos"):
        predict_file(FindDarkness(), tmp_path, tmp_path / "out")
