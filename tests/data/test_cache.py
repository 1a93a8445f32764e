"""Decoded images that are kept for the next start: the same data, no file read twice, nothing damaged or out of date used."""

import itertools
import os
import pickle
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import small_params, write_dataset, write_pair
from made_data import write_crackforest, write_deepcrack, write_folder, write_merged
from made_labels import TRIANGLE, annotation, flat, write_coco, write_cvat_masks, write_photos
from PIL import ExifTags, Image

from crack_utils.data import SPLITS, Cache, Loader, data_facts, find_data
from crack_utils.data.kept import open_kept
from crack_utils.data.pixels import KeptCrop
from crack_utils.errors import DataError


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", young_s=0)


def seen(data):
    """All that a run sees of its data."""
    crops = [(split, crop) for split in SPLITS for crop in data.split(split).crops]
    pixels = [
        (split, crop.pair.stem, crop.image.dtype, crop.image.tobytes(), crop.mask.dtype, crop.mask.tobytes()) for split, crop in crops
    ]
    counted = [(crop.size, crop.crack_px, crop.has_crack) for _, crop in crops]
    return pixels, counted, data_facts(data), data.leaks, data.notes, data.unused, data.input_size, data.pairs.keys()


def is_kept(data):
    return {isinstance(crop, KeptCrop) for split in SPLITS for crop in data.split(split).crops} == {True}


def write_large(root):
    for i in range(6):
        write_pair(root / f"images/{i}.png", root / f"masks/{i}.png", size=(400, 1280), seed=i)
    return root


def write_turned(root):
    """Photos that their EXIF data turn, with masks that lie as the photos are stored."""
    for i in range(5):
        path = root / f"images/{i}.png"
        write_pair(path, root / f"masks/{i}.png", seed=i)
        image = Image.open(path)
        image.getexif()[ExifTags.Base.Orientation] = 6
        image.convert("RGB").save(root / f"images/{i}.jpg", exif=image.getexif(), quality=95)
        path.unlink()
    return root


def write_labelled(root):
    names = [f"{letter}.jpg" for letter in "abcdef"]
    write_photos(root / "images", *names)
    write_coco(root / "x.json", names, [annotation(i, [flat(TRIANGLE)]) for i in range(1, 7)])
    return root


def write_cvat(root):
    masks = {letter: np.full((64, 128, 3), 0, np.uint8) for letter in "abcdef"}
    for i, mask in enumerate(masks.values()):
        mask[20 + i : 24 + i, 10:100] = 250, 50, 83
    write_photos(root / "JPEGImages", *(f"{letter}.jpg" for letter in masks))
    write_cvat_masks(root, masks, {"default": list(masks)})
    return root


SETS = {
    "crack500": write_dataset,
    "crackforest": write_crackforest,
    "deepcrack": write_deepcrack,
    "merged": write_merged,
    "folder": lambda root: write_folder(root, cracked=8),
    "folder, cut": write_large,
    "folder, turned": write_turned,
    "coco": write_labelled,
    "cvat": write_cvat,
}
opened = None  # the files opened while a test watches


def _note(event, arguments):
    if event == "open" and opened is not None and isinstance(arguments[0], str | os.PathLike):
        opened.append(str(arguments[0]))


sys.addaudithook(_note)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("name", SETS)
def test_a_second_start_sees_the_same_and_opens_no_file_of_the_data_set(name, channels, cache, tmp_path):
    global opened
    root = SETS[name](tmp_path / "data")
    params = small_params(root, dataset=name.partition(",")[0], input_channels=channels, evaluate_negatives=True)
    plain = seen(find_data(params, tmp_path))
    first = find_data(params, tmp_path, cache)
    assert seen(first) == plain and is_kept(first)
    opened = []
    try:
        second = find_data(params, tmp_path, cache)
        assert seen(second) == plain and is_kept(second)
        assert opened and not [path for path in opened if path.startswith(str(root))]
    finally:
        opened = None


def test_images_are_read_only_views_of_a_file_and_travel_to_processes_as_its_name(small_data, cache):
    train = find_data(small_params(small_data), small_data, cache).split("train")
    image = train.crops[0].image
    assert not image.flags.writeable and not image.flags.owndata
    base = image
    while not isinstance(base, np.memmap):
        base = base.base
    sent = pickle.dumps(train)
    assert len(sent) < 1000 * len(train) < train.crops[0].image.nbytes * len(train)
    assert torch.equal(pickle.loads(sent)[0, 7]["image"], train[0, 7]["image"])


def test_workers_load_the_same_from_the_cache(small_data, cache):
    keys = [(2, 7), (0, 8), (1, 9), (1, None)]
    plain = find_data(small_params(small_data), small_data).split("train")
    kept = find_data(small_params(small_data), small_data, cache).split("train")
    loaded = [[*Loader(dataset, 2, workers).batches(keys)] for dataset, workers in ((plain, 0), (kept, 0), (kept, 2))]
    for batches in zip(*loaded, strict=True):
        assert all(torch.equal(batches[0].image, each.image) and torch.equal(batches[0].mask, each.mask) for each in batches[1:])


def test_a_changed_file_is_seen_although_its_size_and_time_are_those_before(small_data, cache):
    params = small_params(small_data)
    before = seen(find_data(params, small_data, cache))
    path = next(small_data.glob("traincrop/*.png"))
    former = path.stat()
    content = np.asarray(Image.open(path)).copy()
    Image.fromarray(content[::-1]).save(path)
    path.write_bytes(path.read_bytes()[: former.st_size].ljust(former.st_size, b"\0"))
    os.utime(path, ns=(former.st_atime_ns, former.st_mtime_ns))
    assert path.stat().st_mtime_ns == former.st_mtime_ns and path.stat().st_size == former.st_size
    after = seen(find_data(params, small_data, cache))
    assert after == seen(find_data(params, small_data)) != before


def test_files_added_removed_and_damaged_are_seen(small_data, cache):
    params = small_params(small_data)
    seen(find_data(params, small_data, cache))
    write_pair(small_data / "traincrop/new_1_1.jpg", small_data / "traincrop/new_1_1.png", seed=3)
    assert "new_1_1" in [crop.pair.stem for crop in find_data(params, small_data, cache).split("train").crops]
    (small_data / "traincrop/new_1_1.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"new_1_1\.jpg"):
        find_data(params, small_data, cache)
    for path in small_data.glob("traincrop/new*"):
        path.unlink()
    assert seen(find_data(params, small_data, cache)) == seen(find_data(params, small_data))


def test_a_new_photo_alone_is_decoded_and_another_split_of_the_same_photos_decodes_none(cache, tmp_path):
    root = write_folder(tmp_path / "own", crops=1)
    seen(find_data(small_params(root, dataset="folder"), tmp_path, cache))
    before = {*cache.folder.glob("*.pixels")}
    other = find_data(small_params(root, dataset="folder", split_seed=5), tmp_path, cache)
    assert is_kept(other) and {*cache.folder.glob("*.pixels")} == before
    write_pair(root / "images/new.jpg", root / "masks/new.png", seed=99)
    more = find_data(small_params(root, dataset="folder", split_seed=5), tmp_path, cache)
    assert is_kept(more)
    (added,) = {*cache.folder.glob("*.pixels")} - before
    assert added.stat().st_size < 2 * 64 * 128 * 3


def test_a_data_set_that_moved_is_not_decoded_again(small_data, cache, tmp_path):
    before = seen(find_data(small_params(small_data), tmp_path, cache))
    files = {*cache.folder.glob("*.pixels")}
    moved = find_data(small_params(shutil.move(small_data, tmp_path / "elsewhere")), tmp_path, cache)
    assert seen(moved)[:2] == before[:2] and is_kept(moved) and {*cache.folder.glob("*.pixels")} == files


def test_nothing_is_kept_of_files_that_changed_a_moment_ago_or_meanwhile(small_data, tmp_path):
    young = Cache(tmp_path / "young", young_s=60)
    assert not is_kept(find_data(small_params(small_data), tmp_path, young)) and not [*young.folder.glob("*")]
    kept = open_kept(Cache(tmp_path / "cache", young_s=0), [small_data])
    (small_data / "notes.txt").write_text("changed while the value was computed")
    assert [kept.remembered("key", lambda value=value: value) for value in (1, 2)] == [1, 2]


def test_files_outside_of_the_folder_are_read_anew(cache, tmp_path):
    root = write_folder(tmp_path / "own", crops=1)
    outside = tmp_path / "elsewhere/x.jpg"
    write_pair(outside, outside.with_suffix(".png"))
    names = [f"{path.name}\n" for path in sorted((root / "images").glob("*"))]
    for split, lines in zip(SPLITS, (names[:5], names[5:7], names[7:]), strict=True):
        (root / f"{split}.txt").write_text("".join(lines) + ("../elsewhere/x.jpg ../elsewhere/x.png\n" if split == "train" else ""))
    params = small_params(root, dataset="folder")
    first = seen(find_data(params, tmp_path, cache))
    write_pair(outside, outside.with_suffix(".png"), seed=4)
    assert seen(find_data(params, tmp_path, cache)) == seen(find_data(params, tmp_path)) != first


@pytest.mark.parametrize("suffix", ["known", "pixels"])
@pytest.mark.parametrize("damage", ["cut", "altered", "emptied", "removed"])
def test_a_damaged_cache_is_never_used_and_is_made_again(damage, suffix, small_data, cache):
    params = small_params(small_data)
    plain = seen(find_data(params, small_data, cache))
    for path in cache.folder.glob(f"*.{suffix}"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        # not written in place: this process has the file mapped
        path.unlink()
        if damage != "removed":
            path.write_bytes({"cut": content[:-1], "altered": content, "emptied": b""}[damage])
    assert seen(find_data(params, small_data, cache)) == plain
    third = find_data(params, small_data, cache)
    assert seen(third) == plain and is_kept(third)


def test_a_disk_that_takes_no_more_costs_one_note(small_data, tmp_path, capsys):
    (tmp_path / "file").touch()
    data = find_data(small_params(small_data), tmp_path, Cache(tmp_path / "file" / "cache", young_s=0))
    assert seen(data) == seen(find_data(small_params(small_data), tmp_path)) and not is_kept(data)
    assert capsys.readouterr().out.count("Note: decoded images are not kept for the next start") == 1


def test_several_starts_at_once_share_a_cache(small_data, cache):
    params, barrier = small_params(small_data), threading.Barrier(4)

    def start(_):
        barrier.wait()
        return seen(find_data(params, small_data, cache))

    with ThreadPoolExecutor(4) as pool:
        results = [*pool.map(start, range(4))]
    assert all(result == results[0] for result in results)
    assert not [path for path in cache.folder.iterdir() if path.name.startswith(".")]
    assert is_kept(find_data(params, small_data, cache))


def test_what_was_used_longest_ago_goes_first_and_files_of_others_stay(cache, tmp_path):
    small = Cache(cache.folder, limit=1, young_s=0)
    roots = [write_dataset(tmp_path / name, size=size) for name, size in (("a", (64, 128)), ("b", (72, 128)))]
    seen(find_data(small_params(roots[0]), tmp_path, small))
    (cache.folder / "notes.txt").touch()
    old = {path for path in cache.folder.glob("*.*") if path.suffix in (".known", ".pixels")}
    for path in old:
        os.utime(path, (0, 0))
    data = find_data(small_params(roots[1]), tmp_path, small)
    assert is_kept(data) and not any(path.exists() for path in old)  # what was just written stays, whatever its size
    entries = small.entries()
    assert all(entry.used_s > time.time() - 600 and entry.size for entry in entries)
    small.remove()
    assert [path.name for path in cache.folder.iterdir()] == ["notes.txt"]
    before = [crop.image.tobytes() for crop in data.split("train").crops]
    assert before == [crop.image.tobytes() for crop in find_data(small_params(roots[1]), tmp_path).split("train").crops]


def test_parameters_that_choose_files_are_told_apart(small_data, cache, tmp_path):
    given = [{}, {"use_negatives": False}, {"evaluate_negatives": True}, {"images_per_split": 2}, {"photo_disjoint": True}]
    given += [{"input_width": 128, "input_height": 128}, {"decision_loss": False}, {"validate_on_test": True}, {"train_negatives": 1}]
    for values in itertools.chain(given, given):
        params = small_params(small_data, **values)
        assert seen(find_data(params, tmp_path, cache)) == seen(find_data(params, tmp_path))
