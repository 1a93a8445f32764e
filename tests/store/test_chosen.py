"""The chosen epoch is kept as data, and read from older runs' history."""

import pytest
from conftest import TINY, small_params, write_dataset

from crack_utils.store import Chosen, Run, load_chosen
from crack_utils.training import train_run

VALUES = {
    "seg": {"best_model_type": "seg"},
    "dec": {"best_model_type": "dec"},
    "both": {"best_model_type": "both"},
    "last": {"use_best_model": False},
    "unvalidated": {"validate": False},
    "on_test": {"validate_on_test": True},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run for each way to choose."""
    folder = tmp_path_factory.mktemp("chosen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRACK_HOME", str(folder))
        root = write_dataset(folder / "data", val=3, negatives=2)
        base = {"epochs": 5, "validation_n_epochs": 2, "evaluate_negatives": True, "learning_rate": 0.05}
        for name, values in VALUES.items():
            train_run(small_params(root, **base | values), name, parts=TINY)
        yield


@pytest.mark.parametrize("name", VALUES)
def test_the_chosen_epoch_is_a_row_of_the_history(trained, name):
    run = Run(name)
    chosen, history = load_chosen(run), run.history.load()
    validated = history.dropna(subset="val_f1")
    best = {
        "seg": lambda: validated["val_f1"].idxmax() + 1,
        "on_test": lambda: validated["val_f1"].idxmax() + 1,
        "dec": lambda: validated["val_decision_ap"].idxmax() + 1,
        "both": lambda: int(run.log.load().split("(epoch ")[-1].split(")")[0]),
    }.get(name, lambda: 5)()
    assert run.chosen.exists
    assert chosen.epoch == best
    assert chosen.by == {"last": None, "unvalidated": None, "on_test": "test"}.get(name, "val")
    row = history.set_index("epoch").loc[chosen.epoch].filter(like="val_").dropna()
    assert chosen.validation == pytest.approx(row.to_dict(), rel=1e-12)
    assert len(row) == (0 if name == "unvalidated" else 5)


@pytest.mark.parametrize("name", VALUES)
def test_a_run_of_an_earlier_version_tells_the_same_from_its_history(trained, name):
    run = Run(name)
    kept, text = load_chosen(run), run.chosen.path.read_text()
    run.chosen.path.unlink()
    derived = load_chosen(run)
    run.chosen.path.write_text(text)
    if name == "both":  # the history does not tell
        assert derived is None
    else:
        assert derived == Chosen(kept.epoch, kept.by, pytest.approx(kept.validation, rel=1e-12))
