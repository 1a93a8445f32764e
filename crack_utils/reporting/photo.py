"""The cracks that a run found in a photo, as a picture, sentences and files."""

import math
from pathlib import Path

import numpy as np
from PIL import Image

from crack_utils.errors import DataError, UserError
from crack_utils.evaluation import PhotoPrediction, Predictor, read_photo
from crack_utils.scoring import to_millimetres
from crack_utils.store import written_whole

CRACK_COLOR, STRENGTH = (213, 94, 0), 0.7  # vermilion, which colour-blind readers can tell from grey; its share in a pixel


def overlay(prediction: PhotoPrediction) -> np.ndarray:
    """The photo with a transparent colour over its predicted cracks: (H, W, 3) uint8."""
    picture = np.repeat(prediction.image, 3 // prediction.image.shape[2], axis=2)
    crack = picture[prediction.mask]
    picture[prediction.mask] = np.round(STRENGTH * np.array(CRACK_COLOR) + (1 - STRENGTH) * crack)
    return picture


def describe(prediction: PhotoPrediction, mm_per_px: float | None = None) -> str:
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
        lines.append(f"Crack pixels: {100 * prediction.mask.mean():.2f} % of the photo (probability above {prediction.threshold:.4g}).")
    if prediction.mask.any():
        lines.append(f"{_describe_geometry(prediction.geometry, 'px')}.")
        if mm_per_px is not None:
            lines.append(f"{_describe_geometry(to_millimetres(prediction.geometry, mm_per_px), 'mm')} (1 px is {mm_per_px:g} mm).")
    return "\n".join(lines)


def _describe_geometry(geometry: dict[str, float], unit: str) -> str:
    length, mean, p95 = (geometry[f"{name}_{unit}"] for name in ("length", "width_mean", "width_p95"))
    if math.isnan(mean):
        return f"Crack length: {length:.0f} {unit}; no width, because the whole photo is predicted as crack"
    return f"Crack length: {length:.0f} {unit}; width: {mean:.1f} {unit} on average, at most {p95:.1f} {unit} along 95 % of the length"


def predict_file(predictor: Predictor, path: Path, folder: Path, mm_per_px: float | None = None) -> str:
    """Predict a photo from its file. Write its overlay (``STEM_cracks.png``) and mask (``STEM_mask.png``, 0 and 255) into ``folder``.

    Returns the photo's name, the description, and the paths of the pictures. Raise DataError if the photo does not exist or is no image,
    and UserError if a picture's file exists already: the file may be a photo, or the true mask of a photo.
    """
    targets = [folder / f"{path.stem}_{what}.png" for what in ("cracks", "mask")]
    if existing := next(filter(Path.exists, targets), None):
        raise UserError(f"{existing} exists already; remove the file, or write the pictures of {path} to another folder (--output)")
    photo = read_photo(path, predictor.params.input_channels)
    try:
        prediction = predictor(photo)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    for target, picture in zip(targets, (overlay(prediction), prediction.mask.astype(np.uint8) * 255), strict=True):
        with written_whole(target) as scratch:
            Image.fromarray(picture).save(scratch, format="PNG")
    return f"{path}\n{describe(prediction, mm_per_px)}\nWritten: {targets[0]}, {targets[1]}"
