"""The rows of a batch, one after the other and side by side, until none is left or the disk is full."""

from __future__ import annotations

import errno
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass
from pathlib import Path

from correlight.batch.pools import Pool
from correlight.batch.record import Failed, forget_failure, write_failure
from correlight.batch.row import Outcome, Work
from correlight.batch.schedule import Schedule
from correlight.batch.table import Row
from correlight.errors import WriteError
from correlight.output.failure import failure_of

# Seconds between two looks at what is under way, and how long rows are waited for that another run is writing.
_BEAT, _PATIENCE = 1.0, 120.0
_GONE = "the scheduler is gone"


@dataclass(frozen=True, slots=True)
class Event:
    """A row came to an end, or something happened to it.

    Parameters
    ----------
    row : Row
        The pair.
    outcome : Outcome
        What came of it; of a row that is tried once more, why.
    again : bool
        Whether it is.
    done, total : int
        Rows that are finished or have failed, and all rows.
    left : float
        Seconds that the others will take, as far as can be told.
    """

    row: Row
    outcome: Outcome
    again: bool
    done: int
    total: int
    left: float


Told = Callable[[Event], None]


def run_rows(rows: Sequence[Row], schedule: Schedule, pool: Pool, out: Path, told: Told) -> None:
    """Register what a schedule has left; a row that fails stops nothing.

    Parameters
    ----------
    rows : sequence of Row
        All rows, those included that cannot be registered as the table states them.
    schedule : Schedule
        The rows that can.
    pool : Pool
        Where they are registered.
    out : Path
        The folder of the batch.
    told : callable
        Called with every `Event`.

    Raises
    ------
    WriteError
        If the disk is full, once the rows under way have ended, or if nobody is left who could register rows.
    """
    for row in rows:
        if row.folder in schedule.records:
            # Whoever registered it may have been killed before this.
            forget_failure(out, row)
    _Run(len(rows), schedule, pool, out, told).through([row for row in rows if row.problem])


class _Run:
    def __init__(self, total: int, schedule: Schedule, pool: Pool, out: Path, told: Told) -> None:
        self._total, self._schedule, self._pool, self._out, self._told = total, schedule, pool, out, told
        self._under_way: dict[Future[Outcome], Work] = {}
        self._alone: deque[Work] = deque()
        self._retried: set[str] = set()
        self._busy: deque[tuple[float, Work]] = deque()
        self._since: dict[str, float] = {}
        self._failed: set[str] = set()
        self._began, self._done_before = time.monotonic(), len(schedule.records)
        self._full: OSError | None = None

    def through(self, problems: list[Row]) -> None:
        for row in problems:
            self._fail(row, Outcome("failed", sentence=row.problem))
        while self._full is None or self._under_way:
            self._begin()
            if self._under_way:
                self._heed()
            elif self._busy or self._alone or len(self._schedule):
                # Rows that another run is writing, or workers that a cluster has no room for yet.
                time.sleep(_BEAT)
            else:
                break
        if self._full is not None:
            raise WriteError(
                f"The disk of {self._out} is full: {len(self._schedule.records)} of {self._total} rows are complete "
                "and stay so; make room and run the same batch again for the rest."
            ) from self._full

    def _heed(self) -> None:
        """Wait for a row to end, for a moment."""
        for future in wait(self._under_way, timeout=_BEAT, return_when=FIRST_COMPLETED).done:
            self._ended(self._under_way.pop(future), self._outcome(future))

    def _begin(self) -> None:
        """Let as many rows begin as there are workers without one."""
        if self._full is not None or any(work.row.folder in self._retried for work in self._under_way.values()):
            return
        while self._busy and self._busy[0][0] <= time.monotonic() and len(self._under_way) < self._capacity():
            self._submit(self._busy.popleft()[1])
        while len(self._under_way) < self._capacity() and (work := self._schedule.next()) is not None:
            self._submit(work)
        if self._alone and not self._under_way and not self._busy:
            self._submit(self._alone.popleft())

    def _capacity(self) -> int:
        """How many rows can be under way; asks the scheduler, if there is one."""
        try:
            return self._pool.capacity()
        except (OSError, TimeoutError):
            raise self._lost() from ConnectionResetError(errno.ECONNRESET, _GONE)

    def _lost(self) -> WriteError:
        return WriteError(
            f"The scheduler was lost: {len(self._schedule.records)} of {self._total} rows are complete and stay so; "
            "run the same batch again for the rest."
        )

    def _submit(self, work: Work) -> None:
        self._under_way[self._pool.submit(work)] = work

    def _outcome(self, future: Future[Outcome]) -> Outcome:
        try:
            return future.result()
        except CancelledError:
            raise self._lost() from ConnectionResetError(errno.ECONNRESET, _GONE)
        except Exception as error:
            if self._pool.died(error):
                return Outcome("memory", sentence="The process that registered it was ended from outside")
            return Outcome("failed", sentence=failure_of(error).sentence)

    def _ended(self, work: Work, outcome: Outcome) -> None:
        folder = work.row.folder
        if outcome.kind == "done":
            assert outcome.record is not None
            forget_failure(self._out, work.row)
            self._schedule.done(work, outcome.record)
            self._tell(work.row, outcome)
        elif outcome.kind == "disk full":
            self._full = OSError(errno.ENOSPC, outcome.sentence)
        elif outcome.kind == "memory" and folder not in self._retried:
            self._retried.add(folder)
            self._alone.append(work)
            self._tell(work.row, outcome, again=True)
        elif outcome.kind == "busy" and time.monotonic() - self._since.setdefault(folder, time.monotonic()) < _PATIENCE:
            self._busy.append((time.monotonic() + _BEAT, work))
        else:
            if outcome.kind == "memory":
                outcome = Outcome(
                    "failed",
                    sentence=f"{outcome.sentence.rstrip('.')}, and once more with no other row beside it; most likely "
                    "the memory does not suffice, so bin the images or choose a larger machine.",
                )
            self._fail(work.row, outcome)
            self._schedule.done(work, None)

    def _fail(self, row: Row, outcome: Outcome) -> None:
        self._failed.add(row.folder)
        try:
            write_failure(self._out, row, Failed(row.key, outcome.sentence))
        except OSError as error:
            self._full = error
        self._tell(row, outcome)

    def _tell(self, row: Row, outcome: Outcome, again: bool = False) -> None:
        finished = len(self._schedule.records)
        done = min(self._total, finished + len(self._failed - self._schedule.records.keys()))
        here = max(1, done - self._done_before)
        left = (time.monotonic() - self._began) / here * (self._total - done)
        self._told(Event(row, outcome, again, done, self._total, left))
