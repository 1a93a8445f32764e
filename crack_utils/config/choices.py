"""The named choices of some parameters: networks, data sets, parts of the augmentation."""

from collections.abc import Iterable
from typing import NamedTuple


class Network(NamedTuple):
    """A value of the parameter ``architecture``.

    Args:
        target: ``file:callable`` in the room ``networks``; :func:`crack_utils.networks.build_model` lists the arguments of the callable.
        title: the network's name on pages.
        encoder: the default encoder, if the network has a choice of encoders.
    """

    target: str
    title: str
    encoder: str | None = None


NETWORKS = {
    "segdecnet": Network("segdecnet:SegDecNet", "SegDecNet"),
    "segdecnet++": Network("segdecnet:SegDecNetPlusPlus", "SegDecNet++"),
    "segdecnet-jim": Network("segdecnet:SegDecNetJim", "SegDecNet-jim"),
    "unet": Network("baselines:UNet", "U-Net", "resnet34"),
    "segformer": Network("baselines:SegFormer", "SegFormer", "mit_b1"),
}
ENCODERS = {name: network.encoder for name, network in NETWORKS.items() if network.encoder}  # the default encoders
# Values of the parameter ``dataset``. Each is a file in crack_utils/data/layouts/.
DATASETS = ("sample", "crack500", "crackforest", "deepcrack", "merged", "folder")
AUGMENTATIONS = ("horizontal_flip", "vertical_flip", "rotation", "color_jitter")


def listing(names: Iterable[str]) -> str:
    """Names as an English list: ``a, b or c``."""
    *first, last = names
    return f"{', '.join(first)} or {last}"
