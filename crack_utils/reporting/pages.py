"""Pages: one executed notebook as HTML, its figures as files, the pages of a run, the list of all runs, and PDF."""

import base64
import contextlib
import glob
import io
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from crack_utils.config import is_run_name
from crack_utils.data import drawn_notice
from crack_utils.errors import UserError
from crack_utils.reporting import provenance
from crack_utils.reporting.exporter import CrackReportExporter
from crack_utils.reporting.html import Html, Link, folded_log, literal, notice, to_figure
from crack_utils.reporting.pictures import encode, overlap
from crack_utils.reporting.words import architecture, progress
from crack_utils.store import Run, load_examples, load_status, relative_url, report_dir, report_index, write_bytes

# The notebooks of a run in the order of execution, with the labels of their pages.

GAP = 8  # px between pictures
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


def write_page(notebook: NotebookNode, title: str, target: Path, rows: dict[str, str], pages: Sequence[dict[str, Any]] = ()) -> None:
    """Write an executed notebook as the page ``target``, which lies under ``report/``, with ``rows`` of provenance at the foot.

    Each of ``pages`` is a link to a page of the run: ``href``, ``label`` and ``current``.
    """
    notebook.metadata["title"] = title
    home = relative_url(report_index(), target) if target != report_index() else None
    notebook.metadata.setdefault("crack_report", NotebookNode()).update(pages=list(pages), provenance=rows, home=home)
    write_bytes(target, to_html(notebook).encode())


def to_html(notebook: NotebookNode) -> str:
    """A notebook as the HTML of a page."""
    return CrackReportExporter().from_notebook_node(notebook)[0]


def html_cell(text: str) -> NotebookNode:
    """A cell that shows HTML."""
    return new_code_cell("", outputs=[new_output("display_data", {"text/html": text})])


def save_figures(notebook: NotebookNode, folder: Path, prefix: str) -> None:
    """Save each plot as ``PREFIX-KEY.svg`` and ``PREFIX-KEY.png``, and pictures side by side as ``PREFIX-KEY.png``."""
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        key = output.get("metadata", {}).get("image/svg+xml", {}).get("key")
        if key:
            write_bytes(folder / _figure_name(prefix, key, "svg"), data["image/svg+xml"].encode())
            write_bytes(folder / _figure_name(prefix, key, "png"), base64.b64decode(data["image/png"]))
        elif '<figure class="gallery"' in data.get("text/html", "") and (gallery := _Gallery(data["text/html"])).pictures:
            write_bytes(folder / _figure_name(prefix, gallery.key, "png"), encode(_sheet([*map(_flat, gallery.pictures)]), "PNG"))


def _figure_name(prefix: str, key: str, suffix: str) -> str:
    """The name of a figure's file. A key may come from the column of a table that a stranger wrote, and never leaves the folder."""
    return f"{prefix}-{re.sub(r'[^A-Za-z0-9_+-]', '-', key)}.{suffix}"


class _Gallery(HTMLParser):
    """The key of a figure of pictures, and the layers of each picture from bottom to top, read from HTML."""

    def __init__(self, figure: str):
        super().__init__()
        self.key, self.pictures, self.known = "", [], {}  # known: layers by address
        self.feed(figure)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag == "figure":
            self.key = values["data-key"]
        elif values.get("class") == "picture":
            self.pictures.append([])
        elif self.pictures and tag in ("img", "image", "use"):
            name, address = values.get("id", ""), values.get("href") or values["src"]
            file = io.BytesIO(base64.b64decode(address.partition(",")[2]))
            layer = self.known[address] if address.startswith("#") else Image.open(file).convert("RGBA")
            if name.startswith("levels-"):
                layer = layer.point(lambda level: min(255, level * 255 // 180))
            self.known[f"#{name}"] = layer
            self.pictures[-1].append(layer)


def _flat(layers: Sequence[Image.Image]) -> Image.Image:
    """Layers laid over one another, in the size of the last one."""
    photo = Image.new("RGBA", layers[-1].size, "white")
    for layer in layers:
        photo.alpha_composite(layer.resize(photo.size))
    return photo.convert("RGB")


def _sheet(photos: Sequence[Image.Image], columns: int = 4) -> Image.Image:
    """Photos side by side in rows, as one image."""
    rows = [photos[i : i + columns] for i in range(0, len(photos), columns)]
    width = max(sum(photo.width + GAP for photo in row) for row in rows) - GAP
    whole, top = Image.new("RGB", (width, sum(max(photo.height for photo in row) + GAP for row in rows) - GAP), "white"), 0
    for row in rows:
        left = 0
        for photo in row:
            whole.paste(photo, (left, top))
            left += photo.width + GAP
        top += max(photo.height for photo in row) + GAP
    return whole


def print_pdf(page: Path) -> Path:
    """Print a page to a PDF file beside it, with a Chromium browser of this machine. Raise UserError if none is installed or it failed."""
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        raise UserError(f"no PDF: none of {', '.join(CHROMIUM)} is installed; install one, or print {page} from a browser")
    target = page.with_suffix(".pdf")
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", f"--user-data-dir={profile}"]
        options += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # its sandbox refuses root
        words = [program, *options, "--no-pdf-header-footer", f"--print-to-pdf={target}", page.resolve().as_uri()]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=180)
        except subprocess.TimeoutExpired:
            raise UserError(f"no PDF: {program} took longer than 180 s; print {page} from a browser") from None
    if done.returncode or not target.is_file():
        raise UserError(f"no PDF: {program} failed ({done.stderr.strip()[-200:]}); print {page} from a browser")
    return target


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
    """Render a run's pages and figures. Returns the write-up, ``report/NAME/index.html``.

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
    return folder / page_name("report")


def unfinished(run: Run, failure: str) -> NotebookNode:
    """The notebook in place of a missing write-up. Its page says why the write-up is missing and shows what was finished."""
    cells = [new_markdown_cell(f"# Run {literal(run.name)} " + ("has no write-up" if run.is_evaluated else "did not finish"))]
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
        links = "\n".join(f"- [{literal(run.name)}]({_link(run).href})" for run in comparisons)
        cells.append(new_markdown_cell(f"## Comparisons\n\n{links}"))
    write_page(new_notebook(cells=cells, metadata={"crack_report": {"broad": True}}), "Runs", target, provenance.here())
    return target


def _link(run: Run) -> Link:
    return Link(run.name, relative_url(report_dir(run.name) / "index.html", report_index()))


def _row(run: Run) -> dict[str, Any]:
    """A row of the list. Cells of missing and of unreadable files stay empty: a damaged run must not keep other runs from the list."""
    row: dict[str, Any] = {"Run": _link(run), "State": status.label if (status := load_status(run)) else "not started"}
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
            if resolved["validate_on_test"]:
                row["State"] = CHOSE_ON_TEST
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
