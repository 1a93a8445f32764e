"""Training images that stay on a GPU, and batches made there."""

import itertools
from collections.abc import Iterable, Iterator

import torch

from crack_utils.data.augmentation import Drawn, draw, recolour
from crack_utils.data.dataset import Batch, CropDataset, Loader, draw_as_before, fit_bytes, in_unit

SHARE = 0.4  # of the free memory of a GPU that images may take


class DeviceData:
    """The images and labels of a data set as bytes on a device. Serves in the place of a :class:`Loader`.

    The same key gives the same item: flips and the rotation exactly, colour jitter up to rounding. The random numbers are drawn on the
    CPU, from the seed of each image. A data set with weights of pixels (``weigh``) needs a loader.
    """

    def __init__(self, dataset: CropDataset, batch_size: int, device: torch.device):
        self.dataset, self.batch_size, self.device = dataset, batch_size, device
        channels = dataset.crops[0].image.shape[2]
        self.images = torch.empty((len(dataset), channels, *dataset.input_size), dtype=torch.uint8, device=device)
        self.labels = torch.empty((len(dataset), 2, *dataset.input_size), dtype=torch.bool, device=device)
        for index, (crop, placement) in enumerate(zip(dataset.crops, dataset.placements, strict=True)):
            self.images[index] = fit_bytes(crop.image, placement, dataset.input_size).to(device)
            self.labels[index] = dataset.labels(index).to(device)
        self.has_crack = torch.tensor([[float(crop.has_crack)] for crop in dataset.crops], device=device)

    def batches(self, keys: Iterable) -> Iterator[Batch]:
        """Make the items of these keys in this order (see :class:`CropDataset`)."""
        draw_as_before()
        pairs = (key if isinstance(key, tuple) else (key, None) for key in keys)
        while some := list(itertools.islice(pairs, self.batch_size)):
            yield self._batch(*zip(*some, strict=True))

    def _batch(self, indices: tuple[int, ...], seeds: tuple[int | None, ...]) -> Batch:
        crops, parts = self.dataset.crops, self.dataset.parts
        drawn = [
            Drawn() if seed is None or not crops[index].has_crack else draw(seed, parts) for index, seed in zip(indices, seeds, strict=True)
        ]
        index = torch.tensor(indices)
        about = torch.stack([index, *(torch.tensor(sides) for sides in zip(*(each[:2] for each in drawn), strict=True))])
        if self.device.type == "cuda":
            about = about.pin_memory()  # otherwise the copy would wait for the GPU
        at, *exchanged = about.to(self.device, non_blocking=True)
        images, labels = self.images[at], self.labels[at]
        for side, chosen in zip((-1, -2), exchanged, strict=True):
            chosen = chosen.bool()[:, None, None, None]
            images, labels = (torch.where(chosen, each.flip(side), each) for each in (images, labels))
        image = in_unit(images)
        for number, each in enumerate(drawn):
            if each.jitter:
                image[number] = recolour(image[number], each)
        mask = self.dataset.dilated(labels[:, :1].float())
        return Batch(image, mask, labels[:, 1:].float(), torch.ones_like(mask), self.has_crack[at], index)


def fits(dataset: CropDataset, free_bytes: int) -> bool:
    """Whether a data set's images and labels take at most SHARE of the free memory, and can be made into items on a device."""
    height, width = dataset.input_size
    return not dataset.weigh and len(dataset) * (dataset.crops[0].image.shape[2] + 2) * height * width <= SHARE * free_bytes


def open_loader(dataset: CropDataset, batch_size: int, num_workers: int, device: torch.device) -> Loader | DeviceData:
    """What makes a training's batches: a GPU with enough free memory, else a :class:`Loader` with pinned memory for a GPU."""
    is_cuda = device.type == "cuda"
    if is_cuda and fits(dataset, torch.cuda.mem_get_info(device)[0]):
        return DeviceData(dataset, batch_size, device)
    return Loader(dataset, batch_size, num_workers, is_cuda)
