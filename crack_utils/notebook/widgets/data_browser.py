"""Look through the data of a run."""

from typing import Any

import ipywidgets
import numpy as np

from crack_utils.data import RunData, augment
from crack_utils.notebook.widgets.layout import gallery
from crack_utils.reporting.pictures import outlined

ROWS, COLUMNS = 2, 4  # photos on a page of the explorer


def explore(data: RunData) -> ipywidgets.Widget:
    """Look through a set in any order, and at what the augmentation makes of one image."""
    orders = {
        "most crack first": lambda crop: -crop.mask.mean(),
        "least crack first": lambda crop: crop.mask.mean(),
        "darkest first": lambda crop: crop.image.mean(),
        "by name": lambda crop: crop.pair.stem,
    }
    split = ipywidgets.Dropdown(options=["train", "val", "test"], description="Set")
    order = ipywidgets.Dropdown(options=list(orders), description="Order")
    page = ipywidgets.BoundedIntText(value=1, min=1, description="Page", layout={"width": "11em"})
    pages = ipywidgets.Label()
    image = ipywidgets.Dropdown(description="Image")
    again = ipywidgets.Button(description="Augment again", icon="refresh")
    photos, augmented = ipywidgets.HTML(), ipywidgets.HTML()
    seeds = np.random.default_rng()

    def turn(_: Any = None) -> None:
        found, size = sorted(data.split(split.value).crops, key=orders[order.value]), ROWS * COLUMNS
        page.max = -(-len(found) // size)
        pages.value = f"of {page.max}"
        shown = found[(page.value - 1) * size : page.value * size]
        names = [f"{crop.pair.stem} ({100 * crop.mask.mean():.1f} % crack)" for crop in shown]
        photos.value = gallery(list(zip(names, map(outlined, shown), strict=True)), "Photo with its cracks outlined", COLUMNS)
        image.options = [crop.pair.stem for crop in shown]
        image.index = 0  # a list that was empty chooses none on its own

    def begin(_: Any = None) -> None:
        if page.value == 1:
            turn()
        else:
            page.value = 1

    def draw(_: Any = None) -> None:
        dataset = data.split(split.value)
        index = next(i for i, crop in enumerate(dataset.crops) if crop.pair.stem == image.value)
        item, parts = dataset[index], data.params.augmentation_parts.split()
        made = [augment(item["image"], item["mask"], int(seed), parts)[0] for seed in seeds.integers(2**62, size=ROWS * COLUMNS)]
        shown = [(f"{number}", (255 * each).byte().permute(1, 2, 0).numpy()) for number, each in enumerate(made, start=1)]
        augmented.value = gallery(shown, f"Augmentation of {image.value}", COLUMNS)

    for control in (split, order):
        control.observe(begin, "value")
    page.observe(turn, "value")
    image.observe(draw, "value")
    again.on_click(draw)
    turn()
    note = ipywidgets.HTML("What training may see of this image (cracked ones only; half of the draws leave it as it is):")
    return ipywidgets.VBox([ipywidgets.HBox([split, order, page, pages]), photos, note, ipywidgets.HBox([image, again]), augmented])
