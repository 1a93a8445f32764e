"""Where a run comes from, for the foot of its pages."""

import contextlib
import datetime
import os
import shlex
from collections.abc import Sequence
from typing import Any

from crack_utils.errors import UserError
from crack_utils.many.members import Member, read_members
from crack_utils.store import REPOSITORY, Run, changed_state, home, software, timestamp

NOT_RECORDED = "not recorded"


def rows(run: Run) -> dict[str, str]:
    """A run's provenance for the foot of a page: title and text of each row, in order.

    What a run of an earlier version did not record says so; a folder without parameters gives no more than its name.
    """
    about = {"Run": run.name}
    if not run.params.exists:
        return about
    params, kept = run.params.load(), run.provenance.load()
    training = kept.get("training")
    return {
        **about,
        "Parameters hash": params.fingerprint(),
        "Data": _data(run.params.facts().get("fingerprint")),
        "Code": _code(training["code"]) if training else NOT_RECORDED,
        "Packages": ", ".join(_versions(training)) if training else NOT_RECORDED,
        "Machine": f"{training['machine']}, {training['os']}" if training else NOT_RECORDED,
        "Device": run.params.resolved()["device"],
        "Precision": training["precision"] if training else NOT_RECORDED,
        "Seed": str(params.seed),
        "Started": _when(training["started"]) if training else NOT_RECORDED,
        "Duration": _duration(training, run.is_trained) if training else NOT_RECORDED,
        "Evaluated": _evaluated(training, kept.get("evaluation")) if run.is_evaluated else "not yet",
        "To reproduce": command(run),
    }


def started(run: Run) -> str:
    """When a run's training began, empty where that was not recorded."""
    training = run.provenance.load().get("training")
    return _when(training["started"]) if training else ""


def comparison_rows(runs: Sequence[str]) -> dict[str, str]:
    """The foot of a page of many runs: what trained them, said once where they have it in common, and what made the page."""
    parameters, data, code = {}, {}, {}
    for run in map(Run, runs):
        training = run.provenance.load().get("training")
        parameters[run.name] = run.params.load().fingerprint()
        data[run.name] = _data(run.params.facts().get("fingerprint"))
        code[run.name] = _code(training["code"]) if training else NOT_RECORDED
    return {"Parameters hash": _by_run(parameters), "Data": _by_run(data), "Runs' code": _by_run(code), **here()}


def _by_run(texts: dict[str, str]) -> str:
    """What is said of all runs, else a line for each text and the runs it is said of."""
    runs: dict[str, list[str]] = {}
    for name, text in texts.items():
        runs.setdefault(text, []).append(name)
    return "\n".join(f"{text}: {', '.join(names)}" for text, names in runs.items()) if len(runs) > 1 else "".join(runs)


def here() -> dict[str, str]:
    """What makes a page now: code, packages, time."""
    about = software()
    return {"Page made": _when(timestamp()), "Code": _code(about["code"]), "Packages": ", ".join(_versions(about))}


def _data(fingerprint: dict[str, Any] | None) -> str:
    if not fingerprint:
        return NOT_RECORDED
    return f"{fingerprint['files']} files, {fingerprint['bytes'] / 1e6:.1f} MB, sha256 {fingerprint['sha256'][:12]}"


def _code(code: dict[str, Any]) -> str:
    commit = f"commit {code['commit'][:7]}" if code["commit"] else "commit not known"
    return f"crack-utils {code['version']}, {commit}" + (", with uncommitted changes" if code["dirty"] else "")


def _versions(training: dict[str, Any]) -> list[str]:
    return [f"Python {training['python']}", *(f"{name} {version}" for name, version in training["packages"].items())]


def _when(started: str) -> str:
    return started.replace("T", " ").replace("Z", " UTC")


def _clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    return str(datetime.timedelta(seconds=round(seconds)))


def _duration(training: dict[str, Any], is_trained: bool) -> str:
    text = f"{_clock(training['duration_s'])} (h:mm:ss)"
    if training["sessions"] > 1:
        text += f" in {training['sessions']} sessions"
    if training["changed"]:
        text += f", not all with the same {', '.join(training['changed'])}"
    return text if is_trained else f"{text}, not finished"


def _evaluated(training: dict[str, Any] | None, evaluation: dict[str, Any] | None) -> str:
    if not evaluation:
        return NOT_RECORDED
    text = f"{_when(evaluation['started'])} on {evaluation['device']} in {_clock(evaluation['duration_s'])}"
    differing = changed_state(training, evaluation) if training else []
    return f"{text}, not with the training's {', '.join(differing)}" if differing else text


def command(run: Run) -> str:
    """The command that repeats a run, from the repository: by the configuration under ``runs/`` that holds exactly this run, if one
    does, else with papermill, where capitals stand for the reader's own folders."""
    params = run.params.load()
    for name in (run.name, os.path.dirname(run.name)):  # a sweep's members lie in a folder of its name
        for member in _members(f"runs/{name}.yaml"):
            if member.run == run and member.params == params:
                label = f" --member {shlex.quote(member.label)}" if member.label else ""
                return f"python -m crack_utils run runs/{name}.yaml{label}"
    words = ["papermill", "train.ipynb", "out.ipynb"]
    folders = {"data_root": "DATA_FOLDER", "negatives_root": "NEGATIVES_FOLDER"}
    for name, value in {"run_name": run.name, **params.given()}.items():
        value = folders.get(name, value)
        words += ["-r" if isinstance(value, str) and _is_no_text(value) else "-p", name, str(value)]
    return f"cd notebooks && {shlex.join(words)}"


def _members(path: str) -> list[Member]:
    """The runs of a configuration, none where it is missing or cannot be read."""
    for folder in (home(), REPOSITORY):
        with contextlib.suppress(UserError, OSError):
            return read_members(folder / path)
    return []


def _is_no_text(value: str) -> bool:
    """Whether papermill's -p takes a text for something else, which its -r does not."""
    with contextlib.suppress(ValueError):
        float(value)
        return True
    return value in ("True", "False", "None")
