import dataclasses
import itertools

import pytest
from conftest import small_params, write_dataset, write_pair
from made_data import write_folder, write_merged, write_twins
from PIL import Image

from crack_utils.config import parse_parameters
from crack_utils.data import SPLITS, data_facts, find_data
from crack_utils.errors import DataError, ParameterError


def test_counts_are_those_of_the_masks_and_the_negatives_folders(tmp_path):
    root = write_dataset(tmp_path / "d", train=4, val=2, test=3, negatives=2)
    facts = data_facts(find_data(small_params(root), tmp_path))
    assert facts["counts"] == {
        "train": {"positives": 4, "negatives": 2},
        "val": {"positives": 2, "negatives": 0},
        "test": {"positives": 3, "negatives": 0},
    }
    assert (facts["input_height"], facts["input_width"]) == (64, 128)
    assert facts["test_title"] == "CRACK500 test subset (3 images)"
    assert not facts["drawn"]
    assert data_facts(find_data(small_params(root, use_negatives=False), tmp_path))["counts"]["train"]["negatives"] == 0
    evaluated = data_facts(find_data(small_params(root, evaluate_negatives=True), tmp_path))["counts"]
    assert (evaluated["val"]["negatives"], evaluated["test"]["negatives"]) == (2, 2)


def test_notes_do_not_depend_on_who_reads_first(tmp_path):
    root = write_twins(tmp_path / "d")

    def notes(read):
        data = find_data(small_params(root, validate_on_test=True, best_model_type="dec"), tmp_path)
        found = data.notes
        read(data)
        assert data.notes == found and len(found) == 1  # reading adds nothing
        assert data_facts(data)["notes"] == data_facts(data)["notes"]
        return data_facts(data)["notes"]

    expected = notes(lambda data: None)
    starts = "Checkpoint and thresholds were", "No crack-free images were found for train", "test has no crack-free image", "Photos with"
    assert len(expected) == len(starts) and all(note.startswith(start) for note, start in zip(expected, starts, strict=True))
    for order in itertools.permutations(SPLITS):
        assert notes(lambda data, order=order: [data.split(name) for name in order]) == expected
    assert notes(lambda data: data.leaks) == notes(data_facts) == expected


def test_a_run_s_data_cannot_be_changed(small_data):
    data = find_data(small_params(small_data), small_data)
    assert data.split("val") is data.split("val")  # decoded once
    for field in dataclasses.fields(data):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(data, field.name, None)
    assert isinstance(data.notes, tuple) and isinstance(data.split("train").notes, tuple)


def test_drawn_and_real_images_are_not_taken_for_each_other(tmp_path):
    root = write_dataset(tmp_path / "d")
    with pytest.raises(DataError, match="was not drawn by this program"):
        find_data(parse_parameters({"data_root": str(root)}), tmp_path)
    with pytest.raises(ParameterError, match="needs data_root"):
        parse_parameters({"dataset": "crack500", "data_root": ""})


def test_negatives_may_lie_elsewhere_and_missing_ones_are_noted(tmp_path):
    root = write_dataset(tmp_path / "d", negatives=0)
    without = find_data(small_params(root), tmp_path)
    assert data_facts(without)["notes"][0].endswith("neither in negatives/train nor by an empty mask; train has cracked images only.")
    write_pair(tmp_path / "sound" / "train" / "n.jpg")
    elsewhere = find_data(small_params(root, negatives_root=str(tmp_path / "sound")), tmp_path)
    assert elsewhere.split("train").negatives == 1
    assert elsewhere.notes == elsewhere.split("train").notes == ()
    with pytest.raises(DataError, match=r"negatives_root .*nowhere is not a folder"):
        find_data(small_params(root, negatives_root=str(tmp_path / "nowhere")), tmp_path)


def test_every_file_of_a_folder_of_crack_free_images_is_used_or_named(tmp_path):
    root = write_dataset(tmp_path / "d", negatives=0)
    for name in ("train/a.jpg", "train/b.jpg", "beside.jpg"):
        write_pair(tmp_path / "sound" / name)
    (tmp_path / "sound/train/empty.jpg").touch()
    (tmp_path / "sound/train/raw.dng").write_bytes(b"raw")
    given = {"negatives_root": str(tmp_path / "sound")}
    with pytest.raises(
        DataError, match=r"(?s)crack-free image beside .*beside\.jpg.*file of 0 bytes \(empty\.jpg\).*raw photo, \.dng \(raw\.dng\)"
    ):
        find_data(small_params(root, **given), tmp_path)
    data = find_data(small_params(root, **given, on_bad_data="skip"), tmp_path)
    assert sorted(each.path.name for each in data.unused) == ["beside.jpg", "empty.jpg", "raw.dng"]
    assert sum(pair.mask_path is None for pair in data.pairs["train"]) == 2


def test_crack_free_images_in_a_folder_of_another_name_are_used_when_it_is_named(tmp_path):
    root = write_folder(tmp_path / "own", photos=6, crops=1)
    write_pair(root / "Negative/a.png", seed=9)
    with pytest.raises(DataError, match="name it in negatives_root"):
        find_data(small_params(root, dataset="folder"), tmp_path)
    data = find_data(small_params(root, dataset="folder", negatives_root=str(root / "Negative")), tmp_path)
    assert [pair.stem for pair in data.pairs["train"] if pair.mask_path is None] == ["a"] and data.unused == ()


def test_crack_free_images_that_parameters_leave_out_are_counted_and_listed(tmp_path):
    root = write_folder(tmp_path / "own", photos=10, crops=1, cracked=6)
    facts = data_facts(find_data(small_params(root, dataset="folder", use_negatives=False, evaluate_negatives=False), tmp_path))
    assert len([reason for _, reason, _ in facts["unused"] if reason.startswith("crack-free image of ")]) == 8
    assert sum(note.startswith("Crack-free images of ") for note in facts["notes"]) >= 1


def test_a_folder_of_crack_free_images_alone_is_trains(tmp_path):
    root = write_dataset(tmp_path / "d", negatives=0)
    for i in range(5):
        write_pair(tmp_path / f"flat/2017{i}_1_1.jpg")
    params = small_params(root, negatives_root=str(tmp_path / "flat"), train_negatives=3, evaluate_negatives=True)
    counts = data_facts(find_data(params, tmp_path))["counts"]
    assert {split: count["negatives"] for split, count in counts.items()} == {"train": 3, "val": 0, "test": 0}


def test_an_empty_mask_is_a_negative_for_the_parameters_too(tmp_path):
    root = write_merged(tmp_path / "merged")
    without = data_facts(find_data(small_params(root, dataset="merged", use_negatives=False, evaluate_negatives=False), tmp_path))
    assert [without["counts"][split]["negatives"] for split in SPLITS] == [0, 0, 0]
    fewer = data_facts(find_data(small_params(root, dataset="merged", train_negatives=3), tmp_path))
    assert "Crack-free images found for train: 1 of the 3 that train_negatives asks for." in fewer["notes"]


def test_the_input_is_the_commonest_size_in_steps_of_8(tmp_path):
    root = write_dataset(tmp_path / "d", size=(70, 130))
    assert find_data(small_params(root), tmp_path).input_size == (72, 136)
    assert find_data(small_params(root, input_height=64, input_width=128), tmp_path).input_size == (64, 128)
    with pytest.raises(ParameterError, match="too small"):
        find_data(small_params(write_dataset(tmp_path / "small", size=(48, 80))), tmp_path)


def test_a_split_without_any_crack_and_names_used_twice_are_refused(tmp_path):
    root = write_dataset(tmp_path / "d")
    for mask in (root / "valcrop").glob("*.png"):
        Image.new("L", (128, 64)).save(mask)
    with pytest.raises(DataError, match=r"no image of val .* has a crack"):
        find_data(small_params(root), tmp_path).split("val")
    twin = next((root / "traincrop").glob("*.jpg"))
    write_pair(root / "negatives" / "train" / twin.name)
    with pytest.raises(DataError, match="names must differ"):
        find_data(small_params(root), tmp_path)


@pytest.mark.slow
def test_the_real_crops_are_counted_truly(real_data):
    root = real_data / "CRACK500"
    counts = data_facts(find_data(small_params(root, evaluate_negatives=True), root))["counts"]
    for split, counted in counts.items():
        assert counted["positives"] == len(list((root / f"{split}crop").glob("*.png")))
        assert counted["negatives"] == len(list((root / "negatives" / split).glob("*.jpg")))
