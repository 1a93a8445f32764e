"""Images and masks in folders, as people have them: for each split or for all, side by side or apart, in any case, nested."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from crack_utils.data.crops import SPLITS, Pair, Unused
from crack_utils.data.layouts.files import contents, defect_of, folders_in, holds_images, images_in
from crack_utils.data.layouts.names import Paired, pair_side_by_side, pair_up, plain_name, tell_apart
from crack_utils.data.masks import MaskRule
from crack_utils.errors import DataError

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "traincrop"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "valcrop"), "val"),
    **dict.fromkeys(("test", "testing", "testcrop"), "test"),
}
IMAGE_WORDS = "image images img imgs jpegimages photo photos picture pictures input inputs rgb"
MASK_WORDS = (
    "mask masks label labels lab gt gts groundtruth groundtruths annotation annotations segmentation segmentations segmentationclass "
    "target targets seg"
)
ROLES = {**dict.fromkeys(IMAGE_WORDS.split(), "images"), **dict.fromkeys(MASK_WORDS.split(), "masks")}
NEGATIVES = ("negatives", "negative")
EXPECTED = "expected images/ with masks/ beside it, or folders train/, val/ and test/ with these (see docs/data.md)"


class Found(NamedTuple):
    """What a layout finds in a folder: pairs by split (``all`` without fixed splits), sentences for the run's pages, all other files."""

    pairs: dict[str, list[Pair]]
    notes: tuple[str, ...] = ()
    unused: tuple[Unused, ...] = ()
    rule: MaskRule | None = None  # how mask files are read; decided after the files were found


class Place(NamedTuple):
    """A folder that holds images."""

    folder: Path
    split: str | None  # as the folders' names say
    role: str | None  # "images" or "masks"; None for photos and masks side by side
    group: tuple[str, ...]  # names on the way that say neither split nor role, such as a site

    @property
    def files(self) -> list[Path]:
        """The image files in the folder."""
        return images_in(self.folder)


def find_folders(root: Path) -> Found:
    """The pairs of the splits that have a folder. Without any, the key "all" holds all pairs.

    Raises:
        DataError: no pair is found, a split's folder holds none, or the folders can be understood in two ways.
    """
    places = list(places_in(root))
    if not places:
        raise DataError(f"{root} holds no image that is read; it holds {contents(root)}; {EXPECTED}")
    by_split = {split: [place for place in places if place.split == split] for split in (*SPLITS, None)}
    shared_masks = [place for place in by_split[None] if place.role == "masks"]
    pairs, unused = {}, []
    for split in SPLITS:
        if by_split[split]:
            is_bare = all(place.role == "images" for place in by_split[split])  # photos by split, but all masks in one folder
            pairs[split], more = _paired(root, by_split[split] + (shared_masks if is_bare else []), split)
            unused += more
        elif folder := _folder_of(root, split):
            raise DataError(f"no images in {folder}; expected files such as x.jpg with masks x.png; it holds {contents(folder)}")
    if "train" in pairs:
        unused += _outside(by_split[None], pairs)
    elif any(place.role == "images" for place in by_split[None]) or (by_split[None] and not pairs):
        pairs["all"], more = _paired(root, by_split[None], "all")
        unused += more
    used = {path for those in pairs.values() for pair in those for path in (pair.image_path, pair.mask_path)}
    return Found(pairs, (), tuple({each.path: each for each in unused if each.path not in used}.values()))


def pair_folders(folders: Mapping[str, tuple[Path, Path]]) -> Found:
    """The pairs of each split (or of "all"), which has a folder of images and a folder of masks."""
    pairs, unused = {}, []
    for split, (images, masks) in folders.items():
        pairs[split], more = pair_up(files_in(images), files_in(masks))
        unused += more
        if not pairs[split]:
            raise _nothing_fits(unused, images, masks)
    return Found(pairs, (), tuple(unused))


def files_in(folder: Path) -> list[Path]:
    """The image files in a folder, by name. Raise DataError if there is no such folder or file."""
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; docs/data.md describes the layout of each data set")
    if not (files := images_in(folder)):
        raise DataError(f"{folder} holds no image that is read; it holds {contents(folder)}")
    return files


def find_negatives(folder: Path, split: str) -> list[Pair]:
    """The crack-free images of a split. A folder without folders for splits holds images of train."""
    places, has_splits = _negative_places(folder)
    if not has_splits and split != "train":
        return []
    chosen = [place for place in places if place.split == (split if has_splits else None)]
    images = [path for place in chosen for path in (place.files if place.role else tell_apart(place.files)[0])]
    return [Pair(path, None) for path in images if not defect_of(path)]


def unused_negatives(folder: Path) -> list[Unused]:
    """The images beside the folders for splits in a folder of crack-free images."""
    places, has_splits = _negative_places(folder)
    fix = "move it to negatives/train, negatives/val or negatives/test"
    lone = [path for place in places if has_splits and not place.split for path in place.files]
    return [Unused(path, "crack-free image beside the folders of the splits", fix) for path in lone]


def _negative_places(folder: Path) -> tuple[list[Place], bool]:
    """The folders with crack-free images, and whether there are folders for splits."""
    places = [place for place in places_in(folder, is_negatives=True) if place.role != "masks"] if folder.is_dir() else []
    has_splits = any(place.split for place in places) or (folder.is_dir() and any(_folder_of(folder, split) for split in SPLITS))
    return places, has_splits


def innermost(root: Path) -> Path:
    """The folder that a chain of single folders wraps. Names that say a split or a role wrap nothing.

    Images beside a wrapped folder do not count if they form no pair, as a preview beside a whole data set does.
    """
    while True:
        inner = [folder for folder in folders_in(root) if folder.name.lower() not in NEGATIVES and holds_images(folder)]
        if len(inner) != 1 or meaning(inner[0].name):
            return root
        loose = images_in(root)
        if loose and (pair_side_by_side(loose).pairs or not any(meaning(folder.name) for folder in folders_in(inner[0]))):
            return root
        root = inner[0]


def meaning(name: str) -> tuple[str | None, str | None] | None:
    """The split and the role ("images" or "masks") that a folder's name says; None if it has a word that says neither."""
    joined = re.sub(r"[\W_]", "", name.lower())
    words = [joined] if joined in {**SPLIT_WORDS, **ROLES} else [word for word in re.split(r"[\W_]+", name.lower()) if word]
    splits, roles = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}, {ROLES[word] for word in words if word in ROLES}
    if not words or not {*words} <= {*SPLIT_WORDS, *ROLES} or len(splits) > 1 or len(roles) > 1:
        return None
    return next(iter(splits), None), next(iter(roles), None)


def places_in(root: Path, is_negatives: bool = False) -> Iterator[Place]:
    """The folders below ``root`` that hold images. Folders beside those whose names say a split or a role are left aside."""
    return _below(Place(innermost(root), None, None, ()), "images" if is_negatives else None)


def _below(place: Place, default_role: str | None) -> Iterator[Place]:
    inner = [folder for folder in folders_in(place.folder) if folder.name.lower() not in NEGATIVES]
    told = {folder: each for folder in inner if (each := _extended(place, folder))}
    with_images = [folder for folder in inner if folder not in told and holds_images(folder)]
    if images_in(place.folder) and not (place.role is None and any(each.role == "images" for each in told.values())):
        yield place
    for each in told.values():
        yield from _below(each, default_role)
    has_role = place.role or default_role
    if not has_role and (told or images_in(place.folder)):
        with_images = []
    if not has_role and len(with_images) > 1:
        raise DataError(
            f"{place.folder} holds several folders with images, {' and '.join(f'{folder.name}/' for folder in with_images[:4])}, whose "
            f"names do not say what they hold; rename them to images/ and masks/, or give one of them as data_root ({EXPECTED})"
        )
    for folder in with_images:
        yield from _below(place._replace(folder=folder, group=(*place.group, folder.name)), default_role)


def _extended(place: Place, folder: Path) -> Place | None:
    """The place of a folder whose name says a split or a role that fits to its parents'; None for other names."""
    if (said := meaning(folder.name)) is None:
        return None
    split, role = said
    if (split and place.split and split != place.split) or (role and place.role and role != place.role):
        return None
    return place._replace(folder=folder, split=split or place.split, role=role or place.role)


def _paired(root: Path, places: list[Place], split: str) -> Paired:
    """The pairs of a split's places: group by group where photos and masks have the same groups."""
    _check_single(root, places)
    by_role = {role: [place for place in places if place.role == role] for role in ("images", "masks", None)}
    if by_role["masks"] and not by_role["images"] and by_role[None]:
        by_role = _of_loose_photos(by_role)
    if by_role["images"] and not by_role["masks"]:
        return _without_masks(by_role["images"])
    if by_role["masks"] and not by_role["images"]:
        raise DataError(f"{by_role['masks'][0].folder} holds masks, but no folder holds their photos; {EXPECTED}")
    pairs, unused = [], []
    for paired in _groups(by_role):
        pairs += paired.pairs
        unused += paired.unused
    if not pairs:
        raise _nothing_fits(
            unused, *(by_role[role][0].folder for role in ("images", "masks") if by_role[role]), *(p.folder for p in by_role[None])
        )
    return Paired(pairs, unused)


def _of_loose_photos(by_role: dict[str | None, list[Place]]) -> dict[str | None, list[Place]]:
    """Photos beside a folder of masks: those of that folder, or those beside the photos, whichever fit to more photos."""
    apart = {"images": by_role[None], "masks": by_role["masks"], None: []}
    beside = {"images": [], "masks": [], None: by_role[None]}
    return max(apart, beside, key=lambda roles: sum(len(paired.pairs) for paired in _groups(roles)))


def _groups(by_role: Mapping[str | None, list[Place]]) -> Iterator[Paired]:
    for place in by_role[None]:
        yield pair_side_by_side(place.files)
    files = {role: defaultdict(list) for role in ("images", "masks")}
    for role, groups in files.items():
        for place in by_role[role]:
            groups[tuple(plain_name(name) for name in place.group)] += place.files
    if files["images"].keys() != files["masks"].keys():  # photos by site, but all masks in one folder
        files = {role: {(): list(itertools.chain.from_iterable(groups.values()))} for role, groups in files.items() if groups}
    for group, photos in files.get("images", {}).items():
        yield pair_up(photos, files["masks"][group])


def _without_masks(places: list[Place]) -> Paired:
    """Photos and masks side by side in a folder of images. Raise DataError if there are no masks."""
    paired = [pair_side_by_side(place.files) for place in places]
    if not any(each.pairs for each in paired):
        folder = places[0].folder
        raise DataError(
            f"{folder.with_name('masks')} is missing, and {folder} holds no masks either; expected a mask for each photo, such as "
            f"masks/x.png for images/x.jpg; {folder.parent} holds {contents(folder.parent)}"
        )
    return Paired([pair for each in paired for pair in each.pairs], [file for each in paired for file in each.unused])


def _check_single(root: Path, places: list[Place]) -> None:
    """Raise DataError if two folders could be the images, or the masks, of a split."""
    homes: dict[tuple, Path] = {}
    for place in places:
        other = homes.setdefault((place.role, place.group), place.folder)
        if other != place.folder:
            names = [f"{folder.relative_to(root).as_posix()}/" for folder in (other, place.folder)]
            what = place.role or f"images of {place.split or 'one set'}"
            raise DataError(f"{root} holds {what} in both {names[0]} and {names[1]}; move one of them out of data_root")


def _outside(places: list[Place], pairs: Mapping[str, list[Pair]]) -> Iterator[Unused]:
    """Photos beside folders for the splits. Copies of the splits' photos are of no use; any other is missed."""
    known = {plain_name(pair.stem) for those in pairs.values() for pair in those}
    for place in places:
        if place.role == "images":
            for path in place.files:
                if plain_name(path.stem) not in known:
                    yield Unused(path, "photo beside the folders of the splits", "move it and its mask to the folders of a split")


def _nothing_fits(unused: Sequence[Unused], *folders: Path) -> DataError:
    """The error for photos and masks of which no two fit."""
    if reasons := [each for each in unused if each.fix and each.reason != "photo without a mask"]:
        alike = [each.path for each in unused if each.reason == reasons[0].reason]
        shown = ", ".join(path.name for path in alike[:3]) + (", ..." if len(alike) > 3 else "")
        return DataError(
            f"{folders[0]} holds no photo that can be used: {reasons[0].reason} ({len(alike)} files: {shown}); {reasons[0].fix}"
        )
    shown = "; ".join(f"{folder} holds {', '.join(path.name for path in images_in(folder)[:2])}" for folder in folders[:2])
    return DataError(f"no photo has a mask: {shown}; a mask has the name of its photo, such as x.png, x_GT.png or x_mask.png for x.jpg")


def _folder_of(root: Path, split: str) -> Path | None:
    """A folder whose name says the split alone."""
    return next((folder for folder in folders_in(innermost(root)) if meaning(folder.name) == (split, None)), None)
