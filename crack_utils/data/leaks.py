"""What one split shows of another: photos with crops in several, and images that are nearly equal whatever their names."""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from crack_utils.data.crops import SPLITS, Crop

COARSE, FINE = 32, 128  # sides of the thumbnails; the fine ones confirm what the coarse ones suspect
# Real photos and the drawn sample: unrelated images correlate by at most 0.25 (coarse) and 0.18 (fine); copies by at least 0.61,
# were they turned, brightened, compressed to quality 30, painted over in a corner, or shifted by 6 pixels of 640.
SUSPECT, ALIKE = 0.3, 0.5  # coarse, fine
SHIFT = 4  # cells of a fine thumbnail by which two may be shifted


@dataclasses.dataclass(frozen=True)
class Leaks:
    """What splits share.

    Args:
        crops: of the photos with crops in several splits: stems by photo and split.
        duplicates: (split, stem, earlier split, stem, correlation) of nearly equal images, the most alike first.
        copied: by split, all crops of the photos of which a crop is among the duplicates: another split has them under another name.
    """

    crops: dict[str, dict[str, list[str]]]
    duplicates: list[tuple[str, str, str, str, float]]
    copied: dict[str, list[str]]

    @property
    def photos(self) -> dict[str, list[str]]:
        """The photos with crops in several splits, each with these splits."""
        return {photo: list(stems) for photo, stems in self.crops.items()}

    def leaking_stems(self, split: str) -> set[str]:
        """Images of a split whose photo another split has too, under its own name or, as a nearly equal crop tells, another."""
        return {stem for stems in self.crops.values() for stem in stems.get(split, [])} | set(self.copied.get(split, []))

    def notes(self) -> list[str]:
        """What a reader of scores should know; empty where nothing leaks."""
        notes = []
        if self.photos:
            notes.append(
                f"Photos with crops in more than one split: {len(self.photos)}. {_too_good(itertools.chain(*self.photos.values()))}; "
                "photo_disjoint removes it."
            )
        if self.duplicates:
            notes.append(
                f"Pairs of nearly equal images in different splits: {len(self.duplicates)} (see explore). "
                f"{_too_good(split for split, *_ in self.duplicates)}; photo_disjoint goes by the names of photos and may leave them."
            )
        return notes

    def as_dict(self) -> dict[str, Any]:
        """For JSON: photos, duplicates, and the stems of test that leak."""
        return {
            "photos": self.photos,
            "duplicates": [list(duplicate) for duplicate in self.duplicates],
            "test_stems": sorted(self.leaking_stems("test")),
        }


def _too_good(splits: Iterable[str]) -> str:
    return f"Scores on {'test' if 'test' in splits else 'val'} may be a little too good"


def find_leaks(splits: dict[str, Sequence[Crop]]) -> Leaks:
    """Look for what splits share. Crops that overlap only in part have to share their photo's name to be found: a copy that is shifted
    by more than a hundredth of the image, or enlarged by a twentieth, may not be."""
    crops: dict[str, dict[str, list[str]]] = {}
    for split in SPLITS:
        for crop in splits[split]:
            crops.setdefault(crop.pair.photo, {}).setdefault(split, []).append(crop.pair.stem)
    shared = {photo: stems for photo, stems in sorted(crops.items()) if len(stems) > 1}
    duplicates = _find_duplicates(splits)
    sides = {side for *pair, _ in duplicates for side in (tuple(pair[:2]), tuple(pair[2:]))}
    copied = {}
    for split in SPLITS:
        photos = {crop.pair.photo for crop in splits[split] if (split, crop.pair.stem) in sides}
        stems = [crop.pair.stem for crop in splits[split] if crop.pair.photo in photos]
        copied |= {split: stems} if stems else {}
    return Leaks(shared, duplicates, copied)


def _find_duplicates(splits: dict[str, Sequence[Crop]]) -> list[tuple[str, str, str, str, float]]:
    coarse = {split: np.stack([thumbnail(crop.image, COARSE) for crop in splits[split]]) for split in SPLITS}
    fine = functools.cache(lambda split, i: thumbnail(splits[split][i].image, FINE))
    found = []
    for earlier, later in itertools.combinations(SPLITS, 2):
        for i, j in np.argwhere(correlation(coarse[later], coarse[earlier]) >= SUSPECT).tolist():
            alike = shifted_correlation(fine(later, i), fine(earlier, j))
            if alike >= ALIKE:
                found.append((later, splits[later][i].pair.stem, earlier, splits[earlier][j].pair.stem, round(alike, 3)))
    return sorted(found, key=lambda duplicate: -duplicate[-1])


def thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    """The texture of an image (H, W, C) uint8 as (side, side) float32 of mean 0 and norm 1.

    Without its light, as shadows make different photos alike, and of one contrast everywhere, as one strong line in the same
    place does so too. Without its proportions, so that an upright copy can be compared.
    """
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).reshape(side, side, -1).mean(axis=2, dtype=np.float32)
    texture = small - cv2.GaussianBlur(small, (0, 0), side / 16)
    texture /= np.sqrt(cv2.GaussianBlur(texture**2, (0, 0), side / 16) + 1)  # contrast below one grey value is noise: not raised
    texture -= texture.mean()
    return texture / max(np.linalg.norm(texture), 0.01 * side)  # an image of one grey value stays 0


def correlation(these: np.ndarray, those: np.ndarray) -> np.ndarray:
    """(N, M): how much thumbnails (N, S, S) and (M, S, S) are alike, 1 for equal ones, each turned and flipped as fits best."""
    flat = those.reshape(len(those), -1).T
    return functools.reduce(np.maximum, (turned.reshape(len(these), -1) @ flat for turned in _turns(these)))


def shifted_correlation(this: np.ndarray, that: np.ndarray) -> float:
    """How much two thumbnails (S, S) are alike, 1 for equal ones: the one turned, flipped and shifted by up to SHIFT as fits best; 0
    where one shows nothing."""
    if not (this.any() and that.any()):
        return 0.0
    inner = (np.ascontiguousarray(turned[0, SHIFT:-SHIFT, SHIFT:-SHIFT]) for turned in _turns(this[None]))
    return max(float(cv2.matchTemplate(that, part, cv2.TM_CCOEFF_NORMED).max()) for part in inner)


def _turns(thumbnails: np.ndarray) -> Iterator[np.ndarray]:
    for flipped in (thumbnails, thumbnails[..., ::-1]):
        for quarters in range(4):
            yield np.rot90(flipped, quarters, (1, 2))


def pictured(duplicates: Sequence[tuple[str, str, str, str, float]], splits: dict[str, Sequence[Crop]]) -> list[Crop]:
    """The crops of these duplicates, pair by pair."""
    crops = {(split, crop.pair.stem): crop for split in SPLITS for crop in splits[split]}
    return [crops[side] for *pair, _ in duplicates for side in (tuple(pair[:2]), tuple(pair[2:]))]
