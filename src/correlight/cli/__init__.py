"""The command line: reads files, calls the road, writes a folder, and ends with a code that scripts can rely on.

0 accepted; 3 doubtful or refused; 2 wrong usage or unreadable input; 1 the machine failed; 130 interrupted. Whatever
goes wrong ends in one sentence on standard error and leaves nothing behind.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Sequence

import cyclopts
from cyclopts import App

from correlight import __version__
from correlight.cli.apply import apply
from correlight.cli.convert import convert
from correlight.cli.demo import demo
from correlight.cli.features import features
from correlight.cli.landmarks import landmarks
from correlight.cli.pair import pair
from correlight.cli.register import register
from correlight.cli.terminal import ACCEPTED, FAILED, INTERRUPTED, MISUSED
from correlight.errors import CorrelightError

# What a disk or a kernel says when it, and not the user, is at its end.
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE}

app = App(
    name="correlight",
    version=__version__,
    help="Lays images of one specimen from different microscopes on top of each other, and says how far to trust it.",
)
for command in (register, apply, convert, landmarks, features, pair, demo):
    app.command(command)


def _code(error: BaseException) -> int:
    """The exit code that an error stands for."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno in _MACHINE):
            return FAILED
        cause = cause.__cause__
    return MISUSED if isinstance(error, CorrelightError) else FAILED


def _fail(sentence: str, code: int) -> int:
    print(f"correlight: {' '.join(sentence.split())}", file=sys.stderr)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; never raises but for `SystemExit` by a signal.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the name of the program; those of the process by default.
    """
    outcome: object = ACCEPTED
    try:
        command, bound, _ = app.parse_args(
            sys.argv[1:] if argv is None else list(argv), print_error=False, exit_on_error=False
        )
        outcome = command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else ACCEPTED
    except BrokenPipeError:
        # Whoever read this, as `head` does, has seen enough; all files are complete before anything is said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return outcome if isinstance(outcome, int) else ACCEPTED
    except cyclopts.CycloptsError as error:
        one = re.sub(r"\.\s+([A-Z])", lambda start: f"; {start[1].lower()}", str(error)).rstrip(".?! ")
        return _fail(f"{one}; run 'correlight --help' to see what is expected.", MISUSED)
    except KeyboardInterrupt:
        return _fail("Interrupted; nothing was written.", INTERRUPTED)
    except CorrelightError as error:
        return _fail(str(error), _code(error))
    except MemoryError:
        return _fail("The memory of this machine does not suffice; close other programs or bin the images.", FAILED)
    except OSError as error:
        return _fail(f"The machine failed: {error.strerror or error}.", FAILED)
    except Exception as error:
        if os.environ.get("CORRELIGHT_DEBUG"):
            raise
        return _fail(
            f"Internal error, {type(error).__name__}: {error}; please report it, with what CORRELIGHT_DEBUG=1 shows.",
            FAILED,
        )
