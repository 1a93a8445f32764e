"""What a notebook was given."""

from typing import Any

from crack_utils.config import PARAMETER_HELP, RunParameters, check_names, check_run_name, parse_parameters, resolve_folders
from crack_utils.data import RunData, data_facts, find_data
from crack_utils.errors import ParameterError
from crack_utils.many.comparison import find_runs
from crack_utils.notebook.showing import show, show_notice, show_notices
from crack_utils.reporting.comparison import notices as comparison_notices
from crack_utils.store import Run, find_run, sample_folder

_IPYTHON_NAMES = {"In", "Out", "exit", "quit", "open", "get_ipython"}
_PLAIN = (bool, int, float, str, list, tuple, dict, type(None))
_names_at_first_reading: set[str] = set()


def read_parameters(namespace: dict[str, Any], known: list[str]) -> dict[str, Any]:
    """The values of a notebook's parameters, after checking that nothing else was injected.

    Papermill only warns of a name the notebook does not know and goes on with the defaults; here it is an error. So this
    must come right behind the parameters: on its first call in a kernel every plain value is taken for a parameter.

    Args:
        namespace: the notebook's ``globals()``.
        known: names that are parameters here.

    Raises:
        ParameterError: an unknown name, with the nearest known one.
    """
    if not _names_at_first_reading:
        plain = {name for name, value in namespace.items() if isinstance(value, _PLAIN) and not name.startswith("_")}
        check_names(dict.fromkeys(sorted(plain - _IPYTHON_NAMES)), known)
        _names_at_first_reading.update(plain)
    return {name: namespace[name] for name in known if name in namespace}


def read_run_parameters(namespace: dict[str, Any]) -> tuple[RunParameters, str | None]:
    """The run parameters a notebook was given (those it lacks have their defaults), and the run's name, if any.

    A relative folder counts from the notebook's current folder.
    """
    values = read_parameters(namespace, [*PARAMETER_HELP, "run_name"])
    run_name = values.pop("run_name", None)
    return parse_parameters(resolve_folders(values)), None if run_name in (None, "") else str(run_name)


def read_run(namespace: dict[str, Any], *more: str, quiet: bool = False) -> Run:
    """The run a notebook was asked to show, or the newest finished one; says which.

    Args:
        more: names of further parameters of this notebook.
        quiet: leave it to the notebook to say which run this is and what to know about its data.

    Raises:
        MissingRun: there is none yet; train comes first.
    """
    name = read_parameters(namespace, ["run_name", *more])["run_name"]
    run = find_run(None if name in (None, "") else str(name))
    which = "" if name else " (the newest finished training)"
    if not quiet:
        show(f"Run **{run.name}**{which}.")
        show_notices(run.params.facts())
    return run


def read_runs(namespace: dict[str, Any]) -> tuple[list[Run], str]:
    """The evaluated runs a notebook was asked to compare, after saying what to know of their data, and the page it becomes."""
    values = read_parameters(namespace, ["runs", "page", "missing"])
    runs = find_runs(str(values["runs"]).split())
    missing = str(values["missing"] or "").split()
    notices = comparison_notices(runs)
    if missing:
        notices.append(f"Not finished and not in here: {', '.join(missing)}.")
    for notice in notices:
        show_notice(notice)
    return runs, check_run_name(str(values["page"]))


def check_scale(mm_per_px: Any) -> float | None:
    """A parameter that must be a number above 0, or None."""
    if mm_per_px in (None, ""):
        return None
    try:
        value = float(mm_per_px)
    except (TypeError, ValueError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise ParameterError(f"mm_per_px: should be a number above 0, got {mm_per_px!r}")
    return value


def check_count(name: str, value: Any) -> int:
    """A parameter that must be a whole number of at least 1."""
    if not str(value).isdecimal() or int(value) < 1:
        raise ParameterError(f"{name}: should be a whole number of at least 1, got {value!r}")
    return int(value)


def load_data(params: RunParameters) -> RunData:
    """The data a run's parameters name, with the notices that belong to it."""
    data = find_data(params, sample_folder())
    show_notices(data_facts(data))
    return data
