"""JupyterLab in a browser. A test file takes its fixtures over: ``evaluated = lab.evaluated``."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import nbformat
import pytest
from conftest import REPOSITORY, run_command, write_dataset
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.support.select import Select

from crack_utils.store import Run

PATIENCE_S = 240  # a step that usually takes seconds may take this long on a busy machine


class Lab:
    """JupyterLab in a browser, used as a person uses it. ``folder`` has its notebooks, ``home`` its runs."""

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
        """Wait until the condition holds. Returns the condition's value."""
        end = time.monotonic() + PATIENCE_S
        while not (value := condition()):
            assert time.monotonic() < end, f"{what} did not come; the notebook shows {self.text()[-3000:]!r}"
            time.sleep(0.1)
        return value

    # --- notebooks
    def open(self, name, **parameters):
        """Open a notebook with these parameters and a fresh kernel."""
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
        self.wait(self.has_kernel, "a kernel")
        idle = "return document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status == 'idle'"
        self.wait(lambda: self.script(idle), "a kernel that is ready")

    def has_kernel(self):
        """Whether the notebook is connected to a kernel. Until then, Run All Cells would open a dialog."""
        try:
            return [each for each in ask(f"{self.address}/api/kernels") if each["connections"] and each["execution_state"] == "idle"]
        except urllib.error.HTTPError:  # while a kernel starts
            return False

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
        """The text of all outputs."""
        return "\n".join(self.all("textContent", ".jp-OutputArea-output"))

    def errors(self):
        return self.all("textContent", ".jp-OutputArea-output[data-mime-type*=error], .jp-OutputArea-output[data-mime-type*=stderr]")

    def photos(self, alt):
        """The widgets' pictures whose alternative text begins with ``alt``: the rest of the text, and the picture."""
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

        button = self.wait(find, f"the button {name}")[0]
        for _ in range(10):  # pictures that appear above would move it away while it is clicked
            self.script("arguments[0].scrollIntoView({block: 'center'})", button)
            before = button.rect
            time.sleep(0.2)
            if button.rect == before:
                break
        return button

    def press(self, command):
        """Click a button of the toolbar."""
        self.browser.find_element("css selector", f".jp-NotebookPanel-toolbar [data-command='{command}']").click()

    def field(self, label):
        """The control with this label: a list, a number or a slider's handle."""
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
        """The value that a slider shows."""
        return self.field(label).find_element("xpath", "ancestor::*[label]").find_element("css selector", ".widget-readout").text

    def upload(self, name, path):
        """Choose a file in the dialog that this button opens."""
        self.browser.execute_cdp_cmd("Page.setInterceptFileChooserDialog", {"enabled": True})
        self.browser.get_log("performance")
        self.button(name).click()

        def opened():
            events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
            return [event["params"] for event in events if event["method"] == "Page.fileChooserOpened"]

        node = self.wait(opened, "a file chooser")[0]["backendNodeId"]
        self.browser.execute_cdp_cmd("DOM.setFileInputFiles", {"files": [str(path)], "backendNodeId": node})


def ask(address, method="GET"):
    """The answer of a server on this machine."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(urllib.request.Request(address, method=method), timeout=60) as answer:
        return json.loads(answer.read() or "null")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab with its own home and settings: its address and its folder."""
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
        process.terminate()  # the server ends its kernels
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
    """The same run, trained and evaluated."""
    if not run.is_trained:
        (lab.home / "runs" / "lab.yaml").write_text(json.dumps(lab.parameters))
        done = run_command(lab.home, "train", lab.home / "runs" / "lab.yaml", timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
    if not run.is_evaluated:
        done = run_command(lab.home, "evaluate", "lab", timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
    return run
