"""One's own photos, in any of the layouts that ``folders.py`` reads."""

import dataclasses
import re

from crack_utils.data.crops import Pair
from crack_utils.data.layouts import Layout

ROBOFLOW = r"\.rf\.[0-9A-Za-z]{8,}"  # Roboflow appends a hash to each version of a photo, such as a flipped one


def describe(pair: Pair) -> Pair:
    """Versions of one photo that Roboflow made count as crops of this photo."""
    return dataclasses.replace(pair, ending=ROBOFLOW) if re.search(f"{ROBOFLOW}$", pair.stem) else pair


LAYOUT = Layout(title="your own photos", describe=describe, is_own=True)
