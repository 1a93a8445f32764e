"""Notebooks executed for a run, also those that do not finish."""

import html

import nbformat
import pytest
from conftest import run_command, small_params, write_pair

from crack_utils.config import parse_parameters
from crack_utils.errors import NotebookFailed
from crack_utils.evaluation import evaluate_run
from crack_utils.reporting.exporter import completed
from crack_utils.reporting.pages import NOTEBOOKS, page_name, unfinished
from crack_utils.reporting.runner import compare, execute, execute_and_render, is_kept
from crack_utils.store import Run
from crack_utils.training import train_run


def notebook_file(folder, name, *sources):
    (folder / "notebooks").mkdir(exist_ok=True)
    parameters = nbformat.v4.new_code_cell("run_name: str = None  # which", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[parameters, *map(nbformat.v4.new_code_cell, sources)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")


@pytest.mark.slow
def test_the_runner_trusts_no_notebook_that_did_not_run_to_its_end(home, tmp_path, capfd):
    notebook_file(tmp_path, "good", "print('run', run_name)")
    execute("good", Run("a"), {"run_name": "a", "not_a_parameter": 1}, folder=tmp_path / "notebooks")
    assert capfd.readouterr().out == "run a\n"
    assert completed(nbformat.read(Run("a").notebook("good"), as_version=4))
    notebook_file(tmp_path, "raises", "raise ValueError('no such thing')")
    with pytest.raises(NotebookFailed, match=r"raises\.ipynb stopped\. ValueError: no such thing"):
        execute("raises", Run("a"), {}, folder=tmp_path / "notebooks")
    notebook_file(tmp_path, "dies", "import os; os._exit(1)", "1")
    with pytest.raises(NotebookFailed, match=r"dies\.ipynb"):
        execute("dies", Run("a"), {}, folder=tmp_path / "notebooks")


ENDS = {  # by what the notebook does: what its page says on top
    "raise ValueError('no <such> thing')": "train.ipynb stopped. ValueError: no <such> thing.",
    "import os; os._exit(1)": "train.ipynb did not finish: its kernel ended with exit status 1.",
    "import time; time.sleep(60)": "train.ipynb did not finish: a cell took longer than 2 s.",
}


@pytest.mark.slow
@pytest.mark.parametrize("source", ENDS)
def test_what_does_not_come_to_its_end_becomes_a_page_that_says_so_with_what_was_finished(home, tmp_path, source, capsys):
    for name in NOTEBOOKS:
        notebook_file(tmp_path, name, "print('line of', __doc__)", "print('before'); " + (source if name == "train" else "1"), "2")
    run, folder = Run("ends"), home / "report" / "ends"
    folder.mkdir(parents=True)
    (folder / "evaluate.html").write_text("of another training")
    run.log.add("Epoch 1 of 3")
    with pytest.raises(NotebookFailed):
        execute_and_render(parse_parameters({}), run, timeout_s=2, folder=tmp_path / "notebooks")
    assert f"Report of the finished steps: {folder / 'index.html'}" in capsys.readouterr().out
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
def test_a_finished_run_is_rendered_again_without_its_data_but_for_the_page_of_the_data(home, small_data, capsys):
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

    mask = next((small_data / "traincrop").glob("*.png"))
    former, parameters = mask.read_bytes(), run.params.path.read_bytes()
    write_pair(small_data / "new.jpg", mask, seed=4)
    run.notebook("train").unlink()
    execute_and_render(run.params.load(), run, only_missing=True)
    assert "The training is that of the former files." in (folder / "train.html").read_text(encoding="utf-8")
    assert run.params.path.read_bytes() == parameters
    mask.write_bytes(former)

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


def test_a_copy_is_kept_only_of_the_notebook_as_it_is_now(home, tmp_path):
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
        return is_kept("report", run, {}, tmp_path / "notebooks")

    assert copy()
    assert not copy(crack_report={"failure": "It was stopped."})
    assert copy()
    notebook_file(tmp_path, "report", "2")
    assert not is_kept("report", run, {}, tmp_path / "notebooks")
    assert copy()
    run.notebook("report").write_text("{ half a")
    assert not is_kept("report", run, {}, tmp_path / "notebooks")


@pytest.mark.slow
def test_bad_data_end_a_run_with_one_message_and_a_page_that_says_it(tmp_path, small_data):
    next((small_data / "valcrop").glob("*.png")).unlink()
    (tmp_path / "home" / "runs").mkdir(parents=True)
    configuration = tmp_path / "home" / "runs" / "broken.yaml"
    configuration.write_text(f"dataset: crack500\ndata_root: {small_data}\nepochs: 1\n")
    done = run_command(tmp_path / "home", "run", configuration, timeout=300)
    assert done.returncode == 1
    assert "1 x photo without a mask (" in done.stderr and "Traceback" not in done.stderr
    page = (tmp_path / "home" / "report" / "broken" / "index.html").read_text(encoding="utf-8")
    assert "Not finished.</strong> explore.ipynb stopped. DataError: in " in page and "1 x photo without a mask (" in page
