"""The tools of cells tagged ``interactive``, used in JupyterLab in a browser."""

import re

import lab as jupyterlab
import nbformat
import pytest
from conftest import write_pair
from selenium.webdriver import Keys

from crack_utils.config import parse_parameters
from crack_utils.data import find_data
from crack_utils.errors import DataError
from crack_utils.evaluation import Predictor, read_photo
from crack_utils.reporting.photo import describe
from crack_utils.reporting.runner import execute
from crack_utils.scoring import decision_scores, precision_recall_f1, tolerance_maps
from crack_utils.store import Run, load_examples, load_predictions

server, lab, run, evaluated = jupyterlab.server, jupyterlab.lab, jupyterlab.run, jupyterlab.evaluated  # fixtures


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_training_is_watched_stopped_by_its_button_or_an_interrupt_and_goes_on(lab, run):
    log = run.path("train.log")
    lab.open("train.ipynb", **lab.parameters, run_name="lab")

    lab.run_all()
    lab.wait(lambda: re.search(r"Epoch 1 of 5, image \d of 7", lab.text()), "a first batch")
    lab.wait(lambda: lab.photos("Watched image of val: "), "predictions")
    lab.button("Stop").click()  # while the kernel is busy with the next cell
    lab.wait(lambda: "Stopped in epoch" in log.read_text(), "the end of the batch")
    lab.finish()
    assert "Stopped; all is kept." in lab.text()
    assert "the same run goes on from here." in lab.text()
    assert run.path("checkpoint.pt").is_file()
    assert not run.is_trained

    lab.run_all()
    lab.wait(lambda: re.search(r"Epoch \d of 5, image \d of 7", lab.text()), "a next batch")
    lab.press("notebook:interrupt-kernel")
    lab.wait(lambda: log.read_text().count("Stopped in epoch") == 2, "the end of the batch")
    lab.finish()
    assert not run.is_trained

    lab.run_all()
    lab.wait(lambda: lab.photos("Losses and scores on val by epoch, up to epoch 5"), "the last curves")
    lab.finish()
    assert "Finished." in lab.text()
    assert run.is_trained
    assert log.read_text().count("Going on with lab after epoch") == 2
    assert len(lab.all("tagName", ".jp-RenderedSVG, .jp-RenderedImage")) == 4  # three losses, the scores


# --- data ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_set_is_looked_through_in_any_order_and_augmented_again(lab):
    parameters = {name: lab.parameters[name] for name in ("dataset", "data_root", "evaluate_negatives")}
    data = find_data(parse_parameters(parameters), lab.home)

    def named(split, key, page=1):
        crops = sorted(data.split(split).crops, key=key)[8 * page - 8 : 8 * page]
        return [f"{crop.pair.stem} ({100 * crop.mask.mean():.1f} % crack)" for crop in crops]

    def shown(names):
        lab.wait(lambda: list(lab.photos("Photo with its cracks outlined: ")) == names, names)
        stem = names[0].split()[0]
        return lab.wait(lambda: lab.photos(f"Augmentation of {stem}: "), "an augmentation")

    lab.open("explore.ipynb", **parameters)
    lab.run_all()
    lab.finish()
    shown(named("train", lambda crop: -crop.mask.mean()))
    lab.choose("Set", "test")
    shown(named("test", lambda crop: -crop.mask.mean()))
    lab.choose("Order", "darkest first")
    shown(named("test", lambda crop: crop.image.mean()))
    lab.fill("Page", 2)
    shown(named("test", lambda crop: crop.image.mean(), page=2))
    lab.choose("Set", "train")
    shown(named("train", lambda crop: crop.image.mean()))  # from its first page on
    lab.choose("Order", "by name")
    augmented = shown(named("train", lambda crop: crop.pair.stem))
    assert list(augmented) == [str(number) for number in range(1, 9)]
    lab.button("Augment again").click()
    stem = min(crop.pair.stem for crop in data.split("train").crops)
    lab.wait(lambda: set(lab.photos(f"Augmentation of {stem}: ").values()) - set(augmented.values()), "another augmentation")
    assert lab.errors() == []


# --- the same figures ------------------------------------------------------------------------------------------------


def figures(notebook):
    """The plots and pictures of an executed notebook, by key, as a page would take them."""
    found = {}
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        key = output.get("metadata", {}).get("image/svg+xml", {}).get("key")
        text = output.get("data", {}).get("text/html", "")
        if key:
            found[key] = output.data["image/svg+xml"]
        elif "<figure" in text:
            found[re.search(r'data-key="([^"]+)"', text)[1]] = text
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["explore", "train", "evaluate", "visualize", "report", "compare"])
def test_all_cells_run_by_hand_give_the_figures_that_papermill_gives(lab, evaluated, name):
    data = {key: lab.parameters[key] for key in ("dataset", "data_root", "evaluate_negatives")}
    given = {"explore": data, "train": lab.parameters | {"run_name": "lab"}, "compare": {"runs": "lab"}}.get(name, {"run_name": "lab"})
    lab.open(f"{name}.ipynb", **given)
    lab.run_all()
    lab.finish()
    lab.press("docmanager:save")

    def saved():
        try:
            notebook = nbformat.read(lab.folder / f"{name}.ipynb", as_version=4)
        except nbformat.reader.NotJSONError:  # the server empties the file before it writes it
            return None
        return notebook if [cell for cell in notebook.cells if cell.cell_type == "code"][-1].execution_count else None

    by_hand = figures(lab.wait(saved, "the saved notebook"))
    other = Run("by_papermill")  # a folder for the executed copy alone
    execute(name, other, given)
    by_papermill = figures(nbformat.read(other.notebook(name), as_version=4))
    assert by_hand == by_papermill
    assert len(by_hand) >= 4


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_error_browser_says_the_right_scores_wherever_its_sliders_stand(lab, evaluated):
    stored, metrics = load_predictions(evaluated.folder, "test"), evaluated.metrics.load()
    said, decisions = set(), set()

    def check(stem):
        at, decided_from = lab.reading("Crack above"), lab.reading("Decided from")
        number = stored.stems.index(stem)
        hit, miss, false_alarm = (each.sum() for each in tolerance_maps(stored.seg_probs[number], stored.masks[number], float(at)))
        scores = "precision {:.3f}, recall {:.3f}, F1 {:.3f}".format(*precision_recall_f1(hit, false_alarm, miss))
        if not stored.masks[number].any():
            scores = f"no true crack, {false_alarm} pixels of false alarm"
        counts = decision_scores(stored.has_crack, stored.decision_probs, float(decided_from))
        if decided_from == f"{metrics['decision']['threshold']:.3f}":  # not moved yet: it has more digits than are shown
            counts = metrics["decision"]
        image = f"This image at threshold {at}: {scores}; decided "
        images = "All 10 test images at decision threshold {}: TP {tp}, FP {fp}, FN {fn}, TN {tn}.".format(decided_from, **counts)
        lab.wait(lambda: image in lab.text() and images in lab.text(), f"{image!r} and {images!r}")
        assert {"image", "errors"} == set(lab.photos(f"{stem}: "))
        said.add(image)
        decisions.add(tuple(counts[name] for name in ("tp", "fp", "fn", "tn")))

    lab.open("visualize.ipynb", run_name="lab")
    lab.run_all()
    lab.finish()
    worst, crack_free = (load_examples(evaluated, kind)[0].stem for kind in ("worst", "crack-free"))
    assert lab.reading("Crack above") == f"{metrics['segmentation_2px']['threshold']:.3f}"
    check(worst)
    errors = lab.photos(f"{worst}: ")["errors"]
    lab.slide("Crack above", Keys.HOME)
    assert lab.reading("Crack above") == "0.100"
    check(worst)
    assert lab.photos(f"{worst}: ")["errors"] != errors
    lab.slide("Crack above", *3 * [Keys.ARROW_RIGHT])
    assert lab.reading("Crack above") == "0.115"
    check(worst)
    lab.choose("Image", f"crack-free: {crack_free}")
    check(crack_free)
    lab.slide("Decided from", Keys.END)
    check(crack_free)
    lab.drag("Decided from", -200)
    check(crack_free)
    lab.slide("Decided from", Keys.HOME)
    check(crack_free)
    assert len(said) == 4
    assert {(0, 0, 8, 2), (8, 2, 0, 0)} <= decisions
    assert lab.errors() == []


# --- one's own photo -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_photo_of_ones_own_is_uploaded_searched_piece_by_piece_and_described(lab, evaluated, tmp_path):
    photo, notes = tmp_path / "road.png", tmp_path / "notes.txt"
    write_pair(photo, tmp_path / "mask.png", size=(150, 300))
    notes.write_text("no photo")
    prediction = Predictor(evaluated)(read_photo(photo, 3))

    def described(*scale):
        return "".join(describe(prediction, *scale).splitlines())

    lab.open("visualize.ipynb", run_name="lab")
    lab.run_all()
    lab.finish()
    lab.script(
        "const words = [...document.querySelectorAll('.widget-html-content')].find(each => each.textContent.includes('Choose a photo'));"
        "window.said = [];"
        "new MutationObserver(() => window.said.push(words.textContent)).observe(words, {childList: true, subtree: true})"
    )
    lab.upload("Photo", photo)
    lab.wait(lambda: described() in lab.text(), described())
    assert "Searching: piece 2 of 9 …" in lab.script("return window.said")
    assert len(lab.photos("The photo with the cracks that were found")) == 1
    lab.fill("mm per px", 0.5)
    lab.wait(lambda: described(0.5) in lab.text(), described(0.5))
    assert "mm on average" in described(0.5)

    lab.upload("Photo", notes)
    with pytest.raises(DataError) as error:
        read_photo(notes.read_bytes(), 3)
    lab.wait(lambda: str(error.value) in lab.text(), error.value)
    assert not lab.photos("The photo with")
    lab.fill("mm per px", 2)
    lab.upload("Photo", photo)
    lab.wait(lambda: described(2) in lab.text(), described(2))
    assert lab.errors() == []
