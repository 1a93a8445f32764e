"""A training that somebody watches in JupyterLab."""

import asyncio
import html
import os
import threading
from functools import partial

from IPython.display import display

from crack_utils.config import RunParameters
from crack_utils.notebook.widgets.training_view import TrainingView
from crack_utils.store import Run
from crack_utils.training import Parts, claim_run, train_run


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

    Args:
        params: the run's parameters.
        run_name: see :func:`crack_utils.training.train_run`.
        parts: what the training is made of.

    Returns:
        The training, or the one of the same run that is still going on. None without JupyterLab (papermill), and for a finished run.
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
