"""What the runner, the page, status.json and the exit status say about a notebook that did not come to its end."""

import html
import itertools
import json
import os
import signal
import subprocess
import sys

import nbformat
import pytest
from conftest import REPOSITORY
from test_runner import notebook_file

from crack_utils.config import parse_parameters
from crack_utils.errors import NotebookFailed
from crack_utils.reporting import kernel
from crack_utils.reporting.exporter import completed
from crack_utils.reporting.runner import execute, execute_and_render
from crack_utils.store import Run, is_claimed, load_status

pytestmark = pytest.mark.slow
SIGKILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
ENDINGS = {  # by what a cell does
    SIGKILL: "explore.ipynb did not finish: its kernel was killed by signal 9, as the system does when memory runs out",
    "import os; os._exit(3)": "explore.ipynb did not finish: its kernel ended with exit status 3",
    "import os; os._exit(0)": "explore.ipynb did not finish: its kernel ended with exit status 0",
    "import time; time.sleep(60)": "explore.ipynb did not finish: a cell took longer than 2 s",
    "import sys; sys.exit(0)": "explore.ipynb did not finish: a cell called sys.exit(0)",
    "import sys; sys.exit(2)": "explore.ipynb did not finish: a cell called sys.exit(2)",
    "raise ValueError('no such thing')": "explore.ipynb stopped. ValueError: no such thing",
}


def check_ending(run, folder, reason, state):
    """The page, the list of runs, and status.json give the reason; no lock is held."""
    for page in ("index", "explore"):
        text = (folder / "report" / run.name / f"{page}.html").read_text(encoding="utf-8")
        assert f"<strong>Not finished.</strong> {html.escape(reason, quote=False)}." in text
    status = run.status.load()
    assert (status["state"], status["step"], status["reason"]) == (state, "pages", reason)
    assert load_status(run).label == f"{state}: {reason}"
    assert not is_claimed(run)


@pytest.mark.parametrize("source", ENDINGS)
def test_the_message_the_page_and_the_state_say_how_a_kernel_ended(home, tmp_path, source, capfd):
    notebook_file(tmp_path, "explore", f"print('before'); {source}", "print('after')")
    run = Run("a")
    with pytest.raises(NotebookFailed) as caught:
        execute_and_render(parse_parameters({}), run, timeout_s=2, folder=tmp_path / "notebooks")
    assert str(caught.value) == f"{ENDINGS[source]} (executed copy: {run.notebook('explore')})"
    assert "after\n" not in capfd.readouterr().out
    check_ending(run, home, ENDINGS[source], "failed")


def test_a_kernel_that_the_system_killed_for_memory_is_said_to_be_that(home, tmp_path, monkeypatch):
    monkeypatch.setattr(kernel, "kills_for_memory", itertools.count(7).__next__)
    notebook_file(tmp_path, "explore", SIGKILL)
    with pytest.raises(NotebookFailed, match="did not finish: the system killed its kernel because memory ran out"):
        execute_and_render(parse_parameters({}), Run("a"), folder=tmp_path / "notebooks")
    check_ending(Run("a"), home, "explore.ipynb did not finish: the system killed its kernel because memory ran out", "failed")


def test_a_kernel_that_ended_by_itself_was_not_killed_for_memory(home, tmp_path, monkeypatch):
    monkeypatch.setattr(kernel, "kills_for_memory", itertools.count(7).__next__)
    notebook_file(tmp_path, "explore", "import os; os._exit(1)")
    with pytest.raises(NotebookFailed, match=r"did not finish: its kernel ended with exit status 1 \("):
        execute("explore", Run("a"), {}, folder=tmp_path / "notebooks")


@pytest.mark.parametrize(
    "kernelspec",
    [
        {"name": "no-such-kernel", "display_name": "Gone", "language": "python"},
        {"name": "ir", "display_name": "R", "language": "R"},
        {"name": "venv", "display_name": "an environment"},
        None,
    ],
)
def test_a_notebook_runs_whatever_kernel_it_was_saved_with(home, tmp_path, kernelspec, capfd):
    notebook_file(tmp_path, "explore", "print('run', run_name)")
    path = tmp_path / "notebooks" / "explore.ipynb"
    notebook = nbformat.read(path, as_version=4)
    del notebook.metadata["kernelspec"]
    notebook.metadata |= {"kernelspec": kernelspec} if kernelspec else {}
    nbformat.write(notebook, path)
    execute("explore", Run("a"), {"run_name": "a"}, folder=tmp_path / "notebooks")
    assert capfd.readouterr().out == "run a\n"
    assert completed(nbformat.read(Run("a").notebook("explore"), as_version=4))


# --- signals: the command line in a process of its own

PROGRAM = """
import signal, sys, time
from pathlib import Path
from crack_utils import __main__ as program
from crack_utils.reporting import kernel, runner

def render(*given, whole=runner.render):
    print("rendering", flush=True)
    time.sleep(float(sys.argv[3]))
    return whole(*given)

def with_papermill(*given, whole=kernel._with_papermill):
    print("starting", flush=True)
    time.sleep(1)
    return whole(*given)

execute_and_render, runner.render, kernel._with_papermill = runner.execute_and_render, render, with_papermill
runner.execute_and_render = lambda *given: execute_and_render(*given, folder=Path(sys.argv[1]))
signal.signal(signal.SIGTERM, program._terminate)
sys.exit(program.main(["run", sys.argv[2]]))
"""
IGNORES = "import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN); os.kill(os.getppid(), signal.SIGTERM)"
WAITS = "import time; print('ready', flush=True); time.sleep(60)"
STOPS = {  # a signal at the line that the command prints: what the notebook does
    "before the kernel has started": (signal.SIGTERM, "starting", "print('never')"),
    "in a cell": (signal.SIGTERM, "ready", WAITS),
    "in a cell, by Ctrl-C": (signal.SIGINT, "ready", WAITS),
    "between two cells": (signal.SIGTERM, None, IGNORES),  # the kernel takes no notice
}


def command(home, tmp_path, *sources, render_s=0.0):
    """The command ``run`` with a notebook of these cells in the place of explore.ipynb."""
    notebook_file(tmp_path, "explore", *sources)
    (home / "runs" / "a.yaml").write_text("dataset: sample\n")
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "notebooks"), str(home / "runs" / "a.yaml"), str(render_s)]
    return subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_until(process, line):
    """Read what the command prints up to this line."""
    assert any(each.strip() == line for each in process.stdout), process.stderr.read()


@pytest.mark.parametrize("moment", STOPS)
def test_a_signal_stops_the_command_wherever_it_is(home, tmp_path, moment):
    number, line, source = STOPS[moment]
    process = command(home, tmp_path, source, "print('never')")
    if line:
        read_until(process, line)
        process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    reason = "explore.ipynb was stopped before it finished"
    assert err.splitlines()[-1] == f"{reason}; the same command continues from there"
    assert "never\n" not in out
    check_ending(Run("a"), home, reason, "interrupted")


def test_a_signal_while_pages_are_rendered_stops_the_command(home, tmp_path):
    process = command(home, tmp_path, "raise ValueError('no such thing')", render_s=60)
    read_until(process, "rendering")
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143
    assert err.splitlines()[-1] == "stopped; the same command continues from there"
    assert json.loads(Run("a").status.path.read_text())["state"] == "interrupted"
    assert not is_claimed(Run("a"))


def test_a_stopped_training_says_in_the_command_where_it_stands(home, tmp_path):
    stops = "from crack_utils.errors import Interrupted; raise Interrupted('stopped in epoch 2 of 3 after 4 of 6 images', 2)"
    process = command(home, tmp_path, f"print('ready', flush=True)\nimport time\ntry: time.sleep(60)\nfinally: exec({stops!r})")
    read_until(process, "ready")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143
    reason = "explore.ipynb was stopped: stopped in epoch 2 of 3 after 4 of 6 images"
    assert err.splitlines()[-1] == f"{reason}; the same command continues from there"
    check_ending(Run("a"), home, reason, "interrupted")
