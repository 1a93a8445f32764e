"""Errors whose message is all a user needs: what was wrong, which value or file, how to mend it."""


class UserError(ValueError):
    """Shown as one line: by the command line, and by notebooks, which print no traceback with it."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class ParameterError(UserError):
    """A run parameter that cannot be used."""


class DataError(UserError):
    """Data that cannot be used."""


class MissingRun(UserError):
    """A step that was asked for before the step it builds on."""


class NotebookFailed(UserError):
    """A notebook that did not come to its end. ``reason`` says why without the place of the executed copy."""

    def __init__(self, reason: str, copy: object):
        super().__init__(f"{reason} (executed copy: {copy})")
        self.reason = reason


class Interrupted(KeyboardInterrupt):
    """Work that was stopped, and that goes on from where it stopped. The message says where.

    ``signal`` is the number of the signal that stopped the work; 0 if a person stopped the work by a button.
    """

    def __init__(self, message: str, signal: int = 0):
        super().__init__(message)
        self.signal = int(signal)

    def _render_traceback_(self) -> list[str]:
        return [f"Stopped: {self}"]
