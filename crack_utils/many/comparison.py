"""Many runs side by side, from their artifacts alone."""

import os
import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from crack_utils.config import FOLDERS, PARAMETER_DEFAULTS, UNIDENTIFYING, is_run_name, plain
from crack_utils.errors import MissingRun, UserError
from crack_utils.store import F1_DEVIATION, Run, home, is_comparable, published

NAMES = ("architecture", "encoder", "optimizer", "dataset")  # parameters whose values tell what they are
FIGURES = ("val F1", "test F1", "precision", "recall", "decision F1")


def find_runs(patterns: Collection[str]) -> list[Run]:
    """The evaluated runs that match any of ``patterns``: a name, a folder of runs, or a pattern such as ``trial/*``.

    Those whose artifacts cannot be read, or are of a version without some, are left out and named.

    Raises:
        MissingRun: a pattern that no evaluated run matches.
    """
    root = home() / "runs"
    names = sorted(path.parent.relative_to(root).as_posix() for path in root.rglob("metrics.json"))
    names = [name for name in names if is_run_name(name)]
    found: dict[str, Run] = {}
    for pattern in patterns:
        matching = [name for name in names if fnmatch(name, pattern) or name.startswith(pattern.rstrip("/") + "/")]
        if not matching:
            raise MissingRun(f"no evaluated run is called {pattern}; there are {', '.join(names) or 'none yet: train and evaluate first'}")
        found |= {name: Run(name) for name in matching}
    reasons = {name: _unreadable(run) for name, run in found.items()}
    for name, reason in reasons.items():
        if reason:
            print(f"Left out: {name} ({reason})")
    if all(reasons.values()):
        raise MissingRun(f"none of these runs can be compared: {', '.join(found)}; evaluate them again with this version")
    return [run for name, run in found.items() if not reasons[name]]


def _unreadable(run: Run) -> str | None:
    """Why a run cannot be compared; None where it can."""
    try:
        _row(run, [])
        return None
    except UserError as error:
        return str(error)
    except KeyError as error:
        return f"of a version that knew no {error}"


def differing(runs: Sequence[Run]) -> list[str]:
    """The parameters whose values differ between runs, the seed and what does not change a run left out."""
    given = [run.params.load().as_dict() for run in runs]
    kept = [name for name in PARAMETER_DEFAULTS if name not in (*UNIDENTIFYING, "seed")]
    return [name for name in kept if len({str(values[name]) for values in given}) > 1]


def load(runs: Sequence[Run]) -> pd.DataFrame:
    """A row a run: name, seed, the parameters that differ, ``group`` (what runs of the same values are called), figures, minutes,
    published F1."""
    names = differing(runs)
    frame = pd.DataFrame([_row(run, names) for run in runs])
    return frame.assign(group=frame["group"].map(_group_names(frame)))


def _group_names(frame: pd.DataFrame) -> dict[str, str]:
    """What each group is called: as its runs are, their common folder and seeds left out, where that tells the groups apart and a
    person named them; a sweep's grid calls runs after their parameters, which read better as :func:`_described`."""
    folder = os.path.commonpath([os.path.dirname(name) for name in frame["run"]])
    short = frame["run"].str.removeprefix(f"{folder}/").str.replace(r"_?seed\d+$", "", regex=True)
    names = short.groupby(frame["group"], sort=False).unique()
    parameters = frame.columns[2 : frame.columns.get_loc("group")]
    by_grid = any(short.str.contains(rf"(?:^|_){re.escape(name)}-").all() for name in parameters)
    is_telling = names.str.len().eq(1).all() and short[short != ""].nunique() == len(names) and not by_grid
    return {group: name[0] if is_telling else group for group, name in names.items()}


def _row(run: Run, names: list[str]) -> dict[str, Any]:
    resolved, metrics = run.params.resolved(), run.metrics.load()
    given = resolved["given"]
    values = {name: _shown(name, given.get(name, PARAMETER_DEFAULTS[name])) for name in names}
    segmentation = metrics["segmentation_2px"]
    comparable = is_comparable(resolved)
    return {
        "run": run.name,
        "seed": resolved["seed"],
        **values,
        "group": ", ".join(map(_described, values, values.values())) or "all",
        # A run that chose on test has no figure of val, and nothing to be preferred for.
        "val F1": float("nan") if resolved["validate_on_test"] else metrics["val"]["segmentation_2px"]["f1"],
        "test F1": segmentation["f1"],
        "precision": segmentation["precision"],
        "recall": segmentation["recall"],
        "decision F1": metrics["decision"]["f1"],
        "minutes": run.history.load()["time_s"].sum() / 60,
        "published F1": published(resolved["record_run"], resolved["seed"])["f1"].mean() if comparable else float("nan"),
    }


def _described(name: str, value: str) -> str:
    """A parameter's value as a person says it: ``unet``, ``no augmentation``, ``epochs 5``."""
    if value in ("True", "False"):
        return name if value == "True" else f"no {name}"
    return value if name in NAMES else f"{name} {value}"


def _shown(name: str, value: Any) -> str:
    """A parameter's value; of a folder its name alone, for a page is passed on."""
    return Path(value).name if name in FOLDERS and value else plain(value)


def by_group(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs of each group, the group with the best mean F1 on val first."""
    order = frame.groupby("group", sort=False)["val F1"].mean().sort_values(ascending=False, kind="stable").index
    return {group: frame[frame["group"] == group] for group in order}


def histories(frame: pd.DataFrame) -> dict[str, list[pd.DataFrame]]:
    """The histories of each group's runs, the best group on val first."""
    return {group: [_history(Run(name)) for name in runs["run"]] for group, runs in by_group(frame).items()}


def _history(run: Run) -> pd.DataFrame:
    history = run.history.load()
    return history.assign(val_f1=np.nan) if run.params.load().validate_on_test else history  # its validations saw test


def _f1_by_image(runs: Sequence[str]) -> pd.Series:
    """Each image's F1, the mean over runs, by photo and stem."""
    return pd.concat([Run(name).per_image.load().set_index(["photo", "stem"])["f1"] for name in runs], axis=1, join="inner").mean(axis=1)


def chance_between_seeds(groups: dict[str, pd.DataFrame], *counts: int) -> tuple[float, float] | None:
    """What seeds alone do, from all groups with several: the standard deviation of F1 on test, pooled, and how far the means of
    two combinations of so many runs come apart by it in 95 of 100 cases. None where no group has several seeds."""
    several = [runs["test F1"] for runs in groups.values() if runs["seed"].nunique() > 1]
    if not several:
        return None
    freedom = sum(len(values) - 1 for values in several)
    deviation = (sum(((values - values.mean()) ** 2).sum() for values in several) / freedom) ** 0.5
    deviation = max(deviation, F1_DEVIATION) if freedom < 4 else deviation  # of few seeds it may come out too small
    return deviation, special.stdtrit(freedom, 0.975) * deviation * sum(1 / count for count in counts) ** 0.5
