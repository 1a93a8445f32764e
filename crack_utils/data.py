"""From a run's parameters to batches: fit crops to the network's input, augment, load."""

import dataclasses
import functools
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from crack_utils.config import AUGMENTATIONS, RunParameters, check_input_size
from crack_utils.errors import DataError
from crack_utils.layouts import (
    CUT_SIZE,
    SPLITS,
    Crop,
    Pair,
    cut,
    find_negatives,
    find_splits,
    in_photo_order,
    keep_apart,
    keep_disjoint,
    limit_by_photo,
    read_crops,
    read_size,
)
from crack_utils.leaks import Leaks, find_leaks
from crack_utils.losses import crack_weights
from crack_utils.sample import ensure_sample, is_drawn

OFFICIAL_TEST_COUNTS = {"crack500": 1124, "deepcrack": 237}
DATASET_TITLES = {
    "sample": "the drawn sample",
    "crack500": "CRACK500",
    "crackforest": "CrackForest",
    "deepcrack": "DeepCrack",
    "merged": "a merged set of crack images",
    "folder": "your own photos",
}


# --- fitting to the network's input ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Placement:
    """How a crop of (height, width) pixels lies in the input: turned by 90 degrees or not, then of size (inner_height,
    inner_width), centred; what is around it is padding. Both axes are scaled alike, and only where the crop is too large."""

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
        """The part of an (..., H, W) input-sized tensor that is not padding."""
        return array[..., self.top : self.top + self.inner_height, self.left : self.left + self.inner_width]


def place(size: tuple[int, int], input_size: tuple[int, int]) -> Placement:
    """Place a crop of ``size`` (height, width) in an input of ``input_size`` (height, width)."""
    turned = (size[0] > size[1]) != (input_size[0] > input_size[1]) and size[0] != size[1]
    height, width = size[::-1] if turned else size
    scale = min(1.0, input_size[0] / height, input_size[1] / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    return Placement(*size, turned, *inner, (input_size[0] - inner[0]) // 2, (input_size[1] - inner[1]) // 2)


def fit(array: np.ndarray, placement: Placement, input_size: tuple[int, int], padding: str) -> np.ndarray:
    """Bring a crop's (H, W, ...) uint8 array to ``input_size``; ``padding`` is a mode of numpy.pad."""
    if placement.turned:
        array = np.rot90(array)
    if array.shape[:2] != (placement.inner_height, placement.inner_width):
        squeezed = Image.fromarray(array.squeeze()).resize((placement.inner_width, placement.inner_height), Image.Resampling.BILINEAR)
        array = np.asarray(squeezed).reshape(placement.inner_height, placement.inner_width, *array.shape[2:])
    rest = input_size[0] - placement.inner_height - placement.top, input_size[1] - placement.inner_width - placement.left
    border = ((placement.top, rest[0]), (placement.left, rest[1]), *((0, 0) for _ in array.shape[2:]))
    return np.pad(array, border, mode=padding)


def fit_image(image: np.ndarray, placement: Placement, input_size: tuple[int, int]) -> torch.Tensor:
    """Bring a crop's (H, W, C) uint8 image to ``input_size``, as the network takes it: (C, H, W) float32 in [0, 1]."""
    return torch.from_numpy(fit(image, placement, input_size, "symmetric")).permute(2, 0, 1) * (1 / 255)


def fit_mask(mask: np.ndarray, placement: Placement, input_size: tuple[int, int]) -> np.ndarray:
    """Bring a crop's (H, W) bool mask to ``input_size``. Scaled down, a pixel is crack where a line of one original pixel
    through its middle would make it so: thin cracks do not vanish."""
    return fit(mask.astype(np.uint8) * 255, placement, input_size, "constant") > 127 * placement.scale


def unfit(values: torch.Tensor, placement: Placement) -> torch.Tensor:
    """Bring an (H, W) map from the input's geometry back to the crop's own size: float32 (height, width), on its device."""
    inner = placement.inner(values)
    own = (placement.width, placement.height) if placement.turned else (placement.height, placement.width)
    if inner.shape != own:
        inner = F.interpolate(inner[None, None], size=own, mode="bilinear", align_corners=False)[0, 0]
    return (torch.rot90(inner, -1) if placement.turned else inner).float().contiguous()


# --- data sets and loaders -------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Batch:
    """What the network trains on: image (N, C, H, W) float in [0, 1]; mask and valid (N, 1, H, W) float in {0, 1}, valid
    being 0 on padding; weight (N, 1, H, W) float, of each pixel's loss; has_crack (N, 1) float; index (N,) into the data set."""

    image: torch.Tensor
    mask: torch.Tensor
    valid: torch.Tensor
    weight: torch.Tensor
    has_crack: torch.Tensor
    index: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(**{field.name: getattr(self, field.name).to(device, non_blocking=True) for field in dataclasses.fields(self)})


class CropDataset(Dataset):
    """Crops of one split, kept as bytes; an item is made when asked for.

    An item is asked for by ``index``, or by ``(index, seed)`` for an augmented one: the seed alone decides the augmentation,
    so neither workers nor a resumed run change it.

    Args:
        crops: the decoded crops.
        input_size: (height, width) of the network's input.
        dilate: widen the masks by a square of so many pixels.
        parts: of the augmentation, some of config.AUGMENTATIONS.
        weigh: from a mask (H, W) bool to the weights of its pixels' losses (H, W) float32; default: 1 everywhere.
    """

    def __init__(
        self,
        crops: Sequence[Crop],
        input_size: tuple[int, int],
        dilate: int = 1,
        parts: Collection[str] = AUGMENTATIONS,
        weigh: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self.crops = list(crops)
        self.input_size = input_size
        self.dilate = dilate
        self.parts = parts
        self.weigh = weigh
        self.placements = [place(crop.mask.shape, input_size) for crop in self.crops]

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def positives(self) -> int:
        return sum(crop.has_crack for crop in self.crops)

    @property
    def negatives(self) -> int:
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
            before = (self.dilate - 1) // 2
            padded = F.pad(mask, (before, self.dilate - 1 - before, before, self.dilate - 1 - before))
            mask = F.max_pool2d(padded, self.dilate, stride=1)
        return {
            "image": image,
            "mask": mask,
            "valid": valid,
            "weight": torch.from_numpy(self.weigh(mask[0].numpy() > 0))[None] if self.weigh else torch.ones_like(mask),
            "has_crack": torch.tensor([float(crop.has_crack)]),
            "index": torch.tensor(index),
        }


def augment(
    image: torch.Tensor, labels: torch.Tensor, seed: int, parts: Collection[str] = AUGMENTATIONS
) -> tuple[torch.Tensor, torch.Tensor]:
    """With p 0.5 apply each of ``parts`` with p 0.5 to an image (C, H, W) and its labels (K, H, W), as ``seed`` decides."""
    # Imported here: it takes as long as torch itself, and whoever only shows a run augments nothing.
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


def batches(dataset: CropDataset, keys: Iterable, batch_size: int, num_workers: int = 0, pin_memory: bool = False) -> Iterator[Batch]:
    """Load the items ``keys`` name (see :class:`CropDataset`), in this order."""
    loader = DataLoader(dataset, batch_size, sampler=list(keys), num_workers=num_workers, pin_memory=pin_memory)
    for items in loader:
        yield Batch(**items)


# --- a run's data ----------------------------------------------------------------------------------------------------


class RunData:
    """What a run's parameters name: one :class:`CropDataset` a split, decoded when first asked for, and what a reader
    should know about them (``notes``).

    Args:
        params: the run's parameters.
        sample_folder: where the drawn sample lies, or is to be drawn, if the run uses it without a ``data_root``.

    Raises:
        DataError: a folder, image or mask that cannot be used; those of a split's pixels when the split is decoded.
    """

    def __init__(self, params: RunParameters, sample_folder: Path):
        self.params = params
        self.root = Path(params.data_root) if params.data_root else ensure_sample(sample_folder)
        if params.dataset == "sample" and self.root.is_dir() and not is_drawn(self.root):
            raise DataError(f"{self.root} was not drawn by this program; for photos give the dataset they belong to, such as crack500")
        self.negatives_root = Path(params.negatives_root or self.root / "negatives")
        if params.negatives_root and not self.negatives_root.is_dir():
            raise DataError(f"negatives_root {self.negatives_root} is not a folder; it should hold images, or train/, val/ and test/")
        found = find_splits(self.root, params.dataset, params.split_seed)
        self.notes, self.drawn_splits = found.notes, found.drawn
        if params.validate_on_test:
            chosen = "Checkpoint and thresholds" if params.chooses_checkpoint else "The thresholds"
            self.notes.append(f"{chosen} were chosen on test (validate_on_test): its figures are not independent, but too good.")
        if not params.decision_loss:
            self.notes.append("The decision was not trained (decision_loss is off): its figures are those of random weights.")
        if params.images_per_split:
            self.notes.append(f"A trial: at most {params.images_per_split} images of each split were used.")
        pairs = {split: self._select(split, found.pairs[split]) for split in SPLITS}
        if self.drawn_splits:
            pairs = self._keep_apart(pairs)
        if params.photo_disjoint:
            pairs = self._keep_disjoint(pairs)
        height, width = params.input_height, params.input_width
        own = own_size(pairs["train"]) if height is None or width is None else None
        self.input_size = height or own[0], width or own[1]
        check_input_size(*self.input_size)
        self._pairs = {split: limit_by_photo(pairs[split], params.images_per_split, params.split_seed) for split in SPLITS}
        self._decoded: dict[str, CropDataset] = {}

    def _select(self, split: str, pairs: list[Pair]) -> list[Pair]:
        """The pairs of a split and the negatives asked for, one's own large photos cut."""
        if self.params.use_negatives if split == "train" else self.params.evaluates_negatives:
            pairs = pairs + find_negatives(self.negatives_root, split)
        if self.params.dataset == "folder":
            photos = [cut(pair) for pair in pairs]
            n_cut = sum(len(crops) > 1 for crops in photos)
            pairs = [crop for crops in photos for crop in crops]
            if n_cut:
                self.notes.append(f"Large photos of {split}, cut into crops of about {CUT_SIZE[1]} x {CUT_SIZE[0]} pixels: {n_cut}.")
        stem, times = Counter(pair.stem for pair in pairs).most_common(1)[0]
        if times > 1:
            raise DataError(f"{times} images of {split} are named {stem}; names must differ within a split")
        return pairs

    def _keep_apart(self, pairs: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
        """No crack-free crop of a photo whose cracked ones a drawing took elsewhere, and a note of how many images that cost."""
        kept = keep_apart(pairs, self.drawn_splits)
        n_left = sum(len(pairs[split]) - len(kept[split]) for split in SPLITS)
        if n_left:
            self.notes.append(f"Crack-free images left out because cracked crops of their photo are in another split: {n_left}.")
        return kept

    def _keep_disjoint(self, pairs: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
        """Each photo in one split alone, and a note of how many images left train and val for it."""
        kept = keep_disjoint(pairs)
        left = " and ".join(f"{len(pairs[split]) - len(kept[split])} of {split}" for split in ("train", "val"))
        self.notes.append(f"Images left out because a later split has crops of their photo (photo_disjoint): {left}.")
        return kept

    def split(self, name: str) -> CropDataset:
        """The crops of train, val or test."""
        if name not in self._decoded:
            crops = self._choose_negatives(name, read_crops(self._pairs[name], self.params.input_channels))
            if not any(crop.has_crack for crop in crops):
                raise DataError(f"no image of {name} in {self.root} has a crack; masks need pixels brighter than 127")
            goes_by_decision = self.params.chooses_checkpoint and self.params.best_model_type != "seg"
            if name == self.params.choosing_split and goes_by_decision and all(crop.has_crack for crop in crops):
                self.notes.append(
                    f"{name} holds no crack-free image, so the decision's average precision is always 1: best_model_type "
                    f"{self.params.best_model_type} had nothing to choose the checkpoint by."
                )
            self._decoded[name] = CropDataset(crops, self.input_size, **self._learning_options() if name == "train" else {})
        return self._decoded[name]

    def _choose_negatives(self, split: str, crops: list[Crop]) -> list[Crop]:
        """Leave out the crack-free crops that the parameters leave out. Only now it is known which these are: masks may be empty."""
        params = self.params
        wanted = params.use_negatives if split == "train" else params.evaluate_negatives is not False
        negatives = [crop.pair for crop in crops if not crop.has_crack] if wanted else []
        asked = params.train_negatives if split == "train" and wanted else None
        if asked and len(negatives) < asked:
            self.notes.append(f"Crack-free images found for train: {len(negatives)} of the {asked} asked for (train_negatives).")
        elif not negatives and (params.use_negatives if split == "train" else params.evaluates_negatives):
            where = f"{self.negatives_root.name}/{split}"
            self.notes.append(f"No crack-free images were found for {split}, none in {where} and no empty mask: it goes on without them.")
        kept = set(in_photo_order(negatives, params.split_seed)[:asked])
        return [crop for crop in crops if crop.has_crack or crop.pair in kept]

    def _learning_options(self) -> dict[str, Any]:
        """What changes the crops the network learns from, but not those it is judged by."""
        params = self.params
        weigh = functools.partial(crack_weights, w_max=params.w_max, power=params.w_power) if params.weighted_segmentation_loss else None
        return {"dilate": params.dilate, "parts": params.augmentation_parts.split(), "weigh": weigh}

    @functools.cached_property
    def leaks(self) -> Leaks:
        """What the splits share, which is noted too."""
        leaks = find_leaks({name: self.split(name).crops for name in SPLITS})
        self.notes += leaks.notes()
        return leaks

    @functools.cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What tells these data from any others, wherever their folder lies: files, bytes, sha256 of splits, names and contents."""
        paths = {  # crops of one photo share its file
            (split, path) for split in SPLITS for pair in self._pairs[split] for path in (pair.image_path, pair.mask_path) if path
        }
        with ThreadPoolExecutor() as pool:
            lines = sorted(pool.map(lambda entry: f"{entry[0]} {entry[1].name} {_sha256(entry[1])}\n", paths))
        total = sum(path.stat().st_size for _, path in paths)
        return {"files": len(paths), "bytes": total, "sha256": hashlib.sha256(os.fsencode("".join(lines))).hexdigest()}

    @property
    def facts(self) -> dict[str, Any]:
        """What the run's pages say of the data: counts of positives and negatives, input size, names, leaks, notes; and the scale
        (median) at which the network saw the crops it learned from, for photos of any size to be seen alike."""
        splits = {name: self.split(name) for name in SPLITS}
        test_positives, test_is_drawn = splits["test"].positives, "test" in self.drawn_splits
        return {
            "counts": {name: {"positives": split.positives, "negatives": split.negatives} for name, split in splits.items()},
            "input_height": self.input_size[0],
            "input_width": self.input_size[1],
            "scale": float(np.median([placement.scale for placement in splits["train"].placements])),
            "title": DATASET_TITLES[self.params.dataset],
            "test_title": test_set_title(self.params.dataset, test_positives, test_is_drawn),
            "test_is_part_of_official": not test_is_drawn and is_part_of_official(self.params.dataset, test_positives),
            "drawn": is_drawn(self.root),
            "leaks": self.leaks.as_dict(),
            "fingerprint": self.fingerprint,
            "notes": self.notes,
        }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def own_size(pairs: Sequence[Pair]) -> tuple[int, int]:
    """The commonest size (height, width) among images, laid on its side, in full steps of 8 pixels."""
    sizes = Counter(tuple(sorted(pair.box[2:] if pair.box else read_size(pair.image_path))) for pair in pairs)
    (height, width), _ = max(sizes.items(), key=lambda item: (item[1], item[0]))
    return -(-height // 8) * 8, -(-width // 8) * 8


def is_part_of_official(dataset: str, test_positives: int) -> bool:
    """Whether a data set has an official test set, of which these are not all images."""
    return test_positives != OFFICIAL_TEST_COUNTS.get(dataset, test_positives)


def test_set_title(dataset: str, test_positives: int, drawn: bool = False) -> str:
    """What the test images are called on every page: never the official name for a part of the official set, or for a split
    that was ``drawn`` here."""
    title = DATASET_TITLES[dataset]
    if drawn:
        return f"{title}, split drawn by photo"
    return f"{title} test subset ({test_positives} images)" if is_part_of_official(dataset, test_positives) else title
