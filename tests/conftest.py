"""Shared tools: small data sets written on the spot, a home for runs, a browser, the real photos."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # tests side by side would wait for each other's threads
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from PIL import Image

from crack_utils.config import parse_parameters
from crack_utils.data import read_crops
from crack_utils.store import Run
from crack_utils.training import TERMS, Parts

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """Side by side, tests that share a costly fixture stay in one process, and the longest work begins first."""
    for item in items:
        if "sample_home" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("sample"))
        elif {"evaluated", "trained", "installed", "lab"}.intersection(item.fixturenames):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: ("sample_home" not in item.fixturenames, not item.get_closest_marker("slow")))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder in the repository's place for runs, reports and data."""
    monkeypatch.setenv("CRACK_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "runs").mkdir(parents=True)
    return tmp_path / "home"


def write_pair(image_path, mask_path=None, size=(64, 128), seed=0, channels=3):
    """A grainy grey image (height, width) with a dark diagonal line, and the line's mask."""
    rng = np.random.default_rng(seed)
    image = rng.normal(150, 12, (*size, channels))
    mask = np.zeros(size, bool)
    columns = np.arange(8, size[1] - 8)
    rows = (10 + (seed % 5) * 3 + columns * (size[0] - 30) / size[1]).astype(int)
    for offset in range(3):
        mask[rows + offset, columns] = True
    if mask_path is not None:
        image[mask] -= 90
        mask_path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask.astype(np.uint8) * 255).save(mask_path)
    image_path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.clip(0, 255).astype(np.uint8).squeeze()).save(image_path)
    return mask


def write_dataset(root, train=4, val=2, test=2, negatives=1, size=(64, 128)):
    """A small data set in CRACK500's official layout, with crack-free images for every split."""
    for number, (split, count) in enumerate({"train": train, "val": val, "test": test}.items()):
        for i in range(count):
            stem = f"2016022{number}_08101{i // 2}_{1 + 128 * (i % 2)}_1"
            write_pair(root / f"{split}crop" / f"{stem}.jpg", root / f"{split}crop" / f"{stem}.png", size, seed=10 * number + i)
        for i in range(negatives):
            write_pair(root / "negatives" / split / f"2016022{number}_081019_{1 + 128 * i}_1.jpg", None, size, seed=90 + 10 * number + i)
    return root


def read_crop(pair, channels=3):
    """One decoded crop."""
    (crop,) = read_crops([pair], channels)
    return crop


@pytest.fixture
def small_data(tmp_path):
    return write_dataset(tmp_path / "crack500")


def small_params(root, **values):
    """Parameters of a run on :func:`write_dataset`'s data that lasts seconds."""
    return parse_parameters({"dataset": "crack500", "data_root": str(root), "epochs": 2, "device": "cpu", **values})


@pytest.fixture(scope="session")
def real_data():
    """The folder with CRACK500/ in it: real photos, not shipped with the project."""
    root = os.environ.get("CRACK_DATA_ROOT")
    if not root or not (Path(root) / "CRACK500").is_dir():
        pytest.skip("no real photos: CRACK_DATA_ROOT names no folder with CRACK500/ in it")
    return Path(root)


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium. Without one the test is skipped; in CI that is a failure."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        message = "no Chromium: install the packages chromium and chromium-driver"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900"),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    yield driver
    driver.quit()


class TinyNet(torch.nn.Module):
    """A network of two layers with SegDecNet's two outputs, for tests of the loop around it."""

    def __init__(self, params):
        super().__init__()
        self.seg = torch.nn.Conv2d(params.input_channels, 1, 3, padding=1)
        self.decision_head = torch.nn.Linear(1, 1)

    def forward(self, image):
        seg_logits = self.seg(image)
        return self.decision_head(seg_logits.detach().amax((2, 3))), seg_logits


# The two terms of the published loss: whoever adds a term breaks no test of these.
PUBLISHED = {name: TERMS[name] for name in ("segmentation", "decision")}
TINY = Parts(build_model=lambda params, fresh=True: TinyNet(params), measure=lambda *_: (0.0, 0.0), terms=PUBLISHED)


@pytest.fixture
def tiny_network():
    """Train and evaluate :class:`TinyNet` in every architecture's place.

    ``train_run(params, name, parts=tiny_network)``, ``evaluate_run(run, build_model=tiny_network.build_model)`` and
    ``Predictor(run, build_model=tiny_network.build_model)``.
    """
    return TINY


def run_command(home, *words, timeout, **environment):
    """``python -m crack_utils WORDS`` with ``home`` in the repository's place."""
    words = [sys.executable, "-m", "crack_utils", *map(str, words)]
    environment = {**os.environ, "CRACK_HOME": str(home), **environment}
    return subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="session")
def sample_home(tmp_path_factory):
    """The main job: runs/sample.yaml as it is, from drawing to pages; the folder it was done in, and what it printed."""
    home = tmp_path_factory.mktemp("home")
    done = run_command(home, "run", "runs/sample.yaml", timeout=1500)
    assert done.returncode == 0, done.stderr
    compared = run_command(home, "compare", "sample", timeout=300)
    assert compared.returncode == 0, compared.stderr
    return home, done.stdout


@pytest.fixture
def sample_run(sample_home, monkeypatch):
    """The main job's run, the folder of its pages, and what it printed."""
    home, printed = sample_home
    monkeypatch.setenv("CRACK_HOME", str(home))
    return Run("sample"), home / "report" / "sample", printed
