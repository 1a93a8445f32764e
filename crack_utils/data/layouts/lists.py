"""Splits that the lists train.txt, val.txt and test.txt fix."""

import dataclasses
import itertools
from collections import Counter
from pathlib import Path

from crack_utils.data.crops import SPLITS, Pair
from crack_utils.errors import DataError


def read_lists(root: Path, found: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
    """The splits that lists in ``root`` fix; empty if there are no lists.

    A line names an image and its mask by two paths, as CRACK500's lists do, or an image alone by path, name or stem.

    Args:
        found: the pairs that the folders hold, by split.

    Raises:
        DataError: a list is empty or not readable, or names a missing file or a file of another list.
    """
    pairs = list(itertools.chain.from_iterable(found.values()))
    times = Counter(name for pair in pairs for name in {pair.stem, pair.image_path.name})  # two splits may each have a 1.jpg
    known = {name: pair for pair in pairs for name in (pair.stem, pair.image_path.name, pair.image_path) if times[name] < 2}
    listed: dict[str, list[Pair]] = {}
    split_of: dict[Path, str] = {}
    for split in SPLITS:
        path = root / f"{split}.txt"
        if not path.is_file():
            continue
        own = {pair.image_path.name: pair for name in ("all", split) for pair in found.get(name, [])}
        listed[split] = [_listed_pair(line.split(), path, known, own) for line in _lines(path) if line.strip()]
        if not listed[split]:
            raise DataError(f"{path} is empty; list the images of {split}, or remove it")
        for pair in listed[split]:
            if split_of.setdefault(pair.image_path, split) != split:
                raise DataError(f"{path} names {pair.image_path.name}, which {split_of[pair.image_path]}.txt names too; remove one of them")
    return listed


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8") from None


def _listed_pair(words: list[str], path: Path, known: dict[str | Path, Pair], own: dict[str, Pair]) -> Pair:
    """The pair that a line names.

    Args:
        known: pairs by path, and by each name or stem that only one image has.
        own: the split's pairs by name. A list may be of another layout of the same files.
    """
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
