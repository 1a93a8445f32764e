"""Sentences whose figures are computed from a run's artifacts."""

from typing import Any

import numpy as np
import pandas as pd

from crack_utils.artifacts import Run
from crack_utils.baselines import DEFAULT_ENCODERS
from crack_utils.config import RunParameters
from crack_utils.protocols import FAR_PX
from crack_utils.reporting import record, tables
from crack_utils.uncertainty import FEW_PHOTOS, LEAST_PHOTOS, RESAMPLES

PAPER = "https://ieeexplore.ieee.org/stamp/stamp.jsp?tp=&arnumber=9680172"
DATASET_LINKS = {
    "sample": "explore.html",
    "crack500": "https://github.com/fyangneil/pavement-crack-detection",
    "crackforest": "https://github.com/cuilimeng/CrackForest-dataset",
    "deepcrack": "https://github.com/yhlleo/DeepCrack",
    "merged": "https://www.kaggle.com/datasets/lakshaymiddha/crack-segmentation-dataset",
    "folder": "explore.html",
}

LOOK = {  # what to look for, said before a figure
    "loss": "It should fall, steeply first; a curve that jumps about or rises wants a lower learning rate.",
    "loss_decision": "Does the image show a crack? Near 0.69 the network is guessing; towards 0 it is sure, and right.",
    "loss_segmentation": "Where is the crack? It should fall and flatten; while it still falls, longer training may help.",
    "validation": "Average precision (right) below 1: some crack-free image looks more cracked than a cracked one.",
    "scores": "F1 should rise and flatten. Where it still rises at the end, longer training may help; where it falls, it was too long.",
}


def heading(resolved: dict[str, Any]) -> str:
    """The write-up's title and the links under it, as Markdown."""
    links = f"[Paper]({PAPER}) · [Data set]({DATASET_LINKS[resolved['dataset']]}) · [Test examples](visualize.html)"
    return f"# Results of training on {resolved['data']['title']}\n\n{links}"


def summary(run: Run, resolved: dict[str, Any], metrics: dict[str, Any], history: pd.DataFrame) -> str:
    """One paragraph: what was trained, on what, and how good it is."""
    counts, scores, decision = resolved["data"]["counts"], metrics["segmentation_2px"], metrics["decision"]
    train, test = counts["train"], counts["test"]
    minutes = history["time_s"].sum() / 60
    return (
        f"Run **{run.name}**: {architecture(resolved)} was trained for {_count(len(history), 'epoch')} "
        f"({minutes:.1f} minutes on {resolved['device']}) on {_count(train['positives'] + train['negatives'], 'image')}, "
        f"{train['positives']} of them with a crack. "
        f"On the {_count(test['positives'], 'cracked test image')}, {resolved['data']['test_title']}, it reaches a mean F1 of "
        f"**{scores['f1']:.3f}** within 2 pixels (precision {scores['precision']:.3f}, recall {scores['recall']:.3f}). "
        f"{record.beside(resolved, metrics)} "
        f"{_decided(decision)} {protocol(resolved)}{_chosen_epoch(resolved, history)}"
    )


def _decided(decision: dict[str, Any]) -> str:
    cracked, free = decision["tp"] + decision["fn"], decision["fp"] + decision["tn"]
    if free and decision["fp"] == free and not decision["fn"]:
        return f"It calls every test image cracked, the {free} without a crack too."
    rest = f", wrongly on {decision['fp']} of the {free} without a crack" if free else ""
    return f"It decides rightly on {decision['tp']} of the {cracked} cracked images{rest}."


def progress(params: RunParameters, history: pd.DataFrame) -> str:
    """How far training came, and how long that took."""
    minutes = history["time_s"].sum() / 60
    done = "All" if len(history) == params.epochs else f"{len(history)} of"
    rest = "" if len(history) == params.epochs else " The same run goes on from its last checkpoint."
    return f"{done} {_count(params.epochs, 'epoch')} are done, {minutes:.1f} minutes of training.{rest}"


def architecture(resolved: dict[str, Any]) -> str:
    """The network's name, with the encoder where there is a choice."""
    name = {"unet": "U-Net", "segformer": "SegFormer"}.get(resolved["architecture"])
    if name is None:
        return resolved["architecture"].replace("segdecnet", "SegDecNet")
    encoder = resolved["encoder"] or DEFAULT_ENCODERS[resolved["architecture"]]
    return f"{name} (encoder {encoder}, {'from ImageNet weights' if resolved['pretrained'] else 'from random weights'})"


def protocol(resolved: dict[str, Any]) -> str:
    """Which images chose what, and what was done to the predicted masks behind the threshold."""
    chosen = "the weights and the thresholds" if resolved["validate"] and resolved["use_best_model"] else "the thresholds"
    sentences = [f"Val (the validation set) chose {chosen}; test was read once."]
    if resolved["validate_on_test"]:
        sentences = [f"**The test set itself chose {chosen}**: the figures are better than on new images."]
    if resolved["blackening"]:
        sentences.append("The masks of images decided crack-free were emptied.")
    if resolved["lowered_threshold"]:
        sentences.append("Where an image was decided cracked but its mask came out empty, 0.9 of the threshold was used.")
    return " ".join(sentences)


def _chosen_epoch(resolved: dict[str, Any], history: pd.DataFrame) -> str:
    """Which epoch val chose, and what it means if that is the last."""
    column = {"seg": "val_f1", "dec": "val_decision_ap"}.get(resolved["best_model_type"])
    if not (column and resolved["validate"] and resolved["use_best_model"]):
        return ""
    epoch = int(history.loc[history[column].idxmax(), "epoch"])
    last = ", the last: longer training may still help" if epoch == len(history) else ""
    return f" The weights are those of epoch {epoch} of {len(history)}{last}."


def losses(resolved: dict[str, Any]) -> str:
    """How to read the curves of the three losses."""
    if not resolved["decision_loss"]:
        return "The total is the segmentation loss alone: the decision was not trained."
    delta = resolved["delta_cls_loss"]
    if resolved["dynamically_balanced_loss"]:
        return (
            "The total falls by itself: epoch by epoch its weight moves from the segmentation loss to the decision loss, "
            f"which counts only {delta} times. The curves of the two show them unweighted."
        )
    return f"The total is the segmentation loss plus {delta} times the decision loss; the curves of the two show them unweighted."


def validation(resolved: dict[str, Any]) -> str:
    """The caption of the losses' figure with val's average precision."""
    losses = "The three training losses"
    chosen_on = "test" if resolved["validate_on_test"] else "val"
    return f"{losses}, and the average precision of the decision on {chosen_on} (right axis)." if resolved["validate"] else f"{losses}."


def decision(resolved: dict[str, Any], metrics: dict[str, Any]) -> str:
    """What the decision table does not say by itself."""
    val, chosen_on = metrics["val"]["decision"], "test" if resolved["validate_on_test"] else "val"
    tested = metrics["decision"]
    sentences = [] if resolved["decision_loss"] else ["The decision was not trained: these figures are those of random weights."]
    cracked, images = tested["tp"] + tested["fn"], sum(tested[name] for name in ("tp", "fp", "fn", "tn"))
    if cracked < images:
        f1, accuracy = 2 * cracked / (cracked + images), cracked / images
        sentences.append(f"For comparison: calling every test image cracked gives F1 {f1:.3f} and accuracy {accuracy:.3f}.")
    if tested["fp"] + tested["tn"] == 0:
        outcome = "precision is 1 by construction" if tested["tp"] else "precision says nothing; no cracked image was found"
        sentences.append(f"The test set holds no image without a crack, so {outcome}.")
    if val["fp"] + val["tn"] == 0:
        either = " either" if tested["fp"] + tested["tn"] == 0 else ""
        holds = "So nothing was there" if chosen_on == "test" else f"Val holds none{either}: nothing was there"
        sentences.append(f"{holds} to be told apart, and the threshold is {chosen_on}'s lowest score.")
    elif val["tn"] == 0:
        sentences.append(
            f"On {chosen_on} no threshold had a better F1 than calling every image cracked: the decision has not been learned."
        )
    return " ".join(sentences)


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
    widths = tables.failures_table(results, mm_per_px)
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


def false_alarms(metrics: dict[str, Any]) -> str:
    """The figure of the crack-free test images, which the table of scores leaves out."""
    crack_free = metrics["crack_free"]
    if not crack_free["images"]:
        return "The test set holds no crack-free images, so false alarms on sound pavement were not measured."
    return (
        "Crack-free test images count in none of these means: "
        f"of {crack_free['images']} such images {crack_free['images_with_false_alarm']} show predicted crack somewhere, "
        f"on {100 * crack_free['false_alarm_pixel_share']:.2f} % of their pixels on average."
    )


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
