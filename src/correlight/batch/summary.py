"""What came of a batch on one page, in a table and in JSON: the most doubtful rows first.

Nothing in it depends on when, where or in which order the rows were registered: the same results give the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from correlight.batch.record import RESULTS, THUMBNAIL, Figures, Record, read_failure, read_record, write_whole
from correlight.batch.table import Row
from correlight.output.report.content import figure, length
from correlight.output.report.page import template

NAME = "summary"
_WAITING = "It was not registered yet; run the same batch again."
# What most needs somebody's eyes comes first.
_DOUBT = {"failed": 0, "waiting": 1, "refused": 2, "disagrees": 3, "doubtful": 4, "accepted": 5}
WORDS = {
    "failed": "failed",
    "waiting": "not registered yet",
    "refused": "refused",
    "disagrees": "in disagreement with their group",
    "doubtful": "doubtful",
    "accepted": "accepted",
}
# What is no text: a NUL ends a table for many programs, and others steer the terminal that it is shown in.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Where a spreadsheet begins to compute: at the start of a cell, and after what parts cells elsewhere.
_FORMULA = re.compile(r"(^|[;\t\r\n]\s*)(?=[=+\-@\t\r])")


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a summary.

    Parameters
    ----------
    row : Row
        The pair.
    status : {"accepted", "doubtful", "refused", "disagrees", "failed", "waiting"}
        The verdict; disagrees is an accepted one that contradicts its group.
    sentence : str
        Why it failed, or how it disagrees.
    record : Record or None
        Of a row that was registered.
    """

    row: Row
    status: str
    sentence: str = ""
    record: Record | None = None

    @property
    def verdict(self) -> str | None:
        """The verdict that an exit code follows from."""
        return {"failed": "refused", "waiting": "refused", "disagrees": "doubtful"}.get(self.status, self.status)


def entries_of(rows: Sequence[Row], out: Path) -> list[Entry]:
    """What came of rows, the most doubtful first."""
    return sorted((_entry(row, out) for row in rows), key=_doubt)


def write_summary(notes: Sequence[str], out: Path, entries: Sequence[Entry]) -> dict[str, int]:
    """Write ``summary.html``, ``summary.csv`` and ``summary.json``.

    Returns
    -------
    dict
        How many rows have which status, those first that most need somebody's eyes.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    rows = [_flat(entry) for entry in entries]
    counts = Counter(entry.status for entry in entries)
    ordered = {status: counts[status] for status in _DOUBT if counts[status]}
    content = {"rows": len(rows), "counts": ordered, "notes": list(notes), "results": rows}
    write_whole(out / f"{NAME}.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    write_whole(out / f"{NAME}.csv", _table(rows))
    page = template("batch.html.j2").render(
        counts=ordered, words=WORDS, notes=notes, total=len(rows), rows=[_shown(entry) for entry in entries]
    )
    write_whole(out / f"{NAME}.html", page)
    return ordered


def _entry(row: Row, out: Path) -> Entry:
    failed = read_failure(out, row)
    if failed is not None:
        # Whatever there is of it is older: a row that is registered is no failure any more.
        return Entry(row, "failed", failed.sentence)
    record = read_record(out / RESULTS / row.folder)
    if record is not None and record.key == row.key:
        status = "disagrees" if record.disagrees and record.figures.status == "accepted" else record.figures.status
        return Entry(row, status, record.disagrees, record)
    return Entry(row, "waiting", _WAITING)


def _doubt(entry: Entry) -> tuple[int, float, str]:
    confidence = entry.record.figures.confidence if entry.record is not None else 0.0
    return _DOUBT[entry.status], confidence, entry.row.folder


def _flat(entry: Entry) -> dict[str, Any]:
    """A row as it stands in JSON and CSV."""
    figures = asdict(entry.record.figures) if entry.record is not None else {}
    nothing: dict[str, Any] = {"reasons": (), "advice": (), "confidence": None, "mirrored": None}
    row = entry.row
    return {
        "name": row.name,
        "group": row.group,
        "status": entry.status,
        "sentence": entry.sentence,
        **{name: figures.get(name, nothing.get(name)) for name in Figures.__slots__ if name != "status"},
        "fixed": row.cells.get("fixed", ""),
        "moving": row.cells.get("moving", ""),
        "times": row.times,
        "notes": list(entry.record.notes) if entry.record is not None else [],
        "folder": f"{RESULTS}/{row.folder}" if entry.record is not None else None,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(rows[0] if rows else ["name"])
    for row in rows:
        table.writerow([_cell(value) for value in row.values()])
    return text.getvalue()


def _cell(value: Any) -> str | float | None:
    """A cell that a spreadsheet does not compute, however it is opened: a name may look like a formula."""
    if value is None or (isinstance(value, float | int) and not isinstance(value, bool)):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return _cell(" ".join(value))
    return _FORMULA.sub(r"\1'", _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", str(value)))


def _shown(entry: Entry) -> dict[str, Any]:
    """A row as the page shows it."""
    row, record = entry.row, entry.record
    shown: dict[str, Any] = {
        "name": row.name,
        "group": row.group,
        "status": entry.status,
        "times": row.times,
        "files": f"{row.cells.get('moving', '')} on {row.cells.get('fixed', '')}",
        "sentences": [entry.sentence] if entry.sentence else [],
        "advice": (),
        "notes": record.notes if record is not None else (),
        **dict.fromkeys(("report", "confidence", "error", "rotation", "mirrored", "scale"), ""),
    }
    if record is None:
        return shown
    figures, home = record.figures, f"{RESULTS}/{row.folder}"
    return shown | {
        "sentences": [*shown["sentences"], *figures.reasons],
        "advice": figures.advice,
        "report": f"{home}/report.html",
        "thumbnail": f"{home}/{THUMBNAIL}",
        "confidence": f"{figures.confidence:.2f}",
        "error": "" if figures.error_within is None else length(figures.error_within, figures.unit),
        "rotation": "" if figures.rotation is None else f"{figures.rotation:.1f}°",
        "mirrored": figures.mirrored,
        "scale": figure(figures.scale_found),
    }
