"""A set of crack images that others merged from many sources. An image's name begins with its source."""

import dataclasses
import re

from crack_utils.data.crops import OFFSETS, Pair
from crack_utils.data.layouts import Layout

LINK = "https://www.kaggle.com/datasets/lakshaymiddha/crack-segmentation-dataset"
SOURCE = re.compile(r"Rissbilder_for_Florian|Sylvie_Chambon|Eugen_Muller|[^_]*")
# What a crop's name appends to its photo's name, by source. All other sources append what CRACK500 appends.
ENDINGS = {"DeepCrack": r"-\d+", "Rissbilder_for_Florian": r"(_\d+){4}", "Volker": r"(_\d+){4}", "noncrack": r"_\d+"}


def describe(pair: Pair) -> Pair:
    """The source, and the ending of its crops' names."""
    source = SOURCE.match(pair.stem)[0]
    return dataclasses.replace(pair, source=source, ending=ENDINGS.get(source, OFFSETS))


LAYOUT = Layout(title="a merged set of crack images", link=LINK, describe=describe)
