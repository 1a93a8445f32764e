import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import REPOSITORY, small_params, write_dataset

from crack_utils.errors import MissingRun
from crack_utils.evaluation.run import evaluate_run
from crack_utils.many.comparison import _described, _group_names, by_group, chance_between_seeds, differing, find_runs, histories, load
from crack_utils.reporting.comparison import common_table, notices, pair_words, paired_table, runs_table, summary_table, values_table, words
from crack_utils.store import Run, report_dir
from crack_utils.training import train_run


@pytest.fixture
def runs(home, tmp_path, tiny_network):
    """Two learning rates with two seeds each."""
    root = write_dataset(tmp_path / "d")
    made = []
    for rate in (0.001, 0.05):
        for seed in (0, 1):
            params = small_params(root, learning_rate=rate, seed=seed, hard_negative_mining=0)
            made.append(train_run(params, f"trial/rate{rate}_seed{seed}"))
            evaluate_run(made[-1])
    return made


def test_runs_are_found_by_name_folder_and_pattern(runs):
    assert [run.name for run in find_runs(["trial/rate0.05*"])] == ["trial/rate0.05_seed0", "trial/rate0.05_seed1"]
    assert find_runs(["trial"]) == find_runs(["*"]) == sorted(runs, key=lambda run: run.name)
    assert find_runs([runs[0].name]) == runs[:1]
    with pytest.raises(MissingRun, match=r"no evaluated run is called other/\*; there are trial/rate"):
        find_runs(["other/*"])


def test_only_what_differs_is_shown_and_seeds_are_summed_up(runs):
    assert differing(runs) == ["learning_rate"]
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
    assert table["Combination"][0] == f"rate{best} (best on val)"  # val says, whatever test has
    assert f"rate{best}**" in words(frame)


def test_combinations_of_a_grid_are_called_by_their_values():
    import pandas as pd

    rows = [
        {"run": f"t/architecture-{a}_augmentation-{b}_epochs-{e}_seed{s}", "seed": s, "architecture": a, "augmentation": b, "epochs": e}
        for a, b, e in (("unet", "True", "5"), ("segdecnet", "False", "10"))
        for s in (0, 1)
    ]
    frame = pd.DataFrame(rows)
    frame["group"] = [", ".join(_described(name, row[name]) for name in ("architecture", "augmentation", "epochs")) for row in rows]
    assert _group_names(frame) == {name: name for name in ("unet, augmentation, epochs 5", "segdecnet, no augmentation, epochs 10")}
    named = frame.assign(run=["t/first_seed0", "t/first_seed1", "t/second_seed0", "t/second_seed1"])
    assert list(_group_names(named).values()) == ["first", "second"]


def test_a_gap_is_judged_by_what_seeds_do():
    import pandas as pd

    def frame(*f1):
        groups = [group for group in "ab" for _ in range(len(f1) // 2)]
        return pd.DataFrame({"run": [str(i) for i in range(len(f1))], "group": groups, "val F1": f1, "test F1": f1, "seed": range(len(f1))})

    assert "this gap may be chance between seeds" in words(frame(0.70, 0.72, 0.69, 0.71))
    assert "this gap is more than chance between seeds" in words(frame(0.70, 0.71, 0.50, 0.51))
    assert "Each was run once" in words(frame(0.7, 0.5))
    assert "differ in nothing but their seed: mean F1 0.700 ± 0.014" in words(frame(0.69, 0.71).assign(group="all"))


def test_pairs_are_judged_by_the_same_measure_of_chance_as_the_words(runs):
    frame = load(runs)
    (row,) = paired_table(frame).to_dict("records")
    _, chance = chance_between_seeds(by_group(frame), 2, 2)
    is_small = abs(float(row["Difference of F1"])) < chance
    assert row["Could be seeds alone"] == (f"yes, it is below {chance:.3g}" if is_small else "less likely")
    assert ("may be chance between seeds" in words(frame)) == is_small
    assert f"(which reaches {chance:.3f} in 95 of 100 cases)" in words(frame)
    once = frame[frame["seed"] == 0]
    (row,) = paired_table(once).to_dict("records")
    is_small = abs(float(row["Difference of F1"])) < 0.01
    assert row["Could be seeds alone"] == ("yes, it is below 0.01" if is_small else "less likely")


def test_few_photos_are_said_beside_the_pairs():
    import pandas as pd

    said = {count: pair_words(pd.DataFrame({"Photos": [30, count]})) for count in (2, 10, 25)}
    assert "neither interval nor p" in said[2] and "too narrow" in said[10] and said[25] == ""
    assert "no two combinations" in pair_words(pd.DataFrame({"Photos": []}))


def test_published_figures_come_with_the_spread_of_their_seeds_and_a_warning(runs):
    def named(run, record_run):
        values = json.loads(run.path("params.json").read_text())
        values["record_run"] = values["given"]["record_run"] = record_run
        values["given"]["seed"] = values["seed"] = 101 + values["seed"]
        run.path("params.json").write_text(json.dumps(values))

    for run in runs[:2]:
        named(run, "seeds4")
    table = summary_table(load(runs)).set_index("Combination")
    name = next(name for name in table.index if name.startswith("rate0.001"))
    assert table.loc[name, "published F1"] == "0.755 ± 0.005"  # of the same two seeds
    (warning,) = [text for text in notices(runs) if text.startswith("Not trained like the published runs")]
    assert all(run.name in warning for run in runs[:2]) and runs[2].name not in warning


def test_one_combination_is_no_best(runs):
    table = summary_table(load(runs[:2]))
    assert table["Combination"].tolist() == ["rate0.001"]


def test_each_run_is_linked_where_it_has_pages(runs):
    page = report_dir(runs[0].name) / "index.html"
    page.parent.mkdir(parents=True)
    page.touch()
    table = runs_table(load(runs), "trial")
    links = {cell.text: cell.href for cell in table["Run"] if not isinstance(cell, str)}
    assert links == {"rate0.001_seed0": "rate0.001_seed0/index.html"}
    elsewhere = runs_table(load(runs), "a/b")["Run"]
    (link,) = [cell for cell in elsewhere if not isinstance(cell, str)]
    assert (report_dir("a/b") / link.href).resolve() == page.resolve()


def test_what_runs_have_in_common_is_listed_without_folders(runs):
    common = common_table(runs).set_index("Parameter")["Value"].to_dict()
    assert common == {"dataset": "crack500", "epochs": 2, "hard_negative_mining": 0.0}


def test_runs_on_other_images_and_with_warnings_are_announced(runs, tmp_path):
    assert notices(runs) == ["Test figures are those of the CRACK500 test subset (2 images), not of the whole official test set."]
    other = train_run(small_params(write_dataset(tmp_path / "e", test=3), validate_on_test=True), "other")
    evaluate_run(other)
    notices = notices([*runs, other])
    assert "not tested on the same images (CRACK500 test subset (2 images), CRACK500 test subset (3 images))" in notices[0]
    assert any(notice.startswith("other: Checkpoint and thresholds were chosen on test") for notice in notices)


def test_a_run_that_chose_on_test_is_never_preferred(runs, tmp_path):
    root = runs[0].params.resolved()["data_root"]
    cheat = train_run(small_params(root, validate_on_test=True, hard_negative_mining=0, epochs=3), "cheat")
    evaluate_run(cheat)
    frame = load([*runs, cheat])
    assert frame.set_index("run")["val F1"].isna().to_dict()["cheat"]
    assert "cheat" not in summary_table(frame)["Combination"][0]
    assert histories(frame)["cheat"][0]["val_f1"].isna().all()
    assert "chose their checkpoints and thresholds on test: none can be preferred" in words(load([cheat, cheat]))


def test_folders_show_by_name_alone_and_other_images_are_noticed_whatever_their_number(runs, tmp_path):
    root = write_dataset(tmp_path / "elsewhere")
    for path in sorted((root / "testcrop").iterdir()):
        path.rename(path.with_name(path.name.replace("08101", "09101")))
    other = train_run(small_params(root, learning_rate=0.001, hard_negative_mining=0), "other")
    evaluate_run(other)
    frame = load([runs[0], other])
    assert set(values_table(frame)["data_root"]) == {"d", "elsewhere"}
    assert "not tested on the same images" in notices([runs[0], other])[0]


def test_runs_that_cannot_be_read_are_left_out_and_named(runs, home, capsys):
    (home / "runs" / "old copy").mkdir()
    (home / "runs" / "old copy" / "metrics.json").write_text("{}")
    runs[0].path("params.json").write_text("{broken")
    found = find_runs(["*"])
    assert len(found) == 3
    assert f"Left out: {runs[0].name} (" in capsys.readouterr().out
    with pytest.raises(MissingRun, match="none of these runs can be compared"):
        find_runs([runs[0].name])


@pytest.mark.slow
def test_the_notebook_compares_in_papermills_words(runs, home, tmp_path):
    bin = Path(sys.executable).parent
    environment = {**os.environ, "CRACK_HOME": str(home), "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}"}
    words = ["papermill", "compare.ipynb", tmp_path / "out.ipynb", "-p", "runs", "trial/*"]
    done = subprocess.run(words, cwd=REPOSITORY / "notebooks", env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    shown = json.dumps(nbformat.read(tmp_path / "out.ipynb", as_version=4)).replace("<wbr>", "")
    assert "4 runs of 2 combinations" in shown
    assert shown.count("image/png") >= 2
    assert all(Run(run.name).name.removeprefix("trial/") in shown for run in runs)
    words[-1] = "nothing/*"
    done = subprocess.run(words, cwd=REPOSITORY / "notebooks", env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "MissingRun: no evaluated run is called nothing/*" in done.stderr


def test_runs_are_compared_image_by_image(runs):
    frame = load(runs)
    table = paired_table(frame)
    assert len(table) == 1
    best, other = by_group(frame)
    f1 = {
        group: sum(run.per_image.load().set_index("stem")["f1"] for run in runs if f"/{group}_" in run.name) / 2 for group in (best, other)
    }
    assert table["Difference of F1"][0] == f"{(f1[best] - f1[other]).mean():+.3f}"
    assert (table["Best on val against"][0], table["Images"][0], table["Photos"][0]) == (other, 2, 1)
    assert paired_table(frame[frame["group"] == best]).empty
