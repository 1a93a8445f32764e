"""COCO files, and which labels are crack."""

import numpy as np
import pytest
from conftest import small_params, write_pair
from made_labels import (
    BAR,
    SIZE,
    TRIANGLE,
    TWO_BLOCKS,
    TWO_BLOCKS_TEXT,
    annotation,
    block,
    check,
    find,
    flat,
    inside,
    lengths,
    masks,
    refused,
    write_coco,
    write_json,
    write_photos,
)

from crack_utils.data import find_data, layout_of
from crack_utils.errors import DataError


def test_coco_unites_polygons_and_both_kinds_of_runs_of_a_photo(tmp_path):
    write_photos(tmp_path / "images", *(f"{name}.jpg" for name in "abcd"))
    crowd = block(40, 5, 6, 30)
    parts = [
        annotation(1, [flat(TRIANGLE), flat(BAR)]),
        annotation(1, {"counts": lengths(crowd.ravel(order="F")), "size": list(SIZE)}, iscrowd=1),
        annotation(2, {"counts": TWO_BLOCKS_TEXT, "size": list(SIZE)}),
        annotation(2, [flat(TRIANGLE)], category=2),
    ]
    write_coco(tmp_path / "annotations/instances_default.json", ["a.jpg", "b.jpg", "c.jpg"], parts, ("Crack-wide", "patch"))
    found = find(tmp_path, "coco")
    check(found, {"a.jpg": inside(TRIANGLE) | inside(BAR) | crowd, "b.jpg": TWO_BLOCKS, "c.jpg": None})
    assert refused(found) == {"d.jpg": "photo without annotation"}
    assert found.notes == ("Labels that are crack: Crack-wide (3 shapes).", "Labels that are background: patch (1 shape).")


def test_roboflows_folders_are_splits_and_its_copies_of_a_photo_stay_together(tmp_path):
    for folder, names in (("train", ["wall_jpg.rf.1f.jpg", "wall_jpg.rf.2e.jpg"]), ("valid", ["b_png.rf.3.jpg"]), ("test", ["c.jpg"])):
        write_photos(tmp_path / folder, *names)
        path = tmp_path / folder / "_annotations.coco.json"
        write_coco(path, names, [annotation(1, [flat(TRIANGLE)], category=2)], ("rissbilder", "0"))
        content = path.read_text().replace('"name": "0", "supercategory": ""', '"name": "0", "supercategory": "rissbilder"')
        path.write_text(content)
    (tmp_path / "README.roboflow.txt").write_text("words")
    found = find(tmp_path, "coco")  # the label named like the group is none
    assert {split: len(pairs) for split, pairs in found.pairs.items()} == {"train": 2, "val": 1, "test": 1}
    assert {pair.photo for pair in found.pairs["train"]} == {"wall"}
    assert {pair.photo for pair in found.pairs["val"]} == {"b"}
    check(found, {"c.jpg": inside(TRIANGLE)}, "test")


def test_cocos_own_folders_are_splits(tmp_path):
    for split in ("train", "val"):
        write_photos(tmp_path / f"{split}2017", "1.jpg")  # one name in both folders
        write_coco(tmp_path / f"annotations/instances_{split}2017.json", ["1.jpg"], [annotation(1, [flat(TRIANGLE)])])
        write_json(tmp_path / f"annotations/captions_{split}2017.json", {"images": [], "annotations": []})
    found = find(tmp_path, "coco")
    assert {split: pairs[0].image_path.parent.name for split, pairs in found.pairs.items()} == {"train": "train2017", "val": "val2017"}
    assert refused(found) == {}


def test_photos_and_annotations_that_do_not_fit_are_listed(tmp_path):
    write_photos(tmp_path / "images", "a.jpg", "box.jpg", "cut.jpg")
    write_pair(tmp_path / "images/turned.jpg", None, SIZE[::-1])
    runs = {"counts": TWO_BLOCKS_TEXT[:-2], "size": list(SIZE)}
    parts = [annotation(1, [flat(TRIANGLE)]), annotation(2, []), annotation(3, runs)]
    write_coco(tmp_path / "x.json", ["a.jpg", "box.jpg", "cut.jpg", "turned.jpg", "gone.jpg"], parts)
    found = find(tmp_path, "coco")
    check(found, {"a.jpg": inside(TRIANGLE)})
    reasons = refused(found)
    assert reasons["turned.jpg"] == "photo of another size than its annotations, 128 x 64 in x.json, but the photo is 64 x 128"
    assert reasons["x.json"] == "annotations of a photo that is missing, gone.jpg"
    assert reasons["box.jpg"].endswith(
        "(photo 2) has an annotation that cannot be read: annotation 102: a box without an outline is no mask"
    )
    assert "(photo 3) has an annotation that cannot be read: annotation 103: the runs have" in reasons["cut.jpg"]


def test_the_labels_of_cracks_follow_one_rule(tmp_path):
    write_photos(tmp_path, "a.jpg")

    def found(labels, mask_crack="auto"):
        parts = [annotation(1, [flat(shape)], category) for category, shape in enumerate((TRIANGLE, BAR)[: len(labels)], start=1)]
        write_coco(tmp_path / "x.json", ["a.jpg"], parts, labels)
        return masks(layout_of("coco").find(tmp_path, mask_crack))["a.jpg"]

    np.testing.assert_array_equal(found(["hole", "Fine CRACKS"]), inside(BAR))
    np.testing.assert_array_equal(found(["crack", "craquele crack"]), inside(TRIANGLE) | inside(BAR))
    np.testing.assert_array_equal(found(["line"]), inside(TRIANGLE))  # the only one
    np.testing.assert_array_equal(found(["crack", "joint"], "2"), inside(BAR))
    np.testing.assert_array_equal(found(["line", "joint"], "1 2"), inside(TRIANGLE) | inside(BAR))
    known = r"The labels are: 2 joint \(1 shape\), 1 line \(1 shape\)\. Set mask_crack to the numbers"
    with pytest.raises(DataError, match=rf"none of several labels has crack in its name\. {known}"):
        found(["line", "joint"])
    with pytest.raises(DataError, match=rf"no label, or more than one, has a number of mask_crack 2 7\. {known}"):
        found(["line", "joint"], "2 7")
    with pytest.raises(DataError, match=rf"mask_crack ff0000 names colours or brightness, but these masks have labels\. {known}"):
        found(["line", "joint"], "ff0000")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "x.json is no JSON file: Expecting"),
        ('{"images": []}', "x.json is no complete COCO file: 'categories' is missing"),
        ('{"images": [{"id": 1}], "categories": [], "annotations": []}', "describes photo 1 incompletely: 'file_name' is missing"),
        ('{"images": [], "categories": [], "annotations": [{"image_id": 7}]}', "is no complete COCO file: 7 is missing"),
        ('{"images": [{"id": 1}], "categories": [], "annotations": [{"image_id": 1, "category_id": 3}]}', "category_id 3, which"),
    ],
)
def test_a_damaged_coco_file_is_named(tmp_path, content, message):
    write_photos(tmp_path, "a.jpg")
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(DataError, match=message):
        find(tmp_path, "coco")


def test_a_file_outside_the_splits_and_two_photos_of_one_name_are_refused(tmp_path):
    write_photos(tmp_path / "train", "a.jpg")
    write_photos(tmp_path / "more", "b.jpg")
    for folder, name in (("train", "a"), ("more", "b")):
        write_coco(tmp_path / folder / "x.json", [f"{name}.jpg"], [annotation(1, [flat(TRIANGLE)])])
    with pytest.raises(DataError, match=r"more.x\.json belongs to no split, but other files do"):
        find(tmp_path, "coco")
    write_photos(tmp_path / "one", "c.jpg")
    write_photos(tmp_path / "two", "c.jpg")
    write_coco(tmp_path / "more/x.json", ["c.jpg"], [])
    with pytest.raises(DataError, match=r"name a photo c\.jpg; both .*one.c\.jpg and .*two.c\.jpg fit"):
        find(tmp_path, "coco")


def test_a_run_takes_its_data_and_the_labels_of_cracks_from_an_export(tmp_path):
    names = [f"IMG_{i}.jpg" for i in range(10)]
    write_photos(tmp_path / "images", *names)
    parts = [annotation(i, [flat(shape)], category) for i in range(1, 9) for category, shape in ((1, TRIANGLE), (2, BAR))]
    write_coco(tmp_path / "x.json", names, parts, ("line", "joint"))
    data = find_data(small_params(tmp_path, dataset="coco", mask_crack="2", evaluate_negatives=True), tmp_path)
    crops = [crop for split in ("train", "val", "test") for crop in data.split(split).crops]
    assert sorted(crop.mask.sum() for crop in crops) == [0, 0, *[inside(BAR).sum()] * 8]
    assert data.notes[:2] == ("Labels that are crack: joint (8 shapes).", "Labels that are background: line (8 shapes).")
