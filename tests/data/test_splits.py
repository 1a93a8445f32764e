import itertools

import numpy as np
import pytest
from conftest import small_params, write_dataset, write_pair
from made_data import stems, write_deepcrack, write_folder
from PIL import Image

from crack_utils.data import SPLITS, Pair, data_facts, find_data, find_splits
from crack_utils.data.draws import DRAWN_SHARES, draw_splits
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
    assert facts["notes"][0] == "30 images count as crops of 10 photos, because their names end in two offsets."
    assert facts["notes"][1:] == ["Splits drawn by photo from 30 images because the data set lacks them (split_seed 3): val and test."]
    assert facts["test_title"] == "your own photos, split drawn by photo"


def test_a_draw_needs_a_cracked_photo_for_every_split(tmp_path):
    root = write_folder(tmp_path / "own", photos=6, crops=1, cracked=2)
    with pytest.raises(DataError, match=r"2 of 6 photos show a crack; val, test, train need one each.*mask_crack"):
        find_splits(root, "folder")
    for i in range(12):
        write_pair(tmp_path / f"trip/images/IMG_2024_{1200 + 64 * i}.jpg", tmp_path / f"trip/masks/IMG_2024_{1200 + 64 * i}.png", (64, 128))
    with pytest.raises(
        DataError, match=r"1 of 1 photos .* 12 images count as crops of one photo, IMG, because their names end alike; rename"
    ):
        find_splits(tmp_path / "trip", "folder")


def test_numbers_that_cannot_be_offsets_number_photos(tmp_path):
    """Crops of one photo do not lie on top of each other."""
    for kind in ("siteA_3_{}", "site{}_1_2", "IMG_2024_{}", "A7_12_{}", "{}_1_7", "IMG_20240501_{}", "DJI_000{}_5"):
        for i in range(9):
            write_pair(tmp_path / kind / f"images/{kind.format(i)}.jpg", tmp_path / kind / f"masks/{kind.format(i)}.png", seed=i)
        found = find_splits(tmp_path / kind, "folder")
        assert {split: len(pairs) for split, pairs in found.pairs.items()} == {"train": 6, "val": 1, "test": 2}
        assert len({pair.photo for pairs in found.pairs.values() for pair in pairs}) == 9
        alone = "9 images have names that end in two numbers which cannot be offsets. Each counts as a photo of its own."
        assert found.notes[:-1] == (() if kind in ("site{}_1_2", "{}_1_7", "IMG_20240501_{}") else (alone,))


@pytest.mark.parametrize("order", ["{x}_{y}", "{y}_{x}", "{y:04}_{x:04}"])
def test_numbers_that_can_be_offsets_are(tmp_path, order):
    """Crops may overlap, and the last column and row may be smaller. What overlaps shows the same."""
    write_pair(tmp_path / "photo.png", tmp_path / "mask.png", (140, 300))
    (tmp_path / "own/images").mkdir(parents=True)
    (tmp_path / "own/masks").mkdir()
    photo, mask = Image.open(tmp_path / "photo.png"), Image.open(tmp_path / "mask.png")
    for x, y in itertools.product((0, 40, 80, 120, 160, 200), (0, 48, 96)):
        box = (x, y, min(x + 128, 300), min(y + 64, 140))
        photo.crop(box).save(tmp_path / f"own/images/wall_{order.format(x=x, y=y)}.jpg", quality=90)
        mask.crop(box).save(tmp_path / f"own/masks/wall_{order.format(x=x, y=y)}.png")
    for i in range(4):
        write_pair(tmp_path / f"own/images/road{i}_1_1.jpg", tmp_path / f"own/masks/road{i}_1_1.png")
    found = find_splits(tmp_path / "own", "folder")
    crops = len(list((tmp_path / "own/images").glob("wall*")))
    assert len({pair.photo for pairs in found.pairs.values() for pair in pairs}) == 5 and crops == 18
    assert found.notes[0] == f"{crops} images count as crops of 1 photo, because their names end in two offsets."


def test_stations_in_steps_of_a_crop_s_size_number_photos_if_the_pictures_differ_where_they_would_overlap(tmp_path):
    for i in range(10):
        write_pair(tmp_path / f"images/A7_12_{50 * i}.jpg", tmp_path / f"masks/A7_12_{50 * i}.png", (64, 128), seed=i)
    assert len({pair.photo for pairs in find_splits(tmp_path, "folder").pairs.values() for pair in pairs}) == 10


def test_what_is_no_offset_beside_offsets_and_what_holds_for_a_set_holds_for_its_negatives(tmp_path):
    for i in range(9):
        write_pair(tmp_path / f"images/wall_3_{i}.jpg", tmp_path / f"masks/wall_3_{i}.png", seed=i)
    write_pair(tmp_path / "images/wall.jpg", tmp_path / "masks/wall.png")
    write_pair(tmp_path / "negatives/train/wall_3_99.jpg")
    data = find_data(small_params(tmp_path, dataset="folder"), tmp_path)
    pairs = [pair for split in SPLITS for pair in data.pairs[split]]
    assert len({pair.photo for pair in pairs}) == len(pairs) == 11


def test_negatives_are_crops_of_photos_as_their_data_set_names_them(tmp_path):
    write_deepcrack(tmp_path)
    write_pair(tmp_path / "negatives/train/11400-7.jpg")
    (negative,) = (pair for pair in find_data(small_params(tmp_path, dataset="deepcrack"), tmp_path).pairs["train"] if not pair.mask_path)
    assert negative.photo == "11400"


def test_tiles_numbered_by_row_and_column_are_parts_of_one_photo(tmp_path):
    for number in range(4):
        rng = np.random.default_rng(number)
        shades = np.kron(rng.normal(140, 25, (8, 16)), np.ones((24, 24)))
        for row, column in itertools.product(range(3), range(3)):
            part = np.s_[64 * row : 64 * row + 64, 128 * column : 128 * column + 128]
            (tmp_path / "images").mkdir(exist_ok=True)
            Image.fromarray(shades[part].clip(0, 255).astype(np.uint8)).save(tmp_path / f"images/road{number}_{row}_{column}.png")
            write_pair(tmp_path / "other.png", tmp_path / f"masks/road{number}_{row}_{column}.png", seed=number + row)
    found = find_splits(tmp_path, "folder")
    assert {len({pair.photo for pair in pairs}) for pairs in found.pairs.values()} == {1, 2}
    assert found.notes[0].startswith("36 images count as crops of 4 photos")


def test_photos_that_each_split_numbers_anew_are_different_photos_if_they_differ(tmp_path):
    for i, split in enumerate(("train", "test")):
        for number in range(1, 7):
            shades = np.kron(np.random.default_rng(10 * i + number).normal(140, 30, (4, 8)), np.ones((16, 16)))
            write_pair(tmp_path / f"{split}/images/{number}.png", tmp_path / f"{split}/masks/{number}.png", seed=number)
            Image.fromarray(shades.clip(0, 255).astype(np.uint8)).save(tmp_path / f"{split}/images/{number}.png")
    found = find_splits(tmp_path, "folder")
    assert len({pair.photo for pairs in found.pairs.values() for pair in pairs}) == 12
    assert (
        found.notes[0] == "12 images share their names with images of other folders, but differ from them. They count as different photos."
    )
    for number in range(1, 7):
        (tmp_path / f"test/images/{number}.png").write_bytes((tmp_path / f"train/images/{number}.png").read_bytes())
    assert len({pair.photo for pairs in find_splits(tmp_path, "folder").pairs.values() for pair in pairs}) == 6


def closeness(drawn, missing):
    total = sum(map(len, drawn.values()))
    return sum(abs(len(drawn[split]) - DRAWN_SHARES[split] * total) for split in missing)


def closest(sizes, cracked, missing):
    """How close any way to divide the photos comes to the promised shares."""
    splits, best = (*missing, "train"), np.inf
    for places in itertools.product(splits, repeat=len(sizes)):
        if {place for place, has in zip(places, cracked, strict=True) if has} == set(splits):
            sums = [sum(size for size, place in zip(sizes, places, strict=True) if place == split) for split in missing]
            best = min(best, sum(abs(n - DRAWN_SHARES[split] * sum(sizes)) for n, split in zip(sums, missing, strict=True)))
    return best


@pytest.mark.parametrize("missing", [("val", "test"), ("val",), ("test",)])
def test_photos_of_unequal_size_are_drawn_as_close_to_the_shares_as_whole_photos_allow(tmp_path, missing):
    white, black = tmp_path / "white.png", tmp_path / "black.png"
    Image.new("L", (8, 8), 255).save(white)
    Image.new("L", (8, 8), 0).save(black)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        sizes, cracked = rng.integers(1, 9, 7), rng.permutation([True] * 4 + [False] * 3)
        pairs = [
            Pair(tmp_path / f"p{i}_{n + 1}_1.jpg", white if has else black)
            for i, (size, has) in enumerate(zip(sizes, cracked, strict=True))
            for n in range(size)
        ]
        splits, total = (*missing, "train"), len(pairs)
        drawn = draw_splits(pairs, missing, seed)
        assert closeness(drawn, missing) == pytest.approx(closest(sizes, cracked, missing))
        assert drawn == draw_splits(pairs, missing, seed) and sum(map(len, drawn.values())) == total
        photos = [{pair.photo for pair in drawn[split]} for split in splits]
        assert sum(map(len, photos)) == len(set.union(*photos)) == 7
        assert all(any(pair.mask_path == white for pair in drawn[split]) for split in splits)


def test_one_large_photo_among_many_small_ones_goes_to_train_and_draws_differ(tmp_path):
    white = tmp_path / "white.png"
    Image.new("L", (8, 8), 255).save(white)
    pairs = [Pair(tmp_path / f"big_{n + 1}_1.jpg", white) for n in range(300)]
    pairs += [Pair(tmp_path / f"p{i}_{n + 1}_1.jpg", white) for i in range(200) for n in range(1 + i % 3)]
    tests = set()
    for seed in range(6):
        drawn = draw_splits(pairs, ("val", "test"), seed)
        assert closeness(drawn, ("val", "test")) <= 1
        tests.add(tuple(sorted({pair.photo for pair in drawn["test"]})))
    assert len(tests) == 6


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
