"""Crops brought to the network's input and back, as a torch data set, and batches of crops."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from crack_utils.config import AUGMENTATIONS
from crack_utils.data.augmentation import augment
from crack_utils.data.crops import Crop, Unused


@dataclasses.dataclass(frozen=True)
class Placement:
    """How a crop of (height, width) pixels lies in the network's input.

    The crop is rotated by 90 degrees if ``turned``, then scaled to (inner_height, inner_width), then placed at (top, left). The rest of the
    input is padding. Both axes have the same scale, and no crop is enlarged.
    """

    height: int
    width: int
    turned: bool
    inner_height: int
    inner_width: int
    top: int
    left: int

    @property
    def scale(self) -> float:
        """Input pixels per pixel of the crop; at most 1."""
        return self.inner_height / (self.width if self.turned else self.height)

    def inner(self, array: torch.Tensor) -> torch.Tensor:
        """The part of an (..., H, W) tensor of the input's size that is not padding."""
        return array[..., self.top : self.top + self.inner_height, self.left : self.left + self.inner_width]


def place(size: tuple[int, int], input_size: tuple[int, int]) -> Placement:
    """Place a crop of ``size`` (height, width) in an input of ``input_size`` (height, width)."""
    turned = (size[0] > size[1]) != (input_size[0] > input_size[1]) and size[0] != size[1]
    height, width = size[::-1] if turned else size
    scale = min(1.0, input_size[0] / height, input_size[1] / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    return Placement(*size, turned, *inner, (input_size[0] - inner[0]) // 2, (input_size[1] - inner[1]) // 2)


def fit(array: np.ndarray, placement: Placement, input_size: tuple[int, int], padding: str) -> np.ndarray:
    """Fit a crop's (H, W, ...) uint8 array into ``input_size``. ``padding`` is a mode of numpy.pad."""
    if placement.turned:
        array = np.rot90(array)
    if array.shape[:2] != (placement.inner_height, placement.inner_width):
        squeezed = Image.fromarray(array.squeeze()).resize((placement.inner_width, placement.inner_height), Image.Resampling.BILINEAR)
        array = np.asarray(squeezed).reshape(placement.inner_height, placement.inner_width, *array.shape[2:])
    rest = input_size[0] - placement.inner_height - placement.top, input_size[1] - placement.inner_width - placement.left
    border = ((placement.top, rest[0]), (placement.left, rest[1]), *((0, 0) for _ in array.shape[2:]))
    return np.pad(array, border, mode=padding)


def fit_bytes(image: np.ndarray, placement: Placement, input_size: tuple[int, int]) -> torch.Tensor:
    """Fit a crop's (H, W, C) uint8 image into the network's input: (C, H, W) uint8."""
    return torch.from_numpy(fit(image, placement, input_size, "symmetric")).permute(2, 0, 1)


def in_unit(image: torch.Tensor) -> torch.Tensor:
    """Bytes of any shape as float32 in [0, 1]."""
    return image * (1 / 255)


def fit_image(image: np.ndarray, placement: Placement, input_size: tuple[int, int]) -> torch.Tensor:
    """Fit a crop's (H, W, C) uint8 image into the network's input: (C, H, W) float32 in [0, 1]."""
    return in_unit(fit_bytes(image, placement, input_size))


def fit_mask(mask: np.ndarray, placement: Placement, input_size: tuple[int, int]) -> np.ndarray:
    """Fit a crop's (H, W) bool mask into the network's input.

    When a mask is scaled down, a pixel counts as crack if a line through its middle, one original pixel wide, would make it so. Thin cracks
    do not vanish.
    """
    return fit(mask.astype(np.uint8) * 255, placement, input_size, "constant") > 127 * placement.scale


def unfit(values: torch.Tensor, placement: Placement) -> torch.Tensor:
    """Bring an (H, W) map of the input back to the crop's own size: float32 (height, width), on the same device."""
    inner = placement.inner(values)
    own = (placement.width, placement.height) if placement.turned else (placement.height, placement.width)
    if inner.shape != own:
        inner = F.interpolate(inner[None, None], size=own, mode="bilinear", align_corners=False)[0, 0]
    return (torch.rot90(inner, -1) if placement.turned else inner).float().contiguous()


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
    unused: tuple[Unused, ...] = ()  # crack-free images that the run leaves out

    def __post_init__(self):
        self.placements = [place(crop.size, self.input_size) for crop in self.crops]

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

    def labels(self, index: int) -> torch.Tensor:
        """Mask and valid pixels (0 on padding) of a crop in the network's input, (2, H, W) bool."""
        placement = self.placements[index]
        mask = torch.from_numpy(fit_mask(self.crops[index].mask, placement, self.input_size))
        valid = torch.zeros_like(mask)
        placement.inner(valid)[:] = True
        return torch.stack([mask, valid])

    def dilated(self, mask: torch.Tensor) -> torch.Tensor:
        """A mask (..., 1, H, W) float that is widened by the square of :attr:`dilate` pixels."""
        before, after = (self.dilate - 1) // 2, self.dilate // 2
        return F.max_pool2d(F.pad(mask, (before, after, before, after)), self.dilate, stride=1)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, torch.Tensor]:
        index, seed = key if isinstance(key, tuple) else (key, None)
        crop, labels = self.crops[index], self.labels(index)
        image = fit_image(crop.image, self.placements[index], self.input_size)
        if seed is not None and crop.has_crack:
            image, labels = augment(image, labels, seed, self.parts)
        mask, valid = self.dilated(labels[:1].float()), labels[1:].float()
        return {
            "image": image,
            "mask": mask,
            "valid": valid,
            "weight": torch.from_numpy(self.weigh(mask[0].numpy() > 0))[None] if self.weigh else torch.ones_like(mask),
            "has_crack": torch.tensor([float(crop.has_crack)]),
            "index": torch.tensor(index),
        }


def draw_as_before() -> None:
    """Draw the number that a loader of an earlier version drew in each pass, so that networks with dropout keep their random numbers."""
    torch.empty((), dtype=torch.int64).random_()


class Loader:
    """Loads batches of a data set, pass by pass. The worker processes live as long as the loader."""

    def __init__(self, dataset: CropDataset, batch_size: int, num_workers: int = 0, pin_memory: bool = False):
        self._keys: list = []
        options = {"num_workers": num_workers, "persistent_workers": num_workers > 0, "pin_memory": pin_memory}
        self._loader = DataLoader(dataset, batch_size, sampler=self._keys, generator=torch.Generator(), **options)

    def batches(self, keys: Iterable) -> Iterator[Batch]:
        """Load the items of these keys in this order (see :class:`CropDataset`). End a pass before the next one begins."""
        self._keys[:] = keys
        draw_as_before()
        yield from (Batch(**items) for items in self._loader)


def batches(dataset: CropDataset, keys: Iterable, batch_size: int, num_workers: int = 0) -> Iterator[Batch]:
    """One pass of a :class:`Loader`."""
    return Loader(dataset, batch_size, num_workers).batches(keys)


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
