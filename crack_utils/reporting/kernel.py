"""One notebook, executed by papermill in a kernel of its own, and how the execution ended."""

import concurrent.futures
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from crack_utils.config import kills_for_memory
from crack_utils.errors import Interrupted
from crack_utils.reporting.exporter import completed
from crack_utils.store import home

STOPPED = "{} was stopped"
EXITED = "{} did not finish: a cell called sys.exit({})"
ENDING_S = 60  # how long a kernel may save its work after it was told to end


class _StopRequested(Exception):
    """A signal came between two cells."""


class _Execution:
    """The kernel of one execution, and the signals that came meanwhile. A signal interrupts the kernel, which keeps its work."""

    def __init__(self):
        self.signals: list[int] = []
        self.kernel: subprocess.Popen | None = None
        self.killed_before = kills_for_memory()

    def manager(self) -> type[AsyncKernelManager]:
        """A kernel manager that starts this Python, whatever kernel a notebook was saved with, in the home folder.

        The folders among a run's parameters are relative to the home folder, so that a run stays whole when the home folder moves.
        """
        execution = self

        class Manager(AsyncKernelManager):
            kernel_spec = KernelSpec(**get_kernel_dict())

            async def start_kernel(self, **options: Any) -> None:
                place = home().resolve()
                place.mkdir(parents=True, exist_ok=True)
                await super().start_kernel(**options, cwd=str(place), env={**os.environ, "CRACK_HOME": str(place)})
                execution.kernel = self.provisioner.process

        return Manager

    @contextlib.contextmanager
    def forwarding(self) -> Iterator[None]:
        """Forward SIGINT and SIGTERM to the kernel, as an interrupt. Outside the main thread nothing is forwarded."""
        before = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        self.signals.append(number)
        self.interrupt()

    def interrupt(self) -> None:
        """Interrupt the kernel, if there is one."""
        if self.kernel is not None and self.kernel.poll() is None:
            self.kernel.send_signal(signal.SIGINT) if os.name == "posix" else self.kernel.kill()

    def before_cell(self, **_: Any) -> None:
        """End the execution if a signal came while no cell could be interrupted."""
        if self.signals:
            raise _StopRequested

    def end_of_kernel(self) -> str:
        """How the kernel ended, in words."""
        status = None if self.kernel is None else self.kernel.poll()
        if status == -signal.SIGKILL and kills_for_memory() > self.killed_before:
            return "the system killed its kernel because memory ran out"
        if status is not None and status < 0:
            hint = ", as the system does when memory runs out" if status == -signal.SIGKILL else ""
            return f"its kernel was killed by signal {-status}{hint}"
        return "its kernel ended" + ("" if status is None else f" with exit status {status}")


def execute_notebook(source: Path, target: Path, parameters: dict[str, Any], timeout_s: int | None) -> str | None:
    """Execute a notebook into ``target``. Printed lines appear at once.

    Returns why the notebook did not finish; None if the notebook finished. Raise Interrupted if a signal ended the execution.
    """
    execution = _Execution()
    with concurrent.futures.ThreadPoolExecutor(1) as pool, execution.forwarding():
        # In a thread: in the main thread a signal would break into papermill at any point, and papermill kills a kernel after seconds.
        future = pool.submit(_with_papermill, execution, source, target, parameters, timeout_s)
        while not concurrent.futures.wait([future], timeout=1).done:
            if len(execution.signals) == 1:
                execution.interrupt()  # once more, because a kernel between two cells takes no notice of an interrupt
                execution.signals *= 2
        reason = future.result()
    if execution.signals:
        is_told = reason and reason.startswith(STOPPED.format(source.name))
        raise Interrupted(reason if is_told else f"{STOPPED.format(source.name)} before it finished", execution.signals[0])
    return reason


def _with_papermill(execution: _Execution, source: Path, target: Path, parameters: dict[str, Any], timeout_s: int | None) -> str | None:
    with tempfile.TemporaryDirectory(prefix="kernel-", ignore_cleanup_errors=True) as folder:
        sockets = {"transport": "ipc", "ip": f"{folder}/socket"} if os.name == "posix" else {}  # files, no open ports
        config = Config(KernelManager={**sockets, "shutdown_wait_time": 2 * ENDING_S})
        kernel = {"kernel_name": "python3", "language": "python", "kernel_manager_class": execution.manager(), "config": config}
        options = {"execution_timeout": timeout_s, "on_cell_start": execution.before_cell, "autosave_cell_every": 10}
        try:
            papermill.execute_notebook(source, target, parameters, progress_bar=False, stdout_file=sys.stdout, **kernel, **options)
        except PapermillExecutionError as error:
            if error.ename in ("Interrupted", "KeyboardInterrupt"):
                return STOPPED.format(source.name) + (f": {error.evalue}" if error.evalue else " before it finished")
            if error.ename == "SystemExit":
                return EXITED.format(source.name, error.evalue)
            return f"{source.name} stopped. {error.ename}: {error.evalue}"
        except CellTimeoutError:
            return f"{source.name} did not finish: a cell took longer than {timeout_s} s"
        except (DeadKernelError, RuntimeError) as error:
            how = execution.end_of_kernel()
            return f"{source.name} did not finish: {how}" + ("" if isinstance(error, DeadKernelError) else f" ({error})")
        except _StopRequested:
            return f"{STOPPED.format(source.name)} before it finished"
        except OSError as error:
            return f"{source.name} stopped. {error}"
    notebook = nbformat.read(target, as_version=4)
    if completed(notebook):
        return None
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if output.get("ename") == "SystemExit":  # papermill takes an exit with status 0 for success
            return EXITED.format(source.name, output.evalue)
    return f"{source.name} did not finish: {execution.end_of_kernel()}"
