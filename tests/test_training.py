import numpy as np
import pytest
import torch
from conftest import small_params, write_dataset

from crack_utils import training
from crack_utils.artifacts import Run
from crack_utils.data import Batch
from crack_utils.errors import ParameterError, UserError
from crack_utils.model import SegDecNet
from crack_utils.training import better, duration, hardest, train_run


def weights(run):
    model = SegDecNet()
    run.load_model(model)
    return model.state_dict()


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_the_hardest_fifth_of_the_records_images_are_661():
    assert len(hardest(np.zeros(3307), 0.2)) == 661
    assert hardest(np.array([0.1, 0.9, 0.5, 0.7, 0.2]), 0.4).tolist() == [1, 3]
    assert len(hardest(np.zeros(5), 0)) == 0
    assert len(hardest(np.zeros(100), 0.29)) == 29


@pytest.mark.parametrize(
    ("kind", "val_f1", "val_decision_ap", "expected"),
    [
        ("seg", 0.6, 0.1, True),
        ("seg", 0.5, 0.9, False),
        ("dec", 0.1, 0.9, True),
        ("dec", 0.9, 0.8, False),
        ("both", 0.5, 0.9, True),
        ("both", 0.9, 0.7, False),
    ],
)
def test_what_makes_a_model_the_best(kind, val_f1, val_decision_ap, expected):
    best = {"epoch": 1, "val_f1": 0.5, "val_decision_ap": 0.8}
    assert better({"val_f1": val_f1, "val_decision_ap": val_decision_ap}, best, kind) is expected


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
    history = run.load_history()
    assert history["epoch"].tolist() == [1, 2]
    np.testing.assert_allclose(history["loss"][0], history["loss_segmentation"][0])  # epoch 0: all weight on the segmentation
    np.testing.assert_allclose(history["loss"][1], 0.5 * history["loss_segmentation"][1] + 0.005 * history["loss_decision"][1])
    assert history["val_f1"].notna().all()
    log = run.load_log().splitlines()
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


def test_the_same_seed_gives_the_same_run_and_another_seed_another(in_trained_home):
    run, params, folder = in_trained_home
    again = train_run(params, "again")
    assert same(weights(run), weights(again))
    columns = [name for name in run.load_history() if name != "time_s"]
    assert run.load_history()[columns].equals(again.load_history()[columns])
    other = train_run(small_params(folder / "data", validation_n_epochs=1, hard_negative_mining=0.5, seed=1), "other")
    assert not same(weights(run), weights(other))


def test_a_stopped_training_goes_on_as_the_unbroken_one_would_have(in_trained_home, monkeypatch):
    run, params, _ = in_trained_home
    real = training.Training._train_epoch

    def stop_in_second_epoch(self, epoch):
        if epoch == 1:
            raise KeyboardInterrupt
        return real(self, epoch)

    monkeypatch.setattr(training.Training, "_train_epoch", stop_in_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        train_run(params, "stopped")
    assert not Run("stopped").is_trained
    assert Run("stopped").load_history()["epoch"].tolist() == [1]
    monkeypatch.setattr(training.Training, "_train_epoch", real)
    resumed = train_run(params, "stopped")
    assert "Going on with stopped after epoch 1 of 2 epochs" in resumed.load_log()
    assert same(weights(run), weights(resumed))
    assert resumed.load_history()["val_f1"].tolist() == run.load_history()["val_f1"].tolist()


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
    run = train_run(params)
    assert run.name == f"crack500-{params.fingerprint()}"
    assert run.load_history()["val_f1"].isna().all()
    assert "Chosen: the last weights (epoch 1)" in run.load_log()


def test_overwriting_drops_what_the_other_training_left(home, small_data):
    run = Run("a")
    run.save_params(small_params(small_data, epochs=9), {}, {})
    run.path("metrics.json").write_text("{}")
    with pytest.raises(UserError, match="nowhere"):
        train_run(small_params("nowhere", epochs=1), "a", overwrite=True)
    assert run.load_params().epochs == 9  # nothing is dropped before all is known to be well
    train_run(small_params(small_data, epochs=1, validate=False, hard_negative_mining=0), "a", overwrite=True)
    assert run.load_params().epochs == 1
    assert not run.is_evaluated


def test_nothing_is_written_when_the_data_cannot_be_used(home, small_data):
    next((small_data / "testcrop").glob("*.jpg")).write_bytes(b"")
    with pytest.raises(UserError, match="it is empty"):
        train_run(small_params(small_data), "a")
    assert not Run("a").folder.exists()


def test_a_missing_device_is_refused(home, small_data):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ParameterError, match="device: cuda is not there on this machine; use auto or cpu"):
        train_run(small_params(small_data, device="cuda"))


def test_batches_are_true_batches_with_mean_losses(small_data):
    torch.manual_seed(0)
    model = SegDecNet()
    image, mask = torch.rand(2, 3, 64, 128), (torch.rand(2, 1, 64, 128) < 0.1).float()
    batch = Batch(image, mask, torch.ones_like(mask), torch.ones_like(mask), torch.ones(2, 1), torch.arange(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0)
    training.train_step(model, optimizer, batch, (1.0, 1.0))
    together = [p.grad.clone() for p in model.parameters()]
    alone = []
    for i in (0, 1):
        ones = torch.ones(1, 1, 64, 128)
        one = Batch(image[i : i + 1], mask[i : i + 1], ones, ones, torch.ones(1, 1), torch.tensor([i]))
        training.train_step(model, optimizer, one, (1.0, 1.0))
        alone.append([p.grad.clone() for p in model.parameters()])
    for both, first, second in zip(together, *alone, strict=True):
        torch.testing.assert_close(both, (first + second) / 2, rtol=1e-3, atol=1e-5)


def test_learning_lowers_the_loss():
    torch.manual_seed(0)
    model = SegDecNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    image = torch.rand(1, 3, 64, 128)
    mask = torch.zeros(1, 1, 64, 128)
    mask[..., 30:34, 20:100] = 1
    image[mask.expand_as(image) > 0] = 0
    batch = Batch(image, mask, torch.ones_like(mask), torch.ones_like(mask), torch.ones(1, 1), torch.zeros(1, dtype=torch.long))
    losses = [training.train_step(model, optimizer, batch, (1.0, 0.01))[0].item() for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]


def test_durations_read_as_people_say_them():
    assert [duration(seconds) for seconds in (12.4, 240, 36000)] == ["12 s", "4 min", "10.0 h"]
