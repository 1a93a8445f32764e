import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import read_crop, small_params, write_pair
from PIL import Image
from torchvision.transforms import v2

from crack_utils.data import Crop, CropDataset, Loader, Pair, crack_weights, find_data, fit, fit_image, fit_mask, place, unfit


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


def test_augmentation_parts_reach_the_images_of_train(small_data):
    assert find_data(small_params(small_data, augmentation_parts="rotation"), small_data).split("train").parts == ["rotation"]


class _Tagged(CropDataset):
    """Each item has the process that made the item in place of its index."""

    def __getitem__(self, key):
        return super().__getitem__(key) | {"index": torch.tensor(os.getpid())}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="only Linux lists processes in /proc")
def test_a_worker_loads_all_passes_and_ends_with_its_loader(small_data):
    train = find_data(small_params(small_data), small_data).split("train")
    loader = Loader(_Tagged(train.crops, train.input_size), batch_size=2, num_workers=1)
    workers = {int(process) for _ in range(3) for batch in loader.batches([0, 1, 2]) for process in batch.index}
    assert len(workers) == 1 and workers != {os.getpid()}
    assert Path(f"/proc/{min(workers)}").exists()
    del loader
    assert not Path(f"/proc/{min(workers)}").exists()


def test_workers_change_neither_the_items_nor_the_random_numbers_of_the_network(small_data):
    train = find_data(small_params(small_data), small_data).split("train")
    seen = []
    for workers in (0, 2):
        loader = Loader(train, 2, workers)
        torch.manual_seed(5)
        for keys in ([(2, 7), (0, 8), (1, 9)], [(1, None)]):
            seen.append([*loader.batches(keys), torch.rand(3)])
    for alone, helped in zip(seen[:2], seen[2:], strict=True):
        assert all(torch.equal(a.image, b.image) and torch.equal(a.mask, b.mask) for a, b in zip(alone[:-1], helped[:-1], strict=True))
        assert torch.equal(alone[-1], helped[-1])
