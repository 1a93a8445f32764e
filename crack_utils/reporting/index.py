"""The list of all runs."""

import base64
import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from nbformat.v4 import new_markdown_cell, new_notebook
from PIL import Image

from crack_utils.config import FOLDERS_OF_A_RUN, is_run_name
from crack_utils.data import drawn_notice
from crack_utils.errors import UserError
from crack_utils.reporting.html import Html, Link, notice, to_figure
from crack_utils.reporting.page import html_cell, write_page
from crack_utils.reporting.pictures import encode, overlap
from crack_utils.reporting.provenance import here, started
from crack_utils.reporting.words import architecture
from crack_utils.store import Run, load_examples, relative_url, report_dir, report_index, write_bytes

THUMBNAIL = "thumbnail.webp"
CHOSE_ON_TEST = "chose on test"
ROW_TITLES = ("Example", "Run", "F1", "Precision", "Recall", "Decision F1", "Data", "Network", "Loss", "Epochs", "Trained", "State")
INTRODUCTION = """# Runs

This list holds every run that has pages, the newest first. F1, precision and recall are means within 2 pixels over the cracked test
images. Compare only runs on the same data. The small curve is the segmentation loss in training."""


def write_index() -> Path:
    """Write ``report/index.html``, the list of every run and comparison that has pages."""
    target = report_index()
    runs = [Run(name) for name in sorted(_with_pages(target.parent)) if is_run_name(name)]
    rows = [_row(run) for run in runs if run.params.exists or run.notebook("explore").is_file()]
    frame = pd.DataFrame(rows, columns=ROW_TITLES, dtype=object).fillna("").sort_values("Trained", ascending=False, kind="stable")
    table = to_figure(frame, "runs", "All runs.", sortable=True, filtered=True)
    cells = [new_markdown_cell(INTRODUCTION), *(html_cell(notice(text)) for text in _notices(rows)), html_cell(table)]
    comparisons = [run for run in runs if run.notebook("compare").is_file() and not run.params.exists]
    if comparisons:
        links = "\n".join(f"- [{run.name}]({_link(run).href})" for run in comparisons)
        cells.append(new_markdown_cell(f"## Comparisons\n\n{links}"))
    write_page(new_notebook(cells=cells, metadata={"crack_report": {"broad": True}}), "Runs", target, here())
    return target


def _with_pages(folder: Path) -> Iterator[str]:
    """Names of the folders with an index.html. A folder that vanishes meanwhile is passed over."""
    for path, folders, found in os.walk(folder):
        folders[:] = [name for name in folders if name not in FOLDERS_OF_A_RUN]
        if "index.html" in found and Path(path) != folder:
            yield Path(path).relative_to(folder).as_posix()


def _link(run: Run) -> Link:
    return Link(run.name, relative_url(report_dir(run.name) / "index.html", report_index()))


def _row(run: Run) -> dict[str, Any]:
    """A row of the list. Cells stay empty for steps that the run has not reached, and for files that cannot be read: a damaged run
    must not keep other runs from the list."""
    row: dict[str, Any] = {"Run": _link(run), "State": "stopped"}
    with contextlib.suppress(UserError, KeyError, TypeError, AttributeError, ValueError):
        resolved, training = run.params.resolved(), started(run)
        facts = resolved["data"]
        row |= {"Data": facts["test_title"], "Network": architecture(resolved), "notice": drawn_notice(facts)}
        row |= {"Trained": training.removesuffix(" UTC")}
        history = run.history.load()
        row |= {"Epochs": f"{len(history)} of {resolved['epochs']}", "Loss": Html(sparkline(history["loss_segmentation"].tolist()))}
        if run.is_evaluated:
            metrics = run.metrics.load()
            scores = {"F1": "f1", "Precision": "precision", "Recall": "recall"}
            scored = {title: f"{metrics['segmentation_2px'][name]:.3f}" for title, name in scores.items()}
            row |= scored | {"Decision F1": f"{metrics['decision']['f1']:.3f}", "Example": _thumbnail(run)}
            row["State"] = CHOSE_ON_TEST if resolved["validate_on_test"] else "finished"
    return row


def _notices(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What a reader must know before reading the table."""
    drawn = [row for row in rows if row.get("notice")]
    if drawn:
        names = ", ".join(row["Run"].text for row in drawn)
        yield drawn[0]["notice"] if len(drawn) == len(rows) else f"{names}: {drawn[0]['notice']}"
    if any(row["State"] == CHOSE_ON_TEST for row in rows):
        runs = f"Runs marked '{CHOSE_ON_TEST}' chose checkpoint or thresholds on test (validate_on_test)"
        yield f"{runs}, so their figures on test are too good."


def save_thumbnail(run: Run) -> None:
    """Save the picture that the list of runs shows for an evaluated run."""
    example = load_examples(run, "median", 1)[0]
    picture = Image.fromarray(overlap(example.image, *example.errors))
    picture.thumbnail((160, 90), Image.Resampling.LANCZOS)
    write_bytes(report_dir(run.name) / THUMBNAIL, encode(picture, "WEBP", quality=70))


def _thumbnail(run: Run) -> str:
    path = report_dir(run.name) / THUMBNAIL
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return Html(f'<img src="data:image/webp;base64,{data}" alt="Errors on a typical test image of {run.name}" width="112">')


def sparkline(values: Sequence[float], width: int = 90, height: int = 24) -> str:
    """A small curve of losses as SVG, with a description in words. Without values there is no curve."""
    if not values:
        return ""
    low, span, step = min(values), (max(values) - min(values)) or 1, (width - 4) / max(1, len(values) - 1)
    points = " ".join(f"{2 + i * step:.1f},{height - 2 - (height - 4) * (value - low) / span:.1f}" for i, value in enumerate(values))
    description = f"Segmentation loss from {values[0]:.3g} to {values[-1]:.3g} in {len(values)} epochs"
    return (
        f'<svg role="img" aria-label="{description}" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<polyline points="{points}" stroke-width="1.5"/></svg>'
    )
