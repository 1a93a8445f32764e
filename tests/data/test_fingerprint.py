"""The fingerprint of a run's data."""

import re
import shutil

from conftest import small_params, write_pair

from crack_utils.data import data_facts, find_data


def fingerprint(root, **values):
    return data_facts(find_data(small_params(root, **values), root))["fingerprint"]


def test_the_fingerprint_goes_with_the_data_wherever_they_lie(small_data, tmp_path):
    before = fingerprint(small_data)
    files = [*small_data.glob("*crop/*"), *small_data.glob("negatives/train/*")]
    assert (before["files"], before["bytes"]) == (len(files), sum(path.stat().st_size for path in files))
    assert re.fullmatch("[0-9a-f]{64}", before["sha256"])
    assert fingerprint(shutil.move(small_data, tmp_path / "elsewhere")) == before
    assert fingerprint(tmp_path / "elsewhere", use_negatives=False) != before


def test_one_changed_byte_changes_the_fingerprint_and_so_does_another_name(small_data):
    before, path = fingerprint(small_data), next(small_data.glob("negatives/train/*"))
    path.write_bytes(path.read_bytes() + b"\0")
    changed = fingerprint(small_data)
    path.rename(path.with_name("other.jpg"))
    assert len({each["sha256"] for each in (before, changed, fingerprint(small_data))}) == 3


def test_an_image_in_another_split_changes_the_fingerprint(small_data):
    before = fingerprint(small_data)
    for path in sorted((small_data / "traincrop").glob("20160220_081010_1_1.*")):
        path.rename(small_data / "testcrop" / path.name)
    after = fingerprint(small_data)
    assert (after["files"], after["bytes"]) == (before["files"], before["bytes"])
    assert after["sha256"] != before["sha256"]


def test_a_photo_that_is_cut_into_crops_is_one_file(tmp_path):
    for i in range(6):
        write_pair(tmp_path / "images" / f"{i}.jpg", tmp_path / "masks" / f"{i}.png", size=(720, 1280), seed=i)
    data = find_data(small_params(tmp_path, dataset="folder"), tmp_path)
    assert len(data.split("train")) > 4
    assert data_facts(data)["fingerprint"]["files"] == 12
