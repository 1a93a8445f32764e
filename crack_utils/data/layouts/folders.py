"""Images and masks in folders."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from crack_utils.data.crops import SPLITS, Pair, Unused
from crack_utils.data.masks import MaskRule
from crack_utils.errors import DataError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
MASK_ENDINGS = ("", "_GT", "_mask")
IMAGE_FOLDERS, MASK_FOLDERS = ("images", "image"), ("masks", "mask", "labels", "label")


class Found(NamedTuple):
    """What a layout finds in a folder: pairs by split (``all`` without fixed splits), sentences for the run's pages, all other files."""

    pairs: dict[str, list[Pair]]
    notes: tuple[str, ...] = ()
    unused: tuple[Unused, ...] = ()
    rule: MaskRule | None = None  # how mask files are read; decided after the files were found


def find_folders(root: Path) -> Found:
    """The splits that have a folder (see :func:`find_pairs`). Without any, the key "all" holds the pairs of ``images/`` and ``masks/``."""
    pairs = {split: find_pairs(root, split) for split in SPLITS if _split_folder(root, split)}
    return Found(pairs or {"all": _pairs_of_folders(root)})


def find_pairs(root: Path, split: str) -> list[Pair]:
    """The crops of one split in any of CRACK500's layouts, by stem.

    Known layouts: ``traincrop/`` (also nested twice) with ``x.jpg`` and ``x.png``; ``train/`` with ``x.jpg`` and ``x_GT.png`` or
    ``x_mask.png``; ``train/images`` and ``train/masks``. Raises DataError without such a folder, and for an image without mask.
    """
    folder = _split_folder(Path(root), split)
    if folder is None:
        raise DataError(f"{root} holds neither {split}crop/ nor {split}/; expected one of CRACK500's layouts (see docs/data.md)")
    if _first_folder(folder, IMAGE_FOLDERS):
        return _pairs_of_folders(folder)
    images, masks = _images_and_masks(folder)
    if not images:
        raise DataError(f"no images in {folder}; expected files such as x.jpg with masks x.png")
    return pair_up(images, masks)


def find_negatives(folder: Path, split: str) -> list[Pair]:
    """The crack-free images in ``folder/split``, if there is one. A folder without folders for splits holds images of train."""
    is_flat = split == "train" and not _first_folder(folder, SPLITS)
    folder = folder if is_flat else folder / split
    return [Pair(path, None) for path in _images_and_masks(folder)[0]] if folder.is_dir() else []


def pair_up(images: Sequence[Path], masks: Sequence[Path]) -> list[Pair]:
    """Each image with the mask of its stem. Raise DataError if an image has no mask."""
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


def files_in(folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> list[Path]:
    """The files in a folder that have one of the suffixes, by name. Raise DataError if there is no such folder or file."""
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; docs/data.md describes the layout of each data set")
    if not (files := _listing(folder, suffixes)):
        raise DataError(f"{folder} holds no file ending in {', '.join(sorted(suffixes))}")
    return files


def _split_folder(root: Path, split: str) -> Path | None:
    return _first_folder(root, (f"{split}crop/{split}crop", f"{split}crop", f"{split}/{split}", split))


def _first_folder(root: Path, names: Iterable[str]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _pairs_of_folders(folder: Path) -> list[Pair]:
    images, masks = _first_folder(folder, IMAGE_FOLDERS), _first_folder(folder, MASK_FOLDERS)
    if images is None:
        raise DataError(f"{folder} holds neither images/ (with masks/ beside it) nor traincrop/ nor train/; see docs/data.md")
    return pair_up(files_in(images), files_in(masks or folder / MASK_FOLDERS[0]))


def _listing(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file() and path.name[0] != ".")
    for path in files:
        if path.name.encode(errors="replace") != path.name.encode(errors="surrogateescape"):  # no table can hold such a name
            raise DataError(f"{folder} holds a file whose name is not text, {path.name!a}; rename it")
    return files


def _images_and_masks(folder: Path) -> tuple[list[Path], list[Path]]:
    """Tell masks from images: a PNG is a mask if an image has its stem, with or without a mask's ending."""
    files = _listing(folder, IMAGE_SUFFIXES)
    stems, stems_of_images = {path.stem for path in files}, {path.stem for path in files if path.suffix.lower() != ".png"}

    def is_mask(path: Path) -> bool:
        is_named_so = any(path.stem.endswith(ending) and path.stem.removesuffix(ending) in stems for ending in MASK_ENDINGS[1:])
        return path.suffix.lower() == ".png" and (is_named_so or path.stem in stems_of_images)

    return [path for path in files if not is_mask(path)], [path for path in files if is_mask(path)]
