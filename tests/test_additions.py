"""Additions to a copy of the package, made as a newcomer makes them: one file, one entry or one field, and nothing else."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import REPOSITORY, write_pair

from crack_utils.config import parse_parameters

TINYNET = """
import torch
from torch import nn


class TinyNet(nn.Module):
    def __init__(self, in_channels, gradient_flow_adjustment):
        super().__init__()
        self.segmentation, self.decision = nn.Conv2d(in_channels, 1, 3, padding=1), nn.Linear(1, 1)

    def forward(self, image):
        seg_logits = self.segmentation(image)
        return self.decision(seg_logits.mean((2, 3))), seg_logits
"""
WALLS = """
from crack_utils.data.layouts import Layout
from crack_utils.data.layouts.folders import pair_folders


def find(root):
    return pair_folders({"all": (root / "photos", root / "truth")})


LAYOUT = Layout(title="Stone walls", find=find)
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package."""
    return shutil.copytree(REPOSITORY / "crack_utils", tmp_path / "crack_utils", ignore=shutil.ignore_patterns("__pycache__"))


def insert(path, before, text):
    source = path.read_text(encoding="utf-8")
    assert source.count(before) == 1
    path.write_text(source.replace(before, text + before), encoding="utf-8")


def output(package, code):
    """What a program prints, as JSON, that uses the copy."""
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    words = [sys.executable, "-c", f"import json\n{code}"]
    done = subprocess.run(words, cwd=package.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_network_is_one_file_and_one_entry(package):
    (package / "networks/tinynet.py").write_text(TINYNET)
    insert(package / "config/choices.py", '    "unet": Network(', '    "tinynet": Network("tinynet:TinyNet", "TinyNet"),\n')
    code = """
import torch
from crack_utils.config import PARAMETER_HELP, parse_parameters
from crack_utils.networks import build_model, count_parameters
model = build_model(parse_parameters({"architecture": "tinynet", "input_channels": 1}))
shapes = [list(logits.shape) for logits in model(torch.rand(2, 1, 64, 128))]
print(json.dumps([type(model).__name__, shapes, count_parameters(model), PARAMETER_HELP["architecture"]]))
"""
    *found, help = output(package, code)
    assert found == ["TinyNet", [[2, 1], [2, 1, 64, 128]], 12]
    assert "tinynet" in help.replace(" or ", ", ").split(", ")


def test_a_data_set_is_one_file_and_one_name(package, tmp_path):
    (package / "data/layouts/walls.py").write_text(WALLS)
    insert(package / "config/choices.py", '"sample", "crack500"', '"walls", ')
    for i in range(10):
        write_pair(tmp_path / f"stones/photos/w{i}.jpg", tmp_path / f"stones/truth/w{i}.png", seed=i)
    code = """
from pathlib import Path
from crack_utils.config import parse_parameters
from crack_utils.data import data_facts, find_data
facts = data_facts(find_data(parse_parameters({"dataset": "walls", "data_root": "stones"}), Path()))
print(json.dumps(facts))
"""
    facts = output(package, code)
    assert {split: count["positives"] for split, count in facts["counts"].items()} == {"train": 7, "val": 1, "test": 2}
    assert (facts["title"], facts["test_title"]) == ("Stone walls", "Stone walls, split drawn by photo")


def test_a_run_parameter_is_one_field(package):
    fields = """    dice_weight: float = parameter(0.0, "weight of the Dice loss", ge=0, is_data=True)
    comment: str | None = parameter(None, "a word about the run", identifies=False)
"""
    insert(package / "config/parameters.py", "    seed: int = parameter(", fields)
    code = """
from crack_utils import config
base = config.parse_parameters({"epochs": 3})
params = config.parse_parameters({"epochs": 3, "dice_weight": "0.5", "comment": "first"})
try:
    config.parse_parameters({"dice_weight": -1})
except ValueError as error:
    refused = str(error)
tables = ["dice_weight" in config.DATA_PARAMETERS, "comment" in config.UNIDENTIFYING, config.PARAMETER_HELP["dice_weight"]]
print(json.dumps([base.fingerprint(), params.differences(base), params.given(), tables, refused]))
"""
    fingerprint, differences, given, tables, refused = output(package, code)
    assert fingerprint == parse_parameters({"epochs": 3}).fingerprint()  # other runs stay as they are
    assert differences == {"dice_weight": [0.5, 0.0]}
    assert given == {"epochs": 3, "dice_weight": 0.5, "comment": "first"}
    assert tables == [True, True, "weight of the Dice loss"]
    assert refused == "dice_weight: should be greater than or equal to 0, got -1"
