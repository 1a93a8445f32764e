"""What a run is computed with is recorded with the run."""

import dataclasses
import platform
import re
import subprocess
import sys

import pytest
import torch
from conftest import REPOSITORY, TINY, small_params

from crack_utils.evaluation import evaluate_run
from crack_utils.store import Run, forget_results, software
from crack_utils.store.provenance import commit
from crack_utils.training import Watcher, train_run


def test_a_run_records_what_trained_and_what_evaluated_the_run(home, small_data):
    run = train_run(small_params(small_data, seed=7), "a", parts=TINY)
    evaluate_run(run, TINY.build_model)
    kept = run.provenance.load()
    assert set(kept) == {"training", "evaluation"}
    about = kept["training"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", about["started"])
    assert about["duration_s"] > 0 and kept["evaluation"]["duration_s"] > 0
    assert (about["device"], about["precision"], about["seed"], about["sessions"]) == ("cpu", "float32", 7, 1)
    assert about["python"] == platform.python_version()
    assert about["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    forget_results(run)
    assert run.provenance.load() == {}


class Stop(Watcher):
    def should_stop(self):
        return True


def test_a_training_that_goes_on_adds_its_time_and_says_what_changed(home, small_data):
    params = small_params(small_data, validate=False)
    run = train_run(params, "a", watcher=Stop(), parts=TINY)
    first = run.provenance.load()["training"]
    elsewhere = {"duration_s": 3600.0, "started": "2024-02-29T23:59:58Z", "code": {"version": "0.0.9", "commit": None, "dirty": True}}
    run.provenance.save({"training": first | elsewhere})
    train_run(params, "a", parts=TINY)
    about = run.provenance.load()["training"]
    assert (about["sessions"], about["changed"]) == (2, ["code"])
    assert 3600 < about["duration_s"] < 3700
    assert (about["started"], about["code"]) == (elsewhere["started"], first["code"])


def test_a_training_that_fails_leaves_its_record(home, small_data):
    def fail(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(small_params(small_data), "a", parts=dataclasses.replace(TINY, step=fail))
    assert Run("a").provenance.load()["training"]["duration_s"] > 0


@pytest.mark.parametrize("text", ["{", "[]", "7"])
def test_a_damaged_record_costs_no_more_than_itself(home, small_data, text):
    run = train_run(small_params(small_data), "a", parts=TINY)
    run.provenance.path.write_text(text)
    evaluate_run(run, TINY.build_model)
    assert set(run.provenance.load()) == {"evaluation"}


# --- the code


def git(*words, cwd):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=cwd, check=True, capture_output=True)


def test_the_commit_is_told_and_whether_the_package_differs_from_it(tmp_path):
    package = tmp_path / "checkout" / "crack_utils"
    package.mkdir(parents=True)
    (package / "a.py").write_text("")
    git("init", cwd=tmp_path)
    assert commit(package.parent) == {"commit": None, "dirty": False}  # the repository around it is not its own
    git("init", cwd=package.parent)
    assert commit(package.parent) == {"commit": None, "dirty": False}
    git("add", ".", cwd=package.parent)
    git("commit", "-m", "a", cwd=package.parent)
    (package.parent / "README.md").write_text("does not change what is computed")
    clean = commit(package.parent)
    assert re.fullmatch("[0-9a-f]{40}", clean["commit"]) and not clean["dirty"]
    (package / "b.py").write_text("")
    assert commit(package.parent) == clean | {"dirty": True}


def test_without_git_the_commit_is_not_known(monkeypatch, capfd):
    monkeypatch.setenv("PATH", "")
    assert software()["code"]["commit"] is None
    assert capfd.readouterr().err == ""


# --- what is needed


def test_training_and_evaluation_need_no_jupyter():
    code = """
import sys
sys.modules |= dict.fromkeys(["IPython", "papermill", "nbconvert", "nbformat", "ipywidgets"])
from crack_utils.evaluation import Predictor, evaluate_run
from crack_utils.store import recorded
from crack_utils.training import train_run
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_showing_a_run_waits_for_no_torchvision():
    """The import of torchvision takes as long as the import of torch. Only augmentation needs torchvision."""
    code = """
import sys
from crack_utils import notebook
from crack_utils.reporting import runner
[getattr(notebook, name) for name in notebook.__all__]
sys.exit("torchvision" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
