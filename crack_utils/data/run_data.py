"""A run's data: found once, decoded split by split, and never changed afterwards."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from crack_utils.config import RunParameters, check_input_size
from crack_utils.data.crops import SPLITS, Crop, Pair
from crack_utils.data.cutting import CUT_SIZE, cut
from crack_utils.data.dataset import CropDataset
from crack_utils.data.decoding import read_crops, read_size
from crack_utils.data.finding import find_splits
from crack_utils.data.layouts import layout_of
from crack_utils.data.layouts.folders import find_negatives
from crack_utils.data.leaks import Leaks, find_leaks
from crack_utils.data.pixel_weights import crack_weights
from crack_utils.data.sample import ensure_sample, is_drawn
from crack_utils.data.splits import in_photo_order, keep_apart, keep_disjoint, limit_by_photo
from crack_utils.errors import DataError

Pairs = dict[str, list[Pair]]


@dataclasses.dataclass(frozen=True)
class RunData:
    """The images that a run's parameters name. Make one with :func:`find_data`.

    Args:
        params: the run's parameters.
        root: the data set's folder.
        negatives_root: the folder of crack-free images. The folder may be missing.
        input_size: (height, width) of the network's input.
        pairs: by split, where each crop's files lie.
        drawn_splits: the splits that were drawn because the data set does not fix them.
        notes: sentences on the files for the reader of the run's pages.
    """

    params: RunParameters
    root: Path
    negatives_root: Path
    input_size: tuple[int, int]
    pairs: Pairs
    drawn_splits: tuple[str, ...]
    notes: tuple[str, ...]

    def split(self, name: str) -> CropDataset:
        """The decoded crops of train, val or test. Each split is decoded once.

        Raises:
            DataError: an image or a mask cannot be used, or no image of the split has a crack.
        """
        if name not in self._decoded:
            self._decoded[name] = _decode(self, name)
        return self._decoded[name]

    @functools.cached_property
    def _decoded(self) -> dict[str, CropDataset]:
        return {}

    @functools.cached_property
    def leaks(self) -> Leaks:
        """What the splits share. All splits are decoded for this."""
        return find_leaks({name: self.split(name).crops for name in SPLITS})


def find_data(params: RunParameters, sample_folder: Path) -> RunData:
    """Find the images that a run's parameters name. Nothing is decoded yet.

    Args:
        params: the run's parameters.
        sample_folder: the folder of the drawn sample. If the run needs the sample and the folder does not hold it, the sample is drawn.

    Raises:
        DataError: a folder or file cannot be used.
    """
    root = Path(params.data_root) if params.data_root else ensure_sample(sample_folder)
    if params.dataset == "sample" and root.is_dir() and not is_drawn(root):
        raise DataError(f"{root} was not drawn by this program; for photos set dataset to their data set, such as crack500")
    negatives_root = Path(params.negatives_root or root / "negatives")
    if params.negatives_root and not negatives_root.is_dir():
        raise DataError(f"negatives_root {negatives_root} is not a folder; give a folder of images, or one with train/, val/ and test/")
    found = find_splits(root, params.dataset, params.split_seed)
    selected, notes_on_cuts = _selected(params, found.pairs, negatives_root)
    pairs, notes_on_photos = _separated(params, selected, found.drawn)
    height, width = params.input_height, params.input_width
    own = own_size(pairs["train"]) if height is None or width is None else (height, width)
    input_size = height or own[0], width or own[1]
    check_input_size(*input_size)
    pairs = {split: limit_by_photo(pairs[split], params.images_per_split, params.split_seed) for split in SPLITS}
    notes = (*found.notes, *_notes_of(params), *notes_on_cuts, *notes_on_photos)
    return RunData(params, root, negatives_root, input_size, pairs, found.drawn, notes)


def _notes_of(params: RunParameters) -> Iterator[str]:
    """What a reader must know of the parameters before reading any figure."""
    if params.validate_on_test:
        chosen = "Checkpoint and thresholds" if params.chooses_checkpoint else "The thresholds"
        yield f"{chosen} were chosen on test (validate_on_test), so the figures on test are too good."
    if not params.decision_loss:
        yield "The decision was not trained (decision_loss is False), so its figures are those of random weights."
    if params.images_per_split:
        yield f"This is a trial with at most {params.images_per_split} images of each split (images_per_split)."


def _selected(params: RunParameters, found: Pairs, negatives_root: Path) -> tuple[Pairs, list[str]]:
    """The pairs of each split with the negatives that the parameters ask for, and notes. Large photos are cut if the layout says so."""
    layout, selected, notes = layout_of(params.dataset), {}, []
    for split in SPLITS:
        pairs = found[split]
        if params.use_negatives if split == "train" else params.evaluates_negatives:
            pairs = pairs + find_negatives(negatives_root, split)
        if layout.cuts_large_photos:
            photos = [cut(pair) for pair in pairs]
            n_cut = sum(len(crops) > 1 for crops in photos)
            pairs = [crop for crops in photos for crop in crops]
            if n_cut:
                notes.append(f"Large photos of {split} that were cut into crops of about {CUT_SIZE[1]} x {CUT_SIZE[0]} pixels: {n_cut}.")
        stem, times = Counter(pair.stem for pair in pairs).most_common(1)[0]
        if times > 1:
            raise DataError(f"{times} images of {split} are named {stem}; rename them, because names must differ within a split")
        selected[split] = pairs
    return selected, notes


def _separated(params: RunParameters, pairs: Pairs, drawn: Sequence[str]) -> tuple[Pairs, list[str]]:
    """The pairs without images whose photo belongs to another split, and notes on how many were left out."""
    apart, notes = keep_apart(pairs, drawn), []
    n_left = sum(len(pairs[split]) - len(apart[split]) for split in SPLITS)
    if n_left:
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
    params = data.params
    crops, note = _with_chosen_negatives(data, split, read_crops(data.pairs[split], params.input_channels))
    if not any(crop.has_crack for crop in crops):
        raise DataError(f"no image of {split} in {data.root} has a crack; masks need pixels brighter than 127")
    notes = [note] if note else []
    goes_by_decision = params.chooses_checkpoint and params.best_model_type != "seg"
    if split == params.choosing_split and goes_by_decision and all(crop.has_crack for crop in crops):
        notes.append(
            f"{split} has no crack-free image, so the average precision of the decision is always 1 and says nothing about a checkpoint "
            f"(best_model_type {params.best_model_type})."
        )
    return CropDataset(crops, data.input_size, notes=tuple(notes), **_learning_options(params) if split == "train" else {})


def _with_chosen_negatives(data: RunData, split: str, crops: list[Crop]) -> tuple[list[Crop], str | None]:
    """The crops without the crack-free ones that the parameters leave out, and a note if there are too few of these.

    Only decoding shows which crops are crack-free, because masks may be empty.
    """
    params, is_train = data.params, split == "train"
    wanted = params.use_negatives if is_train else params.evaluate_negatives is not False
    negatives = [crop.pair for crop in crops if not crop.has_crack] if wanted else []
    asked = params.train_negatives if is_train and wanted else None
    note = None
    if asked and len(negatives) < asked:
        note = f"Crack-free images found for train: {len(negatives)} of the {asked} that train_negatives asks for."
    elif not negatives and (params.use_negatives if is_train else params.evaluates_negatives):
        where = f"neither in {data.negatives_root.name}/{split} nor by an empty mask"
        note = f"No crack-free images were found for {split}, {where}; {split} has cracked images only."
    kept = set(in_photo_order(negatives, params.split_seed)[:asked])
    return [crop for crop in crops if crop.has_crack or crop.pair in kept], note


def _learning_options(params: RunParameters) -> dict[str, Any]:
    """Options for the crops that the network learns from. The crops that judge the network stay as they are."""
    weigh = functools.partial(crack_weights, w_max=params.w_max, power=params.w_power) if params.weighted_segmentation_loss else None
    return {"dilate": params.dilate, "parts": params.augmentation_parts.split(), "weigh": weigh}
