"""From a data set's folder to batches: find the pairs, decode them once, fit them to the network's input, augment."""

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from crack_utils.config import AUGMENTATIONS, RunParameters, check_input_size
from crack_utils.errors import DataError
from crack_utils.losses import crack_weights
from crack_utils.sample import ensure_sample, is_drawn

SPLITS = ("train", "val", "test")
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
MASK_ENDINGS = ("", "_GT", "_mask")
OFFICIAL_TEST_COUNTS = {"crack500": 1124}
DATASET_TITLES = {"sample": "the drawn sample", "crack500": "CRACK500"}


@dataclasses.dataclass(frozen=True)
class Pair:
    """Where one crop lies. ``mask_path`` is None for the images of a negatives folder: they have no crack."""

    image_path: Path
    mask_path: Path | None

    @property
    def stem(self) -> str:
        return self.image_path.stem

    @property
    def photo(self) -> str:
        """The photo the crop was cut from: the stem without the two offsets CRACK500 appends."""
        parts = self.stem.rsplit("_", 2)
        return parts[0] if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal() else self.stem


@dataclasses.dataclass(frozen=True)
class Crop:
    """A decoded crop at its own size: image (H, W, C) uint8, mask (H, W) bool."""

    pair: Pair
    image: np.ndarray
    mask: np.ndarray

    @property
    def has_crack(self) -> bool:
        return bool(self.mask.any())


# --- finding ---------------------------------------------------------------------------------------------------------


def find_pairs(root: Path, split: str) -> list[Pair]:
    """The crops of one split in any of CRACK500's layouts, by stem.

    Known are ``traincrop/`` (also nested twice) with ``x.jpg`` and ``x.png``; ``train/`` with ``x.jpg`` and ``x_GT.png`` or
    ``x_mask.png``; ``train/images`` and ``train/masks``.

    Raises:
        DataError: no such folder, no image in it, or an image without mask.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"data_root {root} is not a folder; give the folder that holds {split}crop/ or {split}/")
    for folder in (root / f"{split}crop" / f"{split}crop", root / f"{split}crop", root / split / split, root / split):
        if folder.is_dir():
            break
    else:
        raise DataError(f"{root} holds neither {split}crop/ nor {split}/; expected one of CRACK500's layouts (see README.md)")
    if (folder / "images").is_dir():
        images, masks = _files(folder / "images"), _files(folder / "masks")
    else:
        images, masks = _images_and_masks(folder)
    if not images:
        raise DataError(f"no images in {folder}; expected files such as x.jpg with masks x.png")
    by_stem = {path.stem: path for path in masks}
    pairs = []
    for image in images:
        mask = next((by_stem[image.stem + ending] for ending in MASK_ENDINGS if image.stem + ending in by_stem), None)
        if mask is None:
            raise DataError(
                f"no mask for {image}; expected {image.stem}.png, {image.stem}_GT.png or {image.stem}_mask.png "
                f"(images without crack and mask belong in negatives/{split})"
            )
        pairs.append(Pair(image, mask))
    return pairs


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; next to images/ there must be masks/")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and path.name[0] != ".")


def _images_and_masks(folder: Path) -> tuple[list[Path], list[Path]]:
    """Tell masks from images: a PNG is a mask where an image has its stem, with or without a mask's ending."""
    files = _files(folder)
    stems = {path.stem for path in files}
    images_of_other_kinds = {path.stem for path in files if path.suffix.lower() != ".png"}

    def is_mask(path: Path) -> bool:
        named = any(path.stem.endswith(ending) and path.stem.removesuffix(ending) in stems for ending in MASK_ENDINGS[1:])
        return path.suffix.lower() == ".png" and (named or path.stem in images_of_other_kinds)

    return [path for path in files if not is_mask(path)], [path for path in files if is_mask(path)]


def find_negatives(folder: Path, split: str) -> list[Pair]:
    """The crack-free images in ``folder/split``, which need no masks; empty where there is no such folder."""
    folder = Path(folder) / split
    return [Pair(path, None) for path in _images_and_masks(folder)[0]] if folder.is_dir() else []


def limit_by_photo(pairs: Sequence[Pair], limit: int | None, seed: int) -> list[Pair]:
    """At most ``limit`` pairs, photo by photo in a seeded order, cracked and crack-free in the proportion they have."""
    if limit is None or len(pairs) <= limit:
        return list(pairs)
    photos = sorted({pair.photo for pair in pairs})
    rank = {photo: i for i, photo in enumerate(np.random.default_rng(seed).permutation(photos))}
    ordered = sorted(pairs, key=lambda pair: (rank[pair.photo], pair.stem))
    cracked = [pair for pair in ordered if pair.mask_path is not None]
    crack_free = [pair for pair in ordered if pair.mask_path is None]
    n_crack_free = min(round(limit * len(crack_free) / len(pairs)), limit - 1)
    return cracked[: limit - n_crack_free] + crack_free[:n_crack_free]


# --- decoding --------------------------------------------------------------------------------------------------------


def read_crop(pair: Pair, channels: int) -> Crop:
    """Decode one crop. A mask's pixel above 127 is crack.

    Raises:
        DataError: a file that is no image, a mask of another size, or a mask of zeros and ones.
    """
    image = _decode(pair.image_path, "RGB" if channels == 3 else "L")
    image = image.reshape(*image.shape[:2], channels)
    if pair.mask_path is None:
        return Crop(pair, image, np.zeros(image.shape[:2], bool))
    grey = _decode(pair.mask_path, "RGB").max(axis=2)  # whatever the colour crack is painted in
    if grey.shape != image.shape[:2]:
        raise DataError(
            f"mask {pair.mask_path} is {grey.shape[1]} x {grey.shape[0]}, its image {image.shape[1]} x {image.shape[0]}; "
            "they must be of one size"
        )
    if 0 < grey.max() <= 127:
        raise DataError(f"mask {pair.mask_path} holds values up to {grey.max()}; crack must be brighter than 127, the rest 0")
    return Crop(pair, image, grey > 127)


@contextlib.contextmanager
def _open_image(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as file:
            yield file
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        size = path.stat().st_size if path.is_file() else 0
        reason = "it is empty" if not size else str(error).removesuffix(f" {str(path)!r}")
        raise DataError(f"cannot read {path} ({size} bytes) as an image: {reason}; replace or remove it") from None


def _decode(path: Path, mode: str) -> np.ndarray:
    with _open_image(path) as file:
        if file.mode.startswith(("I", "F")):
            raise DataError(f"{path} has pixels of mode {file.mode}; convert it to 8 bits a channel")
        return np.asarray(file.convert(mode))


def _read_size(path: Path) -> tuple[int, int]:
    """(height, width), from the file's header alone."""
    with _open_image(path) as file:
        return file.height, file.width


def read_crops(pairs: Sequence[Pair], channels: int) -> list[Crop]:
    """Decode many crops, once, on all cores."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda pair: read_crop(pair, channels), pairs))


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


def fit_mask(mask: np.ndarray, placement: Placement, input_size: tuple[int, int]) -> np.ndarray:
    """Bring a crop's (H, W) bool mask to ``input_size``. Scaled down, a pixel is crack where a line of one original pixel
    through its middle would make it so: thin cracks do not vanish."""
    return fit(mask.astype(np.uint8) * 255, placement, input_size, "constant") > 127 * placement.scale


def unfit(values: torch.Tensor, placement: Placement) -> np.ndarray:
    """Bring an (H, W) map from the input's geometry back to the crop's own size: float32 (height, width)."""
    inner = placement.inner(values)
    own = (placement.width, placement.height) if placement.turned else (placement.height, placement.width)
    if inner.shape != own:
        inner = F.interpolate(inner[None, None], size=own, mode="bilinear", align_corners=False)[0, 0]
    inner = inner.numpy()
    return np.ascontiguousarray(np.rot90(inner, -1) if placement.turned else inner, dtype=np.float32)


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
        image = torch.from_numpy(fit(crop.image, placement, self.input_size, "symmetric")).permute(2, 0, 1)
        mask = torch.from_numpy(fit_mask(crop.mask, placement, self.input_size))
        valid = torch.zeros_like(mask)
        placement.inner(valid)[:] = True
        image, labels = v2.functional.to_dtype(image, torch.float32, scale=True), torch.stack([mask, valid])
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
            raise DataError(f"negatives_root {self.negatives_root} is not a folder; it should hold train/, val/ and test/")
        self.notes: list[str] = []
        if params.validate_on_test:
            self.notes.append(
                "Checkpoint and thresholds were chosen on test (validate_on_test): its figures are not independent, but too good."
            )
        if not params.decision_loss:
            self.notes.append("The decision was not trained (decision_loss is off): its figures are those of random weights.")
        if params.images_per_split:
            self.notes.append(f"A trial: at most {params.images_per_split} images of each split were used.")
        found = {split: self._find(split) for split in SPLITS}
        height, width = params.input_height, params.input_width
        own = own_size(found["train"]) if height is None or width is None else None
        self.input_size = height or own[0], width or own[1]
        check_input_size(*self.input_size)
        self._pairs = {split: limit_by_photo(pairs, params.images_per_split, params.seed) for split, pairs in found.items()}
        self._decoded: dict[str, CropDataset] = {}

    def _find(self, split: str) -> list[Pair]:
        pairs = find_pairs(self.root, split)
        if self.params.use_negatives if split == "train" else self.params.evaluates_negatives:
            negatives = find_negatives(self.negatives_root, split)
            if not negatives:
                where = f"{self.negatives_root.name}/{split}"
                self.notes.append(f"No crack-free images were found in {where}: {split} goes on without them.")
            pairs = pairs + negatives
        stem, times = Counter(pair.stem for pair in pairs).most_common(1)[0]
        if times > 1:
            raise DataError(f"{times} images of {split} are named {stem}; names must differ within a split")
        return pairs

    def split(self, name: str) -> CropDataset:
        """The crops of train, val or test."""
        if name not in self._decoded:
            crops = read_crops(self._pairs[name], self.params.input_channels)
            if not any(crop.has_crack for crop in crops):
                raise DataError(f"no image of {name} in {self.root} has a crack; masks need pixels brighter than 127")
            self._decoded[name] = CropDataset(crops, self.input_size, **self._learning_options() if name == "train" else {})
        return self._decoded[name]

    def _learning_options(self) -> dict[str, Any]:
        """What changes the crops the network learns from, but not those it is judged by."""
        params = self.params
        weigh = partial(crack_weights, w_max=params.w_max, power=params.w_power) if params.weighted_segmentation_loss else None
        return {"dilate": params.dilate, "parts": params.augmentation_parts.split(), "weigh": weigh}

    @property
    def facts(self) -> dict[str, Any]:
        """What the run's pages say of the data: counts of positives and negatives, input size, names, notes."""
        splits = {name: self.split(name) for name in SPLITS}
        return {
            "counts": {name: {"positives": split.positives, "negatives": split.negatives} for name, split in splits.items()},
            "input_height": self.input_size[0],
            "input_width": self.input_size[1],
            "title": DATASET_TITLES[self.params.dataset],
            "test_title": test_set_title(self.params.dataset, splits["test"].positives),
            "drawn": is_drawn(self.root),
            "notes": self.notes,
        }


def own_size(pairs: Sequence[Pair]) -> tuple[int, int]:
    """The commonest size (height, width) among images, laid on its side, in full steps of 8 pixels."""
    sizes = Counter(tuple(sorted(_read_size(pair.image_path))) for pair in pairs)
    (height, width), _ = max(sizes.items(), key=lambda item: (item[1], item[0]))
    return -(-height // 8) * 8, -(-width // 8) * 8


def test_set_title(dataset: str, test_positives: int) -> str:
    """What the test images are called on every page: never the official name for a part of the official set."""
    title = DATASET_TITLES[dataset]
    official = OFFICIAL_TEST_COUNTS.get(dataset, test_positives)
    return title if test_positives == official else f"{title} test subset ({test_positives} images)"
