"""Numbers that compare runs. They are computed from the files of the runs."""

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
from crack_utils.scoring import paired_difference
from crack_utils.store import F1_DEVIATION, F1_NOISE, Run, home, is_comparable, published

SELF_EXPLAINING = ("architecture", "encoder", "optimizer", "dataset")  # a value such as unet needs no parameter name beside it
COMPARED = ("val F1", "test F1", "precision", "recall", "decision F1")


def find_runs(patterns: Collection[str]) -> list[Run]:
    """The evaluated runs that match at least one pattern: a name, a folder of runs, or a pattern such as ``trial/*``.

    Runs with files that are unreadable or of an earlier version are left out. A printed line names each of them. Raise MissingRun if no
    evaluated run matches a pattern.
    """
    root = home() / "runs"
    names = sorted(path.parent.relative_to(root).as_posix() for path in root.rglob("metrics.json"))
    names = [name for name in names if is_run_name(name)]
    found: dict[str, Run] = {}
    for pattern in patterns:
        matching = [name for name in names if fnmatch(name, pattern) or name.startswith(pattern.rstrip("/") + "/")]
        if not matching:
            known = ", ".join(names) or "none yet; train and evaluate a run first"
            raise MissingRun(f"no evaluated run is called {pattern}; evaluated runs: {known}")
        found |= {name: Run(name) for name in matching}
    reasons = {name: _unreadable(run) for name, run in found.items()}
    for name, reason in reasons.items():
        if reason:
            print(f"Left out: {name} ({reason})")
    if all(reasons.values()):
        raise MissingRun(f"none of these runs can be compared: {', '.join(found)}; evaluate them again with this version")
    return [run for name, run in found.items() if not reasons[name]]


def _unreadable(run: Run) -> str | None:
    """Why a run cannot be compared; None if the run can be compared."""
    try:
        _row(run, [])
        return None
    except UserError as error:
        return str(error)
    except KeyError as error:
        return f"the run is of an earlier version and lacks {error}"


def differing(runs: Sequence[Run]) -> list[str]:
    """The parameters whose values differ between runs, without the seed and without parameters that do not change the result."""
    given = [run.params.load().as_dict() for run in runs]
    kept = [name for name in PARAMETER_DEFAULTS if name in FOLDERS or name not in (*UNIDENTIFYING, "seed")]  # a folder stands for its data
    return [name for name in kept if len({str(values[name]) for values in given}) > 1]


def load(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each run: ``run`` (its name), ``seed``, the parameters that differ, ``group`` (runs with the same values are a group),
    the figures of COMPARED, ``minutes`` and ``published F1``."""
    names = differing(runs)
    frame = pd.DataFrame([_row(run, names) for run in runs])
    return frame.assign(group=frame["group"].map(group_names(frame)))


def varied(frame: pd.DataFrame) -> list[str]:
    """The columns of the parameters that differ."""
    return list(frame.columns[2 : frame.columns.get_loc("group")])


def group_names(frame: pd.DataFrame) -> dict[str, str]:
    """The name of each group on the page.

    A group has the name of its runs, without the common folder and without seeds, if these names tell the groups apart and a person chose
    them. The grid of a sweep names runs after parameters; then :func:`described` reads better.
    """
    folder = os.path.commonpath([os.path.dirname(name) for name in frame["run"]])
    short = frame["run"].str.removeprefix(f"{folder}/").str.replace(r"_?seed\d+$", "", regex=True)
    names = short.groupby(frame["group"], sort=False).unique()
    by_grid = any(short.str.contains(rf"(?:^|_){re.escape(name)}-").all() for name in varied(frame))
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
        "group": ", ".join(map(described, values, values.values())) or "all",
        # A run that chose on test has no figure of val, so nothing can prefer the run.
        "val F1": float("nan") if resolved["validate_on_test"] else metrics["val"]["segmentation_2px"]["f1"],
        "test F1": segmentation["f1"],
        "precision": segmentation["precision"],
        "recall": segmentation["recall"],
        "decision F1": metrics["decision"]["f1"],
        "minutes": run.history.load()["time_s"].sum() / 60,
        "published F1": published(resolved["record_run"], resolved["seed"])["f1"].mean() if comparable else float("nan"),
    }


def described(name: str, value: str) -> str:
    """A parameter's value as people say it: ``unet``, ``no augmentation``, ``epochs 5``."""
    if value in ("True", "False"):
        return name if value == "True" else f"no {name}"
    return value if name in SELF_EXPLAINING else f"{name} {value}"


def _shown(name: str, value: Any) -> str:
    """A parameter's value. Of a folder only the name, because people pass pages on."""
    return Path(value).name if name in FOLDERS and value else plain(value)


def by_group(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs of each group. The group with the best mean F1 on val is first."""
    order = frame.groupby("group", sort=False)["val F1"].mean().sort_values(ascending=False, kind="stable").index
    return {group: frame[frame["group"] == group] for group in order}


def histories(frame: pd.DataFrame) -> dict[str, list[pd.DataFrame]]:
    """The histories of each group's runs. The best group on val is first."""
    return {group: [_history(Run(name)) for name in runs["run"]] for group, runs in by_group(frame).items()}


def _history(run: Run) -> pd.DataFrame:
    history = run.history.load()
    return history.assign(val_f1=np.nan) if run.params.load().validate_on_test else history  # validated on test


def paired(frame: pd.DataFrame) -> pd.DataFrame:
    """Compare the best group on val with each other group, image by image, on the cracked test images that all their runs share.

    Returns:
        A row for each other ``group`` with common images: the number of ``images``; what :func:`crack_utils.scoring.paired_difference`
        finds between the means over seeds of F1; ``chance``, the difference that seeds alone may cause.
    """
    groups = by_group(frame)
    f1 = {group: _f1_by_image(runs["run"]) for group, runs in groups.items()}
    best, *others = f1
    rows: list[dict[str, Any]] = []
    for other in others:
        both = pd.concat([f1[best].rename("a"), f1[other].rename("b")], axis=1, join="inner").dropna()
        if len(both):
            found = paired_difference(both["a"], both["b"], both.index.get_level_values("photo"))
            _, chance = chance_between_seeds(groups, len(groups[best]), len(groups[other])) or (None, F1_NOISE)
            rows.append({"group": other, "images": len(both), **found, "chance": chance})
    return pd.DataFrame(rows)


def _f1_by_image(runs: Sequence[str]) -> pd.Series:
    """F1 of each image by photo and stem: the mean over runs."""
    return pd.concat([Run(name).per_image.load().set_index(["photo", "stem"])["f1"] for name in runs], axis=1, join="inner").mean(axis=1)


def chance_between_seeds(groups: dict[str, pd.DataFrame], *counts: int) -> tuple[float, float] | None:
    """How much F1 on test varies between seeds, from all groups with several seeds. ``counts`` are the numbers of runs of two groups.

    Returns the pooled standard deviation of F1, and the difference that the means of two such groups exceed in 5 of 100 cases if only
    their seeds differ. None if no group has several seeds.
    """
    several = [runs["test F1"] for runs in groups.values() if runs["seed"].nunique() > 1]
    if not several:
        return None
    freedom = sum(len(values) - 1 for values in several)
    deviation = (sum(((values - values.mean()) ** 2).sum() for values in several) / freedom) ** 0.5
    deviation = max(deviation, F1_DEVIATION) if freedom < 4 else deviation  # from few seeds the deviation may come out too small
    return deviation, special.stdtrit(freedom, 0.975) * deviation * sum(1 / count for count in counts) ** 0.5
