"""The exporter on a notebook made by hand; then the whole way, from configuration to pages in a real browser."""

import json
import os
import subprocess
import sys
from html.parser import HTMLParser

import nbformat
import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image
from scipy import ndimage
from test_metrics import naive_counts

from crack_utils import metrics
from crack_utils.artifacts import Run, load_predictions
from crack_utils.errors import NotebookFailed
from crack_utils.layouts import find_pairs
from crack_utils.reporting import runner, tables
from crack_utils.sample import ensure_sample

PAGES = ("index", "explore", "train", "evaluate", "visualize")
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


# --- the exporter


def notebook_of(*cells):
    return nbformat.v4.new_notebook(cells=list(cells), metadata={"title": "A <title>"})


def code_cell(source, *outputs, tags=()):
    return nbformat.v4.new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def test_a_page_is_one_file_without_scripts_and_asks_no_host():
    page = runner.to_html(notebook_of(nbformat.v4.new_markdown_cell("# Hello\n\n[a link](https://example.org)")))
    assert "<title>A &lt;title&gt;</title>" in page
    assert "<h1>Hello</h1>" in page
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert not [word for word in ("src=", "@import", "url(") if f'{word}"http' in page or f"{word}http" in page]


def test_figures_carry_their_caption_and_alternative_text():
    about = {"image/png": {"alt": 'a "dot"', "caption": "One <dot>.", "width": 900}}
    figure = nbformat.v4.new_output("display_data", {"image/png": DOT, "text/plain": "x"}, metadata=about)
    page = runner.to_html(notebook_of(code_cell("show()", figure)))
    assert 'alt="a &quot;dot&quot;"' in page or "alt='a \"dot\"'" in page
    assert "<figcaption>One &lt;dot&gt;.</figcaption>" in page


def test_tags_keep_cells_and_outputs_out_of_the_page():
    stream = nbformat.v4.new_output("stream", text="progress\n")
    page = runner.to_html(
        notebook_of(
            code_cell("widget()", nbformat.v4.new_output("stream", text="slider\n"), tags=["interactive"]),
            nbformat.v4.new_markdown_cell("only here", metadata={"tags": ["notebook-only"]}),
            code_cell("train()", stream, tags=["live"]),
            code_cell("long()", nbformat.v4.new_output("stream", text="line\n" * 40)),
        )
    )
    assert not [word for word in ("slider", "widget", "only here", "progress") if word in page]
    assert '<div class="code">' in page
    assert "Output (40 lines)" in page


def test_an_error_is_shown_in_one_line_with_its_traceback_folded():
    error = nbformat.v4.new_output("error", ename="DataError", evalue="no <mask>", traceback=["\x1b[31mline 1\x1b[0m"])
    page = runner.to_html(notebook_of(code_cell("x", error)))
    assert "<strong>DataError</strong>: no &lt;mask&gt;" in page
    assert "<summary>Traceback</summary>" in page


def test_results_of_expressions_are_shown():
    result = nbformat.v4.new_output("execute_result", {"text/html": "<b>bold</b>", "text/plain": "x"}, execution_count=1)
    assert "<b>bold</b>" in runner.to_html(notebook_of(code_cell("x", result)))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.7332281, "0.733228"), (0.9996273, "0.9996273"), (1.0, "1"), (0.375, "0.375"), (0.63000000000004, "0.63"), (1116, "1116")],
)
def test_numbers_read_as_in_the_write_up(value, text):
    assert tables.plain(value) == text


def test_the_sum_of_positives_and_negatives_is_counted():
    counts = {"train": {"positives": 5, "negatives": 2}, "val": {"positives": 1, "negatives": 0}, "test": {"positives": 3, "negatives": 4}}
    frame = tables.counts_table({"counts": counts})
    assert frame.to_numpy().tolist() == [["Train", 5, 2, 7], ["Test", 3, 4, 7], ["Validation", 1, 0, 1], ["Sum", 9, 6, 15]]


# --- the runner


def notebook_file(folder, name, *sources):
    (folder / "notebooks").mkdir(exist_ok=True)
    parameters = nbformat.v4.new_code_cell("run_name: str = None  # which", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[parameters, *map(nbformat.v4.new_code_cell, sources)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")


@pytest.mark.slow
def test_the_runner_trusts_no_notebook_that_did_not_run_to_its_end(home, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(runner, "REPOSITORY", tmp_path)
    notebook_file(tmp_path, "good", "print('run', run_name)")
    runner.execute("good", Run("a"), {"run_name": "a", "not_a_parameter": 1})
    assert capfd.readouterr().out == "run a\n"
    assert runner.completed(nbformat.read(Run("a").notebook("good"), as_version=4))
    notebook_file(tmp_path, "raises", "raise ValueError('no such thing')")
    with pytest.raises(NotebookFailed, match=r"raises\.ipynb stopped\. ValueError: no such thing"):
        runner.execute("raises", Run("a"), {})
    notebook_file(tmp_path, "dies", "import os; os._exit(1)", "1")
    with pytest.raises(NotebookFailed, match=r"dies\.ipynb"):
        runner.execute("dies", Run("a"), {})


# --- the whole way


def run_command(home, *words, timeout):
    words = [sys.executable, "-m", "crack_utils", *map(str, words)]
    environment = {**os.environ, "CRACK_HOME": str(home)}
    return subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory):
    """The main job: runs/sample.yaml as it is, from drawing to pages."""
    home = tmp_path_factory.mktemp("home")
    done = run_command(home, "run", "runs/sample.yaml", timeout=1500)
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRACK_HOME", str(home))
        yield Run("sample"), home / "report" / "sample", done.stdout


@pytest.mark.slow
def test_the_run_shows_its_progress_and_ends_with_its_figures(sample_run):
    run, folder, printed = sample_run
    lines = printed.splitlines()
    steps = ["[1/5] explore", "[2/5] train", "[3/5] evaluate", "[4/5] visualize", "[5/5] report"]
    assert [line for line in lines if line.startswith("[")] == steps
    assert len([line for line in lines if line.startswith("Epoch ") and line.endswith(" left")]) == run.load_params().epochs
    assert lines[-1] == f"Report: {folder / 'index.html'}"
    assert f"F1 {run.load_metrics()['segmentation_2px']['f1']:.4f}" in lines[-3]


@pytest.mark.slow
def test_the_sample_is_neither_trivial_nor_hopeless(sample_run):
    """The network's F1 lies in a telling range; thresholding the smoothed grey value, best on val, reaches half of it at most."""
    run, _, _ = sample_run
    f1 = run.load_metrics()["segmentation_2px"]["f1"]
    assert 0.6 <= f1 <= 0.95

    root = ensure_sample(run.folder.parents[1] / "data" / "sample")
    thresholds = np.arange(0.05, 0.95, 0.005)
    for sigma in (1, 2, 4):
        scores = {}
        for split in ("val", "test"):
            pairs = find_pairs(root, split)
            grey = [np.asarray(Image.open(pair.image_path).convert("L"), float) / 255 for pair in pairs]
            masks = [np.asarray(Image.open(pair.mask_path)) > 127 for pair in pairs]
            darkness = [1 - ndimage.gaussian_filter(each, sigma) for each in grey]
            scores[split] = metrics.precision_recall_f1(*metrics.tolerance_counts(darkness, masks, thresholds))[2]
        assert scores["test"][:, metrics.best_threshold(scores["val"])].mean() <= f1 / 2


@pytest.mark.slow
def test_the_figures_are_those_of_the_stored_predictions(sample_run):
    run, _, _ = sample_run
    stored, scores = load_predictions(run.folder, "test"), run.load_metrics()["segmentation_2px"]
    f1 = []
    for prob, mask in zip(stored.seg_probs[:6], stored.masks[:6], strict=True):
        tp, fp, fn = naive_counts(prob, mask, scores["threshold"])
        f1.append(2 * tp / (2 * tp + fp + fn))
    per_image = run.load_per_image().set_index("stem")["f1"]
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
        ),
    ]
    assert "<title>Results of training on the drawn sample</title>" in page
    assert "Gradient-flow adjustment" in page
    for link in ("arnumber=9680172", 'href="explore.html"', 'href="visualize.html"'):
        assert link in page


@pytest.mark.slow
def test_the_pages_show_the_runs_own_figures(sample_run, browser):
    run, folder, _ = sample_run
    browser.get(f"file://{folder}/index.html")
    tables_shown = browser.execute_script(
        "return [...document.querySelectorAll('figure.table table')].map(t => [...t.querySelectorAll('tr')]"
        ".map(r => [...r.children].map(c => c.innerText)))"
    )
    decision, segmentation = run.load_metrics()["decision"], run.load_metrics()["segmentation_2px"]
    assert tables_shown[3] == [
        ["Precision", "Recall", "F1", "Accuracy", "Threshold", "TP", "FP", "FN", "TN"],
        [tables.plain(decision[name]) for name in ("precision", "recall", "f1", "accuracy", "threshold", "tp", "fp", "fn", "tn")],
    ]
    assert tables_shown[4] == [
        ["Precision", "Recall", "F1", "Threshold"],
        [tables.plain(segmentation[name]) for name in ("precision", "recall", "f1", "threshold")],
    ]
    assert tables_shown[1][1:] == [
        ["Train", "24", "8", "32"],
        ["Test", "30", "10", "40"],
        ["Validation", "18", "6", "24"],
        ["Sum", "72", "24", "96"],
    ]
    assert len(tables_shown[2]) == 18


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("page", PAGES)
def test_pages_open_offline_whole_and_without_a_complaint(sample_run, browser, page, width):
    _, folder, _ = sample_run
    path = folder / f"{page}.html"
    assert path.stat().st_size < 5_000_000
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    )
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(f"file://{path}")
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert requests
    assert all(url.startswith(("file://", "data:")) for url in requests)
    images = browser.execute_script("return [...document.images].map(i => [i.naturalWidth, i.alt, i.getBoundingClientRect().right])")
    assert images
    for natural_width, alt, right in images:
        assert natural_width > 1
        assert len(alt) > 10
        assert right <= width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    cut_off = browser.execute_script(
        "return [...document.querySelectorAll('figure.table')].filter(f => f.scrollWidth > f.clientWidth + 1).map(f => f.innerText)"
    )
    assert cut_off == []
    assert "drawn by a program" in browser.execute_script("return document.querySelector('.notice').innerText")
    code = browser.execute_script("return [...document.querySelectorAll('.code')].map(c => c.offsetHeight)")
    assert code
    assert not any(code)
    browser.execute_script("document.querySelector('#show-code').click()")
    assert all(browser.execute_script("return [...document.querySelectorAll('.code')].map(c => c.offsetHeight)"))
    links = browser.execute_script("return [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert {f"{name}.html" for name in PAGES} <= set(links)
    assert all((folder / link).is_file() for link in links if not link.startswith(("https://", "#")))


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
    configuration = tmp_path / "runs" / "real.yaml"
    configuration.write_text(
        f"dataset: crack500\ndata_root: {real_data / 'CRACK500'}\nimages_per_split: 8\nepochs: 1\n"
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
