"""What went wrong in one sentence, and whether the user or the machine is to blame; for commands and batches alike."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Literal

from correlight.errors import CorrelightError, ReadError

# What a disk, a network or a kernel says when it, and not the user, is at its end.
_FULL = {errno.ENOSPC, errno.EDQUOT}
_MACHINE = {*_FULL, errno.EFBIG, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ECONNRESET}
_NO_MEMORY = "The memory of this machine does not suffice; close other programs or bin the images."

Kind = Literal["misuse", "machine", "memory", "disk full", "internal"]


@dataclass(frozen=True, slots=True)
class Failure:
    """What is said of an error.

    Parameters
    ----------
    sentence : str
        One sentence.
    kind : {"misuse", "machine", "memory", "disk full", "internal"}
        Misuse is what the user can mend: options, or files that cannot be read. Internal is what should not happen.
    """

    sentence: str
    kind: Kind


def failure_of(error: Exception) -> Failure:
    """What is said of an error, whatever it is."""
    kind = _kind(error)
    if isinstance(error, CorrelightError):
        return Failure(str(error), kind)
    if isinstance(error, MemoryError):
        return Failure(_NO_MEMORY, "memory")
    if isinstance(error, OSError):
        if error.filename is not None and error.errno not in _MACHINE:
            named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else error.filename
            sentence = f"{named} cannot be used ({error.strerror}); check the file and its permissions."
            return Failure(sentence, "misuse")
        return Failure(f"The machine failed: {error.strerror or error}.", kind)
    # So says the loader of a library for which there is no room.
    if isinstance(error, ImportError) and ("map segment" in str(error) or "allocate memory" in str(error)):
        return Failure(_NO_MEMORY, "memory")
    return Failure(
        f"Internal error, {type(error).__name__}: {error}; please report it, with what CORRELIGHT_DEBUG=1 shows.",
        "internal",
    )


def _kind(error: BaseException) -> Kind:
    """Whose failure it is, by the error or what it came from."""
    cause: BaseException | None = error
    while cause is not None:
        short = isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        # A file that asks for more memory than there is may lie about its size.
        if short and not isinstance(error, ReadError):
            return "memory"
        if isinstance(cause, OSError) and cause.errno in _MACHINE and not short:
            return "disk full" if cause.errno in _FULL else "machine"
        cause = cause.__cause__
    return "misuse" if isinstance(error, CorrelightError) else "machine"
