"""From notebooks to pages."""

import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from conftest import REPOSITORY

from crack_utils.config import parse_parameters
from crack_utils.reporting.pages import NOTEBOOKS, page_name, to_html, unfinished
from crack_utils.store import Run


@pytest.mark.slow
def test_a_page_made_by_nbconvert_alone_is_the_same_but_for_the_run(sample_run):
    run, folder, _ = sample_run
    page = to_html(nbformat.read(run.notebook("evaluate"), as_version=4))
    whole = (folder / "evaluate.html").read_text(encoding="utf-8")
    figures = [re.findall(r'<figure id="([^"]+)"', text) for text in (page, whole)]
    assert figures[0] == figures[1] != []


def test_an_unfinished_run_says_how_far_it_came_or_nothing(home):
    run = Run("early")
    run.params.save(parse_parameters({"epochs": 3}), {}, {})
    run.history.save([])
    assert [cell.source for cell in unfinished(run, "why").cells] == ["# Run early did not finish"]
    run.params.save(parse_parameters({"epochs": 3}), {}, {"drawn": True})
    assert "drawn by a program" in unfinished(run, "why").cells[1].outputs[0].data["text/html"]
    run.history.save([{"epoch": 1, "loss": 0.5, "time_s": 60.0}])
    assert "Training has done 1 of 3 epochs in 1.0 minutes." in unfinished(run, "why").cells[2].source


# --- without torch


def python(code):
    """Run code in a Python process of its own. The process fails if the code has imported torch."""
    code += "\nimport sys; sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    return subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, timeout=300)


def test_pages_are_rendered_without_torch(home):
    run = Run("early")
    run.params.save(parse_parameters({}), {}, {"title": "the drawn sample", "test_title": "the drawn sample", "drawn": True})
    run.history.save([{"epoch": 1, "loss": 0.5, "loss_segmentation": 0.5, "time_s": 60.0}])
    for name in NOTEBOOKS:
        shutil.copy(REPOSITORY / "notebooks" / f"{name}.ipynb", run.notebook(name))
    code = "from crack_utils.reporting import pages; from crack_utils.store import Run; pages.render(Run('early'), list(pages.NOTEBOOKS))"
    done = python(f"{code}; pages.write_index()")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (home / "report" / "early").glob("*.html")} == set(map(page_name, NOTEBOOKS))
    assert "1 of 100" in (home / "report" / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_finished_run_is_rendered_again_without_torch(sample_run):
    _, folder, _ = sample_run
    (folder / "evaluate.html").unlink()
    done = python("from crack_utils.__main__ import main; assert main(['render', 'sample']) == 0")
    assert done.returncode == 0, done.stderr
    assert (folder / "evaluate.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["visualize", "report", "compare"])
def test_notebooks_that_only_show_results_need_no_torch(sample_run, name):
    notebook = nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code" and "interactive" not in cell.metadata.get("tags", [])]
    assert len(cells) > 3
    done = python("\n".join(cells))
    assert done.returncode == 0, done.stderr
