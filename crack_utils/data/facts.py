"""Facts of a run's data, as the pages of the run show them."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from crack_utils.data.crops import SPLITS
from crack_utils.data.layouts import Layout, layout_of
from crack_utils.data.sample import is_drawn

if TYPE_CHECKING:
    from crack_utils.data.run_data import RunData


def data_facts(data: "RunData") -> dict[str, Any]:
    """Facts of the data, ready for JSON. All images are decoded for these.

    Returns:
        Counts of images with and without a crack, input size, titles, leaks, fingerprint and notes. ``scale`` is the median scale at which
        the network sees the training crops; photos of any size are later shown to the network at this scale.
    """
    splits = {name: data.split(name) for name in SPLITS}
    layout, positives, is_test_drawn = layout_of(data.params.dataset), splits["test"].positives, "test" in data.drawn_splits
    return {
        "counts": {name: {"positives": split.positives, "negatives": split.negatives} for name, split in splits.items()},
        "input_height": data.input_size[0],
        "input_width": data.input_size[1],
        "scale": float(np.median([placement.scale for placement in splits["train"].placements])),
        "title": layout.title,
        "test_title": test_set_title(layout, positives, is_test_drawn),
        "test_is_part_of_official": not is_test_drawn and is_part_of_official(layout, positives),
        "drawn": is_drawn(data.root),
        "leaks": data.leaks.as_dict(),
        "fingerprint": fingerprint(data),
        "notes": [*data.notes, *(note for name in SPLITS for note in splits[name].notes), *data.leaks.notes()],
    }


def drawn_notice(facts: dict[str, Any]) -> str | None:
    """The sentence that every page of drawn images shows; None for photos."""
    return "The images are drawn by a program. They are not photos." if facts.get("drawn") else None


def fingerprint(data: "RunData") -> dict[str, Any]:
    """Number, size and sha256 of the data's files. The hash covers split, name and contents of every file, not the folder."""
    paths = {  # crops of one photo share a file
        (split, path) for split in SPLITS for pair in data.pairs[split] for path in (pair.image_path, pair.mask_path) if path
    }
    with ThreadPoolExecutor() as pool:
        lines = sorted(pool.map(lambda entry: f"{entry[0]} {entry[1].name} {hashlib.sha256(entry[1].read_bytes()).hexdigest()}\n", paths))
    total = sum(path.stat().st_size for _, path in paths)
    return {"files": len(paths), "bytes": total, "sha256": hashlib.sha256(os.fsencode("".join(lines))).hexdigest()}


def is_part_of_official(layout: Layout, test_positives: int) -> bool:
    """Whether a data set has an official test set, and these test images are only a part of it."""
    return layout.official_test is not None and test_positives != layout.official_test


def test_set_title(layout: Layout, test_positives: int, drawn: bool = False) -> str:
    """The name of the test images on every page. A part of the official set, or a drawn split, never has the official name.

    Args:
        drawn: the split was drawn here.
    """
    if drawn:
        return f"{layout.title}, split drawn by photo"
    return f"{layout.title} test subset ({test_positives} images)" if is_part_of_official(layout, test_positives) else layout.title
