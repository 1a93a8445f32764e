"""The figures of an executed notebook as files, for a paper: a plot as SVG and PNG, pictures side by side as PNG."""

import base64
import io
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

from nbformat import NotebookNode
from PIL import Image

from crack_utils.reporting.pictures import encode
from crack_utils.store import write_bytes

GAP = 8  # px between pictures


def save_figures(notebook: NotebookNode, folder: Path, prefix: str) -> None:
    """Save each figure as ``PREFIX-KEY.svg`` and ``PREFIX-KEY.png``."""
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        key = output.get("metadata", {}).get("image/svg+xml", {}).get("key")
        if key:
            write_bytes(folder / f"{prefix}-{key}.svg", data["image/svg+xml"].encode())
            write_bytes(folder / f"{prefix}-{key}.png", base64.b64decode(data["image/png"]))
        elif '<figure class="gallery"' in data.get("text/html", ""):
            gallery = _Gallery(data["text/html"])
            if gallery.pictures:
                write_bytes(folder / f"{prefix}-{gallery.key}.png", encode(_sheet([*map(_flat, gallery.pictures)]), "PNG"))


class _Gallery(HTMLParser):
    """A figure of pictures, read from its HTML: the figure's key, and the layers of each picture from bottom to top."""

    def __init__(self, figure: str):
        super().__init__()
        self.key = ""
        self.pictures: list[list[Image.Image]] = []
        self.known: dict[str, Image.Image] = {}  # layers by address
        self.feed(figure)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag == "figure":
            self.key = values["data-key"]
        elif values.get("class") == "picture":
            self.pictures.append([])
        elif self.pictures and tag in ("img", "image", "use"):
            name, address = values.get("id", ""), values.get("href") or values["src"]
            layer = self.known[address] if address.startswith("#") else _decoded(address)
            if name.startswith("levels-"):
                layer = layer.point(lambda level: min(255, level * 255 // 180))
            self.known[f"#{name}"] = layer
            self.pictures[-1].append(layer)


def _decoded(address: str) -> Image.Image:
    """The image that a ``data:`` address holds."""
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGBA")


def _flat(layers: Sequence[Image.Image]) -> Image.Image:
    """Layers laid over one another, in the size of the last one."""
    photo = Image.new("RGBA", layers[-1].size, "white")
    for layer in layers:
        photo.alpha_composite(layer.resize(photo.size))
    return photo.convert("RGB")


def _sheet(photos: Sequence[Image.Image], columns: int = 4) -> Image.Image:
    """Photos side by side in rows, as one image."""
    rows = [photos[i : i + columns] for i in range(0, len(photos), columns)]
    heights = [max(photo.height for photo in row) + GAP for row in rows]
    width = max(sum(photo.width + GAP for photo in row) for row in rows)
    whole, top = Image.new("RGB", (width - GAP, sum(heights) - GAP), "white"), 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for photo in row:
            whole.paste(photo, (left, top))
            left += photo.width + GAP
        top += height
    return whole
