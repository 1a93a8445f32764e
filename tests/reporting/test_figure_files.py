"""The figures of a page as files."""

import re
import xml.dom.minidom

import nbformat
import numpy as np
import pytest
from browsing import NAMES
from PIL import Image

from crack_utils.reporting.pages import GAP, save_figures
from crack_utils.store import load_predictions


@pytest.mark.slow
def test_figures_lie_in_a_folder_as_svg_and_png(sample_run):
    _, folder, _ = sample_run
    saved = {path.name for path in (folder / "figures").iterdir()}
    for page in NAMES:
        text = (folder / f"{page}.html").read_text(encoding="utf-8")
        prefix = "report" if page == "index" else page
        for figure in re.findall(r"<figure [^>]*>", text):
            kind, key = (re.search(rf'{name}="([^"]+)"', figure)[1] for name in ("class", "data-key"))
            if kind.startswith("chart"):
                assert {f"{prefix}-{key}.svg", f"{prefix}-{key}.png"} <= saved
            elif kind == "gallery" and key != "explorer":
                assert f"{prefix}-{key}.png" in saved
    for path in (folder / "figures").glob("*.svg"):
        xml.dom.minidom.parse(str(path))
    for path in (folder / "figures").glob("*.png"):
        assert min(Image.open(path).size) > 90


@pytest.mark.slow
def test_a_saved_row_of_pictures_shows_photo_truth_probability_and_errors(sample_run):
    run, folder, _ = sample_run
    picture = np.asarray(Image.open(folder / "figures" / "report-worst.png"))
    stem = run.per_image.load()["stem"][0]
    stored = load_predictions(run.folder, "test", {stem})
    height, width = stored.masks[0].shape
    assert picture.shape[1] == 4 * width + 3 * GAP
    truth = picture[:height, width + GAP :][:, :width]
    np.testing.assert_array_equal(truth[..., 0] > 127, stored.masks[0])
    levels = picture[:height, 2 * (width + GAP) :][:, :width, 0]
    assert np.corrcoef(levels.ravel(), stored.seg_probs[0].ravel())[0, 1] > 0.9


def test_no_key_of_a_figure_leaves_the_folder(tmp_path):
    about = {"image/svg+xml": {"key": "loss_/../../../escaped"}}
    output = nbformat.v4.new_output("display_data", {"image/svg+xml": "<svg/>", "image/png": "AAAA"}, metadata=about)
    save_figures(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])]), tmp_path / "a" / "figures", "train")
    written = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(written) == ["a/figures/train-loss_----------escaped.png", "a/figures/train-loss_----------escaped.svg"]
