"""Where the program speaks: streams that were closed, that nobody reads, and that libraries would speak on as well.

This module is small, as the one that it serves.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, TextIO

# What a stream says that nobody reads any more, or whose disk is full.
_UNREAD = {
    errno.EPIPE,
    errno.EBADF,
    errno.ESHUTDOWN,
    errno.ECONNRESET,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
}


class Terminal:
    """Standard error, where what goes wrong is said in one sentence and nothing else is."""

    def __init__(self) -> None:
        self.number = 2

    def keep_from_libraries(self) -> None:
        """Keep standard error to this program, until the process ends.

        Libraries warn, log, or print from C of damaged files that are refused in words of our own, or read in spite of
        it. What they have to say is kept in one way for all of them: the number 2, on which they speak, leads nowhere,
        and only `sys.stderr` still leads to whoever reads it. With CORRELIGHT_DEBUG everything is shown.
        """
        if os.environ.get("CORRELIGHT_DEBUG"):
            return
        import logging
        import warnings

        warnings.simplefilter("ignore")
        logging.getLogger().addHandler(logging.NullHandler())
        sys.unraisablehook = lambda _: None
        sys.stderr.flush()
        self.number = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        spoken = open(self.number, "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1)  # noqa: SIM115
        sys.stderr = Forgiving(spoken)


def open_streams() -> None:
    """Lead streams that were closed nowhere, so that no file of ours takes the number that others print to."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


class Forgiving:
    """A stream that does not mind if nobody reads it; all files are complete before anything is said."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or seem to."""
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:
            # The name of a file may have letters that the terminal does not know.
            known = self._stream.encoding
            self.write(text.encode(known, "backslashreplace").decode(known))
            return len(text)
        except OSError as error:
            self._unread(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or seem to."""
        try:
            self._stream.flush()
        except OSError as error:
            self._unread(error)

    def _unread(self, error: OSError) -> None:
        if error.errno not in _UNREAD:
            raise error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
