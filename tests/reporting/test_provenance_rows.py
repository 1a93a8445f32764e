"""The rows at the foot of a page say where the run comes from."""

import getpass
import json
import re
import socket
from pathlib import Path

import pytest
from conftest import REPOSITORY, TINY, small_params, write_dataset

from crack_utils.config import parse_parameters
from crack_utils.evaluation import evaluate_run
from crack_utils.reporting.provenance import comparison_rows, describe_code, rows
from crack_utils.store import Run
from crack_utils.training import Watcher, train_run

TITLES = [
    *("Run", "Parameters hash", "Data", "Code", "Packages", "Machine", "Device", "Precision", "Seed", "Started", "Duration"),
    *("Evaluated", "To reproduce"),
]


def test_all_rows_of_a_run_are_filled(home, small_data):
    run = train_run(small_params(small_data, seed=7), "a", parts=TINY)
    evaluate_run(run, TINY.build_model)
    found = rows(run)
    assert list(found) == TITLES
    assert "not recorded" not in str(found)
    assert (found["Run"], found["Seed"], found["Device"]) == ("a", "7", "cpu")
    assert re.fullmatch(r"17 files, 0\.\d MB, sha256 [0-9a-f]{12}", found["Data"])


def test_nothing_names_the_user_the_host_or_a_folder(home, small_data):
    run = train_run(small_params(small_data, validate=False), "a", parts=TINY)
    evaluate_run(run, TINY.build_model)
    told = run.provenance.path.read_text() + json.dumps(rows(run))
    for secret in (str(home), str(small_data), str(Path.home()), str(REPOSITORY), f"{getpass.getuser()}@", socket.gethostname()):
        assert secret not in told


class Stop(Watcher):
    def should_stop(self):
        return True


def test_a_training_that_went_on_says_so_and_what_changed(home, small_data):
    params = small_params(small_data, validate=False)
    run = train_run(params, "a", watcher=Stop(), parts=TINY)
    first = run.provenance.load()["training"]
    assert rows(run)["Duration"].endswith("(h:mm:ss), not finished")
    other_code = {"version": "0.1.0", "commit": "1234567890abcdef", "dirty": True}
    run.provenance.save({"training": first | {"duration_s": 3600.0, "started": "2024-02-29T23:59:58Z", "code": other_code}})
    assert rows(run)["Code"] == "crack-utils 0.1.0, commit 1234567, with uncommitted changes"
    train_run(params, "a", parts=TINY)
    found = rows(run)
    assert found["Started"] == "2024-02-29 23:59:58 UTC"
    assert re.fullmatch(r"1:0\d:\d\d \(h:mm:ss\) in 2 sessions, not all with the same code", found["Duration"])
    assert found["Code"] == describe_code(first["code"])
    assert found["Evaluated"] == "not yet"


def test_a_training_that_failed_has_all_rows(home, small_data):
    class Fail(Watcher):
        def on_epoch(self, training):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(small_params(small_data), "a", watcher=Fail(), parts=TINY)
    assert list(rows(Run("a"))) == TITLES


@pytest.mark.parametrize("text", ["{", "[]", "7"])
def test_a_damaged_record_says_that_nothing_was_recorded(home, small_data, text):
    run = train_run(small_params(small_data), "a", parts=TINY)
    run.provenance.path.write_text(text)
    assert rows(run)["Started"] == "not recorded"


def test_an_evaluation_elsewhere_says_so(home, small_data):
    run = train_run(small_params(small_data, validate=False), "a", parts=TINY)
    evaluate_run(run, TINY.build_model)
    assert "not with" not in rows(run)["Evaluated"]
    kept = run.provenance.load()
    run.provenance.save(kept | {"evaluation": kept["evaluation"] | {"machine": "another"}})
    assert rows(run)["Evaluated"].endswith(", not with the training's machine")


def test_a_run_of_an_earlier_version_says_what_it_did_not_record(home):
    run = Run("trial/old")
    assert rows(run) == {"Run": "trial/old"}
    run.params.save(parse_parameters({"epochs": 3}), {"device": "cuda"}, {"counts": {}})
    found = rows(run)
    assert list(found) == TITLES
    missing = ["Data", "Code", "Packages", "Machine", "Precision", "Started", "Duration"]
    assert [title for title, text in found.items() if text == "not recorded"] == missing
    assert (found["Device"], found["Evaluated"]) == ("cuda", "not yet")
    run.metrics.save({})
    assert rows(run)["Evaluated"] == "not recorded"


def test_a_comparison_says_once_what_its_runs_have_in_common(home, small_data):
    train_run(small_params(small_data, seed=1), "a", parts=TINY)
    train_run(small_params(small_data, seed=2), "b", parts=TINY)
    train_run(small_params(write_dataset(small_data.parent / "more", train=5), seed=1), "c", parts=TINY)
    found = comparison_rows(["a", "b", "c"])
    hashes = [Run(name).params.load().fingerprint(Run(name).params.facts()["fingerprint"]["sha256"]) for name in "abc"]
    assert len(set(hashes)) == 3
    assert found["Parameters hash"] == "\n".join(f"{text}: {name}" for text, name in zip(hashes, "abc", strict=True))
    first, second = found["Data"].split("\n")
    assert first.endswith(": a, b") and second.endswith(": c")
    assert found["Runs' code"] == rows(Run("a"))["Code"]


def test_a_commit_that_is_not_known_is_said_to_be(home):
    assert describe_code({"version": "0.1.0", "commit": None, "dirty": False}) == "crack-utils 0.1.0, commit not known"
