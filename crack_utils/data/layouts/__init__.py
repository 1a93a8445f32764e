"""Data sets, one file each: folders, title, link, official counts, and how a crop's name tells its photo.

Add a data set as a file here that defines ``LAYOUT``, and its name in ``DATASETS`` of ``crack_utils/config/choices.py``. ``files.py``,
``folders.py``, ``labels.py``, ``names.py`` and ``shapes.py`` are no data sets, but what the layouts share.
"""

import dataclasses
import importlib
from collections.abc import Callable

from crack_utils.data.crops import Pair
from crack_utils.data.layouts.folders import Found, find_folders


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """A data set."""

    title: str  # the data set's name on pages
    find: Callable[..., Found] = find_folders  # from the data set's folder to the pairs of its splits
    has_labels: bool = False  # masks are drawn from labels; find takes a second argument, the parameter mask_crack
    link: str | None = None  # the data set's home page
    official_test: int | None = None  # the number of cracked images in the official test set
    has_fixed_splits: bool = False  # the data set has val and test; a missing one is a mistake, so no split is drawn
    is_own: bool = False  # somebody's own photos: cut above 1024 pixels; numbers at a name's end are offsets of a crop only if they can be
    describe: Callable[[Pair], Pair] = lambda pair: pair  # adds what is special about a pair's files: source, ending, read_mask


def layout_of(dataset: str) -> Layout:
    """The layout of a value of the parameter ``dataset``."""
    return importlib.import_module(f"{__name__}.{dataset}").LAYOUT
