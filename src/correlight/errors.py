"""The one exception tree: every error that correlight raises on purpose derives from `CorrelightError`.

A method that cannot find an answer does not raise; it returns a falsy failure with its reason (see
`correlight.registration.result`). Exceptions are for misuse and for files that cannot be read or written. Their message
is one sentence that says what was expected, what came, and what to do.
"""

from __future__ import annotations


class CorrelightError(Exception):
    """Root of the tree."""


class UsageError(CorrelightError, ValueError):
    """The call makes no sense as asked: an option out of range, a grid that does not fit its image."""


class NothingToChooseError(UsageError):
    """A part of a file was asked for, and the file does not hold several of the kind.

    Parameters
    ----------
    message : str
        The sentence.
    part : str
        What was asked for: "scene", "series", "time" or "view".
    """

    def __init__(self, message: str, part: str) -> None:
        super().__init__(message)
        self.part = part


class ReadError(CorrelightError, OSError):
    """A file is missing, truncated, of an unknown kind, or holds nothing that can be registered."""


class WriteError(CorrelightError, OSError):
    """The output cannot be written where it was asked for."""


class TransformError(CorrelightError, ValueError):
    """A transform cannot be built, inverted, or expressed in the format asked for."""


class Cancelled(CorrelightError):
    """Whoever follows the progress of the work has cancelled it."""
