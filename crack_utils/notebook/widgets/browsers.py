"""Tools to look through the data and the errors of a run, and to search one's own photo for cracks."""

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets
import numpy as np

from crack_utils.data import SPLITS, RunData, augment
from crack_utils.errors import UserError
from crack_utils.evaluation import applied_threshold
from crack_utils.evaluation.photo import Predictor, read_photo
from crack_utils.reporting.photo import describe, overlay
from crack_utils.reporting.pictures import gallery as html_gallery
from crack_utils.reporting.pictures import legend, outlined, overlap, photo_uri
from crack_utils.scoring import SEG_THRESHOLDS, decision_scores, precision_recall_f1, tolerance_maps
from crack_utils.store import Example, Run, load_examples


def gallery(photos: Sequence[tuple[str, np.ndarray]], alt: str, columns: int) -> str:
    """Photos side by side, each with its name."""
    return spaced(html_gallery(photos, alt, columns))


def spaced(text: str) -> str:
    """HTML with the line spacing of text instead of that of buttons. Long names break to stay in their column."""
    return f'<div style="line-height:1.4;overflow-wrap:anywhere">{text}</div>'


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


def browse(run: Run) -> ipywidgets.Widget:
    """Choose an example image of a run, move the thresholds, and see how errors and scores change."""
    kinds = ("worst", "median", "best", "crack-free")
    examples = {f"{kind}: {example.stem}": example for kind in kinds for example in load_examples(run, kind)}
    params, metrics, per_image = run.params.load(), run.metrics.load(), run.per_image.load()
    wide = {"layout": {"width": "40em"}, "style": {"description_width": "9em"}}
    slider = {"step": 0.005, "readout_format": ".3f", "continuous_update": False, **wide}
    image = ipywidgets.Dropdown(options=list(examples), description="Image", **wide)
    threshold = ipywidgets.FloatSlider(
        value=metrics["segmentation_2px"]["threshold"], min=SEG_THRESHOLDS[0], max=SEG_THRESHOLDS[-1], description="Crack above", **slider
    )
    decision = ipywidgets.FloatSlider(value=metrics["decision"]["threshold"], min=0, max=1, description="Decided from", **slider)
    picture, words = ipywidgets.HTML(), ipywidgets.HTML()

    def show(_: Any = None) -> None:
        example = examples[image.value]
        decided = example.decision_prob >= decision.value
        at = SEG_THRESHOLDS[np.abs(SEG_THRESHOLDS - threshold.value).argmin()]  # exactly a threshold of the run's figures
        at = applied_threshold(example.seg_prob, decided, at, params)
        maps = tolerance_maps(example.seg_prob, example.mask, at)
        shown = [("image", example.image), ("errors", overlap(example.image, *maps))]
        picture.value = gallery(shown, example.stem, 2)
        counts = decision_scores(per_image["has_crack"], per_image["decision_prob"], decision.value)
        words.value = spaced(
            f"This image{', emptied by blackening' if np.isinf(at) else f' at threshold {at:.3f}'}: {_segmented(example, maps)}; "
            f"decided {'crack' if decided else 'no crack'} (probability {example.decision_prob:.3f}).<br>"
            f"All {len(per_image)} test images at decision threshold {decision.value:.3f}: TP {counts['tp']}, FP {counts['fp']}, "
            f"FN {counts['fn']}, TN {counts['tn']}."
        )

    for control in (image, threshold, decision):
        control.observe(show, "value")
    show()
    return ipywidgets.VBox([image, threshold, decision, words, picture, ipywidgets.HTML(spaced(legend()))])


def _segmented(example: Example, maps: tuple[np.ndarray, np.ndarray, np.ndarray]) -> str:
    """The scores of an image from its hits, misses and false alarms. A crack-free image has only false alarms."""
    hit, miss, false_alarm = (each.sum() for each in maps)
    if not example.mask.any():
        return f"no true crack, {false_alarm} pixels of false alarm"
    return "precision {:.3f}, recall {:.3f}, F1 {:.3f}".format(*precision_recall_f1(hit, false_alarm, miss))


UPLOAD_MB = 10  # JupyterLab's server drops the connection when a file is larger


def own_photo(run: Run) -> ipywidgets.Widget:
    """Upload a photo of any size and see which cracks the run's network finds, and how long and wide they are."""
    upload = ipywidgets.FileUpload(accept="image/*", description="Photo")
    scale = ipywidgets.FloatText(value=run.params.load().mm_per_px or 0, description="mm per px", tooltip="0: lengths in pixels alone")
    words = ipywidgets.HTML(f"Choose a photo of at most {UPLOAD_MB} MB; <code>python -m crack_utils predict</code> takes larger ones.")
    picture = ipywidgets.HTML()
    found: dict[str, Any] = {}

    def tell(done: int, total: int) -> None:
        if done < total:
            words.value = f"Searching: piece {done + 1} of {total} …"

    def search(_: Any = None) -> None:
        if not upload.value:
            return
        found.pop("prediction", None)
        words.value, picture.value = "Searching …", ""
        try:
            found.setdefault("predictor", Predictor(run))
            photo = read_photo(bytes(upload.value[0]["content"]), run.params.load().input_channels)
            found["prediction"] = found["predictor"](photo, tell)
        except UserError as error:
            words.value = f"<b>{html.escape(str(error))}</b>"
            return
        marked = photo_uri(overlay(found["prediction"]), 1600)
        picture.value = f'<img src="{marked}" alt="The photo with the cracks that were found" style="max-width:100%">'
        say()

    def say(_: Any = None) -> None:
        if "prediction" in found:
            sentences = describe(found["prediction"], scale.value if scale.value > 0 else None)
            words.value = spaced("<br>".join(html.escape(sentences).splitlines()))

    upload.observe(search, "value")
    scale.observe(say, "value")
    return ipywidgets.VBox([ipywidgets.HBox([upload, scale]), words, picture])
