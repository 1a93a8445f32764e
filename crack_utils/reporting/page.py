"""One page: an executed notebook as HTML, and its figures as files."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output

from crack_utils.reporting.exporter import CrackReportExporter
from crack_utils.reporting.pictures import compose, encode, key_of
from crack_utils.store import relative_url, report_index, write_bytes

DRAWN = "Images of the drawn sample are drawn by a program. They are not photos."
THUMBNAIL = "thumbnail.webp"


def write_page(
    notebook: NotebookNode, title: str, target: Path, provenance_rows: dict[str, str], pages: Sequence[dict[str, Any]] = ()
) -> None:
    """Render an executed notebook to ``target``, somewhere under ``report/``."""
    notebook.metadata["title"] = title
    about = notebook.metadata.setdefault("crack_report", NotebookNode())
    home = report_index()
    about.update(pages=list(pages), provenance=provenance_rows, home=relative_url(home, target) if target != home else None)
    write_bytes(target, to_html(notebook).encode())


def to_html(notebook: NotebookNode) -> str:
    body, _ = CrackReportExporter().from_notebook_node(notebook)
    return body


def save_figures(notebook: NotebookNode, folder: Path, prefix: str) -> None:
    """Save each figure of an executed notebook: a plot as SVG and PNG, pictures side by side as PNG."""
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        key = output.get("metadata", {}).get("image/svg+xml", {}).get("key")
        if key:
            write_bytes(folder / f"{prefix}-{key}.svg", data["image/svg+xml"].encode())
            write_bytes(folder / f"{prefix}-{key}.png", base64.b64decode(data["image/png"]))
        elif '<figure class="gallery"' in data.get("text/html", ""):
            sheet = compose(data["text/html"])
            if sheet:
                write_bytes(folder / f"{prefix}-{key_of(data['text/html'])}.png", encode(sheet, "PNG"))


def _html_cell(text: str) -> NotebookNode:
    return new_code_cell("", outputs=[new_output("display_data", {"text/html": text})])
