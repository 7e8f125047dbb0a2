"""A batch described as an RO-Crate: each row a registration with its inputs, its options and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import correlight
from correlight.batch.record import FAILED, RECORD, RESULTS, write_whole
from correlight.batch.summary import WORDS, Entry
from correlight.output.crate import NAME, Crate, day_of
from correlight.parsing import read_json

_PARTS = {
    "batch.json": "The plan: all rows with what they ask for",
    "summary.html": "Every row with its verdict, a thumbnail and a link to its report, the most doubtful first",
    "summary.csv": "The same as a table",
    "summary.json": "The same for programs",
}


def write_batch_crate(out: Path, entries: Sequence[Entry]) -> None:
    """Describe the folder of a batch from its summary (`output.crate.must_be_installed` says whether that can be done).

    Parameters
    ----------
    out : Path
        The folder.
    entries : sequence of Entry
        Its rows, those first that most need somebody's eyes.

    Raises
    ------
    ReadError, OSError
        If a result is gone meanwhile, or the description cannot be written.
    """
    tried = [entry for entry in entries if entry.status != "waiting"]
    days = {entry.row.folder: day_of([_written(out, entry)]) for entry in tried}
    counts = {status: sum(entry.status == status for entry in entries) for status in WORDS}
    title = f"Batch of {len(entries)} registration{'s' * (len(entries) != 1)}"
    told = ", ".join(f"{count} {WORDS[status]}" for status, count in counts.items() if count)
    crate = Crate(title, f"{told.capitalize()}.", max(days.values(), default=day_of([])))
    for name, description in _PARTS.items():
        if (out / name).is_file():
            crate.add_part(name, description)
    for entry in tried:
        _describe(crate, out, entry, days)
    write_whole(out / NAME, crate.text())


def _written(out: Path, entry: Entry) -> Path:
    folder = entry.row.folder
    return out / FAILED / f"{folder}.json" if entry.record is None else out / RESULTS / folder / RECORD


def _describe(crate: Crate, out: Path, entry: Entry, days: dict[str, date]) -> None:
    """One row."""
    row, record = entry.row, entry.record
    title = f"Registration of {row.cells.get('moving', 'nothing')} to {row.cells.get('fixed', 'nothing')}"
    options = {name: text for name, text in row.cells.items() if name not in ("fixed", "moving")}
    if record is None:
        described = crate.add_part(f"{FAILED}/{row.folder}.json", f"Why {row.name} failed")
        versions = {"correlight": correlight.__version__}
        crate.add_action(
            row.folder, title, row.name, days[row.folder], versions, (), options, (described,), error=entry.sentence
        )
        return
    figures = record.figures
    verdict = f"{row.name}: {WORDS[entry.status]}, confidence {figures.confidence:.2f}. {' '.join(figures.reasons)}"
    inputs = [crate.add_input(name, checksum) for name, (_, _, checksum) in record.inputs.items()]
    folder = crate.add_part(f"{RESULTS}/{row.folder}/", verdict.strip())
    versions = read_json(out / RESULTS / row.folder / "result.json", "the record of a registration")["versions"]
    crate.add_action(row.folder, title, verdict.strip(), days[row.folder], versions, inputs, options, (folder,))
