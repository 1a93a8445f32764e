"""Execute notebooks with papermill: all of one run, or a comparison of many."""

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
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from crack_utils.artifacts import REPOSITORY, Run
from crack_utils.config import RunParameters
from crack_utils.errors import NotebookFailed
from crack_utils.reporting import pages
from crack_utils.reporting.exporter import completed


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


def execute(name: str, run: Run, parameters: dict[str, Any], timeout_s: int | None = None) -> None:
    """Execute one notebook; its printed lines appear as they come, its executed copy is kept with the run.

    Args:
        timeout_s: how long a cell may take.

    Raises:
        NotebookFailed: it raised, its kernel died, a cell took too long, or not every cell was really executed. The copy says so too.
    """
    source, copy = REPOSITORY / "notebooks" / f"{name}.ipynb", run.notebook(name)
    copy.parent.mkdir(parents=True, exist_ok=True)
    reason = None
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
                execution_timeout=timeout_s,
            )
    except PapermillExecutionError as error:
        reason = f"{name}.ipynb stopped. {error.ename}: {error.evalue}"
    except DeadKernelError:
        reason = f"{name}.ipynb did not come to its end: its kernel died, as when memory runs out"
    except CellTimeoutError:
        reason = f"{name}.ipynb did not come to its end: a cell took longer than {timeout_s} s"
    except KeyboardInterrupt:
        _note_failure(copy, f"{name}.ipynb was stopped from the keyboard")
        raise
    if reason is None and not completed(nbformat.read(copy, as_version=4)):
        reason = f"{name}.ipynb did not run to its end: its kernel died or was stopped"
    if reason:
        _note_failure(copy, reason)
        raise NotebookFailed(f"{reason} (executed copy: {copy})")


def _note_failure(copy: Path, reason: str) -> None:
    """Write into an executed copy why it ends early, for the page it becomes."""
    if copy.is_file():
        notebook = nbformat.read(copy, as_version=4)
        notebook.metadata["crack_report"] = {"failure": f"{reason}."}
        nbformat.write(notebook, copy)


def execute_and_render(params: RunParameters, run: Run, only_missing: bool = False, timeout_s: int | None = None) -> Path:
    """Execute all notebooks of a run in order and render its pages; what was finished is rendered whatever happens.

    Returns:
        The write-up, ``report/NAME/index.html``.
    """
    started: list[str] = []
    try:
        execute_all(params, run, only_missing, timeout_s, started)
    except (NotebookFailed, KeyboardInterrupt) as error:
        failed = started[-1]
        shown = [name for name in pages.NOTEBOOKS if name in started and run.notebook(name).is_file()]
        reason = str(error).split(" (executed copy")[0] or f"{failed}.ipynb was stopped from the keyboard"
        page = pages.render(run, shown, f"{reason}.")
        print(f"Report of what was finished: {page}", flush=True)
        raise
    return pages.render(run)


def execute_all(
    params: RunParameters, run: Run, only_missing: bool = False, timeout_s: int | None = None, started: list[str] | None = None
) -> None:
    """Execute all notebooks of a run in order; train and evaluate show what is finished already.

    Args:
        only_missing: leave out those of which a whole executed copy is kept.
        timeout_s: how long a cell may take.
        started: gets the names of the notebooks as their turn comes.
    """
    parameters = {**params.given(), "run_name": run.name}
    for number, name in enumerate(pages.NOTEBOOKS, start=1):
        if started is not None:
            started.append(name)
        if only_missing and _is_kept(name, run, parameters):
            continue
        print(f"[{number}/{len(pages.NOTEBOOKS)}] {name}", flush=True)
        execute(name, run, parameters, timeout_s)


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


def compare(runs: list[str], name: str) -> Path:
    """Execute compare.ipynb on evaluated runs and render it to ``report/NAME/index.html``."""
    execute("compare", Run(name), {"runs": " ".join(runs), "page": name})
    return pages.write_comparison(runs, name)
