"""From a trained network to predictions to scores. ``val`` chooses the thresholds, then ``test`` is read, once."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from crack_utils.config.parameters import RunParameters
from crack_utils.data.crops import Crop
from crack_utils.data.run_data import RunData
from crack_utils.errors import ParameterError, UserError
from crack_utils.networks.devices import resolve_device
from crack_utils.networks.prediction import check_finite, predict
from crack_utils.networks.registry import build_model
from crack_utils.scoring.decision import best_decision_threshold, decision_scores
from crack_utils.scoring.examples import pick_examples
from crack_utils.scoring.figures import (
    decision_ranking,
    engineering,
    failures,
    false_alarms,
    headline,
    in_millimetres,
    intervals,
    protocol_figures,
    without_leaks,
)
from crack_utils.scoring.images import Measured
from crack_utils.scoring.judgement import choose_threshold, judge
from crack_utils.scoring.thresholds import SEG_THRESHOLDS
from crack_utils.store.places import sample_folder
from crack_utils.store.predictions import PredictionWriter, write_predictions
from crack_utils.store.provenance import recorded
from crack_utils.store.run import Run, find_run


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
        with recorded(run, "evaluation", device):
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
    decision_threshold = best_decision_threshold(val.has_crack, val.decision_probs)
    with stored_predictions("test") as predictions:
        test = measure_test(predictions, threshold, decision_threshold, params)
    per_image = in_millimetres(test.per_image, params.mm_per_px)
    leaking = run.load_facts().get("leaks", {}).get("test_stems", [])
    results = {
        "decision": decision_scores(per_image["has_crack"], per_image["decision_prob"], decision_threshold),
        "segmentation_2px": {**headline(per_image, decision_threshold)["segmentation_2px"], "threshold": threshold},
        "crack_free": false_alarms(per_image),
        "val": {
            "decision": decision_scores(val.has_crack, val.decision_probs, decision_threshold),
            "segmentation_2px": {**val.segmentation(chosen), "threshold": threshold},
        },
        "decision_ranking": decision_ranking(per_image),
        "protocols": protocol_figures(test),
        "intervals": intervals(per_image, decision_threshold),
        "without_leaks": without_leaks(per_image, leaking, decision_threshold),
        "engineering": engineering(per_image, params.mm_per_px),
        "failures": failures(per_image),
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

    test = Measured(SEG_THRESHOLDS)
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
