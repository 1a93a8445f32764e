"""COCO's JSON files, as COCO, Roboflow, CVAT and others write them: one file describes many photos.

``annotations/instances_train.json`` with photos in ``images/`` or ``train2017/``, or Roboflow's ``train/_annotations.coco.json``. Format:
cocodataset.org (Data format: images, annotations, categories) and the COCO API, ``common/maskApi.c`` and ``PythonAPI/pycocotools/mask.py``
of version 2.0: runs go down the columns, and ``[0, 0, 1, 1]`` is the first pixel. Roboflow's folders: rfdetr.roboflow.com, "Dataset
formats", version 1.8.0.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from crack_utils.data.crops import Unused
from crack_utils.data.layouts import Found, Layout
from crack_utils.data.layouts.labels import (
    EXPORT_AGAIN,
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
from crack_utils.data.layouts.shapes import counts_of, fill_polygon, runs
from crack_utils.errors import DataError


class File(NamedTuple):
    """A COCO file, by the photos' ids."""

    images: dict[Any, dict[str, Any]]
    annotations: dict[Any, list[dict[str, Any]]]
    categories: dict[int, str]  # names by id


@cached
def read_file(path: Path) -> File | None:
    """The contents of a file; None if the JSON is of another kind. Raise DataError if a part is missing."""
    content = read_json(path)
    if not isinstance(content, dict) or "images" not in content:
        return None
    with damage_named(f"{path} is no complete COCO file"):
        images = {image["id"]: image for image in content["images"]}
        groups = {category.get("supercategory") for category in content["categories"]}
        categories = {category["id"]: str(category["name"]) for category in content["categories"]}
        annotations = {key: [] for key in images}
        for annotation in content["annotations"]:
            annotations[annotation["image_id"]].append(annotation)
        used = {annotation["category_id"] for annotation in content["annotations"]}
        if unknown := used - set(categories):
            raise DataError(f"{path}: annotations have the category_id {min(unknown)}, which the categories lack; {EXPORT_AGAIN}")
    # Roboflow adds a category for the whole project, to which no annotation belongs
    return File(images, annotations, {key: name for key, name in categories.items() if key in used or name not in groups})


def find(root: Path, mask_crack: str) -> Found:
    """The photos of all COCO files. A photo that a file lists without annotation is crack-free."""
    files, unused = _files(root)
    photos, labels, items = Photos(root), Labels(), []
    for path, file in files.items():
        split = split_of(path.relative_to(root))
        for number, name in file.categories.items():
            labels.numbers[name].add(number)
            labels.counts[name] += 0
        for key, image in file.images.items():
            labels.counts.update(file.categories[each["category_id"]] for each in file.annotations[key])
            with damage_named(f"{path} describes photo {key} incompletely"):
                photo, size = photos.find(image["file_name"], path.parent, split), (image["height"], image["width"])
            if photo:
                items.append(Item(split, photo, path, key, size))
            else:
                unused.append(photo_missing(path, image["file_name"]))
    return find_labelled(root, items, draw, labels, mask_crack, unused)


def _files(root: Path) -> tuple[dict[Path, File], list[Unused]]:
    """The COCO files: those named instances_*.json if there are any, because COCO's other files describe the same photos."""
    paths = [path for path in files_below(root) if path.suffix.lower() == ".json"]
    instances = [path for path in paths if path.name.startswith("instances_")]
    files = {path: file for path in instances or paths if (file := read_file(path))}
    if not files:
        raise DataError(f"{root} holds no COCO file; expected annotations/instances_train.json or train/_annotations.coco.json")
    return files, [Unused(path, "file that is no COCO file of instances") for path in paths if path not in files]


def draw(path: Path, key: Any, size: tuple[int, int], cracks: frozenset[str]) -> np.ndarray:
    """The crack pixels of a photo: all its annotations of crack together, also those with iscrowd."""
    file = read_file(path)
    chosen = [each for each in file.annotations[key] if file.categories[each["category_id"]] in cracks]
    return drawn_together(size, [(f"annotation {each.get('id')}", [each]) for each in chosen], _add)


def _add(mask: np.ndarray, annotation: dict[str, Any]) -> None:
    segmentation = annotation["segmentation"]
    if not segmentation:
        raise ValueError("a box without an outline is no mask")
    if isinstance(segmentation, dict):
        counts, size = segmentation["counts"], tuple(segmentation["size"])
        if size != mask.shape:
            raise ValueError(f"a mask of another size, {size[1]} x {size[0]}")
        mask |= runs(counts_of(counts) if isinstance(counts, str) else counts, size, order="F")
        return
    for polygon in segmentation:
        fill_polygon(mask, np.reshape(np.asarray(polygon, float), (-1, 2)))


LAYOUT = Layout(title="your own photos", find=find, has_labels=True, is_own=True, link="https://cocodataset.org")
