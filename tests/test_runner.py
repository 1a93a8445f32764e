"""Notebooks executed for a run: the whole way from configuration to pages, and what does not come to its end."""

import html
from html.parser import HTMLParser

import nbformat
import numpy as np
import pytest
from conftest import run_command, small_params
from PIL import Image
from scipy import ndimage
from scoring_by_hand import naive_counts

from crack_utils.config import parse_parameters
from crack_utils.data import ensure_sample, find_pairs
from crack_utils.errors import NotebookFailed
from crack_utils.evaluation.run import evaluate_run
from crack_utils.reporting.executed import completed
from crack_utils.reporting.pages import NOTEBOOKS, page_name, unfinished
from crack_utils.reporting.runner import _is_kept, compare, execute, execute_and_render
from crack_utils.scoring import best_threshold, precision_recall_f1, tolerance_counts
from crack_utils.store import Run, load_predictions
from crack_utils.training import train_run

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
    execute("good", Run("a"), {"run_name": "a", "not_a_parameter": 1})
    assert capfd.readouterr().out == "run a\n"
    assert completed(nbformat.read(Run("a").notebook("good"), as_version=4))
    notebook_file(tmp_path, "raises", "raise ValueError('no such thing')")
    with pytest.raises(NotebookFailed, match=r"raises\.ipynb stopped\. ValueError: no such thing"):
        execute("raises", Run("a"), {})
    notebook_file(tmp_path, "dies", "import os; os._exit(1)", "1")
    with pytest.raises(NotebookFailed, match=r"dies\.ipynb"):
        execute("dies", Run("a"), {})


ENDS = {  # by what the notebook does: what its page says on top
    "raise ValueError('no <such> thing')": "train.ipynb stopped. ValueError: no <such> thing.",
    "import os; os._exit(1)": "train.ipynb did not come to its end: its kernel died, as when memory runs out.",
    "import time; time.sleep(60)": "train.ipynb did not come to its end: a cell took longer than 2 s.",
}


@pytest.mark.slow
@pytest.mark.parametrize("source", ENDS)
def test_what_does_not_come_to_its_end_becomes_a_page_that_says_so_with_what_was_finished(home, tmp_path, monkeypatch, source, capsys):
    monkeypatch.setattr(runner, "REPOSITORY", tmp_path)
    for name in NOTEBOOKS:
        notebook_file(tmp_path, name, "print('line of', __doc__)", "print('before'); " + (source if name == "train" else "1"), "2")
    run, folder = Run("ends"), home / "report" / "ends"
    folder.mkdir(parents=True)
    (folder / "evaluate.html").write_text("of another training")
    run.log.add("Epoch 1 of 3")
    with pytest.raises(NotebookFailed):
        execute_and_render(parse_parameters({}), run, timeout_s=2)
    assert f"Report of what was finished: {folder / 'index.html'}" in capsys.readouterr().out
    assert {path.name for path in folder.glob("*.html")} == {"index.html", "explore.html", "train.html"}
    for page in ("index", "train"):
        text = (folder / f"{page}.html").read_text(encoding="utf-8")
        assert f"<strong>Not finished.</strong> {html.escape(ENDS[source], quote=False)}" in text
        assert '<span class="missing" title="not made">Evaluation</span>' in text
    assert "Epoch 1 of 3" in (folder / "index.html").read_text(encoding="utf-8")
    train = (folder / "train.html").read_text(encoding="utf-8")
    assert ("<summary>Traceback</summary>" in train) == ("_exit" not in source)  # a dead kernel tells nothing
    assert "line of" in train
    assert "Not finished" not in (folder / "explore.html").read_text(encoding="utf-8")
    assert "ends" in (home / "report" / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_finished_run_is_rendered_again_without_its_data_but_for_the_page_of_the_data(home, small_data, monkeypatch, capsys):
    run = train_run(small_params(small_data, epochs=1, validate_on_test=True), "moved")
    evaluate_run(run)
    small_data.rename(small_data.with_name("elsewhere"))
    with pytest.raises(NotebookFailed, match=r"explore\.ipynb stopped\. DataError: data_root"):
        execute_and_render(run.params.load(), run, only_missing=True)
    folder = home / "report" / "moved"
    assert {path.name for path in folder.glob("*.html")} == {"index.html", "explore.html", "train.html", "evaluate.html", "visualize.html"}
    assert "Not finished" not in (folder / "index.html").read_text(encoding="utf-8")
    assert "Not finished.</strong> explore.ipynb stopped" in (folder / "explore.html").read_text(encoding="utf-8")
    small_data.with_name("elsewhere").rename(small_data)
    capsys.readouterr()
    execute_and_render(run.params.load(), run, only_missing=True)
    assert [line for line in capsys.readouterr().out.splitlines() if line[0] == "["] == ["[1/5] explore"]
    assert "Not finished" not in (folder / "explore.html").read_text(encoding="utf-8")

    whole = run.notebook("explore").read_bytes()
    small_data.rename(small_data.with_name("elsewhere"))
    with pytest.raises(NotebookFailed):
        execute("explore", run, run.params.load().given())
    assert run.notebook("explore").read_bytes() == whole  # a whole copy is not lost to a failure
    check_that_every_page_warns_of_the_choice_on_test(run, home / "report")


def check_that_every_page_warns_of_the_choice_on_test(run, report):
    """Its five pages, a comparison, the list of runs, and what would stand there had it not finished."""
    warning = "Checkpoint and thresholds were chosen on test (validate_on_test)"
    compare([run.name], "beside")
    for page in (*(report / run.name / page_name(name) for name in NOTEBOOKS), report / "beside" / "index.html"):
        assert f'<p class="notice" role="note">{warning}' in page.read_text(encoding="utf-8"), page.name
    listed = (report / "index.html").read_text(encoding="utf-8")
    assert "Runs marked 'chose on test' chose checkpoint or thresholds on test" in html.unescape(listed)
    assert listed.count("chose on test") > 1  # in its row too
    notices = [output.data["text/html"] for cell in unfinished(run, "why").cells[1:] for output in cell.get("outputs", [])]
    assert any(warning in notice for notice in notices)


def test_a_copy_is_kept_only_of_the_notebook_as_it_is_now(home, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "REPOSITORY", tmp_path)
    run = Run("kept")
    run.path("metrics.json").parent.mkdir(parents=True)
    run.path("metrics.json").write_text("{}")
    notebook_file(tmp_path, "report", "1")

    def copy(**metadata):
        notebook = nbformat.read(tmp_path / "notebooks" / "report.ipynb", as_version=4)
        for cell in notebook.cells:
            cell.metadata["execution"] = {"shell.execute_reply": "then"}
        notebook.metadata |= {"papermill": {"end_time": "then"}, **metadata}
        nbformat.write(notebook, run.notebook("report"))
        return _is_kept("report", run, {})

    assert copy()
    assert not copy(crack_report={"failure": "It was stopped."})
    assert copy()
    notebook_file(tmp_path, "report", "2")
    assert not _is_kept("report", run, {})
    assert copy()
    run.notebook("report").write_text("{ half a")
    assert not _is_kept("report", run, {})


@pytest.mark.slow
def test_bad_data_end_a_run_with_one_message_and_a_page_that_says_it(tmp_path, small_data):
    next((small_data / "valcrop").glob("*.png")).unlink()
    (tmp_path / "home" / "runs").mkdir(parents=True)
    configuration = tmp_path / "home" / "runs" / "broken.yaml"
    configuration.write_text(f"dataset: crack500\ndata_root: {small_data}\nepochs: 1\n")
    done = run_command(tmp_path / "home", "run", configuration, timeout=300)
    assert done.returncode == 1
    assert "DataError: no mask for" in done.stderr.splitlines()[-1]
    page = (tmp_path / "home" / "report" / "broken" / "index.html").read_text(encoding="utf-8")
    assert "Not finished.</strong> explore.ipynb stopped. DataError: no mask for" in page


# --- the whole way


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
            pairs = find_pairs(root, split)
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
