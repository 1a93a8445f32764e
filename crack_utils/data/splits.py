"""Splits by photo: drawing, separating and limiting them."""

import itertools
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from crack_utils.data.crops import SPLITS, Pair
from crack_utils.data.decoding import shows_crack
from crack_utils.errors import DataError

DRAWN_SHARES = {"val": 0.1, "test": 0.2}  # shares of the images, if the data set has no such split


def draw_splits(pairs: Sequence[Pair], missing: Sequence[str], seed: int) -> dict[str, list[Pair]]:
    """Draw the ``missing`` splits (val, test or both) by photo. The other photos become train.

    Each split first gets one photo with a crack. Then photos follow in the seeded order as long as their crops fit into the split's share
    of the images.

    Raises:
        DataError: fewer photos show a crack than there are splits.
    """
    crops: dict[str, list[Pair]] = {}
    for pair in in_photo_order(pairs, seed):
        crops.setdefault(pair.photo, []).append(pair)
    splits = [*missing, "train"]
    first = list(itertools.islice((photo for photo in crops if any(shows_crack(pair) for pair in crops[photo])), len(splits)))
    if len(first) < len(splits):
        raise DataError(
            f"{len(first)} of {len(crops)} photos show a crack; {', '.join(splits)} need one each. Add photos, or make the masks brighter "
            f"than 127 where there is crack{_hint_at_names(crops)}"
        )
    drawn = {split: crops.pop(photo) for split, photo in zip(splits, first, strict=True)}
    for split in missing:
        for photo in list(crops):
            if len(drawn[split]) + len(crops[photo]) <= round(DRAWN_SHARES[split] * len(pairs)):
                drawn[split] += crops.pop(photo)
    drawn["train"] += itertools.chain.from_iterable(crops.values())
    return {split: sorted(drawn[split], key=lambda pair: pair.stem) for split in drawn}


def _hint_at_names(crops: dict[str, list[Pair]]) -> str:
    """The end of an error message: photos of one's own may have names that look like names of crops."""
    photo, most = max(crops.items(), key=lambda item: len(item[1]))
    hint = (
        f". {len(most)} images count as crops of one photo, {photo}, because their names end alike; rename them, or list all in train.txt, "
        "val.txt and test.txt"
    )
    return hint if len(most) > 1 else ""


def in_photo_order(pairs: Iterable[Pair], seed: int) -> list[Pair]:
    """Pairs photo by photo. The photos have a random order that ``seed`` decides."""
    pairs = list(pairs)
    photos = sorted({pair.photo for pair in pairs})
    rank = {photo: i for i, photo in enumerate(np.random.default_rng(seed).permutation(photos))}
    return sorted(pairs, key=lambda pair: (rank[pair.photo], pair.stem))


def keep_apart(pairs: dict[str, list[Pair]], drawn: Collection[str]) -> dict[str, list[Pair]]:
    """Leave out images of negatives folders whose photo has cracked crops in another split, if one of the two splits was drawn."""
    owner = {pair.photo: split for split in SPLITS for pair in pairs[split] if pair.mask_path}

    def stays(pair: Pair, split: str) -> bool:
        other = owner.get(pair.photo, split)
        return pair.mask_path is not None or other == split or not {split, other} & set(drawn)

    return {split: [pair for pair in pairs[split] if stays(pair, split)] for split in SPLITS}


def keep_disjoint(pairs: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
    """Keep each photo only in the last split that has crops of it: test stays as it is, val loses the photos of test.

    Raises:
        DataError: a split has no image left.
    """
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
