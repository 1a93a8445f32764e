"""The benchmarks of ``python -m crack_utils bench``: what they time is the same."""

import runpy
from pathlib import Path

import pytest
import torch
from PIL import Image

from crack_utils.config import parse_parameters
from crack_utils.networks import build_model, fourier

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def test_the_benchmark_compares_what_counts_the_same():
    evaluation = runpy.run_path(str(BENCHMARKS / "evaluation.py"))
    table = evaluation["time_counts"](images=2)  # raises if the three ways differ
    assert table["times ours"][0] == 1
    assert (table["seconds"] > 0).all()
    assert evaluation["growth_of_counts"](images=4)["images"].tolist() == [1, 2, 4]


def test_every_benchmark_of_the_command_line_is_a_program():
    from crack_utils.__main__ import build_parser

    for path in BENCHMARKS.glob("*.py"):
        assert build_parser().parse_args(["bench", path.stem]).what == path.stem
        assert 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")


def test_a_training_keeps_no_process_and_no_file_from_epoch_to_epoch(tmp_path, monkeypatch):
    monkeypatch.setenv("CRACK_HOME", str(tmp_path))
    endurance = runpy.run_path(str(BENCHMARKS / "endurance.py"))
    table = endurance["growth"](epochs=6, every=6, num_workers=0, architecture="segdecnet-jim", hard_negative_mining=0)
    assert table["epochs"].tolist() == [1, 6]
    assert table["file handles"].nunique() == table["child processes"].nunique() == 1


def test_the_memory_of_large_photos_is_measured(tmp_path):
    photo = runpy.run_path(str(BENCHMARKS / "photo.py"))
    for kind, name in photo["KINDS"].items():
        photo["draw_photo"](kind, tmp_path / name, 600)
        with Image.open(tmp_path / name) as image:
            assert image.size == (600, 600)
            assert image.getpixel((520, 20)) == pytest.approx(image.getpixel((8, 20)), abs=12)


def test_batches_made_on_a_device_are_timed_beside_those_of_a_loader():
    gpu = runpy.run_path(str(BENCHMARKS / "gpu.py"))
    table = gpu["time_batches"](torch.device("cpu"), (64, 128), images=6, count=4)  # raises if they differ
    assert table["batches"].tolist() == ["Loader", "DeviceData"] and (table["ms an image"] > 0).all()


@pytest.mark.slow
def test_a_precision_is_checked_against_a_cpu_and_by_its_learning():
    gpu = runpy.run_path(str(BENCHMARKS / "gpu.py"))
    found = gpu["check"]("bf16", torch.device("cpu"), (64, 128))
    assert 0 < found["gap to a CPU"] < 0.1
    gpu["check"].__globals__["LARGEST_GAP"]["bf16"] = 1e-9
    with pytest.raises(AssertionError, match="bf16: the logits differ from those of a CPU"):
        gpu["check"]("bf16", torch.device("cpu"), (64, 128))


@pytest.mark.parametrize(("kind", "precision"), [("training", "fp32"), ("inference", "fp32"), ("inference", "bf16")])
def test_a_network_is_timed_beside_a_plain_one_that_computes_the_same(kind, precision):
    training = runpy.run_path(str(BENCHMARKS / "training.py"))
    table = training["measure"](kind, (64, 128), 1, torch.device("cpu"), "plain", repeats=1, precision=precision)
    assert table["way"].tolist() == ["crack_utils", "plain"] and (table[["seconds", "peak MiB", "share of ceiling"]] > 0).all(axis=None)
    assert table["speedup"][1] == 1
    model, image = build_model(parse_parameters({"dataset": "sample"})), torch.rand(1, 3, 64, 128)
    ours, plain = model(image), training["plain"](model)(image)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-4 * float(plain[1].abs().max()))


@pytest.mark.slow
def test_the_fast_ways_learn_as_the_plain_one(small_data, tmp_path, monkeypatch):
    monkeypatch.setenv("CRACK_HOME", str(tmp_path))
    monkeypatch.setattr(fourier, "PAYS", 2)  # the frequency domain for most layers
    fourier.plan.cache_clear()
    learning = runpy.run_path(str(BENCHMARKS / "learning.py"))
    given = {"dataset": "folder", "data_root": str(small_data), "input_width": 128, "input_height": 64, "epochs": 2}
    table = learning["curves"](given | {"hard_negative_mining": 0, "images_per_split": 2}, [0])
    fourier.plan.cache_clear()
    fast, plain = (table[table["way"] == way].reset_index() for way in ("crack_utils", "plain"))
    assert fast["epoch"].tolist() == plain["epoch"].tolist() == [1, 2]
    assert fast["loss"].tolist() == pytest.approx(plain["loss"].tolist(), rel=2e-3)
    assert fast["loss"].tolist() != plain["loss"].tolist()  # the two ways are not one
    learning["plot"](table)


def test_a_start_is_timed_by_part_and_shorter_with_what_is_kept(small_data, tmp_path):
    loading = runpy.run_path(str(BENCHMARKS / "loading.py"))
    values = {"dataset": "crack500", "data_root": str(small_data), "input_width": "128", "input_height": "64"}
    figures = [loading["start"](values, folder, images=4) for folder in (None, str(tmp_path / "cache"), str(tmp_path / "cache"))]
    assert len({tuple(each) for each in figures}) == 1
    assert all(each["images/s, 1 workers"] > 0 and each["start, s"] > each["find, s"] > 0 for each in figures)
    assert [*(tmp_path / "cache").glob("*.pixels")]
