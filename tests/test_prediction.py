import io
import itertools

import numpy as np
import pytest
import torch
from conftest import small_params, write_dataset, write_pair
from PIL import Image

from crack_utils.data import data_facts, find_data
from crack_utils.errors import DataError, MissingRun
from crack_utils.evaluation.photo import PhotoPrediction, Predictor, predict_photo, read_photo
from crack_utils.evaluation.tiles import blend
from crack_utils.networks import build_model, predict
from crack_utils.reporting.photo import describe, overlay, predict_file
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
def make_run(home, monkeypatch):
    """Make an evaluated run on an input of 64 x 128 with a network that nobody trained."""

    def make(network, scale=1.0, **values):
        monkeypatch.setattr(evaluation, "build_model", lambda params, fresh=True: network)
        run = Run("run")
        run.params.save(small_params(home, **values), {}, {"input_height": 64, "input_width": 128, "scale": scale})
        run.model.save(network)
        run.metrics.save(METRICS)
        return run

    return make


def draw_photo(size, crack=np.s_[:0], channels=3):
    """A grey photo with a dark crack where ``crack`` says, and the crack's mask."""
    mask = np.zeros(size, bool)
    mask[crack] = True
    return np.where(mask, 30, 160).astype(np.uint8)[..., None].repeat(channels, axis=2), mask


# --- as evaluation sees it


@pytest.mark.parametrize("size", [(64, 128), (128, 64), (48, 100), (128, 256), (256, 128), (101, 211), (300, 130)])
@pytest.mark.parametrize("channels", [3, 1])
def test_a_photo_of_a_crops_size_is_predicted_as_evaluation_predicts_the_crop(home, tmp_path, tiny_network, size, channels):
    params = small_params(write_dataset(tmp_path / "d", size=size), input_height=64, input_width=128, input_channels=channels)
    data, run = find_data(params, tmp_path), Run("run")
    network = build_model(params)
    run.params.save(params, {}, data_facts(data))
    run.model.save(network)
    run.metrics.save(METRICS)
    predictor = Predictor(run)
    for crop, seg_prob, decision_prob in predict(network, data.split("test"), torch.device("cpu")):
        prediction = predictor(read_photo(crop.pair.image_path, channels))
        np.testing.assert_array_equal(prediction.image, crop.image)
        assert prediction.seg_prob.dtype == np.float32
        np.testing.assert_allclose(prediction.seg_prob, seg_prob, rtol=0, atol=1e-6)
        assert prediction.decision_prob == pytest.approx(decision_prob, abs=1e-6)


def test_blackening_and_the_lowered_threshold_act_as_in_evaluation(make_run):
    faint = np.full((64, 128, 3), 102, np.uint8)  # probability 0.5 everywhere, not above the threshold
    assert not predict_photo(make_run(Darkness()), faint).mask.any()
    lowered = predict_photo(make_run(Darkness(), lowered_threshold=True), faint)
    assert lowered.threshold == 0.45
    assert lowered.mask.all()
    network = Constant()
    network.forward = lambda image: (torch.full((1, 1), -1.0), torch.ones(1, 1, *image.shape[2:]))
    assert predict_photo(make_run(network), faint).mask.all()
    blackened = predict_photo(make_run(network, blackening=True), faint)
    assert not blackened.decided
    assert not blackened.mask.any()
    assert "blackening" in describe(blackened)


def test_a_run_from_another_machine_is_used_on_this_one(make_run):
    image, mask = draw_photo((64, 128), np.s_[20:24])
    network = Darkness()
    prediction = predict_photo(make_run(network, device="cuda:7"), image)
    np.testing.assert_array_equal(prediction.mask, mask)


# --- any size


@pytest.mark.parametrize("scale", [1.0, 0.6])
@pytest.mark.parametrize("size", SIZES)
def test_a_constant_network_gives_a_map_without_seams(make_run, size, scale):
    prediction = predict_photo(make_run(Constant(), scale), draw_photo(size)[0])
    assert prediction.seg_prob.shape == size
    np.testing.assert_allclose(prediction.seg_prob, torch.tensor(0.7).sigmoid(), rtol=0, atol=1e-6)
    assert prediction.decision_prob == pytest.approx(torch.tensor(0.3).sigmoid().item())


def test_probabilities_never_exceed_1(make_run):
    assert predict_photo(make_run(Darkness()), np.zeros((500, 700, 3), np.uint8)).seg_prob.max() == 1


@pytest.mark.parametrize("size", SIZES)
def test_every_tile_lands_where_it_lies(make_run, size):
    mask = np.random.default_rng(0).random(size) < 0.1
    prediction = predict_photo(make_run(Darkness()), draw_photo(size, mask)[0])
    np.testing.assert_array_equal(prediction.mask, mask)


def test_tiles_that_disagree_are_blended_without_a_jump(make_run):
    seg_prob = predict_photo(make_run(Slope()), draw_photo((500, 700))[0]).seg_prob
    assert np.abs(np.diff(seg_prob, axis=0)).max() < 1e-6
    assert np.abs(np.diff(seg_prob, axis=1)).max() < 0.06  # side by side, the tiles' edges would differ by 0.99


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_crack_across_tile_borders_has_no_gap(make_run, scale):
    image, mask = draw_photo((500, 700), np.s_[240:248])
    mask[:, 300:308] = True
    image[mask] = 30
    prediction = predict_photo(make_run(Darkness(), scale), image)
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


def test_a_photo_is_cracked_if_any_tile_is(make_run):
    predictor = Predictor(make_run(Darkness()))
    sound, cracked = predictor(draw_photo((500, 700))[0]), predictor(draw_photo((500, 700), np.s_[490:493, 20:40])[0])
    assert not sound.decided
    assert cracked.decided
    assert cracked.decision_prob == pytest.approx(1, abs=1e-5)


# --- scale


@pytest.mark.parametrize(("scale", "crack_px", "tiles"), [(1.0, 20, 5 * 5), (0.5, 10, 3 * 3), (0.25, 5, 1)])
def test_the_network_sees_a_photo_at_the_scale_of_its_training(make_run, scale, crack_px, tiles):
    network = Darkness()
    predict_photo(make_run(network, scale), draw_photo((256, 512), np.s_[:, 250:270])[0])
    assert {image.shape for image in network.seen} == {(1, 3, 64, 128)}
    assert len(network.seen) == tiles
    widths = [(image[0].mean(0) < 0.4).sum(1).float().mean().item() for image in network.seen]
    assert max(widths) == pytest.approx(crack_px, abs=1)


def test_tiles_lie_as_the_input_lies_whatever_the_photo_does(make_run):
    network = Darkness()
    predict_photo(make_run(network), draw_photo((500, 200), np.s_[:, 90:110])[0])
    (crack,) = {(image[0].mean(0) < 0.4).any(0).sum().item() for image in network.seen}
    assert crack == 20  # upright in every tile


def test_the_scale_is_kept_with_the_run_and_runs_without_it_count_as_1(make_run, tmp_path):
    params = small_params(write_dataset(tmp_path / "d", size=(128, 256)), input_height=64, input_width=128)
    assert find_data(params, tmp_path).facts["scale"] == 0.5
    run = make_run(Darkness())
    run.params.save(params, {}, {"input_height": 64, "input_width": 128})
    assert Predictor(run).scale == 1


# --- reading and showing


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


def test_a_grey_run_takes_a_colour_photo(make_run, tmp_path):
    image, mask = draw_photo((100, 150), np.s_[50:55])
    Image.fromarray(image).save(tmp_path / "a.png")
    prediction = predict_photo(make_run(Darkness(), input_channels=1), read_photo(tmp_path / "a.png", 1))
    assert prediction.image.shape == (100, 150, 1)
    np.testing.assert_array_equal(prediction.mask, mask)
    assert overlay(prediction).shape == (100, 150, 3)


def test_what_is_no_photo_is_named(make_run, tmp_path):
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
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(deep, format="PNG")
    with pytest.raises(DataError, match="the photo has pixels of mode I;16; convert it to 8 bits a channel"):
        read_photo(deep.getvalue(), 3)
    predictor = Predictor(make_run(Darkness()))
    for array in (np.zeros((64, 128), np.uint8), np.zeros((64, 128, 1), np.uint8), np.zeros((64, 128, 3)), np.zeros((1, 128, 3), np.uint8)):
        with pytest.raises(DataError, match=r"the run takes \(height, width, 3\) uint8"):
            predictor(array)


def test_a_huge_image_gives_the_readers_message(tmp_path, monkeypatch):
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"a\.png .* exceeds limit of 2000 pixels"):
        read_photo(tmp_path / "a.png", 3)


def test_a_run_that_was_not_evaluated_says_what_comes_first(make_run):
    run = make_run(Darkness())
    run.path("metrics.json").unlink()
    with pytest.raises(MissingRun, match=r"run run has no metrics\.json .* evaluate"):
        Predictor(run)


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


def test_no_file_is_ever_overwritten(make_run, tmp_path):
    write_pair(tmp_path / "a.jpg", tmp_path / "a_mask.png")  # a layout of CRACK500
    predictor, truth = Predictor(make_run(Darkness())), (tmp_path / "a_mask.png").read_bytes()
    with pytest.raises(ValueError, match=r"a_mask\.png exists already; .*--output"):
        predict_file(predictor, tmp_path / "a.jpg", tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["a.jpg", "a_mask.png"]
    assert (tmp_path / "a_mask.png").read_bytes() == truth
    assert "a_cracks.png" in predict_file(predictor, tmp_path / "a.jpg", tmp_path / "out")
    assert np.unique(np.asarray(Image.open(tmp_path / "out" / "a_mask.png"))).tolist() == [0, 255]
