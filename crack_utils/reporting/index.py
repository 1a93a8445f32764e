"""The list of all runs."""

import base64
import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from nbformat.v4 import new_markdown_cell, new_notebook

from crack_utils.config import FOLDERS_OF_A_RUN, is_run_name
from crack_utils.errors import UserError
from crack_utils.reporting.html import Html, Link, notice, to_figure
from crack_utils.reporting.page import DRAWN, THUMBNAIL, _html_cell, write_page
from crack_utils.reporting.provenance import here, started
from crack_utils.reporting.words import architecture
from crack_utils.store import Run, relative_url, report_dir, report_index

CHOSE_ON_TEST = "chose on test"
ROW_TITLES = ("Example", "Run", "F1", "Precision", "Recall", "Decision F1", "Data", "Network", "Loss", "Epochs", "Trained", "State")


def write_index() -> Path:
    """Render ``report/index.html``: every run and comparison that has pages."""
    target = report_index()
    runs = [Run(name) for name in sorted(_with_pages(target.parent)) if is_run_name(name)]
    rows = [row for run in runs if run.params.exists and (row := _row(run))]
    rows += [{"Run": _link(run), "State": "stopped"} for run in runs if run.notebook("explore").is_file() and not run.params.exists]
    text = (
        "# Runs\n\nEvery run that has a report, the newest first. F1, precision and recall are means within 2 pixels "
        "over the cracked test images; compare only runs on the same data. The small curve is the segmentation loss in training."
    )
    cells = [new_markdown_cell(text)]
    if any(row.get("drawn") for row in rows):
        cells.append(_html_cell(notice(DRAWN)))
    if any(row.get("State") == CHOSE_ON_TEST for row in rows):
        text = f"Runs marked '{CHOSE_ON_TEST}' chose checkpoint or thresholds on test (validate_on_test): their figures are too good."
        cells.append(_html_cell(notice(text)))
    frame = pd.DataFrame(rows, columns=ROW_TITLES, dtype=object).fillna("").sort_values("Trained", ascending=False, kind="stable")
    cells.append(_html_cell(to_figure(frame, "runs", "All runs.", sortable=True, filtered=True)))
    comparisons = [run for run in runs if run.notebook("compare").is_file() and not run.params.exists]
    if comparisons:
        links = "\n".join(f"- [{run.name}]({_link(run).href})" for run in comparisons)
        cells.append(new_markdown_cell(f"## Comparisons\n\n{links}"))
    write_page(new_notebook(cells=cells, metadata={"crack_report": {"broad": True}}), "Runs", target, here())
    return target


def _with_pages(folder: Path) -> Iterator[str]:
    """Names of the folders that hold an index.html; one that vanishes meanwhile is passed over."""
    for path, folders, found in os.walk(folder):
        folders[:] = [name for name in folders if name not in FOLDERS_OF_A_RUN]
        if "index.html" in found and Path(path) != folder:
            yield Path(path).relative_to(folder).as_posix()


def _link(run: Run) -> Link:
    return Link(run.name, relative_url(report_dir(run.name) / "index.html", report_index()))


def _row(run: Run) -> dict[str, Any]:
    """A line of the list of runs. What a run has not come to stays empty, and so does what cannot be read: one damaged run must not
    keep the others from being listed."""
    row: dict[str, Any] = {"Run": _link(run), "State": "stopped"}
    with contextlib.suppress(UserError, KeyError, TypeError, AttributeError, ValueError):
        resolved, training = run.params.resolved(), started(run)
        row |= {"Data": resolved["data"]["test_title"], "Network": architecture(resolved), "drawn": resolved["data"]["drawn"]}
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


def _thumbnail(run: Run) -> str:
    path = report_dir(run.name) / THUMBNAIL
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
