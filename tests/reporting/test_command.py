"""The command at the foot of a page repeats the run."""

import shlex

import pytest
import yaml
from conftest import REPOSITORY, small_params, write_dataset
from papermill.cli import _resolve_type

from crack_utils.config import parse_parameters
from crack_utils.many import pick_member
from crack_utils.reporting.provenance import command
from crack_utils.store import Run, home


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
    printed = command(run_of(small_params(root, negatives_root=str(root / "negatives")), "a"))
    assert printed == (
        "cd notebooks && papermill train.ipynb out.ipynb -p run_name a -p dataset crack500 "
        "-p data_root DATA_FOLDER -p negatives_root NEGATIVES_FOLDER -p epochs 2 -p device cpu"
    )
