"""Lists of images, which fix the splits: ``train.txt``, ``val.txt`` and ``test.txt``, as people and other programs write them."""

import codecs
import csv
import dataclasses
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from crack_utils.data.crops import SPLITS, Pair, Unused
from crack_utils.data.layouts.files import defect_of, readable_suffixes
from crack_utils.data.layouts.folders import SPLIT_WORDS, innermost, meaning
from crack_utils.data.layouts.names import plain_name, shared_tail
from crack_utils.errors import DataError

LIST_FOLDERS = ("", "ImageSets/Segmentation")  # the latter is Pascal VOC's
HELP = "a line holds the path or the name of an image, or the paths of an image and its mask"


class Lists(NamedTuple):
    """The pairs of each split that has a list, the list files, and sentences for the run's pages."""

    pairs: dict[str, list[Pair]]
    files: dict[str, Path]
    notes: tuple[str, ...]


class _Image(NamedTuple):
    """An image that a line may name."""

    path: Path
    split: str
    pair: Pair | None  # None for an image that cannot be used


def find_lists(root: Path) -> dict[str, Path]:
    """The list file of each split that has one. Raise DataError if a split has two."""
    found: dict[str, Path] = {}
    base = innermost(root)
    for folder in dict.fromkeys(start / name for start in (root, base) for name in LIST_FOLDERS):
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            split = SPLIT_WORDS.get(path.stem.lower()) if path.suffix.lower() == ".txt" and path.is_file() else None
            if split and found.setdefault(split, path) != path:
                raise DataError(f"{root} holds two lists of {split}, {found[split]} and {path}; remove one of them")
    return {split: found[split] for split in SPLITS if split in found}


def read_lists(root: Path, found: Mapping[str, Sequence[Pair]], unused: Sequence[Unused] = ()) -> Lists:
    """The pairs of each split that has a list.

    Args:
        root: the folder of the data set, from which paths count.
        found: the pairs of the folders, by split.
        unused: files that cannot be used. A line that names one of these is passed over.

    Raises:
        DataError: a list is empty or no text, a line names no image or several, or two lists name one image.
    """
    files, notes, listed, split_of = find_lists(root), [], {}, {}
    images = [_Image(pair.image_path, split, pair) for split, pairs in found.items() for pair in pairs]
    lost = (each for each in unused if each.path.suffix.lower() in readable_suffixes() and not each.reason.startswith("mask "))
    images += [_Image(each.path, "all", None) for each in lost]
    for split, path in files.items():
        reader = _Reader(path, split, (root, innermost(root), path.parent), images)
        listed[split] = reader.pairs()
        notes += reader.notes
        for pair in listed[split]:
            if split_of.setdefault(pair.image_path, split) != split:
                raise DataError(f"{path} names {pair.image_path.name}, which {split_of[pair.image_path]}.txt names too; remove one of them")
    return Lists(listed, files, tuple(notes))


class _Reader:
    """Reads one list."""

    def __init__(self, path: Path, split: str, bases: Sequence[Path], images: Sequence[_Image]):
        self.path, self.split, self.bases, self.notes = path, split, tuple(dict.fromkeys(bases)), []
        self._by_path = {image.path: image for image in images}
        self._by_name: dict[str, list[_Image]] = defaultdict(list)
        for image in images:
            for name in {plain_name(image.path.name), plain_name(image.path.stem)}:
                self._by_name[name].append(image)

    def pairs(self) -> list[Pair]:
        """The pairs that the lines name."""
        lines = [(number, line.strip()) for number, line in enumerate(re.split(r"\r\n|\r|\n", _text(self.path)), start=1)]
        lines = [(number, line) for number, line in lines if line.strip(" \t,;\"'") and not line.startswith("#")]
        if not lines:
            raise DataError(f"{self.path} is empty; list the images of {self.split}, or remove it")
        pairs, wrong, labelled, times = {}, [], 0, 0
        for number, line in lines:
            if (read := self._line(line)) is None:
                wrong.append(f"line {number}: {line}")
                continue
            pair, has_label = read
            labelled += has_label
            if pair:
                times += pair.image_path in pairs
                pairs[pair.image_path] = pair
        if wrong:
            shown = "; ".join(wrong[:3]) + ("; ..." if len(wrong) > 3 else "")
            raise DataError(
                f"{self.path} names images that are not there, that have no mask, or that several folders hold, in {len(wrong)} of "
                f"{len(lines)} lines ({shown}); {HELP}"
            )
        if labelled:
            self.notes.append(f"{self.path.name} holds class labels after the names of {labelled} images. The labels are not used.")
        if times:
            self.notes.append(f"{self.path.name} names {times} images more than once. Each image counts once.")
        return list(pairs.values())

    def _line(self, line: str) -> tuple[Pair | None, bool] | None:
        """The pair of a line (None for an image that cannot be used), and whether a label follows; None if the line names nothing."""
        for words in filter(None, _readings(line)):
            for names, has_label in ((words, False), (words[:-1], True)):
                if has_label and not re.fullmatch(r"[-+]?\d+(\.0*)?", words[-1]):
                    continue
                if 0 < len(names) <= 2 and (read := self._named(names)):
                    return read[0], has_label
        return None

    def _named(self, names: Sequence[str]) -> tuple[Pair | None] | None:
        """The pair of an image's name, which a mask's name may follow, in a tuple; None if there is no such pair."""
        parts = [_parts(name) for name in names]
        if not all(parts):
            return None
        file = self._file(parts[0])
        image = self._by_path.get(file) if file or _are_two(names[0]) else self._known(parts[0])
        mask = self._file(parts[1], tails=True) if len(parts) > 1 else None
        if image is None:  # files in folders that the program does not know
            return (Pair(file, mask),) if file and mask else None
        if image.pair is None:
            return (Pair(image.path, mask) if mask and not defect_of(image.path) and not defect_of(mask) else None,)
        if len(parts) < 2:
            return (image.pair,)
        stems = {plain_name(path.stem) for path in (image.path, image.pair.mask_path)}
        if mask is None and _stem(parts[1][-1]) not in stems:
            return None
        return (dataclasses.replace(image.pair, mask_path=mask) if mask and mask != image.path else image.pair,)

    def _file(self, parts: Sequence[str], tails: bool = False) -> Path | None:
        """The file that a path names on this machine, or the longest possible tail of it."""
        wanted = [parts[i:] for i in range(len(parts) if tails else 1)]
        paths = (Path(os.path.normpath(base.joinpath(*each))) for each in wanted for base in self.bases)
        return next((path for path in paths if path.is_file()), None)

    def _known(self, parts: Sequence[str]) -> _Image | None:
        """The image whose path shares the longest tail with ``parts``; of several, the one in the list's own split."""
        said = {split for part in parts[:-1] if (told := meaning(part)) and (split := told[0])}
        known = [image for image in self._by_name[plain_name(parts[-1])] if image.split == "all" or said <= {image.split}]
        tails = {image.path: shared_tail(parts[:-1], image.path.parts[:-1]) for image in known}
        best = [image for image in known if tails[image.path] == max(tails.values())]
        own = [image for image in best if image.split in (self.split, "all")]
        if len(best) == 1 or (best and all(image.pair is None for image in best)):  # none can be used: a photo and its damaged mask
            return best[0]
        return own[0] if len(own) == 1 else None


def _stem(name: str) -> str:
    """A name without the suffix of an image, for comparisons."""
    stem, suffix = os.path.splitext(plain_name(name))
    return stem if suffix in {*readable_suffixes(), ".mat"} else stem + suffix


def _are_two(name: str) -> bool:
    """Whether the suffix of an image ends before the name does, as in ``a.jpg b.png``: the end is a name of its own."""
    return any(f"{suffix}{mark}" in name.lower() for suffix in readable_suffixes() for mark in " ,;\t")


def _readings(line: str) -> Iterator[list[str]]:
    """The ways to divide a line into names, likeliest first: names may contain spaces and commas."""
    yield [line]
    for mark in "\t,;":
        if mark in line:
            yield [word.strip() for word in next(csv.reader([line], delimiter=mark, skipinitialspace=True)) if word.strip()]
    yield re.findall(r"\"[^\"]+\"|'[^']+'|\S+", line)
    words = line.split(" ")
    for i in range(1, len(words)):
        yield [" ".join(words[:i]).strip(), " ".join(words[i:]).strip()]
    if len(words) > 1 and "#" in line:
        yield from _readings(line[: line.rindex("#")].strip())


def _parts(name: str) -> list[str]:
    """The folders and the file of a path as any system writes it."""
    path = re.sub(r"^([A-Za-z]:)?[\\/]*", "", name.strip().strip("\"'"))
    return [part for part in re.split(r"[\\/]+", path) if part not in ("", ".")]


def _text(path: Path) -> str:
    """The text of a list in UTF-8 or UTF-16."""
    raw = path.read_bytes()
    try:
        if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return raw.decode("utf-16")
        if b"\0" in raw[:4]:  # UTF-16 without a mark
            return raw.decode("utf-16-le" if raw[1:2] == b"\0" else "utf-16-be")
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path} is neither UTF-8 nor UTF-16 text; save it as UTF-8") from None
