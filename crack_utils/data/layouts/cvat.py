"""CVAT: its exports "Segmentation mask 1.1" and "CVAT for images 1.1".

The first has ``SegmentationClass/x.png``, ``labelmap.txt``, ``ImageSets/Segmentation/*.txt`` and ``JPEGImages/x.jpg``; the second has
``annotations.xml`` and ``images/``. Formats: docs.cvat.ai (version 2.49), "Segmentation Mask" and "XML annotation format" 1.1, and Datumaro
1.13.12, which CVAT exports with: ``plugins/data_formats/voc/format.py`` for the colours, ``plugins/data_formats/cvat/base.py`` for runs.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from crack_utils.data.crops import Unused
from crack_utils.data.layouts import Found, Layout
from crack_utils.data.layouts.files import readable_suffixes
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
    split_of,
    unusable,
)
from crack_utils.data.layouts.shapes import draw_line, fill_ellipse, fill_polygon, paste, runs
from crack_utils.data.photos import decode, read_size
from crack_utils.errors import DataError

CLASSES, OBJECTS = "SegmentationClass", "SegmentationObject"
Colours = dict[str, tuple[int, ...]]


def find(root: Path, mask_crack: str) -> Found:
    """The photos of either export."""
    files = files_below(root)
    masks = [path for path in files if path.is_relative_to(root / CLASSES) and path.suffix.lower() == ".png"]
    if masks:
        return _find_masks(root, files, masks, mask_crack)
    xmls = [path for path in files if path.suffix.lower() == ".xml"]
    if not xmls:
        raise DataError(f'{root} holds neither {CLASSES}/ nor annotations.xml; export "Segmentation mask 1.1" or "CVAT for images 1.1"')
    return _find_shapes(root, xmls, mask_crack)


def _find_masks(root: Path, files: list[Path], masks: list[Path], mask_crack: str) -> Found:
    """The photos that the lists name. A photo in a list without a mask has no annotation, so the photo is crack-free."""
    colours, labels, items = read_colours(root / "labelmap.txt"), Labels(), []
    labels.counts.update({name: 0 for name in colours})
    for number, name in enumerate(colours):
        labels.numbers[name].add(number)
    if re.fullmatch("[0-9a-f]{6}", mask_crack):
        by_colour = {bytes(colour).hex(): str(number) for number, colour in enumerate(colours.values())}
        mask_crack = by_colour.get(mask_crack, mask_crack)
    unused = [Unused(path, "mask of single objects") for path in files if OBJECTS in path.parts]
    photos, folder = Photos(root, without=(CLASSES, OBJECTS)), root / CLASSES
    by_name = {path.relative_to(folder).with_suffix("").as_posix(): path for path in masks}
    lists = [path for path in files if path.parent == root / "ImageSets" / "Segmentation" and path.suffix == ".txt"]
    named = [(path, name) for path in lists for name in _lines(path)] or [(folder, name) for name in by_name]
    for path, name in named:
        photo = next(filter(None, (photos.find(name + suffix, root / "JPEGImages") for suffix in sorted(readable_suffixes()))), None)
        truth = by_name.pop(name, path)
        try:
            size = read_size(truth) if truth != path else None
        except DataError as error:
            unused.append(unusable(truth, error))
            continue
        if photo:
            items.append(Item(split_of(path.stem), photo, truth, None, size))
        else:
            unused.append(photo_missing(truth, f"JPEGImages/{name}.jpg"))
    unused += [Unused(path, "mask that no list in ImageSets/Segmentation names", "export again") for path in by_name.values()]
    unused += [Unused(path, "file of the export") for path in (root / "labelmap.txt", *lists)]
    return find_labelled(root, items, draw_colours, labels, mask_crack, unused)


def _lines(path: Path) -> Iterator[str]:
    """The names in a list. Names with spaces stand in quotes."""
    try:
        return filter(None, (line.strip().strip('"') for line in path.read_text(encoding="utf-8-sig").splitlines()))
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; {EXPORT_AGAIN}") from None


def read_colours(path: Path) -> Colours:
    """The labels of labelmap.txt with their colours. Raise DataError if the file cannot be read."""
    try:
        rows = [line.split(":") for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip() and line.strip()[0] != "#"]
        colours = {name: tuple(int(value) for value in colour.split(",")) for name, colour, *_ in rows}
        if any(len(colour) != 3 or not all(0 <= value < 256 for value in colour) for colour in colours.values()):
            raise ValueError("a colour is no triple of numbers up to 255")
        return colours
    except (OSError, ValueError) as error:
        raise DataError(f"{path} gives no colours of labels: {error}; export from CVAT again, with labelmap.txt") from None


def draw_colours(path: Path, key: None, size: tuple[int, int], cracks: frozenset[str]) -> np.ndarray:
    """The crack pixels of a colour mask; none if the path is that of a list."""
    if path.suffix.lower() != ".png":
        return np.zeros(size, bool)
    colours = read_colours(next(folder for folder in path.parents if folder.name == CLASSES).parent / "labelmap.txt")
    pixels = decode(path, "RGB").astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    codes = {name: int.from_bytes(colour) for name, colour in colours.items()}
    if not (is_known := np.isin(pixels, [0, *codes.values()])).all():
        raise DataError(f"{path} has the colour {pixels[~is_known][0]:06x}, which labelmap.txt lacks; {EXPORT_AGAIN}")
    return np.isin(pixels, [codes[name] for name in cracks])


@cached
def read_shapes(path: Path) -> tuple[list[ET.Element], list[str]]:
    """The images and the names of the labels in an XML file. Raise DataError if this is no such file."""
    try:
        content = ET.parse(path).getroot()
    except (ET.ParseError, LookupError) as error:
        raise DataError(f"{path} is no XML file: {error}; {EXPORT_AGAIN}") from None
    images, names = content.findall("image"), [each.text or "" for each in content.findall("meta//labels/label/name")]
    if content.find("track") is not None or not images:
        raise DataError(f'{path} holds no images; choose the export "CVAT for images 1.1"')
    with damage_named(f"{path} is no complete file of CVAT"):
        for image in images:
            _ = image.attrib["name"], int(image.attrib["width"]), int(image.attrib["height"]), [each.attrib["label"] for each in image]
    return images, names


def _find_shapes(root: Path, xmls: Iterable[Path], mask_crack: str) -> Found:
    """The photos of XML files. A photo without shapes is crack-free, because CVAT lists all photos of a task."""
    photos, labels, items, unused = Photos(root), Labels(), [], []
    for path in xmls:
        images, names = read_shapes(path)
        labels.counts.update({name: 0 for name in names})
        for key, image in enumerate(images):
            split = split_of(path.relative_to(root), image.attrib.get("subset", ""))
            photo = photos.find(image.attrib["name"], path.parent / "images", split)
            if not photo:
                unused.append(photo_missing(path, image.attrib["name"]))
                continue
            for shape in image:
                if shape.tag != "tag":
                    labels.counts[shape.attrib["label"]] += 1
                    labels.lines[shape.attrib["label"]] += shape.tag == "polyline"
            items.append(Item(split, photo, path, key, (int(image.attrib["height"]), int(image.attrib["width"]))))
    return find_labelled(root, items, draw_shapes, labels, mask_crack, unused)


def draw_shapes(path: Path, key: int, size: tuple[int, int], cracks: frozenset[str]) -> np.ndarray:
    """The crack pixels of a photo."""
    image = read_shapes(path)[0][key]
    shapes = [(i, each) for i, each in enumerate(image, start=1) if each.attrib["label"] in cracks and each.tag != "tag"]
    named = [(f"shape {i} of {image.attrib['name']}, {each.tag}", (each.tag, each.attrib)) for i, each in shapes]
    return drawn_together(size, named, _add)


def _add(mask: np.ndarray, kind: str, values: dict[str, str]) -> None:
    def numbers(*names: str) -> list[float]:
        return [float(values[name]) for name in names]

    if kind == "mask":
        left, top, width, height = (int(values[name]) for name in ("left", "top", "width", "height"))
        paste(mask, runs([int(count) for count in values["rle"].split(",")], (height, width), order="C"), left, top)
    elif kind in ("polygon", "polyline"):
        points = [[float(value) for value in point.split(",")] for point in values["points"].split(";")]
        fill_polygon(mask, points) if kind == "polygon" else draw_line(mask, points)
    elif kind == "ellipse":
        fill_ellipse(mask, numbers("cx", "cy"), numbers("rx", "ry"), float(values.get("rotation", 0)))
    elif kind == "box":
        (x0, y0), (x1, y1), turn = numbers("xtl", "ytl"), numbers("xbr", "ybr"), np.deg2rad(float(values.get("rotation", 0)))
        rotated = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])  # clockwise around the middle
        middle = np.array([x0 + x1, y0 + y1]) / 2
        fill_polygon(mask, (np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) - middle) @ rotated + middle)
    else:
        raise ValueError(f"a shape of type {kind} has no area; draw a mask, polygon, polyline, ellipse or box instead")


LAYOUT = Layout(title="your own photos", find=find, has_labels=True, is_own=True, link="https://www.cvat.ai")
