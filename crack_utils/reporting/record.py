"""A measured run beside a published run."""

from typing import Any

import pandas as pd

from crack_utils.reporting.html import literal
from crack_utils.store import DATASET, F1_DEVIATION, F1_NOISE, differences, is_comparable, load_record, published, record_rows

FIGURES = {  # title: place in metrics.json; the second name is the column of the record too
    **{f"{name.title()} within 2 pixels": ("segmentation_2px", name) for name in ("precision", "recall", "f1")},
    **{"Segmentation threshold": ("segmentation_2px", "threshold"), "Decision TP": ("decision", "tp"), "Decision FN": ("decision", "fn")},
}


def comparison_table(resolved: dict[str, Any], metrics: dict[str, Any]) -> pd.DataFrame:
    """Published and measured figures side by side, for a run that :func:`crack_utils.store.is_comparable`."""
    figures = published(resolved["record_run"], resolved["seed"])[[name for _, name in FIGURES.values()]].mean()
    rows = []
    for title, (kind, name) in FIGURES.items():
        theirs, mine = figures[name], metrics[kind][name]
        is_countable = kind != "decision" or not _other_test_images(resolved)  # the sizes of the test sets must be equal
        difference = f"{mine - theirs:+.6g}" if is_countable and not pd.isna(theirs) else ""
        judgement = _judge(mine - theirs, resolved) if name == "f1" else ""
        rows.append((title, "not published" if pd.isna(theirs) else float(theirs), mine, difference, judgement))
    return pd.DataFrame(rows, columns=["Figure", "Published", "Measured", "Difference", "Judgement"], dtype=object)


def comparison_words(resolved: dict[str, Any]) -> str:
    """Which published figures stand beside the measured ones, and what to know before reading anything into a gap."""
    if not is_comparable(resolved):
        return f"The record holds runs on CRACK500 photos. None stands beside this run, because {_why_not(resolved)}."
    name, group = resolved["record_run"], record_rows(resolved["record_run"])
    note = group["note"].iloc[0]
    sentences = [f"The published run is **{literal(name)}**" + (f" ({literal(note)})." if note else ".")]
    if len(group) > 1:
        which = f"the mean of its {len(group)} seeds"
        if len(published(name, resolved["seed"])) == 1:
            which = f"those of seed {resolved['seed']}, from which the published program draws other numbers"
        all_seeds = f"a mean F1 of {group['f1'].mean():.4f} with a standard deviation of {group['f1'].std():.4f}"
        sentences.append(f"Its figures are {which}. The {len(group)} seeds have {all_seeds}.")
    if _other_test_images(resolved):
        images, mine = load_record()[["tp", "fn"]].sum(axis=1).max(), resolved["data"]["test_title"]
        theirs = f"the published run was tested on all {images} official test images"
        sentences.append(f"**The test images differ**: {theirs}, this run on the {literal(mine)}.")
    different = f"**The two were trained differently**, which may explain a gap: {literal('; '.join(differences(resolved)))}."
    sentences.append(different if differences(resolved) else "This run has the parameters of the published run.")
    spread = f"a standard deviation of about {F1_DEVIATION}: a gap below {F1_NOISE} says nothing"
    sentences.append(f"If published runs differ only in their seed, their F1 has {spread}.")
    if resolved["batch_size"] > 1:
        sentences.append("The published program summed the gradients of a batch's images. Here a batch's loss is the mean over its images.")
    return " ".join(sentences)


def beside(resolved: dict[str, Any], metrics: dict[str, Any]) -> str:
    """How far F1 lies from the published runs, in a sentence or two."""
    record, mine = load_record()["f1"].dropna(), metrics["segmentation_2px"]["f1"]
    if not is_comparable(resolved):
        reach = f"The published runs, on CRACK500 photos, reach an F1 of {record.min():.3f} to {record.max():.3f}."
        return f"{reach} This run cannot be compared with them, because {_why_not(resolved)}."
    theirs = published(resolved["record_run"], resolved["seed"])["f1"].mean()
    gap, name = mine - theirs, resolved["record_run"]
    where = "below" if gap < 0 else "above"
    return f"This F1 is {abs(gap):.3f} {where} the {theirs:.3f} of the published run {literal(name)}: {_judge(gap, resolved)}."


def _why_not(resolved: dict[str, Any]) -> str:
    if resolved["dataset"] == DATASET:
        return "its parameter record_run names no published run"
    return f"its images are those of {literal(resolved['data']['title'])}"


def _other_test_images(resolved: dict[str, Any]) -> bool:
    return resolved["data"]["test_title"] != resolved["data"]["title"]


def _judge(gap: float, resolved: dict[str, Any]) -> str:
    """Whether an F1 gap is larger than the gap between seeds."""
    if _other_test_images(resolved):
        return "not judged: other test images"
    if abs(gap) < F1_NOISE:
        judgement = f"within the noise between seeds (below {F1_NOISE})"
    else:
        judgement = f"{abs(gap) / F1_DEVIATION:.0f} times the seed-to-seed standard deviation ({F1_DEVIATION})"
    return judgement + (", but with other parameters" if differences(resolved) else "")
