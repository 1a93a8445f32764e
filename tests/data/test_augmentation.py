"""Augmentation against torchvision's transforms, and batches made on a device against those of a loader."""

import dataclasses

import pytest
import torch
from conftest import small_params, write_dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from crack_utils.config import AUGMENTATIONS
from crack_utils.data import Batch, DeviceData, Loader, augment, find_data, open_loader
from crack_utils.data.device_data import fits

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


def of_torchvision(image, labels, seed, parts):
    """The augmentation as a composition of torchvision's transforms."""
    transforms = {
        "horizontal_flip": v2.RandomHorizontalFlip(0.5),
        "vertical_flip": v2.RandomVerticalFlip(0.5),
        "rotation": v2.RandomApply([v2.RandomRotation((180, 180))], 0.5),
        "color_jitter": v2.RandomApply([v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.2)], 0.5),
    }
    torch.manual_seed(seed)
    image, labels = tv_tensors.Image(image), tv_tensors.Mask(labels)
    if torch.rand(1) < 0.5:
        image, labels = v2.Compose([transforms[part] for part in AUGMENTATIONS if part in parts] or [v2.Identity()])(image, labels)
    return image, labels


@pytest.mark.parametrize("parts", [AUGMENTATIONS, ("rotation", "color_jitter"), ("vertical_flip",), ()])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_seed_gives_exactly_the_image_of_torchvisions_transforms(parts, channels):
    image, labels = torch.rand(12, 20, channels).permute(2, 0, 1), torch.rand(2, 12, 20) > 0.5
    for seed in range(100):
        for value, other in zip(augment(image, labels, seed, parts), of_torchvision(image, labels, seed, parts), strict=True):
            assert torch.equal(value, other.as_subclass(torch.Tensor)), seed


def train_split(root, **values):
    return find_data(small_params(root, **values), root).split("train")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("values", [{}, {"dilate": 4, "input_channels": 1}, {"input_height": 80, "augmentation_parts": "rotation"}])
def test_batches_of_a_device_are_those_of_a_loader(tmp_path, device, values):
    dataset = train_split(write_dataset(tmp_path, negatives=2), **values)
    keys = [(number % len(dataset), None if number % 7 == 0 else number) for number in range(100)]
    torch.manual_seed(0)
    loaded = list(Loader(dataset, 3).batches(keys))
    after = torch.rand(1)
    torch.manual_seed(0)
    made = list(DeviceData(dataset, 3, torch.device(device)).batches(keys))
    assert torch.equal(torch.rand(1), after)  # a network with dropout draws the same numbers
    assert len(made) == len(loaded)
    for one, other in zip(made, loaded, strict=True):
        assert one.image.device.type == device
        for field in dataclasses.fields(Batch):
            value, expected = getattr(one, field.name).cpu(), getattr(other, field.name)
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-5 if field.name == "image" else 0)
            assert value.is_contiguous()


def test_keys_without_seeds_give_the_items_as_they_are(tmp_path):
    dataset = train_split(write_dataset(tmp_path))
    (batch,) = DeviceData(dataset, 9, torch.device("cpu")).batches(range(len(dataset)))
    assert torch.equal(batch.image, torch.stack([dataset[index]["image"] for index in range(len(dataset))]))


def test_images_stay_on_a_gpu_only_if_they_fit_and_need_no_weights_of_pixels(tmp_path):
    root = write_dataset(tmp_path)
    dataset = train_split(root)
    made = DeviceData(dataset, 1, torch.device("cpu"))
    needed = made.images.nbytes + made.labels.nbytes
    assert fits(dataset, int(needed / 0.4) + 1)
    assert not fits(dataset, int(needed / 0.4) - 1)
    assert not fits(train_split(root, weighted_segmentation_loss=True), 2**40)
    assert isinstance(open_loader(dataset, 1, 0, torch.device("cpu")), Loader)
