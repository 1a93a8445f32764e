import os
import time

import numpy as np
import pandas as pd
import pytest
import torch

from crack_utils.config import parse_parameters
from crack_utils.errors import MissingRun, ParameterError
from crack_utils.store import Run, find_run, finish_training, forget_results, load_predictions, write_predictions, written_whole
from crack_utils.store.files import Artifact


def test_predictions_come_back_as_they_were_stored(tmp_path):
    rng = np.random.default_rng(0)
    maps = [rng.random(size).astype(np.float32) for size in ((4, 6), (6, 4), (5, 5))]
    with write_predictions(tmp_path, "test") as add:
        for i, prob in enumerate(maps):
            add(f"photo_{i}_1", prob, prob > 0.5, 0.1 * i)
    loaded = load_predictions(tmp_path, "test")
    assert loaded.stems == ["photo_0_1", "photo_1_1", "photo_2_1"]
    for prob, seg_prob, mask in zip(maps, loaded.seg_probs, loaded.masks, strict=True):
        np.testing.assert_array_equal(seg_prob, prob)
        np.testing.assert_array_equal(mask, prob > 0.5)
        assert (seg_prob.dtype, mask.dtype) == (np.float32, bool)
    np.testing.assert_array_equal(loaded.decision_probs, np.array([0, 0.1, 0.2], np.float32))


def test_predictions_that_were_not_finished_do_not_appear(tmp_path):
    with pytest.raises(RuntimeError), write_predictions(tmp_path, "val") as add:
        add("a", np.zeros((2, 2)), np.zeros((2, 2)), 0.5)
        raise RuntimeError
    with pytest.raises(MissingRun, match="evaluate the run first"):
        load_predictions(tmp_path, "val")
    assert list((tmp_path / "predictions").iterdir()) == []
    with pytest.raises(ParameterError, match="choose val or test"):
        load_predictions(tmp_path, "train")


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with written_whole(path) as scratch:
        scratch.write_text("old")
    with pytest.raises(RuntimeError), written_whole(path) as scratch:
        scratch.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_parameters_come_back_as_given_and_readers_find_them_resolved(home):
    params = parse_parameters({"epochs": 3})
    run = Run("some/name")
    run.params.save(params, {"device": "cpu"}, {"counts": {}})
    assert run.params.resolved()["given"]["epochs"] == 3
    assert run.params.load() == params
    assert run.params.resolved()["device"] == "cpu"
    assert run.params.resolved()["run_name"] == "some/name"
    assert run.params.facts() == {"counts": {}}


def test_history_has_its_columns_whether_validated_or_not(home):
    run = Run("a")
    run.history.save([{"epoch": 1, "loss": 0.5, "val_f1": 0.25}, {"epoch": 2, "loss": 0.25}])
    history = run.history.load()
    training = ["epoch", "loss", "loss_segmentation", "loss_decision", "learning_rate", "time_s"]
    assert list(history) == [*training, "val_precision", "val_recall", "val_f1", "val_seg_threshold", "val_decision_ap"]
    assert history["val_f1"].tolist()[0] == 0.25
    assert pd.isna(history["val_f1"][1])


def test_the_newest_finished_training_is_found_and_without_one_train_comes_first(home):
    with pytest.raises(MissingRun, match="train a run first"):
        find_run(None)
    for age, name in ((20, "old"), (10, "record/new")):
        path = Run(name).path("model.safetensors")
        path.parent.mkdir(parents=True)
        path.touch()

        os.utime(path, (time.time() - age,) * 2)
        (path.parent / "params.json").touch()
    stray = home / "runs" / "my copy" / "model.safetensors"
    stray.parent.mkdir()
    stray.touch()
    Run("unfinished").folder.mkdir()
    assert find_run(None).name == "record/new"
    assert find_run("old").name == "old"
    with pytest.raises(MissingRun, match="run unfinished has not finished training; train the run first"):
        find_run("unfinished")
    with pytest.raises(MissingRun, match="run nothing does not exist"):
        find_run("nothing")


def test_a_damaged_file_is_named(home):
    run = Run("a")
    run.folder.mkdir(parents=True)
    run.path("metrics.json").write_text('{"decision": ')
    with pytest.raises(MissingRun, match=r"metrics\.json is damaged"):
        run.metrics.load()
    for name, load in (
        ("params.json", run.params.load),
        ("model.safetensors", lambda: run.model.load_into(torch.nn.Linear(1, 1))),
        ("checkpoint.pt", run.checkpoint.load),
        ("predictions/test.npz", lambda: load_predictions(run.folder, "test")),
        ("history.csv", run.history.load),
    ):
        run.path(name).parent.mkdir(exist_ok=True)
        run.path(name).write_text("{}" if name == "params.json" else "")
        with pytest.raises(MissingRun, match=f"{name} is damaged"):
            load()


def test_some_predictions_can_be_loaded_without_the_rest(tmp_path):
    with write_predictions(tmp_path, "test") as add:
        for i in range(4):
            add(f"s{i}", np.full((2, 2), i / 4), np.zeros((2, 2)), i / 4)
    some = load_predictions(tmp_path, "test", {"s3", "s1"})
    assert some.stems == ["s1", "s3"]
    assert [prob[0, 0] for prob in some.seg_probs] == [0.25, 0.75]
    assert some.decision_probs.tolist() == [0.25, 0.75]


def test_a_missing_file_names_the_step_that_writes_it(home):
    for load in (Run("a").metrics.load, Run("a").params.load, Run("a").history.load, Run("a").per_image.load, Run("a").curves.load):
        with pytest.raises(MissingRun, match=r"is missing; train the run first, then evaluate"):
            load()
    assert Run("a").provenance.load() == {}  # no step depends on this file
    assert Run("a").checkpoint.load() is None


def test_an_image_may_be_called_na_and_only_an_empty_cell_is_a_missing_value(home):
    frame = pd.DataFrame({"stem": ["NA", "007"], "photo": ["null", "1e5"], "has_crack": [True, False], "f1": [0.5, np.nan]})
    Run("a").per_image.save(frame)
    pd.testing.assert_frame_equal(Run("a").per_image.load(), frame)


def test_forgetting_the_results_removes_every_artifact_and_no_other_file(home):
    run = Run("a")
    artifacts = [name for name, value in vars(Run).items() if isinstance(value, Artifact)]
    assert len(artifacts) == 12
    written = [getattr(run, name).path for name in artifacts if name != "status"]
    written += [run.path(name) for name in ("predictions/val.npz", "predictions/test.npz", "examples/a.jpg", "examples/b.jpg")]
    written += [run.notebook(name) for name in ("train", "evaluate", "visualize", "report")]
    kept = [run.status.path, run.path("notes.txt"), run.path("predictions/mine.npz"), run.notebook("mine")]
    for path in [*written, *kept]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    forget_results(run)
    assert sorted(path for path in run.folder.rglob("*") if path.is_file()) == sorted(kept)
    forget_results(run)  # nothing is left to remove


def test_finishing_a_training_leaves_the_weights_alone(home):
    run, model = Run("a"), torch.nn.Linear(2, 1)
    run.checkpoint.save({"model": model.state_dict()})
    run.best.save(model)
    finish_training(run, model)
    assert [path.name for path in run.folder.iterdir()] == ["model.safetensors"]
    other = torch.nn.Linear(2, 1)
    run.model.load_into(other)
    assert torch.equal(model.weight, other.weight)
