"""A photo that is read by rows."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_photo_prediction import SIZES, Constant, Darkness, Slope, predictor_of  # noqa: F401 (a fixture)

from crack_utils.data import open_rows


@pytest.mark.parametrize("scale", [1.0, 0.6])
@pytest.mark.parametrize("size", SIZES)
def test_a_photo_read_by_rows_is_predicted_bit_for_bit_as_the_whole_photo(predictor_of, tmp_path, size, scale):
    image = np.random.default_rng(0).integers(60, 150, (*size, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    for predictor in (predictor_of(Darkness(), scale), predictor_of(Slope(), scale, lowered_threshold=True, blackening=True)):
        whole, told = predictor(image), []
        with open_rows(tmp_path / "a.png", 3, whole_up_to=0) as photo:
            large = predictor.predict_large(photo, lambda done, total: told.append((done, total)))
        np.testing.assert_array_equal(large.mask_rows(0, size[0]), whole.mask)
        for name in ("decision_prob", "decided", "threshold", "decision_threshold", "decision_trained"):
            assert getattr(large, name) == getattr(whole, name)
        assert large.crack_share == pytest.approx(whole.crack_share, abs=1e-15)
        assert large.geometry == pytest.approx(whole.geometry, nan_ok=True)
        assert told == [(done, told[-1][1]) for done in range(len(told))]


def test_blackening_and_the_lowered_threshold_act_on_large_photos_too(predictor_of, tmp_path):
    Image.new("RGB", (700, 500), (102, 102, 102)).save(tmp_path / "faint.png")  # probability 0.5 everywhere, not above the threshold

    def predicted(network, **values):
        with open_rows(tmp_path / "faint.png", 3, whole_up_to=0) as photo:
            return predictor_of(network, **values).predict_large(photo)

    assert predicted(Darkness()).crack_share == 0
    lowered = predicted(Darkness(), lowered_threshold=True)
    assert (lowered.threshold, lowered.crack_share) == (0.45, 1)
    network = Constant()
    network.forward = lambda image: (torch.full((1, 1), -1.0), torch.ones(1, 1, *image.shape[2:]))
    assert predicted(network).crack_share == 1
    blackened = predicted(network, blackening=True)
    assert (blackened.threshold, blackened.crack_share) == (np.inf, 0)
