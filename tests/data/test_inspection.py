"""The quick pass before any work: all problems of a set in one message, or left out and listed."""

import numpy as np
import pytest
from conftest import small_params, write_pair
from made_data import write_folder
from PIL import ExifTags, Image

from crack_utils.data import data_facts, find_data
from crack_utils.data.exif import turned
from crack_utils.errors import DataError


def spoil(root):
    """Five pairs of a folder of ten spoilt, each in another way. Returns the names of the spoilt photos."""
    names = sorted(path.stem for path in (root / "images").iterdir())
    photo, mask = (
        lambda i, kind=kind, suffix=suffix: root / kind / (names[i] + suffix) for kind, suffix in (("images", ".jpg"), ("masks", ".png"))
    )
    photo(0).write_bytes(photo(0).read_bytes()[:900])
    mask(1).write_bytes(mask(1).read_bytes()[:100])
    Image.new("L", (100, 30)).save(mask(2))
    Image.new("L", (64, 128)).save(mask(3))
    Image.fromarray(np.eye(64, 128, dtype=np.uint8) * 100).save(mask(4))
    return names[:5]


def test_one_message_tells_all_problems_before_any_work(tmp_path):
    root = write_folder(tmp_path / "own", photos=10, crops=1)
    names = spoil(root)
    with pytest.raises(DataError) as caught:
        find_data(small_params(root, dataset="folder"), tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"files in {root} cannot be used."
    assert lines[-1] == "Or set on_bad_data to skip, to go on without these files."
    assert len(lines) == 6
    assert lines[1].startswith(f"- 2 x file that cannot be read as an image ({names[0]}.jpg (900 bytes: ")
    assert f"{names[1]}.png" in lines[1] and lines[1].endswith("): replace or remove it.")
    assert f"({names[2]}.jpg (the mask is 100 x 30, the photo 128 x 64)): export photo and mask at one size." in lines[2]
    assert f"({names[3]}.jpg (the mask is 64 x 128, the photo 128 x 64)): turn the masks" in lines[3]
    assert f"({names[4]}.png (no pixel brighter than 100)): paint cracks brighter than 127" in lines[4]


def test_bad_files_are_skipped_counted_and_listed_if_asked(tmp_path):
    root = write_folder(tmp_path / "own", photos=10, crops=1)
    names = spoil(root)
    data = find_data(small_params(root, dataset="folder", on_bad_data="skip"), tmp_path)
    used = [crop.pair.stem for split in ("train", "val", "test") for crop in data.split(split).crops]
    assert len(used) == 5 and not set(used) & set(names)
    facts = data_facts(data)
    assert len(facts["unused"]) == 10  # photo and mask of each
    assert {name.split("/")[1].split(".")[0] for name, _, _ in facts["unused"]} == set(names)
    assert sum(note.startswith("Files left out (on_bad_data): ") for note in facts["notes"]) == 4


def test_many_files_of_a_kind_are_counted_and_three_are_named(tmp_path):
    root = write_folder(tmp_path / "own", photos=10, crops=1)
    for path in sorted((root / "masks").iterdir())[:5]:
        Image.open(path).resize((64, 32)).save(path)
    with pytest.raises(DataError, match=r"5 x photo whose mask has another size \(([^)]+\)){3} and 2 more\): export"):
        find_data(small_params(root, dataset="folder"), tmp_path)


def test_without_a_usable_image_nothing_is_skipped_in_silence(tmp_path):
    root = write_folder(tmp_path / "own", photos=4, crops=1)
    for path in (root / "images").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"4 x file that cannot be read [^.]*\.(.|\n)*Without these files, no image is left"):
        find_data(small_params(root, dataset="folder", on_bad_data="skip"), tmp_path)


def write_turned(root, orientation, size, is_stored):
    """Photos whose EXIF data turn them; ``is_stored`` tells of each number whether its mask lies as the photo is stored."""
    truths = {}
    for i in range(6):
        name = f"road{i}a"
        truths[name] = turned(write_pair(root / f"images/{name}.png", root / f"masks/{name}.png", size, seed=i), orientation)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        Image.open(root / f"images/{name}.png").save(root / f"images/{name}.jpg", quality=95, exif=exif)
        (root / f"images/{name}.png").unlink()
        if not is_stored(i):
            Image.fromarray(np.ascontiguousarray(truths[name]).astype(np.uint8) * 255).save(root / f"masks/{name}.png")
    return truths


@pytest.mark.parametrize(("orientation", "size"), [(3, (96, 160)), (6, (128, 128)), (6, (96, 160)), (5, (96, 160))])
@pytest.mark.parametrize("is_stored", [True, False])
def test_masks_of_photos_that_exif_turns_lie_right(tmp_path, orientation, size, is_stored):
    truths = write_turned(tmp_path, orientation, size, lambda i: is_stored)
    data = find_data(small_params(tmp_path, dataset="folder"), tmp_path)
    for crop in (crop for split in ("train", "val", "test") for crop in data.split(split).crops):
        np.testing.assert_array_equal(crop.mask, truths[crop.pair.stem])
    assert any(note.startswith("EXIF data turn photos whose masks lie as the photos are stored.") for note in data.notes) == is_stored


def test_masks_of_turned_photos_that_disagree_are_refused(tmp_path):
    write_turned(tmp_path, 6, (96, 160), lambda i: i % 2)
    with pytest.raises(DataError, match=r"EXIF data turn photos, and their masks disagree: 3 fit the photo as it is shown"):
        find_data(small_params(tmp_path, dataset="folder"), tmp_path)


def test_masks_of_turned_photos_whose_contents_tell_nothing_are_noted(tmp_path):
    root = write_folder(tmp_path / "own", photos=6, crops=1)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    for path in (root / "images").iterdir():
        Image.new("L", (128, 64), 140).save(path, exif=exif)
    notes = find_data(small_params(root, dataset="folder"), tmp_path).notes
    assert any(note.startswith("EXIF data turn 6 photos whose contents do not show how their masks lie, such as IMG_") for note in notes)


def test_values_of_cameras_that_would_be_nearly_black_belong_to_the_one_message(tmp_path):
    root = write_folder(tmp_path / "own", photos=6, crops=1)
    for name in ("IMG_20240101_120001", "IMG_20240101_120004"):
        (root / f"images/{name}.jpg").unlink()
        Image.fromarray(np.full((64, 128), 4000, np.uint16)).save(root / f"images/{name}.png")
    with pytest.raises(DataError, match=r"2 x file that cannot be read as an image \(IMG_20240101_120001\.png .*all its values lie below"):
        find_data(small_params(root, dataset="folder"), tmp_path)
    assert sum(map(len, find_data(small_params(root, dataset="folder", on_bad_data="skip"), tmp_path).pairs.values())) == 4


def test_a_crack_free_image_that_cannot_be_read_is_skipped_too(tmp_path):
    root = write_folder(tmp_path / "own", photos=6, crops=1)
    write_pair(root / "negatives/train/a.jpg")
    write_pair(root / "negatives/train/b.jpg")
    (root / "negatives/train/b.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"in .*own, 1 x file that cannot be read as an image \(b\.jpg"):
        find_data(small_params(root, dataset="folder"), tmp_path)
    data = find_data(small_params(root, dataset="folder", on_bad_data="skip"), tmp_path)
    assert [pair.stem for pair in data.pairs["train"] if pair.mask_path is None] == ["a"]
    assert [each.path.name for each in data.unused] == ["b.jpg"]
