"""Random changes to training images."""

from collections.abc import Collection

import torch

from crack_utils.config import AUGMENTATIONS


def augment(
    image: torch.Tensor, labels: torch.Tensor, seed: int, parts: Collection[str] = AUGMENTATIONS
) -> tuple[torch.Tensor, torch.Tensor]:
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
