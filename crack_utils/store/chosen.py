"""Which epoch's weights a run evaluates, and which split chose the epoch."""

import dataclasses
from collections.abc import Mapping

import pandas as pd

from crack_utils.config import RunParameters
from crack_utils.store.run import Run


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The epoch of the evaluated weights.

    Args:
        epoch: 1, 2, ...
        by: the split that chose the epoch; None if the run takes the last weights without a choice.
        validation: the history's ``val_...`` figures of this epoch; empty if the epoch was not validated.
    """

    epoch: int
    by: str | None
    validation: dict[str, float]


def chosen_epoch(params: RunParameters, row: Mapping[str, float]) -> Chosen:
    """The choice of the epoch that this row of the history describes."""
    validation = {name: float(value) for name, value in row.items() if name.startswith("val_") and not pd.isna(value)}
    return Chosen(int(row["epoch"]), params.choosing_split if params.chooses_checkpoint else None, validation)


def load_chosen(run: Run) -> Chosen | None:
    """The chosen epoch. None if the epoch is not known: runs of an earlier version that chose by ``both`` did not keep the epoch."""
    if run.chosen.exists:
        return Chosen(**run.chosen.load())
    params, history = run.params.load(), run.history.load()
    if not params.chooses_checkpoint:
        return chosen_epoch(params, history.iloc[-1])
    if params.best_model_type == "both":
        return None
    column = {"seg": "val_f1", "dec": "val_decision_ap"}[params.best_model_type]
    return chosen_epoch(params, history.loc[history[column].idxmax()])
