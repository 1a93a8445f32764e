import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import small_params
from made_data import write_twins

from crack_utils.config import parse_parameters
from crack_utils.data import SPLITS, Crop, Leaks, Pair, data_facts, find_data, find_leaks, pictured
from crack_utils.data.leaks import correlation, thumbnail
from crack_utils.reporting.exploration import duplicates_table, photos_table, summary


def pavement(seed, size=(360, 640)):
    """Grains of several sizes under a strong shadow that all these images have: (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    image = np.linspace(60, 190, size[1]) * np.ones((*size, 1))[..., 0]
    for cell in (2, 8, 30):
        grains = rng.normal(0, 12, (size[0] // cell + 1, size[1] // cell + 1)).astype(np.float32)
        image = image + cv2.resize(grains, size[::-1])
    return np.repeat(image.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def crop(name, image):
    return Crop(Pair(Path(f"{name}.jpg"), None), image, np.zeros(image.shape[:2], bool))


def splits_with(image, split="test"):
    """Three different images in each split; train's first is ``pavement(0)``, and ``split`` has ``image`` as well."""
    splits = {name: [crop(f"{name}{i}", pavement(10 * n + i)) for i in range(3)] for n, name in enumerate(SPLITS)}
    return splits | {split: [*splits[split], crop("other_name", image)]}


def recompressed(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)


COPIES = {
    "renamed": lambda image: image,
    "recompressed": recompressed,
    "turned by 180 degrees": lambda image: np.rot90(image, 2).copy(),
    "stood up": lambda image: np.rot90(image).copy(),
    "flipped": lambda image: image[:, ::-1].copy(),
    "brightened": lambda image: np.clip(image.astype(int) + 20, 0, 255).astype(np.uint8),
    "grey": lambda image: image[..., :1].copy(),
    "smaller, flipped and recompressed": lambda image: recompressed(cv2.resize(image[::-1], (320, 180), interpolation=cv2.INTER_AREA)),
    "shifted by 6 pixels": lambda image: np.roll(image, 6, axis=1),
    "shifted by 4 pixels both ways": lambda image: np.roll(image, (4, 4), axis=(0, 1)),
    "painted over in a corner": lambda image: cv2.circle(image.copy(), (40, 300), 120, (40, 90, 180), -1),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_under_another_name_is_found(how):
    splits = splits_with(COPIES[how](pavement(0)))
    leaks = find_leaks(splits)
    ((*pair, alike),) = leaks.duplicates
    assert pair == ["test", "other_name", "train", "train0"]
    assert alike >= 0.6
    assert leaks.photos == {}
    assert {split: leaks.leaking_stems(split) for split in SPLITS} == {"train": {"train0"}, "val": set(), "test": {"other_name"}}
    assert [each.pair.stem for each in pictured(leaks.duplicates, splits)] == ["other_name", "train0"]
    assert duplicates_table(leaks).to_numpy().tolist() == [[*pair, alike]]


def test_the_other_crops_of_a_copied_photo_leak_too():
    splits = {name: [crop(f"{name}{i}", pavement(10 * n + i)) for i in range(3)] for n, name in enumerate(SPLITS)}
    splits["test"] += [crop("renamed_1_1", pavement(0)), crop("renamed_641_1", pavement(77)), crop("other_1_1", pavement(78))]
    leaks = find_leaks(splits)
    assert leaks.leaking_stems("test") == {"renamed_1_1", "renamed_641_1"}
    assert leaks.as_dict()["test_stems"] == ["renamed_1_1", "renamed_641_1"]


def test_a_copy_in_val_is_no_leak_of_test():
    leaks = find_leaks(splits_with(pavement(0), "val"))
    assert leaks.as_dict()["test_stems"] == []
    assert leaks.leaking_stems("val") == {"other_name"}
    assert leaks.notes() == [
        "Pairs of nearly equal images in different splits: 1 (explore shows them). The scores on val may be a little too good. "
        "photo_disjoint compares names of photos only, so pairs may remain."
    ]


def test_one_shadow_over_different_asphalt_or_none_at_all_is_no_copy():
    splits = splits_with(pavement(99))
    grey = np.corrcoef([cv2.resize(each.image, (32, 32))[..., 0].ravel() for each in splits["train"]])
    assert grey[0, 1] > 0.8  # plain thumbnails would take them for copies
    flat = [crop(f"flat{i}", np.full((64, 128, 3), 120 + i, np.uint8)) for i in range(2)]
    leaks = find_leaks(splits | {"val": flat[:1], "test": [*splits["test"], flat[1]]})
    assert leaks == Leaks({}, [], {})
    assert summary(leaks).startswith("No photo has crops in more than one set, and no image nearly equals")
    assert leaks.notes() == []
    assert photos_table(leaks).empty and duplicates_table(leaks).empty


def test_a_photo_with_crops_in_several_splits_is_found():
    splits = {split: [crop(f"photo{n}_1_1", pavement(n)), crop("twin_1_1", pavement(9))][: 1 + n] for n, split in enumerate(SPLITS)}
    splits["val"][1] = crop("twin_641_1", pavement(8))
    splits["test"].append(crop("twin_1_361", pavement(7)))
    leaks = find_leaks(splits)
    assert leaks.photos == {"twin": ["val", "test"]}
    assert leaks.duplicates == []
    assert leaks.as_dict()["test_stems"] == ["twin_1_1", "twin_1_361"]
    assert photos_table(leaks).to_dict("records") == [{"Photo": "twin", "train": 0, "val": 1, "test": 2}]
    assert summary(leaks).endswith("Images concerned: 0 of train, 1 of val, 2 of test.")


# --- a run's data


def test_facts_tell_the_leaks_once_and_as_json(tmp_path):
    run_data = find_data(small_params(write_twins(tmp_path / "d"), use_negatives=False), tmp_path)
    facts = data_facts(run_data)
    assert facts["leaks"] == {"photos": {"a": ["train", "val", "test"], "b": ["train", "val"]}, "duplicates": [], "test_stems": ["a_385_1"]}
    assert json.loads(json.dumps(facts)) == facts
    assert data_facts(run_data) == facts
    assert run_data.leaks is run_data.leaks
    assert facts["notes"] == [
        "Photos with crops in more than one split: 2. The scores on test may be a little too good. "
        "Set photo_disjoint to keep each photo in one split."
    ]


def test_photo_disjoint_leaves_no_photo_in_two_splits_and_test_as_it_was(tmp_path):
    root = write_twins(tmp_path / "d")
    before = find_data(small_params(root, use_negatives=False), tmp_path)
    after = find_data(small_params(root, use_negatives=False, photo_disjoint=True), tmp_path)
    stems = {split: [each.pair.stem for each in after.split(split).crops] for split in SPLITS}
    assert stems["test"] == [each.pair.stem for each in before.split("test").crops]
    assert "b_129_1" in stems["val"] and "a_257_1" not in stems["val"]
    assert {split: len(each) for split, each in stems.items()} == {"train": 4, "val": 3, "test": 3}
    assert data_facts(after)["leaks"] == {"photos": {}, "duplicates": [], "test_stems": []}
    assert data_facts(after)["notes"] == [
        "Images left out because a later split has crops of their photo (photo_disjoint): 3 of train and 1 of val."
    ]


# --- real images


def test_the_drawn_sample_leaks_nothing(tmp_path):
    assert find_data(parse_parameters({}), tmp_path / "sample").leaks == Leaks({}, [], {})


def test_real_photos_of_asphalt_are_told_apart(real_data):
    crackforest = find_data(small_params(real_data / "CFD", dataset="crackforest"), real_data)
    assert crackforest.leaks == Leaks({}, [], {})
    deepcrack = find_data(small_params(real_data / "DeepCrack", dataset="deepcrack"), real_data)
    assert deepcrack.leaks.photos == {"11289": ["train", "test"]}
    assert deepcrack.leaks.duplicates == []
    thumbnails = np.stack([thumbnail(each.image, 32) for split in SPLITS for each in crackforest.split(split).crops])
    assert np.triu(correlation(thumbnails, thumbnails), 1).max() < 0.3  # far from the threshold


@pytest.mark.slow
def test_real_crops_hold_two_photos_of_train_under_another_name_in_val(real_data):
    """Found in CRACK500 itself: two photos of train are in val again, turned by 180 degrees and named a second later."""
    root = real_data / "CRACK500"
    run_data = find_data(small_params(root, evaluate_negatives=True), root)
    leaks = run_data.leaks
    photos = {(split, stem.rsplit("_", 2)[0]) for *pair, _ in leaks.duplicates for split, stem in (pair[:2], pair[2:])}
    assert photos == {("train", "20160328_151056"), ("val", "20160328_151057"), ("train", "20160328_151243"), ("val", "20160328_151244")}
    assert min(alike for *_, alike in leaks.duplicates) > 0.99
    assert len(leaks.duplicates) == 19
    assert len(leaks.leaking_stems("val")) == 20  # one crop of theirs is without a double, but no less of a photo that train knows
    assert leaks.photos == {} and leaks.leaking_stems("test") == set()
