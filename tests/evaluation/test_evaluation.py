import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import small_params, write_dataset
from scoring_by_hand import naive_counts, naive_decision

from crack_utils.config import parse_parameters
from crack_utils.data import Crop, Pair, find_data
from crack_utils.errors import UserError
from crack_utils.evaluation import evaluate_run, measure_test
from crack_utils.networks import build_model, predict, resolve_device
from crack_utils.scoring import SEG_THRESHOLDS, pick_examples
from crack_utils.store import Run, load_examples, load_predictions
from crack_utils.training import train_run

pytestmark = pytest.mark.slow  # they train the real network


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A trained and evaluated run whose val and test hold crack-free, turned and padded images."""
    folder = tmp_path_factory.mktemp("evaluated")
    root = write_dataset(folder / "data", val=3, test=4, negatives=2)
    write_dataset(folder / "portrait", test=2, size=(128, 64), negatives=0)
    for path in (folder / "portrait" / "testcrop").iterdir():
        path.rename(root / "testcrop" / path.name.replace("08101", "09101"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRACK_HOME", str(folder))
        run = train_run(small_params(root, epochs=2, evaluate_negatives=True), "run")
        evaluate_run(run)
        yield run


def test_figures_are_what_the_definitions_give_on_the_stored_predictions(evaluated):
    results = evaluated.metrics.load()
    val, test = load_predictions(evaluated.folder, "val"), load_predictions(evaluated.folder, "test")

    def mean_scores(stored, threshold):
        scores = []
        for prob, mask in zip(stored.seg_probs, stored.masks, strict=True):
            if mask.any():
                tp, fp, fn = naive_counts(prob, mask, threshold)
                p, r = (tp / (tp + fp), tp / (tp + fn)) if tp else (0, 0)
                scores.append((p, r, 2 * p * r / (p + r) if tp else 0))
        return np.mean(scores, axis=0)

    chosen = results["segmentation_2px"]["threshold"]
    at = int(np.flatnonzero(chosen == SEG_THRESHOLDS)[0])
    best = mean_scores(val, chosen)[2]
    for other in {0, at - 1, at + 1, at - 20, at + 20} & set(range(180)):  # val's best, and the first of equals
        f1 = mean_scores(val, SEG_THRESHOLDS[other])[2]
        assert f1 < best + 1e-12 if other > at else f1 < best - 1e-12
    expected = mean_scores(test, chosen)
    np.testing.assert_allclose([results["segmentation_2px"][name] for name in ("precision", "recall", "f1")], expected)

    threshold, _ = naive_decision(val.has_crack, val.decision_probs.astype(float))
    decision = results["decision"]
    assert decision["threshold"] == threshold
    decided = test.decision_probs.astype(float) >= threshold
    truth = test.has_crack
    counts = [(decided & truth).sum(), (decided & ~truth).sum(), (~decided & truth).sum(), (~decided & ~truth).sum()]
    assert [decision[name] for name in ("tp", "fp", "fn", "tn")] == counts
    assert sum(counts) == 8
    false = [naive_counts(p, m, chosen)[1] / m.size for p, m in zip(test.seg_probs, test.masks, strict=True) if not m.any()]
    assert results["crack_free"]["images"] == 2
    assert results["crack_free"]["false_alarm_pixel_share"] == pytest.approx(np.mean(false))


def test_predictions_are_stored_at_the_crops_own_size(evaluated):
    stored = load_predictions(evaluated.folder, "test")
    crops = {crop.pair.stem: crop for crop in find_data(evaluated.params.load(), evaluated.folder).split("test").crops}
    assert {prob.shape for prob in stored.seg_probs} == {(64, 128), (128, 64)}
    for stem, prob, mask in zip(stored.stems, stored.seg_probs, stored.masks, strict=True):
        np.testing.assert_array_equal(mask, crops[stem].mask)
        assert prob.shape == mask.shape
        assert prob.dtype == np.float32
        assert 0 <= prob.min() <= prob.max() <= 1


def test_a_finished_evaluation_is_not_repeated(evaluated, monkeypatch):
    monkeypatch.setenv("CRACK_HOME", str(evaluated.folder.parents[1]))
    again = evaluate_run(evaluated, predict=lambda *_: pytest.fail("test was read again"))
    assert again == evaluated.metrics.load()


def test_per_image_results_come_worst_first_and_agree_with_the_mean(evaluated):
    frame = evaluated.per_image.load()
    f1 = frame["f1"].dropna()
    assert f1.is_monotonic_increasing
    assert len(f1) == frame.has_crack.sum() == 6
    assert f1.mean() == pytest.approx(evaluated.metrics.load()["segmentation_2px"]["f1"])


def test_examples_come_with_photo_truth_and_errors_of_their_own(evaluated):
    (worst, *_) = load_examples(evaluated, "worst")
    frame = evaluated.per_image.load()
    assert worst.stem == frame.stem[0]
    assert worst.image.shape[:2] == worst.mask.shape == worst.seg_prob.shape
    hit, miss, false_alarm = (where.sum() for where in worst.errors)
    assert 2 * hit / (2 * hit + miss + false_alarm) == pytest.approx(frame.f1[0])
    kinds = pick_examples(frame)
    assert set(kinds.kind) == {"worst", "median", "best", "crack-free"}


def test_the_curves_peak_at_the_chosen_threshold_on_val_and_pass_through_the_test_figures(evaluated):
    curves, results = evaluated.curves.load(), evaluated.metrics.load()
    chosen = results["segmentation_2px"]["threshold"]
    assert curves["val_f1"].idxmax() == chosen
    assert curves["val_f1"].max() == pytest.approx(evaluated.history.load()["val_f1"].max())
    for name in ("precision", "recall", "f1"):
        assert curves[f"test_{name}"][chosen] == pytest.approx(results["segmentation_2px"][name])


def test_batches_do_not_change_predictions(evaluated):
    data = find_data(evaluated.params.load(), evaluated.folder)
    model = build_model(data.params)
    evaluated.model.load_into(model)
    device = resolve_device("cpu")
    alone, together = (list(predict(model, data.split("val"), device, size)) for size in (1, 3))
    for (crop, prob, decision), (same_crop, same_prob, same_decision) in zip(alone, together, strict=True):
        assert crop is same_crop
        np.testing.assert_allclose(prob, same_prob, atol=1e-5)
        assert decision == pytest.approx(same_decision, abs=1e-5)


def test_the_log_ends_with_the_final_evaluation(evaluated):
    lines = evaluated.log.load().splitlines()
    assert lines[-4].startswith("Final evaluation on 8 test images, thresholds from val")
    assert lines[-2].startswith("2 pixel distance | precision ")
    assert f"F1 {evaluated.metrics.load()['segmentation_2px']['f1']:.6f}" in lines[-2]
    assert isinstance(evaluated, Run)


# --- what happens behind the thresholds


def predictions_of(*images):
    """Predictions (probabilities of four pixels, of which the first is crack; decision) as the network makes them."""
    pair = Pair(Path("a.jpg"), None)
    crops = [Crop(pair, np.zeros((1, 4, 3), np.uint8), np.array([[True, False, False, False]])) for _ in images]
    return iter([(crop, np.array([probs], np.float32), decision) for crop, (probs, decision) in zip(crops, images, strict=True)])


def test_blackening_empties_the_masks_of_images_decided_crack_free():
    def measured(**values):
        predictions = predictions_of(([0.9, 0, 0, 0.9], 0.6), ([0.9, 0, 0, 0.9], 0.4))
        return pd.DataFrame(measure_test(predictions, 0.5, 0.5, parse_parameters(values)).rows)

    off, on = measured(), measured(blackening=True)
    assert off[["tp", "fp", "fn"]].to_numpy().tolist() == [[1, 1, 0], [1, 1, 0]]
    assert on[["tp", "fp", "fn"]].to_numpy().tolist() == [[1, 1, 0], [0, 0, 1]]
    assert on["threshold"].tolist() == [0.5, np.inf]


def test_the_threshold_is_lowered_once_where_decided_cracked_but_empty():
    def measured(**values):
        images = ([0.48, 0, 0, 0], 0.6), ([0.48, 0, 0, 0], 0.4), ([0.44, 0, 0, 0], 0.6), ([0.52, 0.48, 0, 0.48], 0.6)
        return pd.DataFrame(measure_test(predictions_of(*images), 0.5, 0.5, parse_parameters(values)).rows)

    off, on = measured(), measured(lowered_threshold=True)
    assert off["tp"].tolist() == [0, 0, 0, 1]
    assert on["tp"].tolist() == [1, 0, 0, 1]  # not where decided crack-free, not below 0.9 of it, not where something was found
    assert on["threshold"].tolist() == [0.45, 0.5, 0.45, 0.5]


def test_a_blackened_image_is_shown_empty(evaluated, tmp_path, monkeypatch):
    copied = tmp_path / "runs" / "run"
    shutil.copytree(evaluated.folder, copied)
    monkeypatch.setenv("CRACK_HOME", str(tmp_path))
    frame = evaluated.per_image.load()
    frame.loc[0, "threshold"] = np.inf
    Run("run").per_image.save(frame)
    (worst, *_) = load_examples(Run("run"), "worst")
    hit, miss, false_alarm = worst.errors
    assert not hit.any() and not false_alarm.any()
    assert (miss == worst.mask).all()


# --- what stops an evaluation


def test_a_run_from_another_machine_is_evaluated_on_this_one(home, small_data, tiny_network):
    run = train_run(small_params(small_data, validate=False), "a", parts=tiny_network)
    run.params.save(small_params(small_data, validate=False, device="cuda:7"), {}, run.params.facts())
    evaluate_run(run, tiny_network.build_model)
    assert "Note: device: this machine has no cuda:7; use auto or cpu. Evaluating on " in run.log.load()


def test_predictions_that_are_not_numbers_stop_the_evaluation_and_leave_no_file(home, small_data, tiny_network):
    for broken in ("val", "test"):
        run = train_run(small_params(small_data, validate=False), broken, parts=tiny_network)
        splits = iter(["val", "test"])

        def predicted(model, dataset, *more, broken=broken, splits=splits):
            is_broken = next(splits) == broken
            for crop, seg_prob, decision_prob in predict(model, dataset, *more):
                yield crop, seg_prob * float("nan") if is_broken else seg_prob, decision_prob

        with pytest.raises(UserError, match="the network's predictions are not numbers"):
            evaluate_run(run, tiny_network.build_model, predicted)
        assert [path.name for path in (run.folder / "predictions").iterdir()] == {"val": [], "test": ["val.npz"]}[broken]
        assert not run.is_evaluated


def test_unusable_data_stop_the_evaluation_before_any_work_is_done(home, small_data, tiny_network):
    run = train_run(small_params(small_data, validate=False), "a", parts=tiny_network)
    next((small_data / "testcrop").glob("*.jpg")).write_bytes(b"")
    with pytest.raises(UserError, match="file of 0 bytes"):
        evaluate_run(run, tiny_network.build_model, lambda *_: pytest.fail("val was predicted"))
    assert not run.path("predictions").exists()


def test_an_evaluation_by_an_earlier_version_is_not_mixed_with_this_one(home):
    run = Run("a")
    run.folder.mkdir(parents=True)
    run.metrics.path.write_text('{"segmentation_2px": {}}')
    with pytest.raises(UserError, match=r"metrics\.json is of an earlier version and lacks .*; remove the file and evaluate the run again"):
        evaluate_run(run)
