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
    """A notebook that did not come to its end."""
