"""From executed notebooks to pages: a run's, a comparison's, the list of all runs, and those of a run that did not finish."""

import base64
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from crack_utils import artifacts, pictures, provenance
from crack_utils.artifacts import Run
from crack_utils.config import TAKEN, is_run_name
from crack_utils.errors import UserError
from crack_utils.evaluation import load_examples
from crack_utils.reporting import tables, words
from crack_utils.reporting.exporter import CrackReportExporter
from crack_utils.reporting.tables import Html, Link

NOTEBOOKS = {"explore": "Data", "train": "Training", "evaluate": "Evaluation", "visualize": "Examples", "report": "Report"}  # in order
PAGE_ORDER = ("report", "explore", "train", "evaluate", "visualize")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
DRAWN = "Images of the drawn sample are drawn by a program. They are not photos."
CHOSE_ON_TEST = "chose on test"
THUMBNAIL = "thumbnail.webp"
ROW_TITLES = ("Example", "Run", "F1", "Precision", "Recall", "Decision F1", "Data", "Network", "Loss", "Epochs", "Trained", "State")


def page_name(notebook: str) -> str:
    return "index.html" if notebook == "report" else f"{notebook}.html"


# --- a run -----------------------------------------------------------------------------------------------------------


def render(run: Run, shown: Sequence[str], failure: str | None = None) -> Path:
    """Render a run's pages and figures, and the list of all runs anew.

    Args:
        shown: the notebooks whose executed copies are fit to be shown.
        failure: why the run did not finish, in one sentence; the write-up then says so, and what there is.

    Returns:
        The write-up, ``report/NAME/index.html``; a page for each other notebook lies beside it, ``figures/`` holds the figures.
    """
    folder, about = artifacts.report_dir(run.name), provenance.rows(run)
    shutil.rmtree(folder / "figures", ignore_errors=True)
    (folder / "index.pdf").unlink(missing_ok=True)
    for name in PAGE_ORDER:
        page = folder / page_name(name)
        if name in shown:
            notebook = nbformat.read(run.notebook(name), as_version=4)
            title = f"Results of training on {run.load_facts()['title']}" if name == "report" else f"{NOTEBOOKS[name]} · {run.name}"
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
    facts = run.load_facts() if run.has_params else {}
    cells += [_html_cell(tables.notice(text)) for text in ([DRAWN] if facts.get("drawn") else []) + facts.get("notes", [])]
    history = run.load_history() if run.path("history.csv").is_file() else pd.DataFrame()
    if len(history):
        cells.append(new_markdown_cell(f"## Training\n\n{words.progress(run.load_params(), history)}"))
        cells.append(_html_cell(tables.to_figure(history, "history", "Every epoch.", sortable=True)))
    if run.path("train.log").is_file():
        cells += [new_markdown_cell("## Output"), _html_cell(tables.folded_log(run.load_log()))]
    return new_notebook(cells=cells, metadata={"crack_report": {"failure": failure}})


def _html_cell(text: str) -> NotebookNode:
    return new_code_cell("", outputs=[new_output("display_data", {"text/html": text})])


def _navigation(current: str, shown: Sequence[str]) -> list[dict[str, Any]]:
    """Links to a run's pages, the write-up first; those that were not made have none."""
    made = {"report", *shown}
    return [
        {"href": page_name(name) if name in made else None, "label": NOTEBOOKS[name], "current": name == current} for name in PAGE_ORDER
    ]


def write_page(
    notebook: NotebookNode, title: str, target: Path, provenance_rows: dict[str, str], pages: Sequence[dict[str, Any]] = ()
) -> None:
    """Render an executed notebook to ``target``, somewhere under ``report/``."""
    notebook.metadata["title"] = title
    about = notebook.metadata.setdefault("crack_report", NotebookNode())
    home = artifacts.report_index()
    about.update(pages=list(pages), provenance=provenance_rows, home=artifacts.relative_url(home, target) if target != home else None)
    artifacts.write_bytes(target, to_html(notebook).encode())


def to_html(notebook: NotebookNode) -> str:
    body, _ = CrackReportExporter().from_notebook_node(notebook)
    return body


def save_figures(notebook: NotebookNode, folder: Path, prefix: str) -> None:
    """Save each figure of an executed notebook: a plot as SVG and PNG, pictures side by side as PNG."""
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        key = output.get("metadata", {}).get("image/svg+xml", {}).get("key")
        if key:
            artifacts.write_bytes(folder / f"{prefix}-{key}.svg", data["image/svg+xml"].encode())
            artifacts.write_bytes(folder / f"{prefix}-{key}.png", base64.b64decode(data["image/png"]))
        elif '<figure class="gallery"' in data.get("text/html", ""):
            sheet = pictures.compose(data["text/html"])
            if sheet:
                artifacts.write_bytes(folder / f"{prefix}-{pictures.key_of(data['text/html'])}.png", pictures.encode(sheet, "PNG"))


def _save_thumbnail(run: Run, target: Path) -> None:
    example = load_examples(run, "median", 1)[0]
    picture = Image.fromarray(pictures.overlap(example.image, *example.errors))
    picture.thumbnail((160, 90), Image.Resampling.LANCZOS)
    artifacts.write_bytes(target, pictures.encode(picture, "WEBP", quality=70))


# --- many runs -------------------------------------------------------------------------------------------------------


def write_comparison(runs: Sequence[str], name: str) -> Path:
    """Render an executed comparison to ``report/NAME/index.html``."""
    notebook = nbformat.read(Run(name).notebook("compare"), as_version=4)
    page = artifacts.report_dir(name) / "index.html"
    write_page(notebook, f"Comparison of {len(runs)} runs · {name}", page, provenance.comparison_rows(runs))
    save_figures(notebook, page.parent / "figures", "compare")
    write_index()
    return page


def write_index() -> Path:
    """Render ``report/index.html``: every run and comparison that has pages."""
    target = artifacts.report_index()
    runs = [Run(name) for name in sorted(_with_pages(target.parent)) if is_run_name(name)]
    rows = [row for run in runs if run.path("params.json").is_file() and (row := _row(run))]
    rows += [{"Run": _link(run), "State": "stopped"} for run in runs if run.notebook("explore").is_file() and not run.has_params]
    text = (
        "# Runs\n\nEvery run that has a report, the newest first. F1, precision and recall are means within 2 pixels "
        "over the cracked test images; compare only runs on the same data. The small curve is the segmentation loss in training."
    )
    cells = [new_markdown_cell(text)]
    if any(row.get("drawn") for row in rows):
        cells.append(_html_cell(tables.notice(DRAWN)))
    if any(row.get("State") == CHOSE_ON_TEST for row in rows):
        text = f"Runs marked '{CHOSE_ON_TEST}' chose checkpoint or thresholds on test (validate_on_test): their figures are too good."
        cells.append(_html_cell(tables.notice(text)))
    frame = pd.DataFrame(rows, columns=ROW_TITLES, dtype=object).fillna("").sort_values("Trained", ascending=False, kind="stable")
    cells.append(_html_cell(tables.to_figure(frame, "runs", "All runs.", sortable=True, filtered=True)))
    comparisons = [run for run in runs if run.notebook("compare").is_file() and not run.has_params]
    if comparisons:
        links = "\n".join(f"- [{run.name}]({_link(run).href})" for run in comparisons)
        cells.append(new_markdown_cell(f"## Comparisons\n\n{links}"))
    write_page(new_notebook(cells=cells, metadata={"crack_report": {"broad": True}}), "Runs", target, provenance.here())
    return target


def _with_pages(folder: Path) -> Iterator[str]:
    """Names of the folders that hold an index.html; one that vanishes meanwhile is passed over."""
    for path, folders, found in os.walk(folder):
        folders[:] = [name for name in folders if name not in TAKEN]
        if "index.html" in found and Path(path) != folder:
            yield Path(path).relative_to(folder).as_posix()


def _link(run: Run) -> Link:
    return Link(run.name, artifacts.relative_url(artifacts.report_dir(run.name) / "index.html", artifacts.report_index()))


def _row(run: Run) -> dict[str, Any]:
    """A line of the list of runs. What a run has not come to stays empty, and so does what cannot be read: one damaged run must not
    keep the others from being listed."""
    row: dict[str, Any] = {"Run": _link(run), "State": "stopped"}
    with contextlib.suppress(UserError, KeyError, TypeError, AttributeError, ValueError):
        resolved, training = run.load_resolved(), provenance.started(run)
        row |= {"Data": resolved["data"]["test_title"], "Network": words.architecture(resolved), "drawn": resolved["data"]["drawn"]}
        row |= {"Trained": training.removesuffix(" UTC")}
        history = run.load_history()
        row |= {"Epochs": f"{len(history)} of {resolved['epochs']}", "Loss": Html(sparkline(history["loss_segmentation"].tolist()))}
        if run.is_evaluated:
            metrics = run.load_metrics()
            scores = {"F1": "f1", "Precision": "precision", "Recall": "recall"}
            scored = {title: f"{metrics['segmentation_2px'][name]:.3f}" for title, name in scores.items()}
            row |= scored | {"Decision F1": f"{metrics['decision']['f1']:.3f}", "Example": _thumbnail(run)}
            row["State"] = CHOSE_ON_TEST if resolved["validate_on_test"] else "finished"
    return row


def _thumbnail(run: Run) -> str:
    path = artifacts.report_dir(run.name) / THUMBNAIL
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return Html(f'<img src="data:image/webp;base64,{data}" alt="Errors on a typical test image of {run.name}" width="112">')


def sparkline(values: Sequence[float], width: int = 90, height: int = 24) -> str:
    """A small curve of numbers, as SVG with its words; nothing of none."""
    if not values:
        return ""
    low, span, step = min(values), (max(values) - min(values)) or 1, (width - 4) / max(1, len(values) - 1)
    points = " ".join(f"{2 + i * step:.1f},{height - 2 - (height - 4) * (value - low) / span:.1f}" for i, value in enumerate(values))
    description = f"Segmentation loss from {values[0]:.3g} to {values[-1]:.3g} in {len(values)} epochs"
    return (
        f'<svg role="img" aria-label="{description}" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<polyline points="{points}" stroke-width="1.5"/></svg>'
    )


# --- print -----------------------------------------------------------------------------------------------------------


def print_pdf(page: Path) -> Path:
    """Print a page through a Chromium of this machine, beside it.

    Raises:
        UserError: there is none, or it printed nothing.
    """
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        raise UserError(f"no PDF: none of {', '.join(CHROMIUM)} is installed; install one, or print {page} from a browser")
    target = page.with_suffix(".pdf")
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", f"--user-data-dir={profile}"]
        options += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # it refuses to sandbox for root
        words = [program, *options, "--no-pdf-header-footer", f"--print-to-pdf={target}", page.resolve().as_uri()]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=180)
        except subprocess.TimeoutExpired:
            raise UserError(f"no PDF: {program} did not end in 180 s; print {page} from a browser") from None
    if done.returncode or not target.is_file():
        raise UserError(f"no PDF: {program} failed ({done.stderr.strip()[-200:]}); print {page} from a browser")
    return target
