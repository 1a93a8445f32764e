"""What a training leaves in the run's folder, and what a second training finds there."""

import numpy as np
import pytest
import torch
from conftest import TINY, small_params, write_dataset
from safetensors.torch import load_file
from tiny_training import StopInEpoch

from crack_utils.errors import ParameterError, UserError
from crack_utils.evaluation import evaluate_run
from crack_utils.networks import SegDecNet
from crack_utils.store import Run, claimed
from crack_utils.training import train_run
from crack_utils.training.log import duration

pytestmark = pytest.mark.slow  # they train the real network


def weights(run):
    model = SegDecNet()
    run.model.load_into(model)
    return model.state_dict()


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One training of two epochs, each validated, shared by the tests that only read it."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRACK_HOME", str(folder))
        params = small_params(write_dataset(folder / "data"), validation_n_epochs=1, hard_negative_mining=0.5)
        yield train_run(params, "first"), params, folder


@pytest.fixture
def in_trained_home(trained, monkeypatch):
    monkeypatch.setenv("CRACK_HOME", str(trained[2]))
    return trained


def test_a_training_leaves_its_history_log_and_weights(in_trained_home):
    run, _, _ = in_trained_home
    history = run.history.load()
    assert history["epoch"].tolist() == [1, 2]
    np.testing.assert_allclose(history["loss"][0], history["loss_segmentation"][0])  # epoch 0: all weight on the segmentation
    np.testing.assert_allclose(history["loss"][1], 0.5 * history["loss_segmentation"][1] + 0.005 * history["loss_decision"][1])
    assert history["val_f1"].notna().all()
    log = run.log.load().splitlines()
    assert log[0].startswith("Training first: 2 epochs of 5 + 2 images on cpu: about ")
    assert "train: 5 images, 4 with a crack, 1 without" in log
    assert [line.split(" | ")[0] for line in log[-5:]] == [
        "Epoch 1/2",
        "Validation (epoch 1)",
        "Epoch 2/2",
        "Validation (epoch 2)",
        f"Chosen by val (epoch {history['val_f1'].idxmax() + 1})",
    ]
    assert run.is_trained
    assert not run.path("checkpoint.pt").exists()
    assert not run.path("best.safetensors").exists()


def test_the_same_seed_gives_the_same_run_and_another_seed_another(home, small_data):
    values = {"validation_n_epochs": 1, "hard_negative_mining": 0.5}
    run, again = (train_run(small_params(small_data, **values), name, parts=TINY) for name in ("first", "again"))
    other = train_run(small_params(small_data, **values, seed=1), "other", parts=TINY)
    assert run.model.path.read_bytes() == again.model.path.read_bytes() != other.model.path.read_bytes()
    histories = [each.history.load().drop(columns="time_s") for each in (run, again)]
    assert histories[0].equals(histories[1])


def test_a_stopped_training_goes_on_as_the_unbroken_one_would_have(in_trained_home):
    run, params, _ = in_trained_home
    with pytest.raises(KeyboardInterrupt):
        train_run(params, "stopped", watcher=StopInEpoch(2))
    assert not Run("stopped").is_trained
    assert Run("stopped").history.load()["epoch"].tolist() == [1]
    resumed = train_run(params, "stopped")
    assert "Going on with stopped after epoch 1: 2 epochs of 5 + 2 images on cpu: about " in resumed.log.load()
    assert same(weights(run), weights(resumed))
    assert resumed.history.load()["val_f1"].tolist() == run.history.load()["val_f1"].tolist()


def test_a_finished_training_is_shown_and_other_parameters_do_not_replace_it(in_trained_home, capsys):
    run, params, folder = in_trained_home
    before = run.path("model.safetensors").stat().st_mtime_ns
    train_run(params, "first")
    assert "shown, not repeated" in capsys.readouterr().out
    with pytest.raises(ParameterError, match=r"other parameters \(epochs 2 there, 1 now"):
        train_run(small_params(folder / "data", epochs=1, validation_n_epochs=1, hard_negative_mining=0.5), "first")
    assert run.path("model.safetensors").stat().st_mtime_ns == before


def test_without_a_name_a_run_is_called_after_its_parameters(home, small_data):
    params = small_params(small_data, epochs=1, validate=False, hard_negative_mining=0)
    run = train_run(params, parts=TINY)
    assert run.name == f"crack500-{params.fingerprint(run.params.facts()['fingerprint']['sha256'])}"
    assert run.history.load()["val_f1"].isna().all()
    assert "Chosen: the last weights (epoch 1)" in run.log.load()


def test_overwriting_drops_what_the_other_training_left(home, small_data):
    run = Run("a")
    run.params.save(small_params(small_data, epochs=9), {}, {})
    run.path("metrics.json").write_text("{}")
    with pytest.raises(UserError, match="nowhere"):
        train_run(small_params("nowhere", epochs=1), "a", overwrite=True)
    assert run.params.load().epochs == 9  # nothing is dropped before all is known to be well
    train_run(small_params(small_data, epochs=1, validate=False, hard_negative_mining=0), "a", overwrite=True, parts=TINY)
    assert run.params.load().epochs == 1
    assert not run.is_evaluated


def test_nothing_is_written_when_the_data_cannot_be_used(home, small_data):
    next((small_data / "testcrop").glob("*.jpg")).write_bytes(b"")
    with pytest.raises(UserError, match="file of 0 bytes"):
        train_run(small_params(small_data), "a")
    assert not Run("a").folder.exists()


def test_a_missing_device_is_refused(home, small_data):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ParameterError, match="device: this machine has no cuda; use auto or cpu"):
        train_run(small_params(small_data, device="cuda"))


def test_durations_have_the_unit_that_suits_them():
    assert [duration(seconds) for seconds in (12.4, 240, 36000)] == ["12 s", "4 min", "10.0 h"]


@pytest.mark.parametrize(("architecture", "layer"), [("segdecnet++", "gate1.project.weight"), ("segdecnet-jim", "seg_head.0.weight")])
def test_the_family_trains_and_is_evaluated_by_its_name(home, small_data, architecture, layer):
    run = train_run(small_params(small_data, architecture=architecture, epochs=1, hard_negative_mining=0, validate=False), "a")
    stored = load_file(run.model.path)
    assert layer in stored
    assert any(name.startswith("up1") for name in stored) is (architecture != "segdecnet-jim")
    assert f"Network: {architecture} with " in run.log.load()
    assert 0 <= evaluate_run(run)["segmentation_2px"]["f1"] <= 1


def test_two_processes_do_not_train_one_run(home, small_data):
    with claimed(Run("a"), "training"), pytest.raises(UserError, match="run a is in the hands of another process"):
        train_run(small_params(small_data), "a", parts=TINY)
    assert not Run("a").params.exists
    train_run(small_params(small_data), "a", parts=TINY)
