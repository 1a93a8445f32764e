"""A training that somebody watches in JupyterLab: progress, curves, predictions, and the button *Stop*."""

import asyncio
import base64
import html
import io
import os
import threading
import time
from functools import partial
from typing import Any

import ipywidgets
import numpy as np
import torch
from IPython.display import display
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crack_utils.config import RunParameters
from crack_utils.data import CropDataset
from crack_utils.networks import predict
from crack_utils.notebook.widgets.browsers import gallery
from crack_utils.reporting.pictures import outlined
from crack_utils.reporting.plots import PALETTE
from crack_utils.store import Run
from crack_utils.training import Parts, Training, Watcher, claim_run, train_run

WATCHED = 3  # images whose predictions the view shows
SCORES = {"F1": "val_f1", "decision AP": "val_decision_ap"}
UPDATE_S = 0.2  # a batch may take milliseconds, and each update goes to the browser


class TrainingView(Watcher):
    """Shows a training in ``widget`` as it goes on, and stops the training on request."""

    def __init__(self, params: RunParameters):
        self.params = params
        self.status = ipywidgets.HTML("Reading the data …")
        self.bar = ipywidgets.FloatProgress(min=0, max=params.epochs, layout={"width": "auto"})
        self.button = ipywidgets.Button(description="Stop", icon="stop", tooltip="Stop after this batch; everything is kept")
        self.button.on_click(lambda _: self.stop())
        self.curves, self.predictions = ipywidgets.HTML(), ipywidgets.HTML()
        self.widget = ipywidgets.VBox([ipywidgets.HBox([self.button, self.status]), self.bar, self.curves, self.predictions])
        self._stopped = threading.Event()
        self._updated_at = 0.0
        self._watched: CropDataset | None = None

    def stop(self) -> None:
        """Stop the training after the current batch."""
        self._stopped.set()
        self.end("Stopping after this batch …")

    def end(self, text: str) -> None:
        """Show how the training ended. The button can no longer be clicked."""
        self.status.value = text
        self.button.disabled = True

    def should_stop(self) -> bool:
        return self._stopped.is_set()

    def on_batch(self, training: Training, epoch: int, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._updated_at >= UPDATE_S or done == total:
            self._updated_at = now
            self.bar.value = epoch - 1 + done / total
            if not self.should_stop():
                self.status.value = f"Epoch {epoch} of {self.params.epochs}, image {done} of {total}"
        if self._watched is None:
            self.on_epoch(training)

    def on_epoch(self, training: Training) -> None:
        self._watched = self._watched or watched_crops(training)
        if training.history:  # a resumed training has a history before its first epoch ends
            self.curves.value = curves_html(training.history, self.params)
        self.predictions.value = predictions_html(training, self._watched)


def curves_figure(history: list[dict[str, Any]], params: RunParameters) -> Figure:
    """The losses and the scores by epoch."""
    losses = {name.removeprefix("loss_"): name for name in history[0] if name.startswith("loss_")}
    fig = Figure((9, 2.8), layout="constrained")  # not a figure of pyplot, which works only in the main thread
    for ax, label, columns in zip(fig.subplots(1, 2), ("loss", "score at validation"), (losses, SCORES), strict=True):
        for (name, column), color in zip(columns.items(), PALETTE, strict=False):
            points = [(row["epoch"], row[column]) for row in history if not np.isnan(row.get(column, np.nan))]
            ax.plot(*np.array(points).reshape(-1, 2).T, ".-", color=color, label=name)
        ax.set(xlabel="epoch", ylabel=label, xlim=(0, params.epochs + 1))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
        ax.legend(frameon=False)
    return fig


def curves_html(history: list[dict[str, Any]], params: RunParameters) -> str:
    """The curves as a picture."""
    file = io.BytesIO()
    curves_figure(history, params).savefig(file, format="png", dpi=100)
    alt = f"Losses and scores on {params.choosing_split} by epoch, up to epoch {history[-1]['epoch']}"
    return f'<img src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}" alt="{alt}" style="max-width:100%">'


def watched_crops(training: Training) -> CropDataset:
    """A few cracked crops of the split that chooses the checkpoint."""
    split = training.data.split(training.params.choosing_split)
    cracked = [crop for crop in split.crops if crop.has_crack]
    return CropDataset(cracked[:: max(1, len(cracked) // WATCHED)][:WATCHED], split.input_size)


def predictions_html(training: Training, crops: CropDataset) -> str:
    """The crops with their true cracks, and their predicted probabilities, as pictures."""
    was_training = training.model.training
    pictures = []
    with torch.random.fork_rng(devices=[]):  # a loader draws random numbers, and watching a training must not change it
        for crop, seg_prob, _ in predict(training.network, crops, training.device):
            grey = (255 * seg_prob.cpu().numpy()).astype(np.uint8)
            pictures += [(f"{crop.pair.stem}: truth", outlined(crop)), ("probability", grey)]
    training.model.train(was_training)
    return gallery(pictures, f"Watched image of {training.params.choosing_split}", 2 * WATCHED)


class LiveTraining(threading.Thread):
    """A training in a thread of its own, so the kernel can react to a click on *Stop*. A cell that ends with it shows its view."""

    def __init__(self, params: RunParameters, run_name: str, parts: Parts | None = None):
        super().__init__(name=f"train {run_name}", daemon=True)
        self.view = TrainingView(params)
        self._train = partial(train_run, params, run_name, watcher=self.view, parts=parts)
        self._run: Run | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Train. The thread calls this."""
        try:
            self._run = self._train()
            stopped = "Stopped; all is kept. Run these cells again to go on from here."
            self.view.end("Finished." if self._run.is_trained else stopped)
        except BaseException as error:  # wait() raises it
            self._error = error
            self.view.end(f"Failed: {html.escape(str(error))}")

    def wait(self) -> Run:
        """The run, once its training has ended or was stopped. A kernel that waits here does not react to clicks (see :func:`ended`).

        Raises:
            BaseException: whatever the training raised.
        """
        while self.is_alive():
            try:
                self.join(0.2)
            except KeyboardInterrupt:  # an interrupt of the kernel stops the training too
                self.view.stop()
        if self._error is not None:
            raise self._error
        return self._run

    def _ipython_display_(self) -> None:
        display(self.view.widget)


_live: dict[str, LiveTraining] = {}


def watch(params: RunParameters, run_name: str | None, parts: Parts | None = None) -> LiveTraining | None:
    """Start a training in a thread, if this is a session of JupyterLab, where somebody can watch and stop the training.

    Returns the training, or the one of the same run that is still going on. None without JupyterLab (papermill), and for a finished run.
    """
    if not os.environ.get("JPY_SESSION_NAME"):  # Jupyter's server sets this variable for the kernels of its notebooks
        return None
    run = claim_run(params, run_name)
    if run.is_trained:
        return None
    if run.name not in _live or not _live[run.name].is_alive():
        _live[run.name] = LiveTraining(params, run.name, parts)
        _live[run.name].start()
    return _live[run.name]


async def ended(live: LiveTraining | None) -> None:
    """Wait until a watched training ends. Only a cell that says ``await`` lets the kernel react to a click on *Stop* meanwhile.

    JupyterLab sends the messages of widgets to a subshell. ipykernel 7.4 hands them to the shell that made the widget. This is the main
    shell: it takes them between two turns of an awaiting cell, or after the end of any other cell.
    """
    while live is not None and live.is_alive():
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:  # an interrupt of the kernel stops the training too
            live.view.stop()
