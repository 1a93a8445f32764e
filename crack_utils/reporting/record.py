"""The published record of runs (``runs/record/``), and a measured run set beside one of them."""

import difflib
from typing import Any

import pandas as pd

from crack_utils.artifacts import REPOSITORY
from crack_utils.config import RunParameters, parse_parameters, read_yaml
from crack_utils.errors import DataError, ParameterError

RECORD = REPOSITORY / "runs" / "record"
DATASET = "crack500"  # what all published figures were measured on
FIGURES = {  # by title: where metrics.json has it; the record's columns have the same names
    "Precision within 2 pixels": ("segmentation_2px", "precision"),
    "Recall within 2 pixels": ("segmentation_2px", "recall"),
    "F1 within 2 pixels": ("segmentation_2px", "f1"),
    "Segmentation threshold": ("segmentation_2px", "threshold"),
    "Decision TP": ("decision", "tp"),
    "Decision FN": ("decision", "fn"),
}
# The record's runs that differ in their seed alone: F1 has about this standard deviation (seeds1 to seeds6), and the four
# identical runs run9_1 and its reruns spread over .016. So a gap below F1_NOISE says nothing. No other figure's spread is known.
F1_DEVIATION = 0.005
F1_NOISE = 0.01
# What the record does not state; crack-free images are compared as they were found, not as they were asked for.
_NOT_COMPARED = {"data_root", "negatives_root", "seed", "split_seed", "use_negatives", "train_negatives"}


def load_record() -> pd.DataFrame:
    """The published runs: parameters and figures, one row a run. Empty cells are missing values, empty notes empty texts.

    Raises:
        DataError: the table is missing.
    """
    path = RECORD / "record.csv"
    if not path.is_file():
        raise DataError(f"{path} is missing; it belongs to the repository: git checkout -- runs/record")
    frame = pd.read_csv(path, dtype={"seed": "Int64", "train_negatives": "Int64", "tp": "Int64", "fn": "Int64"})
    return frame.assign(note=frame["note"].fillna(""))


def check_record_run(name: str | None) -> None:
    """Raise ParameterError for a name that no published run has, with the nearest known ones."""
    known = list(load_record()["name"].unique())
    if name is not None and name not in known:
        near = difflib.get_close_matches(name, known) or known
        raise ParameterError(f"record_run: no published run is called {name!r}; try {', '.join(near)} (see runs/record/record.csv)")


def published(record_run: str, seed: int) -> pd.DataFrame:
    """The rows a run with this seed is set beside: the one of the same seed, else all of that name (their mean counts)."""
    rows = _rows(record_run)
    same_seed = rows[rows["seed"] == seed]
    return rows if same_seed.empty else same_seed


def configuration(record_run: str) -> RunParameters:
    """A published run's parameters, from its configuration in ``runs/record/``."""
    check_record_run(record_run)
    path = RECORD / f"{record_run}.yaml"
    values = read_yaml(path if path.is_file() else RECORD / "hyperparameters.yaml")
    members = values.pop("sweep", {}).get("members", {})
    return parse_parameters(values | members.get(record_run, {}))


def is_comparable(resolved: dict[str, Any]) -> bool:
    """Whether params.json names a published run and the figures are of the same data set."""
    return resolved.get("record_run") is not None and resolved["dataset"] == DATASET


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


def differences(resolved: dict[str, Any]) -> list[str]:
    """In words, where a run's training differs from that of the published run it is set beside."""
    changed = parse_parameters(resolved["given"]).differences(configuration(resolved["record_run"]))
    found = [f"{name} {_value(mine)}, published {_value(theirs)}" for name, (mine, theirs) in changed.items() if name not in _NOT_COMPARED]
    mine, theirs = resolved["data"]["counts"]["train"]["negatives"], _rows(resolved["record_run"])["train_negatives"].iloc[0]
    if not pd.isna(theirs) and mine != theirs:
        found.append(f"{mine} crack-free training images, published {theirs}")
    return found


def _rows(record_run: str) -> pd.DataFrame:
    check_record_run(record_run)
    record = load_record()
    return record[record["name"] == record_run]


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
    name, group = resolved["record_run"], _rows(resolved["record_run"])
    note = group["note"].iloc[0]
    sentence = f"Published is **{name}**" + (f" ({note})" if note else "")
    if len(group) == 1:
        return f"{sentence}."
    same_seed = len(published(name, resolved["seed"])) == 1
    which = f"seed {resolved['seed']}, which drew other numbers there" if same_seed else f"the mean of its {len(group)} seeds"
    mean, deviation = group["f1"].mean(), group["f1"].std()
    return f"{sentence}: {which}. The {len(group)} seeds have a mean F1 of {mean:.4f} with a standard deviation of {deviation:.4f}."


def _value(value: Any) -> str:
    return "not set" if value is None else str(value)
