"""The whole way from a configuration to pages: the main job, and real photos."""

from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import run_command
from PIL import Image
from scipy import ndimage
from scoring_by_hand import naive_counts

from crack_utils.data import ensure_sample, find_splits
from crack_utils.scoring import best_threshold, precision_recall_f1, tolerance_counts
from crack_utils.store import Run, load_predictions


@pytest.mark.slow
def test_the_run_shows_its_progress_and_ends_with_its_figures(sample_run):
    run, folder, printed = sample_run
    lines = printed.splitlines()
    steps = ["[1/5] explore", "[2/5] train", "[3/5] evaluate", "[4/5] visualize", "[5/5] report"]
    assert [line for line in lines if line.startswith("[")] == steps
    assert len([line for line in lines if line.startswith("Epoch ") and line.endswith(" left")]) == run.params.load().epochs
    assert lines[-1] == f"Report: {folder / 'index.html'}"
    assert f"F1 {run.metrics.load()['segmentation_2px']['f1']:.4f}" in lines[-3]


@pytest.mark.slow
def test_the_sample_is_neither_trivial_nor_hopeless(sample_run):
    """The network's F1 lies in a telling range; thresholding the smoothed grey value, best on val, reaches half of it at most."""
    run, _, _ = sample_run
    f1 = run.metrics.load()["segmentation_2px"]["f1"]
    assert 0.6 <= f1 <= 0.95

    root = ensure_sample(run.folder.parents[1] / "data" / "sample")
    thresholds = np.arange(0.05, 0.95, 0.005)
    for sigma in (1, 2, 4):
        scores = {}
        for split in ("val", "test"):
            pairs = find_splits(root, "sample").pairs[split]
            grey = [np.asarray(Image.open(pair.image_path).convert("L"), float) / 255 for pair in pairs]
            masks = [np.asarray(Image.open(pair.mask_path)) > 127 for pair in pairs]
            darkness = [1 - ndimage.gaussian_filter(each, sigma) for each in grey]
            scores[split] = precision_recall_f1(*tolerance_counts(darkness, masks, thresholds))[2]
        assert scores["test"][:, best_threshold(scores["val"])].mean() <= f1 / 2


@pytest.mark.slow
def test_the_figures_are_those_of_the_stored_predictions(sample_run):
    run, _, _ = sample_run
    stored, scores = load_predictions(run.folder, "test"), run.metrics.load()["segmentation_2px"]
    f1 = []
    for prob, mask in zip(stored.seg_probs[:6], stored.masks[:6], strict=True):
        tp, fp, fn = naive_counts(prob, mask, scores["threshold"])
        f1.append(2 * tp / (2 * tp + fp + fn))
    per_image = run.per_image.load().set_index("stem")["f1"]
    np.testing.assert_allclose(per_image[stored.stems[:6]], f1)
    assert per_image.mean() == pytest.approx(scores["f1"])


class Headings(HTMLParser):
    """Collects the text of h1, h2 and h3."""

    def __init__(self, page):
        super().__init__()
        self.found, self._inside = [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag in ("h1", "h2", "h3"):
            self._inside = True
            self.found.append("")

    def handle_endtag(self, tag):
        self._inside = self._inside and tag not in ("h1", "h2", "h3")

    def handle_data(self, data):
        if self._inside:
            self.found[-1] += data


@pytest.mark.slow
def test_the_write_up_has_its_sections_in_order(sample_run):
    _, folder, _ = sample_run
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert Headings(page).found == [
        "Results of training on the drawn sample",
        *(
            "Dataset",
            "Run parameters",
            "Decision",
            "2 pixel distance",
            "Published and measured",
            "Losses",
            "Scores",
            "Output",
            "Test examples",
            "Provenance",
        ),
    ]
    assert "<title>Results of training on the drawn sample</title>" in page
    assert "Gradient-flow adjustment" in page
    for link in ("arnumber=9680172", 'href="explore.html"', 'href="visualize.html"'):
        assert link in page


@pytest.mark.slow
def test_rendering_again_repeats_neither_training_nor_evaluation(sample_run):
    run, folder, _ = sample_run
    before = {name: run.path(name).stat().st_mtime_ns for name in ("model.safetensors", "metrics.json", "train.log")}
    (folder / "index.html").unlink()
    run.notebook("visualize").unlink()
    done = run_command(run.folder.parents[1], "render", "sample", timeout=600)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("[")] == ["[4/5] visualize"]
    assert (folder / "index.html").is_file()
    assert {name: run.path(name).stat().st_mtime_ns for name in before} == before


@pytest.mark.slow
def test_real_photos_go_all_the_way_too(real_data, tmp_path):
    (tmp_path / "runs").mkdir()
    paths = [mask for folder in (real_data / "CRACK500").glob("*crop") for mask in sorted(folder.glob("*.png"))[:20]]
    paths += [path.with_suffix(".jpg") for path in paths]
    paths += [path for folder in (real_data / "CRACK500/negatives").iterdir() for path in sorted(folder.iterdir())[:20]]
    for path in paths:  # some of the photos: each command looks through all that lie in the folder
        link = tmp_path / path.relative_to(real_data)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    configuration = tmp_path / "runs" / "real.yaml"
    configuration.write_text(
        f"dataset: crack500\ndata_root: {tmp_path / 'CRACK500'}\nimages_per_split: 8\nepochs: 1\n"
        "input_width: 320\ninput_height: 184\nevaluate_negatives: true\n"
    )
    done = run_command(tmp_path, "run", configuration, timeout=900)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report" / "real" / "index.html").read_text(encoding="utf-8")
    assert "Results of training on CRACK500" in page
    assert "CRACK500 test subset" in page
    assert "drawn by a program" not in page
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRACK_HOME", str(tmp_path))
        stored = load_predictions(Run("real").folder, "test")
    assert len(stored.stems) == 8
    for stem, mask, prob in zip(stored.stems, stored.masks, stored.seg_probs, strict=True):
        path = real_data / "CRACK500" / "testcrop" / f"{stem}.png"
        truth = np.asarray(Image.open(path).convert("L")) > 127 if path.exists() else np.zeros(mask.shape, bool)
        np.testing.assert_array_equal(mask, truth)
        assert prob.shape == truth.shape
