"""Sentences about a run, on runs made by hand."""

import subprocess
import sys

import pandas as pd
import pytest
from conftest import REPOSITORY

from crack_utils.config import parse_parameters
from crack_utils.reporting.html import count, interval, percent_interval, to_html, unit_and_scale
from crack_utils.reporting.plots import figure, plot_loss
from crack_utils.reporting.tables import loss_columns
from crack_utils.reporting.words import LOOK, false_alarms, look, losses, progress, summary, validation
from crack_utils.store import Run

COUNTS = {name: {"positives": 3, "negatives": 2} for name in ("train", "val", "test")}
FACTS = {"counts": COUNTS, "title": "the drawn sample", "test_title": "the drawn sample", "drawn": True}
METRICS = {"segmentation_2px": {"precision": 0.7, "recall": 0.8, "f1": 0.746}, "decision": {"tp": 2, "fn": 1, "fp": 1, "tn": 1}}
HISTORY = [{"epoch": epoch, "loss": 0.5, "time_s": 90.0, "val_f1": f1} for epoch, f1 in ((1, 0.4), (2, 0.6), (3, 0.5))]


def said_of(run, history=HISTORY, decided=(), **values):
    """The summary of a run with this history and these parameters."""
    params = parse_parameters({"dataset": "sample", "epochs": 3, **values})
    run.params.save(params, {"device": "cpu"}, FACTS)
    run.history.save(history)
    metrics = METRICS | {"decision": METRICS["decision"] | dict(decided)}
    return summary(run, run.params.resolved(), metrics, run.history.load())


def test_the_summary_says_what_was_trained_and_how_good_the_network_is(home):
    said = said_of(Run("a"))
    assert said.startswith("Run **a**: SegDecNet was trained for 3 epochs (4.5 minutes on cpu) on 5 images, 3 of them with a crack.")
    assert "the network reaches a mean F1 of **0.746** within 2 pixels (precision 0.700, recall 0.800)." in said
    assert "This run cannot be compared with them, because its images are those of the drawn sample." in said
    assert "The network finds 2 of 3 cracked images and raises a false alarm on 1 of 2 crack-free ones." in said
    everything = said_of(Run("a"), decided={"tp": 3, "fn": 0, "fp": 2, "tn": 0})
    assert "The network decides that every test image is cracked, including 2 crack-free ones." in everything
    assert "The network finds 2 of 3 cracked images. " in said_of(Run("a"), decided={"fp": 0, "tn": 0})


def test_the_chosen_epoch_is_the_one_kept_with_the_run(home):
    run = Run("a")
    assert said_of(run).endswith(" The weights are those of epoch 2 of 3.")
    run.chosen.save({"epoch": 3, "by": "val", "validation": {}})
    assert said_of(run).endswith(" The weights are those of epoch 3 of 3, the last epoch: longer training may still help.")
    run.chosen.save({"epoch": 3, "by": None, "validation": {}})
    assert "The weights are those of" not in said_of(run)


def test_no_epoch_is_named_where_it_is_not_known(home):
    assert "The weights are those of" not in said_of(Run("a"), best_model_type="both")
    assert "The weights are those of" not in said_of(Run("a"), use_best_model=False)


def test_a_new_loss_term_gets_curve_look_and_column(home):
    run = Run("a")
    run.history.save([row | {"loss_segmentation": 0.4, "loss_decision": 0.1, "loss_dice": 0.3} for row in HISTORY])
    history = run.history.load()
    columns = loss_columns(history)
    assert list(columns) == ["loss", "decision loss", "segmentation loss", "dice loss"]
    assert columns["dice loss"] == "loss_dice"
    ax = plot_loss(history, columns["dice loss"], "dice loss", figure()[1])
    assert ax.get_ylabel() == "dice loss" and ax.get_lines()[0].get_ydata().tolist() == [0.3, 0.3, 0.3]
    assert look("loss_dice") not in LOOK.values() and look("loss_dice").endswith("longer training may help.")
    assert all(look(column) == LOOK[column] for column in ("loss", "loss_decision", "loss_segmentation", "validation", "scores"))
    assert 'data-label="loss_dice"' in to_html(history)


def test_an_unfinished_training_is_said_to_continue():
    params = parse_parameters({"epochs": 3})
    assert progress(params, pd.DataFrame(HISTORY)) == "Training has done 3 of 3 epochs in 4.5 minutes."
    assert progress(params, pd.DataFrame(HISTORY[:1])).startswith("Training has done 1 of 3 epochs in 1.5 minutes. The same run continues")


def test_the_losses_are_explained_as_they_were_weighed():
    weighed = {"decision_loss": True, "delta_cls_loss": 0.01, "dynamically_balanced_loss": False}
    assert losses(weighed).startswith("In the total, the decision loss counts 0.01 times.")
    assert "weight moves from the segmentation loss" in losses(weighed | {"dynamically_balanced_loss": True})
    assert "leaves out the decision loss" in losses(weighed | {"decision_loss": False})
    assert validation({"validate": False, "validate_on_test": False}) == "The training losses."
    assert "the decision on test (right axis)." in validation({"validate": True, "validate_on_test": True})


def test_false_alarms_are_told_or_said_to_be_unmeasured():
    found = {"images": 10, "images_with_false_alarm": 5, "false_alarm_pixel_share": 0.0213}
    said = false_alarms({"crack_free": found})
    assert "Of 10 crack-free test images, 5 show predicted crack." in said and "2.13 % of the pixels" in said
    assert "were not measured" in false_alarms({"crack_free": {"images": 0}})


def test_numbers_are_written_in_one_way():
    assert (count(1, "epoch"), count(0, "epoch"), count(2, "epoch")) == ("1 epoch", "0 epochs", "2 epochs")
    assert (interval([0.5, 0.75]), interval([None, None])) == ("0.500 to 0.750", "")
    assert (percent_interval([0.5, 0.75], 1), percent_interval([None, None], 0)) == ("50.0 to 75.0 %", "")
    assert (unit_and_scale(0.5), unit_and_scale(None)) == (("mm", 0.5), ("px", 1))


@pytest.mark.parametrize("module", ["words", "tables", "evaluation_words", "evaluation_tables", "record", "provenance"])
def test_sentences_and_tables_need_neither_torch_nor_jupyter(module):
    check = f"import sys, crack_utils.reporting.{module}; sys.exit(any(name in sys.modules for name in ('torch', 'IPython')))"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=REPOSITORY)
