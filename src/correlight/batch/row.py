"""One row of a batch: the same way as ``correlight register``, in whatever process a scheduler chooses."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import correlight
from correlight.batch.cells import asked_of
from correlight.batch.groups import Shared, disagreement, limits_of, shared_by
from correlight.batch.record import (
    RECORD,
    RESULTS,
    THUMBNAIL,
    Record,
    figures_of,
    names_of,
    read_record,
    stamps_of,
    unchanged,
    write_whole,
)
from correlight.batch.table import Row
from correlight.errors import UsageError
from correlight.output.claim import Busy
from correlight.output.failure import failure_of
from correlight.output.from_files import Asked, Registered, register_files, register_images
from correlight.output.target import reserve
from correlight.parsing import opened_files
from correlight.progress import limit_threads

if TYPE_CHECKING:
    from correlight.images.image import Image
    from correlight.registration.result import Result

_ORDER = {"refused": 0, "doubtful": 1, "accepted": 2}
_THUMBNAIL = 160  # pixels of the longer side


@dataclass(frozen=True, slots=True)
class Work:
    """What a process is told.

    Parameters
    ----------
    row : Row
        The pair.
    home : str
        The folder that relative paths start from, absolute.
    out : str
        The folder of the batch, absolute.
    shared : Shared or None
        What its group shares, if that is known already.
    alone : str
        The verdict that the row had without being told; empty if that was not tried.
    """

    row: Row
    home: str
    out: str
    shared: Shared | None = None
    alone: str = ""

    @property
    def target(self) -> Path:
        """The folder of the result."""
        return Path(self.out, RESULTS, self.row.folder)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a process answers.

    Parameters
    ----------
    kind : {"done", "failed", "memory", "disk full", "busy"}
        Busy is a row that another run is writing at this moment.
    record : Record or None
        Of a row that is done.
    sentence : str
        Why it is not.
    """

    kind: Literal["done", "failed", "memory", "disk full", "busy"]
    record: Record | None = None
    sentence: str = ""


def finished(work: Work) -> Record | None:
    """The record of a row that need not be registered again: complete, and nothing that it rests on has changed."""
    record = read_record(work.target)
    if record is None or record.key != work.row.key or record.shared != work.shared:
        return None
    try:
        asked = inputs_of(work, asked_of(work.row.cells, Path(work.home)))
    except UsageError:
        return None
    return record if asked.keys() <= record.inputs.keys() and unchanged(record.inputs, Path(work.home)) else None


def inputs_of(work: Work, asked: Asked) -> dict[str, Path]:
    """Every file that a row reads, by what it is called from the folder of the table."""
    return names_of(asked.inputs, Path(work.home))


def run_row(work: Work) -> Outcome:
    """Register one row and write its folder, unless that is there already; whatever goes wrong is an answer."""
    _one_core()
    try:
        record = finished(work)
        return Outcome("done", record if record is not None else _registered(work))
    except Exception as error:
        if isinstance(error, Busy):
            return Outcome("busy", sentence=str(error))
        failure = failure_of(error)
        kind = failure.kind if failure.kind in ("memory", "disk full") else "failed"
        # Files are called as from the table, wherever that lies: the summary is the same everywhere.
        sentence = failure.sentence.replace(os.path.join(work.home, ""), "")
        return Outcome(kind, sentence=" ".join(sentence.split()))


@cache
def _one_core() -> None:
    """Once for each process: N workers use N cores, and the system ends a worker rather than whoever leads them."""
    import cv2

    cv2.setNumThreads(1)
    limit_threads(1)
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
            score.write("500")
    except OSError:
        return


def _registered(work: Work) -> Record:
    asked = asked_of(work.row.cells, Path(work.home))
    registering = _Registering(work)
    with reserve(work.target, overwrite=True, inputs=asked.inputs) as folder, opened_files() as opened:
        made = register_files(asked, folder, registering=registering, workers=1)
        _write_thumbnail(folder)
        record = _record(work, _read(asked, opened, folder), made, registering)
        write_whole(folder / RECORD, record.to_json())
    return record


def _read(asked: Asked, opened: Iterable[str], folder: Path) -> list[Path]:
    """What a result rests on: the files that were named, and those that they name, but for what correlight brings."""
    named = {os.path.realpath(path) for path in asked.inputs}
    homes = {
        os.path.realpath(Path(correlight.__file__).parent),
        os.path.realpath(folder),
        *filter(os.path.isdir, named),
    }
    others = [
        Path(path)
        for path in sorted(opened)
        if (real := os.path.realpath(path)) not in named and not any(Path(real).is_relative_to(home) for home in homes)
    ]
    return [*asked.inputs, *others]


def _record(work: Work, read: Sequence[Path], made: Registered, how: _Registering) -> Record:
    files = names_of(read, Path(work.home))
    known = {}
    for name, path in files.items():
        for image in (made.fixed, made.moving):
            source = image.source
            if len(source.get("files", ())) == 1 and Path(str(source.get("path"))) == path:
                known[name] = str(source["sha256"])
    own = None
    if work.row.group and work.shared is None and made.result:
        own = shared_by(work.row.folder, work.row.name, made.result)
    findings = tuple(dict.fromkeys((*made.fixed.findings, *made.moving.findings)))
    return Record(
        work.row.key,
        stamps_of(files, known),
        figures_of(made.result),
        work.shared,
        how.alone,
        own,
        how.disagrees,
        (*made.notes, *findings),
    )


class _Registering:
    """Registers the images of a row near its group, or alone where that leads nowhere."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.alone, self.disagrees = work.alone, ""

    def __call__(self, asked: Asked, fixed: Image, moving: Image, options: dict[str, Any]) -> Result:
        shared = self._work.shared
        limits = {} if shared is None else limits_of(shared, asked, fixed, moving)
        result = register_images(asked, fixed, moving, {**options, **limits})
        if shared is None:
            self.alone = result.status
            return result
        if limits and (not result or disagreement(shared, result)):
            # Not where its group lies: perhaps elsewhere, which is worth knowing.
            alone = register_images(asked, fixed, moving, options)
            self.alone = alone.status
            if alone or _ORDER[alone.status] > _ORDER[result.status]:
                result = alone
        if result:
            self.disagrees = disagreement(shared, result)
        return result


def _write_thumbnail(folder: Path) -> None:
    """The overlay, small enough for a page that shows many."""
    import cv2
    import numpy as np

    from correlight.images.display import encode, resize

    data = np.frombuffer((folder / "overlay.png").read_bytes(), np.uint8)
    picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    height, width = picture.shape[:2]
    factor = min(1.0, _THUMBNAIL / max(height, width))
    small = resize(picture, (max(1, round(height * factor)), max(1, round(width * factor))))
    (folder / THUMBNAIL).write_bytes(encode(np.ascontiguousarray(small[..., ::-1]), "png"))
