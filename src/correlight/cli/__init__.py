"""The command line: reads files, registers them, writes a folder, and ends with a code that scripts can rely on.

0 accepted; 3 doubtful or refused; 2 wrong usage or unreadable input; 1 the machine failed; 128 and the number of the
signal (129, 130, 143) when it was stopped. Whatever goes wrong ends in one sentence on standard error and leaves
nothing behind. This module is small, so that an interruption finds it ready to answer before the rest is loaded.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

from correlight.cli.streams import Forgiving, Terminal, open_streams

__all__ = ["main"]

_WORDS = {"SIGINT": "Interrupted", "SIGTERM": "Terminated", "SIGHUP": "Hung up"}
# Seconds after a signal in which further ones are not heard, because what the first one began is still going on.
_PATIENCE = 3.0


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the name of the program; those of the process by default.
    """
    open_streams()
    _noted("target", "WRITTEN").clear()
    _noted("target", "KEPT").clear()
    terminal = Terminal()
    if argv is None:
        terminal.keep_from_libraries()
    stdout, before = sys.stdout, _hear(_on_signal(terminal))
    sys.stdout = Forgiving(stdout)
    try:
        from correlight.cli.program import run

        return run(argv)
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        if argv is None:
            _leave_nothing()
        print(_sentence(number), file=sys.stderr)
        return 128 + number
    finally:
        sys.stdout = stdout
        for name, handler in before.items():
            # A process that is about to end anyway is not stopped once more.
            signal.signal(name, signal.SIG_IGN if argv is None else handler)


def _hear(handler: Any) -> dict[signal.Signals, Any]:
    """Install a handler for the signals that end a process, and return those that were there before."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is not threading.main_thread():
        return before
    for name in _WORDS:
        number = getattr(signal, name, None)
        # Who started this under nohup, or in the background of a script, wants the signal ignored.
        if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, handler)
    return before


def _on_signal(terminal: Terminal) -> Any:
    heard: list[float] = []

    def handler(number: int, frame: FrameType | None) -> None:
        if _noted("target", "PLACING"):
            return  # it ends by itself within moments
        now = time.monotonic()
        if heard and now - heard[-1] <= _PATIENCE:
            return
        heard.append(now)
        if not _noted("claim", "CLAIMED"):
            # Nothing is to be cleaned up, and an exception could be lost, or shown, in the middle of an import.
            os.write(terminal.number, f"{_sentence(number)}\n".encode())
            os._exit(128 + number)
        raise Stopped(number)

    return handler


def _noted(room: str, name: str) -> list[Any]:
    """What a module that writes has in one of its lists, if it was loaded at all."""
    noted: list[Any] = getattr(sys.modules.get(f"correlight.output.{room}"), name, [])
    return noted


def _leave_nothing() -> None:
    """Clean up what the blocks that were interrupted could not."""
    claim = sys.modules.get("correlight.output.claim")
    if claim is not None:
        claim.leave_nothing()


def _sentence(number: int) -> str:
    written, kept = _noted("target", "WRITTEN"), _noted("target", "KEPT")
    what = f"{written[-1]} was complete" if written else "nothing was written"
    what = kept[-1] if kept else what
    return f"correlight: {_WORDS[signal.Signals(number).name]}; {what}."
