import pytest
from conftest import small_params, write_dataset, write_pair
from made_data import stems, write_folder

from crack_utils.data import SPLITS, Pair, data_facts, find_data, find_splits
from crack_utils.data.splits import keep_disjoint, limit_by_photo
from crack_utils.errors import DataError


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
    facts = data_facts(find_data(small_params(root, dataset="folder", split_seed=3), tmp_path))
    assert facts["notes"] == ["Splits drawn by photo from 30 images because the data set lacks them (split_seed 3): val and test."]
    assert facts["test_title"] == "your own photos, split drawn by photo"


def test_a_draw_needs_a_cracked_photo_for_every_split(tmp_path):
    root = write_folder(tmp_path / "own", photos=6, crops=1, cracked=2)
    with pytest.raises(DataError, match=r"2 of 6 photos show a crack; val, test, train need one each.*mask_crack"):
        find_splits(root, "folder")
    for i in range(12):
        write_pair(tmp_path / f"trip/images/IMG_2024_{1200 + i}.jpg", tmp_path / f"trip/masks/IMG_2024_{1200 + i}.png", (64, 128))
    with pytest.raises(
        DataError, match=r"1 of 1 photos .* 12 images count as crops of one photo, IMG, because their names end alike; rename"
    ):
        find_splits(tmp_path / "trip", "folder")


def test_a_photo_that_test_has_too_is_never_drawn_for_val(tmp_path):
    for i in range(6):
        write_pair(tmp_path / f"train/images/p{i}_1_1.jpg", tmp_path / f"train/masks/p{i}_1_1.png", (64, 128))
    write_pair(tmp_path / "test/images/p0_129_1.jpg", tmp_path / "test/masks/p0_129_1.png", (64, 128))
    for seed in range(8):
        found = find_splits(tmp_path, "folder", seed).pairs
        assert "p0_1_1" in stems(found["train"])
        assert len(found["train"]) + len(found["val"]) == 6


def test_crack_free_crops_of_a_photo_do_not_leave_its_split_where_splits_are_drawn(tmp_path):
    for i in range(6):
        write_pair(tmp_path / f"images/p{i}_1_1.jpg", tmp_path / f"masks/p{i}_1_1.png", seed=i)
        write_pair(tmp_path / f"negatives/train/p{i}_129_1.jpg")
    write_pair(tmp_path / "negatives/train/elsewhere_1_1.jpg")
    data = find_data(small_params(tmp_path, dataset="folder"), tmp_path)
    photos = {split: {crop.pair.photo for crop in data.split(split).crops} for split in SPLITS}
    assert not photos["train"] & (photos["val"] | photos["test"])
    assert "elsewhere" in photos["train"]
    left = len(photos["val"] | photos["test"])
    assert f"Crack-free images left out because cracked crops of their photo are in another split: {left}." in data.notes


def test_a_given_test_split_keeps_its_crack_free_images_whatever_is_drawn(tmp_path):
    for i in range(6):
        write_pair(tmp_path / f"train/images/p{i}_1_1.jpg", tmp_path / f"train/masks/p{i}_1_1.png", seed=i)
        write_pair(tmp_path / f"negatives/test/p{i}_129_1.jpg")
    write_pair(tmp_path / "test/images/q_1_1.jpg", tmp_path / "test/masks/q_1_1.png")
    counts = data_facts(find_data(small_params(tmp_path, dataset="folder", evaluate_negatives=True), tmp_path))["counts"]
    assert counts["test"] == {"positives": 1, "negatives": 5}  # but for that of the photo drawn for val


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


def test_a_limit_takes_whole_photos_and_keeps_the_share_of_negatives(tmp_path):
    pairs = [Pair(tmp_path / f"p{i // 4}_{i % 4}_1.jpg", tmp_path / "m.png") for i in range(40)]
    pairs += [Pair(tmp_path / f"p{i}_9_1.jpg", None) for i in range(10)]
    limited = limit_by_photo(pairs, 10, seed=1)
    cracked, crack_free = [p for p in limited if p.mask_path], [p for p in limited if not p.mask_path]
    assert (len(cracked), len(crack_free)) == (8, 2)
    assert len({p.photo for p in cracked}) == 2  # two photos of four crops each
    assert {p.photo for p in crack_free} == {p.photo for p in cracked}
    assert limit_by_photo(pairs, 10, seed=1) == limited != limit_by_photo(pairs, 10, seed=2)
    assert limit_by_photo(pairs, 100, seed=1) == pairs


def test_disjoint_photos_stay_in_the_last_split_that_has_them(tmp_path):
    names = {"train": ("a_1_1", "b_1_1", "c_1_1", "d_1_1"), "val": ("b_2_1", "c_2_1", "e_1_1"), "test": ("c_3_1", "f_1_1")}
    pairs = {split: [Pair(tmp_path / f"{name}.jpg", None) for name in each] for split, each in names.items()}
    kept = {split: stems(each) for split, each in keep_disjoint(pairs).items()}
    assert kept == {"train": ["a_1_1", "d_1_1"], "val": ["b_2_1", "e_1_1"], "test": ["c_3_1", "f_1_1"]}
    with pytest.raises(DataError, match="photo_disjoint leaves no image of val: later splits have all its photos"):
        keep_disjoint(pairs | {"val": pairs["test"]})
