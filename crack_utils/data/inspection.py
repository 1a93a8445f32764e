"""One quick pass over all files of a data set before any work: what cannot be used, and how the masks are read."""

import dataclasses
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from crack_utils.data.crops import Pair, Unused
from crack_utils.data.exif import orientation_evidence, orientation_of, smaller, turned, turned_size
from crack_utils.data.mask_rules import NAMED, Look, find_rule, look, named
from crack_utils.data.masks import NOISE, MaskRule, read_pixels
from crack_utils.data.photos import bits_of, check_kind, check_range, decode, opened, stored_size
from crack_utils.errors import DataError

if TYPE_CHECKING:
    from crack_utils.config import RunParameters
    from crack_utils.data.layouts import Found

LARGEST_LOADED = 50_000_000  # pixels of an image that the quick pass decodes; of a larger one it reads the header
FULL = 0.75  # share of a mask's pixels from which on the mask is taken for inverted
COPIES = 3  # so many equal masks are no chance

SKIP = "set on_bad_data to skip, to go on without these files"
LYING = "EXIF data turn photos whose masks lie as the photos are stored. These masks were turned with their photos."


class Inspected(NamedTuple):
    """A pair, and what the quick pass saw of it."""

    pair: Pair
    mask: Look | None  # None without a mask file, and for masks that are no image files
    problem: Unused | None
    orientation: int = 1  # of the photo, as its EXIF data state


def inspect(root: Path, params: "RunParameters", found: "Found") -> "Found":
    """The pairs that can be used, with the rule by which their masks are read, and all other files.

    Raises:
        DataError: files cannot be used, or the masks look wrong, unless the parameters accept this. One message tells all problems.
    """
    pairs = [pair for those in found.pairs.values() for pair in those]
    with ThreadPoolExecutor() as pool:
        seen = dict(zip(pairs, pool.map(_inspected, pairs), strict=True))
    looks = [each.mask for each in seen.values() if each.mask and not each.problem]
    looks = [each for each in looks if not each.is_like_a_photo] or looks  # a few photos among the masks do not decide the rule
    rule, doubt = None, ""
    try:
        if looks:
            rule = _sensible(find_rule(looks, params.mask_crack), looks, params.mask_crack)
    except DataError as error:
        doubt = f"The masks in {root} look wrong: {error}."
    is_auto = params.mask_crack == "auto"
    doubts_photos = is_auto or not all(each.is_like_a_photo for each in looks)
    problems = {pair: each.problem or _odd(each, rule, is_auto, doubts_photos) for pair, each in seen.items()}
    unused = [*found.unused, *(problem for problem in problems.values() if problem)]
    left = [(pair, problem) for pair, problem in problems.items() if problem]
    unused += [Unused(path, "file whose pair cannot be used") for pair, problem in left for path in _others(pair, problem)]
    complaint = _complaint(root, [each for each in unused if each.fix])
    if (complaint and params.on_bad_data == "stop") or doubt:
        raise DataError("\n".join(filter(None, (complaint if params.on_bad_data == "stop" else "", doubt))))
    lying, lying_notes = _lying([each for pair, each in seen.items() if not problems[pair]], rule)
    kept = {split: [_read_by(rule, seen[pair], lying) for pair in those if not problems[pair]] for split, those in found.pairs.items()}
    for split, those in kept.items():
        if found.pairs[split] and not those:
            raise DataError(f"{complaint}\nWithout these files, no image{'' if split == 'all' else ' of ' + split} is left.")
    notes = (*found.notes, *(rule.notes if rule else ()), *lying_notes, *([] if is_auto else _without_crack(rule, looks)))
    return found._replace(pairs=kept, notes=notes, unused=tuple(unused), rule=rule)


def _others(pair: Pair, problem: Unused) -> list[Path]:
    return [path for path in (pair.image_path, pair.mask_path) if path and path != problem.path]


def _read_by(rule: MaskRule | None, seen: Inspected, lying: bool) -> Pair:
    if seen.mask is None:
        return seen.pair
    is_lying = lying and seen.orientation != 1
    return dataclasses.replace(seen.pair, read_mask=functools.partial(_read_lying, rule, seen.orientation) if is_lying else rule)


def _read_lying(rule: MaskRule, orientation: int, path: Path) -> np.ndarray:
    """The crack pixels of a mask that lies as the photo is stored, turned as the photo is shown."""
    return np.ascontiguousarray(turned(rule(path), orientation))


def _lying(seen: Sequence[Inspected], rule: MaskRule | None) -> tuple[bool, list[str]]:
    """Whether the masks of photos that EXIF data turn lie as the photos are stored, and what to note on it.

    Raise DataError if some do and some do not.
    """
    evidence: dict[str, list[str]] = {}
    for each in seen:
        if each.orientation != 1 and each.mask:
            image, mask = smaller(decode(each.pair.image_path, "L"), rule(each.pair.mask_path))
            how = orientation_evidence(image, mask, each.orientation)
            evidence.setdefault(how, []).append(each.pair.image_path.name)
    if "stored" in evidence and "turned" in evidence:
        raise DataError(
            f"EXIF data turn photos, and their masks disagree: {len(evidence['turned'])} fit the photo as it is shown (such as that of "
            f"{evidence['turned'][0]}), {len(evidence['stored'])} fit the photo as it is stored (such as that of {evidence['stored'][0]}); "
            "turn the pixels of the photos, remove the orientation from their EXIF data, and turn the masks likewise"
        )
    unknown = evidence.get("unknown", [])
    note = f"EXIF data turn {len(unknown)} photos whose contents do not show how their masks lie, such as {', '.join(unknown[:NAMED])}."
    return "stored" in evidence, [LYING] * ("stored" in evidence) + [note] * bool(unknown)


def _without_crack(rule: MaskRule | None, looks: Sequence[Look]) -> list[str]:
    """A sentence on masks that are not black, but lack what ``mask_crack`` calls crack."""
    without = [each for each in looks if rule and rule.kind in ("values", "colour") and not each.is_empty and not rule.count(each)]
    words = rule.words.removesuffix(".") if rule else ""
    return [f"By the rule ({words}), {named(without)} show no crack, although they are not black."] if without else []


def _inspected(pair: Pair) -> Inspected:
    try:
        size, orientation = check_image(pair.image_path)
    except DataError as error:
        return Inspected(pair, None, _unreadable(pair.image_path, error))
    if pair.mask_path is None or pair.read_mask:
        return Inspected(pair, None, None)
    try:
        mask = look(pair.mask_path, read_pixels(pair.mask_path))
    except DataError as error:
        return Inspected(pair, None, _unreadable(pair.mask_path, error))
    if mask.size != size and turned_size(mask.size, orientation) != size:
        sizes = f"the mask is {mask.size[1]} x {mask.size[0]}, the photo {size[1]} x {size[0]}"
        is_turned = mask.size == size[::-1]
        reason = "photo whose mask has another orientation" if is_turned else "photo whose mask has another size"
        turn = "turn the masks as the photos are shown" if is_turned else "export photo and mask at one size"
        return Inspected(pair, mask, Unused(pair.image_path, reason, turn, sizes))
    return Inspected(pair, mask, None, orientation)


def check_image(path: Path) -> tuple[tuple[int, int], int]:
    """(height, width) of an image that can be decoded, as a viewer shows it, and the orientation that its EXIF data state.

    JPEG files are decoded at an eighth of their size, which is faster.
    """
    with opened(path) as image:
        check_kind(image, path)
        orientation = orientation_of(image)
        size = turned_size(stored_size(image), orientation)
    if size[0] * size[1] <= LARGEST_LOADED:
        with opened(path) as image:
            image.draft("L", (image.width // 8, image.height // 8))
            bits = bits_of(image)
            image.load()
            if bits > 8:
                check_range(np.asarray(image).max() >> (bits - 8) * image.mode.startswith("I;16"), bits, path)
    return size, orientation


def _unreadable(path: Path, error: DataError) -> Unused:
    seen = (
        str(error)
        .removeprefix(f"cannot read {path} (")
        .removeprefix(f"{path} ")
        .removesuffix("; replace or remove it")
        .replace(") as an image: ", ": ")
    )
    return Unused(path, "file that cannot be read as an image", "replace or remove it", seen)


def _odd(each: Inspected, rule: MaskRule | None, is_auto: bool, doubts_photos: bool) -> Unused | None:
    """The problem of a mask that is grey like a photo or nearly full, or that the rule reads as empty although the mask is not black."""
    if rule and each.mask and each.mask.is_like_a_photo and doubts_photos:
        return Unused(each.pair.mask_path, "mask that is grey like a photo", "export a mask of two values")
    if rule and each.mask and rule.counts(each.mask):
        share = rule.count(each.mask) / (each.mask.size[0] * each.mask.size[1])
        if share > (FULL if is_auto else 0.999):
            fix = (
                "invert the mask, or export one without crack pixels if the photo shows none, or set mask_crack to bright if this is right"
            )
            return Unused(
                each.pair.mask_path, "mask that is nearly all crack", fix if is_auto else fix.rpartition(",")[0], f"{100 * share:.0f} %"
            )
    if not (each.mask and rule and rule.kind == "bright" and each.mask.top == 255) or rule.count(each.mask):
        return None
    brightest = max(each.mask.levels)
    if not (NOISE if each.mask.is_jpeg or each.pair.source else 0) < brightest <= (threshold := rule.threshold_of(each.mask.top)):
        return None
    fix = f"paint cracks brighter than {threshold} (best: 255) and the rest 0"
    return Unused(each.pair.mask_path, "mask that is not black but has no crack pixel", fix, f"no pixel brighter than {brightest}")


def _sensible(rule: MaskRule, looks: Sequence[Look], choice: str) -> MaskRule:
    """The rule itself. Raise DataError if what the masks show by this rule are hardly cracks and the parameters do not choose the rule."""
    if choice != "auto":
        return rule
    counts = [rule.count(each) for each in looks]
    share = sum(counts) / sum(each.size[0] * each.size[1] for each in looks)
    if share > 0.5:
        full = named([each for each, count in zip(looks, counts, strict=True) if 2 * count > each.size[0] * each.size[1]])
        raise DataError(
            f"{rule.words.removesuffix('.')}, so {100 * share:.0f} % of all mask pixels are crack, as if masks were inverted or full "
            f"(more than half of {full}); set mask_crack to dark if cracks are black, or to bright if this is right"
        )
    filled = [each for each, count in zip(looks, counts, strict=True) if count]
    if len(filled) >= COPIES and len({each.checksum for each in filled}) == 1:
        raise DataError(
            f"all masks with a crack are equal, pixel by pixel: {named(filled)}; check how they were exported, or "
            "set mask_crack to bright if this is right"
        )
    return rule


def _complaint(root: Path, problems: Sequence[Unused]) -> str:
    """All problems in one message: by kind, with the number of files and the names of the first."""
    kinds: dict[tuple[str, str], list[Unused]] = {}
    for each in problems:
        kinds.setdefault((each.reason, each.fix), []).append(each)
    lines = [f"{counted(reason, files)}: {fix}" for (reason, fix), files in kinds.items()]
    if len(lines) > 1:
        return "\n".join([f"files in {root} cannot be used.", *(f"- {line}." for line in lines), f"Or {SKIP}."])
    return f"in {root}, {lines[0]}, or {SKIP}" if lines else ""


def counted(reason: str, files: Sequence[Unused]) -> str:
    """A kind of file, its number, and the names of the first."""
    names = [each.path.name + (f" ({each.detail})" if each.detail else "") for each in files[:NAMED]]
    rest = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return f"{len(files)} x {reason} ({', '.join(names)}{rest})"


def notes_of_unused(unused: Sequence[Unused]) -> list[str]:
    """Sentences for the reader of the run's pages on files that were left out although they look like data."""
    kinds: dict[str, list[Unused]] = {}
    for each in unused:
        if each.fix:
            kinds.setdefault(each.reason, []).append(each)
    return [f"Files left out (on_bad_data): {counted(reason, files)}." for reason, files in kinds.items()]
