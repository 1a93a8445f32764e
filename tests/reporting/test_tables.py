"""The report's tables and sentences on results made by hand."""

import numpy as np
import pytest
from scoring_by_hand import BESIDE, FAR, LINE, NOTHING, measured

from crack_utils import scoring
from crack_utils.reporting.evaluation_tables import (
    engineering_table,
    failures_table,
    headline_table,
    leaks_table,
    overlap_table,
    protocols_table,
)
from crack_utils.reporting.evaluation_words import certainty, engineering, failures, leaks, ranking, sensitivity
from crack_utils.reporting.html import plain
from crack_utils.reporting.tables import counts_table
from crack_utils.reporting.words import decision, protocol
from crack_utils.scoring import (
    FIGURES,
    decision_ranking,
    decision_scores,
    false_alarms,
    headline,
    intervals,
    protocol_figures,
    without_leaks,
)


def results(*images, leaking=()):
    test = measured(*images)
    frame = test.per_image
    return {
        "decision": decision_scores(frame["has_crack"], frame["decision_prob"], 0.5),
        "segmentation_2px": {**headline(frame, 0.5)["segmentation_2px"], "threshold": 0.5},
        "crack_free": false_alarms(frame),
        "decision_ranking": decision_ranking(frame),
        "protocols": protocol_figures(test),
        "intervals": intervals(frame, 0.5),
        "without_leaks": without_leaks(frame, leaking, 0.5),
        "engineering": scoring.engineering(frame),
        "failures": scoring.failures(frame),
    }, test


PHOTOS = {"drawn": False}
WITH_NEGATIVES = [(LINE, LINE), (BESIDE, LINE), (LINE, LINE), (FAR, NOTHING), (NOTHING, LINE), (NOTHING, NOTHING)]
FIVE_CRACKED = [*WITH_NEGATIVES, (BESIDE, LINE)]


def test_the_headline_table_is_short_and_says_the_runs_own_figures():
    found, _ = results(*FIVE_CRACKED)
    table = headline_table(found)
    assert len(table) <= 8
    cells = table.set_index("Figure")
    assert cells.loc["Cracked images found", "On test"] == "4 of 5"
    assert cells.loc["Crack-free images called cracked", "On test"] == "1 of 2"
    assert cells.loc["Pixels marked on crack-free images", "On test"] == f"{100 * 50 / 2400 / 2:.2f} %"
    assert cells.loc["F1 within 2 pixels", "On test"] == f"{found['segmentation_2px']['f1']:.3f}"
    low, high = found["intervals"]["segmentation_2px"]["f1"]
    assert cells.loc["F1 within 2 pixels", "95 % interval"] == f"{low:.3f} to {high:.3f}"
    assert cells.loc["Pixels marked on crack-free images", "95 % interval"] == ""
    low, high = found["intervals"]["length_px_by_true"]
    assert low < 0.8 <= high
    assert cells.loc["Crack length", "95 % interval"] == f"{100 * low:.0f} to {100 * high:.0f} %"
    assert cells.loc["Crack length", "On test"] == "80 %"  # four lines of five; one where there is none does not make up for it


def test_without_crack_free_images_nothing_is_said_of_false_alarms():
    found, _ = results((LINE, LINE), (BESIDE, LINE))
    assert not [row for row in headline_table(found)["Figure"] if "rack-free" in row]
    assert "1 by construction" in ranking(found)


def test_where_it_fails_is_told_by_width_and_in_words():
    found, test = results(*FIVE_CRACKED, (FAR, LINE))
    table = failures_table(found, None)
    assert table.to_numpy().tolist()[0][:3] == ["below 3 px", "100.0 %", "66.7 %"]  # four of six lines
    assert len(table) == 1  # other widths do not occur
    assert failures_table(found, 0.5)["Width of the crack"].tolist() == ["below 1.5 mm"]
    said = failures(found, test.per_image, None)
    assert said.startswith("The network finds these shares of the true cracks, by width: below 3 px 66.7 %.")
    assert "F1 is below 0.5 on 2 of 6 cracked test images, and 0 on 2." in said
    assert "marked on these images, 0 % lie within 10 pixels of a crack" in said and "The other 100 % lie farther away" in said
    assert "wrongly marked" not in failures(*_results_and_rows((LINE, LINE)), 0.5)


def _results_and_rows(*images):
    found, test = results(*images)
    return found, test.per_image


def test_every_protocol_has_a_row():
    found, _ = results(*WITH_NEGATIVES)
    rows = protocols_table(found)
    assert len(rows) == 8
    assert rows["F1"].tolist() == [found["protocols"][figure.key]["f1"] for figure in FIGURES if figure.table == "protocols"]
    overlap = overlap_table(found).set_index("Figure")["On test"]
    assert overlap["Dice, pooled"] == found["protocols"]["dice_pooled"]
    assert sum("oracle" in name for name in overlap.index) == 2


def test_lengths_come_in_millimetres_where_a_pixel_is_known():
    found, _ = results((LINE, LINE), (LINE, LINE))
    pixels = engineering_table(found, None).set_index("Measure")
    assert pixels.loc["Length, total (px)", ["True", "Predicted", "Off by"]].tolist() == [98, 98, "+0.0 %"]
    millimetres = engineering_table(found, 0.5).set_index("Measure")
    assert millimetres.loc["Length, total (mm)", "True"] == 49
    assert millimetres.loc["Width, mean (mm)", "True"] == 0.5
    assert millimetres.loc["Density (m per m²)", "True"] == pytest.approx(98 * 0.0005 / (2 * 2400 * 0.0005**2), rel=1e-4)


def test_leaks_are_told_with_figures_or_denied():
    found, _ = results((LINE, LINE), (FAR, LINE), leaking=["s0"])
    resolved = {"data": {"leaks": {}}}
    assert "under the same or another name: 1. The network" in leaks(found, resolved)
    table = leaks_table(found).set_index("Figure")
    assert table.loc["F1 within 2 pixels"].tolist() == [0.5, 0]
    clean, _ = results((LINE, LINE), (FAR, LINE))
    assert leaks(clean, resolved).startswith("No leak was found.")
    assert leaks(clean, {"data": {}}) == "An earlier version trained this run and did not look for leaks."


def test_few_photos_are_said_to_say_little():
    five = certainty(results(*FIVE_CRACKED)[0], PHOTOS)
    assert "Intervals from fewer than 20 photos, as here, are too narrow." in five and "5 cracked photos of test were resampled" in five
    assert "Crack-free images have no interval: they come from 2 photos, and an interval needs at least 5." in five
    four = certainty(results(*WITH_NEGATIVES)[0], PHOTOS)
    assert "Cracked images have no interval: they come from 4 photos" in four and "resampled" not in four
    many = {"intervals": {"photos": {"cracked": 30, "crack_free": 40}}}
    assert "narrow" not in certainty(many, PHOTOS) and "30 cracked photos and 40 crack-free photos" in certainty(many, PHOTOS)
    assert "5 cracked drawn scenes of test" in certainty(results(*FIVE_CRACKED)[0], {"drawn": True})


def test_a_table_gives_no_interval_that_the_words_deny():
    found, _ = results(*[(LINE, LINE), (BESIDE, LINE), (FAR, LINE)], *[(FAR, NOTHING), (NOTHING, NOTHING)] * 3)
    cells = headline_table(found).set_index("Figure")["95 % interval"]
    assert {name for name, cell in cells.items() if cell} == {"Crack-free images called cracked", "Pixels marked on crack-free images"}
    assert "Cracked images have no interval: they come from 3 photos" in certainty(found, PHOTOS)
    assert found["intervals"]["decision"]["precision"] == found["intervals"]["decision"]["recall"] == [None, None]


DECIDED = {"validate_on_test": False, "decision_loss": True}


def test_without_crack_free_images_the_decision_is_said_to_be_right_by_construction():
    def said(test, val, **resolved):
        names = ("tp", "fp", "fn", "tn")
        return decision(
            DECIDED | resolved, {"decision": dict(zip(names, test, strict=True)), "val": {"decision": dict(zip(names, val, strict=True))}}
        )

    neither = said((8, 0, 2, 0), (5, 0, 0, 0))
    assert "The test set has no crack-free image, so precision is 1 by construction." in neither
    assert "Val has no crack-free image either, so the threshold is the lowest score of val." in neither
    assert "no cracked image was found" in said((0, 0, 10, 0), (5, 0, 0, 0))
    only_val = said((8, 1, 2, 3), (5, 0, 0, 0))
    assert "by construction" not in only_val and "Val has no crack-free image, so the threshold is the lowest score" in only_val
    assert "calling every test image cracked gives F1 0.833 and accuracy 0.714" in only_val
    assert "the decision has not been learned" in said((8, 1, 2, 3), (5, 2, 0, 0))
    both = said((8, 1, 2, 3), (5, 1, 0, 2))
    assert "construction" not in both and "lowest score" not in both and "learned" not in both
    assert "Therefore the threshold is the lowest score of test." in said(*[(8, 0, 2, 0)] * 2, validate_on_test=True)
    assert "random weights" in said((8, 1, 2, 3), (5, 1, 0, 2), decision_loss=False)


def test_lengths_and_widths_are_summed_up_in_a_sentence():
    found, _ = results((LINE, LINE), (NOTHING, LINE))
    assert engineering(found, None) == (
        "The predicted cracks are 49 px long in total, 50 % of the true 98 px. "
        "The predicted cracks are 1.0 px wide on average, the true cracks 1.0 px."
    )
    assert "24 mm long in total" in engineering(found, 0.5)
    assert engineering(results((NOTHING, LINE))[0], None).endswith("0 % of the true 49 px.")


def test_sensitivity_names_the_cost_of_the_choice():
    found, test = results((LINE, LINE), (BESIDE, LINE))
    curves = test.curves.add_prefix("test_")
    said = sensitivity(found, {"validate_on_test": False, "lowered_threshold": False}, curves)
    best = curves["test_f1"].max()
    assert f", known only afterwards) gives {best:.3f}." in said
    assert f"At the chosen threshold 0.500, F1 on test is {curves['test_f1'].iloc[np.abs(curves.index - 0.5).argmin()]:.3f}" in said


def test_who_chose_is_told_truly():
    resolved = {"validate": True, "use_best_model": True, "validate_on_test": False, "blackening": True, "lowered_threshold": True}
    said = protocol(resolved)
    assert "Val (the validation set) chose the weights and the thresholds; test was read once." in said
    assert "decided crack-free were emptied" in said and "0.9 of the threshold" in said
    assert "**The test set itself chose the thresholds**" in protocol({**resolved, "validate_on_test": True, "validate": False})


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.7332281, "0.733228"), (0.9996273, "0.9996273"), (1.0, "1"), (0.375, "0.375"), (0.63000000000004, "0.63"), (1116, "1116")],
)
def test_numbers_read_as_in_the_write_up(value, text):
    assert plain(value) == text


def test_the_sum_of_positives_and_negatives_is_counted():
    counts = {"train": {"positives": 5, "negatives": 2}, "val": {"positives": 1, "negatives": 0}, "test": {"positives": 3, "negatives": 4}}
    frame = counts_table({"counts": counts})
    assert frame.to_numpy().tolist() == [["Train", 5, 2, 7], ["Test", 3, 4, 7], ["Validation", 1, 0, 1], ["Sum", 9, 6, 15]]
