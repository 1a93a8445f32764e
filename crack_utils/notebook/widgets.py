"""ipywidgets tools for a notebook with a live kernel; pages leave them out."""

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets
import numpy as np

from crack_utils.data.augmentation import augment
from crack_utils.data.run_data import RunData
from crack_utils.errors import UserError
from crack_utils.evaluation.photo import Predictor, read_photo
from crack_utils.evaluation.run import applied_threshold
from crack_utils.reporting.photo import describe, overlay
from crack_utils.reporting.pictures import gallery, legend, outlined, overlap, photo_uri
from crack_utils.scoring.counts import tolerance_maps
from crack_utils.scoring.decision import decision_scores
from crack_utils.scoring.scores import precision_recall_f1
from crack_utils.scoring.thresholds import SEG_THRESHOLDS
from crack_utils.store.examples import Example, load_examples
from crack_utils.store.run import Run

ROWS, COLUMNS = 2, 4  # photos on a page of the explorer
UPLOAD_MB = 10  # what JupyterLab's server takes of one file; it drops the connection over a larger one


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
        photos.value = _gallery(list(zip(names, map(outlined, shown), strict=True)), "Photo with its cracks outlined", COLUMNS)
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
        augmented.value = _gallery(shown, f"Augmentation of {image.value}", COLUMNS)

    for control in (split, order):
        control.observe(begin, "value")
    page.observe(turn, "value")
    image.observe(draw, "value")
    again.on_click(draw)
    turn()
    note = ipywidgets.HTML("What training may see of this image (cracked ones only; half of the draws leave it as it is):")
    return ipywidgets.VBox([ipywidgets.HBox([split, order, page, pages]), photos, note, ipywidgets.HBox([image, again]), augmented])


def browse(run: Run) -> ipywidgets.Widget:
    """Pick one of a run's example images, move the thresholds, and see errors and scores change."""
    kinds = ("worst", "median", "best", "crack-free")
    examples = {f"{kind}: {example.stem}": example for kind in kinds for example in load_examples(run, kind)}
    params, metrics, per_image = run.load_params(), run.load_metrics(), run.load_per_image()
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
        at = SEG_THRESHOLDS[np.abs(SEG_THRESHOLDS - threshold.value).argmin()]  # to the last bit that of the run's figures
        at = applied_threshold(example.seg_prob, decided, at, params)
        maps = tolerance_maps(example.seg_prob, example.mask, at)
        shown = [("image", example.image), ("errors", overlap(example.image, *maps))]
        picture.value = _gallery(shown, example.stem, 2)
        counts = decision_scores(per_image["has_crack"], per_image["decision_prob"], decision.value)
        words.value = _spaced(
            f"This image, {'emptied (blackening)' if np.isinf(at) else f'above {at:.3f}'}: {_segmented(example, maps)}; "
            f"decided {'crack' if decided else 'no crack'} ({example.decision_prob:.3f}).<br>"
            f"All {len(per_image)} test images from {decision.value:.3f} on: TP {counts['tp']}, FP {counts['fp']}, FN {counts['fn']}, "
            f"TN {counts['tn']}."
        )

    for control in (image, threshold, decision):
        control.observe(show, "value")
    show()
    return ipywidgets.VBox([image, threshold, decision, words, picture, ipywidgets.HTML(_spaced(legend()))])


def _segmented(example: Example, maps: tuple[np.ndarray, np.ndarray, np.ndarray]) -> str:
    """The scores of an image's hits, misses and false alarms; where there is no crack, only false alarms count."""
    hit, miss, false_alarm = (each.sum() for each in maps)
    if not example.mask.any():
        return f"no crack there, {false_alarm} pixels of false alarm"
    return "precision {:.3f}, recall {:.3f}, F1 {:.3f}".format(*precision_recall_f1(hit, false_alarm, miss))


def own_photo(run: Run) -> ipywidgets.Widget:
    """Upload a photo of any size and see where the run's network finds cracks, how long and how wide."""
    upload = ipywidgets.FileUpload(accept="image/*", description="Photo")
    scale = ipywidgets.FloatText(value=run.load_params().mm_per_px or 0, description="mm per px", tooltip="0: lengths in pixels alone")
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
            photo = read_photo(bytes(upload.value[0]["content"]), run.load_params().input_channels)
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
            words.value = _spaced("<br>".join(html.escape(sentences).splitlines()))

    upload.observe(search, "value")
    scale.observe(say, "value")
    return ipywidgets.VBox([ipywidgets.HBox([upload, scale]), words, picture])


def _gallery(photos: Sequence[tuple[str, np.ndarray]], alt: str, columns: int) -> str:
    return _spaced(gallery(photos, alt, columns))


def _spaced(text: str) -> str:
    """HTML whose lines are spaced as text is, not as buttons are, and whose long names keep to their column."""
    return f'<div style="line-height:1.4;overflow-wrap:anywhere">{text}</div>'
