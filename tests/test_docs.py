"""README, CONTRIBUTING and docs/: what these pages name exists in the program."""

import ast
import functools
import importlib.util
import itertools
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
import torch
import yaml
from conftest import REPOSITORY, write_pair
from PIL import Image

from crack_utils import __main__ as command_line
from crack_utils.config import DATASETS, NETWORKS, PARAMETER_HELP, UNIDENTIFYING
from crack_utils.data.crops import CUT_SIZE, LARGEST_UNCUT
from crack_utils.data.splits import DRAWN_SHARES
from crack_utils.many import read_members
from crack_utils.metrics import SEG_THRESHOLDS
from crack_utils.notebook.widgets.browsers import UPLOAD_MB
from crack_utils.scoring import FAR_PX, FEW_PHOTOS, LEAST_PHOTOS, RESAMPLES
from crack_utils.store import F1_DEVIATION, F1_NOISE, load_record

PAGES = sorted([REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").glob("*.md")])
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
EXTRAS = PROJECT["project"]["optional-dependencies"]
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b|\*")  # NAME, PATH, PHOTO.jpg
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GENERATED = re.compile(r"<!-- (\w+) -->.*?<!-- /\1 -->", re.DOTALL)
REPOSITORY_PATH = re.compile(r"(crack_utils|docs|notebooks|tests|runs/[\w/*]+\.\w+|runs/record|\.ci)(/[\w/.*-]*)?|[A-Z]+\.md")


def text_of(name):
    return (REPOSITORY / name).read_text(encoding="utf-8")


def spans(page):
    """The pieces of inline code on a page."""
    prose = FENCE.sub("", GENERATED.sub("", page.read_text(encoding="utf-8")))
    return [in_one_line(span) for span in re.findall(r"`([^`]+)`", prose)]


def blocks(page, language):
    return [textwrap.dedent(code) for name, code in FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


def in_one_line(text):
    return " ".join(text.split())


@functools.cache
def sources():
    """What the program, its notebooks and its configuration consist of, as one text."""
    files = [*(REPOSITORY / "crack_utils").rglob("*.py"), *(REPOSITORY / "notebooks").glob("[a-z]*.ipynb")]
    names = ("pyproject.toml", "docs/submit_sweep.py", "runs/record/record.csv", "benchmarks/loading.py", "benchmarks/training.py")
    return "\n".join([path.read_text(encoding="utf-8") for path in files] + [text_of(name) for name in names])


# --- commands


def commands():
    """Each command line on a page, with the folder in which it runs."""
    for page in PAGES:
        lines = [(line, REPOSITORY) for span in spans(page) for line in span.split(" && ") if line.split()[0] in PROGRAMS and " " in line]
        for block in blocks(page, ""):
            folder = REPOSITORY
            for line in filter(None, block.splitlines()):
                if line.startswith("cd "):
                    folder = folder / line.split()[1]
                lines.append((line, folder))
        yield from (pytest.param(*line, id=f"{page.stem}: {line[0]}") for line in lines)


def is_known_parameter(name):
    return name in PARAMETER_HELP or name == "run_name"


def check_crack_utils(words, folder):
    try:
        options = command_line.build_parser().parse_args(words)
    except SystemExit as end:
        assert end.code == 0
        return
    overrides = getattr(options, "overrides", [])
    assert all(is_known_parameter(name) for name, _ in overrides)
    configuration = getattr(options, "configuration", None)
    if configuration and not PLACEHOLDER.search(configuration):
        read_members(folder / configuration, [pair for pair in overrides if not PLACEHOLDER.search(pair[1])])


def check_python(words, folder):
    match words:
        case ["-m", "crack_utils", *rest]:
            check_crack_utils(rest, folder)
        case ["-m", "pytest", *rest]:
            assert all((folder / word).is_file() for word in rest if word.endswith(".py"))
        case ["-m", "venv", ".venv"]:
            pass
        case [script, *rest]:
            assert all(f'"{word}"' in (folder / script).read_text(encoding="utf-8") for word in rest if word.startswith("--"))
            assert all((folder / word).is_file() for word in rest if word.endswith(".yaml"))


def check_papermill(words, folder):
    notebook = next(word for word in words if word.endswith(".ipynb"))
    cells = nbformat.read(REPOSITORY / "notebooks" / notebook, as_version=4).cells
    (parameters,) = (cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
    for option, name in itertools.pairwise(words):
        assert option != "-p" or re.search(rf"^{name}: ", parameters, re.MULTILINE), f"{notebook} has no parameter {name}"


def check_make(words, folder):
    target, *variables = words
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)
    for name, value in (variable.split("=") for variable in variables):
        assert re.search(rf"^{name} \?=", MAKEFILE, re.MULTILINE)
        assert name != "RUN" or (REPOSITORY / "runs" / f"{value}.yaml").is_file()


def check_pip(words, folder):
    assert words[0] in ("install", "wheel")
    assert all((folder / word).is_file() for option, word in itertools.pairwise(words) if option == "-r")
    assert all(re.fullmatch(r"\.\[(\w+)\]", word)[1] in EXTRAS for word in words if word.startswith(".") and word != ".")


def check_jupyter(words, folder):
    match words:
        case ["lab", option]:
            assert (folder / option.removeprefix("--notebook-dir=")).is_dir()
        case ["nbconvert", "--to", exporter, _]:
            assert exporter in PROJECT["project"]["entry-points"]["nbconvert.exporters"]


def check_tool(package):
    def check(words, folder):
        assert any(line.startswith(package) for line in EXTRAS["test"])
        assert all(list(folder.glob(word)) for word in words if "/" in word)

    return check


def check_torchrun(words, folder):
    start = words.index("-m")
    assert words[start + 1 : start + 3] == ["crack_utils", "train"]
    check_crack_utils(words[start + 2 :], folder)


PROGRAMS = {
    "torchrun": check_torchrun,
    "python": check_python,
    "python3": check_python,
    ".venv/bin/python": check_python,
    "papermill": check_papermill,
    "make": check_make,
    "pip": check_pip,
    ".venv/bin/pip": check_pip,
    "jupyter": check_jupyter,
    ".venv/bin/jupyter": check_jupyter,
    "ruff": check_tool("ruff"),
    "lint-imports": check_tool("import-linter"),
    "nbstripout": check_tool("nbstripout"),
    "cd": lambda words, folder: None,  # commands() goes there
    "source": lambda words, folder: None,
}


@pytest.mark.parametrize(("line", "folder"), list(commands()))
def test_commands_name_what_there_is(line, folder):
    assert folder.is_dir()
    program, *words = shlex.split(line, comments=True)
    PROGRAMS[program](words, folder)


def test_the_job_for_slurm_is_a_script_that_starts_the_command():
    (script,) = blocks(REPOSITORY / "docs/processes.md", "bash")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    (line,) = (line for line in script.replace("\\\n", "").splitlines() if line.startswith("srun "))
    check_torchrun(shlex.split(line)[2:], REPOSITORY)


def test_make_and_the_commands_without_make_are_the_same():
    """The README's table for machines without make, against the Makefile."""
    rows = dict(re.findall(r"^\| [^|]+ \| `make ([\w-]+)` \| .*?`([^`]+)` \|$", text_of("README.md"), re.MULTILINE))
    plain = MAKEFILE.replace("$(BIN)", ".venv/bin").replace("$(RUN)", "sample")
    recipes = {target: recipe.strip() for target, recipe in re.findall(r"^([\w-]+): .*\n\t(.+)$", plain, re.MULTILINE)}
    assert [target for target, line in rows.items() if line != recipes[target] and not line.endswith(f" && {recipes[target]}")] == []
    assert rows.keys() == {"report", "test", "test-fast", "lab"}


@pytest.mark.slow
def test_the_words_of_the_readme_lead_from_photos_to_a_report(home):
    section = text_of("README.md").split("## Your own photos")[1].split("\n## ")[0]
    command = re.search(r"^make .+$", section, re.MULTILINE)[0]
    environment = {**os.environ, "CRACK_HOME": str(home), "VENV": sys.prefix}
    if not shutil.which("make"):
        pytest.skip("no make on the path")
    if subprocess.run(["make", "-q", f"{sys.prefix}/.installed"], cwd=REPOSITORY, env=environment, capture_output=True).returncode:
        pytest.skip("not the environment that make set up: make would install packages first")
    for i in range(4):  # the fewest with a crack, so that the test takes no longer than it must
        image, mask = (home / "data" / "own" / folder / f"IMG_20240101_1200{i:02}" for folder in ("images", "masks"))
        write_pair(image.with_suffix(".jpg"), mask.with_suffix(".png"), seed=i)
    Image.new("L", (128, 64)).save(mask.with_suffix(".png"))
    copied = home.parent / "repository"  # with a training that takes less time
    (copied / "runs").mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", "pyproject.toml", "setup.py"):
        shutil.copy2(REPOSITORY / name, copied)
    configuration = text_of("runs/own.yaml")
    assert "epochs: 20" in configuration
    (copied / "runs/own.yaml").write_text(configuration.replace("epochs: 20", "epochs: 2"), encoding="utf-8")
    done = subprocess.run(["bash", "-c", command], cwd=copied, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    page = (home / "report/own/index.html").read_text(encoding="utf-8")
    assert "your own photos" in page
    assert (home / "runs/own/metrics.json").is_file()


# --- names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_paths_options_and_identifiers_exist(page):
    for span in spans(page):
        if REPOSITORY_PATH.fullmatch(span) and not PLACEHOLDER.search(span.removesuffix(".md")):
            assert (REPOSITORY / span).exists(), span
        if re.fullmatch(r"--[\w-]+( [A-Z]+)?", span):
            assert f'"{span.split()[0]}"' in sources(), span
        if re.fullmatch(r"[a-z]\w*_\w+|\w+\.(json|csv|npz|pt|safetensors|log)", span):
            assert re.search(rf"(?<!\w){re.escape(span.split('.')[0])}(?!\w)", sources()), span


def anchors(page):
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    text = re.sub(r"`[^`]+`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text):
        address, _, anchor = "".join(target).partition("#")
        if address.startswith("https://"):
            continue
        file = page.parent / address if address else page
        assert file.is_file(), address
        assert not anchor or anchor in anchors(file), f"{address}#{anchor}"


def test_every_page_is_linked_from_the_readme():
    assert set(re.findall(r"\]\(([^)#]+\.md)", text_of("README.md"))) == {
        page.relative_to(REPOSITORY).as_posix() for page in PAGES if page.name != "README.md"
    }


def test_pages_that_the_program_names_exist():
    for name in set(re.findall(r"\bdocs/\w+\.\w+|\bREADME\.md|\bCONTRIBUTING\.md", sources())):
        assert (REPOSITORY / name).is_file(), name
    for path in (REPOSITORY / "runs").rglob("*.yaml"):
        for name in re.findall(r"[\w/]+\.md", path.read_text(encoding="utf-8")):
            assert (REPOSITORY / name).is_file(), f"{path}: {name}"


@pytest.mark.parametrize(("page", "name"), [("docs/parameters.md", "parameters"), ("docs/figures.md", "figures")])
def test_generated_tables_have_their_place(page, name):
    assert [match[1] for match in GENERATED.finditer(text_of(page))] == [name]


# --- rooms


def rooms():
    """The rooms in the order of the data, from the contract of import-linter."""
    (contract,) = PROJECT["tool"]["importlinter"]["contracts"]
    return [layer for layer in reversed(contract["layers"]) if layer not in ("__main__", "errors", "metrics")]


def test_contributing_lists_the_rooms_in_the_order_of_the_contract():
    assert re.findall(r"^\| `(\w+)/` \|", text_of("CONTRIBUTING.md"), re.MULTILINE) == rooms()


def test_the_api_page_has_a_section_for_each_room():
    assert re.findall(r"^## (.+)$", text_of("docs/api.md"), re.MULTILINE) == ["metrics", *rooms()]


def api_names():
    for section in re.split(r"^## ", text_of("docs/api.md"), flags=re.MULTILINE)[1:]:
        room = section.split("\n")[0]
        for cell in re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE):
            yield from ((room, name) for name in re.findall(r"`(\w+)`", cell))


@pytest.mark.parametrize(("room", "name"), list(api_names()))
def test_names_of_the_api_page_are_exported_by_their_room(room, name):
    module = importlib.import_module(f"crack_utils.{room}")
    assert name in module.__all__
    assert getattr(module, name) is not None


# --- examples


def can_import(module, name):
    return hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f"{module}.{name}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_examples_are_python_and_import_what_there_is(page):
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("crack_utils"):
                assert all(can_import(node.module, name.name) for name in node.names)


def example(page, heading):
    """What the first Python example of a section defines."""
    code = text_of(page).split(f"\n## {heading}\n")[1].split("```python\n")[1].split("```")[0]
    found = {}
    exec(code, found)
    return found


def test_the_example_of_the_metrics_runs(capsys):
    assert example("docs/api.md", "metrics")["tp"].shape == (2, len(SEG_THRESHOLDS))
    assert f"# {capsys.readouterr().out.strip()}:" in text_of("docs/api.md")


def test_the_example_of_a_network_has_the_two_outputs():
    model = example("docs/extending.md", "A network")["TinyNet"](in_channels=3, gradient_flow_adjustment=True)
    decision_logits, seg_logits = model(torch.rand(2, 3, 64, 128))
    assert (decision_logits.shape, seg_logits.shape) == ((2, 1), (2, 1, 64, 128))


def test_the_example_of_a_data_set_finds_pairs(tmp_path):
    write_pair(tmp_path / "photos/a.jpg", tmp_path / "truth/a.png")
    (pair,) = example("docs/extending.md", "A data set")["LAYOUT"].find(tmp_path).pairs["all"]
    assert (pair.image_path, pair.mask_path) == (tmp_path / "photos/a.jpg", tmp_path / "truth/a.png")


def test_the_example_of_a_loss_term_is_one_minus_dice():
    term = example("docs/extending.md", "A loss term")["TERMS"]["dice"]
    mask = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]]], [[[1.0, 1.0, 0.0, 0.0]]]])
    seg_logits = torch.tensor([[[[50.0, 50.0, -50.0, -50.0]]], [[[50.0, -50.0, 50.0, -50.0]]]])
    outputs, batch = SimpleNamespace(seg_logits=seg_logits), SimpleNamespace(mask=mask, valid=torch.ones_like(mask))
    torch.testing.assert_close(term.loss(outputs, batch, None), torch.tensor([0.0, 0.5]))
    assert term.weight(SimpleNamespace(dice_weight=0.0), 0) == 0


def test_the_example_of_a_figure_is_the_lowest_recall():
    (figure,) = example("docs/extending.md", "A figure of the evaluation")["FIGURES"]
    assert figure.compute(pd.DataFrame({"hit_0px": [3, 1], "truth_px": [4, 4]}), None) == 0.25


def test_the_example_of_a_sweep_is_the_file_it_names():
    (sweep,) = blocks(REPOSITORY / "docs/sweeps.md", "yaml")
    assert yaml.safe_load(sweep) == yaml.safe_load(text_of("runs/networks.yaml"))


# --- numbers


def facts():
    record, (height, width) = load_record(), CUT_SIZE
    in_words = {0.1: "a tenth", 0.2: "a fifth", 4: "four", 5: "five", 6: "six", 8: "eight"}
    val, test = in_words[DRAWN_SHARES["val"]], in_words[DRAWN_SHARES["test"]]
    seeds = record[record["name"].str.startswith("seeds")].groupby("name")["seed"].nunique()
    yield "README.md", f"{val} of the photos into the validation set, {test} into the test set"
    yield "docs/data.md", f"about {val} of the images becomes val and about {test} becomes test"
    yield "docs/data.md", f"a photo with a side above {LARGEST_UNCUT} pixels is cut into equal crops of about {width} x {height} pixels"
    yield "docs/runs.md", f"at most {UPLOAD_MB} MB"
    yield "docs/figures.md", f"{len(SEG_THRESHOLDS)} values ({SEG_THRESHOLDS[0]} to {SEG_THRESHOLDS[-1]:.3f} in steps of 0.005)"
    yield "docs/figures.md", f"photos {RESAMPLES} times"
    yield "docs/figures.md", f"fewer than {LEAST_PHOTOS} photos there is no interval; with fewer than {FEW_PHOTOS} the"
    yield "docs/figures.md", f"more than {FAR_PX} pixels away from any crack"
    benchmark = runpy.run_path(str(REPOSITORY / "benchmarks" / "evaluation.py"))
    yield (
        "docs/figures.md",
        f"{len(SEG_THRESHOLDS)} thresholds take on {benchmark['IMAGES']} images of {benchmark['SIZE'][1]} x {benchmark['SIZE'][0]} pixels",
    )
    yield "docs/pages.md", f"how many of the {len(SEG_THRESHOLDS)} thresholds"
    yield "docs/pages.md", f"{(record['tp'] + record['fn']).max()} generated test images, as many as CRACK500 has"
    yield "docs/record.md", f"used {record.set_index('name')['train_negatives']['run6_6']}"
    yield "docs/record.md", f"{in_words[len(seeds)]} settings, each trained with {in_words[seeds.min()]} seeds"
    yield "docs/record.md", f"about {F1_DEVIATION}. A difference below {F1_NOISE}"
    yield "docs/sweeps.md", f"an example with {len(read_members(REPOSITORY / 'runs/networks.yaml'))} short runs"
    *names, last = (f"`{name}`" for name in UNIDENTIFYING)
    yield (
        "docs/parameters.md",
        f"{in_words[len(UNIDENTIFYING)]} parameters do not change the result of a run: {', '.join(names)} and {last}",
    )


@pytest.mark.parametrize(("page", "sentence"), list(facts()))
def test_numbers_on_the_pages_are_the_program_s(page, sentence):
    assert sentence.lower() in in_one_line(text_of(page)).lower()


def test_the_networks_and_data_sets_on_the_pages_exist():
    def first_cells(page, heading):
        section = text_of(page).split(f"## {heading}")[1].split("\n## ")[0]
        return set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)[1:])  # below the table's head

    assert "segdecnet" in first_cells("docs/runs.md", "Networks") <= set(NETWORKS)
    assert "crack500" in first_cells("docs/data.md", "Data sets") <= set(DATASETS)
