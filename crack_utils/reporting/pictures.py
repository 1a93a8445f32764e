"""Arrays in, HTML out: photos, masks and errors as pictures of a page. A page holds each photo once."""

import base64
import html
import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from crack_utils.data import Crop
from crack_utils.scoring import SEG_THRESHOLDS, exceeded
from crack_utils.store import Example

HIT, MISS, FALSE_ALARM = (86, 180, 233), (240, 228, 66), (213, 94, 0)  # sky blue, yellow, vermilion on grey asphalt
COLORS = {"hit": HIT, "miss": MISS, "false alarm": FALSE_ALARM}
QUALITIES = ((1024, 80), (800, 72), (640, 64), (480, 56), (320, 50))  # longest side in px and WebP quality, best first
BUDGET = 130_000  # characters for an example, so that a page with 30 examples stays below 5 MB
LEAST_PHOTO = 25_000  # characters that the maps leave for the coarsest photo


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def data_uri(image: Image.Image, kind: str, **options: object) -> str:
    """An image as the address of an ``<img>``."""
    return f"data:image/{kind.lower()};base64,{base64.b64encode(encode(image, kind, **options)).decode()}"


def photo_uri(image: np.ndarray, side: int = 1024, quality: int = 80) -> str:
    """A photo (H, W) or (H, W, C) uint8 as WebP, at most ``side`` pixels long."""
    photo = Image.fromarray(np.ascontiguousarray(image.squeeze()))
    photo.thumbnail((side, side), Image.Resampling.LANCZOS)
    return data_uri(photo, "WEBP", quality=quality, method=4)


def levels_uri(levels: np.ndarray) -> str:
    """An (H, W) map of whole numbers below 256, a byte a pixel, lossless."""
    grey = Image.fromarray(levels.astype(np.uint8))
    if max(levels.shape) > 16383:  # more than WebP can hold
        return data_uri(grey, "PNG", optimize=True)
    return data_uri(grey.convert("RGB"), "WEBP", lossless=True, quality=90, method=4)


def errors_uri(hit: np.ndarray, miss: np.ndarray, false_alarm: np.ndarray) -> str:
    """Hits, misses and false alarms (H, W) in their colours. Other pixels are transparent."""
    picture = Image.fromarray(np.select([false_alarm, miss, hit], [3, 2, 1]).astype(np.uint8), mode="P")
    picture.putpalette([0, 0, 0, *HIT, *MISS, *FALSE_ALARM])
    return data_uri(picture, "PNG", transparency=0, optimize=True)


def overlap(image: np.ndarray, hit: np.ndarray, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
    """The photo in grey, with hits, misses and false alarms in their colours: (H, W, 3) uint8."""
    grey = image.mean(axis=2) if image.ndim == 3 else image
    picture = np.repeat((0.75 * grey).astype(np.uint8)[..., None], 3, axis=2)
    picture[hit], picture[miss], picture[false_alarm] = HIT, MISS, FALSE_ALARM
    return picture


def outlined(crop: Crop, width: int = 480) -> np.ndarray:
    """A crop's photo, at most ``width`` wide, with the truth's outline in yellow: (H, W, 3) uint8."""
    scale = min(1.0, width / crop.mask.shape[1])
    size = [round(side * scale) for side in crop.mask.shape[::-1]]
    photo = cv2.resize(crop.image, size, interpolation=cv2.INTER_AREA)
    photo = cv2.cvtColor(photo, cv2.COLOR_GRAY2RGB) if photo.ndim == 2 else photo
    contours, _ = cv2.findContours(crop.mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(photo, [np.round(contour * scale).astype(np.int32) for contour in contours], -1, MISS, 1)


def gallery(photos: Sequence[tuple[str, np.ndarray]], alt: str, columns: int = 4) -> str:
    """Photos (H, W, 3) side by side, each above its name."""
    image = '<img src="{}" alt="{}" style="width:100%">'
    return _grid([(name, image.format(photo_uri(photo, 480, 72), html.escape(f"{alt}: {name}"))) for name, photo in photos], columns)


def cases(examples: Sequence[Example], kind: str) -> tuple[str, int]:
    """A row an example as HTML: photo, truth, probability, and the errors over the photo. The page's script needs nothing else.

    Maps are exact. Photos are made coarser until the examples keep to BUDGET. If the maps alone exceed the budget, the last examples
    are left out. Returns the HTML and the number of examples in the HTML.
    """
    budget, size, maps = BUDGET * len(examples), 0, []
    for example in examples:
        # The script redoes every count from the number of thresholds that each pixel's probability exceeds.
        levels, truth = levels_uri(exceeded(example.seg_prob, SEG_THRESHOLDS)), Image.fromarray(example.mask.astype(bool))
        uris = (levels, data_uri(truth, "PNG", optimize=True), errors_uri(*example.errors))
        size += sum(map(len, uris))
        if maps and size > budget - LEAST_PHOTO * (len(maps) + 1):
            break
        maps.append(uris)
    left = budget - sum(len(uri) for uris in maps for uri in uris)
    for side, quality in QUALITIES:
        photos = [photo_uri(example.image, side, quality) for example in examples[: len(maps)]]
        if sum(map(len, photos)) <= left:
            break
    rows = [_case(kind, i, example, photo, *uris) for i, (example, photo, uris) in enumerate(zip(examples, photos, maps, strict=False))]
    return "".join(rows), len(rows)


def _case(kind: str, number: int, example: Example, photo: str, levels: str, truth: str, errors: str) -> str:
    (height, width), stem, case = example.mask.shape, html.escape(example.stem), f"{kind}-{number}"
    size = f'width="{width}" height="{height}"'
    photo = f'<image id="photo-{case}" href="{photo}" {size} preserveAspectRatio="none"/>'
    truth = f'<image id="truth-{case}" href="{truth}" {size}/>'
    levels = f'<image id="levels-{case}" href="{levels}" {size} style="filter:brightness(1.41)"/>'
    errors = f'<use href="#photo-{case}"/><image id="errors-{case}" href="{errors}" {size} style="image-rendering:pixelated"/>'
    shown = {"image": ("Image", photo), "truth": ("True crack mask", truth), "probability": ("Predicted probability", levels)}
    shown["errors"] = "Hits, misses and false alarms over the image", errors
    svg = '<svg role="img" aria-label="{} of {}" viewBox="0 0 {} {}" style="width:100%">{}</svg>'
    pictures = _grid([(name, svg.format(alt, stem, width, height, images)) for name, (alt, images) in shown.items()], 4)
    score, decided = f"F1 {example.f1:.3f}" if example.mask.any() else "no crack", "crack" if example.decided else "no crack"
    title = f"{stem} · {score} · decided {decided} (score {example.decision_prob:.3f})"
    about = f'data-case="{case}" data-kind="{kind}" data-stem="{stem}" data-width="{width}" data-height="{height}"'
    about += " data-emptied" if np.isinf(example.threshold) else ""  # by blackening; no threshold changes this mask
    return f'<div class="case" id="case-{case}" {about}><p class="case-title">{title}</p>{pictures}</div>'


def still(kind: str, example: Example) -> str:
    """The first case of a kind once more, large. The picture refers to the data of the first case."""
    height, width = example.mask.shape
    alt = f"Hits, misses and false alarms over the image {html.escape(example.stem)}"
    uses = f'<use href="#photo-{kind}-0"/><use href="#errors-{kind}-0"/>'
    return f'<svg role="img" aria-label="{alt}" viewBox="0 0 {width} {height}" style="width:100%;max-width:{2 * width}px">{uses}</svg>'


def legend() -> str:
    """The meaning of the colours, as HTML."""
    swatch = '<i style="display:inline-block;width:.9em;height:.9em;background:rgb{}"></i>'
    keys = [f"<span>{swatch.format(color)} {name}</span>" for name, color in COLORS.items()]
    return f'<p class="legend">{" ".join(keys)}</p>'


def _grid(pictures: Sequence[tuple[str, str]], columns: int) -> str:
    """Pictures side by side, from the name and the HTML of each."""
    shown = [f'<div class="picture">{picture}<span>{html.escape(name)}</span></div>' for name, picture in pictures]
    style = f"display:grid;grid-template-columns:repeat({columns},minmax(0,1fr));gap:8px"
    return f'<div class="pictures" data-columns="{columns}" style="{style}">{"".join(shown)}</div>'
