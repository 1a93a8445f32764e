"""Which epoch's weights are evaluated, and which split chooses."""

import dataclasses

import pytest
import torch
from conftest import TINY, write_dataset
from safetensors.torch import load_file
from tiny_training import tiny_run

from crack_utils.evaluation import evaluate_run
from crack_utils.networks import predict
from crack_utils.store import Chosen, load_chosen
from crack_utils.training import is_better, validate


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
    assert is_better({"val_f1": val_f1, "val_decision_ap": val_decision_ap}, best, kind) is expected


def test_both_asks_for_the_best_so_far_of_each(home, small_data):
    """Epoch 2 has the better F1, 3 the better decision, 4 reaches both, 5 only one. Without 4 it is 1: 3 does not reach 2's F1,
    though 2 was not chosen."""
    scores = {4: ([0.1, 0.5, 0.3, 0.5, 0.6], [0.5, 0.2, 0.9, 0.9, 0.1]), 1: ([0.1, 0.5, 0.3, 0.4], [0.5, 0.2, 0.9, 0.4])}
    for chosen, series in scores.items():
        rows = [figures(val_f1=f1, val_decision_ap=ap) for f1, ap in zip(*series, strict=True)]
        run = tiny_run(small_data, validated_with(rows), epochs=len(rows), validate=True, validation_n_epochs=1, best_model_type="both")
        assert f"Chosen by val (epoch {chosen})" in run.log.load()
        assert load_chosen(run) == Chosen(chosen, "val", rows[chosen - 1])


def validated_with(rows):
    """Parts whose validations give these figures, one after the other."""
    left = iter(rows)
    return dataclasses.replace(TINY, validate=lambda *_: next(left))


def figures(**values):
    """A validation's figures."""
    return {"val_precision": 0.0, "val_recall": 0.0, "val_f1": 0.0, "val_seg_threshold": 0.5, "val_decision_ap": 0.0} | values


def test_without_the_best_model_the_last_weights_count_with_the_last_validations_thresholds(home, small_data):
    falling = iter([0.3, 0.2, 0.1])
    first_is_best = dataclasses.replace(TINY, validate=lambda *more: validate(*more) | {"val_f1": next(falling)})
    values = {"epochs": 3, "validate": True, "validation_n_epochs": 1, "learning_rate": 0.05}
    best = load_file(tiny_run(small_data, first_is_best, **values).model.path)
    run = tiny_run(small_data, **values, use_best_model=False)
    last = load_file(run.model.path)
    assert not torch.equal(best["seg.weight"], last["seg.weight"])
    results, validated = evaluate_run(run, TINY.build_model), run.history.load().iloc[-1]
    assert results["segmentation_2px"]["threshold"] == pytest.approx(validated["val_seg_threshold"])
    assert results["val"]["segmentation_2px"]["f1"] == pytest.approx(validated["val_f1"])


def test_without_validation_val_is_not_read_until_the_end_and_then_chooses_the_thresholds(home, small_data):
    read = []

    def spy(model, dataset, *more):
        read.append(len(dataset))
        return predict(model, dataset, *more)

    parts = dataclasses.replace(TINY, validate=lambda *_: pytest.fail("val was read"))
    run = tiny_run(small_data, parts, epochs=3, validate=False, validation_n_epochs=1)
    results = evaluate_run(run, TINY.build_model, spy)
    assert read == [2, 2]  # val, then test
    assert results["segmentation_2px"]["threshold"] == run.curves.load()["val_f1"].idxmax()


def test_validation_on_test_chooses_there_and_says_so(home, tmp_path):
    root = write_dataset(tmp_path / "d", val=2, test=3)
    run = tiny_run(root, epochs=2, validate=True, validation_n_epochs=1, validate_on_test=True)
    results = evaluate_run(run, TINY.build_model)
    curves = run.curves.load()
    assert results["segmentation_2px"]["threshold"] == curves["test_f1"].idxmax()
    assert results["segmentation_2px"]["f1"] == pytest.approx(curves["test_f1"].max())
    assert results["segmentation_2px"]["f1"] == pytest.approx(run.history.load()["val_f1"].max())
    assert not run.path("predictions/val.npz").exists()
    log = run.log.load()
    assert "Validation on test (epoch 1)" in log
    assert "Chosen by test" in log
    assert any(note.startswith("Checkpoint and thresholds were chosen on test") for note in run.params.facts()["notes"])
    last = tiny_run(root, epochs=1, validate=False, validate_on_test=True, best_model_type="dec", use_negatives=False)
    assert [note.split(" (")[0] for note in last.params.facts()["notes"]] == ["The thresholds were chosen on test"]
