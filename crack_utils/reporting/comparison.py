"""A comparison of runs: tables and sentences."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from crack_utils.config import FOLDERS, UNIDENTIFYING
from crack_utils.data import drawn_notice
from crack_utils.many import COMPARED, by_group, chance_between_seeds, differing, paired, varied
from crack_utils.reporting.html import Link, literal, plain
from crack_utils.scoring import FEW_PHOTOS, LEAST_PHOTOS
from crack_utils.store import F1_DEVIATION, F1_NOISE, Run, differences, is_comparable, relative_url, report_dir


def summary_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each combination of differing parameters: figures as mean ± standard deviation over seeds. The best on val is first."""
    rows = []
    for group, runs in by_group(frame).items():
        is_best = not rows and len(runs) < len(frame) and runs["val F1"].notna().any()
        row = {"Combination": f"{group} (best on val)" if is_best else group, "Runs": len(runs)}
        row |= {title: spread(runs[title]) for title in COMPARED}
        if frame["published F1"].notna().any():
            published = runs["published F1"].dropna().drop_duplicates()
            row["published F1"] = spread(published) if len(published) else "not published"
        rows.append(row)
    return pd.DataFrame(rows, dtype=object)


def values_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The differing parameters of each combination, in the order of :func:`summary_table`."""
    rows = [{"Combination": group} | runs[varied(frame)].iloc[0].to_dict() for group, runs in by_group(frame).items()]
    return pd.DataFrame(rows, dtype=object)


def paired_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The combination that is best on val against each other one (see :func:`crack_utils.many.paired`). Empty if there is no pair."""
    rows = []
    for pair in paired(frame).itertuples():
        interval = "" if np.isnan(pair.low) else f"{pair.low:+.3f} to {pair.high:+.3f}"
        p = f"{pair.p:.3f}" if pair.photos >= LEAST_PHOTOS else ""
        seeds = f"yes, it is below {pair.chance:.3g}" if abs(pair.difference) < pair.chance else "less likely"
        rows.append((pair.group, pair.images, pair.photos, f"{pair.difference:+.3f}", interval, p, seeds))
    columns = ["Best on val against", "Images", "Photos", "Difference of F1", "95 % interval", "p", "Could be seeds alone"]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def pair_words(pairs: pd.DataFrame) -> str:
    """How far a reader can trust the intervals of :func:`paired_table`."""
    if pairs.empty:
        return "There are no two combinations to compare on the same images."
    if pairs["Photos"].min() < LEAST_PHOTOS:
        return f"Fewer than {LEAST_PHOTOS} photos give neither an interval nor p."
    if pairs["Photos"].min() < FEW_PHOTOS:
        return f"There are fewer than {FEW_PHOTOS} photos here, so the interval is too narrow."
    return ""


def spread(values: pd.Series) -> str:
    """The mean, with the standard deviation of several values."""
    if values.isna().all():
        return "none"
    return f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "")


def runs_table(frame: pd.DataFrame, page: str) -> pd.DataFrame:
    """A row for each run. On the page ``report/PAGE/index.html`` the run's name links to the run's pages, if there are any."""
    order = frame.sort_values("val F1", ascending=False, kind="stable")
    cells = {"Run": [_link(name, page) for name in order["run"]], "Seed": order["seed"].tolist()}
    cells |= {name: [plain(None if np.isnan(value) else f"{value:.4f}") for value in order[name]] for name in COMPARED}
    cells["Minutes"] = [f"{value:.1f}" for value in order["minutes"]]
    return pd.DataFrame(cells, dtype=object)


def _link(name: str, page: str) -> Link | str:
    target = report_dir(name) / "index.html"
    text = name.removeprefix(f"{page}/")
    return Link(text, relative_url(target, report_dir(page) / "index.html")) if target.is_file() else text


def common_table(runs: Sequence[Run]) -> pd.DataFrame:
    """The parameters that all runs share and that differ from the write-up's. Folders are left out, because people pass pages on."""
    hidden = {*UNIDENTIFYING, "seed", *FOLDERS, *differing(runs)}
    rows = {name: value for name, value in runs[0].params.load().given().items() if name not in hidden}
    return pd.DataFrame({"Parameter": rows.keys(), "Value": pd.Series(list(rows.values()), dtype=object)})


def part_notice(facts: dict[str, Any]) -> str | None:
    """The sentence that every page with test figures of a part of an official test set shows; None for other test sets."""
    if facts.get("test_is_part_of_official") and not facts["drawn"]:
        return f"Test figures are those of the {facts['test_title']}, not of the whole official test set."
    return None


def notices(runs: Sequence[Run]) -> list[str]:
    """What a reader must know of the runs' data before comparing figures."""
    facts = {run.name: run.params.facts() for run in runs}
    texts = list(dict.fromkeys(filter(None, map(drawn_notice, facts.values()))))
    if len({frozenset(run.per_image.load()["stem"]) for run in runs}) > 1:
        titles = ", ".join(sorted({fact["test_title"] for fact in facts.values()}))
        texts.append(f"These runs were tested on different images ({titles}): do not compare their figures.")
    else:
        texts += filter(None, [part_notice(next(iter(facts.values())))])
    resolved = [run.params.resolved() for run in runs]
    unlike = [values["run_name"] for values in resolved if is_comparable(values) and differences(values)]
    if unlike:
        texts.append(f"The training of these runs differs from that of their published runs: {', '.join(unlike)}. Their pages say how.")
    for note in dict.fromkeys(note for fact in facts.values() for note in fact["notes"]):
        names = [name for name, fact in facts.items() if note in fact["notes"]]
        texts.append(note if len(names) == len(facts) else f"{', '.join(names)}: {note}")
    return texts


def words(frame: pd.DataFrame) -> str:
    """Which combination is best on val, and whether its lead on test is more than chance between seeds."""
    if len(frame) == 1:
        return "There is one run, so there is nothing to compare."
    groups = list(by_group(frame).values())
    if groups[0]["val F1"].isna().all():
        return f"All {len(frame)} runs chose their checkpoints and thresholds on test, so none of them can be preferred."
    if len(groups) == 1:
        return f"{len(frame)} runs differ only in their seed: mean F1 {spread(frame['test F1'])} on test."
    best, second = groups[0], groups[1]
    gap = best["test F1"].mean() - second["test F1"].mean()
    sentences = [
        f"{len(frame)} runs of {len(groups)} combinations. **{literal(best['group'].iloc[0])}** is best on val: "
        f"mean F1 {spread(best['val F1'])} on val and {spread(best['test F1'])} on test. The choice did not use test."
    ]
    known = chance_between_seeds(by_group(frame), len(best), len(second))
    if known:
        deviation, chance = known
        says = "may be chance between seeds" if abs(gap) <= chance else "is more than chance between seeds"
        sentences.append(
            f"Between seeds, F1 on test has a standard deviation of {deviation:.3f}. On test the second, "
            f"{literal(second['group'].iloc[0])}, is {abs(gap):.3f} {'below' if gap >= 0 else 'above'} the best. This gap {says} "
            f"(chance reaches {chance:.3f} in 95 of 100 cases)."
        )
    else:
        sentences.append(
            f"Each combination was trained once, so the chance between seeds is not known here. In the published record F1 has a standard "
            f"deviation of about {F1_DEVIATION} between seeds. A gap below {F1_NOISE} says nothing."
        )
    return " ".join(sentences)
