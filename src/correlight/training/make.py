"""A table of pairs in, the folder of a model out."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from correlight.errors import UsageError
from correlight.output.report.training import write_training_report
from correlight.output.target import reserve
from correlight.predict.facts import ModelFacts, write_facts
from correlight.predict.kinds import Kind, kind
from correlight.predict.model import load
from correlight.predict.training import (
    LEAST_PAIRS,
    Tell,
    Trained,
    Trainer,
    TrainingPair,
    TrainingSettings,
    Workplace,
)
from correlight.registration.provenance import versions
from correlight.training.exchangeable import describe
from correlight.training.pairs import Prepared, prepare
from correlight.training.table import Role, read_pairs

# Beside the folder that shall appear: what an interrupted training goes on from.
_WORK = ".training"
_ASKED = "settings.json"
_LICENCE = re.compile(r"[A-Za-z0-9.+-]{1,64}( (AND|OR|WITH) [A-Za-z0-9.+-]{1,64}){0,4}")


@dataclass(frozen=True)
class Order:
    """What a training is asked.

    Parameters
    ----------
    table : Path
        The pairs.
    kind : str
        A name in `correlight.predict.kinds`.
    predicts_from : {"fixed", "moving"}
        Which images are predicted from.
    source, target : str or None
        What the model predicts from and what, in words; those of the kind without.
    pixel : float or None
        Micrometres per pixel of the model.
    shrink : float
        Pixels of the source images per pixel of the model, where ``pixel`` is not given.
    licence : str
        Identifier of SPDX under which the model may be used.

    Raises
    ------
    UsageError
        If the licence cannot be one.
    """

    table: Path
    kind: str
    predicts_from: Role = "fixed"
    source: str | None = None
    target: str | None = None
    pixel: float | None = None
    shrink: float = 4.0
    licence: str = "CC-BY-4.0"

    def __post_init__(self) -> None:
        if not _LICENCE.fullmatch(self.licence):
            raise UsageError(
                f"A licence is named by its identifier of SPDX, such as CC-BY-4.0 or MIT; got {self.licence!r}."
            )


def make_model(
    out: str | Path, order: Order, settings: TrainingSettings, tell: Tell, *, overwrite: bool = False
) -> tuple[str, ...]:
    """Train a model and write its folder, completely or not at all; go on where an interrupted run stopped.

    Beside the folder another one with the ending ``.training`` holds checkpoints until the model is complete.

    Parameters
    ----------
    out : str or Path
        The folder of the model.
    order : Order
        What is trained from what.
    settings : TrainingSettings
        How.
    tell : callable
        Called with a line of words and the fraction that is done.
    overwrite : bool
        Whether an earlier model is replaced.

    Returns
    -------
    tuple of str
        What else should be known: pairs that were left out.

    Raises
    ------
    UsageError, ReadError, WriteError
        In one sentence; nothing is half-written.
    """
    chosen = kind(order.kind)
    train = _trainer(order.kind, chosen.trainer)
    rows = read_pairs(order.table, order.predicts_from if chosen.pairing == "alone" else None)
    files = [order.table, *(path for row in rows for path in (row.fixed, row.moving))]
    with reserve(out, overwrite=overwrite, inputs=files) as folder:
        ready = prepare(rows, order.predicts_from, order.pixel, order.shrink, tell, chosen.pairing)
        _must_suffice(ready)
        work = Path(f"{Path(out).absolute()}{_WORK}")
        work.mkdir(exist_ok=True)
        _must_be_the_same(work / _ASKED, order, settings, ready.pairs)
        trained = train(ready.pairs, settings, Workplace(work, tell))
        for name in trained.files:
            shutil.copyfile(work / name, folder / name)
        write_facts(folder, _facts(order, settings, ready, trained, chosen))
        write_training_report(folder / "training.html", load(folder).facts, trained, ready.left_out)
        describe(folder, load(folder), ready.pairs[0], order.licence)
    shutil.rmtree(work)
    return tuple(ready.left_out)


def _trainer(name: str, made: Callable[[], Trainer]) -> Trainer:
    try:
        return made()
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("correlight"):
            raise UsageError(f"This correlight cannot train models of the kind {name}; use another kind.") from error
        raise UsageError(
            f"Training a model of the kind {name} needs the package {error.name}, which is not installed; install it "
            'with: pip install "correlight[learn]".'
        ) from error


def _must_suffice(ready: Prepared) -> None:
    if len(ready.pairs) < LEAST_PAIRS:
        why = f" ({'; '.join(ready.left_out)})" if ready.left_out else ""
        raise UsageError(
            f"A model is trained on {LEAST_PAIRS} pairs or more, as one does not show what changes from image to "
            f"image; there {'is one' if len(ready.pairs) == 1 else 'are none'}{why}."
        )


def _must_be_the_same(path: Path, order: Order, settings: TrainingSettings, pairs: Sequence[TrainingPair]) -> None:
    """Refuse to go on from a run of other pairs or settings."""
    digest = hashlib.sha256()
    for pair in pairs:
        for part in (pair.source, pair.target, pair.mask, pair.target_mask):
            digest.update(b"" if part is None else part.tobytes())
    asked = {"order": asdict(order), "settings": asdict(settings), "pairs": digest.hexdigest()}
    text = json.dumps(asked, indent=1, default=str)
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise UsageError(
            f"{path.parent} holds an interrupted training with other pairs or settings; repeat what was asked then to "
            "go on from there, remove that folder, or choose another name for the model."
        )
    path.write_text(text, encoding="utf-8")


def _facts(order: Order, settings: TrainingSettings, ready: Prepared, trained: Trained, chosen: Kind) -> ModelFacts:
    # What makes an image finer works on the pixels that the image has, whatever their size.
    own = chosen.pairing == "alone"
    return ModelFacts(
        kind=order.kind,
        source=order.source or chosen.source,
        target=order.target or chosen.target,
        spacing=None if own else ready.spacing,
        shrink=1.0 if own else order.shrink,
        contrast=settings.contrast,
        usual=trained.usual,
        settings=trained.settings,
        provenance={
            "trained": datetime.now(UTC).strftime("%Y-%m-%d"),
            "pairs": ready.records,
            "left out": ready.left_out,
            "predicted from": order.predicts_from,
            "micrometres per pixel in training": ready.spacing,
            "settings": {name: value for name, value in asdict(settings).items() if name != "own"} | dict(settings.own),
            "remarks": list(trained.remarks),
            "licence": order.licence,
            "versions": versions(),
        },
        files=dict.fromkeys(trained.files, ""),
    )
