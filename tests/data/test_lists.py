import pytest
from conftest import small_params, write_dataset, write_pair
from made_data import stems, write_folder

from crack_utils.data import SPLITS, data_facts, find_data, find_splits
from crack_utils.data.layouts.folders import find_folders
from crack_utils.errors import DataError


@pytest.mark.parametrize("line", ["images/{}.jpg masks/{}.png", "./images/{}.jpg", "{}.jpg", "{}"])
def test_lists_fix_the_splits(tmp_path, line):
    root = write_folder(tmp_path / "own", photos=4)
    for split, photos in zip(SPLITS, (("p00", "p01"), ("p02",), ("p03",)), strict=True):
        names = [f"{photo}_{offset}_1" for photo in photos for offset in (1, 129, 257)]
        (root / f"{split}.txt").write_text("\n".join(line.format(name, name) for name in names) + "\n\n")
    found = find_splits(root, "folder")
    assert [{pair.photo for pair in found.pairs[split]} for split in SPLITS] == [{"p00", "p01"}, {"p02"}, {"p03"}]
    assert (found.drawn, found.notes) == ((), ("12 images count as crops of 4 photos, because their names end in two offsets.",))
    with (root / "val.txt").open("a") as file:
        file.write(",,\n")  # spreadsheets leave such lines
    assert find_splits(root, "folder").pairs == found.pairs
    with (root / "val.txt").open("a") as file:
        file.write('"",#\n')
    with pytest.raises(DataError, match=r"val\.txt names images that are not there.* \(line 6: \"\",#\)"):
        find_splits(root, "folder")
    (root / "val.txt").unlink()
    assert find_splits(root, "folder").drawn == ("val",)


def test_a_list_of_names_passes_over_damaged_files_and_stops_at_missing_ones(tmp_path):
    root = write_folder(tmp_path / "own", photos=9, crops=1)
    names = sorted(path.stem for path in (root / "images").iterdir())
    for split, part in (("train", names[:5]), ("val", names[5:7]), ("test", names[7:])):
        (root / f"{split}.txt").write_text("\n".join(part))
    for spoilt in (root / "images" / f"{names[0]}.jpg", root / "masks" / f"{names[1]}.png"):
        spoilt.write_bytes(b"")
    assert stems(find_splits(root, "folder").pairs["train"]) == names[2:5]
    (root / "images" / f"{names[0]}.jpg").unlink()
    with pytest.raises(DataError, match=rf"train\.txt names images that are not there.*line 1: {names[0]}"):
        find_splits(root, "folder")


def test_lists_may_name_photos_of_one_name_outside_the_folder(tmp_path):
    for i, split in enumerate(SPLITS):
        for name in ("1", "2"):
            write_pair(tmp_path / f"{split}/{name}.jpg", tmp_path / f"{split}m/{name}.png", seed=10 * i + int(name))
        (tmp_path / "own").mkdir(exist_ok=True)
        (tmp_path / f"own/{split}.txt").write_text("".join(f"../{split}/{n}.jpg ../{split}m/{n}.png\n" for n in "12"))
    pairs = [pair for those in find_splits(tmp_path / "own", "folder").pairs.values() for pair in those]
    assert len(pairs) == 6 and len({pair.photo for pair in pairs}) in (2, 6)


def test_a_list_of_one_split_leaves_the_folders_of_the_others(tmp_path):
    write_dataset(tmp_path, train=4, negatives=0)
    stem = sorted(path.stem for path in (tmp_path / "traincrop").glob("*.jpg"))[0]
    (tmp_path / "val.txt").write_text(f"{stem}\n")
    found = find_splits(tmp_path, "crack500").pairs
    assert [pair.stem for pair in found["val"]] == [stem]
    assert stem not in [pair.stem for pair in found["train"]]
    assert (len(found["train"]), len(found["test"])) == (3, 2)


LAYOUTS = {  # image and mask of one split, as find_folders knows them
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
        with pytest.raises(DataError, match=rf"in 1 of 1 lines \(line 1: {line}\); a line holds"):
            find_splits(root, "folder")


def test_a_path_is_never_taken_for_another_image_of_that_name(tmp_path):
    for split in SPLITS:
        write_pair(tmp_path / f"{split}/images/{split}.jpg", tmp_path / f"{split}/masks/{split}.png", (64, 128))
    write_pair(tmp_path / "extra/train.jpg", size=(64, 128))  # without a mask
    for line in ("extra/train.jpg", "train/images/test.jpg"):  # the latter lies in test alone
        (tmp_path / "train.txt").write_text(line)
        with pytest.raises(DataError, match=rf"names images that are not there, .* in 1 of 1 lines \(line 1: {line}\)"):
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
    with pytest.raises(DataError, match=r"or that several folders hold, in 1 of 1 lines \(line 1: 2\.jpg\)"):
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
    with pytest.raises(DataError, match=r"val\.txt names images that are not there.*line 1: images/gone\.jpg masks/gone\.png"):
        find_splits(root, "folder")
    (root / "val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt is empty"):
        find_splits(root, "folder")
    (root / "train.txt").unlink()
    (root / "val.txt").unlink()
    (root / "test.txt").write_text(names[0] + "ä", encoding="latin-1")
    with pytest.raises(DataError, match=r"test\.txt is neither UTF-8 nor UTF-16 text; save it as UTF-8"):
        find_splits(root, "folder")


LINES = {
    "backslashes": ("images\\{}.jpg masks\\{}.png", "train.txt"),
    "another machine": ("C:\\data\\own\\images\\{}.jpg", "train.txt"),
    "another machine, with masks": ("/home/me/own/images/{}.jpg /home/me/own/masks/{}.png", "train.txt"),
    "commas": ("images/{}.jpg,masks/{}.png", "train.txt"),
    "commas and spaces": ("images/{}.jpg, masks/{}.png", "Train.txt"),
    "semicolons": ("images/{}.jpg;masks/{}.png", "train.txt"),
    "tabs": ("images/{}.jpg\tmasks/{}.png", "training.txt"),
    "quotes": ('"images/{}.jpg" "masks/{}.png"', "train.txt"),
    "quotes and commas": ('"images/{}.jpg","masks/{}.png"', "train.txt"),
    "suffix in capitals": ("images/{}.JPG", "train.txt"),
    "name in capitals": ("{}.JPG", "TRAIN.TXT"),
    "stems": ("{}", "train.txt"),
    "leading slash": ("/images/{}.jpg /masks/{}.png", "train.txt"),
    "comments": ("{}.jpg  # wet", "train.txt"),
    "spaces around": ("  images/{}.jpg   masks/{}.png  ", "train.txt"),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("kind", LINES)
def test_lists_of_any_system_are_read(tmp_path, kind, encoding):
    line, name = LINES[kind]
    names = [f"road {i}ä" for i in range(6)]
    for i, stem in enumerate(names if encoding == "utf-8" else names[:3]):
        write_pair(tmp_path / f"images/{stem}.jpg", tmp_path / f"masks/{stem}.png", seed=i)
    listed = {name: names[:-2], "valid.txt": names[-2:-1], "testing.txt": names[-1:]}
    if encoding != "utf-8":
        listed = {name: names[:1], "valid.txt": names[1:2], "testing.txt": names[2:3]}
    for file, stems_of_split in listed.items():
        text = "# a list\r\n" + "".join(line.format(stem, stem) + "\r\n" for stem in stems_of_split) + "\r\n"
        (tmp_path / file).write_bytes(text.encode(encoding))
    found = find_splits(tmp_path, "folder")
    assert [stems(found.pairs[split]) for split in SPLITS] == list(listed.values())
    assert (found.drawn, found.notes, found.unused) == ((), (), ())
    assert all(pair.mask_path.stem == pair.stem for pairs in found.pairs.values() for pair in pairs)


def test_labels_and_repeated_lines_are_noted(tmp_path):
    root = write_folder(tmp_path / "own", photos=4, crops=1)
    names = sorted(path.stem for path in (root / "images").iterdir())
    (root / "train.txt").write_text(f"images/{names[0]}.jpg 1\nimages/{names[1]}.jpg\t0\n{names[0]}\n")
    (root / "val.txt").write_text(f"{names[2]},1")
    (root / "test.txt").write_text(f"images/{names[3]}.jpg masks/{names[3]}.png 1")
    found = find_splits(root, "folder")
    assert [stems(found.pairs[split]) for split in SPLITS] == [names[:2], names[2:3], names[3:]]
    assert found.notes == (
        "train.txt holds class labels after the names of 2 images. The labels are not used.",
        "train.txt names 1 images more than once. Each image counts once.",
        "val.txt holds class labels after the names of 1 images. The labels are not used.",
        "test.txt holds class labels after the names of 1 images. The labels are not used.",
    )


def test_all_lines_that_name_nothing_are_in_one_message(tmp_path):
    root = write_folder(tmp_path / "own", photos=4, crops=1)
    names = sorted(path.stem for path in (root / "images").iterdir())
    (root / "train.txt").write_text("# first\n" + "\n".join(["gone.jpg", names[0], *(f"away{i}.jpg" for i in range(4))]))
    with pytest.raises(DataError, match=r"in 5 of 6 lines \(line 2: gone\.jpg; line 4: away0\.jpg; line 5: away1\.jpg; \.\.\.\)"):
        find_splits(root, "folder")


def test_a_listed_photo_that_cannot_be_used_is_named_once_and_what_no_list_names_is_listed(tmp_path):
    root = write_folder(tmp_path / "own", photos=6, crops=1)
    names = sorted(path.stem for path in (root / "images").iterdir())
    (root / f"masks/{names[1]}.png").unlink()
    for split, listed in zip(SPLITS, (names[:2], names[2:3], names[3:4]), strict=True):
        (root / f"{split}.txt").write_text("\n".join(listed))
    found = find_splits(root, "folder")
    assert [stems(found.pairs[split]) for split in SPLITS] == [names[:1], names[2:3], names[3:4]]
    assert [(each.path.stem, each.reason) for each in found.unused if each.fix] == [(names[1], "photo without a mask")]
    rest = sorted((each.path.stem, each.reason) for each in found.unused if not each.fix)
    assert rest == [(name, f"{kind} that no list names") for name in names[4:] for kind in ("mask", "photo")]


def test_two_lists_of_one_split_are_refused(tmp_path):
    root = write_folder(tmp_path / "own", photos=3, crops=1)
    for name in ("val.txt", "valid.txt"):
        (root / name).write_text("x")
    with pytest.raises(DataError, match=r"two lists of val, .*val\.txt and .*valid\.txt; remove one"):
        find_splits(root, "folder")


def test_lists_lie_inside_a_wrapping_folder_or_where_pascal_voc_has_them_too(tmp_path):
    names = [f"a{i}" for i in range(3)]
    for folder in ("lists/own", "voc/own/ImageSets/Segmentation"):
        root = tmp_path / folder.split("/")[0]
        for name in names:
            write_pair(root / f"own/JPEGImages/{name}.jpg", root / f"own/SegmentationClass/{name}.png")
        for split, name in zip(SPLITS, names, strict=True):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / f"{split}.txt").write_text(name)
        assert [stems(find_splits(root, "folder").pairs[split]) for split in SPLITS] == [[name] for name in names]


def test_lists_that_name_images_and_masks_need_no_known_folders(tmp_path):
    for number, split in enumerate(SPLITS):
        for i in range(2):
            write_pair(tmp_path / f"A/{split}{i}.jpg", tmp_path / f"B/{split}{i}.png", seed=2 * number + i)
        (tmp_path / f"{split}.txt").write_text("".join(f"A/{split}{i}.jpg B/{split}{i}.png\n" for i in range(2)))
    found = find_splits(tmp_path, "folder")
    assert {split: len(found.pairs[split]) for split in SPLITS} == dict.fromkeys(SPLITS, 2) and found.unused == ()


def test_real_crops_follow_the_lists_they_are_shipped_with(real_data, tmp_path):
    """Lists as CRACK500 ships them; here of a few photos, so that what they leave out is seen to stay out."""
    for split in SPLITS:
        (tmp_path / f"{split}crop").symlink_to(real_data / "CRACK500" / f"{split}crop")
    for split, pairs in find_folders(tmp_path).pairs.items():
        pairs = pairs[:12]
        lines = [f"{split}crop/{pair.image_path.name} {split}crop/{pair.mask_path.name}\n" for pair in pairs]
        (tmp_path / f"{split}.txt").write_text("".join(lines))
    facts = data_facts(find_data(small_params(tmp_path), tmp_path))
    assert {split: counts["positives"] for split, counts in facts["counts"].items()} == dict.fromkeys(SPLITS, 12)
    assert facts["test_title"] == "CRACK500 test subset (12 images)"
