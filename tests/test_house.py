"""The house: which room may use which, how long things may get, what is declared."""

import ast
import importlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "crack_utils"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = ["config", "data", "networks", "scoring", "store", "training", "evaluation", "many", "reporting", "notebook"]
LONGEST_FILE, LONGEST_FUNCTION, MOST_METHODS = 300, 40, 12
EXTRAS = {"pillow_heif", "segmentation_models_pytorch"}  # imported only when a run asks for it


def trees():
    return [(path.relative_to(REPOSITORY).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in FILES]


def test_the_package_has_the_rooms_of_the_contract_and_little_else():
    entries = {path.name for path in PACKAGE.iterdir()} - {"__init__.py", "__main__.py", "__pycache__"}
    assert entries == {*ROOMS, "errors.py", "metrics.py"}
    contract = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"][0]
    assert contract["layers"] == ["__main__", *ROOMS[:4:-1], "store", "metrics", *ROOMS[3::-1], "errors"]
    assert contract["exhaustive"]


def test_each_room_imports_only_from_rooms_below():
    program = shutil.which("lint-imports", path=Path(sys.executable).parent)
    done = subprocess.run([program, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "1 kept, 0 broken" in done.stdout


def test_the_contract_notices_an_arrow_that_goes_up(tmp_path):
    """The check can fail: the same contract on a copy in which ``data`` imports from ``reporting``."""
    shutil.copytree(PACKAGE, tmp_path / "crack_utils", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    crops = tmp_path / "crack_utils" / "data" / "crops.py"
    crops.write_text(crops.read_text(encoding="utf-8") + "\nfrom crack_utils.reporting import words\n", encoding="utf-8")
    program = shutil.which("lint-imports", path=Path(sys.executable).parent)
    done = subprocess.run([program, "--no-cache"], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "crack_utils.data.crops -> crack_utils.reporting" in done.stdout


def test_no_file_and_no_function_is_too_long():
    long_files = {path.name: n for path in FILES if (n := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE}
    assert not long_files
    functions = [
        (f"{name}:{node.name}", node.end_lineno - node.lineno + 1)
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert {name: n for name, n in functions if n > LONGEST_FUNCTION} == {}


def test_no_class_has_many_methods():
    classes = {
        f"{name}:{node.name}": sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in node.body)
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    assert {name: n for name, n in classes.items() if n > MOST_METHODS} == {}


def test_no_private_name_is_imported_by_another_module():
    taken = [
        f"{name}: {alias.name} of {node.module}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("crack_utils")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert taken == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_lives_there_and_what_to_add_where(room):
    module = importlib.import_module(f"crack_utils.{room}")
    first, _, rest = module.__doc__.strip().partition("\n\n")
    assert first.endswith(".")
    assert re.match(r"Add\b", rest), f"crack_utils/{room}/__init__.py does not say what to add where"


@pytest.mark.parametrize("room", ROOMS)
def test_all_names_of_a_room_can_be_imported(room):
    module = importlib.import_module(f"crack_utils.{room}")
    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_what_is_imported_is_declared():
    text = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    declared = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in text.splitlines() if line[:1].isalpha()}
    distributions = importlib.metadata.packages_distributions()
    missing = set()
    for name, tree in trees():
        for node in ast.walk(tree):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and not node.level and node.module else []
            for top in {module.split(".")[0] for module in modules} - sys.stdlib_module_names - {"crack_utils"} - EXTRAS:
                if not declared & {each.lower().replace("_", "-") for each in distributions[top]}:
                    missing.add(f"{top} in {name}")
    assert missing == set()


def test_importing_the_package_does_nothing_and_takes_no_torch():
    code = "import sys, crack_utils; print(sorted(name for name in sys.modules if name.split('.')[0] in ('torch', 'numpy', 'IPython')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
