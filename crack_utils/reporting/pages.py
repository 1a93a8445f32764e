"""From executed notebooks to the pages of a run or a comparison."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from crack_utils.data import drawn_notice
from crack_utils.reporting.figure_files import save_figures
from crack_utils.reporting.html import folded_log, notice, to_figure
from crack_utils.reporting.index import save_thumbnail, write_index
from crack_utils.reporting.page import html_cell, write_page
from crack_utils.reporting.provenance import comparison_rows, rows
from crack_utils.reporting.words import progress
from crack_utils.store import Run, report_dir

# The notebooks of a run in the order of execution, with the labels of their pages.
NOTEBOOKS = {"explore": "Data", "train": "Training", "evaluate": "Evaluation", "visualize": "Examples", "report": "Report"}
PAGE_ORDER = ("report", "explore", "train", "evaluate", "visualize")


def page_name(notebook: str) -> str:
    """The file name of a notebook's page."""
    return "index.html" if notebook == "report" else f"{notebook}.html"


def render(run: Run, shown: Sequence[str], failure: str | None = None) -> Path:
    """Render a run's pages and figures, and the list of all runs.

    Args:
        shown: the notebooks whose executed copies become pages.
        failure: why the run did not finish, in one sentence. A page with this sentence takes the place of a missing write-up.

    Returns:
        The write-up, ``report/NAME/index.html``. Beside the write-up lie the other pages and the folder ``figures/``.
    """
    folder, about = report_dir(run.name), rows(run)
    shutil.rmtree(folder / "figures", ignore_errors=True)
    (folder / "index.pdf").unlink(missing_ok=True)
    for name in PAGE_ORDER:
        page = folder / page_name(name)
        if name in shown:
            notebook = nbformat.read(run.notebook(name), as_version=4)
            title = f"Results of training on {run.params.facts()['title']}" if name == "report" else f"{NOTEBOOKS[name]} · {run.name}"
        elif name == "report":
            notebook, title = unfinished(run, failure or "The write-up was not made."), f"Unfinished · {run.name}"
        else:
            page.unlink(missing_ok=True)  # a page of an earlier training
            continue
        write_page(notebook, title, page, about, _navigation(name, shown))
        save_figures(notebook, folder / "figures", name)
    if run.is_evaluated:
        save_thumbnail(run)
    write_index()
    return folder / page_name("report")


def unfinished(run: Run, failure: str) -> NotebookNode:
    """The notebook in place of a missing write-up. Its page says why the write-up is missing and shows what was finished."""
    heading = f"# Run {run.name} " + ("has no write-up" if run.is_evaluated else "did not finish")
    cells = [new_markdown_cell(heading)]
    facts = run.params.facts() if run.params.exists else {}
    cells += [html_cell(notice(text)) for text in [drawn_notice(facts), *facts.get("notes", [])] if text]
    history = run.history.load() if run.history.exists else pd.DataFrame()
    if len(history):
        cells.append(new_markdown_cell(f"## Training\n\n{progress(run.params.load(), history)}"))
        cells.append(html_cell(to_figure(history, "history", "Every epoch.", sortable=True)))
    if run.log.exists:
        cells += [new_markdown_cell("## Output"), html_cell(folded_log(run.log.load()))]
    return new_notebook(cells=cells, metadata={"crack_report": {"failure": failure}})


def _navigation(current: str, shown: Sequence[str]) -> list[dict[str, Any]]:
    """Links to a run's pages, the write-up first. A page that was not made has no address."""
    made = {"report", *shown}
    return [
        {"href": page_name(name) if name in made else None, "label": NOTEBOOKS[name], "current": name == current} for name in PAGE_ORDER
    ]


def write_comparison(runs: Sequence[str], name: str) -> Path:
    """Render an executed comparison to ``report/NAME/index.html``."""
    notebook = nbformat.read(Run(name).notebook("compare"), as_version=4)
    page = report_dir(name) / "index.html"
    write_page(notebook, f"Comparison of {len(runs)} runs · {name}", page, comparison_rows(runs))
    save_figures(notebook, page.parent / "figures", "compare")
    write_index()
    return page
