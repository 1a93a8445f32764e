"""The evaluation page's sentences."""

from typing import Any

import numpy as np
import pandas as pd

from crack_utils.reporting.evaluation_tables import failures_table
from crack_utils.reporting.html import count, literal, unit_and_scale
from crack_utils.scoring import FAR_PX, FEW_PHOTOS, LEAST_PHOTOS, RESAMPLES


def certainty(metrics: dict[str, Any], facts: dict[str, Any]) -> str:
    """What the intervals mean, and how far a reader can trust them."""
    noun = "drawn scene" if facts["drawn"] else "photo"
    photos = {literal(kind.replace("_", "-")): number for kind, number in metrics["intervals"]["photos"].items() if number}
    enough = {kind: number for kind, number in photos.items() if number >= LEAST_PHOTOS}
    few = {kind: count(number, noun) for kind, number in photos.items() if kind not in enough}
    need = f"an interval needs at least {LEAST_PHOTOS}"
    sentences = [f"{kind.capitalize()} images have no interval: they come from {number}, and {need}." for kind, number in few.items()]
    if enough:
        kinds = " and ".join(count(number, f"{kind} {noun}") for kind, number in enough.items())
        narrow = f" Intervals from fewer than {FEW_PHOTOS} {noun}s, as here, are too narrow." if min(enough.values()) < FEW_PHOTOS else ""
        meaning = (
            f"A 95 % interval says where the figure would probably lie if other {noun}s of this kind had been taken. For the intervals, "
            f"{kinds} of test were resampled {RESAMPLES} times, each with all its crops. "
            f"The intervals say nothing about other roads, cameras or light, or about other seeds.{narrow}"
        )
        sentences = [meaning, *sentences, f"A share of 0 or 100 % has no interval: so few {noun}s cannot show how rare an exception is."]
    return " ".join(sentences)


def sensitivity(metrics: dict[str, Any], resolved: dict[str, Any], curves: pd.DataFrame) -> str:
    """How much the exact threshold matters, and how much F1 on test the choice cost."""
    threshold, f1 = metrics["segmentation_2px"]["threshold"], curves["test_f1"].to_numpy()
    at, best = int(np.abs(curves.index - threshold).argmin()), int(f1.argmax())
    far = np.flatnonzero(f1 < f1[best] - 0.01)
    low, high = max(far[far < best], default=-1) + 1, min(far[far > best], default=len(f1)) - 1
    known = "" if resolved["validate_on_test"] else ", known only afterwards"
    return (
        f"At the chosen threshold {threshold:.3f}, F1 on test is {f1[at]:.3f}. The best threshold ({curves.index[best]:.3f}{known}) gives "
        f"{f1[best]:.3f}. Between {curves.index[low]:.3f} and {curves.index[high]:.3f}, F1 stays within 0.01 of the best."
        + (" These figures leave out the lowered threshold for empty masks." if resolved["lowered_threshold"] else "")
    )


def engineering(metrics: dict[str, Any], mm_per_px: float | None) -> str:
    """How long and wide the predicted cracks are in total, beside the true ones."""
    found, (unit, scale) = metrics["engineering"], unit_and_scale(mm_per_px)
    length, true = (found[name] * scale for name in ("length_px", "true_length_px"))
    sentence = f"The predicted cracks are {length:.0f} {unit} long in total, {100 * length / true:.0f} % of the true {true:.0f} {unit}."
    if found["width_mean_px"] is None or found["true_width_mean_px"] is None:
        return sentence
    width, true = (found[name] * scale for name in ("width_mean_px", "true_width_mean_px"))
    return f"{sentence} The predicted cracks are {width:.1f} {unit} wide on average, the true cracks {true:.1f} {unit}."


def failures(metrics: dict[str, Any], per_image: pd.DataFrame, mm_per_px: float | None) -> str:
    """Which cracks are missed, in how many images, and which mistakes the segmentation makes."""
    found, f1 = metrics["failures"], per_image["f1"].dropna()
    by_width = ", ".join(f"{width} {share}" for width, _, share, _ in failures_table(metrics, mm_per_px).itertuples(index=False))
    sentences = [
        f"The network finds these shares of the true cracks, by width: {by_width}.",
        f"F1 is below 0.5 on {(f1 < 0.5).sum()} of {count(len(f1), 'cracked test image')}, and 0 on {(f1 == 0).sum() or 'none'}.",
    ]
    if found["fp_px"]:
        strays = 100 * found["stray_px"] / found["fp_px"]
        sentences.append(
            f"Of the pixels wrongly marked on these images, {100 - strays:.0f} % lie within {FAR_PX} pixels of a crack: an outline is too "
            f"broad, or a crack too long. The other {strays:.0f} % lie farther away: something else was taken for a crack."
        )
    return " ".join(sentences)


def calibration(metrics: dict[str, Any]) -> str:
    """How far the probabilities can be taken at their word."""
    return (
        "On average over the pixels of cracked test images, probability and true share of crack differ by "
        f"{metrics['protocols']['calibration']['ece']:.3f} (expected calibration error; 0 is perfect). A point on the diagonal means: of "
        "100 pixels with probability 70 %, 70 are crack. Below the diagonal, the network is too sure."
    )


def leaks(metrics: dict[str, Any], resolved: dict[str, Any]) -> str:
    """Whether test images leak from train or val, and how to read the figures without them."""
    if "leaks" not in resolved["data"]:
        return "An earlier version trained this run and did not look for leaks."
    kept = metrics["without_leaks"]
    if kept is None:
        return (
            "No leak was found. No test image shares its photo's name with train or val, and none repeats an image of theirs, even turned, "
            "relit or slightly shifted. The search may miss a copy that is enlarged, or shifted by more than a hundredth of the image."
        )
    return (
        f"Number of test images whose photo is also in train or val, under the same or another name: {literal(kept['images_left_out'])}. "
        "The network may have learned these images by heart. If the two columns of the table differ, trust the second."
    )


def ranking(metrics: dict[str, Any]) -> str:
    """The decision's figures that need no threshold."""
    found = metrics["decision_ranking"]
    if found["roc_auc"] is None:
        return "Without crack-free images, the average precision of the decision is 1 by construction, and there is no ROC curve."
    return (
        f"Over all thresholds, the decision has an average precision of {found['average_precision']:.3f} (1 is perfect) and an area under "
        f"the ROC curve of {found['roc_auc']:.3f} (1 is perfect, 0.5 is guessing)."
    )
