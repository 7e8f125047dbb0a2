"""What people type into fields, and what panels say."""

from __future__ import annotations

import html
import math
import re

from correlight.errors import UsageError

LANDMARKS = {"fixed": "#ffd400", "moving": "#00d0ff"}
COLOURS = {"accepted": "#2e9e4f", "doubtful": "#d98e04", "refused": "#d64545"}


def numbers(text: str, what: str) -> tuple[float, ...]:
    """The numbers in a field, empty for an empty one.

    Parameters
    ----------
    text : str
        Numbers parted by commas, semicolons or spaces.
    what : str
        What they are, for the message: "the pixel size of the fixed image".

    Raises
    ------
    UsageError
        If something else was typed.
    """
    parts = [part for part in re.split(r"[,;\s]+", text.strip()) if part]
    try:
        values = tuple(float(part) for part in parts)
    except ValueError:
        values = (math.nan,)
    if not all(math.isfinite(value) for value in values):
        raise UsageError(f"Numbers were expected as {what}, such as 0.5 or 0.2, 0.5, 0.5; got {text!r}.")
    return values


def limits(text: str, what: str) -> tuple[float, float] | None:
    """Two numbers in ascending order, None for an empty field.

    Raises
    ------
    UsageError
        If there are not two, or they descend.
    """
    values = numbers(text.replace("..", ","), what)
    if not values:
        return None
    if len(values) != 2 or values[0] > values[1]:
        raise UsageError(f"Two numbers in ascending order were expected as {what}, such as -10, 10; got {text!r}.")
    return values[0], values[1]


def sizes(values: tuple[float, ...]) -> str:
    """Pixel sizes as an empty field shows them: four digits, one number where all are the same."""
    values = values if len(set(values)) > 1 else values[:1]
    return ", ".join(f"{value:.4g}" for value in values)


def coloured(text: str, colour: str) -> str:
    """A bold line of rich text in a colour; whatever a file wrote into it stays text."""
    return f'<b style="color:{colour}">{html.escape(text)}</b>'
