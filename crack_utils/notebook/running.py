"""Work that a cell starts: reading the data, and training."""

from typing import TYPE_CHECKING

from crack_utils.config import RunParameters
from crack_utils.data import RunData, data_facts, find_data
from crack_utils.notebook.showing import show_notices
from crack_utils.store import Run, sample_folder
from crack_utils.training import train_run

if TYPE_CHECKING:
    from crack_utils.notebook.widgets import LiveTraining


def load_data(params: RunParameters) -> RunData:
    """The data that a run's parameters name. Shows the notices of the data."""
    data = find_data(params, sample_folder())
    show_notices(data_facts(data))
    return data


def train(params: RunParameters, run_name: str | None, live: "LiveTraining | None") -> Run:
    """Train to the end, or until somebody stops the training. A finished training is returned as it is.

    Args:
        live: the training that :func:`crack_utils.notebook.widgets.watch` started; None: train here and now.
    """
    return live.wait() if live else train_run(params, run_name)
