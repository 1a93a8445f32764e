import io
import itertools

import numpy as np
import pytest
import torch
from conftest import TINY, small_params, write_dataset
from PIL import Image

from crack_utils.data import data_facts, find_data, open_rows
from crack_utils.errors import DataError, MissingRun
from crack_utils.evaluation import Predictor, read_photo
from crack_utils.evaluation.photo import blend
from crack_utils.networks import predict
from crack_utils.store import Run

METRICS = {"segmentation_2px": {"threshold": 0.5}, "decision": {"threshold": 0.5}}
SIZES = [(500, 700), (700, 500), (40, 1500), (1500, 40), (65, 129), (30, 50), (2, 3)]


class Darkness(torch.nn.Module):
    """Calls crack what is darker than 0.4, by the pixel alone; remembers what it was shown."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Linear(1, 1)
        self.seen = []

    def forward(self, image):
        self.seen.append(image)
        seg_logits = 50 * (0.4 - image.mean(1, keepdim=True))
        return seg_logits.amax((2, 3)), seg_logits


class Constant(Darkness):
    def forward(self, image):
        return torch.full((1, 1), 0.3), torch.full((1, 1, *image.shape[2:]), 0.7)


class Slope(Darkness):
    """Says that there is crack at the right edge of whatever it sees, and none at the left one."""

    def forward(self, image):
        return torch.zeros(1, 1), torch.linspace(-5, 5, image.shape[3]).expand(1, 1, *image.shape[2:])


@pytest.fixture
def predictor_of(home):
    """Make the predictor of an evaluated run on an input of 64 x 128 with a network that nobody trained."""

    def make(network, scale=1.0, **values):
        run = Run("run")
        run.params.save(small_params(home, **values), {}, {"input_height": 64, "input_width": 128, "scale": scale})
        run.model.save(network)
        run.metrics.save(METRICS)
        return Predictor(run, build_model=lambda params, fresh=True: network)

    return make


def draw_photo(size, crack=np.s_[:0], channels=3):
    """A grey photo with a dark crack where ``crack`` says, and the crack's mask."""
    mask = np.zeros(size, bool)
    mask[crack] = True
    return np.where(mask, 30, 160).astype(np.uint8)[..., None].repeat(channels, axis=2), mask


# --- as evaluation sees it


@pytest.mark.parametrize("size", [(64, 128), (128, 64), (48, 100), (128, 256), (256, 128), (101, 211), (300, 130)])
@pytest.mark.parametrize("channels", [3, 1])
def test_a_photo_of_a_crops_size_is_predicted_as_evaluation_predicts_the_crop(home, tmp_path, size, channels):
    params = small_params(write_dataset(tmp_path / "d", size=size), input_height=64, input_width=128, input_channels=channels)
    data, run = find_data(params, tmp_path), Run("run")
    network = TINY.build_model(params)
    run.params.save(params, {}, data_facts(data))
    run.model.save(network)
    run.metrics.save(METRICS)
    predictor = Predictor(run, TINY.build_model)
    for crop, seg_prob, decision_prob in predict(network, data.split("test"), torch.device("cpu")):
        prediction = predictor(read_photo(crop.pair.image_path, channels))
        np.testing.assert_array_equal(prediction.image, crop.image)
        assert prediction.seg_prob.dtype == np.float32
        np.testing.assert_allclose(prediction.seg_prob, seg_prob, rtol=0, atol=1e-6)
        assert prediction.decision_prob == pytest.approx(decision_prob, abs=1e-6)


def test_blackening_and_the_lowered_threshold_act_as_in_evaluation(predictor_of):
    faint = np.full((64, 128, 3), 102, np.uint8)  # probability 0.5 everywhere, not above the threshold
    assert not predictor_of(Darkness())(faint).mask.any()
    lowered = predictor_of(Darkness(), lowered_threshold=True)(faint)
    assert lowered.threshold == 0.45
    assert lowered.mask.all()
    network = Constant()
    network.forward = lambda image: (torch.full((1, 1), -1.0), torch.ones(1, 1, *image.shape[2:]))
    assert predictor_of(network)(faint).mask.all()
    blackened = predictor_of(network, blackening=True)(faint)
    assert not blackened.decided
    assert not blackened.mask.any()
    assert blackened.threshold == np.inf


def test_a_run_from_another_machine_is_used_on_this_one(predictor_of):
    image, mask = draw_photo((64, 128), np.s_[20:24])
    network = Darkness()
    prediction = predictor_of(network, device="cuda:7")(image)
    np.testing.assert_array_equal(prediction.mask, mask)


# --- any size


@pytest.mark.parametrize("scale", [1.0, 0.6])
@pytest.mark.parametrize("size", SIZES)
def test_a_constant_network_gives_a_map_without_seams(predictor_of, size, scale):
    prediction = predictor_of(Constant(), scale)(draw_photo(size)[0])
    assert prediction.seg_prob.shape == size
    np.testing.assert_allclose(prediction.seg_prob, torch.tensor(0.7).sigmoid(), rtol=0, atol=1e-6)
    assert prediction.decision_prob == pytest.approx(torch.tensor(0.3).sigmoid().item())


def test_probabilities_never_exceed_1(predictor_of):
    assert predictor_of(Darkness())(np.zeros((500, 700, 3), np.uint8)).seg_prob.max() == 1


@pytest.mark.parametrize("size", SIZES)
def test_every_tile_lands_where_it_lies(predictor_of, size):
    mask = np.random.default_rng(0).random(size) < 0.1
    prediction = predictor_of(Darkness())(draw_photo(size, mask)[0])
    np.testing.assert_array_equal(prediction.mask, mask)


def test_tiles_that_disagree_are_blended_without_a_jump(predictor_of):
    seg_prob = predictor_of(Slope())(draw_photo((500, 700))[0]).seg_prob
    assert np.abs(np.diff(seg_prob, axis=0)).max() < 1e-6
    assert np.abs(np.diff(seg_prob, axis=1)).max() < 0.06  # side by side, the tiles' edges would differ by 0.99


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_crack_across_tile_borders_has_no_gap(predictor_of, scale):
    image, mask = draw_photo((500, 700), np.s_[240:248])
    mask[:, 300:308] = True
    image[mask] = 30
    prediction = predictor_of(Darkness(), scale)(image)
    np.testing.assert_array_equal(prediction.mask[243:245], True)
    np.testing.assert_array_equal(prediction.mask[:, 303:305], True)
    np.testing.assert_allclose(np.diff(prediction.seg_prob[244, 310:]), 0, atol=1e-3)  # as probable at a border as beside it
    assert abs(prediction.mask.sum() / mask.sum() - 1) < 0.01
    assert prediction.geometry["width_mean_px"] == pytest.approx(8, abs=0.5)


def test_tiles_overlap_by_a_quarter_and_weights_add_up_to_1():
    for side, tile in [(1000, 64), (700, 128), (129, 128), (128, 128), (1, 1), (3, 2)]:
        tiles, total = blend(side, tile), np.zeros(side)
        for start, weights in tiles:
            assert (weights > 0).all()
            total[start : start + tile] += weights
        np.testing.assert_allclose(total, 1, atol=1e-6)
        assert tiles[0][0] == 0
        assert tiles[-1][0] == side - tile
        assert all(after - before <= max(1, 0.75 * tile) + 1 for (before, _), (after, _) in itertools.pairwise(tiles))


def test_a_photo_is_cracked_if_any_tile_is(predictor_of):
    predictor = predictor_of(Darkness())
    sound, cracked = predictor(draw_photo((500, 700))[0]), predictor(draw_photo((500, 700), np.s_[490:493, 20:40])[0])
    assert not sound.decided
    assert cracked.decided
    assert cracked.decision_prob == pytest.approx(1, abs=1e-5)


# --- by rows


@pytest.mark.parametrize("scale", [1.0, 0.6])
@pytest.mark.parametrize("size", SIZES)
def test_a_photo_read_by_rows_is_predicted_bit_for_bit_as_the_whole_photo(predictor_of, tmp_path, size, scale):
    image = np.random.default_rng(0).integers(60, 150, (*size, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    for predictor in (predictor_of(Darkness(), scale), predictor_of(Slope(), scale, lowered_threshold=True, blackening=True)):
        whole = predictor(image)
        with open_rows(tmp_path / "a.png", 3, whole_up_to=0) as photo:
            large = predictor.predict_large(photo)
        np.testing.assert_array_equal(large.mask_rows(0, size[0]), whole.mask)
        for name in ("decision_prob", "decided", "threshold", "decision_threshold", "decision_trained"):
            assert getattr(large, name) == getattr(whole, name)
        assert large.crack_share == pytest.approx(whole.crack_share, abs=1e-15)
        assert large.geometry == pytest.approx(whole.geometry, nan_ok=True)


def test_blackening_and_the_lowered_threshold_act_on_large_photos_too(predictor_of, tmp_path):
    Image.new("RGB", (128, 64), (102, 102, 102)).save(tmp_path / "faint.png")  # probability 0.5 everywhere, not above the threshold

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


# --- scale


@pytest.mark.parametrize(("scale", "crack_px", "tiles"), [(1.0, 20, 5 * 5), (0.5, 10, 3 * 3), (0.25, 5, 1)])
def test_the_network_sees_a_photo_at_the_scale_of_its_training(predictor_of, scale, crack_px, tiles):
    network = Darkness()
    predictor_of(network, scale)(draw_photo((256, 512), np.s_[:, 250:270])[0])
    assert {image.shape for image in network.seen} == {(1, 3, 64, 128)}
    assert len(network.seen) == tiles
    widths = [(image[0].mean(0) < 0.4).sum(1).float().mean().item() for image in network.seen]
    assert max(widths) == pytest.approx(crack_px, abs=1)


def test_tiles_lie_as_the_input_lies_whatever_the_photo_does(predictor_of):
    network = Darkness()
    predictor_of(network)(draw_photo((500, 200), np.s_[:, 90:110])[0])
    (crack,) = {(image[0].mean(0) < 0.4).any(0).sum().item() for image in network.seen}
    assert crack == 20  # upright in every tile


def test_the_scale_is_kept_with_the_run_and_runs_without_it_count_as_1(predictor_of, tmp_path):
    params = small_params(write_dataset(tmp_path / "d", size=(128, 256)), input_height=64, input_width=128)
    assert data_facts(find_data(params, tmp_path))["scale"] == 0.5
    network = Darkness()
    predictor_of(network)
    Run("run").params.save(params, {}, {"input_height": 64, "input_width": 128})
    assert Predictor(Run("run"), lambda params, fresh: network).scale == 1


# --- reading


def test_a_photo_is_read_from_its_path_or_its_bytes_and_turned_as_its_exif_says(tmp_path):
    path = tmp_path / "lying.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(draw_photo((40, 60), np.s_[:10])[0]).save(path, exif=exif, quality=95)
    image = read_photo(path, 3)
    assert image.shape == (60, 40, 3)
    assert image[:, -8:].max() < 100 < image[:, :28].min()
    for source in (str(path), path.read_bytes(), memoryview(path.read_bytes())):
        np.testing.assert_array_equal(read_photo(source, 3), image)


def test_a_grey_run_takes_a_colour_photo(predictor_of, tmp_path):
    image, mask = draw_photo((100, 150), np.s_[50:55])
    Image.fromarray(image).save(tmp_path / "a.png")
    prediction = predictor_of(Darkness(), input_channels=1)(read_photo(tmp_path / "a.png", 1))
    assert prediction.image.shape == (100, 150, 1)
    np.testing.assert_array_equal(prediction.mask, mask)


def test_what_is_no_photo_is_named(predictor_of, tmp_path):
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"cannot read .*a\.jpg \(8 bytes\) as an image: cannot identify image file; replace"):
        read_photo(tmp_path / "a.jpg", 3)
    for damaged in (b"no image", memoryview(b"no image")):
        with pytest.raises(DataError, match=r"cannot read the photo \(8 bytes\) as an image: cannot identify image file; replace"):
            read_photo(damaged, 3)
    with pytest.raises(DataError, match=r"the photo \(0 bytes\) as an image: it is empty"):
        read_photo(b"", 3)
    for missing in (tmp_path / "b.jpg", str(tmp_path)):
        with pytest.raises(DataError, match="there is no photo"):
            read_photo(missing, 3)
    deep = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.int32)).save(deep, format="TIFF")
    with pytest.raises(DataError, match=r"the photo has pixels of mode I .*; convert it to 8 or 16 bits a channel"):
        read_photo(deep.getvalue(), 3)
    predictor = predictor_of(Darkness())
    for array in (np.zeros((64, 128), np.uint8), np.zeros((64, 128, 1), np.uint8), np.zeros((64, 128, 3)), np.zeros((1, 128, 3), np.uint8)):
        with pytest.raises(DataError, match=r"the run takes \(height, width, 3\) uint8"):
            predictor(array)


def test_a_run_that_was_not_evaluated_says_what_comes_first(predictor_of):
    predictor_of(Darkness())
    Run("run").metrics.path.unlink()
    with pytest.raises(MissingRun, match=r"run/metrics\.json is missing; train the run first, then evaluate"):
        Predictor(Run("run"))
