"""What explore.ipynb says of the masks and of the files."""

import numpy as np
import pytest
from conftest import small_params, write_dataset
from PIL import Image

from crack_utils.data import data_facts, find_data
from crack_utils.reporting import exploration


def widen(root, split, rows):
    """Give the masks of a split a band of ``rows`` rows more."""
    for path in sorted((root / f"{split}crop").glob("*.png")):
        mask = np.array(Image.open(path))
        mask[-rows:] = 255
        Image.fromarray(mask).save(path)


def test_a_set_with_other_masks_than_the_rest_is_the_surprise(tmp_path):
    root = write_dataset(tmp_path / "a")
    assert exploration.surprise(find_data(small_params(root), tmp_path)).startswith("No set has more than 1.5 times as much crack")
    widen(root, "test", rows=10)
    data = find_data(small_params(root), tmp_path)
    shares = {split: [crop.mask.mean() for crop in data.split(split).crops if crop.has_crack] for split in ("train", "val", "test")}
    ratio = np.median(shares["test"]) / np.median(shares["train"] + shares["val"])
    assert ratio > 2
    words = f"The cracked images of test show {ratio:.1f} times as much crack as those of the other sets"
    assert exploration.surprise(data).startswith(words)
    widen(root, "test", rows=40)
    assert "More than half of the mask is crack in 2 images, such as 20160222" in exploration.surprise(
        find_data(small_params(root), tmp_path)
    )


def test_the_fullest_and_the_emptiest_masks_are_shown(tmp_path):
    root = write_dataset(tmp_path / "a")
    widen(root, "val", rows=10)
    data = find_data(small_params(root), tmp_path)
    shown = [crop.pair.stem for crop in exploration.extremes(data)]
    assert sorted(shown[:2]) == sorted(crop.pair.stem for crop in data.split("val").crops if crop.has_crack)
    assert len(set(shown)) == 4
    table = exploration.masks_table(data_facts(data)).set_index("Masks of")["Crack pixels (%)"]
    assert table["val"] == pytest.approx(100 * np.mean([crop.mask.mean() for crop in data.split("val").crops]), abs=0.001)
    assert table["val"] > table["train"]
