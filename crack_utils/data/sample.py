"""The embedded sample: pavement that a program draws, in CRACK500's layout. A seed decides every image; the masks are exact.

Stains, tyre marks, straight joints and soft shadows look like cracks, so that darkness alone does not find a crack.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from crack_utils.errors import DataError

HEIGHT, WIDTH = 96, 160
_SCALE = 3  # images are drawn larger by this factor and averaged down, so that edges are smooth
PHOTOS = {"train": 8, "val": 6, "test": 10}  # each photo has three crops with a crack and one without
CRACKED_CROPS = ((1, 1), (WIDTH + 1, 1), (1, HEIGHT + 1))  # offsets in the photo, as in CRACK500's stems
CRACK_FREE_CROP = (WIDTH + 1, HEIGHT + 1)
STAMP = "DRAWN_BY_A_PROGRAM.txt"


def write_sample(folder: Path, seed: int, photos: Mapping[str, int] = PHOTOS) -> None:
    """Draw ``traincrop valcrop testcrop`` and ``negatives/{train,val,test}`` into ``folder``. The same seed gives the same bytes."""
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
    """Draw the sample into ``folder``, unless the folder holds this very sample. Raise DataError if the folder holds anything else."""
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]  # changes with the program that draws
    stamp = f"These images are drawn by crack_utils/data/sample.py ({source}, seed {seed}). They are not photos.\n"
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


def _has(folder: Path, stamp: str) -> bool:
    with contextlib.suppress(OSError):
        return (folder / STAMP).read_text(encoding="utf-8") == stamp
    return False


def draw(rng: np.random.Generator, style: np.random.Generator, cracked: bool) -> tuple[np.ndarray, np.ndarray]:
    """One crop: image (96, 160, 3) uint8 and crack mask (96, 160) bool. ``style`` decides the asphalt and the light of a photo."""
    shape = (HEIGHT * _SCALE, WIDTH * _SCALE)
    grey = _asphalt(rng, style, shape)
    for draw_distractor, chance in ((_stain, 0.75), (_tyre_mark, 0.5), (_joint, 0.4), (_line_shadow, 0.5), (_broad_shadow, 0.5)):
        if rng.random() < chance:
            grey = draw_distractor(rng, grey)
    mask = np.zeros(shape, bool)
    while cracked and _shrink(mask).mean() < 0.012:
        grey, new = _crack(rng, grey)
        mask |= new
    tint = 1 + style.uniform(-0.03, 0.03, 3)
    image = _shrink(grey)[..., None] * tint + rng.normal(0, 0.012, (HEIGHT, WIDTH, 3))
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8), _shrink(mask) >= 0.5


def _shrink(array: np.ndarray) -> np.ndarray:
    return array.reshape(HEIGHT, _SCALE, WIDTH, _SCALE).mean((1, 3))


def _noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """Smooth noise with a standard deviation of 1. Coarse noise is drawn small and enlarged, which saves most of the time."""
    step = 6 if sigma >= 8 else 1
    small = rng.standard_normal((shape[0] // step, shape[1] // step))
    field = ndimage.gaussian_filter(small, sigma / step, mode="wrap")
    field = ndimage.zoom(field, step, order=1) if step > 1 else field
    return field / field.std()


def _asphalt(rng: np.random.Generator, style: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    level, grain = style.uniform(0.36, 0.68), style.uniform(0.03, 0.055)
    tilt, depth = style.uniform(0, 2 * np.pi), style.uniform(0.1, 0.5)
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    light = 1 + depth * (np.cos(tilt) * x + np.sin(tilt) * y) / 2 + 0.05 * _noise(rng, shape, 60)
    stones = _noise(rng, shape, 2.2)
    texture = grain * _noise(rng, shape, 1.2) + grain * np.clip(stones - 1, 0, None) - 1.2 * grain * np.clip(-stones - 1.2, 0, None)
    return level * light * (1 + texture + 0.04 * _noise(rng, shape, 12))


def _stain(rng: np.random.Generator, grey: np.ndarray) -> np.ndarray:
    """Oil or water: blobs with ragged edges, as dark as a crack."""
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    cy, cx = rng.uniform(0, grey.shape[0]), rng.uniform(0, grey.shape[1])
    radius = rng.uniform(20, 75)
    inside = 1 - np.hypot((y - cy) / radius, (x - cx) / (radius * rng.uniform(0.7, 2))) + 0.45 * _noise(rng, grey.shape, 9)
    return grey * (1 - rng.uniform(0.35, 0.55) / (1 + np.exp(-inside / 0.08)))


def _tyre_mark(rng: np.random.Generator, grey: np.ndarray) -> np.ndarray:
    """A broad, streaky, slightly bent band of rubber."""
    x = np.arange(grey.shape[1])
    across = _across(rng, grey.shape) + rng.uniform(-4e-4, 4e-4) * (x - grey.shape[1] / 2) ** 2
    width = rng.uniform(18, 45)
    tread = 0.75 + 0.25 * np.cos(2 * np.pi * across / rng.uniform(9, 15))
    band = 1 / (1 + np.exp((np.abs(across) - width) / 2.5))
    patchy = np.clip(0.8 + 0.3 * _noise(rng, grey.shape, 14), 0, 1)
    return grey * (1 - rng.uniform(0.15, 0.38) * band * tread * patchy)


def _joint(rng: np.random.Generator, grey: np.ndarray) -> np.ndarray:
    """A straight seam: as thin and dark as a crack, but of even width."""
    across = _across(rng, grey.shape)
    line = 1 / (1 + np.exp((np.abs(across) - rng.uniform(2, 6)) / 0.8))
    return grey * (1 - rng.uniform(0.25, 0.5) * line)


def _across(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Signed distance (drawing pixels) to a random straight line through the middle part of the picture."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    angle = rng.uniform(0, np.pi)
    cy, cx = rng.uniform(0.15, 0.85) * shape[0], rng.uniform(0.15, 0.85) * shape[1]
    return (x - cx) * np.sin(angle) - (y - cy) * np.cos(angle)


def _line_shadow(rng: np.random.Generator, grey: np.ndarray) -> np.ndarray:
    """The shadow of a cable or a bough: it runs like a crack, but has soft edges."""
    path, widths = _walk(rng, grey.shape, wander=0.08, width=rng.uniform(5, 11))
    shadow = ndimage.gaussian_filter(_stroke(grey.shape, path, widths).astype(float), rng.uniform(5, 8))
    return grey * (1 - rng.uniform(0.35, 0.6) * shadow)


def _broad_shadow(rng: np.random.Generator, grey: np.ndarray) -> np.ndarray:
    """Half the picture in the shade of something large."""
    edge = _across(rng, grey.shape) + 6 * _noise(rng, grey.shape, 30)
    return grey * (1 - rng.uniform(0.3, 0.5) / (1 + np.exp(edge / rng.uniform(2, 8))))


def _crack(rng: np.random.Generator, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A crack with branches, darkest in the middle of its course and fading towards its ends."""
    mask, strength = np.zeros(grey.shape, bool), np.zeros(grey.shape)
    path, widths = _walk(rng, grey.shape, wander=0.45, width=rng.uniform(4, 10))
    strokes = [(path, widths)]
    for _ in range(rng.integers(0, 4)):
        at = rng.integers(len(path) // 5, max(len(path) // 5 + 1, 4 * len(path) // 5))
        strokes.append(_walk(rng, grey.shape, wander=0.45, width=widths[at] * rng.uniform(0.5, 0.8), start=path[at], share=0.45))
    for points, thickness in strokes:
        mask |= _stroke(grey.shape, points, thickness)
        fade = 0.7 + 0.3 * np.sin(np.linspace(0, np.pi, len(points)))
        strength = np.maximum(strength, _stroke(grey.shape, points, thickness + 4, values=fade))
    uneven = np.clip(1 + 0.2 * _noise(rng, grey.shape, 8), 0.5, 1.3)
    soft = ndimage.gaussian_filter(mask.astype(float), 1.0)
    return grey * (1 - rng.uniform(0.36, 0.54) * np.clip(soft * strength * uneven, 0, 1)), mask


def _walk(rng, shape, wander, width, start=None, share=1.0) -> tuple[np.ndarray, np.ndarray]:
    """A wandering path: points (n, 2) as x and y, and the stroke's width at each point (drawing pixels)."""
    length = int(share * rng.uniform(0.6, 1.2) * shape[1] / 3)  # steps of 3 pixels
    if start is None:
        start = np.array([rng.uniform(0.05, 0.95) * shape[1], rng.uniform(0.05, 0.95) * shape[0]])
        heading = np.arctan2(shape[0] / 2 - start[1], shape[1] / 2 - start[0]) + rng.normal(0, 0.5)  # towards the middle
    else:
        heading = rng.uniform(0, 2 * np.pi)
    bends = ndimage.gaussian_filter1d(rng.standard_normal(length + 40), 8)[20:-20] * 4  # slow, and always back to the heading
    kinks = ndimage.gaussian_filter1d(rng.standard_normal(length), 1, mode="nearest") * 2
    angles = heading + wander * (bends + kinks)
    points = start + 3 * np.cumsum(np.stack([np.cos(angles), np.sin(angles)], axis=1), axis=0)
    swell = np.exp(ndimage.gaussian_filter1d(rng.standard_normal(length), 2, mode="nearest"))
    taper = np.clip(np.minimum(np.arange(length) + 4, length - np.arange(length) + 2) / 14, 0.4, 1)
    return points, np.clip(width * swell * taper, 3, 16)


def _stroke(shape, points, widths, values=None) -> np.ndarray:
    """Paint a path of varying width. Returns a bool mask, or floats if ``values`` gives the paint of each point."""
    canvas = Image.new("L", (shape[1], shape[0]))
    pen = ImageDraw.Draw(canvas)
    paint = np.full(len(points), 255) if values is None else np.clip(values * 255, 0, 255)
    for (x0, y0), (x1, y1), width, value in zip(points, points[1:], widths, paint, strict=False):
        pen.line([x0, y0, x1, y1], fill=int(value), width=max(1, round(width)))
        pen.ellipse([x1 - width / 2, y1 - width / 2, x1 + width / 2, y1 + width / 2], fill=int(value))
    array = np.asarray(canvas)
    return array > 127 if values is None else array / 255.0
