import functools
import hashlib

import numpy as np
import pytest
from PIL import Image

from crack_utils.data import SPLITS, Pair, ensure_sample, is_drawn
from crack_utils.data.layouts.folders import find_folders, find_negatives
from crack_utils.data.sample import STAMP, write_sample
from crack_utils.errors import DataError

write_few = functools.partial(write_sample, photos=dict.fromkeys(SPLITS, 1))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return ensure_sample(tmp_path_factory.mktemp("drawn") / "sample")


def digest(folder):
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.rglob("*.*")))).hexdigest()


def test_it_has_the_official_layout_and_at_most_32_training_images(drawn):
    counts = {split: (len(find_folders(drawn).pairs[split]), len(find_negatives(drawn / "negatives", split))) for split in SPLITS}
    assert counts == {"train": (24, 8), "val": (18, 6), "test": (30, 10)}
    assert all(Image.open(path).size == (160, 96) for path in drawn.rglob("*.jpg"))


def test_no_photo_has_crops_in_two_splits(drawn):
    photos = [{pair.photo for pair in find_folders(drawn).pairs[split] + find_negatives(drawn / "negatives", split)} for split in SPLITS]
    assert [len(each) for each in photos] == [8, 6, 10]
    assert not (photos[0] & photos[1] or photos[0] & photos[2] or photos[1] & photos[2])


def test_it_says_that_it_is_drawn(drawn):
    assert is_drawn(drawn)
    assert "not photos" in (drawn / STAMP).read_text()


def test_the_seed_alone_decides_every_byte(tmp_path):
    digests = [digest(ensure_sample(tmp_path / name, seed, write_few)) for name, seed in (("a", 3), ("b", 3), ("c", 4))]
    assert digests[0] == digests[1] != digests[2]


def test_an_old_drawing_is_replaced_and_anything_else_is_left_alone(tmp_path):
    folder = ensure_sample(tmp_path / "sample", write=write_few)
    before = digest(folder)
    (folder / STAMP).write_text("drawn by an older program")
    assert digest(ensure_sample(folder, write=write_few)) == before
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").touch()
    with pytest.raises(DataError, match="not a drawn sample"):
        ensure_sample(tmp_path / "photos")
    assert (tmp_path / "photos" / "mine.jpg").exists()


def test_processes_that_draw_at_once_leave_what_one_of_them_reads(tmp_path):
    def overtaken(folder, seed):
        write_few(folder, seed)
        ensure_sample(tmp_path / "sample", seed, write_few)  # the other process
        (tmp_path / "sample" / "read.txt").touch()

    folder = ensure_sample(tmp_path / "sample", write=overtaken)
    assert (folder / "read.txt").exists()  # the other process's sample, unchanged
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]


def test_masks_lie_on_cracks_darker_than_what_is_beside_them(drawn):
    for pair in find_folders(drawn).pairs["train"]:
        grey, mask = np.asarray(Image.open(pair.image_path).convert("L"), float), np.asarray(Image.open(pair.mask_path)) > 127
        beside = np.zeros_like(mask)
        for y, x in np.argwhere(mask):
            beside[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5] = True
        assert grey[mask].mean() < grey[beside & ~mask].mean() - 5, pair.stem
        assert 0.01 < mask.mean() < 0.12


def test_stems_name_a_photo_and_an_offset(drawn):
    pair = find_folders(drawn).pairs["val"][0]
    assert isinstance(pair, Pair)
    assert pair.stem.startswith(pair.photo + "_")
    assert pair.photo.count("_") == 1
