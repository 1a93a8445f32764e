"""Data sets, one file each: folders, title, link, official counts, and how a crop's name tells its photo.

Add a data set as a file here that defines ``LAYOUT``, and its name in ``DATASETS`` of ``crack_utils/config/choices.py``. ``folders.py`` and
``lists.py`` are no data sets: they hold what several layouts share.
"""

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from crack_utils.data.crops import Pair


class Found(NamedTuple):
    """What a layout finds in a folder.

    Args:
        pairs: pairs by split. The key ``all`` stands for images without fixed splits.
        notes: sentences on the files for the reader of the run's pages.
    """

    pairs: dict[str, list[Pair]]
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """A data set.

    Args:
        title: the data set's name on pages.
        find: from the data set's folder to the pairs of its splits.
        link: the data set's home page, if it has one.
        official_test: the number of cracked images in the official test set, if there is one.
        has_fixed_splits: the data set has val and test; a missing one is a mistake, so no split is drawn.
        cuts_large_photos: photos above 1024 pixels are cut into crops.
        describe: adds to a pair what is special about its files: source, ending, read_mask.
    """

    title: str
    find: Callable[[Path], Found]
    link: str | None = None
    official_test: int | None = None
    has_fixed_splits: bool = False
    cuts_large_photos: bool = False
    describe: Callable[[Pair], Pair] = lambda pair: pair


def layout_of(dataset: str) -> Layout:
    """The layout of a value of the parameter ``dataset``."""
    return importlib.import_module(f"{__name__}.{dataset}").LAYOUT
