"""A trained run on any photo: decide, segment, measure.

The network sees photos as it saw the crops it learned from. A photo of at most a crop's size goes through it whole, exactly as
evaluation does it; a larger one goes tile by tile, and tiles that overlap are blended.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from crack_utils import evaluation
from crack_utils.artifacts import Run, written_whole
from crack_utils.data import Placement, fit_image, place, unfit
from crack_utils.errors import DataError, ParameterError, UserError
from crack_utils.geometry import crack_geometry, to_millimetres
from crack_utils.layouts import decode

OVERLAP = 0.25  # of a tile's side, at least: what one tile sees at its edge, another sees with more around it
CRACK_COLOR, STRENGTH = (213, 94, 0), 0.7  # vermilion, told from grey asphalt by colour-blind readers; share of it in a pixel


def read_photo(source: Path | str | bytes | memoryview, channels: int) -> np.ndarray:
    """Decode a photo, turned as its EXIF says.

    Args:
        source: a file's path, or its bytes.
        channels: 3 for colour, 1 for grey: what the run takes (its ``input_channels``).

    Returns:
        (H, W, channels) uint8.

    Raises:
        DataError: there is no such file, or it is no image of 8 bits a channel.
    """
    source = Path(source) if isinstance(source, str) else source
    if isinstance(source, Path) and not source.is_file():
        raise DataError(f"there is no photo {source}; give the path of an image file")
    image = decode(source if isinstance(source, Path) else bytes(source), "RGB" if channels == 3 else "L")
    return image.reshape(*image.shape[:2], channels)


@dataclasses.dataclass(frozen=True)
class PhotoPrediction:
    """What a run says of one photo."""

    image: np.ndarray  # (H, W, C) uint8
    seg_prob: np.ndarray  # (H, W) float32
    decision_prob: float
    decided: bool
    threshold: float  # this photo's, of segmentation: infinite where the mask is emptied
    decision_threshold: float
    decision_trained: bool  # else the decision is that of random weights

    @functools.cached_property
    def mask(self) -> np.ndarray:
        """(H, W) bool: predicted as crack."""
        return self.seg_prob.astype(np.float64) > self.threshold

    @functools.cached_property
    def geometry(self) -> dict[str, float]:
        """The mask's ``length_px``, ``width_mean_px``, ``width_p95_px`` and ``density`` (see :func:`geometry.crack_geometry`)."""
        return crack_geometry(self.mask)


class Predictor:
    """The network of a trained and evaluated run, loaded once for many photos.

    Raises:
        MissingRun: the run was not trained, or not evaluated.
    """

    def __init__(self, run: Run):
        self.params, facts, metrics = run.load_params(), run.load_facts(), run.load_metrics()
        self.input_size = facts["input_height"], facts["input_width"]
        self.scale = facts.get("scale", 1.0)  # runs of an earlier version did not keep it
        self.threshold, self.decision_threshold = metrics["segmentation_2px"]["threshold"], metrics["decision"]["threshold"]
        try:
            self.device = evaluation.resolve_device(self.params.device)
        except ParameterError:  # trained on another machine
            self.device = evaluation.resolve_device("auto")
        self.model = evaluation.build_model(self.params, fresh=False)
        run.load_model(self.model)
        self.model.to(self.device).eval()

    def __call__(self, image: np.ndarray, on_tile: Callable[[int, int], None] | None = None) -> PhotoPrediction:
        """Predict a photo (H, W, C) uint8 of any size.

        Its decision is the highest of its tiles': a photo is cracked if any part of it is. So the more tiles, the more easily it is
        decided cracked, rightly or wrongly.

        Args:
            on_tile: is called with how many tiles are done and how many there are, before the first and after each.

        Raises:
            DataError: an array of another shape or type.
            UserError: the network's predictions are not numbers.
        """
        channels = self.params.input_channels
        if image.ndim != 3 or image.shape[2] != channels or image.dtype != np.uint8 or min(image.shape[:2]) < 2:
            raise DataError(
                f"the photo is an array of {image.shape} {image.dtype}; the run takes (height, width, {channels}) uint8 of at least 2 x 2 "
                f"pixels, as read_photo(path, {channels}) gives it"
            )
        seg_prob, decision_prob = self._predict_tiles(image, on_tile or (lambda done, total: None))
        decided = decision_prob >= self.decision_threshold
        threshold = evaluation.applied_threshold(seg_prob, decided, self.threshold, self.params)
        trained = self.params.decision_loss
        return PhotoPrediction(image, seg_prob, decision_prob, decided, threshold, self.decision_threshold, trained)

    def _predict_tiles(self, image: np.ndarray, on_tile: Callable[[int, int], None]) -> tuple[np.ndarray, float]:
        """Segmentation probabilities (H, W) float32, blended, and the highest decision probability."""
        seg_prob, decision_prob = np.zeros(image.shape[:2], np.float32), 0.0
        whole = place(image.shape[:2], self.input_size)
        if whole.scale >= self.scale:  # as evaluation has it: a photo smaller than a crop is scaled down less, or not at all
            tile, placement = image.shape[:2], whole
        else:
            tile, placement = tile_size(image.shape[:2], self.input_size, self.scale)
        tiles = list(itertools.product(blend(image.shape[0], tile[0]), blend(image.shape[1], tile[1])))
        on_tile(0, len(tiles))
        for number, ((top, row_weights), (left, column_weights)) in enumerate(tiles, start=1):
            part = np.s_[top : top + tile[0], left : left + tile[1]]
            tile_prob, tile_decision_prob = self._predict_tile(image[part], placement)
            seg_prob[part] += row_weights[:, None] * column_weights * tile_prob
            decision_prob = max(decision_prob, tile_decision_prob)
            on_tile(number, len(tiles))
        return np.minimum(seg_prob, 1, out=seg_prob), decision_prob  # the weights add up to 1 but for rounding

    @torch.inference_mode()
    def _predict_tile(self, tile: np.ndarray, placement: Placement) -> tuple[np.ndarray, float]:
        """Segmentation probabilities of a tile at its own size, (H, W) float32, and its decision probability."""
        image = fit_image(tile, placement, self.input_size)
        decision_logits, seg_logits = self.model(image[None].to(self.device))
        seg_prob = unfit(seg_logits.sigmoid()[0, 0], placement).cpu().numpy()
        evaluation.check_finite(seg_prob)
        return seg_prob, decision_logits.sigmoid().item()


def predict_photo(run: Run, image: np.ndarray) -> PhotoPrediction:
    """Predict one photo by a trained and evaluated run (see :class:`Predictor`)."""
    return Predictor(run)(image)


# --- tiles -----------------------------------------------------------------------------------------------------------


def tile_size(size: tuple[int, int], input_size: tuple[int, int], scale: float) -> tuple[tuple[int, int], Placement]:
    """The (height, width) of a photo's tiles in its own pixels, and how each lies in the input.

    At ``scale`` a tile fills the input, lying as the input lies; where the photo is narrower than that, the rest is padding.
    """
    height, width = (min(side, round(inputs / scale)) for side, inputs in zip(size, input_size, strict=True))
    inner = [min(inputs, max(1, round(side * scale))) for side, inputs in zip((height, width), input_size, strict=True)]
    top, left = ((inputs - side) // 2 for side, inputs in zip(inner, input_size, strict=True))
    return (height, width), Placement(height, width, False, *inner, top, left)


def blend(side: int, tile: int) -> list[tuple[int, np.ndarray]]:
    """Where tiles begin along a side of ``side`` pixels, and the weights (tile,) float32 of each one's pixels.

    Tiles overlap by at least OVERLAP. A weight falls evenly from the tile's middle to its edges; at every pixel the weights add up
    to 1, so that no seam is left.
    """
    steps = math.ceil((side - tile) / max(1, (1 - OVERLAP) * tile))
    starts = np.linspace(0, side - tile, steps + 1).round().astype(int).tolist()
    ramp = np.minimum(np.arange(1, tile + 1), np.arange(tile, 0, -1)).astype(np.float64)
    total = np.zeros(side)
    for start in starts:
        total[start : start + tile] += ramp
    return [(start, (ramp / total[start : start + tile]).astype(np.float32)) for start in starts]


# --- showing ---------------------------------------------------------------------------------------------------------


def overlay(prediction: PhotoPrediction) -> np.ndarray:
    """The photo with its predicted crack coloured, the photo shining through: (H, W, 3) uint8."""
    picture = np.repeat(prediction.image, 3 // prediction.image.shape[2], axis=2)
    crack = picture[prediction.mask]
    picture[prediction.mask] = np.round(STRENGTH * np.array(CRACK_COLOR) + (1 - STRENGTH) * crack)
    return picture


def describe(prediction: PhotoPrediction, mm_per_px: float | None = None) -> str:
    """The prediction in plain sentences, a line each.

    Args:
        mm_per_px: side of a pixel on the road in mm, to give length and width in mm too.

    Raises:
        ValueError: ``mm_per_px`` is not above 0.
    """
    share, called = 100 * prediction.mask.mean(), "crack" if prediction.decided else "no crack"
    chosen = f"from {prediction.decision_threshold:.4g} on it counts as crack"
    lines = [f"Decided: {called} (probability {prediction.decision_prob:.4g}; {chosen})."]
    if not prediction.decision_trained:
        lines.append("The run did not train its decision (decision_loss is off): it is that of random weights.")
    if math.isinf(prediction.threshold):
        lines.append("Crack pixels: none, as the run empties the mask of what it decides to be crack-free (blackening).")
    else:
        lines.append(f"Crack pixels: {share:.2f} % of the photo (probability above {prediction.threshold:.4g}).")
    if prediction.mask.any():
        lines.append(f"{_describe_geometry(prediction.geometry, 'px')}.")
        if mm_per_px is not None:
            lines.append(f"{_describe_geometry(to_millimetres(prediction.geometry, mm_per_px), 'mm')} (1 px is {mm_per_px:g} mm).")
    return "\n".join(lines)


def _describe_geometry(geometry: dict[str, float], unit: str) -> str:
    length, mean, p95 = (geometry[f"{name}_{unit}"] for name in ("length", "width_mean", "width_p95"))
    if math.isnan(mean):
        return f"Crack length: {length:.0f} {unit}; no width, as all of the photo is predicted as crack"
    return f"Crack length: {length:.0f} {unit}; width: {mean:.1f} {unit} on average, at most {p95:.1f} {unit} along 95 % of it"


def predict_file(predictor: Predictor, path: Path, folder: Path, mm_per_px: float | None = None) -> str:
    """Predict a photo from its file; write its overlay (``STEM_cracks.png``) and mask (``STEM_mask.png``, 0 and 255) into ``folder``.

    Returns:
        The photo's name, the description and where the pictures are.

    Raises:
        DataError: no such photo, or not an image.
        UserError: a picture's file is there already: it may be a photo, or the true mask of one.
    """
    targets = [folder / f"{path.stem}_{what}.png" for what in ("cracks", "mask")]
    for target in targets:
        if target.exists():
            raise UserError(f"{target} is there already; remove it, or have what is found in {path} written to another folder (--output)")
    photo = read_photo(path, predictor.params.input_channels)
    try:
        prediction = predictor(photo)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    for target, picture in zip(targets, (overlay(prediction), prediction.mask.astype(np.uint8) * 255), strict=True):
        with written_whole(target) as scratch:
            Image.fromarray(picture).save(scratch, format="PNG")
    return f"{path}\n{describe(prediction, mm_per_px)}\nWritten: {targets[0]}, {targets[1]}"
