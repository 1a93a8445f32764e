"""The rule by which all masks of a data set are read, decided from what all of them hold."""

import dataclasses
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from crack_utils.data.masks import MIDDLE, NOISE, MaskRule, Pixels, is_softly_crack
from crack_utils.errors import DataError

MANY = 32  # more colours than any list of classes has
FEW = 2  # grey values; smooth edges have more
NAMED = 3  # files that a message names
WAY = "mask_crack tells what is crack"


@dataclasses.dataclass(frozen=True)
class Look:
    """What one mask file holds."""

    path: Path
    kind: str  # alpha, index, colour or grey
    size: tuple[int, int]  # (height, width)
    levels: dict[int, int]  # grey values or palette numbers, and the number of pixels of each
    colours: dict[str, int]  # up to MANY + 1 colours of opaque pixels in hexadecimal digits, and the number of pixels of each
    is_jpeg: bool
    top: int  # the value of white
    inside: int  # pixels between black and white that lie inside an area of one value
    kept_softly: int  # pixels that a threshold of 127 loses and the soft rule keeps
    checksum: int  # equal for equal pixels

    @property
    def is_ones(self) -> bool:
        """Whether the mask is no JPEG file and has the values 0 and 1 alone."""
        return self.kind == "grey" and not self.is_jpeg and 1 in self.levels and set(self.levels) <= {0, 1}

    @property
    def is_like_a_photo(self) -> bool:
        """Whether more than a quarter of the mask is neither black nor white, although the mask has many values."""
        return (
            self.top == 255
            and self.kind != "index"
            and len(self.levels) > MANY
            and 4 * _between(self.levels, 255) > sum(self.levels.values())
        )

    @property
    def is_empty(self) -> bool:
        """Whether the mask is black or transparent all over."""
        return not self.colours or (self.kind != "alpha" and set(self.levels) == {0} and set(self.colours) == {"000000"})


def look(path: Path, pixels: Pixels) -> Look:
    """What a mask file holds, from its pixels."""
    is_colour = pixels.values.ndim == 3
    kind = "alpha" if pixels.alpha is not None else "index" if pixels.colours is not None else "colour" if is_colour else "grey"
    grey = pixels.grey if is_colour else pixels.values
    levels, counts = np.unique(grey, return_counts=True) if pixels.top > 255 else _counted(grey)
    inside = soft = 0
    if kind == "grey" and pixels.top == 255 and len(levels) > 2:
        between = (grey > NOISE) & (grey < 255 - NOISE)
        flat = cv2.dilate(grey, np.ones((3, 3), np.uint8)) == cv2.erode(grey, np.ones((3, 3), np.uint8))
        inside, soft = int((between & flat).sum()), int((is_softly_crack(grey) & (grey <= MIDDLE)).sum())
    return Look(
        path,
        kind,
        grey.shape[:2],
        dict(zip(levels.tolist(), counts.tolist(), strict=True)),
        _colours(pixels, levels, counts),
        pixels.is_jpeg,
        pixels.top,
        inside,
        soft,
        zlib.crc32(np.ascontiguousarray(pixels.values if pixels.alpha is None else pixels.alpha)),
    )


def _counted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counts = np.bincount(values.ravel(), minlength=256)
    return np.flatnonzero(counts), counts[counts > 0]


def _colours(pixels: Pixels, levels: np.ndarray, counts: np.ndarray) -> dict[str, int]:
    if pixels.alpha is None and pixels.values.ndim == 2:
        found: Counter[str] = Counter()
        for level, count in list(zip(levels.tolist(), counts.tolist(), strict=True))[: MANY + 1]:
            shade = pixels.colours[level].tolist() if pixels.colours is not None else [level // (257 if pixels.top > 255 else 1)] * 3
            found[bytes(shade).hex()] += count
        return dict(found)
    colour = pixels.colour if pixels.alpha is None else pixels.colour[pixels.alpha > MIDDLE]
    packed = colour.reshape(-1, 3).astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    values, times = np.unique(packed, return_counts=True)
    return {f"{value:06x}": n for value, n in list(zip(values.tolist(), times.tolist(), strict=True))[: MANY + 1]}


def find_rule(looks: Sequence[Look], choice: str = "auto") -> MaskRule:
    """The rule by which all these masks are read. ``choice`` is the run's ``mask_crack``.

    Raises:
        DataError: the masks can mean several things, or they look like no masks.
    """
    if choice != "auto":
        return _chosen(looks, choice)
    filled = [each for each in looks if not each.is_empty]
    kinds = {each.kind for each in filled}
    if not filled:
        return MaskRule(seen="all masks are empty")
    if kinds == {"alpha"}:
        return _alpha(filled)
    if kinds == {"index"}:
        return _index(filled)
    if kinds == {"grey"} or all(each.is_jpeg for each in filled):
        others = [each for each in filled if not each.is_ones]
        if others and len(others) < len(filled) and max(_levels(others)) > NOISE and 1 not in _levels(others):
            return dataclasses.replace(_grey(others), has_ones=True)
        return _grey(filled)
    return _colour(filled, kinds)


def _chosen(looks: Sequence[Look], choice: str) -> MaskRule:
    if choice == "alpha":
        without = [each for each in looks if each.kind != "alpha" and not each.is_empty]
        if without:
            raise DataError(f"mask_crack is alpha, but {named(without)} have no transparency; choose another value for mask_crack")
        return MaskRule("alpha", seen="mask_crack is alpha")
    if choice in ("bright", "dark"):
        levels = sorted(_levels(looks))
        return MaskRule(choice, sum(levels) // 2 if len(levels) == 2 else _half(looks), seen=f"mask_crack is {choice}")
    if len(choice) == 6:
        return MaskRule("colour", colour=tuple(bytes.fromhex(choice)), seen=f"mask_crack is colour {choice}")
    return MaskRule("values", values=tuple(map(int, choice.split())), seen=f"mask_crack is {choice}")


def _alpha(filled: Sequence[Look]) -> MaskRule:
    colours = _sum(each.colours for each in filled)
    if len(colours) == 1:
        return MaskRule("alpha", seen="the masks have transparent pixels, and all opaque pixels have one colour")
    raise DataError(
        f"{named(filled)} have transparent pixels, and opaque ones of several colours ({_listed(colours)}), which can mean "
        f"several things; {WAY}: alpha (opaque pixels), bright, or a colour"
    )


def _index(filled: Sequence[Look]) -> MaskRule:
    numbers, colours = _levels(filled), _sum(each.colours for each in filled)
    shades = {(number, shade) for each in filled for number, shade in _palette(each).items()}
    is_one_palette = len(dict(shades)) == len(shades)
    if len(numbers) == 1:
        raise DataError(f"all pixels of {named(filled)} have one value, {next(iter(numbers))}; check how the masks were exported")
    if len(numbers) == 2 and is_one_palette:
        low, high = sorted(numbers)
        brightness = {number: max(bytes.fromhex(shade)) for number, shade in shades}
        if brightness.get(low, 0) <= brightness.get(high, 255):
            return MaskRule("values", values=(high,), seen=f"the masks have a palette, of which they use numbers {low} and {high}")
    if len(colours) == 2 and "000000" in colours:
        (crack,) = colours.keys() - {"000000"}
        return MaskRule("colour", colour=tuple(bytes.fromhex(crack)), seen=f"the masks have palettes with two colours, 000000 and {crack}")
    numbered = f", such as {max(number for number, shade in shades if shade != '000000')}" if len(colours) > 1 and shades else ""
    way = f"the numbers{numbered}, or a colour" if is_one_palette else "a colour"
    raise DataError(
        f"{named(filled)} have {'a palette and use its' if is_one_palette else 'palettes that differ, with'} numbers {_listed(numbers)} "
        f"(colours {_listed(colours)}), so crack can be several of them; {WAY}: {way}"
    )


def _palette(each: Look) -> dict[int, str]:
    return dict(zip(each.levels, each.colours, strict=False)) if len(each.levels) == len(each.colours) else {}


def _colour(filled: Sequence[Look], kinds: set[str]) -> MaskRule:
    colours = _sum(each.colours for each in filled)
    dark = [colour for colour in colours if max(bytes.fromhex(colour)) == 0]
    if len(colours) == 2 and dark and "alpha" not in kinds:
        (crack,) = set(colours) - set(dark)
        return MaskRule("colour", colour=tuple(bytes.fromhex(crack)), seen=f"the masks have two colours, 000000 and {crack}")
    if len(kinds) > 1 and len(colours) <= MANY:
        what = f"the masks are of several kinds ({', '.join(sorted(kinds))}), with colours {_listed(colours)}"
    elif len(colours) > MANY:
        most = [each for each in filled if len(each.colours) > MANY] or filled
        raise DataError(
            f"{named(most)} have more than {MANY} colours, as a photo or a coloured overlay has; export masks of two values, "
            f"or {WAY}: bright, dark, or a colour"
        )
    else:
        what = f"{named(filled)} have the colours {_listed(colours)}"
    raise DataError(f"{what}, so crack can be several of them; {WAY}: a colour, such as {min(colours, key=colours.get)}, bright or dark")


def _grey(filled: Sequence[Look]) -> MaskRule:
    levels, pixels = _levels(filled), sum(each.size[0] * each.size[1] for each in filled)
    top = max(each.top for each in filled)
    if len(levels) == 1:
        raise DataError(
            f"all pixels of {named(filled)} have one value, {next(iter(levels))}, so nothing tells crack from the rest; "
            f"check how the masks were exported"
        )
    if len(levels) == 2:
        low, high = sorted(levels)
        return MaskRule(threshold=(low + high) // 2, seen=f"all masks have the values {low} and {high}")
    is_jpeg = any(each.is_jpeg for each in filled)
    between = _between(levels, top)
    if top == 255 and between > pixels / 4:
        raise DataError(
            f"{100 * between / pixels:.0f} % of the mask pixels are grey, neither black nor white, as in photos: "
            f"{named([each for each in filled if each.is_like_a_photo])}; export masks of two values, or {WAY}: bright or dark"
        )
    inside = sum(each.inside for each in filled)
    if (_is_of_classes(filled, top) or (len(levels) <= MANY and inside > between / 5)) if not is_jpeg else _has_a_third_value(levels):
        numbers = f"the values, such as {max(levels)}{', or bright' if max(levels) > top // 2 else ''}"
        raise DataError(
            f"{named(filled)} have the values {_listed(levels)} in whole areas, so crack can be several of them; "
            f"{WAY}: {'bright or dark' if is_jpeg else numbers}"
        )
    return _smooth(filled, levels, is_jpeg)


def _is_of_classes(looks: Sequence[Look], top: int) -> bool:
    """Whether the values of masks with three values or more number classes: all small but for white, all below 256 in 16 bits, or
    too few for smooth edges.
    """
    levels = _levels([each for each in looks if len(each.levels) > 2])
    grey, near_white = [value for value in levels if NOISE < value < top - NOISE], any(top - NOISE <= value < top for value in levels)
    is_small = any(0 < value <= NOISE for value in levels) and not grey and not near_white
    return max(_levels(looks)) <= top // 257 or (bool(levels) and (is_small or 0 < len(grey) <= FEW))


def _has_a_third_value(levels: Counter[int]) -> bool:
    """Whether most of the grey pixels of JPEG masks lie around one value in the middle, as a third class makes them."""
    grey = {value: count for value, count in levels.items() if NOISE < value < 255 - NOISE}
    around = (sum(count for value, count in grey.items() if abs(value - middle) <= NOISE) for middle in range(64, 192))
    return bool(grey) and max(around) > 0.6 * sum(grey.values())


def _smooth(filled: Sequence[Look], levels: Counter[int], is_jpeg: bool) -> MaskRule:
    """The rule for masks whose edges are grey, because they were resized or are JPEG files."""
    top = max(each.top for each in filled)
    middle = top // 2
    lost = sum(count for value, count in levels.items() if NOISE < value <= middle)
    bright = sum(count for value, count in levels.items() if value > middle)
    thin = [each.kept_softly for each in filled if each.kept_softly * 50 > sum(n for value, n in each.levels.items() if value > MIDDLE)]
    seen = "the masks are JPEG files, with noise around black and white" if is_jpeg else "the masks have grey edges, as resizing makes them"
    if not is_jpeg and top == 255 and 2 * len(thin) >= len(filled):
        note = (
            f"The masks are grey in part, as resizing with smoothing makes them. A threshold of {MIDDLE} would lose thin cracks in "
            f"{len(thin)} of {len(filled)} masks, so a pixel counts as crack if it is brighter than half of the brightest pixel within 2 "
            f"pixels. This adds {sum(thin)} pixels to the {bright} that are brighter than {MIDDLE}."
        )
        return MaskRule("soft", seen=seen, notes=(note,))
    share = f" ({100 * lost / bright:.1f} % of the crack pixels)" if bright else ""
    note = f"Grey mask pixels from {NOISE + 1} to {middle} that do not count as crack: {lost}{share}. Resizing and JPEG make such pixels."
    return MaskRule(threshold=_half(filled), seen=seen, notes=(note,) if lost else ())


def _half(looks: Sequence[Look]) -> int | None:
    """Half of white; None if white has several values, because some files have 16 bits."""
    return looks[0].top // 2 if len({each.top for each in looks}) == 1 else None


def _between(levels: dict[int, int], top: int) -> int:
    """The number of pixels that are neither nearly black nor nearly white."""
    return sum(count for value, count in levels.items() if NOISE < value < top - NOISE)


def _levels(looks: Sequence[Look]) -> Counter[int]:
    return _sum(each.levels for each in looks)


def _sum(counts: Iterable[dict]) -> Counter:
    total: Counter = Counter()
    for each in counts:
        total.update(each)
    return total


def _listed(counts: Counter) -> str:
    """Values or colours and their share of the pixels; at most eight of them."""
    total = sum(counts.values())
    shown = [f"{value} ({100 * count / total:.2g} %)" for value, count in counts.most_common(8)]
    return ", ".join(shown) + (f" and {len(counts) - 8} more" if len(counts) > 8 else "")


def named(looks: Sequence[Look]) -> str:
    """The number of masks, and the names of the first."""
    rest = f" and {len(looks) - NAMED} more" if len(looks) > NAMED else ""
    return f"{len(looks)} masks ({', '.join(each.path.name for each in looks[:NAMED])}{rest})"
