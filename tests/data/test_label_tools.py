"""Exports of LabelMe, CVAT, Label Studio and Supervisely, read without a converter."""

import shutil

import numpy as np
import pytest
from conftest import write_pair
from made_labels import (
    BAR,
    SIZE,
    TRIANGLE,
    TWO_BLOCKS,
    bitmap,
    block,
    brush,
    check,
    find,
    inside,
    labelme_shape,
    lengths,
    masks,
    png,
    refused,
    region,
    task,
    text_of,
    write_cvat_masks,
    write_cvat_xml,
    write_json,
    write_labelme,
    write_photos,
    write_supervisely,
)

from crack_utils.data import find_splits
from crack_utils.errors import DataError


def test_labelmes_shapes_are_drawn(tmp_path):
    part, rhomb = block(2, 3, 5, 6, (10, 12)), [(20, 10.2), (30, 20.2), (20, 30.2), (10, 20.2)]
    shapes = [
        ("polygon", TRIANGLE, {}, inside(TRIANGLE)),
        (None, TRIANGLE, {}, inside(TRIANGLE)),
        ("oriented_rectangle", rhomb, {}, inside(rhomb)),
        ("rectangle", [(30, 40), (10, 20)], {}, block(20, 10, 20, 20)),
        ("mask", [(50, 30), (61, 39)], {"mask": text_of(png(part))}, block(32, 53, 5, 6)),
        ("line", [(20, 20), (60, 20)], {}, None),
        ("linestrip", [(20, 20), (40, 20), (60, 20)], {}, None),
        ("circle", [(64, 32), (64, 42)], {}, None),
    ]
    for i, (kind, points, values, _) in enumerate(shapes):
        write_photos(tmp_path, f"p{i}.jpg")
        write_labelme(tmp_path / f"p{i}.json", [labelme_shape(kind, points, **values), labelme_shape("polygon", BAR, "shadow")])
    write_photos(tmp_path, "clean.jpg")
    write_labelme(tmp_path / "clean.json", [])
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    strip = np.hypot(columns - columns.clip(20, 60), rows - 20) <= 5
    disc = np.hypot(columns - 64, rows - 32) <= 10
    expected = {f"p{i}.jpg": mask for i, (*_, mask) in enumerate(shapes)} | {"p5.jpg": strip, "p6.jpg": strip, "p7.jpg": disc}
    found = find(tmp_path, "labelme")
    check(found, expected | {"clean.jpg": None})
    assert found.notes[-1] == "Lines have no width in the label tool. They were drawn 10 pixels wide: 2."


def test_labelmes_photos_are_found_and_what_does_not_fit_is_listed(tmp_path):
    write_photos(tmp_path / "photos", "a.jpg", "alone.jpg", "b.jpg", "old.jpg", "point.jpg", "new.jpg")
    triangle = [labelme_shape("polygon", TRIANGLE)]
    write_labelme(tmp_path / "json/a.json", triangle, "..\\photos\\a.jpg")
    write_labelme(tmp_path / "photos/new.json", triangle, "IMG_1.jpg")  # both files were renamed
    write_labelme(tmp_path / "photos/old.json", triangle, size=(32, 64))
    write_labelme(tmp_path / "photos/point.json", [labelme_shape("point", [(3, 3)])])
    write_labelme(tmp_path / "photos/gone.json", triangle)
    (tmp_path / "photos/b.json").write_text('{"shapes": [')
    write_json(tmp_path / "photos/half.json", {"imagePath": "a.jpg", "shapes": [{"points": []}]})
    found = find(tmp_path, "labelme")
    check(found, {"a.jpg": inside(TRIANGLE), "new.jpg": inside(TRIANGLE)})
    reasons = refused(found)
    assert reasons.pop("b.json").startswith("annotation or photo that cannot be read, is no JSON file: Expecting value")
    assert reasons.pop("point.jpg").endswith("shape 1, crack: a shape of type point has no area; draw a polygon, line strip, "
                                             "rectangle, circle or mask instead")  # fmt: skip
    assert reasons == {
        "alone.jpg": "photo without annotation",
        "gone.json": "annotations of a photo that is missing, gone.jpg",
        "half.json": "annotation or photo that cannot be read, is no complete LabelMe file: 'label' is missing",
        "old.jpg": "photo of another size than its annotations, 64 x 32 in old.json, but the photo is 128 x 64",
    }


def test_cvats_colour_masks_are_read(tmp_path):
    write_photos(tmp_path / "JPEGImages", "a.jpg", "b c.jpg", "d.jpg", "e.jpg")
    cracks, patches = inside(TRIANGLE), inside(BAR)
    mask = np.zeros((*SIZE, 3), np.uint8)
    mask[cracks], mask[patches] = (250, 50, 83), (51, 221, 255)
    blue = np.full((*SIZE, 3), (0, 0, 255), np.uint8)
    write_cvat_masks(tmp_path, {"a": mask, "b c": mask, "e": blue}, {"train": ["a", "d", "e"], "val": ['"b c"']})
    shutil.copytree(tmp_path / "SegmentationClass", tmp_path / "SegmentationObject")
    found = find(tmp_path, "cvat")
    check(found, {"a.jpg": cracks, "d.jpg": None}, "train")
    check(found, {"b c.jpg": cracks}, "val")
    assert list(refused(found)) == ["e.jpg"] and "has the colour 0000ff, which labelmap.txt lacks" in refused(found)["e.jpg"]
    for mask_crack in ("33ddff", "2"):
        np.testing.assert_array_equal(masks(find(tmp_path, "cvat", mask_crack), "val")["b c.jpg"], patches)
    (tmp_path / "labelmap.txt").write_text("crack:250,50::\n")
    with pytest.raises(DataError, match=r"labelmap\.txt gives no colours of labels: a colour is no triple"):
        find(tmp_path, "cvat")


def test_cvats_xml_is_read(tmp_path):
    write_photos(tmp_path / "images", "a.jpg", "b.jpg", "c.jpg")
    part = inside(TRIANGLE)[:30, :50]
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in TRIANGLE)
    runs = ", ".join(map(str, lengths(part.ravel())))
    shapes = f"""
      <polygon label="crack" source="manual" occluded="0" points="{points}" z_order="0"><attribute name="a">1</attribute></polygon>
      <mask label="crack" rle="{runs}" left="70" top="20" width="50" height="30" z_order="0"></mask>
      <box label="crack" xtl="2.00" ytl="50.00" xbr="12.00" ybr="54.00" rotation="90.00"></box>
      <ellipse label="patch" cx="5" cy="5" rx="3" ry="4"></ellipse><tag label="crack"></tag>"""
    line = '<polyline label="crack" points="20.00,20.00;60.00,20.00"></polyline>'
    write_cvat_xml(tmp_path / "annotations.xml", {"a.jpg": shapes, "b.jpg": line, "c.jpg": ""})
    moved = np.zeros(SIZE, bool)
    moved[20:50, 70:120] = part
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    strip = np.hypot(columns - columns.clip(20, 60), rows - 20) <= 5
    found = find(tmp_path, "cvat")
    check(found, {"a.jpg": inside(TRIANGLE) | moved | block(47, 5, 10, 4), "b.jpg": strip, "c.jpg": None})
    assert "They were drawn 10 pixels wide: 1." in found.notes[-1]
    for text, message in (("<a>", "is no XML file"), ("<annotations><track/></annotations>", "choose the export"), ("<a/>", "no images")):
        (tmp_path / "annotations.xml").write_text(text)
        with pytest.raises(DataError, match=message):
            find(tmp_path, "cvat")


def test_label_studios_brush_and_polygons_are_read(tmp_path):
    write_photos(tmp_path, "a.jpg", "b 1.jpg", "c.jpg", "d.jpg", "e.jpg")
    percent = [(100 * x / SIZE[1], 100 * y / SIZE[0]) for x, y in TRIANGLE]
    polygon, cracks = region("polygon", {"points": percent}), region("brush", {"format": "rle", "rle": brush(TWO_BLOCKS)})
    other = region("brush", {"format": "rle", "rle": brush(~TWO_BLOCKS)}, "Sealed")
    choice = {"type": "choices", "value": {"choices": ["dry"]}}
    tasks = [
        task(1, "/data/upload/7/1f2e3d4c-a.jpg", [polygon, cracks, other, choice]),
        task(2, "/data/local-files/?d=road%2Fb%201.jpg", [other], [cracks]),
        task(3, "s3://bucket/c.jpg", []),
        task(4, "https://host/d.jpg"),
        task(5, "e.jpg", [cracks | {"image_rotation": 90}]),
        task(6, "gone.jpg", [cracks]),
    ]
    write_json(tmp_path / "project-1.json", tasks)
    (tmp_path / "task-1-annotation-1-by-1-tag-Crack-0.png").write_bytes(png(TWO_BLOCKS))
    found = find(tmp_path, "labelstudio")
    check(found, {"a.jpg": inside(TRIANGLE) | TWO_BLOCKS, "b 1.jpg": TWO_BLOCKS, "c.jpg": None})
    assert found.notes[-1] == "Photos with several annotations: 1. The ground truth counts, or else the latest annotation."
    assert refused(found)["d.jpg"] == "photo without annotation" and "was rotated in Label Studio" in refused(found)["e.jpg"]
    assert refused(found)["project-1.json"] == "annotations of a photo that is missing, gone.jpg"
    write_json(tmp_path / "project-1.json", [{"id": 1, "image": "a.jpg", "tag": []}])  # JSON-MIN
    with pytest.raises(DataError, match=r"project-1\.json is no complete export of Label Studio: 'data' is missing; choose the export"):
        find(tmp_path, "labelstudio")


def test_a_brush_mask_that_is_cut_off_is_refused(tmp_path):
    write_photos(tmp_path, "a.jpg", "b.jpg")
    codes = brush(TWO_BLOCKS)
    tasks = [task(i, f"{name}.jpg", [region("brush", {"rle": rle})]) for i, (name, rle) in enumerate({"a": codes[:-9], "b": codes}.items())]
    write_json(tmp_path / "x.json", tasks)
    assert "region r1: " in refused(find(tmp_path, "labelstudio"))["a.jpg"]


def test_superviselys_bitmaps_and_polygons_are_read(tmp_path):
    write_photos(tmp_path / "ds/img", "a.jpg", "b.jpg", "c.png", "alone.jpg")
    points = {"exterior": [[10, 10], [30, 10], [30, 30], [10, 30]], "interior": [[[15, 15], [20, 15], [20, 20], [15, 20]]]}
    polygon = {"classTitle": "crack", "geometryType": "polygon", "points": points}
    other = {"classTitle": "patch", "geometryType": "rectangle", "points": {"exterior": [[1, 1], [9, 9]], "interior": []}}
    objects = {"ds/img/a.jpg": [bitmap(inside(TRIANGLE)[:40, :50], 60, 20)], "ds/img/b.jpg": [polygon, other], "ds/img/c.png": []}
    write_supervisely(tmp_path, objects)
    moved = np.zeros(SIZE, bool)
    moved[20:60, 60:110] = inside(TRIANGLE)[:40, :50]
    found = find(tmp_path, "supervisely")  # pixels of the outline belong to the object, and those of a hole's outline do not
    check(found, {"a.jpg": moved, "b.jpg": block(10, 10, 21, 21) & ~block(15, 15, 6, 6), "c.png": None})
    assert refused(found) == {"alone.jpg": "photo without annotation"}
    write_json(tmp_path / "ds/ann/c.png.json", {"objects": []})
    assert (
        refused(find(tmp_path, "supervisely"))["c.png.json"]
        == "annotation or photo that cannot be read, is no complete Supervisely file: 'size' is missing"
    )


def test_numbered_photos_of_a_label_tool_are_photos_and_a_linked_folder_is_followed(tmp_path):
    names = [f"road_{i}_{j}" for i in range(1, 4) for j in range(1, 5)]
    for i, name in enumerate(names):
        write_pair(tmp_path / f"elsewhere/{name}.png", seed=i)
        write_labelme(tmp_path / f"elsewhere/{name}.json", [labelme_shape("polygon", TRIANGLE)], f"{name}.png")
    (tmp_path / "own").mkdir()
    (tmp_path / "own/export").symlink_to(tmp_path / "elsewhere")
    found = find_splits(tmp_path / "own", "labelme")
    assert {split: len(pairs) for split, pairs in found.pairs.items()} == {"train": 9, "val": 1, "test": 2}


def test_a_photo_that_two_files_annotate_is_refused(tmp_path):
    write_photos(tmp_path, "a.jpg", "b.jpg")
    for name in ("a", "b"):
        write_labelme(tmp_path / f"{name}.json", [labelme_shape("polygon", TRIANGLE)], "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg: photo that is annotated twice; keep one of its annotations"):
        find(tmp_path, "labelme")
    write_photos(tmp_path, "c.jpg")
    write_labelme(tmp_path / "c.json", [labelme_shape("polygon", TRIANGLE)])
    found = find(tmp_path, "labelme")
    check(found, {"c.jpg": inside(TRIANGLE)})
    assert refused(found)["a.jpg"] == "photo that is annotated twice"


def test_a_label_that_says_no_crack_is_background(tmp_path):
    write_photos(tmp_path, "a.jpg")
    write_labelme(tmp_path / "a.json", [labelme_shape("polygon", TRIANGLE, "Crack"), labelme_shape("polygon", BAR, "non-crack")])
    check(find(tmp_path, "labelme"), {"a.jpg": inside(TRIANGLE)})


def test_labels_that_cover_more_than_half_stop_the_run_unless_told_otherwise(tmp_path):
    write_photos(tmp_path, "a.jpg", "b.jpg")
    road = [(0, 0), (SIZE[1], 0), (SIZE[1], SIZE[0]), (0, SIZE[0])]
    write_labelme(tmp_path / "a.json", [labelme_shape("polygon", road, "road")])
    write_labelme(tmp_path / "b.json", [labelme_shape("polygon", [(0, 0), (SIZE[1], 0), (0, SIZE[0])], "road")])
    with pytest.raises(DataError, match=r"75 % of the annotated photos would be crack\. Labels that are crack: road \(2 shapes\)"):
        find(tmp_path, "labelme")
    assert masks(find(tmp_path, "labelme", "1"))["a.jpg"].all()


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("coco", "holds no COCO file; expected annotations/instances_train.json"),
        ("labelme", "holds no JSON file; expected photos such as x.jpg"),
        ("cvat", "holds neither SegmentationClass/ nor annotations.xml"),
        ("labelstudio", "holds no export of Label Studio"),
        ("supervisely", "holds no folder ann/"),
    ],
)
def test_a_folder_without_the_tools_files_is_named(tmp_path, dataset, message):
    write_photos(tmp_path, "a.jpg")
    with pytest.raises(DataError, match=message):
        find(tmp_path, dataset)


def test_a_folder_in_which_no_photo_can_be_used_says_why(tmp_path):
    write_photos(tmp_path, "a.jpg")
    write_labelme(tmp_path / "a.json", [labelme_shape("polygon", [[1, 2, 3]])])
    message = r"holds no photo that can be used\. .*a\.jpg: .*shape 1, crack: points must be pairs of finite numbers\); export"
    with pytest.raises(DataError, match=message):
        find(tmp_path, "labelme")


def test_an_export_in_a_folder_further_down_is_not_taken_for_another(tmp_path):
    write_cvat_masks(tmp_path / "task_1", {"a": np.zeros((*SIZE, 3), np.uint8)}, {"default": ["a"]})
    with pytest.raises(DataError, match=r"holds neither SegmentationClass/ nor annotations\.xml"):
        find(tmp_path, "cvat")
    (tmp_path / "task_1/SegmentationClass/notes.txt").write_text("words")
    write_photos(tmp_path / "task_1/images", "a.jpg")
    check(find(tmp_path / "task_1", "cvat"), {"a.jpg": None})
