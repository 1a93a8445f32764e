"""A training watched in JupyterLab."""

import asyncio
import base64
import html
import io
import os
import threading
import time
from typing import Any

import ipywidgets
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crack_utils.config import RunParameters
from crack_utils.data import CropDataset
from crack_utils.networks import predict
from crack_utils.notebook.widgets.layout import gallery
from crack_utils.reporting.pictures import outlined
from crack_utils.reporting.plots import BLUE, ORANGE
from crack_utils.store import Run
from crack_utils.training import Training, Watcher, claim_run, train_run

WATCHED = 3  # images of val whose predictions are shown while training
CURVES = {
    "loss": {"segmentation": "loss_segmentation", "decision": "loss_decision"},
    "score at validation": {"F1": "val_f1", "decision AP": "val_decision_ap"},
}
TELL_EVERY_S = 0.2  # a batch may take milliseconds, and each word of it goes to the browser


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
            for (name, column), color in zip(columns.items(), (BLUE, ORANGE), strict=True):
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
                pairs += [(f"{crop.pair.stem}: truth", outlined(crop)), ("probability", grey)]
        training.model.train(was_training)
        self.predictions.value = gallery(pairs, f"Watched image of {self.params.choosing_split}", 2 * WATCHED)


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
