"""Axes beside channels, depth and time: of each, one place is read, and the others are named.

Views, phases, illuminations, rotations and blocks of a CZI file, tiles and loops of a LIF file, the steps of a custom
loop of an ND2 file: an image shows one of them, and to mix them would make pixels that nobody measured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from correlight.errors import NothingToChooseError, UsageError
from correlight.io.axes import Choice, index_of, is_count

NAMES = {
    "V": "views", "H": "phases", "I": "illuminations", "R": "rotations", "B": "blocks", "M": "tiles", "A": "rotations",
    "L": "loops", "U": "steps of a custom loop", "N": "slices across time", "Q": "slices of time",
    "λ": "emission wavelengths", "Λ": "excitation wavelengths",
}  # fmt: skip


def choose_views(
    path: Path, counts: Mapping[str, int], wanted: int | str | None = None
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Which place along each further axis is read.

    Parameters
    ----------
    path : Path
        The file, for the message of an error.
    counts : mapping of str to int
        Number of places along each further axis, by its letter.
    wanted : int, str or None
        The number of the place, counted from 0, where only one axis has several; or letters with numbers, "V=1, H=0".
        Without it the first place of each, and a finding says so.

    Returns
    -------
    chosen : dict of str to int
        One place for each axis.
    findings : tuple of str
        What was chosen and what else there is.

    Raises
    ------
    UsageError
        If there is no such axis or place, or the number could mean several axes.

    Examples
    --------
    >>> choose_views(Path("a.czi"), {"V": 3, "H": 1}, 2)[0]
    {'V': 2, 'H': 0}
    """
    several = [axis for axis, count in counts.items() if count > 1]
    asked = _asked(path, counts, several, wanted)
    findings = []
    for axis in several:
        number = asked.get(axis, 0)
        which = f"number {number}" if axis in asked else "the first"
        findings.append(f"the file holds {counts[axis]} {NAMES.get(axis, 'places')} (axis {axis}); {which} is read")
    return {axis: asked.get(axis, 0) for axis in counts}, tuple(findings)


def index_with_views(
    path: Path, axes: str, shape: Sequence[int], choice: Choice
) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """What to cut out of an array so that channels, depth, rows, columns and samples remain.

    As `correlight.io.axes.index_of`, and of every further axis the place that ``choice`` asks for.
    """
    further = {axis: count for axis, count in zip(axes, shape, strict=True) if axis not in "CZYXST"}
    chosen, said = choose_views(path, further, choice.view)
    kept = "".join(axis for axis in axes if axis not in further)
    lengths = [count for axis, count in zip(axes, shape, strict=True) if axis not in further]
    index, findings = index_of(path, kept, lengths, choice)
    rest = iter(index)
    return tuple(chosen[axis] if axis in further else next(rest) for axis in axes), (*findings, *said)


def _asked(path: Path, counts: Mapping[str, int], several: list[str], wanted: int | str | None) -> dict[str, int]:
    if wanted is None:
        return {}
    known = ", ".join(f"{axis} ({counts[axis]} {NAMES.get(axis, 'places')})" for axis in several) or "none"
    text = str(wanted).strip()
    if is_count(text):
        if len(several) > 1:
            raise UsageError(
                f"View {text} of {path} could mean any of {known}; name the axis, as in {several[0]}={text}."
            )
        entries = [((several or ["V"])[0], int(text))]
    else:
        parts = [part.strip() for part in text.split(",")]
        matches = [re.fullmatch(r"([A-Za-zλΛ])\s*=\s*(\d{1,9})", part) for part in parts]
        if not all(matches):
            raise UsageError(f"A view is a number or letters with numbers, as in 'V=1,H=0'; got {text!r}.")
        entries = [(match[1], int(match[2])) for match in matches if match]
    for axis, number in entries:
        if number >= counts.get(axis, 1):
            sentence = f"There is no view {axis}={number} in {path}; its further axes are {known}, from 0."
            raise UsageError(sentence) if several else NothingToChooseError(sentence, "view")
    return dict(entries)
