"""Sentences whose figures are computed from a run's artifacts."""

from typing import Any

import pandas as pd

from crack_utils.config import NETWORKS, RunParameters
from crack_utils.data import layout_of
from crack_utils.reporting.record import beside
from crack_utils.store import Run

PAPER = "https://ieeexplore.ieee.org/stamp/stamp.jsp?tp=&arnumber=9680172"
LOOK = {  # what to look for, said before a figure
    "loss": "It should fall, steeply first; a curve that jumps about or rises wants a lower learning rate.",
    "loss_decision": "Does the image show a crack? Near 0.69 the network is guessing; towards 0 it is sure, and right.",
    "loss_segmentation": "Where is the crack? It should fall and flatten; while it still falls, longer training may help.",
    "validation": "Average precision (right) below 1: some crack-free image looks more cracked than a cracked one.",
    "scores": "F1 should rise and flatten. Where it still rises at the end, longer training may help; where it falls, it was too long.",
}


def heading(resolved: dict[str, Any]) -> str:
    """The write-up's title and the links under it, as Markdown."""
    links = f"[Paper]({PAPER}) · [Data set]({layout_of(resolved['dataset']).link or 'explore.html'}) · [Test examples](visualize.html)"
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
        f"{beside(resolved, metrics)} "
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
    network = NETWORKS[resolved["architecture"]]
    if network.encoder is None:
        return network.title
    name, encoder = network.title, resolved["encoder"] or network.encoder
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
