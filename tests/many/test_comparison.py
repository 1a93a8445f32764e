"""Numbers that compare runs."""

import numpy as np
import pandas as pd
import pytest
from compared_runs import four_runs, trained
from conftest import write_dataset

from crack_utils.errors import MissingRun
from crack_utils.many import by_group, chance_between_seeds, differing, find_runs, histories, load, paired, varied
from crack_utils.many.comparison import described, group_names
from crack_utils.store import F1_NOISE


@pytest.fixture
def runs(home, tmp_path):
    return four_runs(tmp_path)


def test_runs_are_found_by_name_folder_and_pattern(runs):
    assert [run.name for run in find_runs(["trial/rate0.05*"])] == ["trial/rate0.05_seed0", "trial/rate0.05_seed1"]
    assert find_runs(["trial"]) == find_runs(["*"]) == sorted(runs, key=lambda run: run.name)
    assert find_runs([runs[0].name]) == runs[:1]
    with pytest.raises(MissingRun, match=r"no evaluated run is called other/\*; evaluated runs: trial/rate"):
        find_runs(["other/*"])


def test_without_an_evaluated_run_the_message_says_what_comes_first(home):
    with pytest.raises(MissingRun, match=r"evaluated runs: none yet; train and evaluate a run first"):
        find_runs(["*"])


def test_runs_that_cannot_be_read_are_left_out_and_named(runs, home, capsys):
    (home / "runs" / "old copy").mkdir()
    (home / "runs" / "old copy" / "metrics.json").write_text("{}")
    runs[0].path("params.json").write_text("{broken")
    found = find_runs(["*"])
    assert len(found) == 3
    assert f"Left out: {runs[0].name} (" in capsys.readouterr().out
    with pytest.raises(MissingRun, match="none of these runs can be compared"):
        find_runs([runs[0].name])


def test_a_run_of_an_earlier_version_is_left_out_by_the_name_of_what_it_lacks(runs, capsys):
    metrics = runs[0].metrics.load()
    del metrics["segmentation_2px"]
    runs[0].metrics.save(metrics)
    assert len(find_runs(["*"])) == 3
    assert f"Left out: {runs[0].name} (the run is of an earlier version and lacks 'segmentation_2px')" in capsys.readouterr().out


def test_runs_with_the_same_values_are_a_group(runs):
    assert differing(runs) == ["learning_rate"]
    frame = load(runs)
    assert varied(frame) == ["learning_rate"]
    assert frame["group"].tolist() == ["rate0.001", "rate0.001", "rate0.05", "rate0.05"]
    assert frame["seed"].tolist() == [0, 1, 0, 1]
    metrics = [run.metrics.load() for run in runs]
    assert frame["test F1"].tolist() == [each["segmentation_2px"]["f1"] for each in metrics]
    assert frame["val F1"].tolist() == [each["val"]["segmentation_2px"]["f1"] for each in metrics]


def test_the_best_group_on_val_is_first_whatever_test_says():
    rows = {"group": ["a", "a", "b", "b"], "val F1": [0.5, 0.6, 0.7, 0.6], "test F1": [0.9, 0.9, 0.1, 0.1]}
    assert list(by_group(pd.DataFrame(rows))) == ["b", "a"]


def test_groups_of_a_grid_are_called_by_their_values():
    rows = [
        {"run": f"t/architecture-{a}_augmentation-{b}_epochs-{e}_seed{s}", "seed": s, "architecture": a, "augmentation": b, "epochs": e}
        for a, b, e in (("unet", "True", "5"), ("segdecnet", "False", "10"))
        for s in (0, 1)
    ]
    frame = pd.DataFrame(rows)
    frame["group"] = [", ".join(described(name, row[name]) for name in ("architecture", "augmentation", "epochs")) for row in rows]
    assert group_names(frame) == {name: name for name in ("unet, augmentation, epochs 5", "segdecnet, no augmentation, epochs 10")}
    named = frame.assign(run=["t/first_seed0", "t/first_seed1", "t/second_seed0", "t/second_seed1"])
    assert list(group_names(named).values()) == ["first", "second"]


def test_chance_between_seeds_is_the_pooled_deviation_and_a_t_interval():
    rows = {"group": list("aaabbb"), "val F1": 0.5, "test F1": [0.70, 0.72, 0.74, 0.60, 0.62, 0.64], "seed": [0, 1, 2, 0, 1, 2]}
    deviation, chance = chance_between_seeds(by_group(pd.DataFrame(rows)), 3, 3)
    assert deviation == pytest.approx(0.02)
    assert chance == pytest.approx(2.776445 * 0.02 * (1 / 3 + 1 / 3) ** 0.5)  # t of 4 degrees of freedom
    assert chance_between_seeds(by_group(pd.DataFrame(rows).query("seed == 0")), 1, 1) is None


def test_runs_are_compared_image_by_image(runs):
    frame = load(runs)
    (row,) = paired(frame).to_dict("records")
    best, other = by_group(frame)
    f1 = {
        group: sum(run.per_image.load().set_index("stem")["f1"] for run in runs if f"/{group}_" in run.name) / 2 for group in (best, other)
    }
    assert row["difference"] == pytest.approx((f1[best] - f1[other]).mean())
    assert (row["group"], row["images"], row["photos"]) == (other, 2, 1)
    assert np.isnan(row["low"]) and np.isnan(row["high"])  # one photo
    assert row["chance"] == chance_between_seeds(by_group(frame), 2, 2)[1]
    assert paired(frame[frame["seed"] == 0])["chance"].tolist() == [F1_NOISE]  # one seed each
    assert paired(frame[frame["group"] == best]).empty


def test_a_run_that_chose_on_test_has_no_figure_of_val(runs):
    cheat = trained(runs[0].params.resolved()["data_root"], "cheat", validate_on_test=True, epochs=3)
    frame = load([*runs, cheat])
    assert frame.set_index("run")["val F1"].isna().to_dict()["cheat"]
    assert list(by_group(frame))[-1] == "cheat"
    assert histories(frame)["cheat"][0]["val_f1"].isna().all()


def test_folders_show_only_their_name(runs, tmp_path):
    other = trained(write_dataset(tmp_path / "elsewhere"), "other", learning_rate=0.001)
    assert set(load([runs[0], other])["data_root"]) == {"d", "elsewhere"}
