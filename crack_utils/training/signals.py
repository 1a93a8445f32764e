"""SIGINT (Ctrl-C, the interrupt of a notebook) and SIGTERM (a cluster's stop), noted until the training can stop without a loss."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Self

from crack_utils.errors import Interrupted

PATIENCE_S = 3  # papermill sends a second signal right after the first one; a person presses Ctrl-C again only later


class StopSignals:
    """Notes the signals while the block runs; the handlers from before come back afterwards. Outside the main thread nothing is noted.

    A person who sends a second signal after a few seconds does not want to wait: the second signal ends the work at once.
    """

    def __init__(self):
        self.number = 0  # of the first signal
        self._at_once: BaseException | None = None
        self._noted_at, self._before = 0.0, {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @contextlib.contextmanager
    def raising(self, error: BaseException) -> Iterator[None]:
        """In this block a signal raises the error at once, because the block changes no state."""
        if self.number:
            raise error
        self._at_once = error
        try:
            yield
        finally:
            self._at_once = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        is_impatient = self.number and time.monotonic() - self._noted_at > PATIENCE_S
        if not self.number:
            self.number, self._noted_at = number, time.monotonic()
        if is_impatient:
            raise Interrupted("stopped at once; the last checkpoint is kept", number)
        if error := self._at_once:
            self._at_once = None
            raise error
