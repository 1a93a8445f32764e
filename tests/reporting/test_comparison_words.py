"""Tables and sentences of a comparison."""

import json

import numpy as np
import pandas as pd
import pytest
from compared_runs import four_runs, trained
from conftest import write_dataset

from crack_utils.many import by_group, chance_between_seeds, load
from crack_utils.reporting.comparison import (
    common_table,
    notices,
    pair_words,
    paired_table,
    part_notice,
    runs_table,
    summary_table,
    values_table,
    words,
)
from crack_utils.store import report_dir


@pytest.fixture
def runs(home, tmp_path):
    return four_runs(tmp_path)


def test_figures_are_summed_up_over_seeds(runs):
    frame = load(runs)
    table = summary_table(frame)
    assert dict(values_table(frame).to_numpy()) == {"rate0.001": "0.001", "rate0.05": "0.05"}
    assert table["Runs"].tolist() == [2, 2]
    expected = {}
    for rate in ("0.001", "0.05"):
        pair = [run.metrics.load() for run in runs if f"rate{rate}_" in run.name]
        expected[rate] = {
            "val F1": [results["val"]["segmentation_2px"]["f1"] for results in pair],
            "test F1": [results["segmentation_2px"]["f1"] for results in pair],
        }
    for row in table.to_dict("records"):
        for title, values in expected[row["Combination"].removeprefix("rate").removesuffix(" (best on val)")].items():
            assert row[title] == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    best = max(expected, key=lambda rate: np.mean(expected[rate]["val F1"]))
    assert table["Combination"][0] == f"rate{best} (best on val)"  # whatever test says
    assert f"**rate{best}** is best on val" in words(frame)


def frame_of(*f1):
    """Two groups with these figures."""
    groups = [group for group in "ab" for _ in range(len(f1) // 2)]
    return pd.DataFrame({"run": [str(i) for i in range(len(f1))], "group": groups, "val F1": f1, "test F1": f1, "seed": range(len(f1))})


def test_a_gap_is_compared_with_the_spread_between_seeds():
    assert "This gap may be chance between seeds" in words(frame_of(0.70, 0.72, 0.69, 0.71))
    assert "This gap is more than chance between seeds" in words(frame_of(0.70, 0.71, 0.50, 0.51))
    assert "Each combination was trained once" in words(frame_of(0.7, 0.5))
    assert words(frame_of(0.69, 0.71).assign(group="all")) == "2 runs differ only in their seed: mean F1 0.700 ± 0.014 on test."
    assert "nothing to compare" in words(frame_of(0.7, 0.5)[:1])


def test_pairs_are_judged_by_the_same_measure_of_chance_as_the_words(runs):
    frame = load(runs)
    (row,) = paired_table(frame).to_dict("records")
    _, chance = chance_between_seeds(by_group(frame), 2, 2)
    is_small = abs(float(row["Difference of F1"])) < chance
    assert row["Could be seeds alone"] == (f"yes, it is below {chance:.3g}" if is_small else "less likely")
    assert ("may be chance between seeds" in words(frame)) == is_small
    assert f"(chance reaches {chance:.3f} in 95 of 100 cases)" in words(frame)
    best, other = by_group(frame)
    assert (row["Best on val against"], row["Images"], row["Photos"]) == (other, 2, 1)
    assert paired_table(frame[frame["group"] == best]).empty
    once = frame[frame["seed"] == 0]
    (row,) = paired_table(once).to_dict("records")
    is_small = abs(float(row["Difference of F1"])) < 0.01
    assert row["Could be seeds alone"] == ("yes, it is below 0.01" if is_small else "less likely")


def test_few_photos_are_said_beside_the_pairs():
    said = {count: pair_words(pd.DataFrame({"Photos": [30, count]})) for count in (2, 10, 25)}
    assert "neither an interval nor p" in said[2] and "too narrow" in said[10] and said[25] == ""
    assert "no two combinations" in pair_words(pd.DataFrame({"Photos": []}))


def test_published_figures_come_with_the_spread_of_their_seeds_and_a_warning(runs):
    for run in runs[:2]:
        values = json.loads(run.path("params.json").read_text())
        values["record_run"] = values["given"]["record_run"] = "seeds4"
        values["given"]["seed"] = values["seed"] = 101 + values["seed"]
        run.path("params.json").write_text(json.dumps(values))
    table = summary_table(load(runs)).set_index("Combination")
    name = next(name for name in table.index if name.startswith("rate0.001"))
    assert table.loc[name, "published F1"] == "0.755 ± 0.005"  # of the same two seeds
    other = next(name for name in table.index if name.startswith("rate0.05"))
    assert table.loc[other, "published F1"] == "not published"
    (warning,) = [text for text in notices(runs) if text.startswith("The training of these runs differs from that of their published runs")]
    assert all(run.name in warning for run in runs[:2]) and runs[2].name not in warning


def test_one_combination_is_no_best(runs):
    assert summary_table(load(runs[:2]))["Combination"].tolist() == ["rate0.001"]


def test_each_run_is_linked_where_it_has_pages(runs):
    page = report_dir(runs[0].name) / "index.html"
    page.parent.mkdir(parents=True)
    page.touch()
    table = runs_table(load(runs), "trial")
    links = {cell.text: cell.href for cell in table["Run"] if not isinstance(cell, str)}
    assert links == {"rate0.001_seed0": "rate0.001_seed0/index.html"}
    (link,) = [cell for cell in runs_table(load(runs), "a/b")["Run"] if not isinstance(cell, str)]
    assert (report_dir("a/b") / link.href).resolve() == page.resolve()


def test_common_parameters_are_listed_without_folders(runs):
    common = common_table(runs).set_index("Parameter")["Value"].to_dict()
    assert common == {"dataset": "crack500", "epochs": 2, "hard_negative_mining": 0.0}


def test_runs_on_other_images_and_with_warnings_are_announced(runs, tmp_path):
    assert notices(runs) == ["Test figures are those of the CRACK500 test subset (2 images), not of the whole official test set."]
    other = trained(write_dataset(tmp_path / "e", test=3), "other", validate_on_test=True)
    said = notices([*runs, other])
    assert "tested on different images (CRACK500 test subset (2 images), CRACK500 test subset (3 images))" in said[0]
    assert any(notice.startswith("other: Checkpoint and thresholds were chosen on test") for notice in said)


def test_other_images_are_noticed_even_if_their_number_is_the_same(runs, tmp_path):
    root = write_dataset(tmp_path / "elsewhere")
    for path in sorted((root / "testcrop").iterdir()):
        path.rename(path.with_name(path.name.replace("08101", "09101")))
    assert "tested on different images" in notices([runs[0], trained(root, "other")])[0]


def test_drawn_images_are_announced_once_and_are_no_part_of_an_official_test_set(runs):
    for run in runs:
        values = json.loads(run.path("params.json").read_text())
        values["data"]["drawn"] = True
        run.path("params.json").write_text(json.dumps(values))
    assert notices(runs) == ["The images are drawn by a program. They are not photos."]
    assert part_notice({"test_is_part_of_official": True, "drawn": True}) is None


def test_a_run_that_chose_on_test_is_never_preferred(runs):
    cheat = trained(runs[0].params.resolved()["data_root"], "cheat", validate_on_test=True, epochs=3)
    assert "cheat" not in summary_table(load([*runs, cheat]))["Combination"][0]
    assert "chose their checkpoints and thresholds on test, so none of them can be preferred" in words(load([cheat, cheat]))
