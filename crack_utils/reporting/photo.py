"""The cracks that a run found in a photo, as a picture, sentences and files."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from crack_utils.data import WHOLE_UP_TO, PhotoRows, ground_scale, open_rows, write_grey_png
from crack_utils.errors import DataError, UserError
from crack_utils.evaluation import LargePrediction, PhotoPrediction, Predictor
from crack_utils.scoring import HALO, to_millimetres
from crack_utils.store import written_whole

CRACK_COLOR, STRENGTH = (213, 94, 0), 0.7  # vermilion, which colour-blind readers can tell from grey; its share in a pixel
OVERLAY_PX = 2**25  # pixels of the overlay of a large photo, at most


def overlay(prediction: PhotoPrediction) -> np.ndarray:
    """The photo with a transparent colour over its predicted cracks: (H, W, 3) uint8."""
    return _coloured(prediction.image, prediction.mask)


def _coloured(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    picture = np.repeat(image, 3 // image.shape[2], axis=2)
    picture[mask] = np.round(STRENGTH * np.array(CRACK_COLOR) + (1 - STRENGTH) * picture[mask])
    return picture


def reduced_overlay(photo: PhotoRows, prediction: LargePrediction, times: int) -> np.ndarray:
    """The overlay of a large photo, ``times`` smaller in height and width, (H, W, 3) uint8. Cracks keep at least a pixel of width."""
    parts = []
    for top, bottom in prediction.bands(256 // times * times or times):
        image = photo.rows(top, bottom)
        small = np.asarray(Image.fromarray(image.squeeze(axis=2) if photo.channels == 1 else image).reduce(times))
        mask = prediction.mask_rows(top, bottom)
        for axis in (0, 1):
            mask = np.logical_or.reduceat(mask, np.arange(0, mask.shape[axis], times), axis=axis)
        parts.append(_coloured(small.reshape(*small.shape[:2], photo.channels), mask))
    return np.concatenate(parts)


def describe(prediction: PhotoPrediction | LargePrediction, mm_per_px: float | None = None) -> str:
    """The prediction in plain sentences, one on each line. ``mm_per_px``, the side of a pixel on the road, gives lengths in mm too.

    Raises:
        ValueError: ``mm_per_px`` is not above 0.
    """
    decided = "crack" if prediction.decided else "no crack"
    lines = [f"Decided: {decided} (probability {prediction.decision_prob:.4g}; threshold {prediction.decision_threshold:.4g})."]
    if not prediction.decision_trained:
        lines.append("The run did not train the decision (decision_loss is off), so the decision comes from random weights.")
    if math.isinf(prediction.threshold):
        lines.append("Crack pixels: none. The run empties the mask of every photo that is decided crack-free (blackening).")
    else:
        lines.append(f"Crack pixels: {100 * prediction.crack_share:.2f} % of the photo (probability above {prediction.threshold:.4g}).")
    if prediction.crack_share:
        lines.append(f"{_describe_geometry(prediction.geometry, 'px')}.")
        if mm_per_px is not None:
            lines.append(f"{_describe_geometry(to_millimetres(prediction.geometry, mm_per_px), 'mm')} (1 px is {mm_per_px:g} mm).")
        if isinstance(prediction, LargePrediction):
            lines.append(f"The large photo was measured in parts: cracks up to {HALO} px wide are exact, wider ones come out too narrow.")
    return "\n".join(lines)


def _describe_geometry(geometry: dict[str, float], unit: str) -> str:
    length, mean, p95 = (geometry[f"{name}_{unit}"] for name in ("length", "width_mean", "width_p95"))
    if math.isnan(mean):
        return f"Crack length: {length:.0f} {unit}; no width, because the whole photo is predicted as crack"
    return f"Crack length: {length:.0f} {unit}; width: {mean:.1f} {unit} on average, at most {p95:.1f} {unit} along 95 % of the length"


def predict_file(
    predictor: Predictor,
    path: Path,
    folder: Path,
    mm_per_px: float | None = None,
    name: str | None = None,
    whole_up_to: int = WHOLE_UP_TO,
) -> str:
    """Predict a photo from its file. Write its overlay (``NAME_cracks.png``) and mask (``NAME_mask.png``, 0 and 255) into ``folder``.

    Args:
        mm_per_px: the side of a pixel on the road; by default what a GeoTIFF states, or else the value of the run.
        name: by default the photo's name without suffix.
        whole_up_to: photos of more pixels are searched by rows.

    Returns the photo's name, the description, and the paths of the pictures. Raise DataError if the photo does not exist or is no image,
    and UserError if a picture's file exists already: the file may be a photo, or the true mask of a photo.
    """
    targets = [folder / f"{name or path.stem}_{what}.png" for what in ("cracks", "mask")]
    if existing := next(filter(Path.exists, targets), None):
        raise UserError(f"{existing} exists already; remove the file, or write the pictures of {path} to another folder (--output)")
    if not path.is_file():
        what = "is a folder without photos" if path.is_dir() else "is no file"
        raise DataError(f"there is no photo {path}: it {what}; give the path of an image file, or a folder of them")
    with open_rows(path, predictor.params.input_channels, whole_up_to) as photo:
        if min(photo.size) < 2:
            raise DataError(f"{path} has {photo.size[1]} x {photo.size[0]} pixels; photos have at least 2 x 2 pixels")
        try:
            prediction = predictor.predict_large(photo) if photo.is_large else predictor(photo.rows(0, photo.size[0]))
        except DataError as error:
            raise error if str(path) in str(error) else DataError(f"{path}: {error}") from None
        scaled = _write_large(photo, prediction, targets) if photo.is_large else _write(prediction, targets)
        notes = photo.notes()
    written = f"Written: {targets[0]}{scaled}, {targets[1]}"
    return "\n".join([str(path), *_described(prediction, path, mm_per_px, predictor.params.mm_per_px), *notes, written])


def _described(
    prediction: PhotoPrediction | LargePrediction, path: Path, mm_per_px: float | None, mm_of_run: float | None
) -> Iterator[str]:
    """The description, and where the side of a pixel comes from if nobody gave it."""
    own, source = (None, "") if mm_per_px else ground_scale(path)
    mm_per_px = mm_per_px or own or mm_of_run
    yield describe(prediction, mm_per_px)
    if source and prediction.crack_share and (own or not mm_per_px):
        yield source


def _write(prediction: PhotoPrediction, targets: list[Path]) -> str:
    for target, picture in zip(targets, (overlay(prediction), prediction.mask.astype(np.uint8) * 255), strict=True):
        with written_whole(target) as scratch:
            Image.fromarray(picture).save(scratch, format="PNG")
    return ""


def _write_large(photo: PhotoRows, prediction: LargePrediction, targets: list[Path]) -> str:
    """Write the overlay, scaled down if need be, and the mask in full. Returns what to say of the scale."""
    times = math.ceil(math.sqrt(math.prod(photo.size) / OVERLAY_PX))
    with written_whole(targets[0]) as scratch:
        Image.fromarray(reduced_overlay(photo, prediction, times)).save(scratch, format="PNG")
    with written_whole(targets[1]) as scratch:
        rows = (prediction.mask_rows(top, bottom).astype(np.uint8) * 255 for top, bottom in prediction.bands())
        write_grey_png(scratch, photo.size, rows)
    return f" (scaled down {times} times in height and width)" if times > 1 else ""
