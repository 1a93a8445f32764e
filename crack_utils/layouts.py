"""The files of a data set: where each split's images and masks lie in every layout, and decoding them once."""

import contextlib
import dataclasses
import io
import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import scipy.io
from PIL import ExifTags, Image, ImageOps

from crack_utils.errors import DataError

SPLITS = ("train", "val", "test")
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
MASK_ENDINGS = ("", "_GT", "_mask")
IMAGE_FOLDERS, MASK_FOLDERS = ("images", "image"), ("masks", "mask", "labels", "label")
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
    found = _merge(found, _read_lists(root, found))
    if dataset in ("deepcrack", "merged"):
        found = {split: [_with_source(pair, dataset) for pair in pairs] for split, pairs in found.items()}
    if "train" not in found and "all" not in found:
        raise DataError(f"{root} holds no train split, only {' and '.join(found)}; add a folder or list of training images")
    drawn = [split for split in DRAWN_SHARES if split not in found]
    if drawn and dataset in ("sample", "crack500"):  # whose splits are fixed: a missing one is a mistake
        raise DataError(f"{root} holds neither {drawn[0]}crop/ nor {drawn[0]}/; expected one of CRACK500's layouts (see README.md)")
    pool = found.pop("all") if "all" in found else found["train"]
    found["train"] = pool
    if drawn:
        elsewhere = {pair.photo for split in found if split != "train" for pair in found[split]}
        free = [pair for pair in pool if pair.photo not in elsewhere]
        if len({pair.photo for pair in free}) <= len(drawn):  # too few photos: some that another split has must do
            free = pool
        found |= draw_splits(free, drawn, seed)
        found["train"] += sorted(set(pool) - set(free), key=lambda pair: pair.stem)
        notes.append(f"These data fix no {' and no '.join(drawn)}: drawn by photo from the {len(free)} images (split_seed {seed}).")
    return FoundSplits(found, drawn, notes)


def _merge(found: dict[str, list[Pair]], listed: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
    """Lists before folders: a split that is listed holds what its list names, one that lies in folders what no list names."""
    if "all" in found and "train" in listed:
        return listed
    taken = {pair.image_path for pairs in listed.values() for pair in pairs}
    return {split: [pair for pair in pairs if pair.image_path not in taken] for split, pairs in found.items()} | listed


def _with_source(pair: Pair, dataset: str) -> Pair:
    return dataclasses.replace(pair, source="DeepCrack" if dataset == "deepcrack" else MERGED_SOURCE.match(pair.stem)[0])


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
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file() and path.name[0] != ".")
    for path in files:
        if path.name.encode(errors="replace") != path.name.encode(errors="surrogateescape"):  # no table could hold such a name
            raise DataError(f"{folder} holds a file whose name is no text, {path.name!a}; rename it")
    return files


def _read_lists(root: Path, found: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
    """The splits that train.txt, val.txt and test.txt in ``root`` fix; empty where there are none.

    A line names an image by its path and its mask by another, as CRACK500's lists do, or an image alone by path, name or stem.
    """
    pairs = list(itertools.chain.from_iterable(found.values()))
    times = Counter(name for pair in pairs for name in {pair.stem, pair.image_path.name})  # two splits may each have an 1.jpg
    known = {name: pair for pair in pairs for name in (pair.stem, pair.image_path.name, pair.image_path) if times[name] < 2}
    listed: dict[str, list[Pair]] = {}
    split_of: dict[Path, str] = {}
    for split in SPLITS:
        path = root / f"{split}.txt"
        if not path.is_file():
            continue
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise DataError(f"{path} is not UTF-8 text; save it as such") from None
        own = {pair.image_path.name: pair for name in ("all", split) for pair in found.get(name, [])}
        listed[split] = [_listed_pair(line.split(), path, known, own) for line in lines if line.strip()]
        if not listed[split]:
            raise DataError(f"{path} is empty; list the images of {split}, or remove it")
        for pair in listed[split]:
            if split_of.setdefault(pair.image_path, split) != split:
                raise DataError(f"{path} names {pair.image_path.name}, which {split_of[pair.image_path]}.txt names too; keep one of them")
    return listed


def _listed_pair(words: list[str], path: Path, known: dict[str | Path, Pair], own: dict[str, Pair]) -> Pair:
    """The pair that a line names: ``known`` by path, or by a name or stem that only one image has; or one of the split's ``own``, where
    the list is of another layout of the same files."""
    files = [path.parent / word for word in words]
    pair = known.get(files[0]) or known.get(words[0]) or (None if files[0].is_file() else own.get(files[0].name))
    image, mask = (pair.image_path, pair.mask_path) if pair else (files[0], None)
    if len(files) > 1 and (files[1].is_file() or mask is None or files[1].stem not in (mask.stem, image.stem)):
        mask = files[1]
    if len(files) > 2 or mask is None or not (image.is_file() and mask.is_file()):
        raise DataError(
            f"{path} names {' '.join(words)}, which is not there, or is the name of several images; a line is an image's path (and its "
            "mask's), without spaces"
        )
    return Pair(image, mask)


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
            f"than 127 where there is crack{_of_how_many_crops(crops)}"
        )
    drawn = {split: crops.pop(photo) for split, photo in zip(splits, first, strict=True)}
    for split in missing:
        for photo in list(crops):
            if len(drawn[split]) + len(crops[photo]) <= round(DRAWN_SHARES[split] * len(pairs)):
                drawn[split] += crops.pop(photo)
    drawn["train"] += itertools.chain.from_iterable(crops.values())
    return {split: sorted(drawn[split], key=lambda pair: pair.stem) for split in drawn}


def _of_how_many_crops(crops: dict[str, list[Pair]]) -> str:
    """A hint for names that only look like those of crops."""
    photo, most = max(crops.items(), key=lambda item: len(item[1]))
    hint = (
        f". {len(most)} images count as crops of one photo, {photo}, as their names end alike; rename them, or list all in train.txt, "
        "val.txt and test.txt"
    )
    return hint if len(most) > 1 else ""


def keep_apart(pairs: dict[str, list[Pair]], drawn: Collection[str]) -> dict[str, list[Pair]]:
    """Leave out the images of negatives folders whose photo has cracked crops in another split, where one of the two was drawn."""
    owner = {pair.photo: split for split in SPLITS for pair in pairs[split] if pair.mask_path}

    def stays(pair: Pair, split: str) -> bool:
        other = owner.get(pair.photo, split)
        return pair.mask_path is not None or other == split or not {split, other} & set(drawn)

    return {split: [pair for pair in pairs[split] if stays(pair, split)] for split in SPLITS}


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
    size = read_size(pair.image_path)
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
    """The crack-free images in ``folder/split``, which need no masks; empty where there is no such folder. A folder without any for a
    split holds those of train itself."""
    folder = Path(folder)
    is_flat = split == "train" and not _first_folder(folder, SPLITS)
    folder = folder if is_flat else folder / split
    return [Pair(path, None) for path in _images_and_masks(folder)[0]] if folder.is_dir() else []


def keep_disjoint(pairs: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
    """Leave each photo with crops in several splits to the last of them: test stays as it is, val loses what test has.

    Raises:
        DataError: nothing is left of a split.
    """
    last = {pair.photo: split for split in SPLITS for pair in pairs[split]}
    kept = {split: [pair for pair in pairs[split] if last[pair.photo] == split] for split in SPLITS}
    for split in SPLITS:
        if not kept[split]:
            raise DataError(f"photo_disjoint leaves no image of {split}: later splits have all its photos; turn it off or add photos")
    return kept


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
    image = decode(pair.image_path, "RGB" if channels == 3 else "L")
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
    grey = decode(path, "RGB").max(axis=2)  # whatever the colour crack is painted in
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
def _open_image(source: Path | bytes) -> Iterator[Image.Image]:
    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    try:
        with Image.open(file) as image:
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size if source.is_file() else 0
        reason = "it is empty" if not size else str(error).removesuffix(f" {file!r}")
        raise DataError(f"cannot read {_called(source)} ({size} bytes) as an image: {reason}; replace or remove it") from None


def _called(source: Path | bytes) -> str:
    return "the photo" if isinstance(source, bytes) else str(source)


def decode(source: Path | bytes, mode: str) -> np.ndarray:
    """The pixels of an image file, or of its bytes, turned as its EXIF says: uint8, (H, W) for mode L, (H, W, 3) for RGB.

    Raises:
        DataError: it is no image, or not one of 8 bits a channel.
    """
    with _open_image(source) as image:
        if image.mode.startswith(("I", "F")):
            raise DataError(f"{_called(source)} has pixels of mode {image.mode}; convert it to 8 bits a channel")
        return np.asarray(ImageOps.exif_transpose(image).convert(mode))  # phones store photos lying on their side


def read_size(path: Path) -> tuple[int, int]:
    """(height, width) as shown, from the file's header alone."""
    with _open_image(path) as file:
        lying = file.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return (file.width, file.height) if lying else (file.height, file.width)


def read_crops(pairs: Sequence[Pair], channels: int) -> list[Crop]:
    """Decode many crops, each file once where its crops stand together, on all cores."""
    files = [list(crops) for _, crops in itertools.groupby(pairs, key=lambda pair: pair.image_path)]
    with ThreadPoolExecutor() as pool:
        return list(itertools.chain.from_iterable(pool.map(lambda crops: _read_photo(crops, channels), files)))
