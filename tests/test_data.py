import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, small_params, write_dataset, write_pair
from PIL import Image
from test_layouts import write_folder
from torchvision.transforms import v2

from crack_utils.config import parse_parameters
from crack_utils.data import (
    SPLITS,
    Crop,
    CropDataset,
    Pair,
    crack_weights,
    find_data,
    find_pairs,
    fit,
    fit_image,
    fit_mask,
    limit_by_photo,
    place,
    read_crop,
    unfit,
)
from crack_utils.errors import DataError, ParameterError

# --- fitting


@pytest.mark.parametrize("size", [(360, 640), (640, 360), (300, 600), (600, 301)])
def test_what_fits_is_turned_and_padded_and_comes_back_exactly(size):
    values = np.random.default_rng(0).integers(0, 255, size, np.uint8)
    placement = place(size, (360, 640))
    fitted = fit(values, placement, (360, 640), "symmetric")
    assert fitted.shape == (360, 640)
    assert placement.turned == (size[0] > size[1])
    np.testing.assert_array_equal(unfit(torch.from_numpy(fitted).float(), placement), values)


def test_what_is_too_large_keeps_its_proportions_and_comes_back_at_its_own_size():
    y, x = np.mgrid[:484, :648]
    disc = (np.hypot(y - 200, x - 300) < 100).astype(np.uint8) * 255
    placement = place(disc.shape, (360, 640))
    assert (placement.inner_height, placement.inner_width) == (360, 482)
    fitted = fit(disc, placement, (360, 640), "constant") > 127
    rows, columns = np.flatnonzero(fitted.any(1)), np.flatnonzero(fitted.any(0))
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1  # a disc stays a disc
    back = unfit(torch.from_numpy(fitted).float(), placement).numpy()
    assert back.shape == disc.shape
    assert ((back > 0.5) != (disc > 127)).mean() < 0.002


@pytest.mark.parametrize(("size", "inner"), [((184, 320), (180, 320)), ((120, 216), (120, 213))])
def test_thin_cracks_survive_scaling_down(size, inner):
    mask = np.zeros((360, 640), bool)
    mask[101, 50:600] = True
    placement = place(mask.shape, size)
    assert (placement.inner_height, placement.inner_width) == inner
    assert fit_mask(mask, placement, size).any(axis=0).sum() >= 540 * placement.scale


def test_an_image_becomes_floats_as_torchvision_makes_them():
    values = np.arange(256, dtype=np.uint8).reshape(8, 32, 1)
    expected = v2.functional.to_dtype(torch.from_numpy(values).permute(2, 0, 1), torch.float32, scale=True)
    torch.testing.assert_close(fit_image(values, place((8, 32), (8, 32)), (8, 32)), expected, rtol=0, atol=0)


def test_padding_is_not_valid_and_holds_no_crack(tmp_path):
    write_pair(tmp_path / "a.jpg", tmp_path / "a.png", size=(60, 100))
    crop = read_crop(Pair(tmp_path / "a.jpg", tmp_path / "a.png"), 3)
    item = CropDataset([crop], (64, 128))[0]
    assert item["image"].shape == (3, 64, 128)
    assert item["valid"].sum() == 60 * 100
    assert item["mask"].sum() == crop.mask.sum()
    assert (item["mask"] <= item["valid"]).all()


def test_an_item_is_a_float_image_between_0_and_1(small_data):
    item = find_data(small_params(small_data), small_data).split("train")[0]
    assert item["image"].dtype == torch.float32
    assert 0 <= item["image"].min() < item["image"].max() <= 1
    assert set(item["mask"].unique().tolist()) == {0.0, 1.0}
    assert item["has_crack"].tolist() == [1.0]


def test_dilate_widens_the_training_masks_by_a_square(small_data):
    truth = find_data(small_params(small_data), small_data).split("train")[0]["mask"][0].bool().numpy()
    wide = find_data(small_params(small_data, dilate=3), small_data)
    expected = np.zeros_like(truth)
    for y, x in np.argwhere(truth):
        expected[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = True
    np.testing.assert_array_equal(wide.split("train")[0]["mask"][0].bool().numpy(), expected)
    assert wide.split("val").dilate == 1


# --- augmentation


def test_augmentation_moves_image_and_mask_together_and_only_where_there_is_a_crack(tmp_path):
    write_pair(tmp_path / "a.png", tmp_path / "m.png")
    cracked = read_crop(Pair(tmp_path / "a.png", tmp_path / "m.png"), 3)
    crack_free = Crop(cracked.pair, cracked.image, np.zeros_like(cracked.mask))
    dataset = CropDataset([cracked, crack_free], (64, 128))
    plain, unchanged, moved = dataset[0], 0, 0
    for seed in range(200):
        item, again, free = dataset[0, seed], dataset[0, seed], dataset[1, seed]
        assert torch.equal(item["image"], again["image"])  # the seed alone decides
        assert torch.equal(free["image"], plain["image"])
        assert item["mask"].sum() == plain["mask"].sum()
        dark = item["image"].mean(0, keepdim=True)[item["mask"] > 0].mean()
        assert dark < item["image"].mean() - 0.1  # the mask still lies on the dark line
        unchanged += torch.equal(item["image"], plain["image"])
        moved += not torch.equal(item["mask"], plain["mask"])
    assert 85 <= unchanged <= 140  # half of them, and those whose parts cancel out or do not happen
    assert 40 <= moved <= 110


@pytest.mark.parametrize(
    ("part", "possible"),
    [
        ("horizontal_flip", lambda image: [image.flip(-1)]),
        ("vertical_flip", lambda image: [image.flip(-2)]),
        ("rotation", lambda image: [image.flip(-1).flip(-2)]),
        ("", lambda image: []),
    ],
)
def test_each_part_of_the_augmentation_does_its_own_and_no_other(tmp_path, part, possible):
    write_pair(tmp_path / "a.png", tmp_path / "m.png")
    dataset = CropDataset([read_crop(Pair(tmp_path / "a.png", tmp_path / "m.png"), 3)], (64, 128), parts=part.split())
    plain = dataset[0]
    seen = [0, 0]
    for seed in range(60):
        item = dataset[0, seed]
        allowed = [plain["image"], *possible(plain["image"])]
        which = next(i for i, image in enumerate(allowed) if torch.equal(item["image"], image))
        assert torch.equal(item["mask"], [plain["mask"], *possible(plain["mask"])][which])
        seen[which] += 1
    assert (seen[1] > 5) is bool(part)  # a quarter of the time


def test_colour_jitter_alone_moves_nothing(tmp_path):
    write_pair(tmp_path / "a.png", tmp_path / "m.png")
    dataset = CropDataset([read_crop(Pair(tmp_path / "a.png", tmp_path / "m.png"), 3)], (64, 128), parts=["color_jitter"])
    items = [dataset[0, seed] for seed in range(30)]
    assert all(torch.equal(item["mask"], items[0]["mask"]) for item in items)
    assert not all(torch.equal(item["image"], items[0]["image"]) for item in items)
    red = np.zeros((64, 128, 3), np.uint8)
    red[..., 0] = 200
    Image.fromarray(red).save(tmp_path / "red.png")
    dataset = CropDataset([read_crop(Pair(tmp_path / "red.png", tmp_path / "m.png"), 3)], (64, 128), parts=["color_jitter"])
    images = [dataset[0, seed]["image"] for seed in range(30)]
    assert any(not torch.allclose(image[1], image[2]) for image in images)  # green and blue come apart by hue alone


def test_weights_follow_the_mask_that_is_trained_on(small_data):
    plain = find_data(small_params(small_data), small_data).split("train")
    assert (plain[0]["weight"] == 1).all()
    weighted = find_data(small_params(small_data, weighted_segmentation_loss=True, w_max=4, w_power=1), small_data)
    item = weighted.split("train")[0, 3]
    assert (item["weight"][item["mask"] == 0] == 1).all()
    assert item["weight"].max() == 4
    assert item["weight"][item["mask"] == 1].min() == 2  # a line three pixels wide: 1 of 2 at its edge
    assert (weighted.split("val")[0]["weight"] == 1).all()
    wide = find_data(small_params(small_data, weighted_segmentation_loss=True, dilate=5), small_data).split("train")[0]
    np.testing.assert_array_equal(wide["weight"][0], crack_weights(wide["mask"][0].numpy() > 0, 3, 2))
    assert wide["mask"].sum() > item["mask"].sum()


def test_augmentation_parts_reach_the_images_of_train(small_data):
    assert find_data(small_params(small_data, augmentation_parts="rotation"), small_data).split("train").parts == ["rotation"]


def test_a_folder_of_crack_free_images_alone_is_trains(tmp_path):
    root = write_dataset(tmp_path / "d", negatives=0)
    for i in range(5):
        write_pair(tmp_path / f"flat/2017{i}_1_1.jpg")
    params = small_params(root, negatives_root=str(tmp_path / "flat"), train_negatives=3, evaluate_negatives=True)
    counts = find_data(params, tmp_path).facts["counts"]
    assert {split: count["negatives"] for split, count in counts.items()} == {"train": 3, "val": 0, "test": 0}


# --- a run's data


def test_counts_are_those_of_the_masks_and_the_negatives_folders(tmp_path):
    root = write_dataset(tmp_path / "d", train=4, val=2, test=3, negatives=2)
    facts = find_data(small_params(root), tmp_path).facts
    assert facts["counts"] == {
        "train": {"positives": 4, "negatives": 2},
        "val": {"positives": 2, "negatives": 0},
        "test": {"positives": 3, "negatives": 0},
    }
    assert (facts["input_height"], facts["input_width"]) == (64, 128)
    assert facts["test_title"] == "CRACK500 test subset (3 images)"
    assert not facts["drawn"]
    assert find_data(small_params(root, use_negatives=False), tmp_path).facts["counts"]["train"]["negatives"] == 0
    evaluated = find_data(small_params(root, evaluate_negatives=True), tmp_path).facts["counts"]
    assert (evaluated["val"]["negatives"], evaluated["test"]["negatives"]) == (2, 2)


def test_drawn_and_real_images_are_not_taken_for_each_other(tmp_path):
    root = write_dataset(tmp_path / "d")
    with pytest.raises(DataError, match="was not drawn by this program"):
        find_data(parse_parameters({"data_root": str(root)}), tmp_path)
    with pytest.raises(ParameterError, match="needs data_root"):
        parse_parameters({"dataset": "crack500", "data_root": ""})


def test_negatives_may_lie_elsewhere_and_missing_ones_are_noted(tmp_path):
    root = write_dataset(tmp_path / "d", negatives=0)
    without = find_data(small_params(root), tmp_path)
    assert "without them" in without.facts["notes"][0]
    write_pair(tmp_path / "sound" / "train" / "n.jpg")
    elsewhere = find_data(small_params(root, negatives_root=str(tmp_path / "sound")), tmp_path)
    assert elsewhere.split("train").negatives == 1
    assert elsewhere.notes == []
    with pytest.raises(DataError, match=r"negatives_root .*nowhere is not a folder"):
        find_data(small_params(root, negatives_root=str(tmp_path / "nowhere")), tmp_path)


def test_crack_free_crops_of_a_photo_do_not_leave_its_split_where_splits_are_drawn(tmp_path):
    for i in range(6):
        write_pair(tmp_path / f"images/p{i}_1_1.jpg", tmp_path / f"masks/p{i}_1_1.png")
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
        write_pair(tmp_path / f"train/images/p{i}_1_1.jpg", tmp_path / f"train/masks/p{i}_1_1.png")
        write_pair(tmp_path / f"negatives/test/p{i}_129_1.jpg")
    write_pair(tmp_path / "test/images/q_1_1.jpg", tmp_path / "test/masks/q_1_1.png")
    counts = find_data(small_params(tmp_path, dataset="folder", evaluate_negatives=True), tmp_path).facts["counts"]
    assert counts["test"] == {"positives": 1, "negatives": 5}  # but for that of the photo drawn for val


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


@pytest.mark.slow
def test_the_real_crops_are_counted_truly(real_data):
    root = real_data / "CRACK500"
    counts = find_data(small_params(root, evaluate_negatives=True), root).facts["counts"]
    for split, counted in counts.items():
        assert counted["positives"] == len(list((root / f"{split}crop").glob("*.png")))
        assert counted["negatives"] == len(list((root / "negatives" / split).glob("*.jpg")))


def test_real_crackforest_is_split_by_photo(real_data):
    run_data = find_data(small_params(real_data / "CFD", dataset="crackforest"), real_data)
    assert {split: counts["positives"] for split, counts in run_data.facts["counts"].items()} == {"train": 82, "val": 12, "test": 24}
    assert run_data.notes[0].startswith("37 images come without truth")
    shares = [crop.mask.mean() for split in SPLITS for crop in run_data.split(split).crops]
    assert min(shares) > 0.003 and max(shares) < 0.07
    darker = [crop.image[~crop.mask].mean() - crop.image[crop.mask].mean() for split in SPLITS for crop in run_data.split(split).crops]
    assert np.median(darker) > 20  # grey values: the truth lies on the cracks


def test_real_deepcrack_has_its_own_test_set(real_data):
    facts = find_data(small_params(real_data / "DeepCrack", dataset="deepcrack"), real_data).facts
    assert {split: counts["positives"] for split, counts in facts["counts"].items()} == {"train": 27, "val": 3, "test": 20}
    assert facts["test_title"] == "DeepCrack test subset (20 images)"


def test_real_crops_follow_the_lists_they_are_shipped_with(real_data, tmp_path):
    """Lists as CRACK500 ships them; here of a few photos, so that what they leave out is seen to stay out."""
    for split in SPLITS:
        (tmp_path / f"{split}crop").symlink_to(real_data / "CRACK500" / f"{split}crop")
        pairs = find_pairs(tmp_path, split)[:12]
        lines = [f"{split}crop/{pair.image_path.name} {split}crop/{pair.mask_path.name}\n" for pair in pairs]
        (tmp_path / f"{split}.txt").write_text("".join(lines))
    facts = find_data(small_params(tmp_path), tmp_path).facts
    assert {split: counts["positives"] for split, counts in facts["counts"].items()} == dict.fromkeys(SPLITS, 12)
    assert facts["test_title"] == "CRACK500 test subset (12 images)"


@pytest.mark.slow
def test_the_words_of_the_readme_lead_from_photos_to_a_report(home):
    section = (REPOSITORY / "README.md").read_text(encoding="utf-8").split("## Your own photos")[1].split("\n## ")[0]
    command = re.search(r"^make .+$", section, re.MULTILINE)[0]
    environment = {**os.environ, "CRACK_HOME": str(home), "VENV": sys.prefix}
    if not shutil.which("make"):
        pytest.skip("no make on the path")
    if subprocess.run(["make", "-q", f"{sys.prefix}/.installed"], cwd=REPOSITORY, env=environment, capture_output=True).returncode:
        pytest.skip("not the environment that make set up: make would install packages first")
    write_folder(home / "data/own", photos=4, crops=1, cracked=3)  # the fewest with a crack, so that it takes no longer than it must
    done = subprocess.run(["bash", "-c", command], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    page = (home / "report/own/index.html").read_text(encoding="utf-8")
    assert "your own photos" in page
    assert (home / "runs/own/metrics.json").is_file()
