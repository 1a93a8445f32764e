"""A measured run beside a published one."""

from typing import Any

import pandas as pd

from crack_utils.store import DATASET, F1_DEVIATION, F1_NOISE, differences, is_comparable, load_record, published, record_rows

FIGURES = {  # by title: where metrics.json has it; the record's columns have the same names
    "Precision within 2 pixels": ("segmentation_2px", "precision"),
    "Recall within 2 pixels": ("segmentation_2px", "recall"),
    "F1 within 2 pixels": ("segmentation_2px", "f1"),
    "Segmentation threshold": ("segmentation_2px", "threshold"),
    "Decision TP": ("decision", "tp"),
    "Decision FN": ("decision", "fn"),
}


def comparison_table(resolved: dict[str, Any], metrics: dict[str, Any]) -> pd.DataFrame:
    """Published and measured figures side by side.

    Args:
        resolved: params.json, of a run that :func:`is_comparable`.
        metrics: metrics.json.
    """
    figures = published(resolved["record_run"], resolved["seed"])[[name for _, name in FIGURES.values()]].mean()
    rows = []
    for title, (kind, name) in FIGURES.items():
        theirs, mine = figures[name], metrics[kind][name]
        uncountable = kind == "decision" and _other_test_images(resolved)  # counts of sets of two sizes
        difference = "" if pd.isna(theirs) or uncountable else f"{mine - theirs:+.6g}"
        judgement = _judge(mine - theirs, resolved) if name == "f1" else ""
        rows.append((title, "not published" if pd.isna(theirs) else float(theirs), mine, difference, judgement))
    return pd.DataFrame(rows, columns=["Figure", "Published", "Measured", "Difference", "Judgement"], dtype=object)


def comparison_words(resolved: dict[str, Any]) -> str:
    """What stands beside the measured figures, and what to know before reading anything into a gap."""
    if not is_comparable(resolved):
        is_same_data = resolved["dataset"] == DATASET
        reason = "record_run names none of its runs" if is_same_data else f"these are of {resolved['data']['title']}"
        return f"No published run is set beside these figures: the record's are of CRACK500 photos, and {reason}."
    sentences = [_what(resolved)]
    if _other_test_images(resolved):
        record = load_record()
        sentences.append(
            f"**The two are of different images**: published are all {(record['tp'] + record['fn']).max()} official test images, "
            f"measured is the {resolved['data']['test_title']}."
        )
    found = differences(resolved)
    if found:
        sentences.append(f"**The two were not trained alike**, which may explain a gap: {'; '.join(found)}.")
    else:
        sentences.append("The parameters are the published run's.")
    sentences.append(
        f"Published runs that differ in their seed alone have F1 with a standard deviation of about {F1_DEVIATION}: a gap below "
        f"{F1_NOISE} says nothing."
    )
    if resolved["batch_size"] > 1:
        sentences.append("In batches the record summed the gradients of one-image passes; here a batch is a true one, with mean losses.")
    return " ".join(sentences)


def beside(resolved: dict[str, Any], metrics: dict[str, Any]) -> str:
    """One sentence: how F1 lies to the record."""
    record, mine = load_record()["f1"].dropna(), metrics["segmentation_2px"]["f1"]
    if not is_comparable(resolved):
        return (
            f"The published runs, on CRACK500 photos, reach {record.min():.3f} to {record.max():.3f}; "
            f"figures of {resolved['data']['title']} cannot be set against these."
        )
    theirs = published(resolved["record_run"], resolved["seed"])["f1"].mean()
    if pd.isna(theirs):
        return f"The F1 of the published run {resolved['record_run']} was not published."
    gap = mine - theirs
    where = "below" if gap < 0 else "above"
    return f"That is {abs(gap):.3f} {where} the published run {resolved['record_run']} ({theirs:.3f}; {_judge(gap, resolved)})."


def _other_test_images(resolved: dict[str, Any]) -> bool:
    return resolved["data"]["test_title"] != resolved["data"]["title"]


def _judge(gap: float, resolved: dict[str, Any]) -> str:
    """An F1 gap against what seeds alone do."""
    if _other_test_images(resolved):
        return "not judged: other test images"
    if abs(gap) < F1_NOISE:
        judgement = f"within the noise between seeds (below {F1_NOISE})"
    else:
        judgement = f"{abs(gap) / F1_DEVIATION:.0f} times the seed-to-seed standard deviation ({F1_DEVIATION})"
    return judgement + (", but other parameters" if differences(resolved) else "")


def _what(resolved: dict[str, Any]) -> str:
    """Which published run it is, and which of its seeds."""
    name, group = resolved["record_run"], record_rows(resolved["record_run"])
    note = group["note"].iloc[0]
    sentence = f"Published is **{name}**" + (f" ({note})" if note else "")
    if len(group) == 1:
        return f"{sentence}."
    same_seed = len(published(name, resolved["seed"])) == 1
    which = f"seed {resolved['seed']}, which drew other numbers there" if same_seed else f"the mean of its {len(group)} seeds"
    mean, deviation = group["f1"].mean(), group["f1"].std()
    return f"{sentence}: {which}. The {len(group)} seeds have a mean F1 of {mean:.4f} with a standard deviation of {deviation:.4f}."
