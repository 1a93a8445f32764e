"""Execute notebooks with papermill: all notebooks of one run, or a comparison of many runs."""

import contextlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import nbformat
from papermill.translators import PythonTranslator

from crack_utils.config import RunParameters
from crack_utils.errors import Interrupted, NotebookFailed, UserError
from crack_utils.reporting.exporter import completed
from crack_utils.reporting.kernel import execute_notebook
from crack_utils.reporting.pages import NOTEBOOKS, render, write_comparison, write_index
from crack_utils.store import SHIPPED, Run, claimed, portable, refuse_claimed

NOTEBOOK_FOLDER = SHIPPED / "notebooks"


def execute(name: str, run: Run, parameters: dict[str, Any], timeout_s: int | None = None, folder: Path = NOTEBOOK_FOLDER) -> None:
    """Execute a notebook with those of the parameters that the notebook has. Printed lines appear at once; the run keeps the copy.

    Raises:
        NotebookFailed: a cell raised an error or took longer than ``timeout_s``, the kernel died, or not every cell was really executed.
            The executed copy holds the reason, unless the run keeps a whole copy from before.
    """
    copy, scratch = run.notebook(name), run.notebook(f".{name}")
    copy.parent.mkdir(parents=True, exist_ok=True)
    source, error = folder / f"{name}.ipynb", None
    try:
        reason = execute_notebook(source, scratch, _known(source, parameters), timeout_s)
    except Interrupted as stop:
        reason, error = str(stop), stop
    if reason is None:
        os.replace(scratch, copy)
        return
    if is_kept(name, run, parameters, folder):
        scratch.unlink(missing_ok=True)
    elif scratch.is_file():
        with contextlib.suppress(OSError, ValueError):  # a full disk; the reason matters more
            notebook = nbformat.read(scratch, as_version=4)
            notebook.metadata["crack_report"] = {"failure": f"{reason}."}
            nbformat.write(notebook, scratch)
            os.replace(scratch, copy)
    raise error or NotebookFailed(reason, copy)


def execute_and_render(
    params: RunParameters, run: Run, only_missing: bool = False, timeout_s: int | None = None, folder: Path = NOTEBOOK_FOLDER
) -> Path:
    """Execute the notebooks of a run in order and render its pages in any case. Returns the write-up, ``report/NAME/index.html``.

    The notebooks train and evaluate only show what is finished already. After a notebook has failed, the later notebooks are executed
    only if they do not need its results; the first NotebookFailed is raised after the pages were rendered. ``only_missing`` skips the
    notebooks whose whole executed copy the run keeps.
    """
    refuse_claimed(run, "training")
    try:
        with claimed(run, "pages"):
            page = _execute_and_render(params, run, only_missing, timeout_s, folder)
    except BaseException:
        with contextlib.suppress(OSError, UserError):  # a full disk; the error itself matters more
            write_index()
        raise
    write_index()  # only now, because the list shows the state in which the run ended
    return page


def _execute_and_render(params: RunParameters, run: Run, only_missing: bool, timeout_s: int | None, folder: Path) -> Path:
    parameters = {**portable(params.given()), "run_name": run.name}
    if only_missing and run.is_evaluated:
        parameters["changed_data"] = True  # nothing is left to compute, so the notebooks show the results of the former files
    failed: dict[str, BaseException] = {}
    for number, name in enumerate(NOTEBOOKS, start=1):
        if only_missing and is_kept(name, run, parameters, folder):
            continue
        print(f"[{number}/{len(NOTEBOOKS)}] {name}", flush=True)
        try:
            execute(name, run, parameters, timeout_s, folder)
        except (NotebookFailed, Interrupted) as error:
            failed[name] = error
            goes_on = run.is_trained if name in ("explore", "train") else run.is_evaluated
            if isinstance(error, Interrupted) or not goes_on:
                break
    shown = [name for name in NOTEBOOKS if (name in failed and run.notebook(name).is_file()) or is_kept(name, run, parameters, folder)]
    if not failed:
        return render(run, shown)
    error = next(iter(failed.values()))
    reason = error.reason if isinstance(error, NotebookFailed) else str(error)
    print(f"Report of the finished steps: {render(run, shown, f'{reason}.')}", flush=True)
    raise error


def is_kept(name: str, run: Run, parameters: dict[str, Any], folder: Path = NOTEBOOK_FOLDER) -> bool:
    """Whether the run keeps a whole executed copy of the notebook as it is now, with its present results or, of explore, parameters."""
    source, copy = folder / f"{name}.ipynb", run.notebook(name)
    try:
        notebook = nbformat.read(copy, as_version=4)
    except (FileNotFoundError, ValueError):  # no copy, or a damaged copy
        return False
    if not completed(notebook) or "crack_report" in notebook.metadata or _cells(notebook) != _cells(nbformat.read(source, as_version=4)):
        return False
    if name == "explore":
        return notebook.metadata["papermill"].get("parameters") == _known(source, parameters)
    results = run.model if name == "train" else run.metrics
    return results.exists and copy.stat().st_mtime_ns >= results.path.stat().st_mtime_ns


def _cells(notebook: nbformat.NotebookNode) -> list[str]:
    """The sources of a notebook's cells, without the cell that papermill added."""
    return [cell.source for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]


def _known(source: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    """Keep only the parameters that the notebook declares, whatever kernel the notebook was saved with."""
    cells = nbformat.read(source, as_version=4).cells
    found = [PythonTranslator.inspect(cell) for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    known = {parameter.name for parameters in found[:1] for parameter in parameters}
    return {key: value for key, value in parameters.items() if key in known}


def compare(runs: list[str], name: str, missing: Collection[str] = ()) -> Path:
    """Execute compare.ipynb on evaluated runs and render ``report/NAME/index.html``, even if the notebook failed (NotebookFailed)."""
    with claimed(Run(name), "pages"):
        return _compare(runs, name, missing)


def _compare(runs: list[str], name: str, missing: Collection[str]) -> Path:
    try:
        execute("compare", Run(name), {"runs": " ".join(runs), "page": name, "missing": " ".join(missing)})
    except NotebookFailed:
        write_comparison(runs, name)
        raise
    return write_comparison(runs, name)
