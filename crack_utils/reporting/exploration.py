"""Tables, sentences and values that ``explore.ipynb`` shows of the data."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from crack_utils.data import SPLITS, Crop, Leaks, RunData, data_facts
from crack_utils.reporting.html import literal

SURPRISING = 1.5  # so many times as much crack in one set as in the others is worth a sentence


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


def masks_table(facts: dict[str, Any]) -> pd.DataFrame:
    """The share of crack pixels among all mask pixels of each split."""
    shares = facts["masks"]["crack_share"]
    return pd.DataFrame([{"Masks of": split, "Crack pixels (%)": round(100 * share, 3)} for split, share in shares.items()])


def extremes(data: RunData) -> list[Crop]:
    """The two images with the largest and the two with the smallest share of crack pixels among all cracked images."""
    cracked = [crop for split in SPLITS for crop in data.split(split).crops if crop.has_crack]
    cracked.sort(key=lambda crop: -float(crop.mask.mean()))
    return cracked[:2] + cracked[2:][-2:]


def surprise(data: RunData) -> str:
    """The split whose share of crack differs most from that of the others, and masks that are mostly crack, in words."""
    shares = crack_shares(data)
    ratios = {split: _ratio(split, shares) for split in SPLITS}
    split = max(SPLITS, key=lambda each: max(ratios[each], 1 / ratios[each]))
    ratio = ratios[split]
    if max(ratio, 1 / ratio) < SURPRISING:
        words = f"No set has more than {SURPRISING:g} times as much crack as the others (median share of crack pixels in cracked images)."
    else:
        how = f"{ratio:.1f} times as much" if ratio > 1 else f"only {100 * ratio:.0f} % as much"
        words = f"The cracked images of {split} show {how} crack as those of the other sets (median share of crack pixels)."
    full = [crop.pair.stem for each in SPLITS for crop in data.split(each).crops if crop.mask.mean() > 0.5]
    if full:
        words += f" More than half of the mask is crack in {len(full)} images, such as {literal(full[0])}."
    return words


def _ratio(split: str, shares: dict[str, list[float]]) -> float:
    others = [share for other in SPLITS if other != split for share in shares[other]]
    return float(np.median(shares[split]) / np.median(others))


def unused_table(facts: dict[str, Any]) -> pd.DataFrame:
    """The files in the data set's folder that are not used, with the reason."""
    return pd.DataFrame(facts["unused"], columns=["File", "Reason", "What was seen"])


def crack_shares(data: RunData) -> dict[str, list[float]]:
    """Percentage of crack pixels in each cracked image, by split."""
    return {split: [100 * float(crop.mask.mean()) for crop in data.split(split).crops if crop.has_crack] for split in SPLITS}


def brightness(data: RunData) -> dict[str, list[float]]:
    """Mean grey value (0 to 255) of each image, by split."""
    return {split: [float(crop.image.mean()) for crop in data.split(split).crops] for split in SPLITS}


def spread(items: Sequence[Any], n: int, without: Sequence[Any] = ()) -> list[Any]:
    """At most ``n`` items, evenly spread from the first to the last, without those that are shown elsewhere. There may be none."""
    items = [item for item in items if not any(item is other for other in without)]
    if not items:
        return []
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
