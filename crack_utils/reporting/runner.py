"""Execute notebooks with papermill: all of one run, or a comparison of many."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from crack_utils.config import RunParameters
from crack_utils.errors import NotebookFailed
from crack_utils.reporting.executed import completed
from crack_utils.reporting.pages import NOTEBOOKS, render, write_comparison
from crack_utils.store import REPOSITORY, Run


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
    scratch = copy.with_name(f".{copy.name}")
    copy.parent.mkdir(parents=True, exist_ok=True)
    reason = None
    try:
        with local_kernel_manager() as kernel_manager_class:
            papermill.execute_notebook(
                source,
                scratch,
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
        _keep_failed(scratch, name, run, parameters, f"{name}.ipynb was stopped before its end")
        raise
    if reason is None and not completed(nbformat.read(scratch, as_version=4)):
        reason = f"{name}.ipynb did not run to its end: its kernel died or was stopped"
    if reason:
        _keep_failed(scratch, name, run, parameters, reason)
        raise NotebookFailed(f"{reason} (executed copy: {copy})")
    os.replace(scratch, copy)


def _keep_failed(scratch: Path, name: str, run: Run, parameters: dict[str, Any], reason: str) -> None:
    """Make what was executed the run's copy, with the reason for the page it becomes; a whole copy from before stays instead."""
    if not scratch.is_file():
        return
    if _is_kept(name, run, parameters):
        scratch.unlink()
        return
    notebook = nbformat.read(scratch, as_version=4)
    notebook.metadata["crack_report"] = {"failure": f"{reason}."}
    nbformat.write(notebook, scratch)
    os.replace(scratch, run.notebook(name))


def execute_and_render(params: RunParameters, run: Run, only_missing: bool = False, timeout_s: int | None = None) -> Path:
    """Execute all notebooks of a run in order and render its pages; train and evaluate show what is finished already.

    What was finished is rendered whatever happens. A notebook that fails ends the rest only where these build on it.

    Args:
        only_missing: leave out those of which a whole executed copy is kept.
        timeout_s: how long a cell may take.

    Returns:
        The write-up, ``report/NAME/index.html``.

    Raises:
        NotebookFailed: the first that failed, after the pages were rendered.
    """
    parameters = {**params.given(), "run_name": run.name}
    failed: dict[str, BaseException] = {}
    for number, name in enumerate(NOTEBOOKS, start=1):
        if only_missing and _is_kept(name, run, parameters):
            continue
        print(f"[{number}/{len(NOTEBOOKS)}] {name}", flush=True)
        try:
            execute(name, run, parameters, timeout_s)
        except (NotebookFailed, KeyboardInterrupt) as error:
            failed[name] = error
            is_needed = not (run.is_trained if name in ("explore", "train") else run.is_evaluated)
            if is_needed or isinstance(error, KeyboardInterrupt):
                break
    shown = [name for name in NOTEBOOKS if (name in failed and run.notebook(name).is_file()) or _is_kept(name, run, parameters)]
    if not failed:
        return render(run, shown)
    name, error = next(iter(failed.items()))
    reason = str(error).split(" (executed copy")[0] or f"{name}.ipynb was stopped before its end"
    print(f"Report of what was finished: {render(run, shown, f'{reason}.')}", flush=True)
    raise error


def _is_kept(name: str, run: Run, parameters: dict[str, Any]) -> bool:
    """Whether the run keeps a whole executed copy of a notebook as it is now, of these parameters, not older than what it shows."""
    copy, shown = run.notebook(name), run.path("model.safetensors" if name in ("explore", "train") else "metrics.json")
    try:
        notebook = nbformat.read(copy, as_version=4)
    except (FileNotFoundError, ValueError):  # none, or a damaged one
        return False
    source = nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", as_version=4)
    if not completed(notebook) or "crack_report" in notebook.metadata or _cells(notebook) != _cells(source):
        return False
    if name == "explore":  # shows the data, which its parameters name
        return notebook.metadata["papermill"].get("parameters") == _known(name, parameters)
    return shown.is_file() and copy.stat().st_mtime_ns >= shown.stat().st_mtime_ns


def _cells(notebook: nbformat.NotebookNode) -> list[str]:
    """The sources of a notebook's cells, without what papermill added."""
    return [cell.source for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]


def _known(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Those of the parameters that a notebook has."""
    known = papermill.inspect_notebook(str(REPOSITORY / "notebooks" / f"{name}.ipynb"))
    return {key: value for key, value in parameters.items() if key in known}


def compare(runs: list[str], name: str, missing: Collection[str] = ()) -> Path:
    """Execute compare.ipynb on evaluated runs and render it to ``report/NAME/index.html``, also if it failed.

    Args:
        missing: members of a sweep that belong there, but are not finished.

    Raises:
        NotebookFailed: see :func:`execute`; the page says why.
    """
    try:
        execute("compare", Run(name), {"runs": " ".join(runs), "page": name, "missing": " ".join(missing)})
    except NotebookFailed:
        write_comparison(runs, name)
        raise
    return write_comparison(runs, name)
