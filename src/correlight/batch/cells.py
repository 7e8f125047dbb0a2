"""The columns of a batch are the options of a registration; their cells say what the command line would be told."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from correlight.errors import UsageError
from correlight.output.asked import ROTATIONS, SCALES, STRETCH_LIMITS, box, grid_choice, interval, spacings
from correlight.output.from_files import Asked

_FILES = "fixed", "moving", "fixed_mask", "moving_mask", "start", "landmarks", "predictor"
_PARTS = "scene", "series", "time", "view"
_YES_OR_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def asked_of(cells: Mapping[str, str], home: Path) -> Asked:
    """What a row asks for.

    Parameters
    ----------
    cells : mapping of str to str
        By column, none of them empty; ``fixed`` and ``moving`` are there.
    home : Path
        The folder that relative paths start from.

    Raises
    ------
    UsageError
        If a cell cannot be understood.
    """
    given: dict[str, Any] = {"fixed_part": {}, "moving_part": {}, "part": {}}
    for name, text in cells.items():
        value = COLUMNS[name](text, f"The column {name}")
        role, _, part = name.partition("_")
        if name in _FILES:
            given[name] = home / value
        elif name in _PARTS:
            given["part"][name] = value
        elif part in _PARTS:
            given[f"{role}_part"][part] = value
        elif name == "recipe" and value.endswith(".toml"):
            given[name] = str(home / value)
        else:
            given[name] = value
    return Asked(**given)


def _text(text: str, column: str) -> str:
    return text


def _file(text: str, column: str) -> str:
    if "\0" in text:
        raise UsageError(f"{column} expects the name of a file; got {text!r}.")
    return text


def _whole(text: str, column: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise UsageError(f"{column} expects a whole number from 0; got {text!r}.")
    return int(text)


def _yes_or_no(text: str, column: str) -> bool:
    if text.lower() not in _YES_OR_NO:
        raise UsageError(f"{column} expects yes or no; got {text!r}.")
    return _YES_OR_NO[text.lower()]


COLUMNS: dict[str, Callable[[str, str], Any]] = {
    **dict.fromkeys(_FILES, _file),
    **{f"{role}_channel": _text for role in ("fixed", "moving")},
    **{f"{role}{part}": _text for role in ("", "fixed_", "moving_") for part in ("scene", "view")},
    **{f"{role}{part}": _whole for role in ("", "fixed_", "moving_") for part in ("series", "time")},
    **{f"{role}_spacing": spacings for role in ("fixed", "moving")},
    "recipe": _text,
    "model": _text,
    "roi": box,
    "rotation": partial(interval, within=ROTATIONS),
    "scale": partial(interval, within=SCALES, positive=True),
    "stretch": partial(interval, within=STRETCH_LIMITS, positive=True),
    "mirror": _yes_or_no,
    "pose": _whole,
    "grid": grid_choice,
    "composite": _yes_or_no,
    "seed": _whole,
}
"""What reads a cell, by the name of its column."""
