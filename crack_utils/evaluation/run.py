"""Evaluate a run: from a trained network to predictions, and to figures. Val chooses the thresholds. Test is read once."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from crack_utils import scoring
from crack_utils.config import RunParameters
from crack_utils.data import Crop, RunData, find_data, fingerprint
from crack_utils.errors import ParameterError
from crack_utils.networks import InPrecision, build_model, computing, predict, prediction_precision, resolve_device
from crack_utils.scoring import Judgement, Measured
from crack_utils.store import (
    Run,
    check_data,
    claimed,
    computed_in,
    find_run,
    image_cache,
    is_of_other_data,
    recorded,
    sample_folder,
    save_photo,
    trained_with,
    with_former_data,
    write_predictions,
)

LOWERED = 0.9  # share of the threshold that lowered_threshold uses
Predictions = Iterator[tuple[Crop, Any, float]]  # crop, probabilities (H, W) as array or tensor, decision probability


def evaluate_run(run: Run, build_model: Callable = build_model, predict: Callable = predict) -> dict[str, Any]:
    """Evaluate a trained run. Val gives the thresholds, test gives the figures. Stores predictions, scores, curves and metrics.

    Returns the contents of metrics.json. A finished evaluation is returned as it is, so test is read only once. Raise MissingRun if the
    run has not finished training.
    """
    if run.is_evaluated:
        return run.metrics.load()
    find_run(run.name)  # raises if the run has not finished training
    with claimed(run, "evaluation"):
        if run.is_evaluated:  # by another process, since the look before
            return run.metrics.load()
        params, threads, trained_in = find_run(run.name).params.load(), trained_with(run), computed_in(run)
        try:
            device = resolve_device(params.device)
        except ParameterError as error:  # the run was trained on another machine
            device = resolve_device("auto")
            run.log.add(f"Note: {error}. Evaluating on {device}.")
        precision = prediction_precision(params.precision, trained_in, device)
        model = build_model(params, fresh=False).to(device)
        network = model if precision == "fp32" else InPrecision(model, precision)
        with computing(device, threads, precision) as machine, recorded(run, "evaluation", machine):
            run.model.load_into(model)
            data = _same_data(run, params)
            return score_run(run, data, lambda split: predict(network, data.split(split), device, params.batch_size, params.num_workers))


def _same_data(run: Run, params: RunParameters) -> RunData:
    """The data of the run, decoded as far as the evaluation needs them, so that unusable or other data stop it before any work is done."""
    data = find_data(params, sample_folder(), image_cache())
    present = fingerprint(data)
    for split in (params.choosing_split, "test"):
        data.split(split)
    check_data(run, params, present)
    if is_of_other_data(run, present):
        resolved = run.params.resolved()
        run.params.save(params, resolved, with_former_data(run, resolved["data"] | {"fingerprint": present}))
    return data


def score_run(run: Run, data: RunData, predicted: Callable[[str], Predictions]) -> dict[str, Any]:
    """Choose thresholds, measure test, and store predictions, scores of images, curves and metrics. Returns the contents of metrics.json.

    ``predicted`` takes a split's name and returns its predictions (see :func:`crack_utils.networks.predict`).
    """
    params, started = data.params, time.perf_counter()
    leaking = run.params.facts().get("leaks", {}).get("test_stems", [])
    with write_predictions(run.folder, params.choosing_split) as add:
        val = scoring.judge(_stored(predicted(params.choosing_split), add))
    chosen = scoring.choose_threshold(val)
    threshold, decided_at = float(val.thresholds[chosen]), scoring.best_decision_threshold(val.has_crack, val.decision_probs)
    with write_predictions(run.folder, "test") as add:
        test = measure_test(_stored(predicted("test"), add), threshold, decided_at, params)
    per_image = scoring.in_millimetres(test.per_image, params.mm_per_px)
    results = _results(val, chosen, test, per_image, decided_at, leaking, params.mm_per_px)
    curves = test.curves.add_prefix("test_").assign(**val.curves.add_prefix("val_"))
    examples = set(scoring.pick_examples(per_image).stem)
    run.per_image.save(per_image)
    run.curves.save(curves)
    for crop in data.split("test").crops:
        if crop.pair.stem in examples:
            save_photo(run, crop.pair.stem, crop.image)
    for line in _log_lines(results, len(per_image), params.choosing_split, time.perf_counter() - started):
        run.log.add(line)
    run.metrics.save(results)
    return results


def _results(
    val: Judgement, chosen: int, test: Measured, frame: pd.DataFrame, decided_at: float, leaking: list[str], mm_per_px: float | None
) -> dict[str, Any]:
    """The contents of metrics.json."""
    threshold = float(val.thresholds[chosen])
    return {
        "decision": scoring.decision_scores(frame["has_crack"], frame["decision_prob"], decided_at),
        "segmentation_2px": {**scoring.headline(frame, decided_at)["segmentation_2px"], "threshold": threshold},
        "crack_free": scoring.false_alarms(frame),
        "val": {
            "decision": scoring.decision_scores(val.has_crack, val.decision_probs, decided_at),
            "segmentation_2px": {**val.segmentation(chosen), "threshold": threshold},
        },
        "decision_ranking": scoring.decision_ranking(frame),
        "protocols": scoring.protocol_figures(test),
        "intervals": scoring.intervals(frame, decided_at),
        "without_leaks": scoring.without_leaks(frame, leaking, decided_at),
        "engineering": scoring.engineering(frame, mm_per_px),
        "failures": scoring.failures(frame),
    }


def measure_test(predictions: Predictions, threshold: float, decided_at: float, params: RunParameters) -> Measured:
    """Measure test image by image at the thresholds that val chose."""

    def images() -> Iterator[tuple[dict[str, Any], Any, np.ndarray, float]]:
        for crop, seg_prob, decision_prob in predictions:
            scoring.check_finite(seg_prob)
            decision_prob = float(np.float32(decision_prob))
            about = {"stem": crop.pair.stem, "photo": crop.pair.photo, "decision_prob": decision_prob}
            yield about, seg_prob, crop.mask, applied_threshold(seg_prob, decision_prob >= decided_at, threshold, params)

    test = scoring.Measured(scoring.SEG_THRESHOLDS)
    test.add_all(images())
    return test


def applied_threshold(seg_prob: Any, decided: bool, threshold: float, params: RunParameters) -> float:
    """The threshold of one image: the run's threshold, unless one of two parameters changes it. ``seg_prob`` (H, W): array or tensor.

    - ``blackening``: infinity if the image is decided crack-free, so the mask is empty.
    - ``lowered_threshold``: 0.9 of the threshold if the image is decided cracked but no pixel exceeds the threshold.
    """
    if params.blackening and not decided:
        return np.inf
    if params.lowered_threshold and decided and not float(seg_prob.max()) > threshold:
        return LOWERED * threshold
    return threshold


def _stored(predictions: Predictions, add: Callable[[str, np.ndarray, np.ndarray, float], None]) -> Predictions:
    """Store each prediction, then yield the prediction. Tensors on a GPU stay on the GPU."""
    for crop, tensor, decision_prob in predictions:
        seg_prob = tensor.cpu().numpy()
        add(crop.pair.stem, seg_prob, crop.mask, decision_prob)
        yield crop, tensor if tensor.is_cuda else seg_prob, decision_prob


def _log_lines(results: dict[str, Any], n_images: int, chosen_on: str, time_s: float) -> list[str]:
    decision, at_2px, crack_free = results["decision"], results["segmentation_2px"], results["crack_free"]
    lines = [
        f"Final evaluation on {n_images} test images, thresholds from {chosen_on} ({time_s:.0f} s)",
        "Decision | precision {precision:.6f} | recall {recall:.6f} | F1 {f1:.6f} | accuracy {accuracy:.6f} "
        "| threshold {threshold:.7f} | TP {tp} | FP {fp} | FN {fn} | TN {tn}".format_map(decision),
        "2 pixel distance | precision {precision:.6f} | recall {recall:.6f} | F1 {f1:.6f} | threshold {threshold:.3f}".format_map(at_2px),
    ]
    if crack_free["images"]:
        lines.append(
            "Crack-free images | {images} | with predicted pixels {images_with_false_alarm} "
            "| mean share of pixels {false_alarm_pixel_share:.6f}".format_map(crack_free)
        )
    return lines
