"""A run's data: found once, decoded split by split, and never changed afterwards."""

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from crack_utils.config import RunParameters, check_input_size
from crack_utils.data.cache import Cache
from crack_utils.data.crops import CUT_SIZE, SPLITS, Pair, Unused, cut
from crack_utils.data.dataset import CropDataset, crack_weights
from crack_utils.data.inspection import inspect, notes_of_unused
from crack_utils.data.kept import Kept, open_kept
from crack_utils.data.layouts import layout_of
from crack_utils.data.layouts.files import left_over, walk
from crack_utils.data.layouts.folders import Found, find_negatives, unused_negatives
from crack_utils.data.leaks import Leaks, find_leaks
from crack_utils.data.offsets import settle_offsets
from crack_utils.data.photos import read_size
from crack_utils.data.sample import ensure_sample, is_drawn
from crack_utils.data.splits import FoundSplits, Pairs, find_splits, in_photo_order, keep_apart, keep_disjoint, limit_by_photo
from crack_utils.errors import DataError

CHOOSING = (  # the parameters, and what follows from them, that decide which files a run uses and how
    *("dataset", "negatives_root", "mask_crack", "on_bad_data", "split_seed", "photo_disjoint", "images_per_split"),
    *("use_negatives", "evaluates_negatives", "input_height", "input_width"),
)
LEFT_BY = "use_negatives, evaluate_negatives, train_negatives"  # the parameters that leave out crack-free images


@dataclasses.dataclass(frozen=True)
class RunData:
    """The images that a run's parameters name. Make one with :func:`find_data`."""

    params: RunParameters
    root: Path  # the data set's folder
    negatives_root: Path  # the folder of crack-free images; the folder may be missing
    input_size: tuple[int, int]  # (height, width) of the network's input
    pairs: Pairs  # by split, where each crop's files lie
    drawn_splits: tuple[str, ...]  # the splits that were drawn because the data set does not fix them
    notes: tuple[str, ...]  # sentences on the files for the reader of the run's pages
    unused: tuple[Unused, ...]  # the files in the data set's folder that are not used
    mask_words: str  # how the masks are read
    kept: Kept = dataclasses.field(default=Kept(), repr=False, compare=False)  # what earlier starts know of the files
    _decoded: dict[str, CropDataset] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    def split(self, name: str) -> CropDataset:
        """The crops of train, val or test, decoded once. Raise DataError if an image or a mask cannot be used, or no image has a crack."""
        if name not in self._decoded:
            self._decoded[name] = _decode(self, name)
        return self._decoded[name]

    @functools.cached_property
    def leaks(self) -> Leaks:
        """What the splits share. All splits are decoded for this."""
        crops = {name: self.split(name).crops for name in SPLITS}
        pairs = [(name, crop.pair) for name in SPLITS for crop in crops[name]]
        key = "leaks", self.params.input_channels, [(name, str(pair.image_path), pair.box, pair.stem, pair.photo) for name, pair in pairs]
        return self.kept.remembered(key, lambda: find_leaks(crops))


def find_data(params: RunParameters, sample_folder: Path, cache: Cache | None = None) -> RunData:
    """Find the images that a run's parameters name. Nothing is decoded yet. Raise DataError if a folder or file cannot be used.

    A run that needs the drawn sample takes the sample in ``sample_folder``, and draws the sample if it is missing. With a ``cache``, what
    an earlier start has read of the same files is not read again; the result is the same.
    """
    root = Path(params.data_root) if params.data_root else ensure_sample(sample_folder)
    if params.dataset == "sample" and root.is_dir() and not is_drawn(root):
        raise DataError(f"{root} was not drawn by this program; for photos set dataset to their data set, such as crack500")
    negatives_root = Path(params.negatives_root or root / "negatives")
    if params.negatives_root and not negatives_root.is_dir():
        raise DataError(f"negatives_root {negatives_root} is not a folder; give a folder of images, or one with train/, val/ and test/")
    kept = open_kept(cache, [root, *([] if negatives_root.is_relative_to(root) else [negatives_root])])
    choices, inspected = {name: getattr(params, name) for name in CHOOSING}, []
    found = kept.remembered(
        ("found", str(root), choices), lambda: _find(SimpleNamespace(**choices), root, negatives_root, inspected), inspected
    )
    before, after = found.pop("notes")
    return RunData(params, root, negatives_root, notes=(*before, *_notes_of(params), *after), kept=kept, **found)


def _find(params: SimpleNamespace, root: Path, negatives_root: Path, inspected: list[Path]) -> dict[str, Any]:
    """The fields of :class:`RunData` that the files and :data:`CHOOSING` decide; no other parameter is at hand here.

    Lists all files that were looked at in ``inspected``.
    """
    negatives = _negatives(params, root, negatives_root)

    def check(found: Found) -> Found:
        """Look through the pairs and the crack-free images together, so that one message names all problems."""
        known = {pair.image_path for those in negatives.pairs.values() for pair in those} | {each.path for each in negatives.unused}
        unused = [each for each in found.unused if each.path not in known and not _is_inside(each.path, negatives_root, root)]
        joined = found.pairs | {f"negatives of {split}": those for split, those in negatives.pairs.items()}
        inspected.extend(path for those in joined.values() for pair in those for path in (pair.image_path, pair.mask_path) if path)
        inspected.extend(each.path for each in (*found.unused, *negatives.unused))
        checked = inspect(root, params, found._replace(pairs=joined, unused=(*unused, *negatives.unused)))
        negatives.pairs.update({split: checked.pairs.pop(f"negatives of {split}") for split in SPLITS})
        return checked

    found = find_splits(root, params.dataset, params.split_seed, params.mask_crack, check)
    if layout_of(params.dataset).is_own:
        settled = iter(
            settle_offsets([pair for split in SPLITS for pair in negatives.pairs[split]], [*itertools.chain(*found.pairs.values())])
        )
        negatives.pairs.update({split: [next(settled) for _ in negatives.pairs[split]] for split in SPLITS})
    (pairs, notes), unused = _selected(params, found, negatives.pairs), found.unused
    height, width = params.input_height, params.input_width
    own = own_size(pairs["train"]) if height is None or width is None else (height, width)
    input_size = height or own[0], width or own[1]
    check_input_size(*input_size)
    pairs = {split: limit_by_photo(pairs[split], params.images_per_split, params.split_seed) for split in SPLITS}
    notes = found.notes, (*notes, *notes_of_unused(unused))
    words = found.rule.words if found.rule else "the masks are no image files; the files of the data set or label tool say what is crack."
    return dict(input_size=input_size, pairs=pairs, drawn_splits=found.drawn, notes=notes, unused=unused, mask_words=words)


def _notes_of(params: RunParameters) -> Iterator[str]:
    """What a reader must know of the parameters before reading any figure."""
    if params.validate_on_test:
        chosen = "Checkpoint and thresholds" if params.chooses_checkpoint else "The thresholds"
        yield f"{chosen} were chosen on test (validate_on_test), so the figures on test are too good."
    if not params.decision_loss:
        yield "The decision was not trained (decision_loss is False), so its figures are those of random weights."
    if params.images_per_split:
        yield f"This is a trial with at most {params.images_per_split} images of each split (images_per_split)."


def _is_inside(path: Path, negatives_root: Path, root: Path) -> bool:
    """Whether a file belongs to a folder of crack-free images inside the data set's folder that has another name than usual."""
    return negatives_root != root / "negatives" and path.is_relative_to(negatives_root)


def _negatives(params: RunParameters, root: Path, negatives_root: Path) -> Found:
    """The crack-free images that join the splits, as the parameters ask, and the other files of their folder."""
    layout = layout_of(params.dataset)
    joined = [split for split in SPLITS if (params.use_negatives if split == "train" else params.evaluates_negatives)]
    found = {split: [layout.describe(pair) for pair in find_negatives(negatives_root, split)] for split in SPLITS}
    reason = "crack-free image that the run does not use (use_negatives, evaluate_negatives)"
    unused = [Unused(pair.image_path, reason) for split in SPLITS if split not in joined for pair in found[split]]
    if negatives_root != root / "negatives" and joined:
        unused += unused_negatives(negatives_root)
        files, used = walk(negatives_root), {pair.image_path for split in joined for pair in found[split]}
        unused += left_over(negatives_root, files, used, unused, {path.parent for path in files})
    return Found({split: found[split] if split in joined else [] for split in SPLITS}, unused=tuple(unused))


def _selected(params: RunParameters, found: FoundSplits, negatives: Pairs) -> tuple[Pairs, list[str]]:
    """The pairs of each split: with negatives, cut, and without photos of other splits, as the parameters ask. And notes on these."""
    layout, pairs, notes = layout_of(params.dataset), {}, []
    for split in SPLITS:
        pairs[split] = found.pairs[split] + negatives[split]
        if layout.is_own:
            photos = [cut(pair) for pair in pairs[split]]
            pairs[split] = [crop for crops in photos for crop in crops]
            if n_cut := sum(len(crops) > 1 for crops in photos):
                notes.append(f"Large photos of {split} that were cut into crops of about {CUT_SIZE[1]} x {CUT_SIZE[0]} pixels: {n_cut}.")
        stems = Counter(pair.stem for pair in pairs[split])
        if same := [pair.image_path for pair in pairs[split] if stems[pair.stem] > 1]:
            shown = ", ".join(str(path) for path in sorted(same, key=lambda path: path.stem)[:4])
            raise DataError(
                f"{len(same)} images of {split} share their names with others of this split ({shown}{', ...' if len(same) > 4 else ''}); "
                "rename them, because names must differ within a split"
            )
    apart = keep_apart(pairs, found.drawn)
    if n_left := sum(len(pairs[split]) - len(apart[split]) for split in SPLITS):
        notes.append(f"Crack-free images left out because cracked crops of their photo are in another split: {n_left}.")
    if not params.photo_disjoint:
        return apart, notes
    kept = keep_disjoint(apart)
    left = " and ".join(f"{len(apart[split]) - len(kept[split])} of {split}" for split in ("train", "val"))
    return kept, [*notes, f"Images left out because a later split has crops of their photo (photo_disjoint): {left}."]


def own_size(pairs: Sequence[Pair]) -> tuple[int, int]:
    """The most common image size (height, width), laid on its side and rounded up to full steps of 8 pixels."""
    sizes = Counter(tuple(sorted(pair.box[2:] if pair.box else read_size(pair.image_path))) for pair in pairs)
    (height, width), _ = max(sizes.items(), key=lambda item: (item[1], item[0]))
    return -(-height // 8) * 8, -(-width // 8) * 8


def _decode(data: RunData, split: str) -> CropDataset:
    params, is_train, notes, options = data.params, split == "train", [], {}
    crops = data.kept.crops(data.pairs[split], params.input_channels, (params.dataset, params.mask_crack, params.on_bad_data))
    wanted = params.use_negatives if is_train else params.evaluate_negatives is not False
    asked = params.train_negatives if is_train and wanted else None
    negatives = [crop.pair for crop in crops if not crop.has_crack] if wanted else []  # only decoding shows them: masks may be empty
    kept = set(in_photo_order(negatives, params.split_seed)[:asked])
    left = [crop.pair for crop in crops if not crop.has_crack and crop.pair not in kept]
    crops = [crop for crop in crops if crop.has_crack or crop.pair in kept]
    if left:
        notes.append(f"Crack-free images of {split} that the run does not use ({LEFT_BY}): {len(left)}.")
    if not any(crop.has_crack for crop in crops):
        raise DataError(f"no image of {split} in {data.root} has a crack; check the masks and how they are read (mask_crack)")
    if asked and len(negatives) < asked:
        notes.append(f"Crack-free images found for train: {len(negatives)} of the {asked} that train_negatives asks for.")
    elif not negatives and (params.use_negatives if is_train else params.evaluates_negatives):
        where = f"neither in {data.negatives_root.name}/{split} nor by an empty mask"
        notes.append(f"No crack-free images were found for {split}, {where}; {split} has cracked images only.")
    goes_by_decision = params.chooses_checkpoint and params.best_model_type != "seg"
    if split == params.choosing_split and goes_by_decision and all(crop.has_crack for crop in crops):
        notes.append(
            f"{split} has no crack-free image, so the average precision of the decision is always 1 and says nothing about a checkpoint "
            f"(best_model_type {params.best_model_type})."
        )
    if is_train:  # the crops that judge the network stay as they are
        weigh = functools.partial(crack_weights, w_max=params.w_max, power=params.w_power) if params.weighted_segmentation_loss else None
        options = {"dilate": params.dilate, "parts": params.augmentation_parts.split(), "weigh": weigh}
    reason = f"crack-free image of {split} that the run does not use ({LEFT_BY})"
    unused = tuple(Unused(path, reason) for pair in left for path in (pair.image_path, pair.mask_path) if path and not pair.box)
    return CropDataset(crops, data.input_size, notes=tuple(notes), unused=unused, **options)
