"""The splits of a data set, found in lists and folders, or drawn, separated and limited by photo."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from crack_utils.data.crops import SPLITS, Pair, Unused
from crack_utils.data.draws import DRAWN_SHARES, draw_splits, in_photo_order, shares_note
from crack_utils.data.layouts import Found, Layout, layout_of
from crack_utils.data.layouts.files import ELSEWHERE, NO_PAIR, is_image_name, left_over, walk
from crack_utils.data.layouts.folders import NEGATIVES, find_negatives, unused_negatives
from crack_utils.data.lists import Lists, read_lists
from crack_utils.data.masks import MaskRule
from crack_utils.data.offsets import names_notes, settle_names, settle_offsets
from crack_utils.errors import DataError

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

    The seed draws missing splits. ``mask_crack`` is the parameter of this name. ``check`` may leave out pairs before splits are drawn.
    """
    root, layout = Path(root), layout_of(dataset)
    if not root.is_dir():
        raise DataError(f"data_root {root} is not a folder; give the folder that holds the data set (see docs/data.md)")
    files = walk(root)
    found, lists = _found(root, layout, mask_crack)
    pairs = {split: [layout.describe(pair) for pair in those] for split, those in _with_lists(found.pairs, lists).items()}
    negatives = [layout.describe(pair) for split in SPLITS for pair in find_negatives(root / "negatives", split)]
    unused = _all_unused(root, files, found, pairs, negatives, lists)
    checked = check(Found(pairs, (*found.notes, *lists.notes), unused))
    pairs, notes = dict(checked.pairs), list(checked.notes)
    if layout.is_own:
        settled = iter(settle_offsets([pair for those in pairs.values() for pair in those] + negatives))
        named = iter(settle_names([next(settled) for those in pairs.values() for _ in those], root))
        pairs = {split: [next(named) for _ in those] for split, those in pairs.items()}
        notes += names_notes([pair for those in pairs.values() for pair in those])
    pairs, missing, more = _with_drawn(root, layout, pairs, seed)
    return FoundSplits(pairs, missing, (*notes, *more), checked.unused, checked.rule)


def _found(root: Path, layout: Layout, mask_crack: str) -> tuple[Found, Lists]:
    """What lies in the folders, and the lists. If the folders cannot be understood, lists may name all files."""
    try:
        found = layout.find(root, mask_crack) if layout.has_labels else layout.find(root)
    except DataError:
        lists = read_lists(root, {})
        if "train" not in lists.pairs:
            raise
        return Found({}), lists
    return found, read_lists(root, found.pairs, found.unused)


def _with_lists(found: Pairs, lists: Lists) -> Pairs:
    """The splits of the lists. A split without a list holds the images of its folder that no list names."""
    if not found or ("all" in found and "train" in lists.pairs):
        return dict(lists.pairs)
    listed = {pair.image_path for pairs in lists.pairs.values() for pair in pairs}
    return {split: [pair for pair in pairs if pair.image_path not in listed] for split, pairs in found.items()} | lists.pairs


def _with_drawn(root: Path, layout: Layout, pairs: Pairs, seed: int) -> tuple[Pairs, tuple[str, ...], list[str]]:
    """The pairs with the splits drawn that are missing, the names of these, and notes on the draw."""
    if "train" not in pairs and "all" not in pairs:
        raise DataError(f"{root} holds no train split, only {' and '.join(pairs)}; add a folder or list of training images")
    if empty := [split for split, those in pairs.items() if not those and split != "all"]:
        raise DataError(f"{root} holds no image of {empty[0]} that can be used; see the other messages on its files, or remove its list")
    missing = tuple(split for split in DRAWN_SHARES if split not in pairs)
    if missing and layout.has_fixed_splits:
        raise DataError(f"{root} holds neither {missing[0]}crop/ nor {missing[0]}/; expected one of CRACK500's layouts (see docs/data.md)")
    pool = pairs.pop("all") if "all" in pairs else pairs["train"]
    if not missing:
        return pairs | {"train": pool}, (), []
    elsewhere = {pair.photo for split in pairs if split != "train" for pair in pairs[split]}
    free = [pair for pair in pool if pair.photo not in elsewhere]
    if len({pair.photo for pair in free}) <= len(missing):  # too few photos: photos of another split may be drawn too
        free = pool
    drawn = draw_splits(free, missing, seed)
    note = f"Splits drawn by photo from {len(free)} images because the data set lacks them (split_seed {seed}): {' and '.join(missing)}."
    notes = [note, *filter(None, [shares_note(drawn, missing)])]
    drawn["train"] += sorted(set(pool) - set(free), key=lambda pair: pair.stem)
    return pairs | drawn, missing, notes


def _all_unused(
    root: Path, files: Sequence[Path], found: Found, pairs: Pairs, negatives: Sequence[Pair], lists: Lists
) -> tuple[Unused, ...]:
    """Every file in the folder that no pair, no list and no negatives folder uses, with a reason. Reasons with a fix come first."""
    known = [pair for those in pairs.values() for pair in those]
    used = {path for pair in (*known, *negatives) for path in (pair.image_path, pair.mask_path) if path} | set(lists.files.values())
    unused = [each for each in found.unused if each.path not in used] + unused_negatives(root / "negatives")
    for pair in (pair for those in found.pairs.values() for pair in those):
        reasons = {pair.image_path: "photo that no list names", pair.mask_path: "mask that no list names"}
        unused += [Unused(path, reason) for path, reason in reasons.items() if path not in used]
    read = {path.parent for path in used - set(lists.files.values())} | {each.path.parent for each in unused} | {root / "negatives"}
    unused += [_named(root, each) for each in left_over(root, files, used, unused, read)]
    return tuple(sorted(unused, key=lambda each: not each.fix))


def _named(root: Path, unused: Unused) -> Unused:
    """Crack-free images in a folder that is not where the program looks for these."""
    folders = unused.path.relative_to(root).parts[:-1]
    is_lost = unused.reason in (ELSEWHERE, NO_PAIR) and is_image_name(unused.path.name) and folders[:1] != ("negatives",)
    if not is_lost or not any(name.lower() in NEGATIVES for name in folders):
        return unused
    return Unused(unused.path, "crack-free image in another folder than negatives/", "move the folder, or name it in negatives_root")


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
