"""Sentences about a run, with figures from the run's files."""

from typing import Any

import pandas as pd

from crack_utils.config import NETWORKS, RunParameters
from crack_utils.data import layout_of
from crack_utils.reporting.html import count, literal
from crack_utils.reporting.record import beside
from crack_utils.store import Run, load_chosen

PAPER = "https://ieeexplore.ieee.org/stamp/stamp.jsp?tp=&arnumber=9680172"
LOOK = {  # by column of the history or name of a figure
    "loss": "The curve should fall, steeply at first. If it jumps or rises, try a lower learning rate.",
    "loss_decision": "Does the image show a crack? Near 0.69 the network is guessing. Near 0 the network is sure and right.",
    "loss_segmentation": "Where is the crack? The curve should fall and flatten. If it does not flatten, longer training may help.",
    "validation": "If the average precision (right axis) is below 1, some crack-free image looks more cracked than a cracked one.",
    "scores": "F1 should rise and flatten. If it still rises at the end, longer training may help. If it falls, training was too long.",
}


def look(column: str) -> str:
    """What to look for in a curve: the sentences before the figure of a history's column, of ``validation`` or of ``scores``."""
    return LOOK.get(column, "The curve should fall and flatten. If it does not flatten, longer training may help.")


def heading(resolved: dict[str, Any]) -> str:
    """The write-up's title and the links below it, as Markdown."""
    links = f"[Paper]({PAPER}) · [Data set]({layout_of(resolved['dataset']).link or 'explore.html'}) · [Test examples](visualize.html)"
    return f"# Results of training on {literal(resolved['data']['title'])}\n\n{links}"


def summary(run: Run, resolved: dict[str, Any], metrics: dict[str, Any], history: pd.DataFrame) -> str:
    """One paragraph: the network, its training, its data, and how good the network is."""
    data, scores, chosen, epochs = resolved["data"], metrics["segmentation_2px"], load_chosen(run), len(history)
    train, test, decision = data["counts"]["train"], data["counts"]["test"], metrics["decision"]
    cracked, free = decision["tp"] + decision["fn"], decision["fp"] + decision["tn"]
    alarms = f" and raises a false alarm on {literal(decision['fp'])} of {count(free, 'crack-free one')}" if free else ""
    decided = f"finds {literal(decision['tp'])} of {count(cracked, 'cracked image')}{alarms}"
    if free and decision["fp"] == free and not decision["fn"]:
        decided = f"decides that every test image is cracked, including {count(free, 'crack-free one')}"
    said = (
        f"Run **{literal(run.name)}**: {literal(architecture(resolved))} was trained for {count(epochs, 'epoch')} "
        f"({history['time_s'].sum() / 60:.1f} minutes on {literal(resolved['device'])}) on {count(sum(train.values()), 'image')}, "
        f"{train['positives']} of them with a crack. On the {count(test['positives'], 'cracked test image')} of "
        f"{literal(data['test_title'])}, the network reaches a mean F1 of **{scores['f1']:.3f}** within 2 pixels "
        f"(precision {scores['precision']:.3f}, recall {scores['recall']:.3f}). "
        f"{beside(resolved, metrics)} The network {decided}. {protocol(resolved)}"
    )
    if chosen is None or chosen.by is None:  # no split chose the weights, or the epoch is not known
        return said
    last = ", the last epoch: longer training may still help" if chosen.epoch == epochs else ""
    return f"{said} The weights are those of epoch {literal(chosen.epoch)} of {epochs}{last}."


def progress(params: RunParameters, history: pd.DataFrame) -> str:
    """How many epochs are done, and how long they took."""
    rest = "" if len(history) == params.epochs else " The same run continues from its last checkpoint when you start it again."
    return f"Training has done {len(history)} of {count(params.epochs, 'epoch')} in {history['time_s'].sum() / 60:.1f} minutes.{rest}"


def architecture(resolved: dict[str, Any]) -> str:
    """The network's title, with the encoder if the network has a choice of encoders."""
    network = NETWORKS[resolved["architecture"]]
    if network.encoder is None:
        return network.title
    weights = "ImageNet" if resolved["pretrained"] else "random"
    return f"{network.title} (encoder {resolved['encoder'] or network.encoder}, from {weights} weights)"


def protocol(resolved: dict[str, Any]) -> str:
    """Which split chose weights and thresholds, and which rules changed the predicted masks after the threshold."""
    chosen = "the weights and the thresholds" if resolved["validate"] and resolved["use_best_model"] else "the thresholds"
    sentences = [f"Val (the validation set) chose {chosen}; test was read once."]
    if resolved["validate_on_test"]:
        sentences = [f"**The test set itself chose {chosen}**, so the figures are better than they would be on new images."]
    if resolved["blackening"]:
        sentences.append("The predicted masks of images decided crack-free were emptied.")
    if resolved["lowered_threshold"]:
        sentences.append("If an image was decided cracked but its mask came out empty, 0.9 of the threshold was used.")
    return " ".join(sentences)


def losses(resolved: dict[str, Any]) -> str:
    """How to read the curves of the losses."""
    if not resolved["decision_loss"]:
        return "The decision was not trained, so the total leaves out the decision loss."
    is_balanced = resolved["dynamically_balanced_loss"]
    moves = "weight moves from the segmentation loss to the decision loss epoch by epoch, and " if is_balanced else ""
    so = " So the total changes even if nothing is learned." if is_balanced else ""
    counts = f"In the total, {moves}the decision loss counts {literal(resolved['delta_cls_loss'])} times.{so}"
    return f"{counts} The curves of the single losses are unweighted."


def validation(resolved: dict[str, Any]) -> str:
    """The caption of the figure of all losses."""
    chosen_on = "test" if resolved["validate_on_test"] else "val"
    also = f", and the average precision of the decision on {chosen_on} (right axis)" if resolved["validate"] else ""
    return f"The training losses{also}."


def decision(resolved: dict[str, Any], metrics: dict[str, Any]) -> str:
    """How to read the table of the decision."""
    val, tested, chosen_on = metrics["val"]["decision"], metrics["decision"], "test" if resolved["validate_on_test"] else "val"
    cracked, free = tested["tp"] + tested["fn"], tested["fp"] + tested["tn"]
    sentences = [] if resolved["decision_loss"] else ["The decision was not trained, so these figures come from random weights."]
    if free:
        f1, accuracy = 2 * cracked / (2 * cracked + free), cracked / (cracked + free)
        sentences.append(f"For comparison: calling every test image cracked gives F1 {f1:.3f} and accuracy {accuracy:.3f}.")
    else:
        outcome = "precision is 1 by construction" if tested["tp"] else "precision says nothing: no cracked image was found"
        sentences.append(f"The test set has no crack-free image, so {outcome}.")
    if val["fp"] + val["tn"] == 0:
        reason = "Therefore" if chosen_on == "test" else f"Val has no crack-free image{'' if free else ' either'}, so"
        sentences.append(f"{reason} the threshold is the lowest score of {chosen_on}.")
    elif val["tn"] == 0:
        failed = "no threshold has a better F1 than calling every image cracked: the decision has not been learned"
        sentences.append(f"On {chosen_on}, {failed}.")
    return " ".join(sentences)


def false_alarms(metrics: dict[str, Any]) -> str:
    """The figures of the crack-free test images, which the table of scores leaves out."""
    free = metrics["crack_free"]
    if not free["images"]:
        return "The test set has no crack-free images, so false alarms on such images were not measured."
    return (
        f"These means leave out crack-free images. Of {count(free['images'], 'crack-free test image')}, "
        f"{literal(free['images_with_false_alarm'])} show predicted crack. "
        f"On average over all of them, this is {100 * free['false_alarm_pixel_share']:.2f} % of the pixels."
    )
