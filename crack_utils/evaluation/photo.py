"""Find cracks in a photo of any size with a trained run."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from crack_utils.data import PhotoRows, Placement, decode, fit_image, place, unfit
from crack_utils.errors import DataError, ParameterError
from crack_utils.evaluation.large_photo import LargePrediction
from crack_utils.evaluation.run import LOWERED, applied_threshold
from crack_utils.networks import InPrecision, build_model, prediction_precision, resolve_device, tf32
from crack_utils.scoring import check_finite, crack_geometry
from crack_utils.store import Run, computed_in

OVERLAP = 0.25  # least overlap, as a share of a tile's side: a network sees little around the edge of a tile


def read_photo(source: Path | str | bytes | memoryview, channels: int) -> np.ndarray:
    """Decode a photo, turned as its EXIF data says, to (H, W, channels) uint8.

    ``source`` is the path or the bytes of a file; ``channels`` are the run's ``input_channels``: 3 for colour, 1 for grey. Raise DataError
    if the file does not exist, or is no image of 8 or 16 bits a channel.
    """
    source = Path(source) if isinstance(source, str) else source
    if isinstance(source, Path) and not source.is_file():
        raise DataError(f"there is no photo {source}; give the path of an image file")
    image = decode(source if isinstance(source, Path) else bytes(source), "RGB" if channels == 3 else "L")
    return image.reshape(*image.shape[:2], channels)


@dataclasses.dataclass(frozen=True)
class PhotoPrediction:
    """What a run predicts of one photo."""

    image: np.ndarray  # (H, W, C) uint8
    seg_prob: np.ndarray  # (H, W) float32
    decision_prob: float
    decided: bool
    threshold: float  # the segmentation threshold of this photo; infinite if the run empties the mask
    decision_threshold: float
    decision_trained: bool  # otherwise the decision is that of random weights

    @functools.cached_property
    def mask(self) -> np.ndarray:
        """(H, W) bool: the pixels predicted as crack."""
        return self.seg_prob.astype(np.float64) > self.threshold

    @property
    def crack_share(self) -> float:
        """The share of the photo's pixels that are crack."""
        return float(self.mask.mean())

    @functools.cached_property
    def geometry(self) -> dict[str, float]:
        """Length, width and density of the mask (see :func:`crack_utils.scoring.crack_geometry`)."""
        return crack_geometry(self.mask)


class Predictor:
    """The network of a trained and evaluated run, loaded once for many photos. Another run raises a MissingRun."""

    def __init__(self, run: Run, build_model: Callable = build_model):
        self.params, facts, metrics, trained_in = run.params.load(), run.params.facts(), run.metrics.load(), computed_in(run)
        self.input_size = facts["input_height"], facts["input_width"]
        self.scale = facts.get("scale", 1.0)  # runs of an earlier version did not keep the scale
        self.threshold, self.decision_threshold = metrics["segmentation_2px"]["threshold"], metrics["decision"]["threshold"]
        try:
            self.device = resolve_device(self.params.device)
        except ParameterError:  # the run was trained on another machine
            self.device = resolve_device("auto")
        self.precision = prediction_precision(self.params.precision, trained_in, self.device)
        model = build_model(self.params, fresh=False).to(self.device).eval()
        run.model.load_into(model)
        self.model = model if self.precision == "fp32" else InPrecision(model, self.precision)

    def __call__(self, image: np.ndarray, on_tile: Callable[[int, int], None] | None = None) -> PhotoPrediction:
        """Predict a photo of any size, (H, W, C) uint8.

        The photo's decision probability is the highest of its tiles: a photo is cracked if any part is cracked. So a photo of many tiles
        is decided cracked more easily, rightly or wrongly. ``on_tile`` is called before the first tile and after each tile, with the number
        of tiles done and the number of all tiles.

        Raises:
            DataError: the array has another shape or type.
            UserError: the network's predictions are not numbers.
        """
        channels = self.params.input_channels
        if image.ndim != 3 or image.shape[2] != channels or image.dtype != np.uint8 or min(image.shape[:2]) < 2:
            raise DataError(
                f"the photo is an array of {image.shape} {image.dtype}; the run takes (height, width, {channels}) uint8 of at least 2 x 2 "
                f"pixels; read_photo(path, {channels}) returns such an array"
            )
        seg_prob, decision_prob = np.empty(image.shape[:2], np.float32), 0.0
        for top, rows, tile_decision_prob in self._predict_rows(image.shape[:2], lambda top, bottom: image[top:bottom], on_tile):
            seg_prob[top : top + len(rows)] = rows
            decision_prob = max(decision_prob, tile_decision_prob)
        decided = decision_prob >= self.decision_threshold
        threshold = applied_threshold(seg_prob, decided, self.threshold, self.params)
        return PhotoPrediction(image, seg_prob, decision_prob, decided, threshold, self.decision_threshold, self.params.decision_loss)

    def predict_large(self, photo: PhotoRows, on_tile: Callable[[int, int], None] | None = None) -> LargePrediction:
        """Predict a photo that is read by rows. The result is that of the whole photo, but only rows of a tile's height are in memory.

        Arguments and errors are those of a call.
        """
        if photo.channels != self.params.input_channels or min(photo.size) < 2:
            raise DataError(f"the photo is {photo.size[1]} x {photo.size[0]} pixels; photos have at least 2 x 2 pixels")
        thresholds = (self.threshold, LOWERED * self.threshold, np.inf)  # nothing is above the last one
        packed = {threshold: np.zeros((photo.size[0], -(-photo.size[1] // 8)), np.uint8) for threshold in thresholds}
        highest = decision_prob = 0.0
        for top, rows, tile_decision_prob in self._predict_rows(photo.size, photo.rows, on_tile):
            for threshold in thresholds[:2]:
                packed[threshold][top : top + len(rows)] = np.packbits(rows.astype(np.float64) > threshold, axis=1)
            highest, decision_prob = max(highest, float(rows.max())), max(decision_prob, tile_decision_prob)
        decided = decision_prob >= self.decision_threshold
        threshold = applied_threshold(np.array(highest), decided, self.threshold, self.params)
        found = packed[threshold], decision_prob, decided, threshold, self.decision_threshold, self.params.decision_loss
        return LargePrediction(photo.size, *found)

    def _predict_rows(
        self, size: tuple[int, int], rows: Callable[[int, int], np.ndarray], on_tile: Callable[[int, int], None] | None
    ) -> Iterator[tuple[int, np.ndarray, float]]:
        """From top to bottom: the first row, the rows' blended segmentation probabilities, (n, W) float32, and a decision probability.

        ``rows`` returns the photo's rows from a first one to before a last one.
        """
        on_tile = on_tile or (lambda done, total: None)
        tile, placement = self._tile_of(size)
        starts, columns = blend(size[0], tile[0]), blend(size[1], tile[1])
        band, number, total = np.zeros((tile[0], size[1]), np.float32), 0, len(starts) * len(columns)
        on_tile(0, total)
        for (top, row_weights), following in zip(starts, [*(top for top, _ in starts[1:]), size[0]], strict=True):
            image, decision_prob = rows(top, top + tile[0]), 0.0
            for left, column_weights in columns:
                part = np.s_[:, left : left + tile[1]]
                tile_prob, tile_decision_prob = self._predict_tile(image[part], placement)
                band[part] += row_weights[:, None] * column_weights * tile_prob
                decision_prob, number = max(decision_prob, tile_decision_prob), number + 1
                on_tile(number, total)
            finished = following - top  # no later tile reaches these rows
            yield top, np.minimum(band[:finished], 1), decision_prob  # rounding may raise the sum of the weights above 1
            band = np.concatenate([band[finished:], np.zeros((finished, size[1]), np.float32)])

    def _tile_of(self, size: tuple[int, int]) -> tuple[tuple[int, int], Placement]:
        """The (height, width) of the tiles of a photo of this size, and how each tile lies in the input."""
        whole = place(size, self.input_size)
        if whole.scale >= self.scale:  # like a crop in an evaluation: a photo no larger than a crop is one tile
            return size, whole
        return tile_size(size, self.input_size, self.scale)

    @torch.inference_mode()
    def _predict_tile(self, tile: np.ndarray, placement: Placement) -> tuple[np.ndarray, float]:
        """The segmentation probabilities of a tile at its own size, (H, W) float32, and its decision probability."""
        image = fit_image(tile, placement, self.input_size)
        with tf32(self.precision == "tf32"):
            decision_logits, seg_logits = self.model(image[None].to(self.device))
        seg_prob = unfit(seg_logits.sigmoid()[0, 0], placement).cpu().numpy()
        check_finite(seg_prob)
        return seg_prob, decision_logits.sigmoid().item()


def tile_size(size: tuple[int, int], input_size: tuple[int, int], scale: float) -> tuple[tuple[int, int], Placement]:
    """The (height, width) of a photo's tiles in pixels of the photo, and how each tile lies in the input.

    At this scale a tile fills the input and lies as the input lies. If the photo is narrower than a tile, the rest is padding.
    """
    height, width = (min(side, round(inputs / scale)) for side, inputs in zip(size, input_size, strict=True))
    inner = [min(inputs, max(1, round(side * scale))) for side, inputs in zip((height, width), input_size, strict=True)]
    top, left = ((inputs - side) // 2 for side, inputs in zip(inner, input_size, strict=True))
    return (height, width), Placement(height, width, False, *inner, top, left)


def blend(side: int, tile: int) -> list[tuple[int, np.ndarray]]:
    """Where tiles of ``tile`` pixels start along a photo's side of ``side`` pixels, and the weights of their pixels.

    Tiles overlap by at least OVERLAP. The weights fall evenly from the middle of a tile to its edges. At every pixel of the photo the
    weights of all tiles add up to 1, so no seam is visible. Returns for each tile its first pixel and its weights, (tile,) float32.
    """
    steps = math.ceil((side - tile) / max(1, (1 - OVERLAP) * tile))
    starts = np.linspace(0, side - tile, steps + 1).round().astype(int).tolist()
    ramp = np.minimum(np.arange(1, tile + 1), np.arange(tile, 0, -1)).astype(np.float64)
    total = np.zeros(side)
    for start in starts:
        total[start : start + tile] += ramp
    return [(start, (ramp / total[start : start + tile]).astype(np.float32)) for start in starts]
