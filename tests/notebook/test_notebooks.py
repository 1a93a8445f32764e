"""The notebooks as files, and executed by papermill with the commands of the docs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from compared_runs import four_runs
from conftest import REPOSITORY, write_dataset

from crack_utils.config import PARAMETER_DEFAULTS, PARAMETER_HELP
from crack_utils.store import Run, load_predictions

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("[!.]*.ipynb"))
NAMES = ("explore", "train", "evaluate", "visualize", "report", "compare")
BIN = Path(sys.executable).parent


def test_there_is_one_notebook_a_question():
    assert set(NAMES) <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_are_committed_clean(name):
    path = REPOSITORY / "notebooks" / f"{name}.ipynb"
    keys = "metadata.papermill cell.metadata.papermill cell.metadata.execution"
    subprocess.run([BIN / "nbstripout", "--verify", "--extra-keys", keys, path], check=True)


@pytest.mark.parametrize("name", NAMES)
def test_cells_choose_call_and_show(name):
    notebook = nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.metadata.get("tags") for cell in code].index(["parameters"]) == 0
    for cell in code[1:]:
        lines = cell.source.splitlines()
        assert len(lines) <= 10
        assert not any(line.startswith(("def ", "class ", "!", "%")) for line in lines)


def parameters(name):
    return papermill.inspect_notebook(str(REPOSITORY / "notebooks" / f"{name}.ipynb"))


@pytest.mark.parametrize("name", ["train", "explore"])
def test_notebook_parameters_are_the_run_parameters(name):
    shown = parameters(name)
    if name == "train":
        assert set(shown) == {*PARAMETER_HELP, "run_name"}
    for parameter in set(shown) - {"run_name"}:
        about = shown[parameter]
        assert about["help"] == PARAMETER_HELP[parameter]
        assert about["inferred_type_name"] in ("int", "float", "str", "bool")
        assert eval(about["default"]) == PARAMETER_DEFAULTS[parameter]


def test_every_notebook_of_a_run_hears_of_validation_on_test():
    """explore and train have the parameter. The other notebooks read the run's facts. All of them show a warning."""
    assert "validate_on_test" in parameters("explore")
    assert "validate_on_test" in parameters("train")


def in_notebooks(home, *command, **more):
    """Run a command in ``notebooks/``, as a user in an activated environment does."""
    environment = {**os.environ, "CRACK_HOME": str(home), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **more}
    return subprocess.run(command, cwd=REPOSITORY / "notebooks", env=environment, capture_output=True, text=True, timeout=900)


@pytest.mark.parametrize("name", NAMES)
def test_papermill_explains_every_parameter(name):
    done = in_notebooks(".", "papermill", "--help-notebook", f"{name}.ipynb")
    assert done.returncode == 0
    assert "Unknown type" not in done.stdout
    for parameter in parameters(name):
        assert f"  {parameter}: " in done.stdout


@pytest.mark.slow
def test_train_then_evaluate_then_visualize_each_alone(home, tmp_path):
    """The commands of the docs, with fewer epochs and images."""
    out = tmp_path / "out.ipynb"
    done = in_notebooks(home, "papermill", "train.ipynb", out, "-p", "epochs", "1", "-p", "images_per_split", "6")
    assert done.returncode == 0, done.stderr
    (folder,) = (home / "runs").iterdir()
    assert folder.name.startswith("sample-")
    printed = "".join(
        "".join(output.get("text", "")) for cell in nbformat.read(out, as_version=4).cells for output in cell.get("outputs", [])
    )
    assert printed.startswith(f"Training {folder.name}: 1 epochs of 6 + 1 images on ")
    assert ": about " in printed.splitlines()[0]

    done = in_notebooks(home, "papermill", "report.ipynb", out)
    assert done.returncode != 0
    assert re.search(r"MissingRun: .*metrics.json is missing; train the run first, then evaluate", done.stderr)
    for name in ("evaluate", "visualize", "report"):
        done = in_notebooks(home, "papermill", f"{name}.ipynb", out)
        assert done.returncode == 0, done.stderr
        shown = json.dumps(nbformat.read(out, as_version=4))
        assert "drawn by a program" in shown
        assert folder.name in shown
    run = Run(folder.name)
    assert set(run.metrics.load()) >= {"decision", "segmentation_2px"}
    assert len(load_predictions(run.folder, "test").stems) == 6


@pytest.mark.slow
def test_a_folder_of_ones_own_is_found_from_the_current_folder(home, tmp_path):
    root = write_dataset(tmp_path / "mine")
    relative = os.path.relpath(root, REPOSITORY / "notebooks")
    done = in_notebooks(
        home, "papermill", "explore.ipynb", tmp_path / "out.ipynb", "-p", "dataset", "crack500", "-p", "data_root", relative
    )
    assert done.returncode == 0, done.stderr
    shown = (tmp_path / "out.ipynb").read_text()
    assert "The images are drawn by a program" not in shown
    assert "CRACK500 test subset (2 images)" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("notebook", "words", "message"),
    [
        ("train.ipynb", ["-p", "epoch", "4"], "ParameterError: unknown parameter epoch; did you mean epochs?"),
        ("train.ipynb", ["-p", "epochs", "ten"], "ParameterError: epochs: should be a valid integer"),
        ("evaluate.ipynb", [], "MissingRun: there is no finished training yet; train a run first"),
    ],
)
def test_bad_input_stops_a_notebook_with_one_message(home, tmp_path, notebook, words, message):
    done = in_notebooks(home, "papermill", notebook, tmp_path / "out.ipynb", *words)
    assert done.returncode != 0
    assert message in done.stderr
    assert "ipykernel" not in done.stderr.split("Exception encountered")[-1]  # no traceback of ours
    assert not list((home / "runs").iterdir())


@pytest.mark.slow
def test_runs_are_compared_by_papermill(home, tmp_path):
    runs = four_runs(tmp_path)
    done = in_notebooks(home, "papermill", "compare.ipynb", tmp_path / "out.ipynb", "-p", "runs", "trial/*")
    assert done.returncode == 0, done.stderr
    shown = json.dumps(nbformat.read(tmp_path / "out.ipynb", as_version=4)).replace("<wbr>", "")
    assert "4 runs of 2 combinations" in shown
    assert shown.count("image/png") >= 2
    assert all(run.name.removeprefix("trial/") in shown for run in runs)
    done = in_notebooks(home, "papermill", "compare.ipynb", tmp_path / "out.ipynb", "-p", "runs", "nothing/*")
    assert done.returncode != 0
    assert "MissingRun: no evaluated run is called nothing/*" in done.stderr
