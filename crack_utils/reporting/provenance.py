"""Where a run comes from: the rows at the foot of its pages."""

import contextlib
import itertools
import os
import shlex
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from crack_utils.errors import UserError
from crack_utils.many import read_members
from crack_utils.store import SHIPPED, Run, changed_state, home, software, timestamp, trained_with

NOT_RECORDED = "not recorded"
TITLES = ("Run", "Parameters hash", "Data", "Code", "Packages", "Machine", "Device", "Precision", "Seed", "Started", "Duration")


def rows(run: Run) -> dict[str, str]:
    """A run's provenance: title and text of each row, in order. A run without parameters has the row of its name only."""
    return _about(run) | {"To reproduce": command(run)} if run.params.exists else {"Run": run.name}


def _about(run: Run) -> dict[str, str]:
    params, resolved, kept = run.params.load(), run.params.resolved(), run.provenance.load()
    data, training, evaluation = resolved["data"].get("fingerprint"), kept.get("training"), kept.get("evaluation")
    own_data = data["sha256"] if data and params.data_root else None  # the hash in the name of a run without a given name
    found = {"Run": run.name, "Parameters hash": params.fingerprint(own_data), "Device": resolved["device"], "Seed": str(params.seed)}
    if data:
        found["Data"] = f"{data['files']} files, {data['bytes'] / 1e6:.1f} MB, sha256 {data['sha256'][:12]}"
    if training:
        threads = f", {training['threads']} threads" if "threads" in training else ""
        found |= {"Code": describe_code(training["code"]), "Packages": _packages(training), "Precision": training["precision"]}
        together = f", {training['processes']} processes ({training['backend']})" if "processes" in training else ""
        found |= {"Machine": f"{training['machine']}{threads}{together}, {training['os']}", "Started": _readable(training["started"])}
        sessions, changed = training["sessions"], ", ".join(training["changed"])
        duration = f"{timedelta(seconds=round(training['duration_s']))} (h:mm:ss)" + (f" in {sessions} sessions" if sessions > 1 else "")
        duration += f", not all with the same {changed}" if changed else ""
        found["Duration"] = duration + ("" if run.is_trained else ", not finished")
    found["Evaluated"] = NOT_RECORDED if run.is_evaluated else "not yet"
    if run.is_evaluated and evaluation:
        duration, differing = timedelta(seconds=round(evaluation["duration_s"])), changed_state(training, evaluation) if training else []
        found["Evaluated"] = f"{_readable(evaluation['started'])} on {evaluation['device']} in {duration}"
        found["Evaluated"] += f", not with the training's {', '.join(differing)}" if differing else ""
    return dict.fromkeys(TITLES, NOT_RECORDED) | found


def started(run: Run) -> str:
    """When a run's training began. Empty if an earlier version did not record the time."""
    training = run.provenance.load().get("training")
    return _readable(training["started"]) if training else ""


def comparison_rows(runs: Sequence[str]) -> dict[str, str]:
    """The rows of a page of many runs: what trained them, and what made the page. Values that all runs share stand once."""
    found = {name: _about(Run(name)) for name in runs}

    def by_run(title: str) -> str:
        texts = list(dict.fromkeys(about[title] for about in found.values()))
        lines = [f"{text}: {', '.join(name for name, about in found.items() if about[title] == text)}" for text in texts]
        return "\n".join(lines if len(texts) > 1 else texts)

    return {"Parameters hash": by_run("Parameters hash"), "Data": by_run("Data"), "Runs' code": by_run("Code"), **here()}


def here() -> dict[str, str]:
    """The rows of what makes a page now: time, code, packages."""
    about = software()
    return {"Page made": _readable(timestamp()), "Code": describe_code(about["code"]), "Packages": _packages(about)}


def describe_code(code: dict[str, Any]) -> str:
    """Version and commit of the code."""
    commit = f"commit {code['commit'][:7]}" if code["commit"] else "commit not known"
    return f"crack-utils {code['version']}, {commit}" + (", with uncommitted changes" if code["dirty"] else "")


def _packages(about: dict[str, Any]) -> str:
    return ", ".join([f"Python {about['python']}", *(f"{name} {version}" for name, version in about["packages"].items())])


def _readable(time: str) -> str:
    return time.replace("T", " ").replace("Z", " UTC")


def command(run: Run) -> str:
    """The command that repeats a run from the repository.

    If a configuration in ``runs/`` holds exactly this run, the command names the configuration. Otherwise the command is papermill's;
    words in capitals stand for the reader's own folders. On a CPU, another number of threads gives other last digits.
    """
    params, threads = run.params.load(), trained_with(run)
    variable = f"OMP_NUM_THREADS={threads} " if threads and run.params.resolved()["device"] == "cpu" else ""
    for name, folder in itertools.product((run.name, os.path.dirname(run.name)), (home(), SHIPPED)):  # a sweep's runs lie in its folder
        with contextlib.suppress(UserError, OSError):  # no such file, or an unreadable one
            for member in read_members(folder / "runs" / f"{name}.yaml"):
                if member.run == run and member.params == params:
                    label = f" --member {shlex.quote(member.label)}" if member.label else ""
                    return f"{variable}python -m crack_utils run runs/{name}.yaml{label}"
    words = ["papermill", "train.ipynb", "out.ipynb"]
    folders = {"data_root": "DATA_FOLDER", "negatives_root": "NEGATIVES_FOLDER"}
    for name, value in {"run_name": run.name, **params.given()}.items():
        value = folders.get(name, value)
        words += ["-r" if isinstance(value, str) and _papermill_converts(value) else "-p", name, str(value)]
    return f"cd notebooks && {variable}{shlex.join(words)}"


def _papermill_converts(value: str) -> bool:
    """Whether papermill's -p turns a text into a number, a truth value or None. Its -r keeps the text."""
    with contextlib.suppress(ValueError):
        float(value)
        return True
    return value in ("True", "False", "None")
