"""What a notebook starts from: its parameters, checked; its data; its training."""

from typing import TYPE_CHECKING, Any

from crack_utils.config import PARAMETER_HELP, RunParameters, check_names, check_run_name, parse_parameters, resolve_folders
from crack_utils.errors import ParameterError
from crack_utils.many import find_runs
from crack_utils.notebook.showing import show, show_notice, show_notices
from crack_utils.reporting import comparison
from crack_utils.reporting.html import literal
from crack_utils.store import Run, find_run, image_cache, is_of_other_data, sample_folder

if TYPE_CHECKING:
    from crack_utils.data import RunData
    from crack_utils.notebook.widgets import LiveTraining

_IPYTHON_NAMES = {"In", "Out", "exit", "quit", "open", "get_ipython"}
_PLAIN = (bool, int, float, str, list, tuple, dict, type(None))
_names_at_first_reading: set[str] = set()


def read_parameters(namespace: dict[str, Any], known: list[str]) -> dict[str, Any]:
    """The values of a notebook's parameters. An unknown name among them is an error; papermill alone would only warn of it.

    ``namespace`` is the notebook's ``globals()``. Call this right after the parameters: the first call in a kernel takes every plain value
    for a parameter.

    Raises:
        ParameterError: an unknown name, with the nearest known one.
    """
    if not _names_at_first_reading:
        plain = {name for name, value in namespace.items() if isinstance(value, _PLAIN) and not name.startswith("_")}
        check_names(dict.fromkeys(sorted(plain - _IPYTHON_NAMES)), known)
        _names_at_first_reading.update(plain)
    return {name: namespace[name] for name in known if name in namespace}


def read_run_parameters(namespace: dict[str, Any]) -> tuple[RunParameters, str | None]:
    """The run parameters of a notebook, and the run's name if there is one.

    Run parameters that the notebook lacks have their defaults. Relative folders are relative to the current folder.
    """
    values = read_parameters(namespace, [*PARAMETER_HELP, "run_name"])
    run_name = values.pop("run_name", None)
    return parse_parameters(resolve_folders(values)), None if run_name in (None, "") else str(run_name)


def read_run(namespace: dict[str, Any], *more: str, quiet: bool = False) -> Run:
    """The run that a notebook shows: the given one, or the newest finished training. Shows its name and the notices of its data.

    ``more`` are names of further parameters of this notebook; ``quiet`` shows neither name nor notices.

    Raises:
        MissingRun: there is no such finished training.
    """
    name = read_parameters(namespace, ["run_name", *more])["run_name"]
    run = find_run(None if name in (None, "") else str(name))
    which = "" if name else " (the newest finished training)"
    if not quiet:
        show(f"Run **{literal(run.name)}**{which}.")
        show_notices(run.params.facts())
    return run


def read_runs(namespace: dict[str, Any]) -> tuple[list[Run], str]:
    """The evaluated runs that a notebook compares, and the folder of its page. Shows the notices of the runs' data."""
    values = read_parameters(namespace, ["runs", "page", "missing"])
    runs = find_runs(str(values["runs"]).split())
    missing = str(values["missing"] or "").split()
    for notice in comparison.notices(runs):
        show_notice(notice)
    if missing:
        show_notice(f"These runs have not finished and are left out: {', '.join(missing)}.")
    return runs, check_run_name(str(values["page"]))


def check_scale(mm_per_px: Any) -> float | None:
    """The parameter ``mm_per_px``: a number above 0, or None."""
    return parse_parameters({"mm_per_px": mm_per_px}).mm_per_px


def check_count(name: str, value: Any) -> int:
    """A parameter that is a whole number of at least 1."""
    if not str(value).isdecimal() or int(value) < 1:
        raise ParameterError(f"{name}: should be a whole number of at least 1, got {value!r}")
    return int(value)


def load_data(params: RunParameters) -> "RunData":
    """The data that a run's parameters name. Shows the notices of the data."""
    from crack_utils.data import data_facts, find_data  # these two functions need torch

    data = find_data(params, sample_folder(), image_cache())
    show_notices(data_facts(data))
    return data


def train(params: RunParameters, run_name: str | None, live: "LiveTraining | None") -> Run:
    """Train to the end, or until somebody stops the training that ``widgets.watch`` started. A finished training is returned as it is."""
    from crack_utils.training import train_run

    return live.wait() if live else train_run(params, run_name)


def show_data_notices(run: Run, params: RunParameters) -> None:
    """Show the notices of a training's data, and whether the files have changed since if the parameters accept changed data."""
    from crack_utils.training import present_fingerprint

    show_notices(run.params.facts())
    present = present_fingerprint(params) if params.changed_data else None
    if present and is_of_other_data(run, present):
        show_notice("The files of the data set have changed since this training. The training is that of the former files.")
