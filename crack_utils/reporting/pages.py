"""From executed notebooks to the pages of a run or a comparison, and the list of all runs."""

import base64
import contextlib
import glob
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook
from PIL import Image

from crack_utils.config import is_run_name
from crack_utils.data import drawn_notice
from crack_utils.errors import UserError
from crack_utils.reporting import provenance
from crack_utils.reporting.html import Html, Link, folded_log, notice, to_figure
from crack_utils.reporting.page import html_cell, save_figures, write_page
from crack_utils.reporting.pictures import encode, overlap
from crack_utils.reporting.words import architecture, progress
from crack_utils.store import Run, load_examples, relative_url, report_dir, report_index, write_bytes

# The notebooks of a run in the order of execution, with the labels of their pages.
NOTEBOOKS = {"explore": "Data", "train": "Training", "evaluate": "Evaluation", "visualize": "Examples", "report": "Report"}
PAGE_ORDER = ("report", "explore", "train", "evaluate", "visualize")
THUMBNAIL = "thumbnail.webp"  # the picture of an evaluated run in the list of runs
CHOSE_ON_TEST = "chose on test"
ROW_TITLES = ("Example", "Run", "F1", "Precision", "Recall", "Decision F1", "Data", "Network", "Loss", "Epochs", "Trained", "State")
INTRODUCTION = """# Runs

This list holds every run that has pages, the newest first. F1, precision and recall are means within 2 pixels over the cracked test
images. Compare only runs on the same data. The small curve is the segmentation loss in training."""


def page_name(notebook: str) -> str:
    """The file name of a notebook's page."""
    return "index.html" if notebook == "report" else f"{notebook}.html"


def render(run: Run, shown: Sequence[str], failure: str | None = None) -> Path:
    """Render a run's pages and figures, and the list of all runs. Returns the write-up, ``report/NAME/index.html``.

    Args:
        shown: the notebooks whose executed copies become pages.
        failure: why the run did not finish, in one sentence. A page with this sentence takes the place of a missing write-up.
    """
    folder, about = report_dir(run.name), provenance.rows(run)
    shutil.rmtree(folder / "figures", ignore_errors=True)
    (folder / "index.pdf").unlink(missing_ok=True)
    made = {name: page_name(name) for name in PAGE_ORDER if name in ("report", *shown)}
    for name in PAGE_ORDER:
        page = folder / page_name(name)
        if name not in made:
            page.unlink(missing_ok=True)  # a page of an earlier training
            continue
        if name in shown:
            notebook = nbformat.read(run.notebook(name), as_version=4)
            title = f"Results of training on {run.params.facts()['title']}" if name == "report" else f"{NOTEBOOKS[name]} · {run.name}"
        else:
            notebook, title = unfinished(run, failure or "The write-up was not made."), f"Unfinished · {run.name}"
        links = [{"href": made.get(other), "label": NOTEBOOKS[other], "current": other == name} for other in PAGE_ORDER]
        write_page(notebook, title, page, about, links)
        save_figures(notebook, folder / "figures", name)
    if run.is_evaluated:
        example = load_examples(run, "median", 1)[0]
        picture = Image.fromarray(overlap(example.image, *example.errors))
        picture.thumbnail((160, 90), Image.Resampling.LANCZOS)
        write_bytes(folder / THUMBNAIL, encode(picture, "WEBP", quality=70))
    write_index()
    return folder / page_name("report")


def unfinished(run: Run, failure: str) -> NotebookNode:
    """The notebook in place of a missing write-up. Its page says why the write-up is missing and shows what was finished."""
    cells = [new_markdown_cell(f"# Run {run.name} " + ("has no write-up" if run.is_evaluated else "did not finish"))]
    facts = run.params.facts() if run.params.exists else {}
    cells += [html_cell(notice(text)) for text in [drawn_notice(facts), *facts.get("notes", [])] if text]
    history = run.history.load() if run.history.exists else pd.DataFrame()
    if len(history):
        cells.append(new_markdown_cell(f"## Training\n\n{progress(run.params.load(), history)}"))
        cells.append(html_cell(to_figure(history, "history", "Every epoch.", sortable=True)))
    if run.log.exists:
        cells += [new_markdown_cell("## Output"), html_cell(folded_log(run.log.load()))]
    return new_notebook(cells=cells, metadata={"crack_report": {"failure": failure}})


def write_comparison(runs: Sequence[str], name: str) -> Path:
    """Render an executed comparison to ``report/NAME/index.html``."""
    notebook, page = nbformat.read(Run(name).notebook("compare"), as_version=4), report_dir(name) / "index.html"
    write_page(notebook, f"Comparison of {len(runs)} runs · {name}", page, provenance.comparison_rows(runs))
    save_figures(notebook, page.parent / "figures", "compare")
    write_index()
    return page


def write_index() -> Path:
    """Write ``report/index.html``, the list of every run and comparison that has pages."""
    target = report_index()
    found = glob.glob("*/**/index.html", root_dir=target.parent, recursive=True)  # passes over a folder that vanishes meanwhile
    runs = [Run(name) for name in sorted(Path(page).parent.as_posix() for page in found) if is_run_name(name)]
    rows = [_row(run) for run in runs if run.params.exists or run.notebook("explore").is_file()]
    frame = pd.DataFrame(rows, columns=ROW_TITLES, dtype=object).fillna("").sort_values("Trained", ascending=False, kind="stable")
    table = to_figure(frame, "runs", "All runs.", sortable=True, filtered=True)
    cells = [new_markdown_cell(INTRODUCTION), *(html_cell(notice(text)) for text in _notices(rows)), html_cell(table)]
    comparisons = [run for run in runs if run.notebook("compare").is_file() and not run.params.exists]
    if comparisons:
        links = "\n".join(f"- [{run.name}]({_link(run).href})" for run in comparisons)
        cells.append(new_markdown_cell(f"## Comparisons\n\n{links}"))
    write_page(new_notebook(cells=cells, metadata={"crack_report": {"broad": True}}), "Runs", target, provenance.here())
    return target


def _link(run: Run) -> Link:
    return Link(run.name, relative_url(report_dir(run.name) / "index.html", report_index()))


def _row(run: Run) -> dict[str, Any]:
    """A row of the list. Cells of missing and of unreadable files stay empty: a damaged run must not keep other runs from the list."""
    row: dict[str, Any] = {"Run": _link(run), "State": "stopped"}
    with contextlib.suppress(UserError, KeyError, TypeError, AttributeError, ValueError):
        resolved, trained = run.params.resolved(), provenance.started(run).removesuffix(" UTC")
        facts = resolved["data"]
        row |= {"Data": facts["test_title"], "Network": architecture(resolved), "notice": drawn_notice(facts), "Trained": trained}
        history = run.history.load()
        row |= {"Epochs": f"{len(history)} of {resolved['epochs']}", "Loss": Html(sparkline(history["loss_segmentation"].tolist()))}
        if run.is_evaluated:
            metrics = run.metrics.load()
            row |= {title: f"{metrics['segmentation_2px'][title.lower()]:.3f}" for title in ("F1", "Precision", "Recall")}
            row["Decision F1"] = f"{metrics['decision']['f1']:.3f}"
            row["State"] = CHOSE_ON_TEST if resolved["validate_on_test"] else "finished"
            if (picture := report_dir(run.name) / THUMBNAIL).is_file():
                address = f"data:image/webp;base64,{base64.b64encode(picture.read_bytes()).decode()}"
                row["Example"] = Html(f'<img src="{address}" alt="Errors on a typical test image of {run.name}" width="112">')
    return row


def _notices(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What a reader must know before reading the table."""
    drawn = [row for row in rows if row.get("notice")]
    if drawn:
        names = "" if len(drawn) == len(rows) else ", ".join(row["Run"].text for row in drawn) + ": "
        yield names + drawn[0]["notice"]
    if any(row["State"] == CHOSE_ON_TEST for row in rows):
        chose = f"Runs marked '{CHOSE_ON_TEST}' chose checkpoint or thresholds on test"
        yield f"{chose} (validate_on_test), so their figures on test are too good."


def sparkline(losses: Sequence[float]) -> str:
    """A small curve as SVG, with a description in words. Without losses there is no curve."""
    if not losses:
        return ""
    low, span, step = min(losses), (max(losses) - min(losses)) or 1, 86 / max(1, len(losses) - 1)
    points = " ".join(f"{2 + i * step:.1f},{22 - 20 * (loss - low) / span:.1f}" for i, loss in enumerate(losses))
    about = f"Segmentation loss from {losses[0]:.3g} to {losses[-1]:.3g} in {len(losses)} epochs"
    curve = f'<polyline points="{points}" stroke-width="1.5"/>'
    return f'<svg role="img" aria-label="{about}" width="90" height="24" viewBox="0 0 90 24">{curve}</svg>'
