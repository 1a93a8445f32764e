"""The evaluation page's sentences."""

from typing import Any

import numpy as np
import pandas as pd

from crack_utils.reporting.evaluation_tables import failures_table
from crack_utils.reporting.words import _count
from crack_utils.scoring import FAR_PX, FEW_PHOTOS, LEAST_PHOTOS, RESAMPLES


def certainty(results: dict[str, Any], facts: dict[str, Any]) -> str:
    """What the intervals are, and how far they can be trusted."""
    noun = "drawn scene" if facts["drawn"] else "photo"
    photos = {kind.replace("_", "-"): count for kind, count in results["intervals"]["photos"].items() if count}
    told = {kind: count for kind, count in photos.items() if count >= LEAST_PHOTOS}
    sentences = []
    if told:
        images = " and ".join(_count(count, f"{kind} {noun}") for kind, count in told.items())
        narrow = f"; from so few (below {FEW_PHOTOS}) it comes out too narrow." if min(told.values()) < FEW_PHOTOS else "."
        sentences.append(
            f"The interval says where the figure would probably lie, had other {noun}s of this kind been taken: {images} "
            f"of test were drawn anew {RESAMPLES} times, each with all its crops. "
            f"It knows nothing of other roads, cameras or light, nor of other seeds{narrow}"
        )
    sentences += [
        f"No interval is given for {kind} images: they come from {_count(count, noun)}, and fewer than {LEAST_PHOTOS} say too little."
        for kind, count in photos.items()
        if kind not in told
    ]
    if told:
        sentences.append("Where all or none came out right there is none either: so few say only that it is seldom otherwise.")
    return " ".join(sentences)


def sensitivity(results: dict[str, Any], resolved: dict[str, Any], curves: pd.DataFrame) -> str:
    """How much the exact threshold matters, and what val's choice cost on test."""
    threshold, f1 = results["segmentation_2px"]["threshold"], curves["test_f1"].to_numpy()
    at, best = int(np.abs(curves.index - threshold).argmin()), int(f1.argmax())
    low = high = best
    while low > 0 and f1[low - 1] >= f1[best] - 0.01:
        low -= 1
    while high < len(f1) - 1 and f1[high + 1] >= f1[best] - 0.01:
        high += 1
    known = "" if resolved["validate_on_test"] else ", known only afterwards"
    return (
        f"At the chosen threshold {threshold:.3f} F1 on test is {f1[at]:.3f}; the best any threshold would have given is {f1[best]:.3f} "
        f"(at {curves.index[best]:.3f}{known}). Between {curves.index[low]:.3f} and {curves.index[high]:.3f} it stays within 0.01 of that."
        + (" The lowered threshold for empty masks is left out here." if resolved["lowered_threshold"] else "")
    )


def engineering(results: dict[str, Any], mm_per_px: float | None) -> str:
    """How long and wide the cracks came out, all in all."""
    found, scale, unit = results["engineering"], mm_per_px or 1, "mm" if mm_per_px else "px"
    length, true = (found[name] * scale for name in ("length_px", "true_length_px"))
    sentence = f"The predicted cracks are {length:.0f} {unit} long in all, {100 * length / true:.0f} % of the true {true:.0f} {unit}"
    if found["width_mean_px"] is None or found["true_width_mean_px"] is None:
        return f"{sentence}."
    width, true = (found[name] * scale for name in ("width_mean_px", "true_width_mean_px"))
    return f"{sentence}; on average they are {width:.1f} {unit} wide, the true ones {true:.1f} {unit}."


def failures(results: dict[str, Any], per_image: pd.DataFrame, mm_per_px: float | None) -> str:
    """Which cracks are missed, what kind of mistakes the segmentation makes, and in how many images."""
    found, f1 = results["failures"], per_image["f1"].dropna()
    widths = failures_table(results, mm_per_px)
    by_width = ", ".join(f"{width} {share}" for width, share in zip(widths["Width of the crack"], widths["Found"], strict=True))
    low, images = (f1 < 0.5).sum(), _count(len(f1), "cracked test image")
    sentences = [
        f"What share of the true cracks is found, by their width: {by_width}.",
        f"F1 lies below 0.5 on {low} of the {images}, and is 0 on {(f1 == 0).sum() or 'none'}.",
    ]
    if found["fp_px"]:
        strays = 100 * found["stray_px"] / found["fp_px"]
        sentences.append(
            f"Of the pixels wrongly marked on them {100 - strays:.0f} % lie within {FAR_PX} pixels of a crack, as where an outline is "
            f"drawn too broad or a crack too long; {strays:.0f} % lie farther off: something else was taken for a crack."
        )
    return " ".join(sentences)


def calibration(results: dict[str, Any]) -> str:
    """How far the probabilities can be read as such."""
    ece = results["protocols"]["calibration"]["ece"]
    return (
        "On average over the pixels of cracked test images, probability and true share of crack lie "
        f"{ece:.3f} apart (the expected calibration error; 0 is perfect). On the diagonal a pixel called 70 % crack is crack in 70 of 100 "
        "cases; below it the network is too sure."
    )


def leaks(results: dict[str, Any], resolved: dict[str, Any]) -> str:
    """Whether test images leak from train or val, and what the figures are without them."""
    if "leaks" not in resolved["data"]:
        return "This run was trained before leaks were looked for."
    kept = results["without_leaks"]
    if kept is None:
        return (
            "None was found: no test image shares its photo's name with train or val, and none was seen to repeat an image of theirs, be "
            "it turned, relit or shifted a little (a copy shifted by more than a hundredth of the image, or enlarged, may be overlooked)."
        )
    return (
        f"Test images of photos that train or val has too, under their own or another name: {kept['images_left_out']}. "
        "The network may have learnt them by heart. Both columns should be alike; if not, trust the second."
    )


def ranking(results: dict[str, Any]) -> str:
    """The decision's figures that need no threshold."""
    found = results["decision_ranking"]
    if found["roc_auc"] is None:
        return "Without crack-free images the decision's average precision is 1 by construction, and it has no ROC curve."
    return (
        f"Whatever the threshold, the decision's average precision is {found['average_precision']:.3f} and the area under its ROC curve "
        f"{found['roc_auc']:.3f} (1 is perfect, 0.5 is guessing)."
    )
