"""The splits of a data set. Lists come first, then folders. A split with neither is drawn by photo."""

import dataclasses
from pathlib import Path

from crack_utils.data.crops import Pair
from crack_utils.data.layouts import layout_of
from crack_utils.data.layouts.lists import read_lists
from crack_utils.data.splits import DRAWN_SHARES, draw_splits
from crack_utils.errors import DataError


@dataclasses.dataclass(frozen=True)
class FoundSplits:
    """The pairs of train, val and test.

    Args:
        pairs: pairs by split.
        drawn: the splits that were drawn because the data set does not fix them.
        notes: sentences on the files for the reader of the run's pages.
    """

    pairs: dict[str, list[Pair]]
    drawn: tuple[str, ...]
    notes: tuple[str, ...]


def find_splits(root: Path, dataset: str, seed: int = 0) -> FoundSplits:
    """The pairs of each split of a data set.

    Args:
        root: the folder that holds the data set.
        dataset: a value of the parameter ``dataset``.
        seed: decides which photos are drawn.

    Raises:
        DataError: a folder or file is missing or cannot be used.
    """
    root, layout = Path(root), layout_of(dataset)
    if not root.is_dir():
        raise DataError(f"data_root {root} is not a folder; give the folder that holds the data set (see docs/data.md)")
    found = layout.find(root)
    pairs = _merge(found.pairs, read_lists(root, found.pairs))
    pairs = {split: [layout.describe(pair) for pair in those] for split, those in pairs.items()}
    if "train" not in pairs and "all" not in pairs:
        raise DataError(f"{root} holds no train split, only {' and '.join(pairs)}; add a folder or list of training images")
    missing = tuple(split for split in DRAWN_SHARES if split not in pairs)
    if missing and layout.has_fixed_splits:
        raise DataError(f"{root} holds neither {missing[0]}crop/ nor {missing[0]}/; expected one of CRACK500's layouts (see docs/data.md)")
    pairs["train"] = pairs.pop("all") if "all" in pairs else pairs["train"]
    if not missing:
        return FoundSplits(pairs, (), found.notes)
    pairs, n_free = _with_drawn(pairs, missing, seed)
    note = f"Splits drawn by photo from {n_free} images because the data set lacks them (split_seed {seed}): {' and '.join(missing)}."
    return FoundSplits(pairs, missing, (*found.notes, note))


def _merge(found: dict[str, list[Pair]], listed: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
    """A split with a list holds the list's images. A split in folders holds the images that no list names."""
    if "all" in found and "train" in listed:
        return listed
    taken = {pair.image_path for pairs in listed.values() for pair in pairs}
    return {split: [pair for pair in pairs if pair.image_path not in taken] for split, pairs in found.items()} | listed


def _with_drawn(pairs: dict[str, list[Pair]], missing: tuple[str, ...], seed: int) -> tuple[dict[str, list[Pair]], int]:
    """Draw the missing splits from train, but no photo that another split has. Also returns how many images could be drawn."""
    pool = pairs["train"]
    elsewhere = {pair.photo for split in pairs if split != "train" for pair in pairs[split]}
    free = [pair for pair in pool if pair.photo not in elsewhere]
    if len({pair.photo for pair in free}) <= len(missing):  # too few photos: photos of another split may be drawn too
        free = pool
    pairs = pairs | draw_splits(free, missing, seed)
    pairs["train"] = pairs["train"] + sorted(set(pool) - set(free), key=lambda pair: pair.stem)
    return pairs, len(free)
