import os
import shutil
import sys

import numpy as np
import pytest
import scipy.io
from conftest import small_params, write_dataset, write_pair
from PIL import ExifTags, Image

from crack_utils.data import (
    SPLITS,
    Pair,
    cut,
    find_data,
    find_negatives,
    find_pairs,
    find_splits,
    keep_disjoint,
    own_size,
    read_crop,
    read_crops,
)
from crack_utils.errors import DataError
from crack_utils.reporting.exploration import sources_table


def stems(pairs):
    return [pair.stem for pair in pairs]


# --- layouts


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("traincrop/{}.jpg", "traincrop/{}.png"),
        ("traincrop/traincrop/{}.jpg", "traincrop/traincrop/{}.png"),
        ("train/{}.jpg", "train/{}.png"),
        ("train/{}.jpg", "train/{}_GT.png"),
        ("train/{}.jpg", "train/{}_mask.png"),
        ("train/{}.png", "train/{}_mask.png"),
        ("train/train/{}.jpg", "train/train/{}.png"),
        ("train/images/{}.jpg", "train/masks/{}.png"),
        ("train/images/{}.png", "train/masks/{}.png"),
        ("train/images/{}.JPG", "train/masks/{}_GT.png"),
    ],
)
def test_every_layout_is_read_as_it_is(tmp_path, image, mask):
    truth = {}
    for i, stem in enumerate(("20160222_081011_1_361", "20160222_081011_641_1")):
        truth[stem] = write_pair(tmp_path / image.format(stem), tmp_path / mask.format(stem), seed=i)
    pairs = find_pairs(tmp_path, "train")
    assert stems(pairs) == sorted(truth)
    assert [pair.photo for pair in pairs] == ["20160222_081011"] * 2
    for pair in pairs:
        crop = read_crop(pair, 3)
        np.testing.assert_array_equal(crop.mask, truth[pair.stem])
        assert crop.image.shape == (64, 128, 3)


def test_an_image_without_a_mask_is_an_error_except_among_the_negatives(tmp_path):
    write_pair(tmp_path / "traincrop/a.jpg", tmp_path / "traincrop/a.png")
    write_pair(tmp_path / "traincrop/b.jpg")
    with pytest.raises(DataError, match=r"no mask for .*b\.jpg; expected b\.png.*negatives/train"):
        find_pairs(tmp_path, "train")
    write_pair(tmp_path / "negatives/train/b.jpg")
    (negative,) = find_negatives(tmp_path / "negatives", "train")
    assert not read_crop(negative, 3).has_crack
    assert find_negatives(tmp_path / "negatives", "val") == []


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="nowhere is not a folder"):
        find_splits(tmp_path / "nowhere", "crack500")
    with pytest.raises(DataError, match="neither traincrop/ nor train/"):
        find_pairs(tmp_path, "train")
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"no images in .*train"):
        find_pairs(tmp_path, "train")


def write_truth(path, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"groundTruth": {"Segmentation": labels, "Boundaries": labels}})


def write_crackforest(root, images=10, truths=8):
    for i in range(1, images + 1):
        mask = write_pair(root / f"image/{i:03}.jpg", seed=i)
        if i <= truths:
            write_truth(root / f"groundTruth/{i:03}.mat", mask.astype(np.uint8) + 1)
    return root


def test_crackforest_is_read_as_distributed_without_the_images_that_have_no_truth(tmp_path):
    root = write_crackforest(tmp_path / "CFD")
    labels = np.array([[1, 2, 3, 4]], np.uint8).repeat(64, 0).repeat(32, 1)
    write_truth(root / "groundTruth/008.mat", labels)
    found = find_splits(root, "crackforest")
    assert sum(map(len, found.pairs.values())) == 8
    assert found.notes[0].startswith("2 images come without truth and were left out")
    crop = read_crop(Pair(root / "image/008.jpg", root / "groundTruth/008.mat"), 3)
    np.testing.assert_array_equal(crop.mask, (labels == 2) | (labels == 4))  # 3 is sound pavement that cracks enclose
    facts = find_data(small_params(root, dataset="crackforest"), tmp_path).facts
    assert (facts["test_title"], facts["test_is_part_of_official"]) == ("CrackForest, split drawn by photo", False)


def test_a_damaged_truth_of_crackforest_is_named(tmp_path):
    pair = Pair(tmp_path / "a.jpg", tmp_path / "a.mat")
    write_pair(pair.image_path)
    write_truth(pair.mask_path, np.ones((64, 128), np.uint8))
    whole = pair.mask_path.read_bytes()
    for damaged in (b"", b"no matlab file at all", whole[:300]):
        pair.mask_path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"cannot read .*a\.mat as a MATLAB file"):
            read_crop(pair, 3)
    scipy.io.savemat(pair.mask_path, {"truth": 1})
    with pytest.raises(DataError, match=r"a\.mat holds no groundTruth"):
        read_crop(pair, 3)
    write_truth(pair.mask_path, np.zeros((64, 128), np.uint8))
    with pytest.raises(DataError, match=r"a\.mat: Segmentation holds \[0\]; expected 1 to 4"):
        read_crop(pair, 3)
    with pytest.raises(DataError, match=r"image is missing"):
        find_splits(tmp_path, "crackforest")


def write_deepcrack(root, train=10, test=4):
    for split, count in (("train", train), ("test", test)):
        for i in range(count):
            stem = f"11{len(split)}{i // 2:02}-{1 + i % 2}"
            write_pair(root / f"{split}_img/{stem}.jpg", root / f"{split}_lab/{stem}.png", seed=i)
    return root


def test_deepcrack_keeps_its_test_set_and_gets_a_val(tmp_path):
    root = write_deepcrack(tmp_path / "DeepCrack")
    found = find_splits(root, "deepcrack")
    assert {split: len(pairs) for split, pairs in found.pairs.items()} == {"train": 8, "val": 2, "test": 4}
    assert len({pair.photo for pair in found.pairs["val"]}) == 1  # both crops of one photo
    assert found.notes == ["These data fix no val: drawn by photo from the 10 images (split_seed 0)."]
    facts = find_data(small_params(root, dataset="deepcrack"), tmp_path).facts
    assert (facts["test_title"], facts["test_is_part_of_official"]) == ("DeepCrack test subset (4 images)", True)
    write_pair(root / "test_img/1150000-3.jpg")
    with pytest.raises(DataError, match=r"no mask for .*1150000-3\.jpg"):
        find_splits(root, "deepcrack")


MERGED = {  # a crop's name and its photo's
    "CRACK500_20160222_081011_1_361": "CRACK500_20160222_081011",
    "CFD_001": "CFD_001",
    "DeepCrack_11178-2": "DeepCrack_11178",
    "GAPS384_train_0005_1_541": "GAPS384_train_0005",
    "Rissbilder_for_Florian_9S6A2806_480_512_3420_3456": "Rissbilder_for_Florian_9S6A2806",
    "Volker_DSC01646_226_19_1273_1645": "Volker_DSC01646",
    "cracktree200_6192": "cracktree200_6192",
    "Sylvie_Chambon_319": "Sylvie_Chambon_319",
}


def write_merged(root):
    for split in ("train", "test"):
        for i, stem in enumerate(MERGED):
            write_pair(root / split / f"images/{stem}.jpg", root / split / f"masks/{stem}.jpg", seed=i)
        crack_free = root / split / "images/noncrack_noncrack_concrete_wall_9_27.jpg.jpg"
        write_pair(crack_free)
        noise = np.random.default_rng(0).integers(0, 6, (64, 128), np.uint8)
        (root / split / "masks").mkdir(exist_ok=True)
        Image.fromarray(noise).save(root / split / "masks" / crack_free.name)
    return root


def test_a_merged_set_tells_sources_and_keeps_the_crops_of_a_photo_together(tmp_path):
    root = write_merged(tmp_path / "merged")
    photos = {pair.stem: pair.photo for pairs in find_splits(root, "merged").pairs.values() for pair in pairs}
    assert photos == MERGED | {"noncrack_noncrack_concrete_wall_9_27.jpg": "noncrack_noncrack_concrete_wall_9"}
    run_data = find_data(small_params(root, dataset="merged"), tmp_path)
    counts = run_data.facts["counts"]
    assert counts["test"] == {"positives": 8, "negatives": 1}  # an empty mask is a crack-free image, noisy or not
    table = sources_table(run_data).set_index("Source")
    assert table.sum().to_dict() == {"train": 8, "val": 1, "test": 9}
    assert set(table.index) >= {"noncrack", "Rissbilder_for_Florian", "Sylvie_Chambon", "CRACK500"}


def test_an_empty_mask_is_a_negative_for_the_parameters_too(tmp_path):
    root = write_merged(tmp_path / "merged")
    without = find_data(small_params(root, dataset="merged", use_negatives=False, evaluate_negatives=False), tmp_path).facts
    assert [without["counts"][split]["negatives"] for split in SPLITS] == [0, 0, 0]
    fewer = find_data(small_params(root, dataset="merged", train_negatives=3), tmp_path).facts
    assert "Crack-free images found for train: 1 of the 3 asked for (train_negatives)." in fewer["notes"]


def test_train_negatives_are_drawn_by_photo(tmp_path):
    root = write_dataset(tmp_path / "d", negatives=6)

    def drawn(**values):
        train = find_data(small_params(root, train_negatives=2, **values), tmp_path).split("train")
        return [crop.pair.stem for crop in train.crops if not crop.has_crack]

    assert len(drawn()) == 2
    assert drawn(seed=1) == drawn(seed=2) == drawn()
    assert len({tuple(drawn(split_seed=seed)) for seed in range(3)}) == 1  # all of one photo, so always its first
    for i in range(8):
        write_pair(root / f"negatives/train/2017_{i}.jpg")
    assert len({tuple(drawn(split_seed=seed)) for seed in range(8)}) > 2


# --- splits


def write_folder(root, photos=10, crops=3, cracked=None, size=(64, 128)):
    """images/ and masks/; photos from ``cracked`` on have black masks."""
    for i in range(photos):
        for crop in range(crops):
            name = f"p{i:02}_{1 + 128 * crop}_1" if crops > 1 else f"IMG_20240101_1200{i:02}"
            write_pair(root / f"images/{name}.jpg", root / f"masks/{name}.png", size, seed=i)
            if cracked is not None and i >= cracked:
                Image.new("L", size[::-1]).save(root / f"masks/{name}.png")
    return root


def test_no_photo_is_in_two_drawn_splits_and_split_seed_alone_decides(tmp_path):
    root = write_folder(tmp_path / "own", cracked=5)

    def photos(**values):
        run_data = find_data(small_params(root, dataset="folder", **values), tmp_path)
        assert all(run_data.split(split).positives for split in SPLITS)
        return {split: {crop.pair.photo for crop in run_data.split(split).crops} for split in SPLITS}

    for split_seed in range(5):
        by_split = photos(split_seed=split_seed)
        assert {split: len(drawn) for split, drawn in by_split.items()} == {"train": 7, "val": 1, "test": 2}
        assert len(set.union(*by_split.values())) == 10
        assert by_split == photos(split_seed=split_seed, seed=7)
    assert len({tuple(sorted(photos(split_seed=seed)["test"])) for seed in range(5)}) > 2
    assert photos(images_per_split=4, seed=1) == photos(images_per_split=4, seed=2)
    facts = find_data(small_params(root, dataset="folder", split_seed=3), tmp_path).facts
    assert facts["notes"] == ["These data fix no val and no test: drawn by photo from the 30 images (split_seed 3)."]
    assert facts["test_title"] == "your own photos, split drawn by photo"


def test_a_draw_needs_a_cracked_photo_for_every_split(tmp_path):
    root = write_folder(tmp_path / "own", photos=6, crops=1, cracked=2)
    with pytest.raises(DataError, match=r"2 of 6 photos show a crack; val, test, train need one each.*crack$"):
        find_splits(root, "folder")
    for i in range(12):
        write_pair(tmp_path / f"trip/images/IMG_2024_{1200 + i}.jpg", tmp_path / f"trip/masks/IMG_2024_{1200 + i}.png", (64, 128))
    with pytest.raises(DataError, match=r"1 of 1 photos .* 12 images count as crops of one photo, IMG, as their names end alike; rename"):
        find_splits(tmp_path / "trip", "folder")


@pytest.mark.parametrize("line", ["images/{}.jpg masks/{}.png", "./images/{}.jpg", "{}.jpg", "{}"])
def test_lists_fix_the_splits(tmp_path, line):
    root = write_folder(tmp_path / "own", photos=4)
    for split, photos in zip(SPLITS, (("p00", "p01"), ("p02",), ("p03",)), strict=True):
        names = [f"{photo}_{offset}_1" for photo in photos for offset in (1, 129, 257)]
        (root / f"{split}.txt").write_text("\n".join(line.format(name, name) for name in names) + "\n\n")
    found = find_splits(root, "folder")
    assert [{pair.photo for pair in found.pairs[split]} for split in SPLITS] == [{"p00", "p01"}, {"p02"}, {"p03"}]
    assert (found.drawn, found.notes) == ([], [])
    (root / "val.txt").unlink()
    assert find_splits(root, "folder").drawn == ["val"]


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
        with pytest.raises(DataError, match="which is not there"):
            find_splits(root, "folder")


def test_a_path_is_never_taken_for_another_image_of_that_name(tmp_path):
    for split in SPLITS:
        write_pair(tmp_path / f"{split}/images/{split}.jpg", tmp_path / f"{split}/masks/{split}.png", (64, 128))
    write_pair(tmp_path / "extra/train.jpg", size=(64, 128))  # without a mask
    for line in ("extra/train.jpg", "train/images/test.jpg"):  # the latter lies in test alone
        (tmp_path / "train.txt").write_text(line)
        with pytest.raises(DataError, match=rf"names {line}, which is not there"):
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
    with pytest.raises(DataError, match=r"names 2\.jpg, which is not there, or is the name of several images"):
        find_splits(tmp_path, "folder")


def test_what_no_list_names_of_one_folder_is_train_or_drawn(tmp_path):
    root = write_folder(tmp_path / "own", photos=10, crops=1)
    names = sorted(path.stem for path in (root / "images").iterdir())
    (root / "test.txt").write_text("\n".join(names[:2]))
    found = find_splits(root, "folder")
    assert (stems(found.pairs["test"]), found.drawn) == (names[:2], ["val"])
    assert sorted(stems(found.pairs["train"]) + stems(found.pairs["val"])) == names[2:]
    (root / "val.txt").write_text(names[2])
    found = find_splits(root, "folder")
    assert (stems(found.pairs["train"]), found.drawn) == (names[3:], [])


def test_a_photo_that_test_has_too_is_never_drawn_for_val(tmp_path):
    for i in range(6):
        write_pair(tmp_path / f"train/images/p{i}_1_1.jpg", tmp_path / f"train/masks/p{i}_1_1.png", (64, 128))
    write_pair(tmp_path / "test/images/p0_129_1.jpg", tmp_path / "test/masks/p0_129_1.png", (64, 128))
    for seed in range(8):
        found = find_splits(tmp_path, "folder", seed).pairs
        assert "p0_1_1" in stems(found["train"])
        assert len(found["train"]) + len(found["val"]) == 6


def test_lists_that_cannot_be_are_named(tmp_path):
    root = write_folder(tmp_path / "own", photos=3, crops=1)
    names = sorted(path.stem for path in (root / "images").iterdir())
    for split, name in zip(SPLITS, names, strict=True):
        (root / f"{split}.txt").write_text(name)
    (root / "test.txt").write_text(names[0])
    with pytest.raises(DataError, match=rf"test\.txt names {names[0]}\.jpg, which train\.txt names too"):
        find_splits(root, "folder")
    (root / "val.txt").write_text("images/gone.jpg masks/gone.png")
    with pytest.raises(DataError, match=r"val\.txt names images/gone\.jpg masks/gone\.png, which is not there"):
        find_splits(root, "folder")
    (root / "val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt is empty"):
        find_splits(root, "folder")
    (root / "train.txt").unlink()
    (root / "val.txt").unlink()
    (root / "test.txt").write_text(names[0], encoding="utf-16")
    with pytest.raises(DataError, match=r"test\.txt is not UTF-8 text"):
        find_splits(root, "folder")


def test_disjoint_photos_stay_in_the_last_split_that_has_them(tmp_path):
    names = {"train": ("a_1_1", "b_1_1", "c_1_1", "d_1_1"), "val": ("b_2_1", "c_2_1", "e_1_1"), "test": ("c_3_1", "f_1_1")}
    pairs = {split: [Pair(tmp_path / f"{name}.jpg", None) for name in each] for split, each in names.items()}
    kept = {split: stems(each) for split, each in keep_disjoint(pairs).items()}
    assert kept == {"train": ["a_1_1", "d_1_1"], "val": ["b_2_1", "e_1_1"], "test": ["c_3_1", "f_1_1"]}
    with pytest.raises(DataError, match="photo_disjoint leaves no image of val: later splits have all its photos"):
        keep_disjoint(pairs | {"val": pairs["test"]})


def test_what_is_missing_in_a_folder_of_ones_own_is_named(tmp_path):
    with pytest.raises(DataError, match="own is not a folder"):
        find_splits(tmp_path / "own", "folder")
    write_pair(tmp_path / "own/images/a.jpg")
    with pytest.raises(DataError, match=r"own.masks is missing"):
        find_splits(tmp_path / "own", "folder")
    write_pair(tmp_path / "own/image/b.jpg", tmp_path / "own/masks/b.png")
    with pytest.raises(DataError, match=r"no mask for .*a\.jpg.*a black mask"):
        find_splits(tmp_path / "own", "folder")


# --- large photos


@pytest.mark.parametrize(
    ("size", "grid", "crop"),
    [
        ((3000, 4000), (8, 6), (376, 672)),
        ((1440, 2560), (4, 4), (360, 640)),
        ((2560, 1440), (4, 4), (640, 360)),
        ((50, 1100), (1, 2), (50, 552)),
    ],
)
def test_large_photos_are_cut_into_equal_crops_that_cover_them(tmp_path, size, grid, crop):
    Image.new("L", size[::-1]).save(tmp_path / "IMG_20240101_120000.png")
    crops = cut(Pair(tmp_path / "IMG_20240101_120000.png", None))
    assert len(crops) == len({pair.stem for pair in crops}) == grid[0] * grid[1]
    assert {pair.box[2:] for pair in crops} == {crop}
    assert {pair.photo for pair in crops} == {"IMG_20240101_120000"}
    covered = np.zeros(size, bool)
    for top, left, height, width in (pair.box for pair in crops):
        covered[top : top + height, left : left + width] = True
    assert covered.all()
    assert own_size(crops) == (-(-min(crop) // 8) * 8, max(crop))


def test_crops_of_a_large_photo_are_its_parts(tmp_path):
    root = write_folder(tmp_path / "own", photos=4, crops=1, size=(700, 1200))
    run_data = find_data(small_params(root, dataset="folder"), tmp_path)
    assert run_data.input_size == (352, 600)
    assert "Large photos of train, cut into crops of about 640 x 360 pixels: 2." in run_data.notes
    crops = run_data.split("test").crops
    assert len(crops) == 4
    (whole,) = read_crops([Pair(crops[0].pair.image_path, crops[0].pair.mask_path)], 3)
    for crop in crops:
        top, left, height, width = crop.pair.box
        np.testing.assert_array_equal(crop.image, whole.image[top : top + height, left : left + width])
        np.testing.assert_array_equal(crop.mask, whole.mask[top : top + height, left : left + width])
        assert crop.image.base is None  # the whole photo is let go


def test_a_phone_s_photo_is_turned_as_it_is_shown(tmp_path):
    shown = np.zeros((64, 32, 3), np.uint8)
    shown[:, :8] = 200
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # stored lying, to be turned clockwise
    Image.fromarray(np.rot90(shown)).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(shown).save(tmp_path / "m.png")
    crop = read_crop(Pair(tmp_path / "a.png", tmp_path / "m.png"), 3)
    np.testing.assert_array_equal(crop.image, shown)
    assert own_size([Pair(tmp_path / "a.png", None)]) == (32, 64)


# --- decoding


def test_a_mask_pixel_above_127_is_crack(tmp_path):
    Image.fromarray(np.full((4, 4, 3), 90, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.array([[0, 127], [128, 255]], np.uint8).repeat(2, 0).repeat(2, 1)).save(tmp_path / "m.png")
    crop = read_crop(Pair(tmp_path / "a.png", tmp_path / "m.png"), 3)
    np.testing.assert_array_equal(crop.mask[::2, ::2], [[False, False], [True, True]])


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_files_serve_both_inputs(tmp_path, channels):
    for mode in ("L", "RGB", "RGBA", "P"):
        Image.new(mode, (8, 4)).save(tmp_path / f"{mode}.png")
        assert read_crop(Pair(tmp_path / f"{mode}.png", None), channels).image.shape == (4, 8, channels)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_refused_before_any_work_and_odd_letters_are_not(tmp_path):
    write_pair(tmp_path / "images" / "Foto 1\u202fPM é.jpg", tmp_path / "masks" / "Foto 1\u202fPM é.png")
    assert not (find_negatives(tmp_path, "masks")[0].stem.isascii())
    shutil.copy(next((tmp_path / "images").iterdir()), os.fsencode(tmp_path / "images") + b"/a\xff.jpg")
    with pytest.raises(DataError, match=r"images holds a file whose name is no text, 'a\\udcff\.jpg'; rename it"):
        find_splits(tmp_path, "folder")


def test_files_that_cannot_be_used_are_named(tmp_path):
    write_pair(tmp_path / "a.jpg", tmp_path / "a.png")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"empty\.jpg \(0 bytes\) as an image: it is empty"):
        read_crop(Pair(tmp_path / "empty.jpg", tmp_path / "a.png"), 3)
    (tmp_path / "half.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:900])
    with pytest.raises(DataError, match=r"cannot read .*half\.jpg"):
        read_crop(Pair(tmp_path / "half.jpg", tmp_path / "a.png"), 3)
    Image.new("L", (64, 32)).save(tmp_path / "small.png")
    with pytest.raises(DataError, match=r"small\.png is 64 x 32, its image 128 x 64"):
        read_crop(Pair(tmp_path / "a.jpg", tmp_path / "small.png"), 3)
    Image.fromarray(np.eye(64, 128, dtype=np.uint8) * 100).save(tmp_path / "dark.png")
    with pytest.raises(DataError, match=r"dark\.png holds values up to 100; crack must be brighter than 127"):
        read_crop(Pair(tmp_path / "a.jpg", tmp_path / "dark.png"), 3)
    Image.fromarray(np.zeros((64, 128), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png has pixels of mode I.*convert it to 8 bits"):
        read_crop(Pair(tmp_path / "a.jpg", tmp_path / "deep.png"), 3)
    (tmp_path / "d" / "traincrop" / "folder.jpg").mkdir(parents=True)
    with pytest.raises(DataError, match="no images in"):
        find_pairs(tmp_path / "d", "train")


def test_a_mask_may_be_painted_in_any_colour(tmp_path):
    image = np.zeros((4, 4, 3), np.uint8)
    image[1, :, 0] = 255  # red, whose grey value is 76
    Image.fromarray(image).save(tmp_path / "m.png")
    assert read_crop(Pair(tmp_path / "m.png", tmp_path / "m.png"), 3).mask.sum() == 4
