"""The command line, run as a command: one clear message and a non-zero exit for whatever cannot be used."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, small_params, write_dataset, write_pair
from PIL import Image

from crack_utils.__main__ import build_parser, main
from crack_utils.data import find_data
from crack_utils.evaluation import evaluate_run
from crack_utils.many import pick_member, read_members
from crack_utils.store import Run, image_cache
from crack_utils.training import train_run


def command(home, *words):
    environment = {**os.environ, "CRACK_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-m", "crack_utils", *map(str, words)],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=600,
    )


def write_yaml(home, name, text):
    path = home / "runs" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def configuration(path, overrides=None):
    member = pick_member(path, overrides)
    return member.run.name, member.params


def test_a_runs_name_is_its_files_path_under_runs(home, tmp_path):
    assert configuration(write_yaml(home, "sample", ""))[0] == "sample"
    assert configuration(write_yaml(home, "record/run6_6", ""))[0] == "record/run6_6"
    assert configuration(write_yaml(home, "a", ""), [["run_name", "b/c"]])[0] == "b/c"
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text("epochs: 3")
    assert configuration(elsewhere) == ("elsewhere", configuration(write_yaml(home, "x", "epochs: 3"))[1])


def test_overrides_win_and_folders_count_from_where_they_are_written(home, tmp_path, monkeypatch):
    path = write_yaml(home, "a", "dataset: crack500\ndata_root: data/here\nlearning_rate: 1e-4\nepochs: 3\n")
    monkeypatch.chdir(tmp_path)
    _, params = configuration(path, [["epochs", "4"], ["images_per_split", "None"]])
    assert (params.epochs, params.learning_rate, params.data_root) == (4, 1e-4, str(home / "data" / "here"))
    assert configuration(path, [["data_root", "there"]])[1].data_root == str(tmp_path / "there")


def test_every_tracked_configuration_is_valid():
    paths = sorted((REPOSITORY / "runs").rglob("*.yaml"))
    names = [member.run.name for path in paths for member in read_members(path)]
    assert {"sample", "own", "record/run6_6", "record/seeds1/seed101"} <= set(names)
    assert len(set(names)) == len(names)


def test_the_write_ups_run_is_the_defaults_on_crack500():
    name, params = configuration(REPOSITORY / "runs" / "record" / "run6_6.yaml")
    assert name == "record/run6_6"
    assert set(params.given()) == {"dataset", "data_root", "record_run", "train_negatives"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["epoch", "4"], "error: unknown parameter epoch; did you mean epochs?"),
        (["epochs", "ten"], "error: epochs: should be a valid integer"),
        (["data_root", "nowhere"], "nowhere is not a folder"),
        (["input_height", "361"], "error: input_height: must be divisible by 8; try 360 or 368"),
        (["run_name", "../up"], "error: run_name '../up'"),
        (["record_run", "run66"], "error: record_run: no published run is called 'run66'; try run6_6"),
    ],
)
def test_wrong_words_give_one_message(home, capsys, overrides, message):
    path = write_yaml(home, "a", "dataset: crack500\ndata_root: data\n")
    assert main(["train", str(path), "-p", *overrides]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_an_input_too_small_for_the_network_is_refused(home, capsys):
    path = write_yaml(home, "a", "input_width: 64\ninput_height: 64\n")
    assert main(["train", str(path)]) == 1
    assert "error: input 64 x 64 is too small" in capsys.readouterr().err


def spoil_missing_mask(root):
    next((root / "traincrop").glob("*.png")).unlink()
    return "1 x photo without a mask ("


def spoil_mask_size(root):
    Image.new("L", (64, 32)).save(next((root / "traincrop").glob("*.png")))
    return "(the mask is 64 x 32, the photo 128 x 64)"


def spoil_empty_file(root):
    next((root / "testcrop").glob("*.jpg")).write_bytes(b"")
    return ".jpg"


def spoil_folder(root):
    shutil.rmtree(root / "valcrop")
    return "holds neither valcrop/ nor val/"


@pytest.mark.parametrize("spoil", [spoil_missing_mask, spoil_mask_size, spoil_empty_file, spoil_folder])
def test_bad_data_give_one_message_and_leave_nothing(home, small_data, capsys, spoil):
    message = spoil(small_data)
    path = write_yaml(home, "a", f"dataset: crack500\ndata_root: {small_data}\nepochs: 1\n")
    assert main(["train", str(path)]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert not Run("a").folder.exists()


def test_commands_without_a_run_say_what_comes_first(home, capsys):
    for words in (["evaluate", "nothing"], ["render", "nothing"], ["predict", "nothing", "photo.jpg"]):
        assert main(words) == 1
        assert "run nothing does not exist; train the run first" in capsys.readouterr().err


@pytest.mark.slow
def test_train_and_evaluate_without_jupyter(home, tmp_path):
    root = write_dataset(tmp_path / "d")
    path = write_yaml(home, "trials/first", f"dataset: crack500\ndata_root: {root}\nepochs: 1\ndevice: cpu\n")
    hidden = "import sys; sys.modules.update(dict.fromkeys(['IPython', 'papermill', 'nbconvert', 'matplotlib', 'ipywidgets'])); "
    for words in (["train", str(path)], ["evaluate", "trials/first"]):
        code = f"{hidden}from crack_utils.__main__ import main; sys.exit(main({words!r}))"
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "CRACK_HOME": str(home)}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert "2 pixel distance: precision" in done.stdout
    run = Run("trials/first")
    assert run.params.load() == small_params(root, epochs=1)
    assert run.is_evaluated


@pytest.mark.slow
def test_photos_are_predicted_and_a_bad_one_keeps_no_other_from_it(home, tmp_path, monkeypatch, capsys):
    params = small_params(write_dataset(tmp_path / "d", train=2), epochs=1, mm_per_px=0.5)
    train_run(params, "a")
    for name, size in (("one", (100, 300)), ("three", (40, 30))):
        write_pair(tmp_path / "photos" / f"{name}.jpg", size=size)
    (tmp_path / "photos" / "two.jpg").write_text("no image")
    photos = [str(tmp_path / "photos" / f"{name}.jpg") for name in ("one", "two", "three")]
    assert main(["predict", "a", *photos]) == 1
    assert "metrics.json is missing; train the run first, then evaluate" in capsys.readouterr().err
    evaluate_run(Run("a"))
    capsys.readouterr()
    monkeypatch.chdir(tmp_path / "photos")
    assert main(["predict", "a", *photos, "--output", "out/here"]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("Decided: ") == captured.out.count("Written: ") == 2
    assert "(1 px is 0.5 mm)" in captured.out  # the run's own
    assert "two.jpg (8 bytes) as an image" in captured.err.splitlines()[0]
    assert captured.err.splitlines()[1] == "error: 1 of 3 photos were not predicted; the messages above say why"
    written = sorted(path.name for path in Path("out/here").iterdir())
    assert written == ["one_cracks.png", "one_mask.png", "three_cracks.png", "three_mask.png"]
    with Image.open("out/here/one_mask.png") as mask:
        assert (mask.size, mask.mode) == ((300, 100), "L")
    assert main(["predict", "a", photos[0], "--mm-per-px", "2"]) == 0
    assert "(1 px is 2 mm)" in capsys.readouterr().out
    assert Path("one_cracks.png").is_file()
    assert main(["predict", "a", photos[0]]) == 1
    assert capsys.readouterr().err.startswith("error: one_cracks.png exists already; remove the file")
    assert main(["predict", "a", photos[0], "--mm-per-px", "-1"]) == 1
    assert capsys.readouterr().err == "error: mm_per_px: should be greater than 0, got '-1'\n"
    write_pair(tmp_path / "photos" / "more" / "one.jpg", size=(40, 30))
    Path("notes.txt").touch()
    assert main(["predict", "a", ".", "*.jpg", str(Path("more", "*")), "--output", "all"]) == 1
    captured = capsys.readouterr()
    unused = [line for line in captured.out.splitlines() if line.startswith("Not used: ")]
    assert [line.split()[2].strip(",") for line in unused] == ["more", "notes.txt", "one_cracks.png", "one_mask.png", "out"]
    assert captured.err.splitlines()[-1] == "error: 1 of 4 photos were not predicted; the messages above say why"
    names = sorted(path.name for path in Path("all").glob("*_mask.png"))
    assert names == ["more_one_mask.png", "photos_one_mask.png", "three_mask.png"]


COMMANDS = {  # by command: its other words, and its options
    "run": ("runs/sample.yaml", {"overrides", "member", "overwrite", "pdf", "timeout", "pages"}),
    "train": ("runs/sample.yaml", {"overrides", "member", "overwrite"}),
    "sweep": ("runs/networks.yaml", {"overrides", "jobs", "list", "overwrite", "pages"}),
    "evaluate": ("sample", {"overrides"}),
    "render": ("sample", {"pdf", "timeout"}),
    "compare": ("trial/* sample", {"name"}),
    "predict": ("sample one.jpg two.jpg", {"mm_per_px", "output"}),
    "bench": ("evaluation", set()),
    "cache": ("", {"remove"}),
    "parameters": ("", set()),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_options(name):
    words, options = COMMANDS[name]
    found = vars(build_parser().parse_args([name, *words.split()]))
    assert found["command"].__name__ == name
    assert found.keys() - {"command", "configuration", "runs", "photos", "what", "words"} - ({"name"} - options) == options


def test_the_command_explains_itself(home):
    done = command(home, "--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)
    done = command(home, "run", "runs/nothing.yaml")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no configuration runs/nothing.yaml")


def test_help_imports_no_large_library(home):
    large = ["torch", "numpy", "pandas", "scipy", "pydantic", "yaml", "cv2", "PIL"]
    code = f"import sys; from crack_utils.__main__ import build_parser; build_parser(); sys.exit(any(map(sys.modules.get, {large})))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_what_is_kept_of_images_is_listed_and_removed(home, small_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CRACK_CACHE", str(tmp_path / "elsewhere"))
    data = find_data(small_params(small_data), tmp_path, dataclasses.replace(image_cache(), young_s=0))
    data.split("train")
    assert main(["cache"]) == 0
    *entries, together = capsys.readouterr().out.splitlines()
    assert len(entries) == 3 and together.endswith(f" MB in {tmp_path / 'elsewhere'}")  # stamps, what was found, images
    assert main(["cache", "--remove"]) == 0
    assert capsys.readouterr().out == together.replace("Together", "Removed") + "\n"
    assert not [*(tmp_path / "elsewhere").iterdir()]
    monkeypatch.setenv("CRACK_CACHE", "off")
    assert main(["cache"]) == 1 and "CRACK_CACHE is off" in capsys.readouterr().err
