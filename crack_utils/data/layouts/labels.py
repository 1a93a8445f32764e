"""What the layouts of label tools share: which labels are crack, which photo a name means, and pairs whose masks are drawn from a file."""

import contextlib
import dataclasses
import functools
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from crack_utils.data.crops import OFFSETS, SPLITS, Pair, Unused
from crack_utils.data.layouts.files import is_hidden, readable_suffixes, walk
from crack_utils.data.layouts.folders import SPLIT_WORDS, Found
from crack_utils.data.layouts.names import plain_name, shared_tail
from crack_utils.data.layouts.shapes import LINE_WIDTH
from crack_utils.data.photos import read_size
from crack_utils.errors import DataError

BACKGROUND = {"__ignore__", "_background_", "background"}  # names that tools give to what is no object
NO_CRACK = re.compile(r"\b(no|non|not|un|without)[ _-]?crack|crack[ _-]?(free|less)")
SPLIT_WORD = re.compile(rf"(?<![a-z])({'|'.join(SPLIT_WORDS)})(?![a-z])")
ROBOFLOW_ENDING = rf"({OFFSETS})?(_[a-zA-Z]+)?\.rf\.[^_.]+"  # Roboflow calls its copies of x.jpg x_jpg.rf.HASH.jpg
NO_ANNOTATION = "annotate and export it, or move it to negatives/train if it shows no crack, or remove it"
EXPORT_AGAIN = "export the annotations again, or remove the file"
DAMAGE = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)  # what reading a damaged annotation raises


class Item(NamedTuple):
    """A photo that an annotation file describes."""

    split: str  # train, val, test or all
    photo: Path
    truth: Path  # the annotation file
    key: Hashable = None  # names the photo within a file that describes several
    size: tuple[int, int] | None = None  # (height, width), if the file gives them


@dataclasses.dataclass
class Labels:
    """The labels of a data set: how often each is used, its numbers in the files, and how many of its shapes are lines."""

    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    numbers: dict[str, set[int]] = dataclasses.field(default_factory=lambda: defaultdict(set))  # empty: numbered by name
    lines: Counter[str] = dataclasses.field(default_factory=Counter)

    def cracks(self, mask_crack: str, root: Path) -> frozenset[str]:
        """The labels that are crack: those that ``mask_crack`` numbers, or those with "crack" in the name, or the only one.

        Raise DataError, with all labels and their numbers, if this rule finds none.
        """
        names = sorted(name for name in self.counts if name.lower() not in BACKGROUND)
        numbers = {name: self.numbers.get(name) or {i} for i, name in enumerate(names, start=1)}
        if mask_crack == "auto":
            chosen = [name for name in names if "crack" in name.lower() and not NO_CRACK.search(name.lower())]
            chosen = chosen or (names if len(names) < 2 else [])
            problem = "none of several labels has crack in its name"
        elif re.fullmatch(r"\d{1,5}( \d{1,5})*", mask_crack):
            wanted = {int(word) for word in mask_crack.split()}
            chosen = [name for name in names if numbers[name] & wanted]
            problem = f"no label, or more than one, has a number of mask_crack {mask_crack}"
            chosen = chosen if len(chosen) == len(wanted) else []
        else:
            chosen, problem = [], f"mask_crack {mask_crack} names colours or brightness, but these masks have labels"
        if not chosen and (names or mask_crack != "auto"):
            known = ", ".join(f"{'/'.join(map(str, sorted(numbers[name])))} {self._listed([name])}" for name in names)
            raise DataError(
                f"{root}: {problem}. The labels are: {known or 'none'}. Set mask_crack to the numbers of the labels that are crack, "
                "such as '1' or '1 3', or rename these labels in the label tool"
            )
        return frozenset(chosen)

    def notes(self, cracks: frozenset[str]) -> Iterator[str]:
        """Sentences on the labels for the run's pages."""
        if cracks:
            yield f"Labels that are crack: {self._listed(cracks)}."
        if rest := set(self.counts) - cracks:
            yield f"Labels that are background: {self._listed(rest)}."
        if lines := sum(self.lines[name] for name in cracks):
            yield f"Lines have no width in the label tool. They were drawn {LINE_WIDTH} pixels wide: {lines}."

    def _listed(self, names: Iterable[str]) -> str:
        is_counted = any(self.counts.values())  # the colours of mask images are not counted
        counts = {name: f" ({self.counts[name]} {'shape' if self.counts[name] == 1 else 'shapes'})" if is_counted else "" for name in names}
        return ", ".join(name + counts[name] for name in sorted(names))


class Photos:
    """The image files below a folder, found by the names that annotation files write."""

    def __init__(self, root: Path, without: Iterable[str] = ()):
        self.root = root
        self.paths = [path for path in files_below(root) if path.suffix.lower() in readable_suffixes() and not {*path.parts} & {*without}]
        self._named = defaultdict(list)
        for path in self.paths:
            self._named[plain_name(path.name)].append(path)

    def find(self, name: str, folder: Path, split: str = "all") -> Path | None:
        """The photo of a name: in ``folder``, or else the one below the root that shares most of the name's path, or the split.

        Raise DataError if several photos fit equally well.
        """
        name = PurePosixPath(name.replace("\\", "/"))
        beside = Path(os.path.normpath(folder / name))
        if beside.is_file():
            return beside
        known = self._named[plain_name(name.name)]
        ranks = {path: (shared_tail(name.parts, path.parts), split_of(path.parent.relative_to(self.root)) == split) for path in known}
        best = [path for path, rank in ranks.items() if rank == max(ranks.values())]
        if len(best) > 1:
            raise DataError(f"annotations in {folder} name a photo {name}; both {best[0]} and {best[1]} fit, so remove or rename one")
        return best[0] if best else None


def files_below(root: Path) -> list[Path]:
    """All files of a folder and its folders, by path, without hidden files and without ``negatives/``."""
    parts = {path: path.relative_to(root).parts for path in walk(root) if path.is_file()}
    return [path for path, names in parts.items() if names[0] != "negatives" and not any(map(is_hidden, names))]


def split_of(*paths: Path | str) -> str:
    """The split that a path names by a whole word, such as ``train2017/`` or ``instances_val.json``; else ``all``."""
    words = [word for path in paths for word in SPLIT_WORD.findall(str(path).lower())]
    return SPLIT_WORDS[words[-1]] if words else "all"


def read_json(path: Path) -> Any:
    """The contents of a JSON file. Raise DataError if this is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} is no JSON file: {error}; {EXPORT_AGAIN}") from None


def cached(parse: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """A function of a file that keeps its last results until the file changes."""
    keep = functools.lru_cache(maxsize=256)(lambda path, changed_ns: parse(path))
    return functools.wraps(parse)(lambda path: keep(path, path.stat().st_mtime_ns))


def find_labelled(
    root: Path,
    items: Sequence[Item],
    draw: Callable[..., np.ndarray],
    labels: Labels,
    mask_crack: str,
    unused: Sequence[Unused] = (),
) -> Found:
    """The pairs of the items, the notes, and all other files of the folder.

    Each mask is drawn once, so that a damaged annotation is known before any work. ``draw`` takes ``path``, ``key``, ``size`` (height,
    width) and ``cracks``, the labels that are crack. It returns the mask, (H, W) bool.
    """
    cracks = labels.cracks(mask_crack, root)
    once, twice = _apart(items)
    with ThreadPoolExecutor() as pool:
        results, shares = zip(*pool.map(functools.partial(_usable, draw=draw, cracks=cracks), once), strict=True) if once else ((), ())
    pairs = {split: [] for split in (*SPLITS, "all")}
    for item, result in zip(once, results, strict=True):
        if isinstance(result, Pair):
            pairs[item.split].append(result)
    unused = [*unused, *twice, *(result for result in results if isinstance(result, Unused))]
    known = {pair.mask_path for those in pairs.values() for pair in those} | {each.path for each in unused}
    rest = {item.truth: item.photo for item in items if item.truth not in known}
    unused += [Unused(truth, "annotations of a photo that is not used", detail=photo.name) for truth, photo in rest.items()]
    pairs = {split: sorted(those, key=lambda pair: pair.image_path) for split, those in pairs.items() if those}
    if not pairs:
        reason = next(
            (f"{each.path}: {each.reason}{each.detail and f' ({each.detail})'}; {each.fix}" for each in unused if each.fix),
            "no annotation file describes a photo",
        )
        raise DataError(f"{root} holds no photo that can be used. {reason}")
    if "all" in pairs and len(pairs) > 1:
        example = pairs["all"][0].mask_path
        raise DataError(f"{example} belongs to no split, but other files do; name it or its folder train, val or test, or remove it")
    if mask_crack == "auto":
        _check_share(root, [share for result, share in zip(results, shares, strict=True) if isinstance(result, Pair)], labels.notes(cracks))
    known |= {path for item in items for path in (item.photo, item.truth)}
    return Found(pairs, tuple(labels.notes(cracks)), (*unused, *_others(root, known)))


def _apart(items: Sequence[Item]) -> tuple[list[Item], list[Unused]]:
    """The items whose photo has one annotation, and the photos that have several."""
    times = Counter(item.photo for item in items)
    twice = [Unused(photo, "photo that is annotated twice", "keep one of its annotations") for photo, count in times.items() if count > 1]
    return [item for item in items if times[item.photo] == 1], twice


def _check_share(root: Path, shares: Sequence[float], notes: Iterable[str]) -> None:
    """Raise DataError if more than half of the photos' pixels are crack."""
    if sum(shares) > len(shares) / 2:
        raise DataError(
            f"{root}: {100 * sum(shares) / len(shares):.0f} % of the annotated photos would be crack. {' '.join(notes)} "
            "If this is right, set mask_crack to the numbers of these labels, such as '1', or else to those of the labels that are crack"
        )


def _usable(item: Item, draw: Callable[..., np.ndarray], cracks: frozenset[str]) -> tuple[Pair | Unused, float]:
    """The pair of an item, or why the photo cannot be used; and the share of its pixels that are crack."""
    try:
        size = read_size(item.photo)
        if item.size and tuple(item.size) != size:
            sizes = f"{item.size[1]} x {item.size[0]} in {item.truth.name}, but the photo is {size[1]} x {size[0]}"
            fix = "annotate the photo as it is, or put back the photo that was annotated"
            return Unused(item.photo, "photo of another size than its annotations", fix, sizes), 0.0
        read = functools.partial(_drawn, draw=draw, key=item.key, size=size, cracks=cracks)
        share = float(read(item.truth).mean())
    except DataError as error:
        return unusable(item.photo, error), 0.0
    ending = ROBOFLOW_ENDING if ".rf." in item.photo.name else OFFSETS
    return Pair(item.photo, item.truth, read_mask=read, ending=ending), share


def _drawn(path: Path, draw: Callable[..., np.ndarray], key: Hashable, size: tuple[int, int], cracks: frozenset[str]) -> np.ndarray:
    """The mask of one photo of an annotation file. Raise DataError for what cannot be drawn."""
    with damage_named(f"{path}{'' if key is None else f' (photo {key})'} has an annotation that cannot be read"):
        return draw(path, key=key, size=size, cracks=cracks)


def drawn_together(size: tuple[int, int], shapes: Iterable[tuple[str, Sequence[Any]]], add: Callable[..., None]) -> np.ndarray:
    """The union of shapes, (H, W) bool. Each shape is its name in an error message, and what ``add`` takes after the mask."""
    mask = np.zeros(size, bool)
    for name, values in shapes:
        try:
            add(mask, *values)
        except DAMAGE as error:
            raise ValueError(f"{name}: {in_words(error)}") from None
    return mask


@contextlib.contextmanager
def damage_named(what: str, fix: str = EXPORT_AGAIN) -> Iterator[None]:
    """Turn the errors of a damaged annotation into a DataError that says what is damaged and what to do."""
    try:
        yield
    except DataError:  # a DataError is a ValueError too
        raise
    except DAMAGE as error:
        raise DataError(f"{what}: {in_words(error)}; {fix}") from None


def in_words(error: Exception) -> str:
    """What is wrong with an annotation."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _others(root: Path, known: set[Path]) -> Iterator[Unused]:
    lists = {root / f"{split}.txt" for split in SPLITS}
    for path in files_below(root):
        if path not in known and path not in lists:
            is_photo = path.suffix.lower() in readable_suffixes()
            yield Unused(path, "photo without annotation", NO_ANNOTATION) if is_photo else Unused(path, "file that is no photo")


def unusable(path: Path, error: DataError) -> Unused:
    """A file that cannot be used because of an error."""
    seen = str(error).removesuffix(f"; {EXPORT_AGAIN}").removeprefix(f"{path} ")
    return Unused(path, "annotation or photo that cannot be read", EXPORT_AGAIN, seen)


def photo_missing(truth: Path, name: str) -> Unused:
    """Annotations whose photo is missing."""
    return Unused(truth, "annotations of a photo that is missing", "put the photo back, or remove its annotations", name)
