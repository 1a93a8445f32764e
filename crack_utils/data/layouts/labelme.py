"""LabelMe: a photo ``x.jpg`` with its annotations ``x.json`` beside it, in one folder or in a folder for each split.

Format: LabelMe 6.3.1 (github.com/wkentaro/labelme), ``labelme/_label_file.py`` for the keys and ``labelme/utils/shape.py``
(``shape_to_mask``) for the shapes. LabelMe turns photos as EXIF says. Its own masks add the outline of each polygon, about 0.3 pixels for
each pixel of the outline. Its lines have flat ends; here they have round ends and joints.
"""

from pathlib import Path
from typing import Any

import numpy as np

from crack_utils.data.crops import Unused
from crack_utils.data.layouts import Found, Layout
from crack_utils.data.layouts.labels import (
    Item,
    Labels,
    Photos,
    damage_named,
    drawn_together,
    files_below,
    find_labelled,
    photo_missing,
    read_json,
    split_of,
    unusable,
)
from crack_utils.data.layouts.shapes import checked_points, draw_line, fill_ellipse, fill_polygon, paste, pixels_of_png
from crack_utils.errors import DataError

LINES = ("line", "linestrip")


def find(root: Path, mask_crack: str) -> Found:
    """The photos that have annotations. Annotations without a shape say that the photo is crack-free."""
    photos, labels, items, unused = Photos(root), Labels(), [], []
    beside = {path.with_suffix(""): path for path in photos.paths}
    for path in files_below(root):
        if path.suffix.lower() != ".json":
            continue
        photo = beside.get(path.with_suffix(""))
        try:
            content = _read(path)
            photo = photos.find(content["imagePath"], path.parent) or photo  # a pair of files may have been renamed
        except DataError as error:
            unused += [unusable(path, error), *([Unused(photo, "photo whose annotations cannot be used")] if photo else [])]
            continue
        if not photo:
            unused.append(photo_missing(path, content["imagePath"]))
            continue
        for shape in content["shapes"]:
            labels.counts[shape["label"]] += 1
            labels.lines[shape["label"]] += shape.get("shape_type") in LINES
        size = content.get("imageHeight"), content.get("imageWidth")
        items.append(Item(split_of(path.parent.relative_to(root)), photo, path, None, size if all(size) else None))
    if not items and not unused:
        raise DataError(f"{root} holds no JSON file; expected photos such as x.jpg, each with LabelMe's x.json beside it")
    return find_labelled(root, items, draw, labels, mask_crack, unused)


def _read(path: Path) -> dict[str, Any]:
    """The contents of a LabelMe file. Raise DataError if a key is missing."""
    content = read_json(path)
    with damage_named(f"{path} is no complete LabelMe file"):
        if isinstance(content["imagePath"], str) and all(isinstance(shape["label"], str) for shape in content["shapes"]):
            return content
        raise TypeError("imagePath and label must be text")


def draw(path: Path, key: None, size: tuple[int, int], cracks: frozenset[str]) -> np.ndarray:
    """The crack pixels of a photo."""
    shapes = [(f"shape {i}, {shape['label']}", shape) for i, shape in enumerate(_read(path)["shapes"], start=1) if shape["label"] in cracks]
    return drawn_together(size, [(name, (shape.get("shape_type") or "polygon", shape)) for name, shape in shapes], _add)


def _add(mask: np.ndarray, kind: str, shape: dict[str, Any]) -> None:
    points = shape["points"]
    if kind == "mask":
        left, top = np.round(checked_points(points)[0]).astype(int)
        paste(mask, pixels_of_png(shape["mask"]), left, top)
    elif kind in ("polygon", "oriented_rectangle"):
        fill_polygon(mask, points)
    elif kind == "rectangle":
        (x0, y0), (x1, y1) = points
        fill_polygon(mask, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    elif kind == "circle":
        centre, edge = points
        fill_ellipse(mask, centre, [np.hypot(*np.subtract(edge, centre))] * 2)
    elif kind in LINES:
        draw_line(mask, points)
    else:
        raise ValueError(f"a shape of type {kind} has no area; draw a polygon, line strip, rectangle, circle or mask instead")


LAYOUT = Layout(title="your own photos", find=find, has_labels=True, is_own=True, link="https://github.com/wkentaro/labelme")
