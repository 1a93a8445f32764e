"""Which photos a command line names, and how their pictures are called."""

import glob
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from crack_utils.data.layouts.files import PHONE_SUFFIXES, readable_suffixes

PHOTO_SUFFIXES = readable_suffixes() | PHONE_SUFFIXES  # the error for a phone's photo says which package reads it
NO_PHOTOS = ("_cracks", "_mask", "_GT")  # endings of pictures that predict writes, and of masks


def find_photos(words: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The photos that files, folders and wildcards name, each photo once, and a sentence on each file of a folder that is not used.

    Wildcards are resolved here, because the shell of Windows leaves them. A folder stands for its photos, without those of its folders. A
    word that names nothing is returned as it is, so that its error is shown in its turn.
    """
    photos, unused = {}, []
    for word in words:
        for path in _without_wildcards(word):
            found = [path]
            if path.is_dir():
                found, left = _photos_of(path)
                unused += left
            for photo in found or [path]:
                photos.setdefault(photo.resolve(), photo)
    return list(photos.values()), unused


def _without_wildcards(word: Path) -> list[Path]:
    found = [] if word.exists() or not glob.has_magic(str(word)) else sorted(glob.glob(str(word), recursive=True))
    return [Path(name) for name in found] or [word]


def _photos_of(folder: Path) -> tuple[list[Path], list[str]]:
    paths = sorted(folder.iterdir())
    stems = {path.stem for path in paths if path.suffix.lower() in PHOTO_SUFFIXES}
    reasons = {path: _reason(path, stems) for path in paths}
    return [path for path in paths if not reasons[path]], [f"Not used: {path}, {reason}." for path, reason in reasons.items() if reason]


def _reason(path: Path, stems: set[str]) -> str:
    """Why a path in a folder is no photo, or ""."""
    if path.is_dir():
        return "a folder; name it too if it holds photos"
    if path.name.startswith("."):
        return "a hidden file"
    if path.suffix.lower() not in PHOTO_SUFFIXES:
        return "no photo by its ending"
    if any(path.stem.endswith(ending) and path.stem.removesuffix(ending) in stems for ending in NO_PHOTOS):
        return "by its name a mask or picture of another photo"
    return ""


def output_names(photos: Sequence[Path]) -> list[str]:
    """A name for the pictures of each photo: the photo's own without suffix, and as much more of its path as tells the photos apart.

    Names that differ only in capital letters count as equal, because some file systems take them for one.
    """
    names = [photo.stem for photo in photos]
    for has_suffix, depth in [(True, 0), *itertools.product((False, True), range(1, 9))]:
        clashing = _clashing(names)
        names = [_longer(photo, depth, has_suffix) if name in clashing else name for name, photo in zip(names, photos, strict=True)]
    clashing = _clashing(names)
    return [f"{name}_{number}" if name in clashing else name for number, name in enumerate(names, start=1)]


def _longer(photo: Path, depth: int, has_suffix: bool) -> str:
    folders = photo.resolve().parent.parts[1:]
    return "_".join([*folders[max(0, len(folders) - depth) :], photo.stem, *([photo.suffix[1:]] if has_suffix else [])])


def _clashing(names: Sequence[str]) -> set[str]:
    times = Counter(name.casefold() for name in names)
    return {name for name in names if times[name.casefold()] > 1}
