"""Leaks: photos with crops in several splits, and images of different splits that are nearly equal."""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from crack_utils.data.crops import SPLITS, Crop

Duplicate = tuple[str, str, str, str, float]  # split, stem, earlier split, its stem, correlation
COARSE, FINE = 32, 128  # sides of the thumbnails; fine thumbnails are compared only if the coarse ones are similar
# Least correlation of coarse and of fine thumbnails. On real photos and on the drawn sample, unrelated images correlate by at most 0.25
# (coarse) and 0.18 (fine). Copies that were rotated, brightened, compressed to quality 30, painted over in a corner, or shifted by 6 pixels
# of 640 correlate by at least 0.61.
SUSPECT, ALIKE = 0.3, 0.5
SHIFT = 4  # greatest shift between two copies, in pixels of a fine thumbnail


@dataclasses.dataclass(frozen=True)
class Leaks:
    """What splits share."""

    crops: dict[str, dict[str, list[str]]]  # the photos with crops in several splits: stems by photo and split
    duplicates: list[Duplicate]  # nearly equal images in different splits, the most similar first
    copied: dict[str, list[str]]  # stems by split of the photos with a duplicate: another split has the photo under another name

    @property
    def photos(self) -> dict[str, list[str]]:
        """The photos with crops in several splits, and the splits of each."""
        return {photo: list(stems) for photo, stems in self.crops.items()}

    def leaking_stems(self, split: str) -> set[str]:
        """The images of a split whose photo is in another split too, under the same name or another."""
        return {stem for stems in self.crops.values() for stem in stems.get(split, [])} | set(self.copied.get(split, []))

    def notes(self) -> list[str]:
        """Sentences for the reader of the scores; none if nothing leaks."""
        notes = []
        if self.photos:
            notes.append(
                f"Photos with crops in more than one split: {len(self.photos)}. {_too_good(itertools.chain(*self.photos.values()))} "
                "Set photo_disjoint to keep each photo in one split."
            )
        if self.duplicates:
            notes.append(
                f"Pairs of nearly equal images in different splits: {len(self.duplicates)} (explore shows them). "
                f"{_too_good(split for split, *_ in self.duplicates)} photo_disjoint compares names of photos only, so pairs may remain."
            )
        return notes

    def as_dict(self) -> dict[str, Any]:
        """For JSON: photos, duplicates, and the stems of test that leak."""
        duplicates = [list(duplicate) for duplicate in self.duplicates]
        return {"photos": self.photos, "duplicates": duplicates, "test_stems": sorted(self.leaking_stems("test"))}


def _too_good(splits: Iterable[str]) -> str:
    return f"The scores on {'test' if 'test' in splits else 'val'} may be a little too good."


def find_leaks(splits: dict[str, Sequence[Crop]]) -> Leaks:
    """Find what splits share.

    Crops of one photo that overlap only in part are found by the photo's name alone. A copy under another name may be missed if it is
    shifted by more than a hundredth of the image or enlarged by a twentieth.
    """
    photos = {}
    for split in SPLITS:
        for crop in splits[split]:
            photos.setdefault(crop.pair.photo, {}).setdefault(split, []).append(crop.pair.stem)
    shared = {photo: stems for photo, stems in sorted(photos.items()) if len(stems) > 1}
    coarse = {split: np.stack([thumbnail(crop.image, COARSE) for crop in splits[split]]) for split in SPLITS}
    fine = functools.cache(lambda split, i: thumbnail(splits[split][i].image, FINE))
    duplicates, copied = [], set()
    for earlier, later in itertools.combinations(SPLITS, 2):
        for i, j in np.argwhere(correlation(coarse[later], coarse[earlier]) >= SUSPECT).tolist():
            alike = shifted_correlation(fine(later, i), fine(earlier, j))
            if alike >= ALIKE:
                this, that = splits[later][i].pair, splits[earlier][j].pair
                duplicates.append((later, this.stem, earlier, that.stem, round(alike, 3)))
                copied |= {(later, this.photo), (earlier, that.photo)}
    duplicates.sort(key=lambda duplicate: -duplicate[-1])
    stems = {split: [crop.pair.stem for crop in splits[split] if (split, crop.pair.photo) in copied] for split in SPLITS}
    return Leaks(shared, duplicates, {split: those for split, those in stems.items() if those})


def thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    """The texture of an image (H, W, C) uint8 as (side, side) float32 of mean 0 and norm 1.

    The light is removed, because shadows make different photos similar. The contrast is made equal everywhere, because one strong line in
    the same place does so too. The proportions are dropped, so that a copy rotated by 90 degrees can be compared.
    """
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).reshape(side, side, -1).mean(axis=2, dtype=np.float32)
    texture = small - cv2.GaussianBlur(small, (0, 0), side / 16)
    texture /= np.sqrt(cv2.GaussianBlur(texture**2, (0, 0), side / 16) + 1)  # + 1: noise below one grey value stays small
    texture -= texture.mean()
    return texture / max(np.linalg.norm(texture), 0.01 * side)  # an image of one grey value stays 0


def correlation(these: np.ndarray, those: np.ndarray) -> np.ndarray:
    """The correlations (N, M) of thumbnails (N, S, S) and (M, S, S), each at the best rotation and flip; 1 for equal thumbnails."""
    flat = those.reshape(len(those), -1).T
    return functools.reduce(np.maximum, (turned.reshape(len(these), -1) @ flat for turned in _turns(these)))


def shifted_correlation(this: np.ndarray, that: np.ndarray) -> float:
    """The correlation of two thumbnails (S, S) at the best rotation, flip and shift by up to SHIFT pixels; 0 if one has no texture."""
    if not (this.any() and that.any()):
        return 0.0
    inner = (np.ascontiguousarray(turned[0, SHIFT:-SHIFT, SHIFT:-SHIFT]) for turned in _turns(this[None]))
    return max(float(cv2.matchTemplate(that, part, cv2.TM_CCOEFF_NORMED).max()) for part in inner)


def _turns(thumbnails: np.ndarray) -> Iterator[np.ndarray]:
    return (np.rot90(flipped, quarters, (1, 2)) for flipped in (thumbnails, thumbnails[..., ::-1]) for quarters in range(4))


def pictured(duplicates: Sequence[Duplicate], splits: dict[str, Sequence[Crop]]) -> list[Crop]:
    """The crops of these duplicates, pair by pair."""
    crops = {(split, crop.pair.stem): crop for split in SPLITS for crop in splits[split]}
    return [crops[side] for duplicate in duplicates for side in (duplicate[:2], duplicate[2:4])]
