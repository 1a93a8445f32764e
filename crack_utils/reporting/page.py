"""One page: an executed notebook as HTML."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output

from crack_utils.reporting.exporter import CrackReportExporter
from crack_utils.store import relative_url, report_index, write_bytes


def write_page(
    notebook: NotebookNode, title: str, target: Path, provenance_rows: dict[str, str], pages: Sequence[dict[str, Any]] = ()
) -> None:
    """Write an executed notebook as the page ``target``, which lies under ``report/``.

    Args:
        provenance_rows: title and text of each row at the foot of the page.
        pages: links to the run's pages, each with ``href``, ``label`` and ``current``.
    """
    notebook.metadata["title"] = title
    about = notebook.metadata.setdefault("crack_report", NotebookNode())
    home = report_index()
    about.update(pages=list(pages), provenance=provenance_rows, home=relative_url(home, target) if target != home else None)
    write_bytes(target, to_html(notebook).encode())


def to_html(notebook: NotebookNode) -> str:
    """A notebook as the HTML of a page."""
    body, _ = CrackReportExporter().from_notebook_node(notebook)
    return body


def html_cell(text: str) -> NotebookNode:
    """A cell that shows HTML."""
    return new_code_cell("", outputs=[new_output("display_data", {"text/html": text})])
