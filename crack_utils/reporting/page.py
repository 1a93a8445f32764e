"""One page: an executed notebook as HTML, its figures as files for a paper, and the HTML as PDF."""

import base64
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output
from PIL import Image

from crack_utils.errors import UserError
from crack_utils.reporting.exporter import CrackReportExporter
from crack_utils.reporting.pictures import encode
from crack_utils.store import relative_url, report_index, write_bytes

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
            write_bytes(folder / f"{prefix}-{key}.svg", data["image/svg+xml"].encode())
            write_bytes(folder / f"{prefix}-{key}.png", base64.b64decode(data["image/png"]))
        elif '<figure class="gallery"' in data.get("text/html", "") and (gallery := _Gallery(data["text/html"])).pictures:
            write_bytes(folder / f"{prefix}-{gallery.key}.png", encode(_sheet([*map(_flat, gallery.pictures)]), "PNG"))


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
