"""The published record of runs (``runs/record/``)."""

import difflib
from typing import Any

import pandas as pd

from crack_utils.config import RunParameters, parse_parameters, read_yaml
from crack_utils.errors import DataError, ParameterError
from crack_utils.store.places import REPOSITORY

RECORD = REPOSITORY / "runs" / "record"
DATASET = "crack500"  # what all published figures were measured on
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
    rows = record_rows(record_run)
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


def differences(resolved: dict[str, Any]) -> list[str]:
    """In words, where a run's training differs from that of the published run it is set beside."""
    changed = parse_parameters(resolved["given"]).differences(configuration(resolved["record_run"]))
    found = [f"{name} {_value(mine)}, published {_value(theirs)}" for name, (mine, theirs) in changed.items() if name not in _NOT_COMPARED]
    mine, theirs = resolved["data"]["counts"]["train"]["negatives"], record_rows(resolved["record_run"])["train_negatives"].iloc[0]
    if not pd.isna(theirs) and mine != theirs:
        found.append(f"{mine} crack-free training images, published {theirs}")
    return found


def record_rows(record_run: str) -> pd.DataFrame:
    check_record_run(record_run)
    record = load_record()
    return record[record["name"] == record_run]


def _value(value: Any) -> str:
    return "not set" if value is None else str(value)
