import getpass
import json
import platform
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from conftest import REPOSITORY, small_params, write_dataset, write_pair
from papermill.cli import _resolve_type

from crack_utils.config import parse_parameters
from crack_utils.data import find_data
from crack_utils.evaluation.run import evaluate_run
from crack_utils.many.members import pick_member
from crack_utils.reporting.provenance import command, comparison_rows, describe_code, rows
from crack_utils.store import Run, forget_results, home, record
from crack_utils.store.provenance import _commit
from crack_utils.training import Training, Watcher, train_run

CPU = torch.device("cpu")
TITLES = [
    *("Run", "Parameters hash", "Data", "Code", "Packages", "Machine", "Device", "Precision", "Seed", "Started", "Duration"),
    *("Evaluated", "To reproduce"),
]


@pytest.fixture
def tiny(tiny_network, monkeypatch):
    monkeypatch.setattr(training, "measure_step", lambda *_: (0, 0))


# --- the data


def fingerprint(root, **values):
    return find_data(small_params(root, **values), root).facts["fingerprint"]


def test_the_fingerprint_goes_with_the_data_wherever_they_lie(small_data, tmp_path):
    before = fingerprint(small_data)
    files = [*small_data.glob("*crop/*"), *small_data.glob("negatives/train/*")]
    assert (before["files"], before["bytes"]) == (len(files), sum(path.stat().st_size for path in files))
    assert re.fullmatch("[0-9a-f]{64}", before["sha256"])
    assert fingerprint(shutil.move(small_data, tmp_path / "elsewhere")) == before
    assert fingerprint(tmp_path / "elsewhere", use_negatives=False) != before


def test_one_changed_byte_changes_the_fingerprint_and_so_does_another_name(small_data):
    before, path = fingerprint(small_data), next(small_data.glob("negatives/train/*"))
    path.write_bytes(path.read_bytes() + b"\0")
    changed = fingerprint(small_data)
    path.rename(path.with_name("other.jpg"))
    assert len({each["sha256"] for each in (before, changed, fingerprint(small_data))}) == 3


def test_an_image_in_another_split_changes_the_fingerprint(small_data):
    before = fingerprint(small_data)
    for path in sorted((small_data / "traincrop").glob("20160220_081010_1_1.*")):
        path.rename(small_data / "testcrop" / path.name)
    after = fingerprint(small_data)
    assert (after["files"], after["bytes"]) == (before["files"], before["bytes"])
    assert after["sha256"] != before["sha256"]


def test_a_photo_that_is_cut_into_crops_is_one_file(tmp_path):
    for i in range(6):
        write_pair(tmp_path / "images" / f"{i}.jpg", tmp_path / "masks" / f"{i}.png", size=(720, 1280), seed=i)
    data = find_data(small_params(tmp_path, dataset="folder"), tmp_path)
    assert len(data.split("train")) > 4
    assert data.fingerprint["files"] == 12


# --- what is recorded


def test_a_run_records_what_trained_and_what_evaluated_it(home, small_data, tiny):
    run = train_run(small_params(small_data, seed=7), "a")
    evaluate_run(run)
    kept = run.provenance.load()
    assert set(kept) == {"training", "evaluation"}
    about = kept["training"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", about["started"])
    assert about["duration_s"] > 0 and kept["evaluation"]["duration_s"] > 0
    assert (about["device"], about["precision"], about["seed"], about["sessions"]) == ("cpu", "float32", 7, 1)
    assert about["python"] == platform.python_version()
    assert about["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    rows = rows(run)
    assert list(rows) == TITLES
    assert "not recorded" not in str(rows)
    assert (rows["Run"], rows["Seed"], rows["Device"]) == ("a", "7", "cpu")
    assert re.fullmatch(r"17 files, 0\.\d MB, sha256 [0-9a-f]{12}", rows["Data"])
    forget_results(run)
    assert run.provenance.load() == {}


def test_nothing_names_the_user_the_host_or_a_folder(home, small_data, tiny):
    run = train_run(small_params(small_data, validate=False), "a")
    evaluate_run(run)
    told = run.path("provenance.json").read_text() + json.dumps(rows(run))
    for secret in (str(home), str(small_data), str(Path.home()), str(REPOSITORY), f"{getpass.getuser()}@", socket.gethostname()):
        assert secret not in told


class Stop(Watcher):
    def should_stop(self):
        return True


def test_a_training_that_goes_on_adds_its_time_and_says_what_changed(home, small_data, tiny, monkeypatch):
    params = small_params(small_data, validate=False)
    run = train_run(params, "a", watcher=Stop())
    first = run.provenance.load()["training"]
    assert rows(run)["Duration"].endswith("(h:mm:ss), not finished")
    run.provenance.save({"training": first | {"duration_s": 3600.0, "started": "2024-02-29T23:59:58Z"}})
    monkeypatch.setattr(provenance, "_commit", lambda: {"commit": "1234567890abcdef", "dirty": True})
    train_run(params, "a")
    about = run.provenance.load()["training"]
    assert (about["sessions"], about["changed"]) == (2, ["code"])
    assert 3600 < about["duration_s"] < 3700
    rows = rows(run)
    assert rows["Started"] == "2024-02-29 23:59:58 UTC"
    assert re.fullmatch(r"1:0\d:\d\d \(h:mm:ss\) in 2 sessions, not all with the same code", rows["Duration"])
    assert rows["Code"] == "crack-utils 0.1.0, commit 1234567, with uncommitted changes"
    assert rows["Evaluated"] == "not yet"


def test_a_training_that_fails_leaves_its_record(home, small_data, tiny, monkeypatch):
    monkeypatch.setattr(Training, "_train_epoch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train_run(small_params(small_data), "a")
    assert Run("a").provenance.load()["training"]["duration_s"] > 0
    assert list(rows(Run("a"))) == TITLES


@pytest.mark.parametrize("text", ["{", "[]", "7"])
def test_a_damaged_record_costs_no_more_than_itself(home, small_data, tiny, text):
    run = train_run(small_params(small_data), "a")
    run.path("provenance.json").write_text(text)
    assert rows(run)["Started"] == "not recorded"
    evaluate_run(run)
    assert set(run.provenance.load()) == {"evaluation"}


def test_an_evaluation_elsewhere_says_so(home, small_data, tiny, monkeypatch):
    run = train_run(small_params(small_data, validate=False), "a")
    monkeypatch.setattr(provenance, "machine", lambda device: "another")
    evaluate_run(run)
    assert rows(run)["Evaluated"].endswith(", not with the training's machine")


def test_a_run_of_an_earlier_version_says_what_it_did_not_record(home):
    run = Run("trial/old")
    assert rows(run) == {"Run": "trial/old"}
    run.params.save(parse_parameters({"epochs": 3}), {"device": "cuda"}, {"counts": {}})
    rows = rows(run)
    assert list(rows) == TITLES
    missing = ["Data", "Code", "Packages", "Machine", "Precision", "Started", "Duration"]
    assert [title for title, text in rows.items() if text == "not recorded"] == missing
    assert (rows["Device"], rows["Evaluated"]) == ("cuda", "not yet")
    run.metrics.save({})
    assert rows(run)["Evaluated"] == "not recorded"


# --- the code


def git(*words, cwd):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=cwd, check=True, capture_output=True)


def test_a_comparison_says_once_what_its_runs_have_in_common(home, small_data, tiny):
    train_run(small_params(small_data, seed=1), "a")
    train_run(small_params(small_data, seed=2), "b")
    train_run(small_params(write_dataset(small_data.parent / "more", train=5), seed=1), "c")
    rows = comparison_rows(["a", "b", "c"])
    hashes = [Run(name).params.load().fingerprint() for name in "abc"]
    assert rows["Parameters hash"] == "\n".join(f"{text}: {name}" for text, name in zip(hashes, "abc", strict=True))
    first, second = rows["Data"].split("\n")
    assert first.endswith(": a, b") and second.endswith(": c")
    assert rows["Runs' code"] == rows(Run("a"))["Code"]


def test_the_commit_is_told_and_whether_the_package_differs_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "REPOSITORY", tmp_path / "checkout")
    package = tmp_path / "checkout" / "crack_utils"
    package.mkdir(parents=True)
    (package / "a.py").write_text("")
    git("init", cwd=tmp_path)
    assert _commit() == {"commit": None, "dirty": False}  # the repository around it is not its own
    git("init", cwd=package.parent)
    assert _commit() == {"commit": None, "dirty": False}
    git("add", ".", cwd=package.parent)
    git("commit", "-m", "a", cwd=package.parent)
    (package.parent / "README.md").write_text("does not change what is computed")
    clean = _commit()
    assert re.fullmatch("[0-9a-f]{40}", clean["commit"]) and not clean["dirty"]
    (package / "b.py").write_text("")
    assert _commit() == clean | {"dirty": True}


def test_without_git_the_commit_is_not_known(home, monkeypatch, capfd):
    monkeypatch.setenv("PATH", "")
    assert record(CPU, 0)["code"]["commit"] is None
    assert capfd.readouterr().err == ""
    assert describe_code({"version": "0.1.0", "commit": None, "dirty": False}) == "crack-utils 0.1.0, commit not known"


def test_training_needs_no_jupyter():
    block = "import sys; sys.modules |= dict.fromkeys(['IPython', 'papermill', 'nbconvert', 'nbformat', 'ipywidgets'])"
    subprocess.run([sys.executable, "-c", f"{block}; import crack_utils.training, crack_utils.provenance"], check=True, cwd=REPOSITORY)


def test_showing_a_run_waits_for_no_torchvision():
    """Its import takes as long as torch's; only augmentation needs it."""
    check = "import sys, crack_utils.notebook, crack_utils.reporting.runner; sys.exit('torchvision' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=REPOSITORY)


# --- the command


def run_of(params, name):
    run = Run(name)
    run.params.save(params, {}, {})
    return run


def repeated(run):
    """What the printed command would run: name and parameters."""
    words = shlex.split(command(run))
    if words[:4] == ["python", "-m", "crack_utils", "run"]:
        member = pick_member(home() / words[4], label=words[6] if words[5:] else None)
        return member.run.name, member.params
    assert words[:6] == ["cd", "notebooks", "&&", "papermill", "train.ipynb", "out.ipynb"]
    options = list(zip(*[iter(words[6:])] * 3, strict=True))
    values = {name: _resolve_type(value) if option == "-p" else value for option, name, value in options}
    return str(values.pop("run_name")), parse_parameters(values)


def test_a_configuration_is_named_if_it_holds_exactly_this_run(home):
    (home / "runs/trial").mkdir()
    (home / "runs/trial/a.b.yaml").write_text("epochs: 3\ndata_root: photos\ndataset: crack500\n")
    params = parse_parameters({"epochs": 3, "dataset": "crack500", "data_root": str((home / "photos").resolve())})
    run = run_of(params, "trial/a.b")
    assert command(run) == "python -m crack_utils run runs/trial/a.b.yaml"
    assert repeated(run) == ("trial/a.b", params)
    assert command(run_of(params, "trial/c")).startswith("cd notebooks && papermill")
    assert command(run_of(parse_parameters({"epochs": 3}), "trial/a.b")).startswith("cd notebooks && papermill")
    (home / "runs/trial/a.b.yaml").write_text("epochs: [")
    assert command(run).startswith("cd notebooks && papermill")


def test_a_member_of_a_sweep_is_named_with_its_file(home):
    sweep = {"epochs": 3, "sweep": {"grid": {"optimizer": ["adam", "sgd"], "augmentation": [True, False]}, "seeds": [1, 2]}}
    (home / "runs/nets.yaml").write_text(yaml.safe_dump(sweep, sort_keys=False))
    params = parse_parameters({"epochs": 3, "optimizer": "sgd", "augmentation": False, "seed": 2})
    run = run_of(params, "nets/optimizer-sgd_augmentation-False_seed2")
    assert command(run) == "python -m crack_utils run runs/nets.yaml --member optimizer-sgd_augmentation-False_seed2"
    assert repeated(run) == (run.name, params)


def test_the_repositorys_own_configurations_are_found_from_any_home(home):
    assert command(run_of(pick_member(REPOSITORY / "runs/sample.yaml").params, "sample")).endswith("run runs/sample.yaml")


@pytest.mark.parametrize("name", ["a", "2024", "1e5", "None", "trial/first+1"])
def test_papermill_gets_back_the_parameters_and_the_name(home, name):
    values = {
        **{"dataset": "crack500", "data_root": "DATA_FOLDER", "negatives_root": "NEGATIVES_FOLDER", "learning_rate": 1e-5},
        **{"hard_negative_mining": "1 of 4, min 0.2", "batch_size": 4, "validate": False, "evaluate_negatives": True},
        **{"scheduler": "step 5 0.95", "augmentation_parts": "rotation", "architecture": "unet", "encoder": "1_0", "mm_per_px": 2.0},
    }
    run = run_of(parse_parameters(values), name)
    assert repeated(run) == (name, parse_parameters(values))
    plain = run_of(parse_parameters({"hard_negative_mining": 0, "epochs": 2}), name)
    assert repeated(plain)[1] == plain.params.load()


def test_the_command_names_no_folder_of_this_machine(home, small_data):
    root = write_dataset(small_data.parent / "my photos")
    command = command(run_of(small_params(root, negatives_root=str(root / "negatives")), "a"))
    assert command == (
        "cd notebooks && papermill train.ipynb out.ipynb -p run_name a -p dataset crack500 "
        "-p data_root DATA_FOLDER -p negatives_root NEGATIVES_FOLDER -p epochs 2 -p device cpu"
    )
