"""Run names. A run's name is the path of its folder below ``runs/`` and ``report/``."""

import re

from crack_utils.errors import ParameterError

FOLDERS_OF_A_RUN = {"examples", "figures", "predictions"}  # a run has folders of these names inside its own
LONGEST_NAME = 200  # bytes between two slashes; file systems allow 255, and temporary files have longer names than the run
RUN_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*(/[A-Za-z0-9][\w.+-]*)*")


def is_run_name(name: str) -> bool:
    """Whether a run can have this name."""
    return _problem(name) is None


def check_run_name(name: str) -> str:
    """The name itself, if a run can have this name.

    Raises:
        ParameterError: a run cannot have this name.
    """
    problem = _problem(name)
    if problem:
        raise ParameterError(f"run_name {name!r}: {problem}")
    return name


def _problem(name: str) -> str | None:
    parts = name.split("/")
    taken = FOLDERS_OF_A_RUN.intersection(parts[1:])
    if taken:
        return f"a run has a folder of its own called {taken.pop()}; choose another name"
    if max(len(part.encode(errors="replace")) for part in parts) > LONGEST_NAME:
        return f"a part is longer than {LONGEST_NAME} bytes between slashes; shorten the name, or name the members"
    if not RUN_NAME.fullmatch(name) or ".." in name or name.endswith((".yaml", ".yml")):
        return "use letters, digits, '.', '_', '+', '-', with '/' for folders, such as trials/first"
    return None
