"""Crops as a torch data set, and batches of crops."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from crack_utils.config import AUGMENTATIONS
from crack_utils.data.augmentation import augment
from crack_utils.data.crops import Crop
from crack_utils.data.fitting import fit_image, fit_mask, place


@dataclasses.dataclass(frozen=True)
class Batch:
    """What the network trains on.

    Args:
        image: (N, C, H, W) float in [0, 1].
        mask: (N, 1, H, W) float in {0, 1}.
        valid: (N, 1, H, W) float in {0, 1}; 0 on padding.
        weight: (N, 1, H, W) float, the weight of each pixel's loss.
        has_crack: (N, 1) float in {0, 1}.
        index: (N,) index into the data set.
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


class CropDataset(Dataset):
    """The crops of one split, kept as bytes. An item is made when a caller asks for the item.

    ``dataset[index]`` is an item as it is, ``dataset[index, seed]`` is an augmented one. The seed alone decides the augmentation, so
    neither workers nor a resumed run change the augmentation.

    Args:
        crops: the decoded crops.
        input_size: (height, width) of the network's input.
        dilate: widen the masks by a square of so many pixels.
        parts: parts of the augmentation, some of AUGMENTATIONS.
        weigh: from a mask (H, W) bool to the weights of its pixels' losses (H, W) float32; default: 1 everywhere.
        notes: sentences on the images for the reader of the run's pages.
    """

    def __init__(
        self,
        crops: Sequence[Crop],
        input_size: tuple[int, int],
        dilate: int = 1,
        parts: Collection[str] = AUGMENTATIONS,
        weigh: Callable[[np.ndarray], np.ndarray] | None = None,
        notes: tuple[str, ...] = (),
    ):
        self.crops = list(crops)
        self.input_size = input_size
        self.dilate = dilate
        self.parts = parts
        self.weigh = weigh
        self.notes = notes
        self.placements = [place(crop.mask.shape, input_size) for crop in self.crops]

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
        mask, valid = _dilated(labels[:1].float(), self.dilate), labels[1:].float()
        return {
            "image": image,
            "mask": mask,
            "valid": valid,
            "weight": torch.from_numpy(self.weigh(mask[0].numpy() > 0))[None] if self.weigh else torch.ones_like(mask),
            "has_crack": torch.tensor([float(crop.has_crack)]),
            "index": torch.tensor(index),
        }


def _dilated(mask: torch.Tensor, side: int) -> torch.Tensor:
    """A mask (1, H, W), widened by a square of ``side`` pixels."""
    if side == 1:
        return mask
    before, after = (side - 1) // 2, side // 2
    return F.max_pool2d(F.pad(mask, (before, after, before, after)), side, stride=1)


def batches(dataset: CropDataset, keys: Iterable, batch_size: int, num_workers: int = 0, pin_memory: bool = False) -> Iterator[Batch]:
    """Load the items of these keys in this order (see :class:`CropDataset`)."""
    loader = DataLoader(dataset, batch_size, sampler=list(keys), num_workers=num_workers, pin_memory=pin_memory)
    for items in loader:
        yield Batch(**items)
