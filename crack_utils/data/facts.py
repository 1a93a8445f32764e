"""Facts of a run's data, as the pages of the run show them."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crack_utils.data.crops import SPLITS
from crack_utils.data.layouts import layout_of
from crack_utils.data.sample import is_drawn

if TYPE_CHECKING:
    from crack_utils.data.dataset import CropDataset
    from crack_utils.data.run_data import RunData


def data_facts(data: "RunData") -> dict[str, Any]:
    """Facts of the data, ready for JSON. For these, all images are decoded or come from the cache.

    ``scale`` is the median scale at which the network sees the training crops. Photos of any size are later shown to the network at this
    scale. A part of the official test set, or a drawn split, never has the official name as ``test_title``.
    """
    splits = {name: data.split(name) for name in SPLITS}
    layout, positives, is_test_drawn = layout_of(data.params.dataset), splits["test"].positives, "test" in data.drawn_splits
    is_part = not is_test_drawn and layout.official_test not in (None, positives)
    addition = ", split drawn by photo" if is_test_drawn else f" test subset ({positives} images)" if is_part else ""
    return {
        "counts": {name: {"positives": split.positives, "negatives": split.negatives} for name, split in splits.items()},
        "input_height": data.input_size[0],
        "input_width": data.input_size[1],
        "scale": float(np.median([placement.scale for placement in splits["train"].placements])),
        "title": layout.title,
        "test_title": layout.title + addition,
        "test_is_part_of_official": is_part,
        "drawn": is_drawn(data.root),
        "leaks": data.leaks.as_dict(),
        "masks": {"read": data.mask_words, "crack_share": {name: _crack_share(split) for name, split in splits.items()}},
        "unused": [
            [_inside(data.root, each.path), each.reason, each.detail]
            for each in (*data.unused, *(each for name in SPLITS for each in splits[name].unused))
        ],
        "fingerprint": fingerprint(data),
        "notes": [*data.notes, *(note for name in SPLITS for note in splits[name].notes), *data.leaks.notes()],
    }


def _inside(root: Path, path: Path) -> str:
    """A path inside the data set's folder; of a file elsewhere the name alone, because a run is not tied to a place."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _crack_share(split: "CropDataset") -> float:
    """The share of crack pixels among all mask pixels of a split."""
    return sum(crop.crack_px for crop in split.crops) / sum(crop.size[0] * crop.size[1] for crop in split.crops)


def drawn_notice(facts: dict[str, Any]) -> str | None:
    """The sentence that every page of drawn images shows; None for photos."""
    return "The images are drawn by a program. They are not photos." if facts.get("drawn") else None


def fingerprint(data: "RunData") -> dict[str, Any]:
    """Number, size and sha256 of the data's files. The hash covers split, name and contents of every file, not the folder."""
    pairs = [(split, pair) for split in SPLITS for pair in data.pairs[split]]
    files = {(split, str(path)) for split, pair in pairs for path in (pair.image_path, pair.mask_path) if path}  # crops may share a file
    known = data.kept.hashes({path for _, path in files})
    lines = sorted(f"{split} {os.path.basename(path)} {known[path][1]}\n" for split, path in files)
    total = sum(known[path][0] for _, path in files)
    return {"files": len(files), "bytes": total, "sha256": hashlib.sha256(os.fsencode("".join(lines))).hexdigest()}
