"""The embedded sample: pavement that a program draws, in CRACK500's layout. The sample holds no photos.

A seed decides every image. Cracks branch, fade and vary in width, and their masks are exact. Stains, tyre marks, straight joints and soft
shadows look like cracks, so that darkness alone does not find a crack.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from crack_utils.data.drawing import HEIGHT, WIDTH, draw
from crack_utils.errors import DataError

PHOTOS = {"train": 8, "val": 6, "test": 10}  # each photo has three crops with a crack and one without
CRACKED_CROPS = ((1, 1), (WIDTH + 1, 1), (1, HEIGHT + 1))  # offsets in the photo, as in CRACK500's stems
CRACK_FREE_CROP = (WIDTH + 1, HEIGHT + 1)
STAMP = "DRAWN_BY_A_PROGRAM.txt"


def write_sample(folder: Path, seed: int, photos: Mapping[str, int] = PHOTOS) -> None:
    """Draw all splits into ``folder``.

    Args:
        folder: becomes a CRACK500 folder: ``traincrop valcrop testcrop`` and ``negatives/{train,val,test}``.
        seed: the same seed gives the same bytes.
        photos: number of photos by split.
    """
    number = 0
    for split, count in photos.items():
        crops, negatives = folder / f"{split}crop", folder / "negatives" / split
        crops.mkdir(parents=True)
        negatives.mkdir(parents=True)
        for _ in range(count):
            photo = f"20200{1 + number // 8}{1 + number % 8:02d}_{8 + number % 10:02d}{(7 * number) % 60:02d}{(31 * number) % 60:02d}"
            for i, (left, top) in enumerate((*CRACKED_CROPS, CRACK_FREE_CROP)):
                rng = np.random.default_rng([seed, number, i])
                style = np.random.default_rng([seed, number])  # crops of one photo share light and asphalt
                image, mask = draw(rng, style, cracked=(left, top) != CRACK_FREE_CROP)
                stem = f"{photo}_{left}_{top}"
                Image.fromarray(image).save((crops if mask.any() else negatives) / f"{stem}.jpg", quality=95)
                if mask.any():
                    Image.fromarray(mask.astype(np.uint8) * 255).save(crops / f"{stem}.png")
            number += 1


def ensure_sample(folder: Path, seed: int = 0, write: Callable[[Path, int], None] = write_sample) -> Path:
    """Draw the sample into ``folder`` and return ``folder``. A sample of this program and this seed stays as it is.

    Args:
        write: draws the sample.

    Raises:
        DataError: the folder holds something that this program did not draw.
    """
    folder, stamp = Path(folder), _stamp(seed)
    if _has(folder, stamp):
        return folder
    if folder.exists() and not is_drawn(folder):
        raise DataError(f"{folder} is not a drawn sample (no {STAMP} in it); remove it or give another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".sample-") as scratch:
        fresh = Path(scratch) / "sample"
        write(fresh, seed)
        (fresh / STAMP).write_text(stamp, encoding="utf-8")
        # Another process may have drawn the same sample meanwhile and may be reading it. Such a sample stays.
        try:
            if folder.exists() and not _has(folder, stamp):
                os.rename(folder, Path(scratch) / "old")
            os.rename(fresh, folder)
        except OSError:
            if not _has(folder, stamp):
                raise
    return folder


def is_drawn(folder: Path) -> bool:
    """Whether this program drew the images in a data folder. Every page that shows such images must say so."""
    return (Path(folder) / STAMP).is_file()


def _stamp(seed: int) -> str:
    """The text of the stamp. Its hash changes with the program that draws."""
    program = b"".join(Path(__file__).with_name(name).read_bytes() for name in ("drawing.py", "sample.py"))
    source = hashlib.sha256(program).hexdigest()[:16]
    return f"These images are drawn by crack_utils/data/sample.py ({source}, seed {seed}). They are not photos.\n"


def _has(folder: Path, stamp: str) -> bool:
    with contextlib.suppress(OSError):
        return (folder / STAMP).read_text(encoding="utf-8") == stamp
    return False
