import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import scipy.io
from conftest import read_crop, small_params, write_dataset, write_pair
from made_data import MERGED, stems, write_crackforest, write_deepcrack, write_merged, write_truth

from crack_utils.config import DATASETS
from crack_utils.data import SPLITS, Pair, data_facts, find_data, find_splits, layout_of
from crack_utils.data.layouts.folders import find_folders, find_negatives
from crack_utils.errors import DataError
from crack_utils.reporting.exploration import sources_table


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
    pairs = find_folders(tmp_path).pairs["train"]
    assert stems(pairs) == sorted(truth)
    assert [pair.photo for pair in pairs] == ["20160222_081011"] * 2
    for pair in pairs:
        crop = read_crop(pair, 3)
        np.testing.assert_array_equal(crop.mask, truth[pair.stem])
        assert crop.image.shape == (64, 128, 3)


def test_an_image_without_a_mask_is_unused_except_among_the_negatives(tmp_path):
    write_dataset(tmp_path, negatives=0)
    write_pair(tmp_path / "traincrop/b.jpg")
    (unused,) = find_splits(tmp_path, "crack500").unused
    assert (unused.path, unused.reason) == (tmp_path / "traincrop/b.jpg", "photo without a mask")
    write_pair(tmp_path / "negatives/train/b.jpg")
    (negative,) = find_negatives(tmp_path / "negatives", "train")
    assert not read_crop(negative, 3).has_crack
    assert find_negatives(tmp_path / "negatives", "val") == []


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="nowhere is not a folder"):
        find_splits(tmp_path / "nowhere", "crack500")
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"holds no image that is read; it holds train/"):
        find_folders(tmp_path)


def test_crackforest_is_read_as_distributed_without_the_images_that_have_no_truth(tmp_path):
    root = write_crackforest(tmp_path / "CFD")
    labels = np.array([[1, 2, 3, 4]], np.uint8).repeat(64, 0).repeat(32, 1)
    write_truth(root / "groundTruth/008.mat", labels)
    found = find_splits(root, "crackforest")
    assert sum(map(len, found.pairs.values())) == 8
    assert found.notes[0].startswith("2 images come without truth. They were left out")
    (pair,) = (each for pairs in found.pairs.values() for each in pairs if each.stem == "008")
    crop = read_crop(pair, 3)
    np.testing.assert_array_equal(crop.mask, (labels == 2) | (labels == 4))  # 3 is sound pavement that cracks enclose
    facts = data_facts(find_data(small_params(root, dataset="crackforest"), tmp_path))
    assert (facts["test_title"], facts["test_is_part_of_official"]) == ("CrackForest, split drawn by photo", False)


def test_a_damaged_truth_of_crackforest_is_named(tmp_path):
    pair = layout_of("crackforest").describe(Pair(tmp_path / "a.jpg", tmp_path / "a.mat"))
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
    with pytest.raises(DataError, match=r"a\.mat: Segmentation holds \[0\]; expected labels 1 to 4"):
        read_crop(pair, 3)
    with pytest.raises(DataError, match=r"image is missing"):
        find_splits(tmp_path, "crackforest")


def test_deepcrack_keeps_its_test_set_and_gets_a_val(tmp_path):
    root = write_deepcrack(tmp_path / "DeepCrack")
    found = find_splits(root, "deepcrack")
    assert {split: len(pairs) for split, pairs in found.pairs.items()} == {"train": 8, "val": 2, "test": 4}
    assert len({pair.photo for pair in found.pairs["val"]}) == 1  # both crops of one photo
    assert found.notes == (
        "Splits drawn by photo from 10 images because the data set lacks them (split_seed 0): val.",
        "Whole photos do not divide as wanted: val has 20 % of the images in place of 10 %.",
    )
    facts = data_facts(find_data(small_params(root, dataset="deepcrack"), tmp_path))
    assert (facts["test_title"], facts["test_is_part_of_official"]) == ("DeepCrack test subset (4 images)", True)
    write_pair(root / "test_img/1150000-3.jpg")
    assert [each.path.name for each in find_splits(root, "deepcrack").unused] == ["1150000-3.jpg"]


def test_a_merged_set_tells_sources_and_keeps_the_crops_of_a_photo_together(tmp_path):
    root = write_merged(tmp_path / "merged")
    photos = {pair.stem: pair.photo for pairs in find_splits(root, "merged").pairs.values() for pair in pairs}
    assert photos == MERGED | {"noncrack_noncrack_concrete_wall_9_27.jpg": "noncrack_noncrack_concrete_wall_9"}
    run_data = find_data(small_params(root, dataset="merged"), tmp_path)
    counts = data_facts(run_data)["counts"]
    assert counts["test"] == {"positives": 8, "negatives": 1}  # an empty mask is a crack-free image, noisy or not
    table = sources_table(run_data).set_index("Source")
    assert table.sum().to_dict() == {"train": 8, "val": 1, "test": 9}
    assert set(table.index) >= {"noncrack", "Rissbilder_for_Florian", "Sylvie_Chambon", "CRACK500"}


def test_what_is_missing_in_a_folder_of_ones_own_is_named(tmp_path):
    with pytest.raises(DataError, match="own is not a folder"):
        find_splits(tmp_path / "own", "folder")
    write_pair(tmp_path / "own/images/a.jpg")
    with pytest.raises(DataError, match=r"own.masks is missing"):
        find_splits(tmp_path / "own", "folder")
    write_pair(tmp_path / "own/image/b.jpg", tmp_path / "own/masks/b.png")
    with pytest.raises(DataError, match=r"holds images in both image/ and images/"):
        find_splits(tmp_path / "own", "folder")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_refused_before_any_work_and_odd_letters_are_not(tmp_path):
    write_pair(tmp_path / "images" / "Foto 1\u202fPM é.jpg", tmp_path / "masks" / "Foto 1\u202fPM é.png")
    assert not (find_negatives(tmp_path / "masks", "train")[0].stem.isascii())
    shutil.copy(next((tmp_path / "images").iterdir()), os.fsencode(tmp_path / "images") + b"/a\xff.jpg")
    with pytest.raises(DataError, match=r"images holds a file whose name is not text, 'a\\udcff\.jpg'; rename it"):
        find_splits(tmp_path, "folder")


def test_real_crackforest_is_split_by_photo(real_data):
    run_data = find_data(small_params(real_data / "CFD", dataset="crackforest"), real_data)
    assert {split: counts["positives"] for split, counts in data_facts(run_data)["counts"].items()} == {"train": 82, "val": 12, "test": 24}
    assert run_data.notes[0].startswith("37 images come without truth")
    shares = [crop.mask.mean() for split in SPLITS for crop in run_data.split(split).crops]
    assert min(shares) > 0.003 and max(shares) < 0.07
    darker = [crop.image[~crop.mask].mean() - crop.image[crop.mask].mean() for split in SPLITS for crop in run_data.split(split).crops]
    assert np.median(darker) > 20  # grey values: the truth lies on the cracks


def test_real_deepcrack_has_its_own_test_set(real_data):
    facts = data_facts(find_data(small_params(real_data / "DeepCrack", dataset="deepcrack"), real_data))
    assert {split: counts["positives"] for split, counts in facts["counts"].items()} == {"train": 27, "val": 3, "test": 20}
    assert facts["test_title"] == "DeepCrack test subset (20 images)"


@pytest.mark.parametrize("dataset", DATASETS)
def test_each_data_set_has_a_layout(dataset):
    layout = layout_of(dataset)
    assert layout.title and callable(layout.find)
    assert layout.link is None or layout.link.startswith("https://")


def test_layouts_and_facts_import_no_torch():
    code = f"""
import sys
from crack_utils.data.facts import data_facts
from crack_utils.data.layouts import layout_of
print([layout_of(name).title for name in {DATASETS}], "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("['the drawn sample', 'CRACK500'") and done.stdout.endswith("] False\n")


def test_a_damaged_truth_of_crackforest_is_named_and_skipped(tmp_path):
    root = write_crackforest(tmp_path / "cfd")
    (root / "groundTruth" / "003.mat").write_bytes(b"no MATLAB file")
    with pytest.raises(
        DataError, match=r"1 x truth that cannot be read \(003\.mat \(.*\)\): replace or remove it, or set on_bad_data to skip"
    ):
        find_data(small_params(root, dataset="crackforest"), tmp_path)
    data = find_data(small_params(root, dataset="crackforest", on_bad_data="skip"), tmp_path)
    assert "003" not in [pair.stem for pairs in data.pairs.values() for pair in pairs]
    assert {each.path.name for each in data.unused if "00" in each.path.name} == {"003.mat", "003.jpg", "009.jpg"}
