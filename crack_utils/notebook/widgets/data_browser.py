"""A tool to look through the data of a run."""

from typing import Any

import ipywidgets
import numpy as np

from crack_utils.data import SPLITS, RunData, augment
from crack_utils.notebook.widgets.layout import gallery
from crack_utils.reporting.pictures import outlined

ROWS, COLUMNS = 2, 4  # photos of a page
ORDERS = {
    "most crack first": lambda crop: -crop.mask.mean(),
    "least crack first": lambda crop: crop.mask.mean(),
    "darkest first": lambda crop: crop.image.mean(),
    "by name": lambda crop: crop.pair.stem,
}


def explore(data: RunData) -> ipywidgets.Widget:
    """Look through a set in any order, and see what the augmentation makes of an image."""
    return DataBrowser(data).widget


class DataBrowser:
    """Pages of photos, and augmentations of one of these photos."""

    def __init__(self, data: RunData):
        self.data, self.seeds = data, np.random.default_rng()
        self.split = ipywidgets.Dropdown(options=SPLITS, description="Set")
        self.order = ipywidgets.Dropdown(options=list(ORDERS), description="Order")
        self.page = ipywidgets.BoundedIntText(value=1, min=1, description="Page", layout={"width": "11em"})
        self.pages = ipywidgets.Label()
        self.image = ipywidgets.Dropdown(description="Image")
        again = ipywidgets.Button(description="Augment again", icon="refresh")
        self.photos, self.augmented = ipywidgets.HTML(), ipywidgets.HTML()
        for control in (self.split, self.order):
            control.observe(self.show_first_page, "value")
        self.page.observe(self.show_page, "value")
        self.image.observe(self.show_augmented, "value")
        again.on_click(self.show_augmented)
        self.show_page()
        note = ipywidgets.HTML("Training may see this image like this (only cracked images; half of the draws leave the image as it is):")
        top, middle = [self.split, self.order, self.page, self.pages], [self.image, again]
        self.widget = ipywidgets.VBox([ipywidgets.HBox(top), self.photos, note, ipywidgets.HBox(middle), self.augmented])

    def show_first_page(self, _: Any) -> None:
        if self.page.value == 1:
            self.show_page()
        else:
            self.page.value = 1

    def show_page(self, _: Any = None) -> None:
        crops, size = sorted(self.data.split(self.split.value).crops, key=ORDERS[self.order.value]), ROWS * COLUMNS
        self.page.max = -(-len(crops) // size)
        self.pages.value = f"of {self.page.max}"
        shown = crops[(self.page.value - 1) * size : self.page.value * size]
        photos = [(f"{crop.pair.stem} ({100 * crop.mask.mean():.1f} % crack)", outlined(crop)) for crop in shown]
        self.photos.value = gallery(photos, "Photo with its cracks outlined", COLUMNS)
        self.image.options = [crop.pair.stem for crop in shown]
        self.image.index = 0  # ipywidgets chooses nothing if the list was empty before

    def show_augmented(self, _: Any) -> None:
        dataset = self.data.split(self.split.value)
        index = next(i for i, crop in enumerate(dataset.crops) if crop.pair.stem == self.image.value)
        item, parts = dataset[index], self.data.params.augmentation_parts.split()
        drawn = [augment(item["image"], item["mask"], int(seed), parts)[0] for seed in self.seeds.integers(2**62, size=ROWS * COLUMNS)]
        photos = [(f"{number}", (255 * image).byte().permute(1, 2, 0).numpy()) for number, image in enumerate(drawn, start=1)]
        self.augmented.value = gallery(photos, f"Augmentation of {self.image.value}", COLUMNS)
