"""DeepCrack: ``train_img/ train_lab/ test_img/ test_lab/``."""

import dataclasses
from pathlib import Path

from crack_utils.data.crops import Pair
from crack_utils.data.layouts import Found, Layout
from crack_utils.data.layouts.folders import innermost, pair_folders


def find(root: Path) -> Found:
    """The pairs of train and test."""
    root = innermost(root)
    return pair_folders({split: (root / f"{split}_img", root / f"{split}_lab") for split in ("train", "test")})


def describe(pair: Pair) -> Pair:
    """A crop's name appends a number to its photo's name."""
    return dataclasses.replace(pair, source="DeepCrack", ending=r"-\d+")


LAYOUT = Layout(title="DeepCrack", find=find, link="https://github.com/yhlleo/DeepCrack", official_test=237, describe=describe)
