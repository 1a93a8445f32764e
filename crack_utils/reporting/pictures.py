"""Arrays in, HTML out: photos, masks and errors as pictures of a page. A page holds each photo once."""

import base64
import dataclasses
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


def mask_uri(mask: np.ndarray) -> str:
    """A mask (H, W), true on crack, in black and white."""
    return data_uri(Image.fromarray(np.asarray(mask, bool)), "PNG", optimize=True)


def levels_uri(levels: np.ndarray) -> str:
    """An (H, W) map of whole numbers below 256, a byte a pixel, lossless."""
    grey = Image.fromarray(levels.astype(np.uint8))
    if max(levels.shape) > 16383:  # more than WebP can hold
        return data_uri(grey, "PNG", optimize=True)
    return data_uri(grey.convert("RGB"), "WEBP", lossless=True, quality=90, method=4)


def errors_uri(hit: np.ndarray, miss: np.ndarray, false_alarm: np.ndarray) -> str:
    """Hits, misses and false alarms (H, W) in their colours. Other pixels are transparent."""
    index = np.zeros(hit.shape, np.uint8)
    for number, where in enumerate((hit, miss, false_alarm), start=1):
        index[where] = number
    picture = Image.fromarray(index, mode="P")
    picture.putpalette([0, 0, 0, *HIT, *MISS, *FALSE_ALARM])
    return data_uri(picture, "PNG", transparency=0, optimize=True)


def overlap(image: np.ndarray, hit: np.ndarray, miss: np.ndarray, false_alarm: np.ndarray) -> np.ndarray:
    """The photo in grey, with hits, misses and false alarms in their colours: (H, W, 3) uint8."""
    grey = image.mean(axis=2) if image.ndim == 3 else image
    picture = np.repeat((0.75 * grey).astype(np.uint8)[..., None], 3, axis=2)
    for where, color in ((hit, HIT), (miss, MISS), (false_alarm, FALSE_ALARM)):
        picture[where] = color
    return picture


def outlined(crop: Crop, width: int = 480) -> np.ndarray:
    """A crop's photo, at most ``width`` wide, with the truth's outline in yellow: (H, W, 3) uint8."""
    scale = min(1.0, width / crop.mask.shape[1])
    size = (round(crop.mask.shape[1] * scale), round(crop.mask.shape[0] * scale))
    photo = cv2.resize(crop.image, size, interpolation=cv2.INTER_AREA).reshape(*size[::-1], -1)
    photo = np.repeat(photo, 3, axis=2) if photo.shape[2] == 1 else photo
    contours, _ = cv2.findContours(crop.mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    scaled = [np.round(contour * scale).astype(np.int32) for contour in contours]
    return cv2.drawContours(np.ascontiguousarray(photo), scaled, -1, MISS, 1)


def gallery(photos: Sequence[tuple[str, np.ndarray]], alt: str, columns: int = 4) -> str:
    """Photos (H, W, 3) side by side, each above its name."""
    pictures = [
        _picture(f'<img src="{photo_uri(photo, 480, 72)}" alt="{html.escape(f"{alt}: {name}")}" style="width:100%">', name)
        for name, photo in photos
    ]
    return _grid(pictures, columns)


QUALITIES = ((1024, 80), (800, 72), (640, 64), (480, 56), (320, 50))  # longest side in px and WebP quality, best first
BUDGET = 130_000  # characters for an example, so that a page with 30 examples stays below 5 MB
LEAST_PHOTO = 25_000  # characters that the maps leave for the coarsest photo


@dataclasses.dataclass(frozen=True)
class Case:
    """An example and its number among those of its ``kind`` on a page."""

    kind: str
    number: int
    example: Example

    @property
    def id(self) -> str:
        return f"{self.kind}-{self.number}"

    @property
    def is_emptied(self) -> bool:
        """Whether the run emptied the mask (blackening). Then no threshold changes the mask."""
        return bool(np.isinf(self.example.threshold))

    @property
    def levels(self) -> np.ndarray:
        """How many of the 180 thresholds each pixel's probability exceeds, (H, W). The page's script redoes every count from this map."""
        return exceeded(self.example.seg_prob, SEG_THRESHOLDS)

    @property
    def title(self) -> str:
        example = self.example
        score = f"F1 {example.f1:.3f}" if example.mask.any() else "no crack"
        decided = "decided crack" if example.decided else "decided no crack"
        return f"{example.stem} · {score} · {decided} (score {example.decision_prob:.3f})"


def cases(examples: Sequence[Example], kind: str) -> tuple[str, int]:
    """A row an example: photo, truth, probability, and the errors over the photo. The page's script needs nothing else.

    Maps are exact. Photos are made coarser until the examples keep to BUDGET.

    Returns:
        HTML, and the number of examples in the HTML. If the maps alone exceed the budget, the last examples are left out.
    """
    budget = BUDGET * len(examples)
    exact, size = [], 0
    for number, example in enumerate(examples):
        case = Case(kind, number, example)
        uris = (levels_uri(case.levels), mask_uri(example.mask), errors_uri(*example.errors))
        size += sum(map(len, uris))
        if exact and size > budget - LEAST_PHOTO * (number + 1):
            break
        exact.append((case, *uris))
    left = budget - sum(len(uri) for _, *uris in exact for uri in uris)
    for side, quality in QUALITIES:
        photos = [photo_uri(case.example.image, side, quality) for case, *_ in exact]
        if sum(map(len, photos)) <= left:
            break
    return "".join(_case(case, photo, *uris) for photo, (case, *uris) in zip(photos, exact, strict=True)), len(exact)


def _case(case: Case, photo: str, levels: str, truth: str, errors: str) -> str:
    height, width = case.example.mask.shape
    stem = html.escape(case.example.stem)
    size = f'width="{width}" height="{height}"'

    def svg(alt: str, images: str) -> str:
        return f'<svg role="img" aria-label="{alt} of {stem}" viewBox="0 0 {width} {height}" style="width:100%">{images}</svg>'

    photo = f'<image id="photo-{case.id}" href="{photo}" {size} preserveAspectRatio="none"/>'
    truth = f'<image id="truth-{case.id}" href="{truth}" {size}/>'
    levels = f'<image id="levels-{case.id}" href="{levels}" {size} style="filter:brightness(1.41)"/>'
    errors = f'<use href="#photo-{case.id}"/><image id="errors-{case.id}" href="{errors}" {size} style="image-rendering:pixelated"/>'
    pictures = [
        _picture(svg("Image", photo), "image"),
        _picture(svg("True crack mask", truth), "truth"),
        _picture(svg("Predicted probability", levels), "probability"),
        _picture(svg("Hits, misses and false alarms over the image", errors), "errors"),
    ]
    about = f'data-case="{case.id}" data-kind="{case.kind}" data-stem="{stem}" data-width="{width}" data-height="{height}"'
    about += " data-emptied" if case.is_emptied else ""
    return f'<div class="case" id="case-{case.id}" {about}><p class="case-title">{html.escape(case.title)}</p>{_grid(pictures, 4)}</div>'


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


def _picture(picture: str, name: str) -> str:
    return f'<div class="picture">{picture}<span>{html.escape(name)}</span></div>'


def _grid(pictures: Sequence[str], columns: int) -> str:
    style = f"display:grid;grid-template-columns:repeat({columns},minmax(0,1fr));gap:8px"
    return f'<div class="pictures" data-columns="{columns}" style="{style}">{"".join(pictures)}</div>'
