"""Tables, sentences and values that ``explore.ipynb`` shows of the data."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from crack_utils.data import SPLITS, Leaks, RunData, data_facts


def sizes_table(data: RunData) -> pd.DataFrame:
    """The number of images of each size (width x height) in each split. The most common size is first."""
    counts = {split: Counter(crop.mask.shape for crop in data.split(split).crops) for split in SPLITS}
    sizes = sum(counts.values(), Counter()).most_common()
    return pd.DataFrame([{"Size": f"{w} x {h}", **{split: counts[split][h, w] for split in SPLITS}} for (h, w), _ in sizes])


def sources_table(data: RunData) -> pd.DataFrame:
    """The number of images of each source of a merged data set in each split. The largest source is first."""
    title = data_facts(data)["title"]
    counts = {split: Counter(crop.pair.source or title for crop in data.split(split).crops) for split in SPLITS}
    sources = sum(counts.values(), Counter()).most_common()
    return pd.DataFrame([{"Source": source, **{split: counts[split][source] for split in SPLITS}} for source, _ in sources])


def crack_shares(data: RunData) -> dict[str, list[float]]:
    """Percentage of crack pixels in each cracked image, by split."""
    return {split: [100 * float(crop.mask.mean()) for crop in data.split(split).crops if crop.has_crack] for split in SPLITS}


def brightness(data: RunData) -> dict[str, list[float]]:
    """Mean grey value (0 to 255) of each image, by split."""
    return {split: [float(crop.image.mean()) for crop in data.split(split).crops] for split in SPLITS}


def spread(items: Sequence[Any], n: int) -> list[Any]:
    """At most ``n`` items, evenly spread from the first to the last."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, n).round().astype(int))]


def summary(leaks: Leaks) -> str:
    """Whether splits share photos or images, and how many images this concerns."""
    if not (leaks.photos or leaks.duplicates):
        return "No photo has crops in more than one set, and no image nearly equals an image of another set."
    concerned = ", ".join(f"{len(leaks.leaking_stems(split))} of {split}" for split in SPLITS)
    return (
        f"Photos with crops in more than one set: {len(leaks.photos)}. Pairs of nearly equal images in different sets: "
        f"{len(leaks.duplicates)}. Images concerned: {concerned}."
    )


def photos_table(leaks: Leaks) -> pd.DataFrame:
    """The photos with crops in several splits, with the number of crops in each split."""
    return pd.DataFrame(
        [{"Photo": photo, **{split: len(stems.get(split, [])) for split in SPLITS}} for photo, stems in leaks.crops.items()],
        columns=["Photo", *SPLITS],
    )


def duplicates_table(leaks: Leaks) -> pd.DataFrame:
    """The pairs of nearly equal images in different splits."""
    return pd.DataFrame(leaks.duplicates, columns=["Set", "Image", "Other set", "Its image", "Correlation"])
