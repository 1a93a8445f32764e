"""The package as a wheel, installed without the repository."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import REPOSITORY

pytestmark = pytest.mark.slow  # builds, trains and renders


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which pip installed the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("crack_utils", "notebooks", "runs"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("MANIFEST.in", "README.md", "LICENSE", "pyproject.toml", "requirements.txt", "setup.py"):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source], check=True)
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", *folder.glob("*.whl")], check=True)
    return folder / "site"


@pytest.fixture
def command(installed, tmp_path):
    """Run ``python -m crack_utils WORDS`` of the wheel in an empty folder."""
    (tmp_path / "work").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "CRACK_HOME"} | {"PYTHONPATH": str(installed)}

    def run(*words):
        words = [sys.executable, *words]
        return subprocess.run(words, cwd=tmp_path / "work", env=environment, capture_output=True, text=True, timeout=600)

    where = run("-c", "import crack_utils; print(crack_utils.__file__)").stdout
    assert where.startswith(str(installed)), "the test would look at the repository"
    return run


def test_a_wheel_trains_and_renders_in_the_current_folder(command, installed, tmp_path):
    few = ("-p", "epochs", "1", "-p", "images_per_split", "4", "-p", "record_run", "run6_6")
    done = command("-m", "crack_utils", "run", "runs/sample.yaml", *few)
    assert done.returncode == 0, done.stderr
    assert "The configuration is the one that the program brings along" in done.stderr
    work = tmp_path / "work"
    assert {path.name for path in work.iterdir()} == {"data", "report", "runs"}
    assert (work / "runs" / "sample" / "model.safetensors").is_file()
    page = (work / "report" / "sample" / "index.html").read_text(encoding="utf-8")
    assert "The images are drawn by a program." in page and "<style" in page
    assert not list(installed.glob("runs")) and not list(installed.glob("report"))


def test_commands_of_the_repository_say_so(command):
    done = command("-m", "crack_utils", "bench", "report")
    assert done.returncode == 1
    assert "error: benchmarks/report.py belongs to the repository, not to the installed package" in done.stderr
