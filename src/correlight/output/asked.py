"""What people write for an option, on the command line or in a table: intervals, pixel sizes, places, regions, grids.

Every function takes the text, and what messages call the option or the column.
"""

from __future__ import annotations

import math
import re
from numbers import Real
from typing import Literal, cast

from correlight.errors import UsageError

# No point at the end: in "0...5" the first number would otherwise swallow a point of the two that separate.
_NUMBER = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"

GridChoice = Literal["fixed", "moving", "none"] | float

# What `correlight.search.limits` takes for plausible; here as well, so that help does not wait for NumPy.
ROTATIONS = -360.0, 360.0
SCALES = 1e-3, 1e3
STRETCH_LIMITS = 1.0, 3.0


def interval(
    text: str | None, option: str, within: tuple[float, float], *, positive: bool = False
) -> tuple[float, float] | None:
    """The two numbers of ``A..B``, or None for None.

    Raises
    ------
    UsageError
        If there are not two finite numbers in ascending order, one that must be positive is not, or one lies outside
        of what is plausible.
    """
    if text is None:
        return None
    match = re.fullmatch(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*", text)
    low, high = (float(match[1]), float(match[2])) if match else (math.nan, math.nan)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high) or (positive and low <= 0):
        kind = "positive numbers" if positive else "numbers"
        example = "0.5..2" if positive else "-10..10"
        raise UsageError(f"{option} expects two {kind} in ascending order, such as {example}; got {text!r}.")
    if not (within[0] <= low and high <= within[1]):
        raise UsageError(f"{option} expects numbers from {within[0]:g} to {within[1]:g}; got {text!r}.")
    return low, high


def spacings(text: str | None, option: str) -> tuple[float, ...] | None:
    """One pixel size for every axis or one for each, array order, or None for None.

    Raises
    ------
    UsageError
        If there are not one to three positive numbers.
    """
    if text is None:
        return None
    if not re.fullmatch(rf"\s*{_NUMBER}(\s*,\s*{_NUMBER}){{0,2}}\s*", text):
        raise UsageError(f"{option} expects a positive pixel size, one number of micrometres or Z,Y,X; got {text!r}.")
    values = tuple(float(part) for part in text.split(","))
    for value in values:
        positive(value, option)
    return values


def position(text: str | None, option: str) -> tuple[float, ...] | None:
    """The two or three coordinates of a place, array order, or None for None.

    Raises
    ------
    UsageError
        If there are not two or three finite numbers.
    """
    if text is None:
        return None
    values = tuple(float(part) for part in re.findall(_NUMBER, text))
    if not re.fullmatch(rf"\s*{_NUMBER}(\s*,\s*{_NUMBER}){{1,2}}\s*", text) or not all(map(math.isfinite, values)):
        raise UsageError(f"{option} expects a place, Y,X or Z,Y,X in micrometres; got {text!r}.")
    return values


def box(text: str | None, option: str) -> tuple[int, int, int, int] | None:
    """The four whole numbers of ``Y0,Y1,X0,X1``, or None for None.

    Raises
    ------
    UsageError
        If there are not four, or they enclose no pixel.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,9})\s*,\s*(\d{1,9})\s*,\s*(\d{1,9})\s*,\s*(\d{1,9})\s*", text)
    top, bottom, left, right = (int(part) for part in match.groups()) if match else (0, 0, 0, 0)
    if top >= bottom or left >= right:
        raise UsageError(f"{option} expects Y0,Y1,X0,X1 in whole pixels with Y0 < Y1 and X0 < X1; got {text!r}.")
    return top, bottom, left, right


def grid_choice(text: str, option: str) -> GridChoice:
    """What a grid asks for: a word, or micrometres per pixel.

    Raises
    ------
    UsageError
        If it is neither.
    """
    if text in ("fixed", "moving", "none"):
        return cast(Literal["fixed", "moving", "none"], text)
    if re.fullmatch(_NUMBER, text) and math.isfinite(float(text)) and float(text) > 0:
        return float(text)
    raise UsageError(f"{option} expects fixed, moving, none or a positive number of micrometres; got {text!r}.")


def check_grid(choice: object, *words: str) -> None:
    """Refuse a grid of an output that is none of some words and no size of its pixels.

    Raises
    ------
    UsageError
        If it is neither.
    """
    number = isinstance(choice, Real) and not isinstance(choice, bool)
    if choice not in words if isinstance(choice, str) else not (number and 0 < float(cast(Real, choice)) < math.inf):
        raise UsageError(f"A grid is {', '.join(words)} or a positive number of micrometres per pixel; got {choice!r}.")


def positive(value: float | None, option: str) -> None:
    """Refuse a pixel size that is none.

    Raises
    ------
    UsageError
        If it is not a plausible number of micrometres.
    """
    from correlight.io.calibration import LARGEST, SMALLEST

    if value is not None and not (math.isfinite(value) and SMALLEST <= value <= LARGEST):
        raise UsageError(
            f"{option} expects a positive number of micrometres per pixel, from {SMALLEST:g} to {LARGEST:g}; "
            f"got {value:g}."
        )
