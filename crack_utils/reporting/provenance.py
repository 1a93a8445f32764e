"""Where a run comes from: the rows at the foot of its pages."""

import contextlib
import os
import shlex
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from crack_utils.errors import UserError
from crack_utils.many import Member, read_members
from crack_utils.store import REPOSITORY, Run, changed_state, home, software, timestamp

NOT_RECORDED = "not recorded"


def rows(run: Run) -> dict[str, str]:
    """A run's provenance: title and text of each row, in order.

    A row says so if an earlier version did not record its value. A run without parameters has the row of its name only.
    """
    if not run.params.exists:
        return {"Run": run.name}
    params, kept = run.params.load(), run.provenance.load()
    training = kept.get("training")
    return {
        "Run": run.name,
        "Parameters hash": params.fingerprint(),
        "Data": _data(run),
        "Code": describe_code(training["code"]) if training else NOT_RECORDED,
        "Packages": _packages(training) if training else NOT_RECORDED,
        "Machine": f"{training['machine']}, {training['os']}" if training else NOT_RECORDED,
        "Device": run.params.resolved()["device"],
        "Precision": training["precision"] if training else NOT_RECORDED,
        "Seed": str(params.seed),
        "Started": _readable(training["started"]) if training else NOT_RECORDED,
        "Duration": _duration(training, run.is_trained) if training else NOT_RECORDED,
        "Evaluated": _evaluated(training, kept.get("evaluation")) if run.is_evaluated else "not yet",
        "To reproduce": command(run),
    }


def started(run: Run) -> str:
    """When a run's training began. Empty if an earlier version did not record the time."""
    training = run.provenance.load().get("training")
    return _readable(training["started"]) if training else ""


def comparison_rows(runs: Sequence[str]) -> dict[str, str]:
    """The rows of a page of many runs: what trained them, and what made the page. Values that all runs share stand once."""
    parameters, data, code = {}, {}, {}
    for run in map(Run, runs):
        training = run.provenance.load().get("training")
        parameters[run.name] = run.params.load().fingerprint()
        data[run.name] = _data(run)
        code[run.name] = describe_code(training["code"]) if training else NOT_RECORDED
    return {"Parameters hash": _by_run(parameters), "Data": _by_run(data), "Runs' code": _by_run(code), **here()}


def _by_run(texts: dict[str, str]) -> str:
    """The text if all runs have the same, otherwise a line for each text and its runs."""
    runs: dict[str, list[str]] = {}
    for name, text in texts.items():
        runs.setdefault(text, []).append(name)
    return "\n".join(f"{text}: {', '.join(names)}" for text, names in runs.items()) if len(runs) > 1 else "".join(runs)


def here() -> dict[str, str]:
    """The rows of what makes a page now: time, code, packages."""
    about = software()
    return {"Page made": _readable(timestamp()), "Code": describe_code(about["code"]), "Packages": _packages(about)}


def _data(run: Run) -> str:
    found = run.params.facts().get("fingerprint")
    return f"{found['files']} files, {found['bytes'] / 1e6:.1f} MB, sha256 {found['sha256'][:12]}" if found else NOT_RECORDED


def describe_code(code: dict[str, Any]) -> str:
    """Version and commit of the code."""
    commit = f"commit {code['commit'][:7]}" if code["commit"] else "commit not known"
    return f"crack-utils {code['version']}, {commit}" + (", with uncommitted changes" if code["dirty"] else "")


def _packages(about: dict[str, Any]) -> str:
    return ", ".join([f"Python {about['python']}", *(f"{name} {version}" for name, version in about["packages"].items())])


def _readable(time: str) -> str:
    return time.replace("T", " ").replace("Z", " UTC")


def _duration(training: dict[str, Any], is_trained: bool) -> str:
    text = f"{timedelta(seconds=round(training['duration_s']))} (h:mm:ss)"
    if training["sessions"] > 1:
        text += f" in {training['sessions']} sessions"
    if training["changed"]:
        text += f", not all with the same {', '.join(training['changed'])}"
    return text if is_trained else f"{text}, not finished"


def _evaluated(training: dict[str, Any] | None, evaluation: dict[str, Any] | None) -> str:
    if not evaluation:
        return NOT_RECORDED
    duration = timedelta(seconds=round(evaluation["duration_s"]))
    text = f"{_readable(evaluation['started'])} on {evaluation['device']} in {duration}"
    differing = changed_state(training, evaluation) if training else []
    return f"{text}, not with the training's {', '.join(differing)}" if differing else text


def command(run: Run) -> str:
    """The command that repeats a run from the repository.

    If a configuration in ``runs/`` holds exactly this run, the command names the configuration. Otherwise the command is papermill's;
    words in capitals stand for the reader's own folders.
    """
    params = run.params.load()
    for name in (run.name, os.path.dirname(run.name)):  # the runs of a sweep lie in a folder of the sweep's name
        for member in _members(f"runs/{name}.yaml"):
            if member.run == run and member.params == params:
                label = f" --member {shlex.quote(member.label)}" if member.label else ""
                return f"python -m crack_utils run runs/{name}.yaml{label}"
    words = ["papermill", "train.ipynb", "out.ipynb"]
    folders = {"data_root": "DATA_FOLDER", "negatives_root": "NEGATIVES_FOLDER"}
    for name, value in {"run_name": run.name, **params.given()}.items():
        value = folders.get(name, value)
        words += ["-r" if isinstance(value, str) and _papermill_converts(value) else "-p", name, str(value)]
    return f"cd notebooks && {shlex.join(words)}"


def _members(path: str) -> list[Member]:
    """The runs of a configuration. Empty if the file is missing or unreadable."""
    for folder in (home(), REPOSITORY):
        with contextlib.suppress(UserError, OSError):
            return read_members(folder / path)
    return []


def _papermill_converts(value: str) -> bool:
    """Whether papermill's -p turns a text into a number, a truth value or None. Its -r keeps the text."""
    with contextlib.suppress(ValueError):
        float(value)
        return True
    return value in ("True", "False", "None")
