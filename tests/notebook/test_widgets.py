"""The tools of cells tagged ``interactive``, used in JupyterLab in a browser."""

import dataclasses
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
import torch
from conftest import REPOSITORY, TINY, TinyNet, run_command, small_params, write_dataset, write_pair
from safetensors.torch import load_file
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.support.select import Select

from crack_utils.config import parse_parameters
from crack_utils.data import find_data
from crack_utils.errors import DataError
from crack_utils.evaluation import Predictor, read_photo
from crack_utils.notebook.widgets import LiveTraining, watch
from crack_utils.notebook.widgets.training_view import curves_figure
from crack_utils.reporting.photo import describe
from crack_utils.reporting.runner import execute
from crack_utils.scoring import decision_scores, precision_recall_f1, tolerance_maps
from crack_utils.store import Run, load_examples, load_predictions
from crack_utils.training import train_run

PATIENCE_S = 240  # for whatever takes seconds, on a busy machine


class Lab:
    """JupyterLab in a browser, to be used as a person uses it; ``folder`` holds its notebooks and, in ``home``, its runs."""

    def __init__(self, browser, address, folder):
        self.browser, self.address, self.folder, self.home = browser, address, folder, folder / "home"
        self.parameters = {
            "dataset": "crack500",
            "data_root": str(write_dataset(folder / "crack500", train=4, val=2, test=8, negatives=2)),
            "evaluate_negatives": True,
            "epochs": 5,
            "device": "cpu",
        }

    def script(self, text, *arguments):
        return self.browser.execute_script(text, *arguments)

    def wait(self, condition, what):
        """What ``condition`` returns, once it is true."""
        end = time.monotonic() + PATIENCE_S
        while not (value := condition()):
            assert time.monotonic() < end, f"{what} did not come; the notebook shows {self.text()[-3000:]!r}"
            time.sleep(0.1)
        return value

    # --- notebooks
    def open(self, name, **parameters):
        """A fresh kernel under a notebook with these parameters."""
        for session in ask(f"{self.address}/api/sessions"):
            ask(f"{self.address}/api/sessions/{session['id']}", method="DELETE")
        notebook = nbformat.read(REPOSITORY / "notebooks" / name, as_version=4)
        cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
        for parameter, value in parameters.items():
            cell.source, found = re.subn(rf"(?m)^({parameter}: \w+ = )\S+", lambda match, value=value: f"{match[1]}{value!r}", cell.source)
            assert found, f"{name} has no parameter {parameter}"
        nbformat.write(notebook, self.folder / name)
        self.browser.get(f"{self.address}/lab/tree/{name}?reset")
        self.wait(lambda: self.script(f"return document.querySelectorAll('.jp-Notebook .jp-Cell').length >= {len(notebook.cells)}"), name)
        self.wait(
            lambda: self.script("return document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status == 'idle'"), "a kernel"
        )

    def run_all(self):
        """Run > Run All Cells."""
        next(item for item in self.browser.find_elements("css selector", ".lm-MenuBar-itemLabel") if item.text == "Run").click()
        entry = ".lm-Menu-item[data-command='runmenu:run-all']"
        self.wait(lambda: self.browser.find_elements("css selector", entry), "the menu")[0].click()

    def finish(self):
        """Wait until every cell has run, none with an error."""
        prompt = re.compile(r"(\[\d+\]:)?")  # none: words
        self.wait(lambda: self.errors() or all(map(prompt.fullmatch, self.all("textContent", ".jp-InputPrompt"))), "the end")
        assert self.errors() == []

    # --- what it shows
    def all(self, attribute, selector):
        return self.script(f"return [...document.querySelectorAll(arguments[0])].map(element => element.{attribute})", selector)

    def text(self):
        """All outputs' text, shown or scrolled away."""
        return "\n".join(self.all("textContent", ".jp-OutputArea-output"))

    def errors(self):
        return self.all("textContent", ".jp-OutputArea-output[data-mime-type*=error], .jp-OutputArea-output[data-mime-type*=stderr]")

    def photos(self, alt):
        """The tools' pictures whose alternative text begins with these words: from the rest of it to the picture."""
        found = self.script(
            "return [...document.querySelectorAll('.jupyter-widgets img')].map(image => [image.alt, image.src, image.naturalWidth])"
        )
        return {name.removeprefix(alt): source for name, source, width in found if name.startswith(alt) and width > 1}

    # --- what a person touches
    def button(self, name):
        def find():
            return [
                each
                for each in self.browser.find_elements("css selector", "button.jupyter-button")
                if name in each.get_property("textContent")
            ]

        return self.wait(find, f"the button {name}")[0]

    def press(self, command):
        """A button of the toolbar."""
        self.browser.find_element("css selector", f".jp-NotebookPanel-toolbar [data-command='{command}']").click()

    def field(self, label):
        """What stands behind a label: a list, a number or a slider's handle."""
        return self.script(
            "return [...document.querySelectorAll('.widget-label')].find(label => label.textContent == arguments[0])"
            ".parentElement.querySelector('select, input, .noUi-handle')",
            label,
        )

    def choose(self, label, option):
        Select(self.field(label)).select_by_visible_text(option)

    def fill(self, label, value):
        field = self.field(label)
        field.click()
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(str(value), Keys.ENTER)

    def slide(self, label, *keys):
        self.field(label).send_keys(*keys)

    def drag(self, label, pixels):
        ActionChains(self.browser).drag_and_drop_by_offset(self.field(label), pixels, 0).perform()

    def reading(self, label):
        """What a slider says it stands at."""
        return self.field(label).find_element("xpath", "ancestor::*[label]").find_element("css selector", ".widget-readout").text

    def upload(self, name, path):
        """Choose a file in the dialog that a button opens."""
        self.browser.execute_cdp_cmd("Page.setInterceptFileChooserDialog", {"enabled": True})
        self.browser.get_log("performance")
        self.button(name).click()

        def opened():
            events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
            return [event["params"] for event in events if event["method"] == "Page.fileChooserOpened"]

        node = self.wait(opened, "a file chooser")[0]["backendNodeId"]
        self.browser.execute_cdp_cmd("DOM.setFileInputFiles", {"files": [str(path)], "backendNodeId": node})


def ask(address, method="GET"):
    """What a server on this machine answers."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(urllib.request.Request(address, method=method), timeout=60) as answer:
        return json.loads(answer.read() or "null")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab with a home, settings and a folder of its own: its address and the folder."""
    root = tmp_path_factory.mktemp("lab")
    jupyter = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR", "LAB_SETTINGS_DIR", "LAB_WORKSPACES_DIR")
    places = {"CRACK_HOME": root / "home", "IPYTHONDIR": root / "ipython", "XDG_CONFIG_HOME": root / "xdg"}
    places |= {f"JUPYTER{'' if name.startswith('LAB') else '_'}{name}": root / name.lower() for name in jupyter}
    for folder in (*places.values(), root / "home" / "runs", root / "config_dir" / "labconfig"):
        folder.mkdir()
    (root / "config_dir" / "labconfig" / "page_config.json").write_text(
        json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}})
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    others = {name: value for name, value in os.environ.items() if not name.startswith(("JPY_", "JUPYTER"))}
    words = ("--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1")
    words += ("--IdentityProvider.token=", "--ServerApp.password=", "--ServerApp.disable_check_xsrf=True")
    with (root / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *words],
            cwd=root,
            env=others | {name: str(folder) for name, folder in places.items()},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE_S
        while True:
            assert process.poll() is None and time.monotonic() < end, (root / "server.log").read_text()
            try:
                ask(f"{address}/api/status")
                break
            except OSError:
                time.sleep(0.1)
        yield address, root
    finally:
        process.terminate()  # it ends its kernels
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def lab(browser, server):
    """JupyterLab in a tab of its own."""
    before = browser.current_window_handle
    browser.switch_to.new_window("tab")
    yield Lab(browser, *server)
    browser.close()
    browser.switch_to.window(before)


@pytest.fixture
def run(lab, monkeypatch):
    """The run that the notebooks train and show."""
    monkeypatch.setenv("CRACK_HOME", str(lab.home))
    return Run("lab")


@pytest.fixture
def evaluated(lab, run):
    """The same run, evaluated (and trained, where its own test did not)."""
    if not run.is_trained:
        (lab.home / "runs" / "lab.yaml").write_text(json.dumps(lab.parameters))
        done = run_command(lab.home, "train", lab.home / "runs" / "lab.yaml", timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
    if not run.is_evaluated:
        done = run_command(lab.home, "evaluate", "lab", timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
    return run


# --- training --------------------------------------------------------------------------------------------------------


class Dropping(TinyNet):
    """A network with dropout: its training shows whether the network was in training mode, and which random numbers it drew."""

    def forward(self, image):
        return super().forward(torch.nn.functional.dropout(image, 0.5, self.training))


@pytest.fixture
def dropping():
    return dataclasses.replace(TINY, build_model=lambda params, fresh=True: Dropping(params))


def test_watching_a_training_does_not_change_it(home, small_data, dropping):
    params = small_params(small_data)
    alone = train_run(params, "alone", parts=dropping)
    live = LiveTraining(params, "watched", dropping)
    live.start()
    watched = live.wait()
    for name, value in load_file(alone.path("model.safetensors")).items():
        torch.testing.assert_close(load_file(watched.path("model.safetensors"))[name], value, rtol=0, atol=0)
    assert live.view.status.value == "Finished."
    assert "up to epoch 2" in live.view.curves.value
    assert "Watched image of val" in live.view.predictions.value


def test_a_training_is_watched_only_in_jupyterlab_and_only_once(home, small_data, dropping, monkeypatch):
    params = small_params(small_data, epochs=1)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert watch(params, "a", dropping) is None
    monkeypatch.setenv("JPY_SESSION_NAME", "train.ipynb")
    live = watch(params, "a", dropping)
    assert watch(params, "a", dropping) in (live, None)  # None: the training has finished
    assert live.wait().is_trained
    assert watch(params, "a", dropping) is None


def test_a_training_that_is_stopped_or_fails_says_so(home, small_data, dropping):
    params = small_params(small_data)
    stopped = LiveTraining(params, "stopped", dropping)
    stopped.view.stop()
    stopped.start()
    assert not stopped.wait().is_trained
    assert stopped.view.status.value.startswith("Stopped; all is kept.")
    assert stopped.view.button.disabled
    failed = LiveTraining(small_params(small_data / "nowhere"), "failed", dropping)
    failed.start()
    with pytest.raises(DataError, match="nowhere"):
        failed.wait()
    assert failed.view.status.value.startswith("Failed: ")


def test_each_loss_term_has_a_curve():
    history = [{"epoch": 1, "loss": 1.0, "loss_segmentation": 0.5, "loss_decision": 0.4, "loss_dice": 0.3}]
    axes = curves_figure(history, parse_parameters({})).axes
    assert [line.get_label() for line in axes[0].get_lines()] == ["segmentation", "decision", "dice"]
    assert [line.get_label() for line in axes[1].get_lines()] == ["F1", "decision AP"]


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
