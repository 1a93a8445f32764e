"""Label Studio: its export "JSON" beside the photos. Brush masks, polygons.

Format: labelstud.io/guide/task_format and labelstud.io/tags/brushlabels, and the Label Studio SDK 2.1.2, ``converter/brush.py`` for the
runs of a brush mask and ``converter/converter.py``. The exports "JSON-MIN" and "Brush labels to PNG" are not read: the first does not say
which annotation counts, the second not which photo a mask belongs to. The JSON holds the pixels of these PNG files.
"""

import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from crack_utils.data.crops import Unused
from crack_utils.data.layouts import Found, Layout
from crack_utils.data.layouts.files import readable_suffixes
from crack_utils.data.layouts.labels import (
    NO_ANNOTATION,
    Item,
    Labels,
    Photos,
    cached,
    damage_named,
    drawn_together,
    files_below,
    find_labelled,
    photo_missing,
    read_json,
    split_of,
)
from crack_utils.data.layouts.shapes import fill_polygon
from crack_utils.errors import DataError

BRUSH_PICTURE = re.compile(r"task-\d+-annotation-\d+-by-.*\.png")
UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded photo
Result = dict[str, Any]


@cached
def read_file(path: Path) -> dict[Any, tuple[list[str], list[Result] | None, int]] | None:
    """By task: names the photo may have, the results of the annotation that counts (None without any), the number of annotations.

    None if the JSON is of another kind. Raise DataError if a part is missing.
    """
    content = read_json(path)
    if not isinstance(content, list) or not content:
        return None
    with damage_named(f"{path} is no complete export of Label Studio", 'choose the export named "JSON"'):
        return {task["id"]: (list(_names(task)), *_annotation(task)) for task in content}


def _names(task: dict[str, Any]) -> Iterator[str]:
    """The names of a task's photo, as written, and as the photo was named before the upload."""
    for value in (*task["data"].values(), task.get("file_upload")):
        if isinstance(value, str):
            address = urllib.parse.urlsplit(value)
            name = urllib.parse.parse_qs(address.query).get("d", [urllib.parse.unquote(address.path)])[0].lstrip("/")
            if PurePosixPath(name).suffix.lower() in readable_suffixes():
                yield name
                yield UPLOAD.sub("", PurePosixPath(name).name)


def _annotation(task: dict[str, Any]) -> tuple[list[Result] | None, int]:
    """The results of the annotation that counts: the ground truth, or else the latest. And the number of annotations."""
    done = [each for each in task["annotations"] if not each.get("was_cancelled")]
    if not done:
        return None, 0
    chosen = max(done, key=lambda each: (bool(each.get("ground_truth")), each.get("updated_at") or each.get("created_at") or ""))
    return [result for result in chosen["result"] if labels_of(result)], len(done)


def labels_of(result: Result) -> list[str]:
    """The labels of a shape. Other results, such as a choice or a text, have none."""
    value = result.get("value", {})
    names = next((names for key, names in value.items() if key.endswith("labels") and isinstance(names, list)), [])
    return [name for name in names if isinstance(name, str)]


def find(root: Path, mask_crack: str) -> Found:
    """The photos of all tasks that have an annotation. An annotation without shapes says that the photo is crack-free."""
    below = files_below(root)
    files = {path: tasks for path in below if path.suffix.lower() == ".json" and (tasks := read_file(path))}
    if not files:
        raise DataError(f'{root} holds no export of Label Studio; expected its export named "JSON" beside the photos')
    unused = [Unused(path, "brush mask that the JSON file holds too") for path in below if BRUSH_PICTURE.fullmatch(path.name)]
    photos, labels, items, several = Photos(root), Labels(), [], 0
    for path, tasks in files.items():
        split = split_of(path.relative_to(root))
        for key, (names, results, times) in tasks.items():
            photo = next((photo for name in names if (photo := photos.find(name, path.parent, split))), None)
            if not photo:
                unused.append(photo_missing(path, names[0] if names else f"task {key}"))
            elif results is None:
                unused.append(Unused(photo, "photo without annotation", NO_ANNOTATION))
            else:
                several += times > 1
                labels.counts.update(label for result in results for label in labels_of(result))
                items.append(Item(split, photo, path, key, _size(results)))
    found = find_labelled(root, items, draw, labels, mask_crack, unused)
    note = f"Photos with several annotations: {several}. The ground truth counts, or else the latest annotation."
    return found._replace(notes=(*found.notes, note)) if several else found


def _size(results: list[Result]) -> tuple[int, int] | None:
    """The size of the photo as Label Studio saw it."""
    sizes = ((result.get("original_height"), result.get("original_width")) for result in results)
    return next((size for size in sizes if all(size)), None)


def draw(path: Path, key: Any, size: tuple[int, int], cracks: frozenset[str]) -> np.ndarray:
    """The crack pixels of a photo."""
    results = [result for result in read_file(path)[key][1] if cracks & set(labels_of(result))]
    return drawn_together(size, [(f"region {result.get('id')}", [result]) for result in results], _add)


def _add(mask: np.ndarray, result: Result) -> None:
    (height, width), value = mask.shape, result["value"]
    if result.get("image_rotation"):
        raise ValueError("the photo was rotated in Label Studio; rotate the file instead and annotate it again")
    if "rle" in value:
        mask |= decode_brush(value["rle"], (height, width))
    elif "points" in value:
        fill_polygon(mask, np.asarray(value["points"], float) * (width / 100, height / 100))  # points are percents
    else:
        raise ValueError(f"a region of type {result.get('type')} is no mask; draw with the brush or a polygon instead")


def decode_brush(rle: list[int], size: tuple[int, int]) -> np.ndarray:
    """The mask (height, width) bool of a brush: where alpha is above 127.

    The bits hold: the number of values (32), bits a value less 1 (5), four lengths of numbers less 1 (4 each). Then follow runs: whether
    one value is repeated (1), which length the next number has (2), the length of the run less 1, and the value or values.
    """
    packed = np.asarray(rle, np.uint8)
    text = "".join(map("{:08b}".format, packed.tolist()))
    total, depth = int(text[:32], 2), int(text[32:37], 2) + 1
    if total != 4 * size[0] * size[1] or depth != 8:
        raise ValueError(f"the brush mask has {total // 4} pixels instead of {size[1]} x {size[0]}")
    lengths = [int(text[i : i + 4], 2) + 1 for i in range(37, 53, 4)]
    bits, values, done, at = np.unpackbits(packed), np.empty(total, np.uint8), 0, 53
    while done < total:
        digits = lengths[int(text[at + 1 : at + 3], 2)]
        number = int(text[at + 3 : at + 3 + digits], 2) + 1
        count = 1 if text[at] == "1" else number
        at += 3 + digits
        part = np.packbits(bits[at : at + 8 * count])
        if len(part) != count or done + number > total:
            raise ValueError("the brush mask is cut off")
        values[done : done + number] = part
        done, at = done + number, at + 8 * count
    return values.reshape(*size, 4)[..., 3] > 127


LAYOUT = Layout(title="your own photos", find=find, has_labels=True, is_own=True, link="https://labelstud.io")
