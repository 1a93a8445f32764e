"""From a trained network to predictions to scores. ``val`` chooses the thresholds, then ``test`` is read, once."""

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from crack_utils import metrics, protocols, provenance
from crack_utils.artifacts import PredictionWriter, Run, find_run, load_predictions, sample_folder, write_predictions
from crack_utils.config import RunParameters
from crack_utils.data import CropDataset, RunData, batches, unfit
from crack_utils.errors import ParameterError, UserError
from crack_utils.layouts import Crop
from crack_utils.model import FAMILY
from crack_utils.protocols import Measured

BLOCK = 32  # predictions held at a time, so that all cores count


def resolve_device(name: str) -> torch.device:
    """The device a run computes on; ``auto`` takes cuda, then mps, then cpu.

    Raises:
        ParameterError: the device asked for is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    device = torch.device(name)
    if not there[device.type] or (device.index or 0) >= max(1, torch.cuda.device_count()):
        raise ParameterError(f"device: {name} is not there on this machine; use auto or cpu")
    return device


def build_model(params: RunParameters, fresh: bool = True) -> nn.Module:
    """The network a run's parameters describe.

    Args:
        fresh: with the weights training starts from; else with any, to be replaced by stored ones.

    Returns:
        A module from images (N, C, H, W) to ``decision_logits`` (N, 1) and ``seg_logits`` (N, 1, H, W).
    """
    if params.architecture in FAMILY:
        return FAMILY[params.architecture](params.input_channels, params.gradient_flow_adjustment)
    from crack_utils.baselines import Baseline  # an extra

    pretrained = params.pretrained and fresh
    return Baseline(params.architecture, params.encoder, params.input_channels, pretrained, params.gradient_flow_adjustment)


def predict(
    model: nn.Module, dataset: CropDataset, device: torch.device, batch_size: int = 1, num_workers: int = 0
) -> Iterator[tuple[Crop, torch.Tensor, float]]:
    """Yield each crop with its segmentation probabilities at its own size, (H, W) float32 where the model is, and its decision
    probability."""
    model.eval()
    for batch in batches(dataset, range(len(dataset)), batch_size, num_workers):
        with torch.inference_mode():
            decision_logits, seg_logits = model(batch.image.to(device))
            decision_probs, seg_probs = decision_logits.sigmoid().cpu(), seg_logits.sigmoid()
        for index, decision_prob, seg_prob in zip(batch.index.tolist(), decision_probs, seg_probs, strict=True):
            yield dataset.crops[index], unfit(seg_prob[0], dataset.placements[index]), decision_prob.item()


@dataclasses.dataclass(frozen=True)
class Judgement:
    """How one split was predicted: tp, fp, fn (N, T) at the tolerance, has_crack (N,), decision_probs (N,)."""

    thresholds: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    has_crack: np.ndarray
    decision_probs: np.ndarray

    @property
    def per_image(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Precision, recall, F1 of the cracked images, each (positives, T)."""
        return metrics.precision_recall_f1(self.tp[self.has_crack], self.fp[self.has_crack], self.fn[self.has_crack])

    @property
    def curves(self) -> pd.DataFrame:
        """Mean precision, recall and F1 of the cracked images, by threshold."""
        scores = zip(("precision", "recall", "f1"), self.per_image, strict=True)
        return pd.DataFrame({name: values.mean(axis=0) for name, values in scores}, index=pd.Index(self.thresholds, name="threshold"))

    def segmentation(self, at: int) -> dict[str, float]:
        """The record's segmentation figures at threshold number ``at``: means over the cracked images."""
        precision, recall, f1 = (float(values[:, at].mean()) for values in self.per_image)
        return {"precision": precision, "recall": recall, "f1": f1}


def check_finite(seg_prob: torch.Tensor | np.ndarray) -> None:
    """Raise UserError for predictions that are not numbers."""
    if not torch.isfinite(torch.as_tensor(seg_prob)).all():
        raise UserError("the network's predictions are not numbers; train it again with a lower learning_rate")


def judge(
    predictions: Iterator[tuple[Any, torch.Tensor | np.ndarray, float]], thresholds: np.ndarray = metrics.SEG_THRESHOLDS
) -> Judgement:
    """Count over a split, some images at a time: each prediction is ``(crop, seg_prob, decision_prob)``, the crop has a ``mask``."""
    counts, has_crack, decision_probs = [], [], []
    predictions = iter(predictions)
    while block := list(itertools.islice(predictions, BLOCK)):
        crops, seg_probs, probs = zip(*block, strict=True)
        for seg_prob in seg_probs:
            check_finite(seg_prob)
        masks = [crop.mask for crop in crops]
        counts.append(metrics.tolerance_counts(seg_probs, masks, thresholds))
        has_crack += [bool(mask.any()) for mask in masks]
        decision_probs += probs
    tp, fp, fn = np.concatenate(counts, axis=1)
    return Judgement(thresholds, tp, fp, fn, np.array(has_crack), np.array(decision_probs, np.float32))


def choose_threshold(judgement: Judgement) -> int:
    """Number of the segmentation threshold with the best mean F1."""
    return metrics.best_threshold(judgement.per_image[2])


def applied_threshold(seg_prob: np.ndarray | torch.Tensor, decided: bool, threshold: float, params: RunParameters) -> float:
    """The segmentation threshold of one test image: ``threshold``, but for those the run's parameters

    - blacken (``blackening``): decided crack-free, infinity, which nothing exceeds;
    - look at once more (``lowered_threshold``): decided cracked but empty at ``threshold``, 0.9 of it.
    """
    if params.blackening and not decided:
        return np.inf
    if params.lowered_threshold and decided and not float(seg_prob.max()) > threshold:
        return 0.9 * threshold
    return threshold


def evaluate_run(run: Run) -> dict[str, Any]:
    """Evaluate a trained run: thresholds from val, figures on test; store predictions, per-image results, curves and metrics.

    A finished evaluation is returned as it is, so that test stays read once.

    Returns:
        The contents of metrics.json.

    Raises:
        MissingRun: the run has not finished training.
    """
    if run.is_evaluated:
        results = run.load_metrics()
        if "failures" not in results:
            raise UserError(f"run {run.name} was evaluated by an earlier version; remove {run.path('metrics.json')} to evaluate it anew")
        return results
    find_run(run.name)  # or it says that training comes first
    with run.claimed():
        params = run.load_params()
        try:
            device = resolve_device(params.device)
        except ParameterError as error:  # trained on another machine
            device = resolve_device("auto")
            run.log(f"Note: {error}. Evaluating on {device}.")
        with provenance.recorded(run, "evaluation", device):
            return _evaluate(run, params, device)


def _evaluate(run: Run, params: RunParameters, device: torch.device) -> dict[str, Any]:
    data = RunData(params, sample_folder())
    model = build_model(params, fresh=False)
    run.load_model(model)
    model.to(device)
    return score_run(run, data, lambda split: predict(model, data.split(split), device, params.batch_size, params.num_workers))


def score_run(run: Run, data: RunData, predicted: Callable[[str], Iterator[tuple[Crop, torch.Tensor, float]]]) -> dict[str, Any]:
    """Choose thresholds, measure test, and store predictions, per-image results, curves and metrics.

    Args:
        predicted: from a split's name to its predictions, as :func:`predict` yields them.

    Returns:
        The contents of metrics.json.
    """
    params = data.params

    @contextlib.contextmanager
    def stored_predictions(split: str) -> Iterator[Iterator[tuple[Crop, np.ndarray | torch.Tensor, float]]]:
        with write_predictions(run.folder, split) as writer:
            yield _storing(predicted(split), writer)

    started = time.perf_counter()
    with stored_predictions(params.choosing_split) as predictions:
        val = judge(predictions)
    chosen = choose_threshold(val)
    threshold = float(val.thresholds[chosen])
    decision_threshold = metrics.best_decision_threshold(val.has_crack, val.decision_probs)
    with stored_predictions("test") as predictions:
        test = measure_test(predictions, threshold, decision_threshold, params)
    per_image = protocols.in_millimetres(test.per_image, params.mm_per_px)
    leaking = run.load_facts().get("leaks", {}).get("test_stems", [])
    results = {
        "decision": metrics.decision_scores(per_image["has_crack"], per_image["decision_prob"], decision_threshold),
        "segmentation_2px": {**protocols.headline(per_image, decision_threshold)["segmentation_2px"], "threshold": threshold},
        "crack_free": protocols.false_alarms(per_image),
        "val": {
            "decision": metrics.decision_scores(val.has_crack, val.decision_probs, decision_threshold),
            "segmentation_2px": {**val.segmentation(chosen), "threshold": threshold},
        },
        "decision_ranking": protocols.decision_ranking(per_image),
        "protocols": protocols.protocol_figures(test),
        "intervals": protocols.intervals(per_image, decision_threshold),
        "without_leaks": protocols.without_leaks(per_image, leaking, decision_threshold),
        "engineering": protocols.engineering(per_image, params.mm_per_px),
        "failures": protocols.failures(per_image),
    }
    run.save_per_image(per_image)
    run.save_curves(test.curves.add_prefix("test_").assign(**val.curves.add_prefix("val_")))
    crops = {crop.pair.stem: crop for crop in data.split("test").crops}
    for stem in pick_examples(per_image).stem.unique():
        run.save_photo(stem, crops[stem].image)
    for line in _describe(results, data, params.choosing_split, time.perf_counter() - started):
        run.log(line)
    run.save_metrics(results)
    return results


def measure_test(
    predictions: Iterator[tuple[Crop, np.ndarray | torch.Tensor, float]], threshold: float, decided_at: float, params: RunParameters
) -> Measured:
    """Measure test at the thresholds val chose, image by image."""

    def images() -> Iterator[tuple[dict[str, Any], np.ndarray | torch.Tensor, np.ndarray, float]]:
        for crop, seg_prob, decision_prob in predictions:
            decision_prob = float(np.float32(decision_prob))
            about = {"stem": crop.pair.stem, "photo": crop.pair.photo, "decision_prob": decision_prob}
            yield about, seg_prob, crop.mask, applied_threshold(seg_prob, decision_prob >= decided_at, threshold, params)

    test = Measured(metrics.SEG_THRESHOLDS)
    test.add_all(images())
    return test


def _storing(
    predictions: Iterator[tuple[Crop, torch.Tensor, float]], writer: PredictionWriter
) -> Iterator[tuple[Crop, np.ndarray | torch.Tensor, float]]:
    """Hand predictions on, each stored first; those on a GPU stay there."""
    for crop, tensor, decision_prob in predictions:
        check_finite(tensor)
        seg_prob = tensor.cpu().numpy()
        writer.add(crop.pair.stem, seg_prob, crop.mask, decision_prob)
        yield crop, tensor if tensor.is_cuda else seg_prob, decision_prob


def _describe(results: dict[str, Any], data: RunData, chosen_on: str, time_s: float) -> list[str]:
    decision, segmentation, crack_free = results["decision"], results["segmentation_2px"], results["crack_free"]
    lines = [
        f"Final evaluation on {len(data.split('test'))} test images, thresholds from {chosen_on} ({time_s:.0f} s)",
        "Decision | precision {precision:.6f} | recall {recall:.6f} | F1 {f1:.6f} | accuracy {accuracy:.6f} "
        "| threshold {threshold:.7f} | TP {tp} | FP {fp} | FN {fn} | TN {tn}".format(**decision),
        "2 pixel distance | precision {precision:.6f} | recall {recall:.6f} | F1 {f1:.6f} | threshold {threshold:.3f}".format(
            **segmentation
        ),
    ]
    if crack_free["images"]:
        lines.append(
            "Crack-free images | {images} | with predicted pixels {images_with_false_alarm} "
            "| mean share of pixels {false_alarm_pixel_share:.6f}".format(**crack_free)
        )
    return lines


@dataclasses.dataclass(frozen=True)
class Example:
    """One test image to look at, from a run's artifacts: maps are (H, W), the image (H, W) or (H, W, 3) uint8."""

    stem: str
    image: np.ndarray
    mask: np.ndarray
    seg_prob: np.ndarray
    decision_prob: float
    f1: float
    threshold: float  # this image's: infinite where the mask is emptied
    decided: bool

    @property
    def errors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Hits, misses and false alarms at the run's threshold, as the 2-pixel figures count them."""
        return metrics.tolerance_maps(self.seg_prob, self.mask, self.threshold)


def pick_examples(per_image: pd.DataFrame, worst: int = 12, median: int = 6, best: int = 6, crack_free: int = 6) -> pd.DataFrame:
    """Rows of per_image.csv worth looking at, with a column ``kind``; photos of just these are kept with the run.

    Crack-free images come with the highest decision probability first. Where there are few images, one may be of several kinds.
    """
    cracked = per_image[per_image.has_crack]
    middle = max(0, (len(cracked) - median) // 2)
    alarming = per_image[~per_image.has_crack].sort_values("decision_prob", ascending=False, kind="stable")
    kinds = {
        "best": cracked[::-1][:best],
        "worst": cracked[:worst],
        "median": cracked[middle : middle + median],
        "crack-free": alarming[:crack_free],
    }
    return pd.concat([rows.assign(kind=kind) for kind, rows in kinds.items()])


def load_examples(run: Run, kind: str, limit: int | None = None) -> list[Example]:
    """The examples of one kind (worst, median, best, crack-free), from the run's artifacts alone."""
    rows = pick_examples(run.load_per_image()).query("kind == @kind")[:limit]
    stored = load_predictions(run.folder, "test", set(rows.stem))
    numbers = {stem: i for i, stem in enumerate(stored.stems)}
    decision_threshold = run.load_metrics()["decision"]["threshold"]
    return [
        Example(
            stem=row.stem,
            image=run.load_photo(row.stem),
            mask=stored.masks[i],
            seg_prob=stored.seg_probs[i],
            decision_prob=row.decision_prob,
            f1=row.f1,
            threshold=row.threshold,
            decided=float(stored.decision_probs[i]) >= decision_threshold,
        )
        for row in rows.itertuples()
        for i in [numbers[row.stem]]
    ]
