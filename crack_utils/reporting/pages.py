"""From executed notebooks to pages: a run's, a comparison's, the list of all runs, and those of a run that did not finish."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook
from PIL import Image

from crack_utils.reporting.html import folded_log, notice, to_figure
from crack_utils.reporting.index import write_index
from crack_utils.reporting.page import DRAWN, THUMBNAIL, _html_cell, save_figures, write_page
from crack_utils.reporting.pictures import encode, overlap
from crack_utils.reporting.provenance import comparison_rows, rows
from crack_utils.reporting.words import progress
from crack_utils.store import Run, load_examples, report_dir, write_bytes

NOTEBOOKS = {"explore": "Data", "train": "Training", "evaluate": "Evaluation", "visualize": "Examples", "report": "Report"}  # in order
PAGE_ORDER = ("report", "explore", "train", "evaluate", "visualize")


def page_name(notebook: str) -> str:
    return "index.html" if notebook == "report" else f"{notebook}.html"


def render(run: Run, shown: Sequence[str], failure: str | None = None) -> Path:
    """Render a run's pages and figures, and the list of all runs anew.

    Args:
        shown: the notebooks whose executed copies are fit to be shown.
        failure: why the run did not finish, in one sentence; the write-up then says so, and what there is.

    Returns:
        The write-up, ``report/NAME/index.html``; a page for each other notebook lies beside it, ``figures/`` holds the figures.
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
            page.unlink(missing_ok=True)  # of another training
            continue
        write_page(notebook, title, page, about, _navigation(name, shown))
        save_figures(notebook, folder / "figures", name)
    if run.is_evaluated:
        _save_thumbnail(run, folder / THUMBNAIL)
    write_index()
    return folder / page_name("report")


def unfinished(run: Run, failure: str) -> NotebookNode:
    """What takes the place of the write-up of a run that did not finish: why, and what there is."""
    heading = f"# Run {run.name} " + ("has no write-up" if run.is_evaluated else "did not finish")
    cells = [new_markdown_cell(heading)]
    facts = run.params.facts() if run.params.exists else {}
    cells += [_html_cell(notice(text)) for text in ([DRAWN] if facts.get("drawn") else []) + facts.get("notes", [])]
    history = run.history.load() if run.path("history.csv").is_file() else pd.DataFrame()
    if len(history):
        cells.append(new_markdown_cell(f"## Training\n\n{progress(run.params.load(), history)}"))
        cells.append(_html_cell(to_figure(history, "history", "Every epoch.", sortable=True)))
    if run.path("train.log").is_file():
        cells += [new_markdown_cell("## Output"), _html_cell(folded_log(run.log.load()))]
    return new_notebook(cells=cells, metadata={"crack_report": {"failure": failure}})


def _navigation(current: str, shown: Sequence[str]) -> list[dict[str, Any]]:
    """Links to a run's pages, the write-up first; those that were not made have none."""
    made = {"report", *shown}
    return [
        {"href": page_name(name) if name in made else None, "label": NOTEBOOKS[name], "current": name == current} for name in PAGE_ORDER
    ]


def _save_thumbnail(run: Run, target: Path) -> None:
    example = load_examples(run, "median", 1)[0]
    picture = Image.fromarray(overlap(example.image, *example.errors))
    picture.thumbnail((160, 90), Image.Resampling.LANCZOS)
    write_bytes(target, encode(picture, "WEBP", quality=70))


def write_comparison(runs: Sequence[str], name: str) -> Path:
    """Render an executed comparison to ``report/NAME/index.html``."""
    notebook = nbformat.read(Run(name).notebook("compare"), as_version=4)
    page = report_dir(name) / "index.html"
    write_page(notebook, f"Comparison of {len(runs)} runs · {name}", page, comparison_rows(runs))
    save_figures(notebook, page.parent / "figures", "compare")
    write_index()
    return page
