"""Crops as a torch data set: their augmentation, the weights of their pixels, and batches of crops."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from crack_utils.config import AUGMENTATIONS
from crack_utils.data.crops import Crop
from crack_utils.data.fitting import fit_image, fit_mask, place


@dataclasses.dataclass(frozen=True)
class Batch:
    """What the network trains on.

    ``image`` is (N, C, H, W) float in [0, 1]. ``mask`` and ``valid`` (0 on padding) are (N, 1, H, W) float in {0, 1}. ``weight`` is
    (N, 1, H, W) float, the weight of each pixel's loss. ``has_crack`` is (N, 1) float in {0, 1}. ``index`` is (N,), into the data set.
    """

    image: torch.Tensor
    mask: torch.Tensor
    valid: torch.Tensor
    weight: torch.Tensor
    has_crack: torch.Tensor
    index: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The batch on another device."""
        return Batch(**{field.name: getattr(self, field.name).to(device, non_blocking=True) for field in dataclasses.fields(self)})


@dataclasses.dataclass(eq=False, repr=False)
class CropDataset(Dataset):
    """The crops of one split, kept as bytes. An item is made when a caller asks for the item.

    ``dataset[index]`` is an item as it is, ``dataset[index, seed]`` is an augmented one. The seed alone decides the augmentation, so
    neither workers nor a resumed run change the augmentation.
    """

    crops: Sequence[Crop]
    input_size: tuple[int, int]  # (height, width) of the network's input
    dilate: int = 1  # widen the masks by a square of so many pixels
    parts: Collection[str] = AUGMENTATIONS  # parts of the augmentation
    weigh: Callable[[np.ndarray], np.ndarray] | None = None  # from a mask (H, W) bool to weights (H, W) float32; default: all 1
    notes: tuple[str, ...] = ()  # sentences on the images for the reader of the run's pages

    def __post_init__(self):
        self.placements = [place(crop.mask.shape, self.input_size) for crop in self.crops]

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def positives(self) -> int:
        """Number of crops with a crack."""
        return sum(crop.has_crack for crop in self.crops)

    @property
    def negatives(self) -> int:
        """Number of crops without a crack."""
        return len(self) - self.positives

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, torch.Tensor]:
        index, seed = key if isinstance(key, tuple) else (key, None)
        crop, placement = self.crops[index], self.placements[index]
        image = fit_image(crop.image, placement, self.input_size)
        mask = torch.from_numpy(fit_mask(crop.mask, placement, self.input_size))
        valid = torch.zeros_like(mask)
        placement.inner(valid)[:] = True
        labels = torch.stack([mask, valid])
        if seed is not None and crop.has_crack:
            image, labels = augment(image, labels, seed, self.parts)
        mask, valid = labels[:1].float(), labels[1:].float()
        if self.dilate > 1:
            before, after = (self.dilate - 1) // 2, self.dilate // 2
            mask = F.max_pool2d(F.pad(mask, (before, after, before, after)), self.dilate, stride=1)
        return {
            "image": image,
            "mask": mask,
            "valid": valid,
            "weight": torch.from_numpy(self.weigh(mask[0].numpy() > 0))[None] if self.weigh else torch.ones_like(mask),
            "has_crack": torch.tensor([float(crop.has_crack)]),
            "index": torch.tensor(index),
        }


def batches(dataset: CropDataset, keys: Iterable, batch_size: int, num_workers: int = 0, pin_memory: bool = False) -> Iterator[Batch]:
    """Load the items of these keys in this order (see :class:`CropDataset`)."""
    loader = DataLoader(dataset, batch_size, sampler=list(keys), num_workers=num_workers, pin_memory=pin_memory)
    yield from (Batch(**items) for items in loader)


def augment(image: torch.Tensor, labels: torch.Tensor, seed: int, parts: Collection[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Augment an image (C, H, W) and its labels (K, H, W) with p 0.5, by each of ``parts`` with p 0.5. The seed alone decides."""
    # torchvision is imported here because its import takes as long as that of torch, and showing a run needs no augmentation.
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    transforms = {
        "horizontal_flip": v2.RandomHorizontalFlip(0.5),
        "vertical_flip": v2.RandomVerticalFlip(0.5),
        "rotation": v2.RandomApply([v2.RandomRotation((180, 180))], 0.5),
        "color_jitter": v2.RandomApply([v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.2)], 0.5),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        image, labels = tv_tensors.Image(image), tv_tensors.Mask(labels)
        if torch.rand(1) < 0.5:
            image, labels = v2.Compose([transforms[part] for part in AUGMENTATIONS if part in parts] or [v2.Identity()])(image, labels)
    return image.as_subclass(torch.Tensor), labels.as_subclass(torch.Tensor)


def crack_weights(mask: np.ndarray, w_max: float, power: float) -> np.ndarray:
    """Weights (H, W) float32 of the weighted segmentation loss, from a mask (H, W) bool.

    1 outside the cracks, and ``w_max * (d / max d) ** power`` on each 8-connected crack, where d is the Euclidean distance to the nearest
    pixel outside the crack.
    """
    weight = np.ones(mask.shape, np.float32)
    if mask.any() and not mask.all():
        distance = ndimage.distance_transform_edt(mask)
        cracks, count = ndimage.label(mask, np.ones((3, 3)))
        middle = ndimage.maximum(distance, cracks, np.arange(1, count + 1))
        weight[mask] = w_max * (distance[mask] / middle[cracks[mask] - 1]) ** power
    return weight
