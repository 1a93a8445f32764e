"""From the predictions of a run to its figures. Val chooses the thresholds. Test is read once."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from crack_utils.config import RunParameters
from crack_utils.data import Crop, RunData
from crack_utils.evaluation.thresholds import applied_threshold
from crack_utils.scoring import (
    SEG_THRESHOLDS,
    Judgement,
    Measured,
    best_decision_threshold,
    check_finite,
    choose_threshold,
    decision_ranking,
    decision_scores,
    engineering,
    failures,
    false_alarms,
    headline,
    in_millimetres,
    intervals,
    judge,
    pick_examples,
    protocol_figures,
    without_leaks,
)
from crack_utils.store import Run, save_photo, write_predictions

Predictions = Iterator[tuple[Crop, Any, float]]  # crop, probabilities (H, W) as array or tensor, decision probability


def score_run(run: Run, data: RunData, predicted: Callable[[str], Predictions]) -> dict[str, Any]:
    """Choose thresholds, measure test, and store predictions, scores of images, curves and metrics.

    Args:
        predicted: takes a split's name and returns its predictions (see :func:`crack_utils.networks.predict`).

    Returns:
        The contents of metrics.json.
    """
    params, started = data.params, time.perf_counter()
    leaking = run.params.facts().get("leaks", {}).get("test_stems", [])
    with write_predictions(run.folder, params.choosing_split) as add:
        val = judge(_stored(predicted(params.choosing_split), add))
    chosen = choose_threshold(val)
    threshold, decision_threshold = float(val.thresholds[chosen]), best_decision_threshold(val.has_crack, val.decision_probs)
    with write_predictions(run.folder, "test") as add:
        test = measure_test(_stored(predicted("test"), add), threshold, decision_threshold, params)
    per_image = in_millimetres(test.per_image, params.mm_per_px)
    results = _results(val, chosen, test, per_image, decision_threshold, leaking, params.mm_per_px)
    curves = test.curves.add_prefix("test_").assign(**val.curves.add_prefix("val_"))
    examples = set(pick_examples(per_image).stem)
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
    val: Judgement, chosen: int, test: Measured, per_image: pd.DataFrame, decided_at: float, leaking: list[str], mm_per_px: float | None
) -> dict[str, Any]:
    """The contents of metrics.json."""
    threshold = float(val.thresholds[chosen])
    return {
        "decision": decision_scores(per_image["has_crack"], per_image["decision_prob"], decided_at),
        "segmentation_2px": {**headline(per_image, decided_at)["segmentation_2px"], "threshold": threshold},
        "crack_free": false_alarms(per_image),
        "val": {
            "decision": decision_scores(val.has_crack, val.decision_probs, decided_at),
            "segmentation_2px": {**val.segmentation(chosen), "threshold": threshold},
        },
        "decision_ranking": decision_ranking(per_image),
        "protocols": protocol_figures(test),
        "intervals": intervals(per_image, decided_at),
        "without_leaks": without_leaks(per_image, leaking, decided_at),
        "engineering": engineering(per_image, mm_per_px),
        "failures": failures(per_image),
    }


def measure_test(predictions: Predictions, threshold: float, decided_at: float, params: RunParameters) -> Measured:
    """Measure test image by image at the thresholds that val chose."""

    def images() -> Iterator[tuple[dict[str, Any], Any, np.ndarray, float]]:
        for crop, seg_prob, decision_prob in predictions:
            check_finite(seg_prob)
            decision_prob = float(np.float32(decision_prob))
            about = {"stem": crop.pair.stem, "photo": crop.pair.photo, "decision_prob": decision_prob}
            yield about, seg_prob, crop.mask, applied_threshold(seg_prob, decision_prob >= decided_at, threshold, params)

    test = Measured(SEG_THRESHOLDS)
    test.add_all(images())
    return test


def _stored(predictions: Predictions, add: Callable[[str, np.ndarray, np.ndarray, float], None]) -> Predictions:
    """Store each prediction, then yield the prediction. Tensors on a GPU stay on the GPU."""
    for crop, tensor, decision_prob in predictions:
        seg_prob = tensor.cpu().numpy()
        add(crop.pair.stem, seg_prob, crop.mask, decision_prob)
        yield crop, tensor if tensor.is_cuda else seg_prob, decision_prob


def _log_lines(results: dict[str, Any], n_images: int, chosen_on: str, time_s: float) -> list[str]:
    crack_free = results["crack_free"]
    lines = [
        f"Final evaluation on {n_images} test images, thresholds from {chosen_on} ({time_s:.0f} s)",
        "Decision | precision {precision:.6f} | recall {recall:.6f} | F1 {f1:.6f} | accuracy {accuracy:.6f} "
        "| threshold {threshold:.7f} | TP {tp} | FP {fp} | FN {fn} | TN {tn}".format(**results["decision"]),
        "2 pixel distance | precision {precision:.6f} | recall {recall:.6f} | F1 {f1:.6f} | threshold {threshold:.3f}".format(
            **results["segmentation_2px"]
        ),
    ]
    if crack_free["images"]:
        lines.append(
            "Crack-free images | {images} | with predicted pixels {images_with_false_alarm} "
            "| mean share of pixels {false_alarm_pixel_share:.6f}".format(**crack_free)
        )
    return lines
