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

from crack_utils import artifacts
from crack_utils.artifacts import Run
from crack_utils.config import PARAMETER_DEFAULTS, UNIDENTIFYING, is_run_name
from crack_utils.errors import MissingRun, UserError
from crack_utils.reporting import record
from crack_utils.reporting.tables import Link, plain
from crack_utils.uncertainty import FEW_PHOTOS, LEAST_PHOTOS, paired_difference

FOLDERS = ("data_root", "negatives_root")
NAMES = ("architecture", "encoder", "optimizer", "dataset")  # parameters whose values tell what they are
FIGURES = ("val F1", "test F1", "precision", "recall", "decision F1")


def find_runs(patterns: Collection[str]) -> list[Run]:
    """The evaluated runs that match any of ``patterns``: a name, a folder of runs, or a pattern such as ``trial/*``.

    Those whose artifacts cannot be read, or are of a version without some, are left out and named.

    Raises:
        MissingRun: a pattern that no evaluated run matches.
    """
    root = artifacts.home() / "runs"
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
    given = [run.load_params().as_dict() for run in runs]
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
    resolved, metrics = run.load_resolved(), run.load_metrics()
    given = resolved["given"]
    values = {name: _shown(name, given.get(name, PARAMETER_DEFAULTS[name])) for name in names}
    segmentation = metrics["segmentation_2px"]
    comparable = record.is_comparable(resolved)
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
        "minutes": run.load_history()["time_s"].sum() / 60,
        "published F1": record.published(resolved["record_run"], resolved["seed"])["f1"].mean() if comparable else float("nan"),
    }


def _described(name: str, value: str) -> str:
    """A parameter's value as a person says it: ``unet``, ``no augmentation``, ``epochs 5``."""
    if value in ("True", "False"):
        return name if value == "True" else f"no {name}"
    return value if name in NAMES else f"{name} {value}"


def _shown(name: str, value: Any) -> str:
    """A parameter's value; of a folder its name alone, for a page is passed on."""
    return Path(value).name if name in FOLDERS and value else plain(value)


def summary_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each combination of differing parameters, best on val first: figures as mean ± standard deviation over its seeds."""
    rows = []
    for group, runs in by_group(frame).items():
        is_best = not rows and len(runs) < len(frame) and runs["val F1"].notna().any()
        row = {"Combination": f"{group} (best on val)" if is_best else group, "Runs": len(runs)}
        row |= {title: spread(runs[title]) for title in FIGURES}
        if frame["published F1"].notna().any():
            row["published F1"] = (
                "not published" if runs["published F1"].isna().all() else spread(runs["published F1"].dropna().drop_duplicates())
            )
        rows.append(row)
    return pd.DataFrame(rows, dtype=object)


def values_table(frame: pd.DataFrame) -> pd.DataFrame:
    """What each combination stands for: the parameters that differ, in the order of :func:`summary_table`."""
    names = list(frame.columns[2 : frame.columns.get_loc("group")])
    rows = [{"Combination": group} | {name: runs[name].iloc[0] for name in names} for group, runs in by_group(frame).items()]
    return pd.DataFrame(rows, dtype=object)


def paired_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The combination best on val against each other one, image by image on the cracked test images all runs share: the mean
    difference of F1 (of means over seeds), its 95 % interval over photos, and p of a permutation test by photo. Empty where there is
    one combination, or no image in common."""
    groups = by_group(frame)
    f1 = {group: _f1_by_image(runs["run"]) for group, runs in groups.items()}
    best, *others = f1
    rows: list[tuple[Any, ...]] = []
    for other in others:
        both = pd.concat([f1[best].rename("a"), f1[other].rename("b")], axis=1, join="inner").dropna()
        if both.empty:
            continue
        found = paired_difference(both["a"], both["b"], both.index.get_level_values("photo"))
        interval = "" if np.isnan(found["low"]) else f"{found['low']:+.3f} to {found['high']:+.3f}"
        p = f"{found['p']:.3f}" if found["photos"] >= LEAST_PHOTOS else ""
        _, chance = chance_between_seeds(groups, len(groups[best]), len(groups[other])) or (None, record.F1_NOISE)
        seeds = f"yes, it is below {chance:.3g}" if abs(found["difference"]) < chance else "less likely"
        rows.append((other, len(both), found["photos"], f"{found['difference']:+.3f}", interval, p, seeds))
    columns = ["Best on val against", "Images", "Photos", "Difference of F1", "95 % interval", "p", "Could be seeds alone"]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def pair_words(pairs: pd.DataFrame) -> str:
    """How far the intervals of :func:`paired_table` can be trusted."""
    if pairs.empty:
        return "There are no two combinations to compare on the same images."
    if pairs["Photos"].min() < LEAST_PHOTOS:
        return f"From fewer than {LEAST_PHOTOS} photos there is neither interval nor p."
    return f"From fewer than {FEW_PHOTOS} photos, as here, an interval comes out too narrow." if pairs["Photos"].min() < FEW_PHOTOS else ""


def _f1_by_image(runs: Sequence[str]) -> pd.Series:
    """Each image's F1, the mean over runs, by photo and stem."""
    return pd.concat([Run(name).load_per_image().set_index(["photo", "stem"])["f1"] for name in runs], axis=1, join="inner").mean(axis=1)


def by_group(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs of each group, the group with the best mean F1 on val first."""
    order = frame.groupby("group", sort=False)["val F1"].mean().sort_values(ascending=False, kind="stable").index
    return {group: frame[frame["group"] == group] for group in order}


def spread(values: pd.Series) -> str:
    """Mean, and standard deviation where there are several values."""
    if values.isna().all():
        return "none"
    return f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "")


def runs_table(frame: pd.DataFrame, page: str) -> pd.DataFrame:
    """A row a run, each with a link to its pages where it has any, from the page ``report/PAGE/index.html``."""
    order = frame.sort_values("val F1", ascending=False, kind="stable")
    cells = {"Run": [_link(name, page) for name in order["run"]], "Seed": order["seed"].tolist()}
    cells |= {name: [plain(None if np.isnan(value) else f"{value:.4f}") for value in order[name]] for name in FIGURES}
    cells["Minutes"] = [f"{value:.1f}" for value in order["minutes"]]
    return pd.DataFrame(cells, dtype=object)


def _link(name: str, page: str) -> Link | str:
    target = artifacts.report_dir(name) / "index.html"
    text = name.removeprefix(f"{page}/")
    return Link(text, artifacts.relative_url(target, artifacts.report_dir(page) / "index.html")) if target.is_file() else text


def common_table(runs: Sequence[Run]) -> pd.DataFrame:
    """The parameters that all the runs share and that are not the write-up's; folders stay out of a page that is passed on."""
    hidden = {*UNIDENTIFYING, "seed", *FOLDERS, *differing(runs)}
    rows = {name: value for name, value in runs[0].load_params().given().items() if name not in hidden}
    return pd.DataFrame({"Parameter": rows.keys(), "Value": pd.Series(list(rows.values()), dtype=object)})


def histories(frame: pd.DataFrame) -> dict[str, list[pd.DataFrame]]:
    """The histories of each group's runs, the best group on val first."""
    return {group: [_history(Run(name)) for name in runs["run"]] for group, runs in by_group(frame).items()}


def _history(run: Run) -> pd.DataFrame:
    history = run.load_history()
    return history.assign(val_f1=np.nan) if run.load_params().validate_on_test else history  # its validations saw test


def notices(runs: Sequence[Run]) -> list[str]:
    """What a reader must know of the runs' data before comparing any figure."""
    facts = {run.name: run.load_facts() for run in runs}
    first = next(iter(facts.values()))
    texts = ["The images are drawn by a program. They are not photos."] if any(fact["drawn"] for fact in facts.values()) else []
    if len({frozenset(run.load_per_image()["stem"]) for run in runs}) > 1:
        titles = ", ".join(sorted({fact["test_title"] for fact in facts.values()}))
        texts.append(f"These runs were not tested on the same images ({titles}): their figures cannot be compared.")
    elif first.get("test_is_part_of_official") and not first["drawn"]:
        texts.append(f"Test figures are those of the {first['test_title']}, not of the whole official test set.")
    resolved = [run.load_resolved() for run in runs]
    unlike = [values["run_name"] for values in resolved if record.is_comparable(values) and record.differences(values)]
    if unlike:
        texts.append(f"Not trained like the published runs they are set beside, as their pages tell: {', '.join(unlike)}.")
    for note in dict.fromkeys(note for fact in facts.values() for note in fact["notes"]):
        names = [name for name, fact in facts.items() if note in fact["notes"]]
        texts.append(note if len(names) == len(facts) else f"{', '.join(names)}: {note}")
    return texts


def chance_between_seeds(groups: dict[str, pd.DataFrame], *counts: int) -> tuple[float, float] | None:
    """What seeds alone do, from all groups with several: the standard deviation of F1 on test, pooled, and how far the means of
    two combinations of so many runs come apart by it in 95 of 100 cases. None where no group has several seeds."""
    several = [runs["test F1"] for runs in groups.values() if runs["seed"].nunique() > 1]
    if not several:
        return None
    freedom = sum(len(values) - 1 for values in several)
    deviation = (sum(((values - values.mean()) ** 2).sum() for values in several) / freedom) ** 0.5
    deviation = max(deviation, record.F1_DEVIATION) if freedom < 4 else deviation  # of few seeds it may come out too small
    return deviation, special.stdtrit(freedom, 0.975) * deviation * sum(1 / count for count in counts) ** 0.5


def words(frame: pd.DataFrame) -> str:
    """Which combination val prefers, and whether the gap to the next is more than chance between seeds."""
    if len(frame) == 1:
        return "One run: there is nothing to compare it with."
    groups = list(by_group(frame).values())
    if groups[0]["val F1"].isna().all():
        return f"{len(frame)} runs that chose their checkpoints and thresholds on test: none can be preferred."
    if len(groups) == 1:
        return f"{len(frame)} runs that differ in nothing but their seed: mean F1 {spread(frame['test F1'])} on test."
    best, second = groups[0], groups[1]
    gap = best["test F1"].mean() - second["test F1"].mean()
    sentences = [
        f"{len(frame)} runs of {len(groups)} combinations. Val prefers **{best['group'].iloc[0]}**: "
        f"mean F1 {spread(best['val F1'])} on val and {spread(best['test F1'])} on test, which took no part in the choice."
    ]
    known = chance_between_seeds(by_group(frame), len(best), len(second))
    if known:
        deviation, chance = known
        says = "may be chance between seeds" if abs(gap) <= chance else "is more than chance between seeds"
        sentences.append(
            f"Between seeds, F1 on test has a standard deviation of {deviation:.3f}. On test the second, {second['group'].iloc[0]}, lies "
            f"{abs(gap):.3f} {'below' if gap >= 0 else 'above'}: this gap {says} (which reaches {chance:.3f} in 95 of 100 cases)."
        )
    else:
        sentences.append(
            f"Each was run once, so chance between seeds is unknown here; in the published record F1 has a standard deviation of about "
            f"{record.F1_DEVIATION} between seeds, and a gap below {record.F1_NOISE} says nothing."
        )
    return " ".join(sentences)
