"""Run folders of earlier versions are read and continued, and reading a run takes no torch."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, TINY, small_params, write_dataset
from PIL import Image

from crack_utils.config import parse_parameters
from crack_utils.evaluation import evaluate_run
from crack_utils.store import Run, is_claimed, load_chosen, load_examples, load_predictions, write_predictions
from crack_utils.training import Watcher, train_run

GIVEN = {"dataset": "crack500", "data_root": "photos", "epochs": 3, "validation_n_epochs": 1, "device": "cpu"}
LATER_PARAMETERS = ("mm_per_px", "num_workers")  # did not exist when the run was made
HISTORY = """\
epoch,loss,loss_segmentation,loss_decision,learning_rate,time_s,val_precision,val_recall,val_f1,val_seg_threshold,val_decision_ap
1,0.5957499623298645,0.5957499623298645,0.7942065000534058,0.001,0.03,0.57,0.59,0.5816848251798048,0.4450000000000003,0.9
2,0.3820677392482758,0.5691803455352783,0.784252667427063,0.001,0.02,0.63,0.78,0.7036838438834809,0.41500000000000026,1.0
3,0.18568797183036806,0.5414541840553284,0.7804865717887879,0.001,0.02,0.61,0.69,0.6553815791688408,0.43000000000000027,1.0
"""
PER_IMAGE = """\
stem,photo,decision_prob,has_crack,threshold,tp,fp,fn,predicted_px,image_px,precision,recall,f1
20160222_081010_1_1,20160222_081010,0.75,True,0.415,4,2,2,6,32,0.66,0.66,0.66
20160222_081010_129_1,20160222_081010,0.5,True,0.415,6,0,0,6,32,1.0,1.0,1.0
20160222_081019_1_1,20160222_081019,0.25,False,0.415,0,3,0,3,32,,,
"""
FIGURES = ("crack_free", "val", "decision_ranking", "protocols", "intervals", "without_leaks", "engineering", "failures")
METRICS = {"decision": {"threshold": 0.4}, "segmentation_2px": {"f1": 0.83, "threshold": 0.415}, **{key: {} for key in FIGURES}}
DATA = {"counts": {"train": {"positives": 4, "negatives": 1}}, "input_height": 64, "input_width": 128}
DATA |= {"title": "CRACK500", "test_title": "CRACK500", "drawn": False, "notes": []}


@pytest.fixture
def old_run(home):
    """The folder of a trained and evaluated run as earlier versions wrote it: without chosen.json."""
    run = Run("old")
    given = {name: value for name, value in parse_parameters(GIVEN).as_dict().items() if name not in LATER_PARAMETERS}
    params = {"run_name": "old", **given, "input_width": 128, "input_height": 64, "given": given, "data": DATA}
    stored = {"params.json": params, "metrics.json": METRICS, "provenance.json": {"training": {"seed": 0}}}
    run.path("examples").mkdir(parents=True)
    for name, values in stored.items():
        run.path(name).write_text(json.dumps(values, indent=2) + "\n")
    run.path("history.csv").write_text(HISTORY)
    run.path("per_image.csv").write_text(PER_IMAGE)
    run.path("train.log").write_text("Training old: 3 epochs\n")
    run.path(".lock").touch()
    run.model.save(TINY.build_model(small_params("photos")))
    with write_predictions(run.folder, "test") as add:
        for i, line in enumerate(PER_IMAGE.splitlines()[1:]):
            stem = line.split(",")[0]
            add(stem, np.full((4, 8), 0.25 * i), np.full((4, 8), i < 2), 0.25)
            Image.new("RGB", (8, 4)).save(run.path(f"examples/{stem}.jpg"))
    return run


def test_an_old_run_is_opened_as_it_is(old_run):
    before = {path: path.read_bytes() for path in old_run.folder.rglob("*") if path.is_file()}
    assert (old_run.is_trained, old_run.is_evaluated, is_claimed(old_run)) == (True, True, False)
    params = parse_parameters(GIVEN | {"data_root": str(old_run.folder.parents[1] / "photos")})  # before, folders were absolute
    assert old_run.params.load() == params
    assert {name: old_run.params.resolved()[name] for name in LATER_PARAMETERS} == {"mm_per_px": None, "num_workers": 0}
    assert old_run.params.facts() == DATA
    assert load_chosen(old_run).epoch == 2
    assert load_chosen(old_run).by == "val"
    assert [example.stem for example in load_examples(old_run, "worst")] == ["20160222_081010_1_1", "20160222_081010_129_1"]
    assert load_predictions(old_run.folder, "test").seg_probs[1][0, 0] == 0.25
    assert evaluate_run(old_run) == METRICS
    assert train_run(params, "old") == old_run
    assert {path: path.read_bytes() for path in old_run.folder.rglob("*") if path.is_file()} == before


def test_reading_a_run_takes_no_torch(old_run):
    code = """
import sys
from crack_utils.store import Run, find_run, load_chosen, load_examples, load_predictions
run = Run("old")
assert find_run("old") == find_run(None) == run
run.params.load(), run.params.facts(), run.metrics.load(), run.provenance.load(), run.log.load(), load_chosen(run)
assert len(run.history.load()) == len(run.per_image.load()) == len(load_predictions(run.folder, "test").stems) == 3
for kind in ("worst", "median", "best", "crack-free"):
    assert [example.errors for example in load_examples(run, kind)]
print([name for name in sys.modules if name.split(".")[0] in ("torch", "torchvision", "IPython")])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=dict(os.environ), capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# --- a training that an earlier version stopped


class Stop(Watcher):
    """Stops after so many batches, or ends the training with an error after an epoch."""

    def __init__(self, batches=None, epoch=None):
        self.left, self.epoch = batches, epoch

    def should_stop(self):
        self.left = None if self.left is None else self.left - 1
        return self.left == 0

    def on_epoch(self, training):
        if len(training.history) == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture
def params(home, tmp_path):
    return small_params(write_dataset(tmp_path / "d"), epochs=3, validation_n_epochs=1, hard_negative_mining=0.5, batch_size=2)


def goes_on_like(whole, params, state):
    """Whether the training goes on from this checkpoint to the same weights."""
    Run("a").checkpoint.save(state)
    return train_run(params, "a", parts=TINY).model.path.read_bytes() == whole.model.path.read_bytes()


def test_a_checkpoint_inside_an_epoch_has_the_form_of_earlier_versions(params):
    whole = train_run(params, "whole", parts=TINY)
    train_run(params, "a", watcher=Stop(batches=6), parts=TINY)
    state = Run("a").checkpoint.load()
    later = ["format", "best_model"]
    assert set(state) == {"model", "optimizer", "history", "best", "images", "difficulty", "uses", "position", *later}
    assert list(state["position"]) == ["results", "rng", "time_s"]
    assert state["position"]["results"].shape == (3, 4)  # segmentation loss, decision loss and difficulty of four images
    assert set(state["best"]) == {"epoch", "val_f1", "val_decision_ap"}
    assert goes_on_like(whole, params, state)


def test_a_checkpoint_after_an_epoch_goes_on_with_and_without_an_empty_position(params):
    whole = train_run(params, "whole", parts=TINY)
    for more in ({}, {"position": {"results": torch.empty(3, 0), "rng": {}, "time_s": 0.0}}):
        with pytest.raises(KeyboardInterrupt):
            train_run(params, "a", watcher=Stop(epoch=2), parts=TINY)
        state = Run("a").checkpoint.load()
        assert "position" not in state
        assert goes_on_like(whole, params, state | more)
        shutil.rmtree(Run("a").folder)
