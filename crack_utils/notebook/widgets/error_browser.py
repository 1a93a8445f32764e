"""A tool to look through the errors of a run."""

from typing import Any

import ipywidgets
import numpy as np

from crack_utils.evaluation import applied_threshold
from crack_utils.notebook.widgets.layout import gallery, spaced
from crack_utils.reporting.pictures import legend, overlap
from crack_utils.scoring import SEG_THRESHOLDS, decision_scores, precision_recall_f1, tolerance_maps
from crack_utils.store import Example, Run, load_examples


def browse(run: Run) -> ipywidgets.Widget:
    """Choose an example image of a run, move the thresholds, and see how errors and scores change."""
    kinds = ("worst", "median", "best", "crack-free")
    examples = {f"{kind}: {example.stem}": example for kind in kinds for example in load_examples(run, kind)}
    params, metrics, per_image = run.params.load(), run.metrics.load(), run.per_image.load()
    wide = {"layout": {"width": "40em"}, "style": {"description_width": "9em"}}
    slider = {"step": 0.005, "readout_format": ".3f", "continuous_update": False, **wide}
    image = ipywidgets.Dropdown(options=list(examples), description="Image", **wide)
    threshold = ipywidgets.FloatSlider(
        value=metrics["segmentation_2px"]["threshold"], min=SEG_THRESHOLDS[0], max=SEG_THRESHOLDS[-1], description="Crack above", **slider
    )
    decision = ipywidgets.FloatSlider(value=metrics["decision"]["threshold"], min=0, max=1, description="Decided from", **slider)
    picture, words = ipywidgets.HTML(), ipywidgets.HTML()

    def show(_: Any = None) -> None:
        example = examples[image.value]
        decided = example.decision_prob >= decision.value
        at = SEG_THRESHOLDS[np.abs(SEG_THRESHOLDS - threshold.value).argmin()]  # exactly a threshold of the run's figures
        at = applied_threshold(example.seg_prob, decided, at, params)
        maps = tolerance_maps(example.seg_prob, example.mask, at)
        shown = [("image", example.image), ("errors", overlap(example.image, *maps))]
        picture.value = gallery(shown, example.stem, 2)
        counts = decision_scores(per_image["has_crack"], per_image["decision_prob"], decision.value)
        words.value = spaced(
            f"This image{', emptied by blackening' if np.isinf(at) else f' at threshold {at:.3f}'}: {_segmented(example, maps)}; "
            f"decided {'crack' if decided else 'no crack'} (probability {example.decision_prob:.3f}).<br>"
            f"All {len(per_image)} test images at decision threshold {decision.value:.3f}: TP {counts['tp']}, FP {counts['fp']}, "
            f"FN {counts['fn']}, TN {counts['tn']}."
        )

    for control in (image, threshold, decision):
        control.observe(show, "value")
    show()
    return ipywidgets.VBox([image, threshold, decision, words, picture, ipywidgets.HTML(spaced(legend()))])


def _segmented(example: Example, maps: tuple[np.ndarray, np.ndarray, np.ndarray]) -> str:
    """The scores of an image from its hits, misses and false alarms. A crack-free image has only false alarms."""
    hit, miss, false_alarm = (each.sum() for each in maps)
    if not example.mask.any():
        return f"no true crack, {false_alarm} pixels of false alarm"
    return "precision {:.3f}, recall {:.3f}, F1 {:.3f}".format(*precision_recall_f1(hit, false_alarm, miss))
