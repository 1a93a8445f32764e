import dataclasses
import subprocess
import sys

import pytest

from crack_utils.config import (
    DATA_PARAMETERS,
    DATASETS,
    NETWORKS,
    PARAMETER_DEFAULTS,
    PARAMETER_HELP,
    UNIDENTIFYING,
    RunParameters,
    check_run_name,
    parse_parameters,
    read_yaml,
    resolve_folders,
)
from crack_utils.errors import ParameterError


def test_defaults_are_the_write_ups_parameters():
    expected = {
        "batch_size": 1,
        "epochs": 100,
        "learning_rate": 0.001,
        "delta_cls_loss": 0.01,
        "dilate": 1,
        "dynamically_balanced_loss": True,
        "gradient_flow_adjustment": True,
        "frequency_of_use_sampling": False,
        "weighted_segmentation_loss": False,
        "use_best_model": True,
        "best_model_type": "seg",
        "validate": True,
        "validate_on_test": False,
        "augmentation": True,
        "optimizer": "adam",
        "use_negatives": True,
        "hard_negative_mining": 0.2,
        "validation_n_epochs": 5,
    }
    assert {name: PARAMETER_DEFAULTS[name] for name in expected} == expected


def test_every_parameter_has_help_that_papermill_can_show():
    assert all(help and "#" not in help for help in PARAMETER_HELP.values())


def test_the_tables_of_parameters_come_from_the_fields():
    names = [field.name for field in dataclasses.fields(RunParameters)]
    assert list(PARAMETER_HELP) == list(PARAMETER_DEFAULTS) == names
    assert parse_parameters({}).as_dict() == PARAMETER_DEFAULTS
    computing, showing = {"device", "num_workers", "processes"}, {"mm_per_px", "record_run"}
    assert set(UNIDENTIFYING) == {"data_root", "negatives_root", "changed_data"} | computing | showing
    images = {"dataset", "data_root", "negatives_root", "input_width", "input_height", "input_channels", "images_per_split", "split_seed"}
    choices = {"photo_disjoint", "use_negatives", "train_negatives", "evaluate_negatives", "validate_on_test", "mask_crack", "on_bad_data"}
    assert set(DATA_PARAMETERS) == images | choices


def test_the_room_imports_neither_torch_nor_numpy():
    code = "from crack_utils.config import *; import sys; print({'torch', 'numpy'} & {*sys.modules}, parse_parameters)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("set() <function parse_parameters")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 4}, "unknown parameter epoch; did you mean epochs?"),
        ({"epochs": "ten"}, "epochs: should be a valid integer, .*'ten'"),
        ({"epochs": 0}, "epochs: should be greater than or equal to 1, got 0"),
        ({"epochs": True}, "epochs: takes no True or False"),
        ({"learning_rate": -1}, "learning_rate: should be greater than 0"),
        ({"learning_rate": "nan"}, "learning_rate: should be a finite number"),
        ({"validate": "maybe"}, "validate: should be True or False, got 'maybe'"),
        ({"input_height": 361, "input_width": 640}, "input_height: must be divisible by 8; try 360 or 368, got 361"),
        ({"input_height": 64, "input_width": 64}, "input 64 x 64 is too small.*try 128 x 64"),
        ({"dataset": "crack500"}, "needs data_root"),
        ({"dataset": "crack501"}, f"dataset: should be 'sample', 'crack500', .* or '{DATASETS[-1]}', got 'crack501'"),
        ({"device": "gpu"}, "device: should be auto, cpu, mps, cuda or cuda:N, got 'gpu'"),
        ({"architecture": "segdecnet+"}, f"architecture: should be 'segdecnet', .* or '{list(NETWORKS)[-1]}'"),
        ({"encoder": "resnet18"}, "encoder and pretrained need architecture unet or segformer; segdecnet has its own encoder"),
        ({"scheduler": "linear"}, "scheduler: should be cosine, or 'step N FACTOR' with .* such as 'step 5 0.95', got 'linear'"),
        ({"scheduler": "step 0 0.5"}, "scheduler: should be cosine"),
        ({"scheduler": "step 1 1000"}, "with FACTOR above 0 and up to 1"),
        ({"scheduler": "step 5 0.0"}, "with FACTOR above 0 and up to 1"),
        ({"augmentation_parts": ""}, "augmentation_parts: should be some of .*; for none set augmentation to False"),
        ({"blackening": True, "decision_loss": False}, "blackening and lowered_threshold need a trained decision"),
        ({"lowered_threshold": True, "decision_loss": False}, "need a trained decision, but decision_loss is False"),
        (
            {"best_model_type": "dec", "decision_loss": False},
            "best_model_type dec needs a trained decision, but decision_loss is False; use seg",
        ),
        ({"epochs": 3, "warmup_epochs": 3}, "warmup_epochs 3 must be below epochs 3"),
        ({"augmentation_parts": "flip"}, "augmentation_parts: should be some of horizontal_flip, .*, got 'flip'"),
        ({"momentum": 1}, "momentum: should be less than 1"),
        ({"seed": 10**30}, "seed: should be less than or equal to"),
        ({"data_root": ["a"], "dataset": "crack500"}, "data_root: "),
        ({"device": "cuda:99999999999999"}, "device: should be"),
        ({"optimizer": "lion"}, "optimizer: should be 'adam', 'adamw' or 'sgd', got 'lion'"),
        ({"hard_negative_mining": 1.5}, "hard_negative_mining: should be a share from 0 to 1"),
        ({"hard_negative_mining": "most"}, "hard_negative_mining: should be a share such as 0.2, or 'k of b' such as '5 of 10, min 0.1'"),
        ({"hard_negative_mining": "5 of 10"}, "hard_negative_mining '5 of 10' needs k below b, and b = batch_size 1"),
        ({"hard_negative_mining": "4 of 4", "batch_size": 4}, "needs k below b"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_the_fix(values, message):
    with pytest.raises(ParameterError, match=message):
        parse_parameters(values)


def test_texts_from_yaml_and_papermill_become_numbers_and_switches():
    params = parse_parameters({"learning_rate": "1e-4", "validate": "false", "epochs": "7", "input_channels": "1", "data_root": 7})
    assert (params.learning_rate, params.validate, params.epochs, params.input_channels, params.data_root) == (1e-4, False, 7, 1, "7")


def test_the_fingerprint_names_what_is_computed_not_where():
    base = parse_parameters({})
    assert parse_parameters({"device": "cpu", "num_workers": 2}).fingerprint() == base.fingerprint()
    assert parse_parameters({"seed": 1}).fingerprint() != base.fingerprint()
    assert parse_parameters({"device": "cpu", "seed": 1}).differences(base) == {"seed": (1, 0)}


def test_given_lists_only_what_differs_from_the_defaults():
    assert parse_parameters({"epochs": 3, "batch_size": 1}).given() == {"epochs": 3}


def test_negatives_are_evaluated_on_the_sample_unless_said_otherwise():
    assert parse_parameters({}).evaluates_negatives
    assert not parse_parameters({"evaluate_negatives": False}).evaluates_negatives
    assert not parse_parameters({"dataset": "crack500", "data_root": "x"}).evaluates_negatives


def test_relative_folders_count_from_the_base(tmp_path):
    resolved = resolve_folders({"data_root": "a/../b", "epochs": 3, "negatives_root": None}, tmp_path)
    assert resolved == {"data_root": str(tmp_path / "b"), "epochs": 3, "negatives_root": None}
    with pytest.raises(ParameterError, match="data_root: '~nouser/x' is not the name of a folder"):
        resolve_folders({"data_root": "~nouser/x"})


def test_the_optimizer_may_be_spelt_as_in_the_write_up():
    assert parse_parameters({"optimizer": "Adam"}) == parse_parameters({})


def test_hard_negative_mining_is_a_share_or_hard_batches():
    assert parse_parameters({"hard_negative_mining": "0.3"}).hard_negative_mining == 0.3
    assert parse_parameters({}).hard_batches is None
    assert parse_parameters({"hard_negative_mining": "5 of 10, min 0.2", "batch_size": 10}).hard_batches == (5, 10, 0.2)
    assert parse_parameters({"hard_negative_mining": "1 of 2", "batch_size": 2}).hard_batches == (1, 2, 0.1)


def test_parts_of_the_augmentation_are_words():
    assert parse_parameters({"augmentation_parts": "rotation, color_jitter"}).augmentation_parts == "rotation color_jitter"


def test_yaml_that_is_no_configuration_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"no configuration .*missing\.yaml"):
        read_yaml(tmp_path / "missing.yaml")
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n- 2\n")
    with pytest.raises(ParameterError, match="must hold 'name: value' lines"):
        read_yaml(path)
    path.write_text("epochs: [1\n")
    with pytest.raises(ParameterError, match="not readable as YAML"):
        read_yaml(path)
    path.write_text("epochs: 2022-99-99\n")
    with pytest.raises(ParameterError, match="not readable as YAML"):
        read_yaml(path)
    path.write_text("# nothing yet\n")
    assert read_yaml(path) == {}


@pytest.mark.parametrize("name", ["../up", "a/../b", "/etc", "a b", "", "a/", ".hidden", "a.yaml"])
def test_a_run_name_that_leaves_the_runs_folder_is_refused(name):
    with pytest.raises(ParameterError, match="run_name"):
        check_run_name(name)


def test_a_run_name_may_lie_in_folders():
    assert check_run_name("record/run6_6") == "record/run6_6"


def test_a_key_may_be_merged_over_but_not_written_twice(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {epochs: 1, seed: 2}\nb: &b {<<: *a, epochs: 3}\nc: {<<: *b}\n")
    assert read_yaml(path)["c"] == {"epochs": 3, "seed": 2}
    path.write_text("epochs: 1\nepochs: 2\n")
    with pytest.raises(ParameterError, match="epochs appears twice"):
        read_yaml(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_configuration_is_read_in_the_encodings_of_windows(tmp_path, encoding):
    (tmp_path / "a.yaml").write_bytes("dataset: folder\r\ndata_root: Straße\r\n".encode(encoding))
    assert read_yaml(tmp_path / "a.yaml") == {"dataset": "folder", "data_root": "Straße"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "dataset: folder\ndata_root: Straße\n".encode("cp1252"),
            r"a\.yaml is not UTF-8 text \(line 2 has other bytes\); save it as UTF-8",
        ),
        (b'data_root: "C:\\data\\own"\n', r"inside double quotes \\ has a meaning of its own, so write paths with / or without quotes"),
        (b"epochs: 1\n\tinput_height: 64\n", "use spaces instead of tabs"),
        (b"dataset: folder\ndata_root:data/own\nepochs: 1\n", "a space is missing after a colon"),
    ],
)
def test_frequent_mistakes_in_a_configuration_get_a_sentence_that_tells_the_way(tmp_path, content, message):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(ParameterError, match=message):
        read_yaml(tmp_path / "a.yaml")


def test_a_path_that_yaml_changed_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b'data_root: "C:\\new\\own"\n'.replace(b"\\own", b"/own"))
    with pytest.raises(ParameterError, match=r"data_root: the path 'C:\\new/own' holds the control character '\\n'; inside double quotes"):
        resolve_folders(read_yaml(tmp_path / "a.yaml"))
