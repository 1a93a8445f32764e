"""Execute the notebooks of one run with papermill, and render what came out."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellControlSignal, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from crack_utils import artifacts
from crack_utils.artifacts import REPOSITORY, Run
from crack_utils.config import RunParameters
from crack_utils.errors import NotebookFailed
from crack_utils.reporting.exporter import CrackReportExporter

NOTEBOOKS = {"explore": "Data", "train": "Training", "evaluate": "Evaluation", "visualize": "Examples", "report": "Report"}  # in order


@contextlib.contextmanager
def local_kernel_manager() -> Iterator[type[AsyncKernelManager]]:
    """Kernels that are talked to through files in a folder of their own instead of open ports, where the system has such files."""
    if os.name != "posix":
        yield AsyncKernelManager
        return
    with tempfile.TemporaryDirectory(prefix="kernel-", ignore_cleanup_errors=True) as folder:

        class LocalKernelManager(AsyncKernelManager):
            def __init__(self, **kwargs: Any):
                super().__init__(**{"transport": "ipc", "ip": str(Path(folder) / "socket")} | kwargs)

        yield LocalKernelManager


def execute(name: str, run: Run, parameters: dict[str, Any]) -> None:
    """Execute one notebook; its printed lines appear as they come, its executed copy is kept with the run.

    Raises:
        NotebookFailed: it raised, its kernel died, or not every cell was really executed.
    """
    source, copy = REPOSITORY / "notebooks" / f"{name}.ipynb", run.notebook(name)
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with local_kernel_manager() as kernel_manager_class:
            papermill.execute_notebook(
                source,
                copy,
                parameters=_known(name, parameters),
                progress_bar=False,
                stdout_file=sys.stdout,
                kernel_manager_class=kernel_manager_class,
                autosave_cell_every=10,
            )
    except PapermillExecutionError as error:
        raise NotebookFailed(f"{name}.ipynb stopped. {error.ename}: {error.evalue} (executed copy: {copy})") from None
    except (DeadKernelError, CellControlSignal) as error:
        raise NotebookFailed(f"{name}.ipynb stopped: {error} (executed copy: {copy})") from None
    if not completed(nbformat.read(copy, as_version=4)):
        raise NotebookFailed(f"{name}.ipynb did not run to its end: its kernel died or was stopped (executed copy: {copy})")


def completed(notebook: nbformat.NotebookNode) -> bool:
    """Whether every cell was really executed; papermill marks cells of a dead kernel as completed all the same."""
    about = notebook.metadata.get("papermill", {})
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    replied = all("shell.execute_reply" in cell.metadata.get("execution", {}) for cell in cells)
    return bool(about.get("end_time")) and about.get("exception") is not True and replied


def execute_all(params: RunParameters, run: Run, only_missing: bool = False) -> None:
    """Execute all notebooks of a run in order; train and evaluate show what is finished already.

    Args:
        only_missing: leave out those of which a whole executed copy is kept.
    """
    parameters = {**params.given(), "run_name": run.name}
    for number, name in enumerate(NOTEBOOKS, start=1):
        if only_missing and _is_kept(name, run, parameters):
            continue
        print(f"[{number}/{len(NOTEBOOKS)}] {name}", flush=True)
        execute(name, run, parameters)


def _is_kept(name: str, run: Run, parameters: dict[str, Any]) -> bool:
    """Whether the run keeps a whole executed copy of a notebook, of these parameters and not older than what it shows."""
    copy, shown = run.notebook(name), run.path("model.safetensors" if name in ("explore", "train") else "metrics.json")
    if not copy.is_file() or not shown.is_file():
        return False
    notebook = nbformat.read(copy, as_version=4)
    if name == "explore":  # shows the data, which its parameters name
        executed_with = notebook.metadata.get("papermill", {}).get("parameters")
        return completed(notebook) and executed_with == _known(name, parameters)
    return completed(notebook) and copy.stat().st_mtime_ns >= shown.stat().st_mtime_ns


def _known(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Those of the parameters that a notebook has."""
    known = papermill.inspect_notebook(str(REPOSITORY / "notebooks" / f"{name}.ipynb"))
    return {key: value for key, value in parameters.items() if key in known}


def render(run: Run) -> Path:
    """Render the executed notebooks of a run.

    Returns:
        The write-up, ``report/NAME/index.html``; a page for each other notebook lies beside it.
    """
    facts = run.load_facts()
    folder = artifacts.report_dir(run.name)
    for name, label in NOTEBOOKS.items():
        title = f"Results of training on {facts['title']}" if name == "report" else f"{label} · {run.name}"
        _write_page(run.notebook(name), title, _navigation(name), folder / _page(name))
    return folder / _page("report")


def compare(runs: list[str], name: str) -> Path:
    """Execute compare.ipynb on evaluated runs and render it.

    Returns:
        ``report/NAME/index.html``.
    """
    execute("compare", Run(name), {"runs": " ".join(runs), "page": name})
    page = artifacts.report_dir(name) / "index.html"
    _write_page(Run(name).notebook("compare"), f"Comparison of {len(runs)} runs · {name}", [], page)
    return page


def _write_page(executed: Path, title: str, pages: list[dict[str, Any]], target: Path) -> None:
    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata["title"] = title
    notebook.metadata["crack_report"] = {"pages": pages}
    with artifacts.written_whole(target) as scratch:
        scratch.write_text(to_html(notebook), encoding="utf-8")


def to_html(notebook: nbformat.NotebookNode) -> str:
    body, _ = CrackReportExporter().from_notebook_node(notebook)
    return body


def _navigation(current: str) -> list[dict[str, Any]]:
    """Links to a run's pages, the write-up first."""
    order = ["report", *(name for name in NOTEBOOKS if name != "report")]
    return [{"href": _page(name), "label": NOTEBOOKS[name], "current": name == current} for name in order]


def _page(name: str) -> str:
    return "index.html" if name == "report" else f"{name}.html"
