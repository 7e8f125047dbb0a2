"""Pixels with any axes, brought into the order channels, depth, rows, columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import NothingToChooseError, ReadError, UsageError

_SHOWN = 20  # images of a file that are listed by name


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of a file to read; handed to every reader, of which each refuses what its files do not have.

    Parameters
    ----------
    scene : int, str or None
        One of several images in a file, by 0-based number or name; None for the first, and a finding that says so.
    level : int
        Level of a pyramid, 0 for full resolution.
    time : int or None
        0-based number of a frame of a time series; None for the first, and a finding that says so.
    series : int or None
        0-based number of a series of pages of one shape, where a file holds several; None for the first that is no
        preview, and a finding that says so.
    view : int, str or None
        0-based number of a view (an angle of a light sheet, a phase, an illumination); where a file has several such
        axes, letters with numbers, "V=1,H=0". None for the first, and a finding that says so.
    ndim : int or None
        How many axes of space the caller takes the image to have, where he gives a pixel size for each; it decides what
        pages of unstated meaning are.

    Raises
    ------
    UsageError
        If a number is negative.
    """

    scene: int | str | None = None
    level: int = 0
    time: int | None = None
    series: int | None = None
    view: int | str | None = None
    ndim: int | None = None

    def __post_init__(self) -> None:
        for what in ("scene", "level", "time", "series", "view"):
            value = getattr(self, what)
            if isinstance(value, int) and value < 0:
                raise UsageError(f"A {what} is counted from 0; got {value}.")

    @property
    def anything(self) -> bool:
        """Whether something other than the first image is asked for."""
        parts = self.scene, self.time, self.series, self.view
        return bool(self.level or any(part is not None for part in parts))

    @property
    def stated(self) -> dict[str, Any]:
        """What was asked for, by name."""
        parts = {"scene": self.scene, "series": self.series, "time": self.time, "view": self.view}
        asked = {name: part for name, part in parts.items() if part is not None}
        return {**asked, **({"level": self.level} if self.level else {})}


Choice = Selection
FIRST = Selection()
"""The first image at full resolution."""


def is_count(text: str) -> bool:
    """Whether a text is a number of something; Python refuses to make one of thousands of digits."""
    return text.isdecimal() and len(text) < 10


def refuse_unknown(path: Path, choice: Selection, known: Sequence[str]) -> None:
    """Refuse to choose by what the files of a reader do not have.

    Parameters
    ----------
    path : Path
        The file, for the message of an error.
    choice : Selection
        What is asked for.
    known : sequence of str
        Of "scene", "series", "time" and "view", what the reader can choose by.

    Raises
    ------
    NothingToChooseError
        If something else is asked for.
    """
    for name in ("scene", "series", "time", "view"):
        if getattr(choice, name) is not None and name not in known:
            instead = f"choose by {' or '.join(known)}" if known else "it holds a single image"
            raise NothingToChooseError(f"There is no choice of a {name} in {path}; {instead}.", name)


def choose_scene(path: Path, names: Sequence[str], choice: Choice) -> tuple[int, tuple[str, ...]]:
    """The number of the scene asked for, and what is worth saying about the others.

    Parameters
    ----------
    path : Path
        The file, for the message of an error.
    names : sequence of str
        One per scene; empty where it has none.
    choice : Choice
        What is asked for.

    Raises
    ------
    UsageError
        If there is no such scene; a `NothingToChooseError` if there is only one.
    """
    wanted = choice.scene
    telling = ["" if name == str(number) else name for number, name in enumerate(names)]
    known = ", ".join(f"{number} ({name})" if name else str(number) for number, name in enumerate(telling[:_SHOWN]))
    known += f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    number: int | None = None
    if isinstance(wanted, str) and wanted in names:
        number = names.index(wanted)
    elif is_count(str(wanted)) and int(str(wanted)) < len(names):
        number = int(str(wanted))
    if wanted is None or number is not None:
        which = "the first" if number is None else f"number {number}"
        listed = f", {known}" if any(telling) else ""
        said = (f"the file holds {len(names)} images{listed}; {which} is read",) if len(names) > 1 else ()
        return number or 0, said
    sentence = f"There is no scene {wanted!r} in {path}; it has {known}."
    raise UsageError(sentence) if len(names) > 1 else NothingToChooseError(sentence, "scene")


def choose_level(path: Path, count: int, choice: Choice) -> int:
    """The level asked for.

    Raises
    ------
    UsageError
        If the pyramid has no such level.
    """
    if choice.level >= count:
        raise UsageError(f"There is no level {choice.level} in {path}; it has {count}, counted from 0.")
    return choice.level


def time_index(path: Path, count: int, choice: Choice) -> tuple[int, tuple[str, ...]]:
    """The number of the frame asked for, and what is worth saying about the others.

    Raises
    ------
    UsageError
        If the series has no such frame; a `NothingToChooseError` if there is only one.
    """
    if choice.time is not None and choice.time >= count:
        sentence = f"There is no frame {choice.time} in {path}; it has {count}, counted from 0."
        raise UsageError(sentence) if count > 1 else NothingToChooseError(sentence, "time")
    which = "the first" if choice.time is None else f"number {choice.time}"
    said = (f"the file holds {count} frames of a time series; {which} is read",) if count > 1 else ()
    return choice.time or 0, said


def index_of(path: Path, axes: str, shape: Sequence[int], choice: Choice) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """What to cut out of an array so that only channels, depth, rows, columns and samples remain.

    Parameters
    ----------
    path : Path
        The file, for the message of an error.
    axes : str
        A letter per axis: C, Z, Y, X, S and T as usual; any other axis is cut at its first place.
    shape : sequence of int
        Length of each axis.
    choice : Choice
        The frame asked for.

    Returns
    -------
    index : tuple
        One entry per axis.
    findings : tuple of str
        What was left out.
    """
    index: list[Any] = []
    findings: tuple[str, ...] = ()
    for axis, count in zip(axes, shape, strict=True):
        if axis in "CZYXS":
            index.append(slice(None))
        elif axis == "T":
            number, said = time_index(path, count, choice)
            index.append(number)
            findings += said
        else:
            index.append(0)
            if count > 1:
                findings += (f"the file holds {count} pages along the axis {axis}; the first is read",)
    if "T" not in axes:
        time_index(path, 1, choice)
    return tuple(index), findings


def in_order(path: Path, axes: str, pixels: NDArray[Any]) -> NDArray[Any]:
    """Pixels as ``(C, Y, X)`` or ``(C, Z, Y, X)``, from axes of C, Z, Y and X in any order, of which C and Z may lack.

    Raises
    ------
    ReadError
        If rows or columns lack, or an axis is there twice.
    """
    check_axes(path, axes)
    if "Z" in axes and pixels.shape[axes.index("Z")] == 1:
        pixels, axes = pixels.take(0, axis=axes.index("Z")), axes.replace("Z", "")
    wanted = [axis for axis in "CZYX" if axis in axes]
    pixels = pixels.transpose([axes.index(axis) for axis in wanted])
    pixels = pixels if "C" in axes else pixels[None]
    pixels = pixels.astype(np.uint8) if pixels.dtype.kind == "b" else pixels
    return np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False))


def check_axes(path: Path, axes: str) -> None:
    """Refuse what has no rows or no columns, or an axis twice.

    Raises
    ------
    ReadError
        If so.
    """
    if "Y" not in axes or "X" not in axes or len(set(axes)) != len(axes):
        raise ReadError(f"Expected an image with rows and columns, but {path} has the axes {axes!r}; export it again.")
