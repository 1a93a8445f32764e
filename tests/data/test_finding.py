"""Folders and names as people have them: each pair is found, and each other file is named with a reason."""

import itertools
import os
import shutil
import unicodedata

import numpy as np
import pytest
from conftest import write_dataset, write_pair
from made_data import write_crackforest, write_deepcrack, write_folder
from PIL import Image

from crack_utils.data import SPLITS, find_splits
from crack_utils.data.layouts.files import readable_suffixes, walk
from crack_utils.data.layouts.folders import find_negatives
from crack_utils.errors import DataError


def write_numbered(root, image, mask=None, numbers=range(6)):
    """Pairs road0a, road1a, ..."""
    for i in numbers:
        write_pair(root / image.format(f"road{i}a"), root / mask.format(f"road{i}a") if mask else None, seed=i)


def paired(found):
    """The names of each image and its mask."""
    return {pair.image_path.name: pair.mask_path.name for pairs in found.pairs.values() for pair in pairs}


def reasons(found):
    """The names of the files of each reason that has a fix."""
    keyed = sorted((each.reason, each.path.name) for each in found.unused if each.fix)
    return {reason: [name for _, name in those] for reason, those in itertools.groupby(keyed, key=lambda item: item[0])}


def check_nothing_vanished(root, found):
    negatives = [pair for split in SPLITS for pair in find_negatives(root / "negatives", split)]
    pairs = [pair for pairs in found.pairs.values() for pair in pairs] + negatives
    used = {path for pair in pairs for path in (pair.image_path, pair.mask_path) if path}
    unused = [each.path for each in found.unused]
    lists = {path for path in walk(root) if path.suffix == ".txt"} - set(unused)
    assert len(unused) == len(set(unused)) and not used & set(unused)
    assert used | set(unused) | lists == set(walk(root))
    assert all(each.reason for each in found.unused)


ONE_SET = {
    "images and masks": ("images/{}.jpg", "masks/{}.png"),
    "capitals": ("Images/{}.jpg", "Masks/{}.png"),
    "one level down": ("dataset/images/{}.jpg", "dataset/masks/{}.png"),
    "two levels down": ("export/my data/images/{}.jpg", "export/my data/masks/{}.png"),
    "nested": ("images/images/{}.jpg", "masks/masks/{}.png"),
    "Pascal VOC": ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"),
    "img and gt": ("img/{}.jpg", "gt/{}.png"),
    "input and ground truth": ("input/{}.jpg", "Ground_Truth/{}.bmp"),
    "photos and annotations": ("photos/{}.tif", "annotations/{}.png"),
    "by site": ("images/site B/{}.jpg", "masks/site B/{}.png"),
    "masks of one site in one folder": ("images/site B/{}.jpg", "masks/{}.png"),
    "_label": ("images/{}.jpg", "masks/{}_label.png"),
    "_GT": ("images/{}.jpg", "masks/{}_GT.png"),
    "-mask": ("images/{}.jpg", "masks/{}-mask.png"),
    "mask_": ("images/{}.jpg", "masks/mask_{}.png"),
    "x.jpg.png": ("images/{}.jpg", "masks/{}.jpg.png"),
    "x_image and x_mask": ("images/{}_image.jpg", "masks/{}_mask.png"),
    "image_x and mask_x": ("images/image_{}.jpg", "masks/mask_{}.png"),
    "side by side": ("{}.jpg", "{}.png"),
    "side by side in one format": ("{}.png", "{}_mask.png"),
    "side by side in a folder of images": ("images/{}.jpg", "images/{}_mask.png"),
    "photos beside a folder of masks": ("{}.jpg", "masks/{}.png"),
    "side by side one level down": ("dataset/{}.jpg", "dataset/{}.png"),
    "suffix in capitals": ("images/{}.JPG", "masks/{}.PNG"),
    "train alone": ("train/images/{}.jpg", "train/masks/{}.png"),
}


@pytest.mark.parametrize("layout", ONE_SET)
def test_a_set_without_splits_is_found(tmp_path, layout):
    image, mask = ONE_SET[layout]
    write_numbered(tmp_path, image, mask)
    found = find_splits(tmp_path, "folder")
    names = [(f"road{i}a") for i in range(6)]
    assert paired(found) == {image.format(name).split("/")[-1]: mask.format(name).split("/")[-1] for name in names}
    assert (found.drawn, found.unused) == (("val", "test"), ())


SPLIT_SETS = {
    "capitals": (("Train", "Val", "Test"), "{}/images/{}.jpg", "{}/masks/{}.png"),
    "all capitals": (("TRAIN", "VAL", "TEST"), "{}/IMAGES/{}.JPG", "{}/MASKS/{}.PNG"),
    "long": (("training", "validation", "testing"), "{}/image/{}.jpg", "{}/label/{}.png"),
    "mixed": (("train", "valid", "test"), "{}/imgs/{}.jpg", "{}/labels/{}.png"),
    "splits inside": (("train", "val", "test"), "images/{}/{}.jpg", "masks/{}/{}.png"),
    "splits inside photos alone": (("train", "val", "test"), "images/{}/{}.jpg", "masks/{}.png"),
    "joined names": (("train", "val", "test"), "{}_images/{}.jpg", "{}_masks/{}.png"),
    "wrapped": (("train", "val", "test"), "data/{}/images/{}.jpg", "data/{}/masks/{}.png"),
    "side by side": (("train", "val", "test"), "{}/{}.jpg", "{}/{}_mask.png"),
    "Roboflow": (("train", "valid", "test"), "{}/{}_jpg.rf.0a1b2c.jpg", "{}/{}_jpg.rf.0a1b2c_mask.png"),
}


@pytest.mark.parametrize("layout", SPLIT_SETS)
def test_folders_of_splits_are_found(tmp_path, layout):
    folders, image, mask = SPLIT_SETS[layout]
    numbers = {"train": range(4), "val": range(4, 6), "test": range(6, 9)}
    for split, folder in zip(SPLITS, folders, strict=True):
        for i in numbers[split]:
            name = f"road{i}a"
            write_pair(
                tmp_path / image.format(folder, name), tmp_path / mask.format(*([folder] if mask.count("{}") > 1 else []), name), seed=i
            )
        if layout == "Roboflow":
            (tmp_path / folder / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, crack\n")
    found = find_splits(tmp_path, "folder")
    assert found.drawn == () and reasons(found) == {}
    stems = {split: [image.format("", f"road{i}a").split("/")[-1].rsplit(".", 1)[0] for i in numbers[split]] for split in SPLITS}
    assert {split: [pair.stem for pair in found.pairs[split]] for split in SPLITS} == stems
    assert all(pair.mask_path.stem.startswith(pair.stem) for pairs in found.pairs.values() for pair in pairs)
    check_nothing_vanished(tmp_path, found)


def test_photos_of_many_formats_are_read(tmp_path):
    suffixes = [suffix for suffix in (".jpg", ".webp", ".jfif", ".jp2", ".bmp", ".tif", ".gif", ".ppm") if suffix in readable_suffixes()]
    write_numbered(tmp_path, "images/{}.png", "masks/{}.png", range(len(suffixes)))
    for i, suffix in enumerate(suffixes):
        path = tmp_path / f"images/road{i}a.png"
        Image.open(path).save(path.with_suffix(suffix), format="JPEG" if suffix == ".jfif" else None)
        path.unlink()
    found = find_splits(tmp_path, "folder")
    assert sorted(paired(found)) == sorted(f"road{i}a{suffix}" for i, suffix in enumerate(suffixes))
    assert found.unused == () and len(suffixes) > 4


def test_two_masks_of_a_photo_are_named_and_neither_is_read(tmp_path):
    for kind, other in (("jpg", "{}.jpg"), ("bmp", "{}.bmp"), ("mask", "{}_mask.png")):
        root = tmp_path / kind
        write_numbered(root, "images/{}.jpg", "masks/{}.png")
        Image.new("L", (128, 64), 255).save(root / "masks" / other.format("road2a"))
        found = find_splits(root, "folder")
        assert "road2a.jpg" not in paired(found) and len(paired(found)) == 5
        assert reasons(found) == {"several masks of one photo": sorted(["road2a.jpg", "road2a.png", other.format("road2a")])}
        check_nothing_vanished(root, found)


def test_two_masks_of_every_photo_are_an_error_that_shows_them(tmp_path):
    write_numbered(tmp_path, "images/{}.jpg", "masks/{}.png")
    write_numbered(tmp_path / "masks", "{}_mask.png")
    with pytest.raises(
        DataError, match=r"several masks of one photo \(18 files: road0a\.jpg, road0a\.png, road0a_mask\.png, \.\.\.\); keep one"
    ):
        find_splits(tmp_path, "folder")


def test_two_photos_of_one_name_are_named_and_neither_is_read(tmp_path):
    write_numbered(tmp_path, "images/{}.jpg", "masks/{}.png")
    write_pair(tmp_path / "images/road1a.png")
    found = find_splits(tmp_path, "folder")
    assert reasons(found) == {"photos of one name with one mask": ["road1a.jpg", "road1a.png", "road1a.png"]}
    check_nothing_vanished(tmp_path, found)


def test_a_photo_whose_name_ends_like_a_mask_is_a_photo_where_masks_have_their_photos_names(tmp_path):
    for image in ("wall.jpg", "wall_mask.jpg", "a.jpg", "b.jpg"):
        write_pair(tmp_path / "images" / image, tmp_path / "masks" / image.replace("jpg", "png"))
        write_pair(tmp_path / "flat" / image, tmp_path / "flat" / image.replace("jpg", "png"))
    shutil.move(tmp_path / "flat", tmp_path.parent / "flat")
    for root in (tmp_path, tmp_path.parent / "flat"):
        found = find_splits(root, "folder")
        assert len(paired(found)) == 4 and paired(found)["wall_mask.jpg"] == "wall_mask.png" and found.unused == ()


def test_names_in_two_unicode_forms_and_cases_are_one_name(tmp_path):
    for i in range(6):
        name = f"Straße Köln {i}a"
        photo, mask = unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name.upper() if i == 3 else name)
        mask = mask.replace("SS", "ß")
        write_pair(tmp_path / f"images/{photo}.JPG", tmp_path / f"masks/{mask}.png", seed=i)
    found = find_splits(tmp_path, "folder")
    assert len(paired(found)) == 6 and found.unused == ()


def test_names_with_marks_quotes_and_other_scripts_are_found(tmp_path):
    names = [
        "R&D <b>x<b> 'a' \"q\" #1 50%",
        "裂缝 路面 甲",
        "Straße_é",
        "<script>alert(1)<script>",
        "a$b$c_d*e*",
        "mañana [1](x)",
        "emoji🚧",
    ]
    for i, name in enumerate([*names, "x" * 150]):
        write_pair(tmp_path / f"images/{name}.jpg", tmp_path / f"masks/{name}.png", seed=i)
    write_pair(tmp_path / "images/..leading.jpg")
    found = find_splits(tmp_path, "folder")
    assert sorted(paired(found)) == sorted(f"{name}.jpg" for name in [*names, "x" * 150])
    assert [(each.path.name, each.reason, each.fix) for each in found.unused] == [("..leading.jpg", "hidden file", "")]


def test_all_photos_without_a_mask_are_named_and_masks_without_a_photo_are_listed(tmp_path):
    write_numbered(tmp_path, "images/{}.jpg", "masks/{}.png", range(12))
    for i in range(5):
        (tmp_path / f"masks/road{i}a.png").unlink()
    (tmp_path / "images/road7a.jpg").unlink()
    found = find_splits(tmp_path, "folder")
    assert reasons(found) == {"photo without a mask": [f"road{i}a.jpg" for i in range(5)]}
    assert (
        "x_mask.png" in found.unused[0].fix
        and "negatives/train" in found.unused[0].fix
        and "a mask without crack pixels" in found.unused[0].fix
    )
    assert [(each.path.name, each.reason) for each in found.unused if not each.fix] == [("road7a.png", "mask without a photo")]
    check_nothing_vanished(tmp_path, found)


def test_damaged_places_of_files_are_named_and_their_partners_listed(tmp_path):
    write_numbered(tmp_path, "images/{}.jpg", "masks/{}.png", range(8))
    (tmp_path / "images/road0a.jpg").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (tmp_path / "masks/road1a.png").write_bytes(b"")
    (tmp_path / "images/road2a.jpg").unlink()
    (tmp_path / "images/road2a.jpg").symlink_to("gone.jpg")
    found = find_splits(tmp_path, "folder")
    assert reasons(found) == {
        "Git LFS pointer in place of the file": ["road0a.jpg"],
        "broken link": ["road2a.jpg"],
        "file of 0 bytes": ["road1a.png"],
    }
    assert {each.fix for each in found.unused} > {"run git lfs pull in the folder of the data set"}
    partners = {each.path.name: each.reason for each in found.unused if not each.fix}
    photo, mask = "photo whose mask cannot be used", "mask whose photo cannot be used"
    assert partners == {"road0a.png": mask, "road1a.jpg": photo, "road2a.png": mask}
    check_nothing_vanished(tmp_path, found)


def test_each_file_that_is_not_read_has_a_reason_and_pictures_have_a_fix(tmp_path):
    root = write_folder(tmp_path / "own", photos=5)
    fixed = {"a.dng", "b.CR2", "c.svg", "d.pdf", "e.mp4", "f.psd", "g.jxl", "h", "i.jpg_large", "0.png"}
    for name in fixed - {"h", "i.jpg_large", "0.png"}:
        (root / "images" / name).write_bytes(b"bytes")
    (root / "images/0.png").touch()
    for name in ("h", "i.jpg_large"):
        shutil.copy(root / "images/p00_1_1.jpg", root / "images" / name)
    harmless = ["readme.md", "data.csv", "paper.pdf", "all.zip", "LICENSE", ".DS_Store", "images/Thumbs.db", "images/desktop.ini"]
    harmless += ["images/._p00_1_1.jpg", "images/p00_1_1.dng", "masks/p00.json", "masks/weights.npy", "old/sketch.png", "__MACOSX/x.jpg"]
    for name in harmless:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"bytes")
    write_pair(root / "negatives/train/n.jpg", root / "negatives/train/n.png")
    write_pair(root / "negatives/lone.jpg")
    (root / "negatives/val").mkdir()
    (root / "negatives/val/n.cr2").write_bytes(b"bytes")
    found = find_splits(root, "folder")
    assert {each.path.name for each in found.unused if each.fix} == fixed | {"lone.jpg", "n.cr2"}
    without_fix = {each.path.relative_to(root).as_posix() for each in found.unused if not each.fix}
    assert without_fix == {*harmless, "negatives/train/n.png"}
    check_nothing_vanished(root, found)


def test_crack_free_images_elsewhere_are_named(tmp_path):
    root = write_folder(tmp_path / "own", photos=5)
    write_pair(root / "Negatives/n.jpg")
    assert reasons(find_splits(root, "folder")) == {"crack-free image in another folder than negatives/": ["n.jpg"]}


def test_negatives_are_found_in_folders_of_any_case(tmp_path):
    for folder in ("Train", "valid/images", "test/test"):
        write_pair(tmp_path / folder / "n.jpg")
    assert [len(find_negatives(tmp_path, split)) for split in SPLITS] == [1, 1, 1]


def test_crack_free_images_that_cannot_be_used_are_named(tmp_path):
    root = write_folder(tmp_path / "own", photos=5)
    write_pair(root / "negatives/a.jpg")
    (root / "negatives/b.jpg").touch()
    found = find_splits(root, "folder")
    assert reasons(found) == {"file of 0 bytes": ["b.jpg"]} and len(find_negatives(root / "negatives", "train")) == 1
    check_nothing_vanished(root, found)


def test_versions_of_one_photo_by_roboflow_stay_together(tmp_path):
    for photo, version in itertools.product(range(8), "abc"):
        stem = f"road-{photo}_jpg.rf.{version * 12}"
        write_pair(tmp_path / f"train/{stem}.jpg", tmp_path / f"train/{stem}_mask.png", seed=photo)
    found = find_splits(tmp_path, "folder")
    photos = [{pair.photo for pair in found.pairs[split]} for split in SPLITS]
    assert [len(each) for each in photos] == [6, 1, 1] and len(set.union(*photos)) == 8


def test_data_sets_in_a_wrapping_folder_are_found(tmp_path):
    write_deepcrack(tmp_path / "a/DeepCrack")
    write_crackforest(tmp_path / "b/CrackForest-dataset-master", images=8)
    write_dataset(tmp_path / "c/CRACK500", negatives=0)
    for name, dataset in (("a", "deepcrack"), ("b", "crackforest"), ("c", "crack500")):
        found = find_splits(tmp_path / name, dataset)
        assert sum(map(len, found.pairs.values())) >= 8 and found.unused == ()


def test_what_could_be_read_in_two_ways_is_refused(tmp_path):
    write_numbered(tmp_path / "a", "images/{}.jpg", "masks/{}.png")
    write_numbered(tmp_path / "a", "photos/{}.jpg")
    with pytest.raises(DataError, match=r"holds images in both images/ and photos/; move one of them out"):
        find_splits(tmp_path / "a", "folder")
    write_numbered(tmp_path / "b", "images/{}.jpg", "masks/{}.png")
    write_numbered(tmp_path / "b", "labels/{}.png")
    with pytest.raises(DataError, match=r"holds masks in both labels/ and masks/"):
        find_splits(tmp_path / "b", "folder")
    for folder in ("north", "south"):
        write_numbered(tmp_path / "c" / folder, "images/{}.jpg", "masks/{}.png")
    with pytest.raises(
        DataError, match=r"several folders with images, north/ and south/, .*rename them to images/ and masks/, or give one"
    ):
        find_splits(tmp_path / "c", "folder")
    write_dataset(tmp_path / "d")
    shutil.copytree(tmp_path / "d/valcrop", tmp_path / "d/valid")
    with pytest.raises(DataError, match=r"holds images of val in both valcrop/ and valid/"):
        find_splits(tmp_path / "d", "crack500")


def test_photos_beside_folders_of_splits_are_missed_unless_they_are_copies(tmp_path):
    write_dataset(tmp_path, negatives=0)
    shutil.copytree(tmp_path / "traincrop", tmp_path / "images")
    assert reasons(find_splits(tmp_path, "crack500")) == {}
    write_pair(tmp_path / "images/new.jpg")
    found = find_splits(tmp_path, "crack500")
    assert reasons(found) == {"photo beside the folders of the splits": ["new.jpg"]}
    check_nothing_vanished(tmp_path, found)


def test_images_without_splits_are_train_where_only_test_has_a_folder(tmp_path):
    write_numbered(tmp_path, "images/{}.jpg", "masks/{}.png", range(8))
    write_numbered(tmp_path, "test/images/{}.jpg", "test/masks/{}.png", range(8, 10))
    found = find_splits(tmp_path, "folder")
    assert {split: len(pairs) for split, pairs in found.pairs.items()} == {"train": 7, "val": 1, "test": 2} and found.drawn == ("val",)


def test_where_nothing_can_be_used_the_error_says_what_lies_there(tmp_path):
    (tmp_path / "a/images").mkdir(parents=True)
    for name in ("1.heif2", "2.dng", "notes.txt"):
        (tmp_path / "a/images" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"no image that is read.*1 x \.heif2.*raw photo, \.dng: develop it.*expected images/ with masks/"):
        find_splits(tmp_path / "a", "folder")
    write_numbered(tmp_path / "b", "images/{}.jpg", "masks/truth of {}.png")
    with pytest.raises(
        DataError, match=r"no photo has a mask: .*images holds road0a\.jpg, road1a\.jpg; .*masks holds truth of road0a\.png"
    ):
        find_splits(tmp_path / "b", "folder")
    write_numbered(tmp_path / "c", "train/images/{}.jpg", "train/masks/{}.png")
    (tmp_path / "c/val").mkdir()
    (tmp_path / "c/val/x.dng").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no images in .*val; .*it holds 1 x \.dng"):
        find_splits(tmp_path / "c", "folder")


def test_links_that_lead_back_end_the_walk(tmp_path):
    write_numbered(tmp_path, "images/{}.jpg", "masks/{}.png")
    (tmp_path / "images/again").symlink_to(tmp_path)
    assert len(walk(tmp_path)) == 12


def test_whatever_lies_in_a_folder_is_used_or_named(tmp_path):
    """Random folders: either an error in words, or each file has its place."""
    shared = ["", "negatives", "negatives/val", "negatives/val/images", "Negatives", "other"]
    folders = {
        0: [*shared, "train", "train", "train", "train/masks", "Test"],
        1: [*shared, "images", "images", "masks", "masks", "images/b"],
    }
    names = [
        "a.jpg",
        "a.png",
        "a_mask.png",
        "b.jpg",
        "b.png",
        "b.JPG",
        "mask_b.png",
        "c.tif",
        "c.bmp",
        "readme.txt",
        ".hidden",
        "d.heif2",
        "e.dng",
    ]
    refused = 0
    for seed in range(30):
        rng, root = np.random.default_rng(seed), tmp_path / str(seed)
        write_numbered(root, *(("images/{}.png", "masks/{}.png") if seed % 2 else ("train/{}.png", "train/{}_GT.png")), range(4))
        for _ in range(rng.integers(1, 12)):
            path = root / rng.choice(folders[seed % 2]) / rng.choice(names)
            path.parent.mkdir(parents=True, exist_ok=True)
            if rng.random() < 0.2:
                path.write_bytes(b"")
            elif not path.exists():
                write_pair(path) if path.suffix.lower() in readable_suffixes() else path.write_bytes(b"x")
        try:
            found = find_splits(root, "folder")
        except DataError as error:
            refused += 1
            assert str(root) in str(error) or "show a crack" in str(error) or "no photo has a mask" in str(error)
        else:
            check_nothing_vanished(root, found)
    assert refused < 10


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root reads every folder")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    write_numbered(tmp_path, "images/{}.jpg", "masks/{}.png")
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(DataError, match=r"cannot read the folder .*locked"):
        find_splits(tmp_path, "folder")


@pytest.mark.parametrize(("photo", "mask"), [(".png", ".bmp"), (".bmp", ".png"), (".tif", ".png"), (".png", ".tif")])
def test_of_two_formats_without_loss_the_one_with_fewer_colours_is_the_mask(tmp_path, photo, mask):
    for i in range(6):
        write_pair(tmp_path / f"road{i}a{photo}", tmp_path / f"road{i}a{mask}", seed=i)
    assert paired(find_splits(tmp_path, "folder")) == {f"road{i}a{photo}": f"road{i}a{mask}" for i in range(6)}


def test_a_preview_beside_a_whole_data_set_is_listed(tmp_path):
    write_numbered(tmp_path / "CrackSet", "images/{}.jpg", "masks/{}.png")
    write_pair(tmp_path / "preview.png", seed=9)
    found = find_splits(tmp_path, "folder")
    assert len(paired(found)) == 6
    assert [each.path.name for each in found.unused] == ["preview.png"]
    check_nothing_vanished(tmp_path, found)
