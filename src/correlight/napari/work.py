"""Long work beside the window: in a thread of its own, with its progress shown, and stopped when that is asked for.

What goes wrong ends in one sentence. What nobody foresaw is written into a file first, which the sentence names.
"""

from __future__ import annotations

import gc
import logging
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari.qt.threading import create_worker
from qtpy.QtCore import QCoreApplication, QObject, Signal

from correlight.appearance.descriptor import shipped
from correlight.errors import Cancelled, CorrelightError

LOG = Path(tempfile.gettempdir()) / "correlight-napari.log"

# Seconds after which a thread must let others have the interpreter, while there is work beside the window.
_TURN = 0.001

# Reports that follow each other faster than this many seconds are left out, for nobody could read them.
_QUICKEST = 0.05


class _Room:
    """Lets the window go on while other threads compute: all share one interpreter, which one of them has at a time."""

    def __init__(self) -> None:
        self._jobs, self._turn, self._frozen = 0, 0.0, False

    def enter(self) -> None:
        """Work begins.

        The window waits for the interpreter after every call of Qt, as long as each busy thread may keep it. The
        garbage collector stops all threads while it looks at everything there is, which takes long in napari; what was
        there before the work is left to it until later.
        """
        if self._jobs == 0:
            self._turn, self._frozen = sys.getswitchinterval(), gc.get_freeze_count() == 0
            sys.setswitchinterval(min(_TURN, self._turn))
            if self._frozen:
                gc.freeze()
        self._jobs += 1

    def leave(self) -> None:
        """Work ended, and what it came to is shown."""
        self._jobs -= 1
        if self._jobs == 0:
            sys.setswitchinterval(self._turn)
            if self._frozen:
                gc.unfreeze()


_ROOM = _Room()


class _Teller(QObject):
    """Carries reports from the thread of the work to that of the window."""

    told = Signal(str, float)


class Job:
    """One piece of work in a thread.

    Parameters
    ----------
    work : callable
        Called in the thread with a function of a stage and a fraction, which raises `Cancelled` once that is asked for.
    told : callable
        Called with the stage and the fraction done, in the thread of the window, like the next two.
    done : callable
        Called with what the work returned; `end` is to be called once that is shown.
    failed : callable
        Called with a sentence; an empty one if the work was cancelled.
    stays : bool
        Whether what was done stays done, such as a written file: it is told of, though it was cancelled too late.
    """

    def __init__(
        self,
        work: Callable[[Callable[[str, float], None]], Any],
        *,
        told: Callable[[str, float], None],
        done: Callable[[Any], None],
        failed: Callable[[str], None],
        stays: bool = False,
    ) -> None:
        self._stays = stays
        self._cancelled, self._last = threading.Event(), ("", 0.0)
        self._work, self._done, self._failed = work, done, failed
        self._teller = _Teller()
        self._teller.told.connect(told)
        self.running = True
        self._worker = create_worker(self._carried_out, _start_thread=False)
        self._worker.returned.connect(self._returned)
        self._ended = False
        _ROOM.enter()
        self._worker.start()
        # Whoever closes napari does not wait for the work.
        QCoreApplication.instance().aboutToQuit.connect(self.cancel)

    def cancel(self) -> None:
        """Ask the work to stop; it does within half a second."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._cancelled.is_set()

    def _carried_out(self) -> tuple[Any, BaseException | None]:
        """What the work returned or raised: under PySide6, workers of napari 0.9 cannot hand on errors themselves."""
        try:
            return self._work(self._progress), None
        except Exception as error:
            return None, error

    def _progress(self, stage: str, fraction: float) -> None:
        if self._cancelled.is_set():
            raise Cancelled("The work was cancelled; nothing was written.")
        before, when = self._last
        now = time.monotonic()
        if stage != before or fraction >= 1 or now - when >= _QUICKEST:
            self._last = stage, now
            self._teller.told.emit(stage, float(fraction))

    def _returned(self, outcome: tuple[Any, BaseException | None]) -> None:
        self.running = False
        QCoreApplication.instance().aboutToQuit.disconnect(self.cancel)
        done, failed = self._done, self._failed
        # napari keeps every worker until it is closed itself; panels and pixels shall not be kept with it.
        self._teller.told.disconnect()
        del self._work, self._done, self._failed
        value, error = outcome
        try:
            if isinstance(error, Cancelled) or (self._cancelled.is_set() and not self._stays):
                failed("")
            elif error is not None:
                failed(sentence(error))
            else:
                done(value)
                return
        except BaseException:  # nobody is left who would call it
            self.end()
            raise
        self.end()

    def end(self) -> None:
        """Say that what the work came to is shown; may be called again."""
        if not self._ended:
            self._ended = True
            _ROOM.leave()


def load_ahead() -> None:
    """Load what a registration would load otherwise while the window is in use.

    The system loads the library that runs networks in one piece, for a third of a second, in which no thread computes.
    """
    shipped()
    shipped(quick=True)


def sentence(error: BaseException) -> str:
    """What a panel says of an error; one that nobody foresaw is written down for those who can mend it."""
    if isinstance(error, CorrelightError):
        return str(error)
    detail = "".join(traceback.format_exception(error))
    try:
        with LOG.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{detail}\n")
        kept = f"the details are in {LOG}, so please send them with a report"
    except OSError:
        kept = "please report it"
    logging.getLogger(__name__).debug("unforeseen", exc_info=error)
    return f"Something went wrong that was not foreseen ({type(error).__name__}: {error}); {kept}."
