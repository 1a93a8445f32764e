"""The names that runs, and so their folders, can have."""

import re

from crack_utils.errors import ParameterError

TAKEN = {"examples", "figures", "predictions"}  # folders inside a run's
LONGEST_NAME = 200  # file systems take 255 bytes, and files in a run's folder have names too
RUN_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*(/[A-Za-z0-9][\w.+-]*)*")


def is_run_name(name: str) -> bool:
    """Whether ``name`` can name a folder under ``runs/`` and ``report/``, beside those a run has of its own."""
    return _why_no_run_name(name) is None


def check_run_name(name: str) -> str:
    """``name`` itself, if it can name a run.

    Raises:
        ParameterError: it cannot.
    """
    reason = _why_no_run_name(name)
    if reason:
        raise ParameterError(f"run_name {name!r}: {reason}")
    return name


def _why_no_run_name(name: str) -> str | None:
    parts = name.split("/")
    taken = TAKEN.intersection(parts[1:])
    if taken:
        return f"{taken.pop()} is what a run calls a folder of its own; choose another name"
    if max(len(part.encode(errors="replace")) for part in parts) > LONGEST_NAME:
        return f"it is longer than {LONGEST_NAME} bytes between slashes; shorten it, or name the members"
    if not RUN_NAME.fullmatch(name) or ".." in name or name.endswith((".yaml", ".yml")):
        return "use letters, digits, '.', '_', '+', '-', with '/' for folders, such as trials/first"
    return None
