"""Exports of label tools, written on the spot to the tools' published formats."""

import base64
import io
import itertools
import json
import pickle
import zlib

import numpy as np
from conftest import read_crop, write_pair
from matplotlib.path import Path as Outline
from PIL import Image

from crack_utils.data import layout_of
from crack_utils.data.layouts.labels import files_below

SIZE = (64, 128)
TRIANGLE = [(10.3, 5.2), (60.8, 20.6), (30.1, 50.9)]
BAR = [(70, 10), (120, 12.5), (120, 16), (70, 13)]


def inside(points, size=SIZE):
    """The pixels whose centres lie inside an outline, by matplotlib, which tests each centre on its own."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    outline = Outline([*points, points[0]], closed=True)
    return outline.contains_points(np.stack([columns.ravel(), rows.ravel()], axis=1)).reshape(size)


def block(top, left, height, width, size=SIZE):
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    return mask


TWO_BLOCKS = block(20, 40, 10, 50) | block(35, 3, 2, 6)
TWO_BLOCKS_TEXT = "S72n1000000000am18WRN" + "0" * 97 + "\\[2"  # as pycocotools 2.0.11 compresses these blocks


def flat(points):
    return [value for point in points for value in point]


def lengths(values):
    """The lengths of runs, which begin with zeros."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(values, int)]))).tolist()
    return np.diff([0, *changes, len(values)]).tolist()


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_photos(folder, *names):
    for i, name in enumerate(names):
        write_pair(folder / name, None, SIZE, seed=i)


def png(mask, **options):
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG", **options)
    return file.getvalue()


def text_of(data):
    return base64.b64encode(data).decode()


def annotation(image, segmentation, category=1, **values):
    return {"image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0, "id": 100 + image, **values}


def write_coco(path, names, annotations, categories=("crack",), size=SIZE):
    """A COCO file. Images and categories are numbered from 1."""
    images = [{"id": i, "file_name": name, "height": size[0], "width": size[1]} for i, name in enumerate(names, start=1)]
    known = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(categories, start=1)]
    write_json(path, {"images": images, "annotations": list(annotations), "categories": known})


def labelme_shape(kind, points, label="crack", **values):
    return {"label": label, "shape_type": kind, "points": [list(point) for point in points], "group_id": None, "flags": {}, **values}


def write_labelme(path, shapes, image_path=None, size=SIZE):
    name = image_path or f"{path.stem}.jpg"
    values = {"imagePath": name, "imageData": "not read", "imageHeight": size[0], "imageWidth": size[1]}
    write_json(path, {"version": "5.8.1", "flags": {}, "shapes": shapes, **values})


def brush(mask):
    """Label Studio's runs of a mask: RGBA values; runs of up to 8 and of up to 65536 equal values, and runs of single values."""
    values, bits = (
        np.repeat(mask.astype(int) * 255, 4).ravel(),
        f"{mask.size * 4:032b}{7:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16)),
    )
    starts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    for start, end in itertools.pairwise(starts):
        while start < end:
            count = min(end - start, 1 << 16)
            if count <= 4:  # four values one by one
                bits += f"000{count - 1:03b}" + f"{values[start]:08b}" * count
            else:
                bits += (f"100{count - 1:03b}" if count <= 8 else f"111{count - 1:016b}") + f"{values[start]:08b}"
            start += count
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def region(kind, value, label="Crack", size=SIZE):
    kind = f"{kind}labels"
    value = {**value, kind: [label]}
    return {"id": "r1", "type": kind, "original_height": size[0], "original_width": size[1], "image_rotation": 0, "value": value}


def task(number, image, *annotations):
    """A task of Label Studio. Each annotation is a list of regions."""
    done = [{"id": i, "was_cancelled": False, "created_at": f"2024-01-0{i + 1}", "result": result} for i, result in enumerate(annotations)]
    return {"id": number, "data": {"image": image, "note": "wet"}, "annotations": done, "predictions": []}


def bitmap(part, left, top, title="crack"):
    """A bitmap object of Supervisely: a palette PNG with a transparent background, as its SDK writes it."""
    image = Image.fromarray(part.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    file = io.BytesIO()
    image.save(file, "PNG", transparency=0)
    value = {"origin": [left, top], "data": text_of(zlib.compress(file.getvalue()))}
    return {"classTitle": title, "geometryType": "bitmap", "bitmap": value}


def write_supervisely(root, objects, size=SIZE):
    """Objects by the photo's path, such as ds/img/a.jpg."""
    write_json(root / "meta.json", {"classes": [{"title": "crack", "shape": "any"}, {"title": "patch", "shape": "any"}], "tags": []})
    for name, those in objects.items():
        dataset, _, photo = name.split("/")
        content = {"description": "", "tags": [], "size": {"height": size[0], "width": size[1]}, "objects": those}
        write_json(root / dataset / f"ann/{photo}.json", content)


def write_cvat_masks(root, masks, lists, labelmap="background:0,0,0::\ncrack:250,50,83::\npatch:51,221,255::\n"):
    """Colour masks by name, and lists of names by the list's name."""
    (root / "SegmentationClass").mkdir(parents=True)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + labelmap)
    for name, mask in masks.items():
        Image.fromarray(mask).save(root / f"SegmentationClass/{name}.png")
    for name, names in lists.items():
        (root / f"ImageSets/Segmentation/{name}.txt").write_text("\n".join(names) + "\n")


def write_cvat_xml(path, images, labels=("crack", "patch"), size=SIZE):
    """Elements of shapes by the photo's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = "".join(f"<label><name>{label}</name><color>#fa3253</color></label>" for label in labels)
    parts = "".join(
        f'<image id="{i}" name="{name}" width="{size[1]}" height="{size[0]}">{shapes}</image>'
        for i, (name, shapes) in enumerate(images.items())
    )
    head = f"<version>1.1</version><meta><task><id>1</id><labels>{known}</labels></task></meta>"
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{head}{parts}</annotations>')


def find(root, dataset, mask_crack="auto"):
    """What the layout finds. Each file is used or listed, once."""
    found = layout_of(dataset).find(root, mask_crack)
    unused = [each.path for each in found.unused]
    used = {path for pairs in found.pairs.values() for pair in pairs for path in (pair.image_path, pair.mask_path)}
    assert used | set(unused) == set(files_below(root))
    return found


def masks(found, split="all"):
    """The masks by the photo's name, read from copies as worker processes get them."""
    pairs = pickle.loads(pickle.dumps(found.pairs[split]))
    return {pair.image_path.name: read_crop(pair, 3).mask for pair in pairs}


def refused(found):
    """Files that stop a run, with the reason and what was seen."""
    return {each.path.name: f"{each.reason}, {each.detail}" if each.detail else each.reason for each in found.unused if each.fix}


def check(found, expected, split="all"):
    read = masks(found, split)
    assert set(read) == set(expected)
    for name, mask in expected.items():
        np.testing.assert_array_equal(read[name], np.zeros(SIZE, bool) if mask is None else mask, err_msg=name)
