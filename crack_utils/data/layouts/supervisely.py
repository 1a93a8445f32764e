"""Supervisely: ``DATASET/img/x.jpg`` with ``DATASET/ann/x.jpg.json``. A dataset named train, val or test is a split.

Format: developer.supervisely.com, "Supervisely annotation format", and the SDK (github.com/supervisely/supervisely, 6.74),
``geometry/bitmap.py`` and ``geometry/polygon.py``. The points of a polygon are pixels, not corners of pixels. The SDK draws the pixels of
the outline too, with OpenCV, and so does this layout.
"""

import base64
import contextlib
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from crack_utils.data.layouts import Found, Layout
from crack_utils.data.layouts.labels import (
    Item,
    Labels,
    damage_named,
    drawn_together,
    files_below,
    find_labelled,
    photo_missing,
    read_json,
    split_of,
    unusable,
)
from crack_utils.data.layouts.shapes import checked_points, draw_line, paste, pixels_of_png
from crack_utils.errors import DataError


def find(root: Path, mask_crack: str) -> Found:
    """The photos of all datasets. Supervisely writes a file for each photo; a file without objects says that the photo is crack-free."""
    labels, items, unused = Labels(), [], []
    for path in files_below(root):
        if path.name == "meta.json":
            labels.counts.update({title: 0 for title in _titles(path)})
        if path.parent.name != "ann" or path.suffix != ".json":
            continue
        try:
            content = _read(path)
        except DataError as error:
            unused.append(unusable(path, error))
            continue
        photo = path.parent.parent / "img" / path.stem
        if photo.is_file():
            for each in content["objects"]:
                labels.counts[each["classTitle"]] += 1
                labels.lines[each["classTitle"]] += each.get("geometryType") == "line"
            size = content["size"]["height"], content["size"]["width"]
            items.append(Item(split_of(path.parent.parent.relative_to(root)), photo, path, None, size))
        else:
            unused.append(photo_missing(path, f"img/{path.stem}"))
    if not items and not unused:
        raise DataError(f"{root} holds no folder ann/ with files such as x.jpg.json; expected a project that Supervisely exported")
    return find_labelled(root, items, draw, labels, mask_crack, unused)


def _titles(path: Path) -> list[str]:
    """The names of a project's classes."""
    with damage_named(f"{path} lists no classes"):
        return [each["title"] for each in read_json(path)["classes"]]


def _read(path: Path) -> dict[str, Any]:
    """The annotations of a photo. Raise DataError if a key is missing."""
    content = read_json(path)
    with damage_named(f"{path} is no complete Supervisely file"):
        _ = content["size"]["height"], content["size"]["width"]
        if all(isinstance(each["classTitle"], str) for each in content["objects"]):
            return content
        raise TypeError("a classTitle is no text")


def draw(path: Path, key: None, size: tuple[int, int], cracks: frozenset[str]) -> np.ndarray:
    """The crack pixels of a photo."""
    objects = [(f"object {i}, {each['classTitle']}", each) for i, each in enumerate(_read(path)["objects"], start=1)]
    return drawn_together(size, [(name, [each]) for name, each in objects if each["classTitle"] in cracks], _add)


def _add(mask: np.ndarray, each: dict[str, Any]) -> None:
    kind = each.get("geometryType") or ("bitmap" if "bitmap" in each else "polygon")
    if kind == "bitmap":
        left, top = each["bitmap"]["origin"]
        data = base64.b64decode(each["bitmap"]["data"])
        with contextlib.suppress(zlib.error):  # bitmaps may come uncompressed
            data = zlib.decompress(data)
        paste(mask, pixels_of_png(data), int(left), int(top))
        return
    outline, holes = each["points"]["exterior"], each["points"].get("interior", [])
    if kind == "line":
        draw_line(mask, _pixels(outline) + 0.5)
    elif kind in ("polygon", "rectangle"):
        if kind == "rectangle":
            (x0, y0), (x1, y1) = outline
            outline = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        own = np.zeros(mask.shape, np.uint8)
        cv2.fillPoly(own, [_pixels(outline)], 1)
        cv2.fillPoly(own, [_pixels(hole) for hole in holes], 0)
        mask |= own.astype(bool)
    else:
        raise ValueError(f"an object of type {kind} has no area; draw a mask, polygon, line or rectangle instead")


def _pixels(points: list[list[float]]) -> np.ndarray:
    return np.floor(checked_points(points)).clip(-1e6, 1e6).astype(np.int32)


LAYOUT = Layout(title="your own photos", find=find, has_labels=True, is_own=True, link="https://supervisely.com")
