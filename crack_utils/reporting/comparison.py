"""Many runs side by side: tables and sentences."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from crack_utils.config import UNIDENTIFYING
from crack_utils.many.comparison import FIGURES, FOLDERS, _f1_by_image, by_group, chance_between_seeds, differing
from crack_utils.reporting.html import Link, plain
from crack_utils.scoring import FEW_PHOTOS, LEAST_PHOTOS, paired_difference
from crack_utils.store import F1_DEVIATION, F1_NOISE, Run, differences, is_comparable, relative_url, report_dir


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
        _, chance = chance_between_seeds(groups, len(groups[best]), len(groups[other])) or (None, F1_NOISE)
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
    target = report_dir(name) / "index.html"
    text = name.removeprefix(f"{page}/")
    return Link(text, relative_url(target, report_dir(page) / "index.html")) if target.is_file() else text


def common_table(runs: Sequence[Run]) -> pd.DataFrame:
    """The parameters that all the runs share and that are not the write-up's; folders stay out of a page that is passed on."""
    hidden = {*UNIDENTIFYING, "seed", *FOLDERS, *differing(runs)}
    rows = {name: value for name, value in runs[0].params.load().given().items() if name not in hidden}
    return pd.DataFrame({"Parameter": rows.keys(), "Value": pd.Series(list(rows.values()), dtype=object)})


def notices(runs: Sequence[Run]) -> list[str]:
    """What a reader must know of the runs' data before comparing any figure."""
    facts = {run.name: run.params.facts() for run in runs}
    first = next(iter(facts.values()))
    texts = ["The images are drawn by a program. They are not photos."] if any(fact["drawn"] for fact in facts.values()) else []
    if len({frozenset(run.per_image.load()["stem"]) for run in runs}) > 1:
        titles = ", ".join(sorted({fact["test_title"] for fact in facts.values()}))
        texts.append(f"These runs were not tested on the same images ({titles}): their figures cannot be compared.")
    elif first.get("test_is_part_of_official") and not first["drawn"]:
        texts.append(f"Test figures are those of the {first['test_title']}, not of the whole official test set.")
    resolved = [run.params.resolved() for run in runs]
    unlike = [values["run_name"] for values in resolved if is_comparable(values) and differences(values)]
    if unlike:
        texts.append(f"Not trained like the published runs they are set beside, as their pages tell: {', '.join(unlike)}.")
    for note in dict.fromkeys(note for fact in facts.values() for note in fact["notes"]):
        names = [name for name, fact in facts.items() if note in fact["notes"]]
        texts.append(note if len(names) == len(facts) else f"{', '.join(names)}: {note}")
    return texts


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
            f"{F1_DEVIATION} between seeds, and a gap below {F1_NOISE} says nothing."
        )
    return " ".join(sentences)
