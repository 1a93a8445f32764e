"""Augmentation: what a seed draws, and the drawn change of one image."""

import functools
from collections.abc import Collection
from typing import Any, NamedTuple

import torch

from crack_utils.config import AUGMENTATIONS


class Drawn(NamedTuple):
    """The change of one image: which sides are exchanged, and the parameters of torchvision's colour jitter."""

    left_right: bool = False
    up_down: bool = False
    jitter: dict[str, Any] | None = None


@functools.cache
def _color_jitter() -> Any:
    # torchvision is imported here because its import takes as long as that of torch, and showing a run needs no augmentation.
    from torchvision.transforms import v2

    return v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.2)


def draw(seed: int, parts: Collection[str]) -> Drawn:
    """Draw a change with p 0.5, made of each of ``parts`` with p 0.5. The seed alone decides.

    Draws the numbers that torchvision's transforms (RandomHorizontalFlip, RandomVerticalFlip, RandomApply) draw, in their order.
    """
    left_right = up_down = False
    jitter = None
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the generators of GPUs, from which dropout draws
        if torch.rand(1) < 0.5:
            for part in (part for part in AUGMENTATIONS if part in parts):
                if torch.rand(1) >= 0.5:
                    continue
                if part == "color_jitter":
                    jitter = _color_jitter().make_params([])
                    continue
                if part == "rotation":
                    torch.rand(1)  # the angle, which is always 180 degrees
                left_right ^= part in ("horizontal_flip", "rotation")
                up_down ^= part in ("vertical_flip", "rotation")
    return Drawn(left_right, up_down, jitter)


def recolour(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """The image (C, H, W) float in [0, 1] with the drawn brightness, contrast, saturation and hue, on the image's device."""
    return image if drawn.jitter is None else _color_jitter().transform(image, drawn.jitter)


def augment(image: torch.Tensor, labels: torch.Tensor, seed: int, parts: Collection[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Augment an image (C, H, W) and its labels (K, H, W) with p 0.5, by each of ``parts`` with p 0.5. The seed alone decides."""
    drawn = draw(seed, parts)
    if sides := [side for side, is_exchanged in ((-1, drawn.left_right), (-2, drawn.up_down)) if is_exchanged]:
        image, labels = image.flip(sides), labels.flip(sides)
    return recolour(image, drawn), labels
