"""The splits of a data set, found in lists and folders, or drawn, separated and limited by photo."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crack_utils.data.crops import SPLITS, Pair, Unused, shows_crack
from crack_utils.data.layouts import layout_of
from crack_utils.data.layouts.folders import Found
from crack_utils.data.masks import MaskRule
from crack_utils.errors import DataError

DRAWN_SHARES = {"val": 0.1, "test": 0.2}  # shares of the images, if the data set has no such split
Pairs = dict[str, list[Pair]]  # by split


class FoundSplits(NamedTuple):
    """The pairs of train, val and test; the splits that were drawn; sentences for the reader of the run's pages; all other files."""

    pairs: Pairs
    drawn: tuple[str, ...]
    notes: tuple[str, ...]
    unused: tuple[Unused, ...]
    rule: MaskRule | None


def find_splits(
    root: Path, dataset: str, seed: int = 0, mask_crack: str = "auto", check: Callable[[Found], Found] = lambda found: found
) -> FoundSplits:
    """The pairs of each split of a data set. Raise DataError if a folder or file cannot be used.

    The seed draws missing splits. ``mask_crack`` is the parameter of this name. ``check`` may leave out files before.
    """
    root, layout = Path(root), layout_of(dataset)
    if not root.is_dir():
        raise DataError(f"data_root {root} is not a folder; give the folder that holds the data set (see docs/data.md)")
    found = layout.find(root, mask_crack) if layout.has_labels else layout.find(root)
    listed = {split: [layout.describe(pair) for pair in those] for split, those in _with_lists(root, found.pairs).items()}
    found = check(found._replace(pairs=listed))
    pairs = dict(found.pairs)
    if "train" not in pairs and "all" not in pairs:
        raise DataError(f"{root} holds no train split, only {' and '.join(pairs)}; add a folder or list of training images")
    missing = tuple(split for split in DRAWN_SHARES if split not in pairs)
    if missing and layout.has_fixed_splits:
        raise DataError(f"{root} holds neither {missing[0]}crop/ nor {missing[0]}/; expected one of CRACK500's layouts (see docs/data.md)")
    pool = pairs.pop("all") if "all" in pairs else pairs["train"]
    if not missing:
        return FoundSplits(pairs | {"train": pool}, (), found.notes, found.unused, found.rule)
    elsewhere = {pair.photo for split in pairs if split != "train" for pair in pairs[split]}
    free = [pair for pair in pool if pair.photo not in elsewhere]
    if len({pair.photo for pair in free}) <= len(missing):  # too few photos: photos of another split may be drawn too
        free = pool
    pairs |= draw_splits(free, missing, seed)
    pairs["train"] += sorted(set(pool) - set(free), key=lambda pair: pair.stem)
    note = f"Splits drawn by photo from {len(free)} images because the data set lacks them (split_seed {seed}): {' and '.join(missing)}."
    return FoundSplits(pairs, missing, (*found.notes, note), found.unused, found.rule)


def _with_lists(root: Path, found: Pairs) -> Pairs:
    """The splits of train.txt, val.txt and test.txt. A split without a list holds the images of its folder that no list names.

    A line names an image and its mask by two paths, as CRACK500's lists do, or an image alone by path, name or stem.
    """
    pairs = list(itertools.chain.from_iterable(found.values()))
    times = Counter(name for pair in pairs for name in {pair.stem, pair.image_path.name})  # two splits may each have a 1.jpg
    known = {name: pair for pair in pairs for name in (pair.stem, pair.image_path.name, pair.image_path) if times[name] < 2}
    listed, split_of = {}, {}
    for split in SPLITS:
        path = root / f"{split}.txt"
        if not path.is_file():
            continue
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise DataError(f"{path} is not UTF-8 text; save it as UTF-8") from None
        own = {pair.image_path.name: pair for name in ("all", split) for pair in found.get(name, [])}
        listed[split] = [_listed_pair(line.split(), path, known, own) for line in lines if line.strip()]
        if not listed[split]:
            raise DataError(f"{path} is empty; list the images of {split}, or remove it")
        for pair in listed[split]:
            if split_of.setdefault(pair.image_path, split) != split:
                raise DataError(f"{path} names {pair.image_path.name}, which {split_of[pair.image_path]}.txt names too; remove one of them")
    if "all" in found and "train" in listed:
        return listed
    return {split: [pair for pair in those if pair.image_path not in split_of] for split, those in found.items()} | listed


def _listed_pair(words: list[str], path: Path, known: dict[str | Path, Pair], own: dict[str, Pair]) -> Pair:
    """The pair of a line, ``known`` by path or by a name that only one image has, or one of the split's ``own`` in another layout."""
    files = [path.parent / word for word in words]
    pair = known.get(files[0]) or known.get(words[0]) or (None if files[0].is_file() else own.get(files[0].name))
    image, mask = (pair.image_path, pair.mask_path) if pair else (files[0], None)
    if len(files) > 1 and (files[1].is_file() or mask is None or files[1].stem not in (mask.stem, image.stem)):
        mask = files[1]
    if len(files) > 2 or mask is None or not (image.is_file() and mask.is_file()):
        raise DataError(
            f"{path} names {' '.join(words)}, but there is no such file, or several images have this name; a line holds the path of an "
            "image, or of an image and its mask, without spaces"
        )
    return dataclasses.replace(pair, mask_path=mask) if pair else Pair(image, mask)


def draw_splits(pairs: Sequence[Pair], missing: Sequence[str], seed: int) -> Pairs:
    """Draw the ``missing`` splits (val, test or both) by photo. The other photos become train.

    Each split first gets one photo with a crack; DataError if there are too few. Then photos follow in the seeded order as long as their
    crops fit into the split's share of the images.
    """
    crops = {photo: list(those) for photo, those in itertools.groupby(in_photo_order(pairs, seed), key=lambda pair: pair.photo)}
    splits = [*missing, "train"]
    first = list(itertools.islice((photo for photo in crops if any(shows_crack(pair) for pair in crops[photo])), len(splits)))
    if len(first) < len(splits):
        photo, most = max(crops.items(), key=lambda item: len(item[1]))  # photos of one's own may be named as crops are
        hint = f". {len(most)} images count as crops of one photo, {photo}, because their names end alike; rename them, or list all in "
        raise DataError(
            f"{len(first)} of {len(crops)} photos show a crack; {', '.join(splits)} need one each. Add photos, or check how "
            f"the masks are read (mask_crack){hint + 'train.txt, val.txt and test.txt' if len(most) > 1 else ''}"
        )
    drawn = {split: crops.pop(photo) for split, photo in zip(splits, first, strict=True)}
    for split in missing:
        for photo in list(crops):
            if len(drawn[split]) + len(crops[photo]) <= round(DRAWN_SHARES[split] * len(pairs)):
                drawn[split] += crops.pop(photo)
    drawn["train"] += itertools.chain.from_iterable(crops.values())
    return {split: sorted(drawn[split], key=lambda pair: pair.stem) for split in drawn}


def in_photo_order(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """Pairs photo by photo. The photos have a random order that ``seed`` decides."""
    photos = sorted({pair.photo for pair in pairs})
    rank = {photo: i for i, photo in enumerate(np.random.default_rng(seed).permutation(photos))}
    return sorted(pairs, key=lambda pair: (rank[pair.photo], pair.stem))


def keep_apart(pairs: Pairs, drawn: Collection[str]) -> Pairs:
    """Leave out images of negatives folders whose photo has cracked crops in another split, if one of the two splits was drawn."""
    owner = {pair.photo: split for split in SPLITS for pair in pairs[split] if pair.mask_path}

    def stays(pair: Pair, split: str) -> bool:
        other = owner.get(pair.photo, split)
        return pair.mask_path is not None or other == split or not {split, other} & set(drawn)

    return {split: [pair for pair in pairs[split] if stays(pair, split)] for split in SPLITS}


def keep_disjoint(pairs: Pairs) -> Pairs:
    """Keep each photo only in the last split that has crops of it: test stays as it is. Raise DataError if a split has no image left."""
    last = {pair.photo: split for split in SPLITS for pair in pairs[split]}
    kept = {split: [pair for pair in pairs[split] if last[pair.photo] == split] for split in SPLITS}
    for split in SPLITS:
        if not kept[split]:
            raise DataError(f"photo_disjoint leaves no image of {split}: later splits have all its photos; turn it off or add photos")
    return kept


def limit_by_photo(pairs: Sequence[Pair], limit: int | None, seed: int) -> list[Pair]:
    """At most ``limit`` pairs, photo by photo in a seeded order. The share of crack-free images stays the same."""
    if limit is None or len(pairs) <= limit:
        return list(pairs)
    ordered = in_photo_order(pairs, seed)
    cracked = [pair for pair in ordered if pair.mask_path is not None]
    crack_free = [pair for pair in ordered if pair.mask_path is None]
    n_crack_free = min(round(limit * len(crack_free) / len(pairs)), limit - 1)
    return cracked[: limit - n_crack_free] + crack_free[:n_crack_free]
