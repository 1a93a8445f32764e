"""The parameter cells of notebooks and the tables of docs/ follow from the run parameters and the figures."""

import runpy
import shutil
import subprocess
import sys

import papermill
import pytest
from conftest import REPOSITORY
from pydantic.dataclasses import dataclass

from crack_utils.config import RunParameters
from crack_utils.config.parameters import parameter
from crack_utils.errors import UserError

TOOL = runpy.run_path(str(REPOSITORY / "tools" / "parameters.py"))
generated_texts, write_texts = TOOL["generated_texts"], TOOL["write_texts"]


def test_committed_files_are_up_to_date():
    stale = [path.name for path, text in generated_texts().items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run python -m crack_utils parameters"


@dataclass(frozen=True, kw_only=True)
class MoreParameters(RunParameters):
    """The run parameters, after somebody added two."""

    made_up_weight: float | None = parameter(0.5, "weight of something made up", ge=0)
    camera: str = parameter("any", "name of the camera", is_data=True)


@pytest.fixture
def checkout(tmp_path):
    """A copy of the files that the command writes."""
    for path in generated_texts():
        copy = tmp_path / path.relative_to(REPOSITORY)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)
    return tmp_path


def test_a_new_parameter_gets_into_notebooks_and_docs_by_the_command_alone(checkout):
    write_texts(checkout)
    before = {path: path.read_text(encoding="utf-8") for path in checkout.rglob("*.*")}
    changed = write_texts(checkout, MoreParameters)
    assert {path.name for path in changed} == {"explore.ipynb", "train.ipynb", "parameters.md"}
    shown = {name: papermill.inspect_notebook(str(checkout / "notebooks" / f"{name}.ipynb")) for name in ("explore", "train")}
    assert "made_up_weight" not in shown["explore"]
    made_up, camera = shown["train"]["made_up_weight"], shown["explore"]["camera"]
    assert (made_up["inferred_type_name"], made_up["default"], made_up["help"]) == ("float", "0.5", "weight of something made up")
    assert (camera["inferred_type_name"], camera["default"], camera["help"]) == ("str", '"any"', "name of the camera")
    assert list(shown["train"])[-3:] == ["made_up_weight", "camera", "run_name"]
    table = (checkout / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert (
        "| `made_up_weight` | 0.5 | weight of something made up |\n| `camera` | any | name of the camera |\n<!-- /parameters -->" in table
    )
    assert write_texts(checkout, MoreParameters) == []
    write_texts(checkout)
    assert {path: path.read_text(encoding="utf-8") for path in before} == before


@pytest.mark.parametrize("lost", ["<!-- figures -->\n", "<!-- /figures -->"])
def test_a_page_without_a_place_for_its_table_is_named_and_nothing_is_written(checkout, lost):
    page = checkout / "docs" / "figures.md"
    page.write_text(page.read_text(encoding="utf-8").replace(lost, ""), encoding="utf-8")
    before = {path: path.read_text(encoding="utf-8") for path in checkout.rglob("*.*")}
    with pytest.raises(UserError, match=r"figures\.md has no lines <!-- figures --> and <!-- /figures -->"):
        write_texts(checkout, MoreParameters)
    assert {path: path.read_text(encoding="utf-8") for path in before} == before


def test_the_command_needs_no_ipython_and_no_torch():
    code = "import runpy, sys; runpy.run_path('tools/parameters.py'); sys.exit('IPython' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0
