"""The tools of cells tagged ``interactive``: in JupyterLab, in a browser, by their own buttons."""

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
from conftest import REPOSITORY, write_dataset

from crack_utils.artifacts import Run

PATIENCE_S = 240  # for whatever takes seconds, on a busy machine


class Lab:
    """JupyterLab in a browser, to be used as a person uses it."""

    def __init__(self, browser, address, folder):
        self.browser, self.address, self.folder = browser, address, folder

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
        for session in self._ask("api/sessions"):
            self._ask(f"api/sessions/{session['id']}", method="DELETE")
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

    def _ask(self, path, method="GET"):
        with urllib.request.urlopen(urllib.request.Request(f"{self.address}/{path}", method=method), timeout=60) as answer:
            return json.loads(answer.read() or "null")

    def run_all(self):
        """Run > Run All Cells."""
        next(item for item in self.browser.find_elements("css selector", ".lm-MenuBar-itemLabel") if item.text == "Run").click()
        entry = ".lm-Menu-item[data-command='runmenu:run-all']"
        self.wait(lambda: self.browser.find_elements("css selector", entry), "the menu")[0].click()

    def finish(self):
        """Wait until no cell runs or waits any more."""
        self.wait(lambda: not any("*" in prompt for prompt in self.all("textContent", ".jp-InputPrompt")), "the end")

    # --- what it shows
    def all(self, attribute, selector):
        return self.script(f"return [...document.querySelectorAll(arguments[0])].map(element => element.{attribute})", selector)

    def text(self):
        """All outputs' text, shown or scrolled away."""
        return "\n".join(self.all("textContent", ".jp-OutputArea-output"))

    def errors(self):
        return self.all("textContent", ".jp-OutputArea-output[data-mime-type*=error], .jp-OutputArea-output[data-mime-type*=stderr]")

    def photos(self, alt):
        """The pictures whose alternative text has these words: from it to the picture."""
        found = self.script("return [...document.images].map(image => [image.alt, image.src, image.naturalWidth])")
        return {name: source for name, source, width in found if alt in name and width > 1}

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
        from selenium.webdriver.support.select import Select

        Select(self.field(label)).select_by_visible_text(option)


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    """A server with a home, settings and copies of the notebooks of its own, and a tab of the browser on it."""
    root = tmp_path_factory.mktemp("lab")
    folders = {
        name: root / name.lower()
        for name in (
            *("CRACK_HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR"),
            *("JUPYTERLAB_WORKSPACES_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
        )
    }
    for folder in (*folders.values(), folders["CRACK_HOME"] / "runs", folders["JUPYTER_CONFIG_DIR"] / "labconfig", root / "notebooks"):
        folder.mkdir()
    (folders["JUPYTER_CONFIG_DIR"] / "labconfig" / "page_config.json").write_text(
        json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}})
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JPY_", "JUPYTER"))}
    words = ("--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1")
    words += ("--IdentityProvider.token=", "--ServerApp.password=", "--ServerApp.disable_check_xsrf=True")
    with (root / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *words],
            cwd=root / "notebooks",
            env=environment | {name: str(folder) for name, folder in folders.items()},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    lab = Lab(browser, f"http://localhost:{port}", root / "notebooks")
    lab.home = folders["CRACK_HOME"]
    lab.data = write_dataset(root / "crack500", train=10, val=4, test=6, negatives=2)
    own_window = browser.current_window_handle
    try:
        end = time.monotonic() + PATIENCE_S
        while True:
            assert server.poll() is None and time.monotonic() < end, (root / "server.log").read_text()
            try:
                lab._ask("api/status")
                break
            except OSError:
                time.sleep(0.1)
        browser.switch_to.new_window("tab")
        yield lab
    finally:
        if browser.current_window_handle != own_window:
            browser.close()
            browser.switch_to.window(own_window)
        server.terminate()  # it ends its kernels
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_training_is_watched_stopped_by_its_button_or_an_interrupt_and_goes_on(lab, monkeypatch):
    monkeypatch.setenv("CRACK_HOME", str(lab.home))
    run = Run("lab")
    log = run.path("train.log")
    lab.open("train.ipynb", dataset="crack500", data_root=str(lab.data), images_per_split=6, epochs=5, run_name="lab", device="cpu")

    lab.run_all()
    lab.wait(lambda: lab.photos("Watched image of val"), "predictions")
    assert re.search(r"Epoch 1 of 5, image \d of 7", lab.text())
    lab.button("Stop").click()  # while the kernel is busy with the next cell
    lab.wait(lambda: "Stopped in epoch" in log.read_text(), "the end of the batch")
    lab.finish()
    assert lab.errors() == []
    assert "Stopped; all is kept." in lab.text()
    assert "the same run goes on from here." in lab.text()
    assert run.path("checkpoint.pt").is_file()
    assert not run.is_trained

    lab.run_all()
    lab.wait(lambda: re.search(r"Epoch \d of 5, image \d of 7", lab.text()), "a next batch")
    lab.press("notebook:interrupt-kernel")
    lab.wait(lambda: log.read_text().count("Stopped in epoch") == 2, "the end of the batch")
    lab.finish()
    assert lab.errors() == []
    assert not run.is_trained

    lab.run_all()
    lab.wait(lambda: lab.photos("Losses and scores on val by epoch, up to epoch 5"), "the last curves")
    lab.finish()
    assert lab.errors() == []
    assert "Finished." in lab.text()
    assert run.is_trained
    assert log.read_text().count("Going on with lab after epoch") == 2
    assert len(lab.all("tagName", ".jp-RenderedSVG, .jp-RenderedImage")) == 4  # three losses, the scores
