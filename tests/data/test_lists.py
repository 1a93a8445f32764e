import pytest
from conftest import small_params, write_dataset, write_pair
from made_data import stems, write_folder

from crack_utils.data import SPLITS, data_facts, find_data, find_splits
from crack_utils.data.layouts.folders import find_pairs
from crack_utils.errors import DataError


@pytest.mark.parametrize("line", ["images/{}.jpg masks/{}.png", "./images/{}.jpg", "{}.jpg", "{}"])
def test_lists_fix_the_splits(tmp_path, line):
    root = write_folder(tmp_path / "own", photos=4)
    for split, photos in zip(SPLITS, (("p00", "p01"), ("p02",), ("p03",)), strict=True):
        names = [f"{photo}_{offset}_1" for photo in photos for offset in (1, 129, 257)]
        (root / f"{split}.txt").write_text("\n".join(line.format(name, name) for name in names) + "\n\n")
    found = find_splits(root, "folder")
    assert [{pair.photo for pair in found.pairs[split]} for split in SPLITS] == [{"p00", "p01"}, {"p02"}, {"p03"}]
    assert (found.drawn, found.notes) == ((), ())
    (root / "val.txt").unlink()
    assert find_splits(root, "folder").drawn == ("val",)


def test_a_list_of_one_split_leaves_the_folders_of_the_others(tmp_path):
    write_dataset(tmp_path, train=4, negatives=0)
    stem = sorted(path.stem for path in (tmp_path / "traincrop").glob("*.jpg"))[0]
    (tmp_path / "val.txt").write_text(f"{stem}\n")
    found = find_splits(tmp_path, "crack500").pairs
    assert [pair.stem for pair in found["val"]] == [stem]
    assert stem not in [pair.stem for pair in found["train"]]
    assert (len(found["train"]), len(found["test"])) == (3, 2)


LAYOUTS = {  # image and mask of one split, as find_pairs knows them
    "flat": ("{split}crop/{stem}.jpg", "{split}crop/{stem}.png"),
    "nested": ("{split}crop/{split}crop/{stem}.jpg", "{split}crop/{split}crop/{stem}.png"),
    "GT": ("{split}/{stem}.jpg", "{split}/{stem}_GT.png"),
    "mask": ("{split}/{stem}.jpg", "{split}/{stem}_mask.png"),
    "folders": ("{split}/images/{stem}.jpg", "{split}/masks/{stem}.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_lists_of_crack500_serve_every_layout_of_its_files(tmp_path, layout):
    listed = {}
    for number, split in enumerate(SPLITS):
        names = [f"2016_{number}_{i}_1" for i in (1, 641, 1281)]
        for stem in names:
            image, mask = (tmp_path / name.format(split=split, stem=stem) for name in LAYOUTS[layout])
            write_pair(image, mask, (64, 128))
        listed[split] = names[:2]
        lines = "".join(f"{split}crop/{stem}.jpg {split}crop/{stem}.png\n" for stem in listed[split])
        (tmp_path / f"{split}.txt").write_text(lines)
    found = find_splits(tmp_path, "crack500").pairs
    assert {split: stems(found[split]) for split in SPLITS} == listed
    masks = [pair.mask_path for pairs in found.values() for pair in pairs]
    assert all(path.is_file() for path in masks) and len(set(masks)) == 6


def test_a_list_may_name_other_masks_than_lie_beside_the_images(tmp_path):
    root = write_folder(tmp_path / "own", photos=3, crops=1)
    names = sorted(path.stem for path in (root / "images").iterdir())
    write_pair(root / "x.jpg", root / f"fine/{names[0]}.png", (64, 128))
    for split, name in zip(SPLITS, names, strict=True):
        (root / f"{split}.txt").write_text(name)
    (root / "train.txt").write_text(f"images/{names[0]}.jpg fine/{names[0]}.png")
    assert find_splits(root, "folder").pairs["train"][0].mask_path == root / f"fine/{names[0]}.png"
    for line in (f"images/{names[0]}.jpg fine/other.png", f"images/{names[0]}.jpg masks/{names[0]}.png more"):
        (root / "train.txt").write_text(line)
        with pytest.raises(DataError, match="but there is no such file"):
            find_splits(root, "folder")


def test_a_path_is_never_taken_for_another_image_of_that_name(tmp_path):
    for split in SPLITS:
        write_pair(tmp_path / f"{split}/images/{split}.jpg", tmp_path / f"{split}/masks/{split}.png", (64, 128))
    write_pair(tmp_path / "extra/train.jpg", size=(64, 128))  # without a mask
    for line in ("extra/train.jpg", "train/images/test.jpg"):  # the latter lies in test alone
        (tmp_path / "train.txt").write_text(line)
        with pytest.raises(DataError, match=rf"names {line}, but there is no such file"):
            find_splits(tmp_path, "folder")


def test_a_name_that_two_splits_have_takes_a_path_to_tell_which(tmp_path):
    for split in SPLITS:
        for name in ("1", f"only_{split}", *(["2"] if split != "val" else [])):
            write_pair(tmp_path / f"{split}/images/{name}.jpg", tmp_path / f"{split}/masks/{name}.png", (64, 128))
    (tmp_path / "val.txt").write_text("test/images/1.jpg")
    assert find_splits(tmp_path, "folder").pairs["val"][0].image_path == tmp_path / "test/images/1.jpg"
    (tmp_path / "val.txt").write_text("1.jpg")
    assert find_splits(tmp_path, "folder").pairs["val"][0].image_path == tmp_path / "val/images/1.jpg"
    (tmp_path / "val.txt").write_text("2.jpg")
    with pytest.raises(DataError, match=r"names 2\.jpg, but there is no such file, or several images have this name"):
        find_splits(tmp_path, "folder")


def test_what_no_list_names_of_one_folder_is_train_or_drawn(tmp_path):
    root = write_folder(tmp_path / "own", photos=10, crops=1)
    names = sorted(path.stem for path in (root / "images").iterdir())
    (root / "test.txt").write_text("\n".join(names[:2]))
    found = find_splits(root, "folder")
    assert (stems(found.pairs["test"]), found.drawn) == (names[:2], ("val",))
    assert sorted(stems(found.pairs["train"]) + stems(found.pairs["val"])) == names[2:]
    (root / "val.txt").write_text(names[2])
    found = find_splits(root, "folder")
    assert (stems(found.pairs["train"]), found.drawn) == (names[3:], ())


def test_lists_that_cannot_be_are_named(tmp_path):
    root = write_folder(tmp_path / "own", photos=3, crops=1)
    names = sorted(path.stem for path in (root / "images").iterdir())
    for split, name in zip(SPLITS, names, strict=True):
        (root / f"{split}.txt").write_text(name)
    (root / "test.txt").write_text(names[0])
    with pytest.raises(DataError, match=rf"test\.txt names {names[0]}\.jpg, which train\.txt names too"):
        find_splits(root, "folder")
    (root / "val.txt").write_text("images/gone.jpg masks/gone.png")
    with pytest.raises(DataError, match=r"val\.txt names images/gone\.jpg masks/gone\.png, but there is no such file"):
        find_splits(root, "folder")
    (root / "val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt is empty"):
        find_splits(root, "folder")
    (root / "train.txt").unlink()
    (root / "val.txt").unlink()
    (root / "test.txt").write_text(names[0], encoding="utf-16")
    with pytest.raises(DataError, match=r"test\.txt is not UTF-8 text"):
        find_splits(root, "folder")


def test_real_crops_follow_the_lists_they_are_shipped_with(real_data, tmp_path):
    """Lists as CRACK500 ships them; here of a few photos, so that what they leave out is seen to stay out."""
    for split in SPLITS:
        (tmp_path / f"{split}crop").symlink_to(real_data / "CRACK500" / f"{split}crop")
        pairs = find_pairs(tmp_path, split)[:12]
        lines = [f"{split}crop/{pair.image_path.name} {split}crop/{pair.mask_path.name}\n" for pair in pairs]
        (tmp_path / f"{split}.txt").write_text("".join(lines))
    facts = data_facts(find_data(small_params(tmp_path), tmp_path))
    assert {split: counts["positives"] for split, counts in facts["counts"].items()} == dict.fromkeys(SPLITS, 12)
    assert facts["test_title"] == "CRACK500 test subset (12 images)"
