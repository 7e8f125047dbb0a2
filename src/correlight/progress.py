"""Progress of long work, and how it is cancelled.

Whoever starts long work may pass a function that is told the stage and the fraction of it that is done. It may raise
`correlight.errors.Cancelled` at any time; the work then ends within half a second and leaves nothing behind. For that,
everything that takes long calls `checkpoint` now and then, from whatever thread, and starts threads by `in_threads`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TypeVar

from correlight.errors import Cancelled

# Called with a stage and the fraction of it that is done.
Progress = Callable[[str, float], None]
# Called with the fraction alone.
Fraction = Callable[[float], None]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

# While nothing else is reported, the listener hears the last report again after so many seconds, so that it can cancel.
_BEAT = 0.1


# How many threads a process may use at once; without a number, as many as there are processors.
_ALLOWED: list[int] = []


def limit_threads(most: int) -> None:
    """Let this process use so many threads at once, because others work beside it."""
    _ALLOWED[:] = [most]


def threads(most: int) -> int:
    """How many threads long work should use: one per processor that this process may use, but not more than these."""
    return max(1, min(*_ALLOWED, processors(), most))


def processors() -> int:
    """How many processors this process may use: a job of a cluster has but some of those of its machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Watch:
    """Who listens to the work of a thread and those that it starts, and whether it was cancelled."""

    def __init__(self, listener: Progress) -> None:
        self._listener, self._owner = listener, threading.get_ident()
        self._last, self._told = ("", 0.0), time.monotonic()
        self._cancelled = threading.Event()

    def tell(self, stage: str, fraction: float) -> None:
        self.stop_if_cancelled()
        if threading.get_ident() != self._owner:
            return
        self._last, self._told = (stage, fraction), time.monotonic()
        try:
            self._listener(stage, fraction)
        except BaseException:
            self.cancel()
            raise

    def beat(self) -> None:
        self.stop_if_cancelled()
        if threading.get_ident() == self._owner and time.monotonic() - self._told > _BEAT and self._last[0]:
            self.tell(*self._last)

    def cancel(self) -> None:
        self._cancelled.set()

    def stop_if_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled("The work was cancelled; nothing was written.")


_WATCH: ContextVar[_Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watched(listener: Progress | None) -> Iterator[Progress]:
    """Let a listener follow the work in the block, and cancel it.

    Parameters
    ----------
    listener : callable, optional
        Called with the stage and the fraction done, always from the thread that runs the block.

    Yields
    ------
    callable
        What the work reports to.

    Examples
    --------
    >>> with watched(lambda stage, fraction: print(stage, fraction)) as report:
    ...     report("search", 0.5)
    search 0.5
    """
    watch = _Watch(listener or (lambda stage, fraction: None))
    token = _WATCH.set(watch)
    try:
        yield watch.tell
    except BaseException:
        # Threads that still run end at their next checkpoint.
        watch.cancel()
        raise
    finally:
        _WATCH.reset(token)


def checkpoint() -> None:
    """Give whoever listens to this work the chance to cancel it; cheap enough for the inner loop of a search.

    Raises
    ------
    Cancelled
        If the work was cancelled.
    """
    watch = _WATCH.get()
    if watch is not None:
        watch.beat()


def in_threads(work: Callable[[Item], Outcome], items: Iterable[Item], workers: int) -> Iterator[Outcome]:
    """What a function makes of each item, in their order, computed by several threads.

    Parameters
    ----------
    work : callable
        Called from other threads, where `checkpoint` works as in this one.
    items : iterable
        What it is called with.
    workers : int
        Threads.

    Raises
    ------
    Cancelled
        If the work was cancelled; no thread is left running then.
    """
    pool = ThreadPoolExecutor(max(1, workers))
    futures: list[Future[Outcome]] = []
    try:
        for item in items:
            futures.append(pool.submit(copy_context().run, work, item))
        for future in futures:
            while not wait((future,), timeout=_BEAT, return_when=FIRST_COMPLETED).done:
                checkpoint()
            yield future.result()
    except (Cancelled, KeyboardInterrupt, SystemExit):
        # Threads that still run end at their next checkpoint.
        watch = _WATCH.get()
        if watch is not None:
            watch.cancel()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
