"""Photos and masks that belong together by their names."""

import contextlib
import dataclasses
import itertools
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from crack_utils.data.crops import Pair, Unused
from crack_utils.data.layouts.files import defect_of
from crack_utils.data.photos import opened
from crack_utils.errors import DataError

BLACK = "a photo without a crack gets a mask without crack pixels, or belongs in negatives/train, negatives/val or negatives/test"
EXPECTED = "a mask has the name of its photo, such as x.png, x_GT.png or x_mask.png for x.jpg; " + BLACK
KEEP_ONE = "keep one mask of each photo, and move the other out of data_root"
RENAME = "give each photo a name of its own, and its mask the same name"
LONE = "add the missing photo or mask of the same name, or remove the image; " + BLACK
LOSSY = {".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k"}


class Rule(NamedTuple):
    """How the names of a photo and its mask differ: what each has before and after the part that both share."""

    photo: tuple[str, str] = ("", "")
    mask: tuple[str, str] = ("", "")
    is_whole: bool = False  # the mask appends to the photo's whole name: x.jpg and x.jpg.png


_WORDS = ("mask", "masks", "gt", "label", "labels", "seg", "segmentation", "groundtruth", "ground_truth", "annotation", "anno", "lab")
_MASK_ENDS = [("", mark + word) for word in _WORDS for mark in ("_", "-", ".", " ")]
_MASK_STARTS = [(word + mark, "") for word in _WORDS for mark in ("_", "-")]
_PHOTO_ENDS = [("", mark + word) for word in ("image", "img", "photo", "rgb", "sat") for mark in ("_", "-")]
_PHOTO_STARTS = [(word + mark, "") for word in ("image", "img", "photo") for mark in ("_", "-")]
RULES = (
    Rule(),
    Rule(is_whole=True),
    *(Rule(mask=mask) for mask in (*_MASK_ENDS, *_MASK_STARTS)),
    *(Rule(photo, mask) for photo, mask in itertools.product(_PHOTO_ENDS, _MASK_ENDS)),
    *(Rule(photo, mask) for photo, mask in itertools.product(_PHOTO_STARTS, _MASK_STARTS)),
)


class Paired(NamedTuple):
    """Pairs, and the files that form no pair."""

    pairs: list[Pair]
    unused: list[Unused]


class _Names:
    """Files by the part of the name that a photo and its mask share, for each rule."""

    def __init__(self, files: Sequence[Path], fold: bool):
        self.files, self._known = files, {}
        self._names = {whole: [(plain_name(path.name if whole else path.stem, fold), path) for path in files] for whole in (False, True)}

    def by_part(self, affix: tuple[str, str], whole: bool = False) -> dict[str, list[Path]]:
        """The files whose stem, or whole name, begins and ends with the affixes."""
        if (affix, whole) not in self._known:
            parts, (start, end) = defaultdict(list), affix
            for name, path in self._names[whole]:
                if name.endswith(end) and name.startswith(start) and len(name) > len(start) + len(end):
                    parts[name[len(start) : len(name) - len(end)]].append(path)
            self._known[affix, whole] = parts
        return self._known[affix, whole]

    def photos(self, rule: Rule) -> dict[str, list[Path]]:
        return self.by_part(rule.photo, rule.is_whole)

    def masks(self, rule: Rule) -> dict[str, list[Path]]:
        return self.by_part(rule.mask)


def pair_up(photos: Iterable[Path], masks: Iterable[Path]) -> Paired:
    """Each photo with the mask of its name. Names may differ in Unicode form and case.

    The rule that pairs the most photos comes first, so that ``wall_mask.jpg`` is a photo of its own beside ``wall.jpg`` where all masks
    have their photo's name. A photo with several masks, and photos of one name, form no pair.
    """
    photos, masks = sorted(photos), sorted(masks)
    fold = len({plain_name(path.name) for path in photos}) == len({plain_name(path.name, False) for path in photos})
    named_photos, named_masks = _Names(photos, fold), _Names(masks, fold)
    shares: dict[Path, list[Path]] = defaultdict(list)  # the masks of a photo
    owners: dict[Path, list[Path]] = {}  # the photos of a mask
    counts = {rule: len(named_photos.photos(rule).keys() & named_masks.masks(rule).keys()) for rule in RULES}
    for rule in sorted(filter(counts.get, RULES), key=counts.get, reverse=True):
        for part, named in named_photos.photos(rule).items():
            for mask in named_masks.masks(rule).get(part, []):
                if mask not in owners:
                    owners[mask] = named
                    for photo in named:
                        shares[photo].append(mask)
    return _judged(photos, masks, shares, owners)


def _judged(photos: Sequence[Path], masks: Sequence[Path], shares: dict[Path, list[Path]], owners: dict[Path, list[Path]]) -> Paired:
    """Pairs of one photo and one mask; all others with a reason. A photo is followed by its masks."""
    pairs, unused = [], {}
    for photo in photos:
        own = shares.get(photo, [])
        twins = [each for mask in own for each in owners[mask] if each != photo]
        if not own:
            unused[photo] = Unused(photo, "photo without a mask", EXPECTED)
        elif twins:
            unused |= {path: Unused(path, "photos of one name with one mask", RENAME) for path in (photo, *twins, *own)}
        elif len(own) > 1:
            unused |= {path: Unused(path, "several masks of one photo", KEEP_ONE) for path in (photo, *own)}
        else:
            pairs.append(Pair(photo, own[0]))
    sound, broken = [], []
    for pair in pairs:
        defects = {path: defect for path in (pair.image_path, pair.mask_path) if (defect := defect_of(path))}
        others = {pair.image_path: "photo whose mask cannot be used", pair.mask_path: "mask whose photo cannot be used"}
        broken += [defects.get(path) or Unused(path, reason) for path, reason in others.items()] if defects else []
        sound += [] if defects else [pair]
    lone = [Unused(mask, "mask without a photo") for mask in masks if mask not in owners]
    return Paired(sound, [defect_of(each.path) or each for each in unused.values()] + broken + lone)


def pair_side_by_side(files: Sequence[Path]) -> Paired:
    """Pairs of photos and masks that lie in one folder."""
    photos, masks = tell_apart(files)
    pairs, unused = pair_up(photos, masks)
    endings = Counter(pair.mask_path.suffix.lower() for pair in pairs), Counter(pair.image_path.suffix.lower() for pair in pairs)

    def named(each: Unused) -> Unused:
        is_lone = each.reason == "photo without a mask"
        name = plain_name(each.path.stem)
        if is_lone and any(name.endswith(mask[1]) if mask[1] else name.startswith(mask[0]) for mask in (*_MASK_ENDS, *_MASK_STARTS)):
            return Unused(each.path, "mask without a photo")
        looks_like_a_mask = endings[0][each.path.suffix.lower()] > endings[1][each.path.suffix.lower()]
        return dataclasses.replace(each, reason="photo or mask without its partner", fix=LONE) if is_lone and looks_like_a_mask else each

    return Paired(pairs, [named(each) for each in unused])


def tell_apart(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The photos and the masks among files of one folder. Of two files of one stem, the one without loss is the mask."""
    names = _Names(sorted(files), fold=True)
    found = {rule: list(_marked(names, rule)) for rule in RULES}
    photos, masks = set(), set()
    for rule in sorted(filter(found.get, RULES), key=lambda rule: len(found[rule]), reverse=True):
        for of_photo, of_mask in found[rule]:
            own = [path for path in of_photo if path not in masks]
            new = [path for path in of_mask if path not in photos]
            if own and new:
                photos.update(own)
                masks.update(new)
    return [path for path in names.files if path not in masks], [path for path in names.files if path in masks]


def _marked(names: _Names, rule: Rule) -> Iterable[tuple[list[Path], list[Path]]]:
    """The photos and the masks of each name that a rule pairs."""
    named_masks, fewer = names.masks(rule), {}
    for part, photos in names.photos(rule).items() if named_masks else ():
        if rule != RULES[0]:
            if part in named_masks and (masks := [path for path in named_masks[part] if path not in photos]):
                yield photos, masks
            continue
        ranks = {path: _mask_rank(path) for path in photos}
        kinds = tuple(path.suffix.lower() for path in photos)
        if len(photos) == 2 and min(ranks.values()) > 0 and len(set(kinds)) == 2:  # two formats without loss: the first such files tell
            fewer.setdefault(frozenset(kinds), kinds[int(_colours(photos[1]) < _colours(photos[0]))])
            ranks = {path: int(path.suffix.lower() == fewer[frozenset(kinds)]) for path in photos}
        if masks := [path for path in photos if ranks[path] > min(ranks.values())]:
            yield [path for path in photos if path not in masks], masks


def _mask_rank(path: Path) -> int:
    """How much a suffix speaks for a mask."""
    return 0 if path.suffix.lower() in LOSSY else 2 if path.suffix.lower() == ".png" else 1


def _colours(path: Path) -> int:
    """The number of colours of an image, up to some; a mask has few. 0 if it cannot be read, which is named later."""
    with contextlib.suppress(DataError), opened(path) as image:
        return len(image.convert("RGB").resize((64, 64), Image.Resampling.NEAREST).getcolors(64 * 64))
    return 0


def plain_name(name: str, fold: bool = True) -> str:
    """A name in one Unicode form, and in one case if ``fold``, for comparisons."""
    name = unicodedata.normalize("NFC", name)
    return name.lower() if fold else name


def shared_tail(these: Sequence[str], those: Sequence[str]) -> int:
    """The number of last parts that two paths share."""
    pairs = zip(reversed(these), reversed(those), strict=False)
    return next((i for i, (one, other) in enumerate(pairs) if plain_name(one) != plain_name(other)), min(len(these), len(those)))
