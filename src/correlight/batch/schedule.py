"""Which rows may be registered next: all, but for those of a group whose first trusted pair is not known yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from correlight.batch.groups import Shared
from correlight.batch.record import Record, read_record
from correlight.batch.row import Work, finished
from correlight.batch.table import Row


class Schedule:
    """The rows of a batch that are not finished, in an order in which they can be registered.

    Parameters
    ----------
    rows : sequence of Row
        All of them.
    home, out : str
        As for `Work`.

    Attributes
    ----------
    records : dict of str to Record
        What is finished, by folder.
    """

    def __init__(self, rows: Sequence[Row], home: str, out: str) -> None:
        self._home, self._out = home, out
        self.records: dict[str, Record] = {}
        self._ready: deque[Work] = deque()
        self._groups: dict[str, _Group] = {}
        for row in rows:
            if not row.group:
                self._offer(Work(row, home, out))
        for name in sorted({row.group for row in rows} - {""}):
            group = _Group([row for row in rows if row.group == name])
            self._groups[name] = group
            self._advance(group)

    def __len__(self) -> int:
        return len(self._ready)

    def next(self) -> Work | None:
        """A row that may be registered now; None where all others wait for those that are under way."""
        return self._ready.popleft() if self._ready else None

    def done(self, work: Work, record: Record | None) -> None:
        """Take note of a row that was registered, or has failed."""
        if record is not None:
            self.records[work.row.folder] = record
        if work.row.group:
            group = self._groups[work.row.group]
            if work.shared is None:
                group.answered(work.row, record)
                self._advance(group)

    def _offer(self, work: Work) -> bool:
        """Let a row be registered, unless it is finished."""
        record = finished(work)
        if record is None:
            self._ready.append(work)
            return True
        self.records[work.row.folder] = record
        return False

    def _advance(self, group: _Group) -> None:
        """Offer what of a group can be registered next: one more candidate, or all that remain."""
        while group.reference is None and (row := group.candidate()) is not None:
            work = Work(row, self._home, self._out)
            known = self._verdict_alone(work)
            if known is None:
                self._ready.append(work)
                return
            group.answered(row, *known)
            if known[0] is not None and known[0].shared is None:
                self.records[row.folder] = known[0]
        if group.reference is not None:
            for row, alone in group.others():
                self._offer(Work(row, self._home, self._out, group.reference, alone))

    def _verdict_alone(self, work: Work) -> tuple[Record | None, str] | None:
        """What an earlier run found of a row without being told of its group; None where it has to be tried."""
        record = finished(work)
        if record is not None:
            return record, record.alone
        told = finished_in_any_group(work)
        return (None, told.alone) if told is not None and told.alone else None


def finished_in_any_group(work: Work) -> Record | None:
    """The record of a row that was told of its group, whichever row that came from."""
    record = read_record(work.target)
    if record is None or record.shared is None:
        return None
    return finished(replace(work, shared=record.shared))


class _Group:
    """Rows that share a pose, in the order in which they are tried."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = sorted(rows, key=lambda row: row.folder)
        self._alone: dict[str, str] = {}
        self.reference: Shared | None = None

    def candidate(self) -> Row | None:
        """The next row to be tried without being told; None where all were."""
        return next((row for row in self._rows if row.folder not in self._alone), None)

    def answered(self, row: Row, record: Record | None, alone: str = "") -> None:
        """Take note of what came of a candidate."""
        self._alone[row.folder] = alone or (record.alone if record is not None else "failed")
        if record is not None and record.own is not None:
            self.reference = record.own

    def others(self) -> list[tuple[Row, str]]:
        """All rows but the reference, with the verdicts that they had alone; failed ones are not tried twice."""
        assert self.reference is not None
        reference = self.reference.reference
        rest = [row for row in self._rows if row.folder != reference]
        verdicts = [(row, self._alone.get(row.folder, "")) for row in rest]
        return [(row, alone) for row, alone in verdicts if alone != "failed"]
