"""The embedded sample: pavement drawn by a program, in CRACK500's layout. No photo is in it.

Every image is a pure function of a seed. Cracks (branching, fading, of varying width) come with exact masks; stains, tyre
marks, straight joints and soft line shadows are there to be mistaken for them, so that darkness alone does not find a crack.
"""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from crack_utils.data.drawing import HEIGHT, WIDTH, draw
from crack_utils.errors import DataError

PHOTOS = {"train": 8, "val": 6, "test": 10}  # of each photo three crops with a crack and one without
CRACKED_CROPS = ((1, 1), (WIDTH + 1, 1), (1, HEIGHT + 1))  # offsets in the photo, as CRACK500's stems name them
CRACK_FREE_CROP = (WIDTH + 1, HEIGHT + 1)
STAMP = "DRAWN_BY_A_PROGRAM.txt"


def ensure_sample(folder: Path, seed: int = 0) -> Path:
    """Draw the sample into ``folder`` unless this very version of it is there already.

    Args:
        folder: becomes a CRACK500 folder: ``traincrop valcrop testcrop`` and ``negatives/{train,val,test}``.
        seed: of the drawing; the same seed gives the same bytes.

    Returns:
        ``folder``.

    Raises:
        DataError: the folder holds something that this program did not draw.
    """
    folder = Path(folder)
    program = b"".join(Path(__file__).with_name(name).read_bytes() for name in ("drawing.py", "sample.py"))
    source = hashlib.sha256(program).hexdigest()[:16]
    stamp = f"These images are drawn by crack_utils/data/sample.py ({source}, seed {seed}). They are not photos.\n"

    def is_there() -> bool:
        with contextlib.suppress(OSError):
            return (folder / STAMP).read_text(encoding="utf-8") == stamp
        return False

    if is_there():
        return folder
    if folder.exists() and not is_drawn(folder):
        raise DataError(f"{folder} is not a drawn sample (no {STAMP} in it); remove it or give another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".sample-") as scratch:
        fresh = Path(scratch) / "sample"
        write_sample(fresh, seed)
        (fresh / STAMP).write_text(stamp, encoding="utf-8")
        # Another process may have drawn it meanwhile, and read it already: what is right stays.
        try:
            if folder.exists() and not is_there():
                os.rename(folder, Path(scratch) / "old")
            os.rename(fresh, folder)
        except OSError:
            if not is_there():
                raise
    return folder


def is_drawn(folder: Path) -> bool:
    """Whether a data folder was drawn by this program; every page that shows it must say so."""
    return (Path(folder) / STAMP).is_file()


def write_sample(folder: Path, seed: int = 0) -> None:
    """Draw all splits into ``folder`` (see :func:`ensure_sample`)."""
    number = 0
    for split, photos in PHOTOS.items():
        crops, negatives = folder / f"{split}crop", folder / "negatives" / split
        crops.mkdir(parents=True)
        negatives.mkdir(parents=True)
        for _ in range(photos):
            photo = f"20200{1 + number // 8}{1 + number % 8:02d}_{8 + number % 10:02d}{(7 * number) % 60:02d}{(31 * number) % 60:02d}"
            for i, (left, top) in enumerate((*CRACKED_CROPS, CRACK_FREE_CROP)):
                rng = np.random.default_rng([seed, number, i])
                style = np.random.default_rng([seed, number])  # light and asphalt are the photo's
                image, mask = draw(rng, style, cracked=(left, top) != CRACK_FREE_CROP)
                stem = f"{photo}_{left}_{top}"
                Image.fromarray(image).save((crops if mask.any() else negatives) / f"{stem}.jpg", quality=95)
                if mask.any():
                    Image.fromarray(mask.astype(np.uint8) * 255).save(crops / f"{stem}.png")
            number += 1
