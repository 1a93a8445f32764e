"""The published record: its configurations say what its table says, and a measured run is set beside the right figures."""

import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from conftest import REPOSITORY, write_dataset

from crack_utils.config import PARAMETER_DEFAULTS, parse_parameters, read_yaml
from crack_utils.errors import DataError, ParameterError
from crack_utils.reporting.record import comparison_table, comparison_words
from crack_utils.store import check_record_run, differences, is_comparable, load_record, published

FILES = sorted((REPOSITORY / "runs" / "record").glob("*.yaml"))
ALWAYS = {"dataset", "data_root", "record_run"}
METRICS = {"segmentation_2px": {"precision": 0.74, "recall": 0.8, "f1": 0.749687, "threshold": 0.4}, "decision": {"tp": 1120, "fn": 4}}


# --- the configurations


def members(path):
    """The parameters of each run a file describes, with its name and seed in the table (a seed only where it lists some)."""
    values = read_yaml(path)
    sweep = values.pop("sweep", {})
    for member in sweep.get("members", {path.stem: {}}).values():
        for seed in sweep.get("seeds", [None]):
            yield values | member | ({} if seed is None else {"seed": seed}), seed


def identity(name, seed):
    return name, None if pd.isna(seed) else int(seed)


def described():
    return [(identity(values["record_run"], seed), values) for path in FILES for values, seed in members(path)]


def test_every_published_run_has_exactly_one_configuration():
    rows = [identity(row.name, row.seed) for row in load_record().itertuples(index=False)]
    assert sorted(map(str, rows)) == sorted(str(found) for found, _ in described())


def test_the_configurations_are_those_of_the_table():
    rows = {identity(row["name"], row["seed"]): row for row in load_record().to_dict("records")}
    same = ("architecture", "optimizer", "learning_rate", "delta_cls_loss", "epochs", "batch_size", "validation_n_epochs")
    for found, values in described():
        row, params = rows[found], parse_parameters(values).as_dict()
        names = [*same, "augmentation", "validate_on_test"]
        assert {name: params[name] for name in names} == {name: row[name] for name in names}, found
        assert params["scheduler"] == (None if pd.isna(row["scheduler"]) else row["scheduler"]), found
        assert params["blackening"] == ("blackening" in row["note"]), found
        assert params["decision_loss"] == ("no decision loss" not in row["note"]), found
        if not pd.isna(row["train_negatives"]):
            assert (params["train_negatives"] or 0, params["use_negatives"]) == (row["train_negatives"], row["train_negatives"] > 0), found
        mining = "0" if pd.isna(row["hard_negative_mining"]) else row["hard_negative_mining"]
        if "difficulty" in mining:  # of these two alone the table states no form
            assert params["hard_negative_difficulty"] == ("loss_errors" if "fp" in mining else "loss"), found
        else:
            assert params["hard_negative_mining"] == (mining if "of" in mining else float(mining)), found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_configuration_lists_only_what_differs(path):
    shared = read_yaml(path)
    sweep = shared.pop("sweep", {})
    assert (shared["dataset"], shared["data_root"]) == ("crack500", "data/CRACK500")
    assert all(shared[name] != PARAMETER_DEFAULTS[name] for name in set(shared) - ALWAYS)
    for name, member in sweep.get("members", {}).items():
        assert member["record_run"] == name
        assert all(value != (PARAMETER_DEFAULTS | shared)[parameter] for parameter, value in member.items())
    assert "members" in sweep or shared["record_run"] == path.stem


def test_the_assumption_on_runs_that_state_no_negatives_follows_from_the_table():
    found_none = load_record().query("tp == 0")
    assert {"nm_1", "nm_2"} <= set(found_none["name"])
    assert set(found_none["train_negatives"].dropna()) == {0}


# --- published beside measured


def resolved(record_run="run6_6", seed=0, negatives=1411, test=1124, **values):
    """What params.json holds of a run of CRACK500."""
    title = "CRACK500" if test == 1124 else f"CRACK500 test subset ({test} images)"
    values = {"dataset": "crack500", "data_root": "x", "record_run": record_run, "seed": seed, **values}
    given = parse_parameters(values).as_dict()
    counts = {"train": {"positives": 1896, "negatives": negatives}, "test": {"positives": test, "negatives": 0}}
    return {**given, "given": given, "data": {"title": title.split(" test")[0], "test_title": title, "counts": counts}}


def row(frame, figure):
    return frame.set_index("Figure").loc[figure].to_list()


def f1_judgement(gap, **values):
    metrics = METRICS | {"segmentation_2px": METRICS["segmentation_2px"] | {"f1": 0.746687 + gap}}
    return row(comparison_table(resolved(**values), metrics), "F1 within 2 pixels")[3]


def test_measured_figures_stand_beside_the_published_ones():
    frame = comparison_table(resolved(), METRICS)
    assert list(frame.columns) == ["Figure", "Published", "Measured", "Difference", "Judgement"]
    assert row(frame, "F1 within 2 pixels") == [0.746687, 0.749687, "+0.003", "within the noise between seeds (below 0.01)"]
    assert row(frame, "Segmentation threshold") == [0.375, 0.4, "+0.025", ""]
    assert row(frame, "Decision TP") == [1116, 1120, "+4", ""]
    assert row(frame, "Decision FN") == [8, 4, "-4", ""]


def test_only_a_gap_above_the_noise_counts_in_standard_deviations():
    assert f1_judgement(-0.0099).startswith("within the noise")
    assert f1_judgement(-0.035) == "7 times the seed-to-seed standard deviation (0.005)"
    assert f1_judgement(0.035, epochs=3) == "7 times the seed-to-seed standard deviation (0.005), but with other parameters"
    assert f1_judgement(0.001, test=45) == "not judged: other test images"


def test_counts_of_test_sets_of_two_sizes_have_no_difference():
    assert row(comparison_table(resolved(test=45), METRICS), "Decision TP") == [1116, 1120, "", ""]


def test_the_same_parameters_on_the_same_images_need_no_warning():
    words = comparison_words(resolved())
    assert words.startswith("The published run is **run6_6** (the write-up). This run has the parameters of the published run.")
    assert "standard deviation of about 0.005: a gap below 0.01 says nothing." in words
    assert "summed the gradients" not in words
    batches = comparison_words(resolved(batch_size=10))
    assert "summed the gradients of a batch's images. Here a batch's loss is the mean over its images." in batches


def test_a_trial_is_not_read_as_a_finding():
    words = comparison_words(resolved(negatives=0, test=45, epochs=2, images_per_split=40, input_width=320, input_height=184))
    images = "the published run was tested on all 1124 official test images, this run on the CRACK500 test subset (45 images)."
    assert f"**The test images differ**: {images}" in words
    for difference in (
        *("epochs 2, published 100", "images_per_split 40, published not set", "input_width 320"),
        "0 crack-free training images, published 1411",
    ):
        assert difference in words


def test_a_member_of_the_hyperparameter_search_is_compared_with_its_own_parameters():
    values = {"epochs": 25, "validation_n_epochs": 2, "augmentation": False, "hard_negative_mining": 0, "negatives": 0}
    assert differences(resolved("hp2", learning_rate=0.01, **values)) == []
    assert differences(resolved("hp2", **values)) == ["learning_rate 0.001, published 0.01"]


def test_a_seed_group_gives_the_row_of_the_same_seed_else_the_mean():
    assert published("seeds4", 102)["f1"].to_list() == [0.759207]
    assert len(published("seeds4", 7)) == 5
    frame = comparison_table(resolved("seeds4", seed=7), METRICS)
    mean = (0.751737 + 0.759207 + 0.757174 + 0.746565 + 0.753275) / 5
    assert row(frame, "F1 within 2 pixels")[0] == pytest.approx(mean)
    assert row(frame, "Segmentation threshold") == ["not published", 0.4, "", ""]
    words = comparison_words(resolved("seeds4", seed=7))
    assert "Its figures are the mean of its 5 seeds. The 5 seeds have a mean F1 of 0.7536 with a standard deviation of 0.0049." in words
    assert "those of seed 102, from which the published program draws other numbers." in comparison_words(resolved("seeds4", seed=102))


def test_figures_the_record_lacks_are_said_to_be_unpublished():
    frame = comparison_table(resolved("seeds2", seed=101), METRICS)
    assert row(frame, "Decision TP") == ["not published", 1120, "", ""]


def test_nothing_is_set_beside_a_run_that_names_none_or_has_other_data():
    unnamed = resolved(None)
    assert not is_comparable(unnamed)
    assert comparison_words(unnamed).endswith("because its parameter record_run names no published run.")
    sample = {"dataset": "sample", "record_run": "run6_6", "data": {"title": "the drawn sample"}}
    assert not is_comparable(sample)
    assert comparison_words(sample).endswith("because its images are those of the drawn sample.")


def test_an_unknown_name_is_refused_with_the_nearest_known_ones():
    check_record_run(None)
    check_record_run("hp34")
    with pytest.raises(ParameterError, match=r"record_run: no published run is called 'run66'; try run6_6, "):
        check_record_run("run66")
    with pytest.raises(ParameterError, match=r"try run1, run2, "):
        check_record_run("?")


def test_a_missing_table_is_said_with_the_way_to_get_it_back(tmp_path):
    with pytest.raises(DataError, match=r"record\.csv is missing.*git checkout"):
        load_record(tmp_path)


@pytest.mark.slow
def test_a_run_that_is_compared_with_nothing_needs_no_record(home, tmp_path):
    package = shutil.copytree(REPOSITORY / "crack_utils", tmp_path / "alone" / "crack_utils", ignore=shutil.ignore_patterns("__pycache__"))
    configuration = tmp_path / "a.yaml"
    configuration.write_text(f"dataset: crack500\ndata_root: {write_dataset(tmp_path / 'd')}\nepochs: 1\nhard_negative_mining: 0\n")
    environment = os.environ | {"PYTHONPATH": str(package.parent)}

    def train(*words):
        words = [sys.executable, "-m", "crack_utils", "train", configuration, *words]
        return subprocess.run(words, cwd=package.parent, env=environment, capture_output=True, text=True)

    assert train().returncode == 0
    done = train("-p", "record_run", "run6_6", "-p", "run_name", "b")
    assert done.returncode == 1 and "record.csv is missing, but belongs to the repository" in done.stderr
