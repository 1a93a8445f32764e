"""Crops fitted into the network's input, and maps brought back to the crop's size."""

import dataclasses

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F


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


def fit_image(image: np.ndarray, placement: Placement, input_size: tuple[int, int]) -> torch.Tensor:
    """Fit a crop's (H, W, C) uint8 image into the network's input: (C, H, W) float32 in [0, 1]."""
    return torch.from_numpy(fit(image, placement, input_size, "symmetric")).permute(2, 0, 1) * (1 / 255)


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
