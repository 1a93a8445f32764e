"""Which epoch's weights a run evaluates, and why."""

import dataclasses

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


def load_chosen(run: Run) -> Chosen | None:
    """The chosen epoch. None if it is not known, as for a run of an earlier version that went by ``both``."""
    if run.chosen.exists:
        return Chosen(**run.chosen.load())
    params, history = run.params.load(), run.history.load()
    if not params.chooses_checkpoint:
        return Chosen(len(history), None, {})
    column = {"seg": "val_f1", "dec": "val_decision_ap"}.get(params.best_model_type)
    if column is None or history[column].isna().all():
        return None
    row = history.loc[history[column].idxmax()]
    return Chosen(int(row["epoch"]), params.choosing_split, {name: row[name] for name in row.index if name.startswith("val_")})
