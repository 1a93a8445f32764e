"""Splits drawn by photo."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from crack_utils.data.crops import Pair, shows_crack
from crack_utils.errors import DataError

DRAWN_SHARES = {"val": 0.1, "test": 0.2}  # shares of the images, if the data set has no such split
MOST_CHOSEN = 40  # photos that are tried in all splits
MOST_STATES = 4000  # combinations of sums that are kept of each photo tried
LARGEST_MISS = 0.05  # difference from a promised share that needs no note
State = tuple[tuple[int, ...], tuple[bool, ...]]  # the number of images of each drawn split, and whether each split has a crack


def draw_splits(pairs: Sequence[Pair], missing: Sequence[str], seed: int) -> dict[str, list[Pair]]:
    """Draw the ``missing`` splits (val, test or both) by photo. The other photos become train.

    Each split first gets one photo with a crack; DataError if there are too few. Then photos follow in the seeded order as long as their
    crops fit into the split's share of the images. Where other photos come closer to the shares, these are drawn instead.
    """
    crops = {photo: list(those) for photo, those in itertools.groupby(in_photo_order(pairs, seed), key=lambda pair: pair.photo)}
    splits, sizes = [*missing, "train"], {photo: len(those) for photo, those in crops.items()}

    @functools.cache
    def is_cracked(photo: str) -> bool:
        return any(shows_crack(pair) for pair in crops[photo])

    first = list(itertools.islice(filter(is_cracked, crops), len(splits)))
    if len(first) < len(splits):
        raise _too_few(crops, len(first), splits)
    drawn = _in_order(sizes, dict(zip(splits, first, strict=True)))
    if len(set(sizes.values())) > 1:
        drawn = _closest(sizes, is_cracked, drawn)
    return {split: sorted((pair for photo in drawn[split] for pair in crops[photo]), key=lambda pair: pair.stem) for split in splits}


def in_photo_order(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """Pairs photo by photo. The photos have a random order that ``seed`` decides."""
    photos = sorted({pair.photo for pair in pairs})
    rank = {photo: i for i, photo in enumerate(np.random.default_rng(seed).permutation(photos))}
    return sorted(pairs, key=lambda pair: (rank[pair.photo], pair.stem))


def shares_note(drawn: Mapping[str, Sequence[Pair]], missing: Sequence[str]) -> str | None:
    """The sentence that says which shares the drawn splits have; None if all are close to the promised ones."""
    total = sum(map(len, drawn.values()))
    if all(abs(len(drawn[split]) / total - DRAWN_SHARES[split]) <= LARGEST_MISS for split in missing):
        return None
    has = " and ".join(f"{split} has {100 * len(drawn[split]) / total:.0f} %" for split in missing)
    wanted = " and ".join(f"{100 * DRAWN_SHARES[split]:.0f} %" for split in missing)
    return f"Whole photos do not divide as wanted: {has} of the images in place of {wanted}."


def _too_few(crops: Mapping[str, Sequence[Pair]], cracked: int, splits: Sequence[str]) -> DataError:
    """The error for too few photos with a crack. Photos of one's own may be named as crops are."""
    photo, most = max(crops.items(), key=lambda item: len(item[1]))
    hint = f". {len(most)} images count as crops of one photo, {photo}, because their names end alike; rename them, or list all in "
    return DataError(
        f"{cracked} of {len(crops)} photos show a crack; {', '.join(splits)} need one each. Add photos, or check how the masks "
        f"are read (mask_crack){hint + 'train.txt, val.txt and test.txt' if len(most) > 1 else ''}"
    )


def _in_order(sizes: Mapping[str, int], first: Mapping[str, str]) -> dict[str, list[str]]:
    """The photos of each split as they come: its first photo, then all that fit into its share. The last split gets the others."""
    *missing, last = first
    drawn = {split: [photo] for split, photo in first.items()}
    left = [photo for photo in sizes if photo not in first.values()]
    for split in missing:
        room = round(DRAWN_SHARES[split] * sum(sizes.values())) - sizes[first[split]]
        for photo in left:
            if sizes[photo] <= room:
                drawn[split].append(photo)
                room -= sizes[photo]
        left = [photo for photo in left if photo not in set(drawn[split])]
    drawn[last] += left
    return drawn


def _closest(sizes: Mapping[str, int], is_cracked: Callable[[str], bool], drawn: dict[str, list[str]]) -> dict[str, list[str]]:
    """``drawn``, or a draw whose shares are closer to the promised ones if there is one. Each split has a photo with a crack.

    All ways to divide up to 40 photos are tried, by the numbers of images that they lead to. Of more photos, the 20 largest and the 20
    smallest are tried, and the others stay.
    """
    *missing, _ = splits = list(drawn)
    goals = [DRAWN_SHARES[split] * sum(sizes.values()) for split in missing]

    def miss(sums: Sequence[int]) -> float:
        return sum(abs(number - goal) for number, goal in zip(sums, goals, strict=True))

    best = miss([sum(sizes[photo] for photo in drawn[split]) for split in missing])
    if best <= miss([round(goal) for goal in goals]) + 1e-9:
        return drawn
    by_size = sorted(sizes, key=sizes.get, reverse=True)  # small photos last: these fill the gaps
    half = MOST_CHOSEN // 2
    tried = by_size if len(by_size) <= MOST_CHOSEN else by_size[:half] + by_size[-half:]
    kept = {split: [photo for photo in drawn[split] if photo not in set(tried)] for split in splits}
    start = (
        tuple(sum(sizes[photo] for photo in kept[split]) for split in missing),
        tuple(any(map(is_cracked, kept[split])) for split in splits),
    )
    layers = [{start: (start, splits[-1])}]  # the numbers of images that can be reached with the photos so far, and how
    for photo in tried:
        reached = {}
        for state in layers[-1]:
            for i, split in enumerate(splits):
                sums, cracked = _with(state, i, sizes[photo], is_cracked(photo))
                if sum(max(0, number - goal) for number, goal in zip(sums, goals, strict=True)) < best:
                    reached.setdefault((sums, cracked), (state, split))
        layers.append(_thinned(reached))
    ends = [state for state in layers[-1] if all(state[1]) and miss(state[0]) < best - 1e-9]
    if not ends:
        return drawn
    state = min(ends, key=lambda end: miss(end[0]))
    for photo, layer in zip(reversed(tried), reversed(layers[1:]), strict=True):
        state, split = layer[state]
        kept[split].append(photo)
    return kept


def _with(state: State, i: int, size: int, is_cracked: bool) -> State:
    """The state with one more photo in split ``i``; the last split has no sum."""
    sums, cracked = state
    return tuple(number + size * (j == i) for j, number in enumerate(sums)), tuple(
        has or (is_cracked and j == i) for j, has in enumerate(cracked)
    )


def _thinned(reached: dict[State, tuple[State, str]]) -> dict[State, tuple[State, str]]:
    """At most some thousand states, spread evenly."""
    step = -(-len(reached) // MOST_STATES)
    return reached if step <= 1 else {state: reached[state] for state in sorted(reached)[::step]}
