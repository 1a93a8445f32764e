"""ipywidgets tools for a notebook with a live kernel; pages leave them out."""

import asyncio
import base64
import html
import io
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import ipywidgets
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crack_utils import pictures, plots
from crack_utils.artifacts import Run
from crack_utils.config import RunParameters
from crack_utils.data import CropDataset, RunData, augment
from crack_utils.errors import UserError
from crack_utils.evaluation import Example, applied_threshold, load_examples, predict
from crack_utils.metrics import SEG_THRESHOLDS, decision_scores, precision_recall_f1, tolerance_maps
from crack_utils.prediction import Predictor, describe, overlay, read_photo
from crack_utils.training import Training, Watcher, claim_run, train_run

ROWS, COLUMNS = 2, 4  # photos on a page of the explorer
WATCHED = 3  # images of val whose predictions are shown while training
CURVES = {
    "loss": {"segmentation": "loss_segmentation", "decision": "loss_decision"},
    "score at validation": {"F1": "val_f1", "decision AP": "val_decision_ap"},
}
TELL_EVERY_S = 0.2  # a batch may take milliseconds, and each word of it goes to the browser
UPLOAD_MB = 10  # what JupyterLab's server takes of one file; it drops the connection over a larger one


# --- training --------------------------------------------------------------------------------------------------------


class LiveTraining(Watcher):
    """A training in a thread of its own, so that the kernel hears a click on *Stop*: curves and predictions as they come."""

    def __init__(self, params: RunParameters, run_name: str):
        self.params, self.run_name = params, run_name
        self.status = ipywidgets.HTML("Reading the data …")
        self.bar = ipywidgets.FloatProgress(min=0, max=params.epochs, layout={"width": "auto"})
        self.button = ipywidgets.Button(description="Stop", icon="stop", tooltip="Stop after this batch; everything is kept")
        self.button.on_click(lambda _: self.stop())
        self.curves, self.predictions = ipywidgets.HTML(), ipywidgets.HTML()
        self.view = ipywidgets.VBox([ipywidgets.HBox([self.button, self.status]), self.bar, self.curves, self.predictions])
        self._told_at = 0.0
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._run: Run | None = None
        self._shown: CropDataset | None = None
        self.thread = threading.Thread(target=self._train, name=f"train {run_name}", daemon=True)
        self.thread.start()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.view)

    def stop(self) -> None:
        """End after the batch that is being trained on."""
        self._stopped.set()
        self.button.disabled = True
        self.status.value = "Stopping after this batch …"

    def wait(self) -> Run:
        """The run, when its training has ended or was stopped. A kernel that waits here is deaf to clicks (see :func:`ended`).

        Raises:
            whatever the training raised.
        """
        while self.thread.is_alive():
            try:
                self.thread.join(0.2)
            except KeyboardInterrupt:  # the kernel was interrupted: the other way to stop
                self.stop()
        if self._error is not None:
            raise self._error
        return self._run

    def _train(self) -> None:
        try:
            self._run = train_run(self.params, self.run_name, watcher=self)
            ended = "Finished." if self._run.is_trained else "Stopped; all is kept. Run these cells again to go on from here."
        except BaseException as error:  # handed to whoever waits
            self._error, ended = error, f"Failed: {html.escape(str(error))}"
        self.status.value = ended
        self.button.disabled = True

    # --- what the training tells
    def should_stop(self) -> bool:
        return self._stopped.is_set()

    def on_batch(self, training: Training, epoch: int, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told_at >= TELL_EVERY_S or done == total:
            self._told_at = now
            self.bar.value = epoch - 1 + done / total
            if not self._stopped.is_set():
                self.status.value = f"Epoch {epoch} of {self.params.epochs}, image {done} of {total}"
        if self._shown is None:
            if training.history:  # of a training that goes on
                self._show_curves(training.history)
            self._show_predictions(training)

    def on_epoch(self, training: Training) -> None:
        self._show_curves(training.history)
        self._show_predictions(training)

    def _show_curves(self, rows: list[dict[str, Any]]) -> None:
        fig = Figure((9, 2.8), layout="constrained")  # not pyplot's, which is for the main thread
        for ax, (label, columns) in zip(fig.subplots(1, 2), CURVES.items(), strict=True):
            for (name, column), color in zip(columns.items(), (plots.BLUE, plots.ORANGE), strict=True):
                points = [(row["epoch"], row[column]) for row in rows if not np.isnan(row.get(column, np.nan))]
                ax.plot(*np.array(points).reshape(-1, 2).T, ".-", color=color, label=name)
            ax.set(xlabel="epoch", ylabel=label, xlim=(0, self.params.epochs + 1))
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(alpha=0.25)
            ax.legend(frameon=False)
        file = io.BytesIO()
        fig.savefig(file, format="png", dpi=100)
        alt = f"Losses and scores on {self.params.choosing_split} by epoch, up to epoch {rows[-1]['epoch']}"
        png = base64.b64encode(file.getvalue()).decode()
        self.curves.value = f'<img src="data:image/png;base64,{png}" alt="{alt}" style="max-width:100%">'

    def _show_predictions(self, training: Training) -> None:
        if self._shown is None:
            val = training.data.split(self.params.choosing_split)
            cracked = [crop for crop in val.crops if crop.has_crack]
            self._shown = CropDataset(cracked[:: max(1, len(cracked) // WATCHED)][:WATCHED], val.input_size)
        was_training = training.model.training
        pairs = []
        with torch.random.fork_rng(devices=[]):  # a loader draws from the generator; who is watched trains as who is not
            for crop, seg_prob, _ in predict(training.model, self._shown, training.device):
                grey = (255 * seg_prob.cpu().numpy()).astype(np.uint8)
                pairs += [(f"{crop.pair.stem}: truth", pictures.outlined(crop)), ("probability", grey)]
        training.model.train(was_training)
        self.predictions.value = _gallery(pairs, f"Watched image of {self.params.choosing_split}", 2 * WATCHED)


_live: dict[str, LiveTraining] = {}


def watch(params: RunParameters, run_name: str | None) -> LiveTraining | None:
    """Begin a training to be watched and stopped, where somebody watches: in a session of JupyterLab.

    Returns:
        The training, which goes on in a thread; None elsewhere (papermill), and for a run that has finished.
    """
    if not os.environ.get("JPY_SESSION_NAME"):  # which Jupyter's server sets for the kernels of its notebooks
        return None
    run = claim_run(params, run_name)
    if run.is_trained:
        return None
    if run.name not in _live or not _live[run.name].thread.is_alive():
        _live[run.name] = LiveTraining(params, run.name)
    return _live[run.name]


async def ended(live: LiveTraining | None) -> None:
    """Wait for a watched training to end, in a cell that says ``await``: only so the kernel hears a click on *Stop* meanwhile.

    JupyterLab sends what widgets say to a subshell, but ipykernel 7.4 hands it to the shell that the widget was made in: the main
    one, which takes it between two turns of an awaiting cell, and after the end of any other.
    """
    while live is not None and live.thread.is_alive():
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:  # the kernel was interrupted: the other way to stop
            live.stop()


# --- data ------------------------------------------------------------------------------------------------------------


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
        photos.value = _gallery(list(zip(names, map(pictures.outlined, shown), strict=True)), "Photo with its cracks outlined", COLUMNS)
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


# --- errors ----------------------------------------------------------------------------------------------------------


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
        shown = [("image", example.image), ("errors", pictures.overlap(example.image, *maps))]
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
    return ipywidgets.VBox([image, threshold, decision, words, picture, ipywidgets.HTML(_spaced(pictures.legend()))])


def _segmented(example: Example, maps: tuple[np.ndarray, np.ndarray, np.ndarray]) -> str:
    """The scores of an image's hits, misses and false alarms; where there is no crack, only false alarms count."""
    hit, miss, false_alarm = (each.sum() for each in maps)
    if not example.mask.any():
        return f"no crack there, {false_alarm} pixels of false alarm"
    return "precision {:.3f}, recall {:.3f}, F1 {:.3f}".format(*precision_recall_f1(hit, false_alarm, miss))


# --- one's own photo -------------------------------------------------------------------------------------------------


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
        marked = pictures.photo_uri(overlay(found["prediction"]), 1600)
        picture.value = f'<img src="{marked}" alt="The photo with the cracks that were found" style="max-width:100%">'
        say()

    def say(_: Any = None) -> None:
        if "prediction" in found:
            sentences = describe(found["prediction"], scale.value if scale.value > 0 else None)
            words.value = _spaced("<br>".join(html.escape(sentences).splitlines()))

    upload.observe(search, "value")
    scale.observe(say, "value")
    return ipywidgets.VBox([ipywidgets.HBox([upload, scale]), words, picture])


# --- helpers ---------------------------------------------------------------------------------------------------------


def _gallery(photos: Sequence[tuple[str, np.ndarray]], alt: str, columns: int) -> str:
    return _spaced(pictures.gallery(photos, alt, columns))


def _spaced(text: str) -> str:
    """HTML whose lines are spaced as text is, not as buttons are, and whose long names keep to their column."""
    return f'<div style="line-height:1.4;overflow-wrap:anywhere">{text}</div>'
