"""From a data set's folder to batches: find the pairs, decode them once, fit them to the network's input, augment."""

import contextlib
import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
from PIL import ExifTags, Image, ImageOps
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
IMAGE_FOLDERS, MASK_FOLDERS = ("images", "image"), ("masks", "mask", "labels", "label")
OFFICIAL_TEST_COUNTS = {"crack500": 1124, "deepcrack": 237}
DATASET_TITLES = {
    "sample": "the drawn sample",
    "crack500": "CRACK500",
    "crackforest": "CrackForest",
    "deepcrack": "DeepCrack",
    "merged": "a merged set of crack images",
    "folder": "your own photos",
}
DRAWN_SHARES = {"val": 0.1, "test": 0.2}  # of the images, where a data set has no such split
OFFSETS = r"(_(0|[1-9]\d{0,4})){2}"  # what CRACK500 appends to a photo's name; a date and a time have more digits
CROP_ENDINGS = {  # what other sources append
    "DeepCrack": r"-\d+",
    "Rissbilder_for_Florian": r"(_\d+){4}",
    "Volker": r"(_\d+){4}",
    "noncrack": r"_\d+",
}
MERGED_SOURCE = re.compile(r"Rissbilder_for_Florian|Sylvie_Chambon|Eugen_Muller|[^_]*")
LARGEST_UNCUT, CUT_SIZE = 1024, (360, 640)  # of one's own photos: longest side, and a crop's (height, width), as in CRACK500
JPEG_NOISE = 16  # grey values


@dataclasses.dataclass(frozen=True)
class Pair:
    """Where one crop lies.

    Args:
        mask_path: None for the images of a negatives folder: they have no crack.
        box: (top, left, height, width) of the crop in the file; None: the whole file.
        source: the data set it comes from, where the name of the crop tells its photo in another way than CRACK500's.
    """

    image_path: Path
    mask_path: Path | None
    box: tuple[int, int, int, int] | None = None
    source: str = ""

    @property
    def stem(self) -> str:
        """The file's name without suffix; a box appends its offsets, counted from 1, x first, as CRACK500 does."""
        return self.image_path.stem + (f"_{self.box[1] + 1}_{self.box[0] + 1}" if self.box else "")

    @property
    def photo(self) -> str:
        """The photo the crop was cut from: the stem without what its source appends."""
        ending = CROP_ENDINGS.get(self.source, OFFSETS)
        return re.sub(rf"{ending}(\.jpg)?$", "", self.stem)  # merged sets have names such as x_1_1.jpg.jpg


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


@dataclasses.dataclass(frozen=True)
class FoundSplits:
    """The pairs of train, val and test; which of these were ``drawn``; what a reader should know of it (``notes``)."""

    pairs: dict[str, list[Pair]]
    drawn: list[str]
    notes: list[str]


def find_splits(root: Path, dataset: str, seed: int = 0) -> FoundSplits:
    """The pairs of each split of a data set. Lists fix the splits (train.txt, val.txt, test.txt), else folders; what neither
    fixes is drawn by photo.

    Args:
        dataset: crackforest and deepcrack have layouts of their own; all others share CRACK500's and plain folders of pairs.
        seed: of the drawing.

    Raises:
        DataError: a folder or file that is missing or cannot be used.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"data_root {root} is not a folder; give the folder that holds the data set (see README.md)")
    notes: list[str] = []
    found = {"crackforest": _find_crackforest, "deepcrack": _find_deepcrack}.get(dataset, _find_folders)(root, notes)
    found = _read_lists(root, found) or found
    if dataset in ("deepcrack", "merged"):
        found = {split: [_with_source(pair, dataset) for pair in pairs] for split, pairs in found.items()}
    if "train" not in found and "all" not in found:
        raise DataError(f"{root} holds no train split, only {' and '.join(found)}; add a folder or list of training images")
    drawn = [split for split in DRAWN_SHARES if split not in found]
    if drawn:
        pool = found.pop("all") if "all" in found else found["train"]
        found |= draw_splits(pool, drawn, seed)
        notes.append(f"These data fix no {' and no '.join(drawn)}: drawn by photo from the {len(pool)} images (split_seed {seed}).")
    shared = _photos_in_several_splits(found)
    if shared:
        notes.append(f"Photos with crops in more than one of the given splits: {shared}. Scores on test may be a little too good.")
    return FoundSplits(found, drawn, notes)


def _with_source(pair: Pair, dataset: str) -> Pair:
    return dataclasses.replace(pair, source="DeepCrack" if dataset == "deepcrack" else MERGED_SOURCE.match(pair.stem)[0])


def _photos_in_several_splits(found: dict[str, list[Pair]]) -> int:
    splits_of = Counter(photo for pairs in found.values() for photo in {pair.photo for pair in pairs})
    return sum(times > 1 for times in splits_of.values())


def _find_folders(root: Path, notes: list[str]) -> dict[str, list[Pair]]:
    """Splits in folders (see :func:`find_pairs`), else one pair of folders, ``images/`` and ``masks/``, whose key is "all"."""
    found = {split: find_pairs(root, split) for split in SPLITS if _split_folder(root, split)}
    return found or {"all": _pairs_of_folders(root)}


def _find_deepcrack(root: Path, notes: list[str]) -> dict[str, list[Pair]]:
    return {split: _pair_up(_files(root / f"{split}_img"), _files(root / f"{split}_lab")) for split in ("train", "test")}


def _find_crackforest(root: Path, notes: list[str]) -> dict[str, list[Pair]]:
    images, truths = _files(root / "image"), {path.stem: path for path in _files(root / "groundTruth", {".mat"})}
    pairs = [Pair(image, truths[image.stem]) for image in images if image.stem in truths]
    if len(pairs) < len(images):
        notes.append(f"{len(images) - len(pairs)} images come without truth and were left out: they are not free of cracks.")
    return {"all": pairs}


def find_pairs(root: Path, split: str) -> list[Pair]:
    """The crops of one split in any of CRACK500's layouts, by stem.

    Known are ``traincrop/`` (also nested twice) with ``x.jpg`` and ``x.png``; ``train/`` with ``x.jpg`` and ``x_GT.png`` or
    ``x_mask.png``; ``train/images`` and ``train/masks``.

    Raises:
        DataError: no such folder, no image in it, or an image without mask.
    """
    folder = _split_folder(Path(root), split)
    if folder is None:
        raise DataError(f"{root} holds neither {split}crop/ nor {split}/; expected one of CRACK500's layouts (see README.md)")
    if _first_folder(folder, IMAGE_FOLDERS):
        return _pairs_of_folders(folder)
    images, masks = _images_and_masks(folder)
    if not images:
        raise DataError(f"no images in {folder}; expected files such as x.jpg with masks x.png")
    return _pair_up(images, masks)


def _split_folder(root: Path, split: str) -> Path | None:
    return _first_folder(root, (f"{split}crop/{split}crop", f"{split}crop", f"{split}/{split}", split))


def _first_folder(root: Path, names: Iterable[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _pairs_of_folders(folder: Path) -> list[Pair]:
    images, masks = _first_folder(folder, IMAGE_FOLDERS), _first_folder(folder, MASK_FOLDERS)
    if images is None:
        raise DataError(f"{folder} holds neither images/ (with masks/ beside it) nor traincrop/ nor train/; see README.md")
    return _pair_up(_files(images), _files(masks or folder / MASK_FOLDERS[0]))


def _pair_up(images: Sequence[Path], masks: Sequence[Path]) -> list[Pair]:
    by_stem = {path.stem: path for path in masks}
    pairs = []
    for image in images:
        mask = next((by_stem[image.stem + ending] for ending in MASK_ENDINGS if image.stem + ending in by_stem), None)
        if mask is None:
            raise DataError(
                f"no mask for {image}; expected {image.stem}.png, {image.stem}_GT.png or {image.stem}_mask.png (an image without "
                "a crack gets a black mask, or belongs in negatives/train, negatives/val or negatives/test)"
            )
        pairs.append(Pair(image, mask))
    return pairs


def _files(folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; README.md, 'Real data', tells the layout of each data set")
    files = _listing(folder, suffixes)
    if not files:
        raise DataError(f"{folder} holds no file ending in {', '.join(sorted(suffixes))}")
    return files


def _listing(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file() and path.name[0] != ".")


def _read_lists(root: Path, found: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
    """The splits that train.txt, val.txt and test.txt in ``root`` fix; empty where there are none.

    A line names an image by its path and its mask by another, as CRACK500's lists do, or an image alone by path, name or stem.
    """
    known = {name: pair for pairs in found.values() for pair in pairs for name in (pair.stem, pair.image_path.name, pair.image_path)}
    listed: dict[str, list[Pair]] = {}
    split_of: dict[Path, str] = {}
    for split in SPLITS:
        path = root / f"{split}.txt"
        if not path.is_file():
            continue
        listed[split] = [
            _listed_pair(line.split(), path, known) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()
        ]
        if not listed[split]:
            raise DataError(f"{path} is empty; list the images of {split}, or remove it")
        for pair in listed[split]:
            if split_of.setdefault(pair.image_path, split) != split:
                raise DataError(f"{path} names {pair.image_path.name}, which {split_of[pair.image_path]}.txt names too; keep one of them")
    return listed


def _listed_pair(words: list[str], path: Path, known: dict[str | Path, Pair]) -> Pair:
    files = [path.parent / word for word in words]
    pair = known.get(files[0]) or known.get(words[0])
    if pair is None and len(files) == 2:
        pair = Pair(*files)
    if pair is None or not (pair.image_path.is_file() and pair.mask_path.is_file()):
        raise DataError(f"{path} names {' '.join(words)}, which is not there; a line is an image's path (and its mask's), without spaces")
    return pair


def draw_splits(pairs: Sequence[Pair], missing: Sequence[str], seed: int) -> dict[str, list[Pair]]:
    """Draw the ``missing`` splits (of val and test) by photo; train gets the rest.

    A photo with a crack comes first into each split. Then photos follow in the seeded order while their crops fit into the
    split's share of the images.

    Raises:
        DataError: fewer photos with a crack than splits.
    """
    crops: dict[str, list[Pair]] = {}
    for pair in in_photo_order(pairs, seed):
        crops.setdefault(pair.photo, []).append(pair)
    splits = [*missing, "train"]
    first = list(itertools.islice((photo for photo in crops if any(shows_crack(pair) for pair in crops[photo])), len(splits)))
    if len(first) < len(splits):
        raise DataError(
            f"{len(first)} of {len(crops)} photos show a crack; {', '.join(splits)} need one each. Add photos, or make the masks brighter "
            "than 127 where there is crack"
        )
    drawn = {split: crops.pop(photo) for split, photo in zip(splits, first, strict=True)}
    for split in missing:
        for photo in list(crops):
            if len(drawn[split]) + len(crops[photo]) <= round(DRAWN_SHARES[split] * len(pairs)):
                drawn[split] += crops.pop(photo)
    drawn["train"] += itertools.chain.from_iterable(crops.values())
    return {split: sorted(drawn[split], key=lambda pair: pair.stem) for split in drawn}


def in_photo_order(pairs: Iterable[Pair], seed: int) -> list[Pair]:
    """Pairs photo by photo, the photos in a seeded order."""
    pairs = list(pairs)
    photos = sorted({pair.photo for pair in pairs})
    rank = {photo: i for i, photo in enumerate(np.random.default_rng(seed).permutation(photos))}
    return sorted(pairs, key=lambda pair: (rank[pair.photo], pair.stem))


def cut(pair: Pair) -> list[Pair]:
    """The crops of a photo that is too large to train on: a grid of equal crops of about 640 x 360, as CRACK500 was made.

    Crops overlap by a few pixels, so that their sides are divisible by 8. A photo of at most 1024 pixels stays whole.
    """
    size = _read_size(pair.image_path)
    if max(size) <= LARGEST_UNCUT:
        return [pair]
    wanted = CUT_SIZE if size[0] <= size[1] else CUT_SIZE[::-1]
    (tops, height), (lefts, width) = (_cut_side(side, goal) for side, goal in zip(size, wanted, strict=True))
    return [dataclasses.replace(pair, box=(top, left, height, width)) for top in tops for left in lefts]


def _cut_side(side: int, goal: int) -> tuple[list[int], int]:
    """The offsets of the crops along one side, and their length."""
    parts = max(1, round(side / goal))
    length = min(side, -(-side // (8 * parts)) * 8)
    return np.linspace(0, side - length, parts).round().astype(int).tolist(), length


def _images_and_masks(folder: Path) -> tuple[list[Path], list[Path]]:
    """Tell masks from images: a PNG is a mask where an image has its stem, with or without a mask's ending."""
    files = _listing(folder, IMAGE_SUFFIXES)
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
    ordered = in_photo_order(pairs, seed)
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
    return _read_photo([pair], channels)[0]


def _read_photo(pairs: Sequence[Pair], channels: int) -> list[Crop]:
    """Decode crops of one file."""
    pair = pairs[0]
    image = _decode(pair.image_path, "RGB" if channels == 3 else "L")
    image = image.reshape(*image.shape[:2], channels)
    mask = np.zeros(image.shape[:2], bool) if pair.mask_path is None else _read_mask(pair)
    if mask.shape != image.shape[:2]:
        raise DataError(
            f"mask {pair.mask_path} is {mask.shape[1]} x {mask.shape[0]}, its image {image.shape[1]} x {image.shape[0]}; "
            "they must be of one size"
        )
    return [Crop(each, _part(image, each.box), _part(mask, each.box)) for each in pairs]


def _part(array: np.ndarray, box: tuple[int, int, int, int] | None) -> np.ndarray:
    if box is None:
        return array
    top, left, height, width = box
    return array[top : top + height, left : left + width].copy()  # a view would keep the whole photo in memory


def shows_crack(pair: Pair) -> bool:
    """Whether the mask of a whole file holds any crack."""
    return pair.mask_path is not None and bool(_read_mask(pair).any())


def _read_mask(pair: Pair) -> np.ndarray:
    """The mask of a whole file, (H, W) bool."""
    path = pair.mask_path
    if path.suffix.lower() == ".mat":
        return _read_crackforest_truth(path)
    grey = _decode(path, "RGB").max(axis=2)  # whatever the colour crack is painted in
    noise = JPEG_NOISE if pair.source or path.suffix.lower() in (".jpg", ".jpeg") else 0  # merged sets went through JPEG
    if noise < grey.max() <= 127:
        raise DataError(f"mask {path} holds values up to {grey.max()}; crack must be brighter than 127, the rest 0")
    return grey > 127


def _read_crackforest_truth(path: Path) -> np.ndarray:
    """CrackForest's Segmentation: 2 is crack and 4 faint crack; 1 is pavement, and so is 3, which cracks enclose."""
    try:
        truth = scipy.io.loadmat(path).get("groundTruth")
    except Exception as error:  # a damaged file raises whatever its bytes lead to: OSError, ValueError, TypeError, zlib.error ...
        raise DataError(f"cannot read {path} as a MATLAB file: {error}; replace or remove it") from None
    if truth is None or "Segmentation" not in (truth.dtype.names or ()):
        raise DataError(f"{path} holds no groundTruth with a Segmentation; expected CrackForest's own files")
    labels = truth["Segmentation"].item()
    if not np.isin(labels, (1, 2, 3, 4)).all():
        raise DataError(f"{path}: Segmentation holds {np.unique(labels).tolist()}; expected 1 to 4, as CrackForest has it")
    return np.isin(labels, (2, 4))


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
        return np.asarray(ImageOps.exif_transpose(file).convert(mode))  # phones store photos lying on their side


def _read_size(path: Path) -> tuple[int, int]:
    """(height, width) as shown, from the file's header alone."""
    with _open_image(path) as file:
        lying = file.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return (file.width, file.height) if lying else (file.height, file.width)


def read_crops(pairs: Sequence[Pair], channels: int) -> list[Crop]:
    """Decode many crops, each file once where its crops stand together, on all cores."""
    files = [list(crops) for _, crops in itertools.groupby(pairs, key=lambda pair: pair.image_path)]
    with ThreadPoolExecutor() as pool:
        return list(itertools.chain.from_iterable(pool.map(lambda crops: _read_photo(crops, channels), files)))


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
        found = find_splits(self.root, params.dataset, params.split_seed)
        self.notes, self.drawn_splits = found.notes, found.drawn
        if params.validate_on_test:
            self.notes.append(
                "Checkpoint and thresholds were chosen on test (validate_on_test): its figures are not independent, but too good."
            )
        if not params.decision_loss:
            self.notes.append("The decision was not trained (decision_loss is off): its figures are those of random weights.")
        if params.images_per_split:
            self.notes.append(f"A trial: at most {params.images_per_split} images of each split were used.")
        pairs = {split: self._select(split, found.pairs[split]) for split in SPLITS}
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

    def split(self, name: str) -> CropDataset:
        """The crops of train, val or test."""
        if name not in self._decoded:
            crops = self._choose_negatives(name, read_crops(self._pairs[name], self.params.input_channels))
            if not any(crop.has_crack for crop in crops):
                raise DataError(f"no image of {name} in {self.root} has a crack; masks need pixels brighter than 127")
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
        weigh = partial(crack_weights, w_max=params.w_max, power=params.w_power) if params.weighted_segmentation_loss else None
        return {"dilate": params.dilate, "parts": params.augmentation_parts.split(), "weigh": weigh}

    @property
    def facts(self) -> dict[str, Any]:
        """What the run's pages say of the data: counts of positives and negatives, input size, names, notes."""
        splits = {name: self.split(name) for name in SPLITS}
        test_positives, test_is_drawn = splits["test"].positives, "test" in self.drawn_splits
        return {
            "counts": {name: {"positives": split.positives, "negatives": split.negatives} for name, split in splits.items()},
            "input_height": self.input_size[0],
            "input_width": self.input_size[1],
            "title": DATASET_TITLES[self.params.dataset],
            "test_title": test_set_title(self.params.dataset, test_positives, test_is_drawn),
            "test_is_part_of_official": not test_is_drawn and is_part_of_official(self.params.dataset, test_positives),
            "drawn": is_drawn(self.root),
            "notes": self.notes,
        }


def own_size(pairs: Sequence[Pair]) -> tuple[int, int]:
    """The commonest size (height, width) among images, laid on its side, in full steps of 8 pixels."""
    sizes = Counter(tuple(sorted(pair.box[2:] if pair.box else _read_size(pair.image_path))) for pair in pairs)
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
