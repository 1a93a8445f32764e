"""What a command line names, and how the pictures are called."""

from pathlib import Path

import pytest

from crack_utils.reporting.photo_files import find_photos, output_names


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """The current folder, with a folder of photos and other files."""
    for name in (
        *("b.JPG", "a.png", "a_mask.png", "a_cracks.png", "c.tif", "d.heic", "road_mask.png"),
        *("notes.txt", ".hidden.jpg", "Thumbs.db", "more/e.jpg", "odd[1].jpg"),
    ):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return Path("photos")


def names(paths):
    return [path.as_posix() for path in paths]


def test_a_folder_stands_for_its_photos_and_every_other_file_is_named(photos):
    found, unused = find_photos([photos])
    assert names(found) == [f"photos/{name}" for name in ("a.png", "b.JPG", "c.tif", "d.heic", "odd[1].jpg", "road_mask.png")]
    assert unused == [
        f"Not used: {photos / '.hidden.jpg'}, a hidden file.",
        f"Not used: {photos / 'Thumbs.db'}, no photo by its ending.",
        f"Not used: {photos / 'a_cracks.png'}, by its name a mask or picture of another photo.",
        f"Not used: {photos / 'a_mask.png'}, by its name a mask or picture of another photo.",
        f"Not used: {photos / 'more'}, a folder; name it too if it holds photos.",
        f"Not used: {photos / 'notes.txt'}, no photo by its ending.",
    ]


def test_wildcards_are_resolved_and_each_photo_counts_once(photos):
    assert names(find_photos([photos / "*.png"])[0]) == ["photos/a.png", "photos/a_cracks.png", "photos/a_mask.png", "photos/road_mask.png"]
    assert names(find_photos([Path("**/*.jpg")])[0]) == ["photos/more/e.jpg", "photos/odd[1].jpg"]
    assert names(find_photos([photos / "a.png", photos / "?.png", (photos / "a.png").resolve()])[0]) == ["photos/a.png"]
    assert names(find_photos([photos / "odd[1].jpg"])[0]) == ["photos/odd[1].jpg"]  # its name is no wildcard


def test_what_names_nothing_is_left_to_fail_by_its_name(photos):
    assert find_photos([Path("nothing.jpg"), Path("*.webp"), Path("empty")]) == ([Path("nothing.jpg"), Path("*.webp"), Path("empty")], [])


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["x/a.jpg", "x/b.jpg"], ["a", "b"]),
        (["x/a.jpg", "x/a.tif"], ["a_jpg", "a_tif"]),
        (["x/a.jpg", "y/a.jpg", "y/b.jpg"], ["x_a", "y_a", "b"]),
        (["x/a.jpg", "y/A.jpg"], ["x_a", "y_A"]),
        (["p/x/a.jpg", "q/x/a.jpg"], ["p_x_a", "q_x_a"]),
        (["x/a.jpg", "y/a.jpg", "y/a.png"], ["x_a", "y_a", "a_png"]),
        (["x/a.jpg", "y/a.jpg", "z/x_a.jpg"], ["x_x_a", "y_a", "z_x_a"]),
    ],
)
def test_pictures_of_photos_with_one_name_get_different_names(paths, expected):
    found = output_names(list(map(Path, paths)))
    assert len({name.casefold() for name in found}) == len(paths)
    if "z/x_a.jpg" not in paths:
        assert found == expected
