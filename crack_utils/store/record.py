"""The published record of runs (``runs/record/``)."""

import difflib
from pathlib import Path
from typing import Any

import pandas as pd

from crack_utils.config import parse_parameters, read_yaml
from crack_utils.errors import DataError, ParameterError
from crack_utils.store.files import SHIPPED

RECORD = SHIPPED / "runs" / "record"
DATASET = "crack500"  # all published figures are of this data set
# The standard deviation of F1 among published runs that differ only in their seed (seeds1 to seeds6). The four identical runs
# run9_1 and its reruns span 0.016. So a gap below F1_NOISE says nothing. The record tells the spread of no other figure.
F1_DEVIATION = 0.005
F1_NOISE = 0.01
# Parameters that the record does not state. Crack-free images are compared by their number, not by these parameters.
_NOT_COMPARED = {"data_root", "negatives_root", "seed", "split_seed", "use_negatives", "train_negatives"}


def load_record(folder: Path = RECORD) -> pd.DataFrame:
    """The published runs: parameters and figures, one row a run. An empty cell is a missing value; an empty note is an empty text."""
    path = folder / "record.csv"
    if not path.is_file():
        raise DataError(f"{path} is missing, but belongs to the repository; run git checkout -- runs/record")
    frame = pd.read_csv(path, dtype={"seed": "Int64", "train_negatives": "Int64", "tp": "Int64", "fn": "Int64"})
    return frame.assign(note=frame["note"].fillna(""))


def check_record_run(name: str | None) -> None:
    """Raise ParameterError if no published run has this name. The message lists the nearest names."""
    if name is None:
        return
    known = list(load_record()["name"].unique())
    if name not in known:
        near = difflib.get_close_matches(name, known) or known
        raise ParameterError(f"record_run: no published run is called {name!r}; try {', '.join(near)} (see runs/record/record.csv)")


def published(record_run: str, seed: int) -> pd.DataFrame:
    """The published rows to compare a run with: the row of the same seed, or else all rows of this name, whose mean counts."""
    rows = record_rows(record_run)
    same_seed = rows[rows["seed"] == seed]
    return rows if same_seed.empty else same_seed


def is_comparable(resolved: dict[str, Any]) -> bool:
    """Whether params.json names a published run, and the run has the record's data set."""
    return resolved.get("record_run") is not None and resolved["dataset"] == DATASET


def differences(resolved: dict[str, Any]) -> list[str]:
    """How a run's training differs from the training of its published run, in words."""
    name = resolved["record_run"]
    images = resolved["data"]["counts"]["train"]["negatives"], record_rows(name)["train_negatives"].iloc[0]
    path = RECORD / f"{name}.yaml"
    values = read_yaml(path if path.is_file() else RECORD / "hyperparameters.yaml")
    members = values.pop("sweep", {}).get("members", {})
    changed = parse_parameters(resolved["given"]).differences(parse_parameters(values | members.get(name, {})))
    words = {name: ["not set" if value is None else value for value in pair] for name, pair in changed.items() if name not in _NOT_COMPARED}
    found = [f"{name} {mine}, published {theirs}" for name, (mine, theirs) in words.items()]
    if not pd.isna(images[1]) and images[0] != images[1]:
        found.append(f"{images[0]} crack-free training images, published {images[1]}")
    return found


def record_rows(record_run: str) -> pd.DataFrame:
    """All published rows of this name."""
    check_record_run(record_run)
    record = load_record()
    return record[record["name"] == record_run]
