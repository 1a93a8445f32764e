"""The named choices of some parameters: networks, data sets, parts of the augmentation. Names and values as text."""

import math
import numbers
from collections.abc import Iterable
from typing import Any, NamedTuple


class Network(NamedTuple):
    """A value of the parameter ``architecture``."""

    target: str  # ``file:callable`` in the room ``networks``; build_model lists the arguments of the callable
    title: str  # the network's name on pages
    encoder: str | None = None  # the default encoder, if the network has a choice of encoders


NETWORKS = {
    "segdecnet": Network("segdecnet:SegDecNet", "SegDecNet"),
    "segdecnet++": Network("segdecnet:SegDecNetPlusPlus", "SegDecNet++"),
    "segdecnet-jim": Network("segdecnet:SegDecNetJim", "SegDecNet-jim"),
    "unet": Network("baselines:UNet", "U-Net", "resnet34"),
    "segformer": Network("baselines:SegFormer", "SegFormer", "mit_b1"),
}
ENCODERS = {name: network.encoder for name, network in NETWORKS.items() if network.encoder}  # the default encoders
# Values of the parameter ``dataset``. Each is a file in crack_utils/data/layouts/.
DATASETS = ("sample", "crack500", "crackforest", "deepcrack", "merged", "folder", "coco", "labelme", "cvat", "labelstudio", "supervisely")
AUGMENTATIONS = ("horizontal_flip", "vertical_flip", "rotation", "color_jitter")


def listing(names: Iterable[str]) -> str:
    """Names as an English list: ``a, b or c``."""
    *first, last = names
    return f"{', '.join(first)} or {last}"


def plain(value: Any) -> str:
    """A value as text: six significant digits, seven for numbers close to 1, whole numbers as they are."""
    is_fraction = isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral)
    if value is None or (is_fraction and math.isnan(value)):
        return "none"
    if is_fraction:
        return f"{value:.7g}" if 0.999 < value < 1 else f"{value:.6g}"
    return str(value)
