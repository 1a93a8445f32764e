"""Networks and data sets by name: one entry each. The rooms above look up here where their part of an entry lies."""

from typing import NamedTuple


class Network(NamedTuple):
    """A value of the parameter ``architecture``.

    Args:
        target: ``file:callable`` in the room ``networks``; see :func:`crack_utils.networks.build_model` for what it is called with.
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
# Values of the parameter ``dataset``. Each is a file in crack_utils/data/layouts/.
DATASETS = ("sample", "crack500", "crackforest", "deepcrack", "merged", "folder")


def listing(names: object) -> str:
    """Names as an English list: ``a, b or c``."""
    *first, last = names
    return f"{', '.join(first)} or {last}"
