"""What the commands share: their options."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token

from correlight.cli import terminal

Output = Annotated[Path, Parameter(name=("--output", "-o"), help="Output folder; written completely or not at all.")]
Overwrite = Annotated[bool, Parameter(negative="", help="Replace an earlier result.")]
Spacing = Annotated[float | None, Parameter(help="Micrometres per pixel, in place of what the file states.")]
Spacings = Annotated[
    str | None, Parameter(help="Micrometres per pixel, one number or Z,Y,X, in place of what the file states.")
]


def _whole(kind: object, tokens: Sequence[Token]) -> int:
    """The whole number of an option; a fraction is not rounded to one."""
    text = tokens[0].value
    if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        raise ValueError(f"a whole number was expected; got {text!r}")
    return int(text)


Whole = Annotated[int, Parameter(converter=_whole)]
Signed = Parameter(allow_leading_hyphen=True)
_SCENE = "Which of several images in the file, by 0-based number or name; the first without."
_SERIES = "Which series of pages of a TIFF file, from 0; the first that is no preview without."
_TIME = (
    "Which frame of a time series, or page of a file that states no meaning of its pages, from 0; the first without."
)
_VIEW = "Which view (angle, phase, illumination), a number from 0 or as V=1,H=0; the first without."
Scene = Annotated[str | None, Parameter(help=_SCENE)]
Series = Annotated[Whole | None, Parameter(help=_SERIES)]
Time = Annotated[Whole | None, Parameter(name=("--time", "--page"), help=_TIME)]
FixedTime = Annotated[Whole | None, Parameter(name=("--fixed-time", "--fixed-page"), help=_TIME)]
MovingTime = Annotated[Whole | None, Parameter(name=("--moving-time", "--moving-page"), help=_TIME)]
View = Annotated[str | None, Parameter(help=_VIEW)]
FailOn = Annotated[
    terminal.FailOn | None,
    Parameter(help="The least verdict that ends with exit code 3 rather than 0."),
]
ExitZero = Annotated[bool, Parameter(negative="", help="End with 0 whatever the verdict: the same as --fail-on never.")]

Composite = Annotated[
    bool, Parameter(negative="", help="Write the fixed image and all registered channels as one image as well.")
]
Crate = Annotated[
    bool, Parameter(negative="", help="Describe the folder as an RO-Crate as well (ro-crate-metadata.json).")
]


def _of_both(words: str) -> str:
    """The help of an option for two files, from that for one."""
    return f"Of both files, as far as they hold several: {words[0].lower()}{words[1:]}"


@Parameter(name="*")
@dataclass(frozen=True)
class Part:
    """Which part of the one file a command reads.

    Parameters
    ----------
    scene : str or None
        Which of several images in a file.
    series : int or None
        Which series of pages.
    time : int or None
        Which frame.
    view : str or None
        Which view.
    """

    scene: Scene = None
    series: Series = None
    time: Time = None
    view: View = None


@Parameter(name="*")
@dataclass(frozen=True)
class Parts:
    """Which parts of the two files a command reads: the same options in every command, for both or each of the two.

    Parameters
    ----------
    scene, series, time, view : str or int or None
        The same as of each file, of whichever holds several.
    fixed_scene, moving_scene : str or None
        Which of several images in a file.
    fixed_series, moving_series : int or None
        Which series of pages.
    fixed_time, moving_time : int or None
        Which frame.
    fixed_view, moving_view : str or None
        Which view.
    """

    scene: Annotated[Scene, Parameter(help=_of_both(_SCENE))] = None
    series: Annotated[Series, Parameter(help=_of_both(_SERIES))] = None
    time: Annotated[Time, Parameter(help=_of_both(_TIME))] = None
    view: Annotated[View, Parameter(help=_of_both(_VIEW))] = None
    fixed_scene: Scene = None
    moving_scene: Scene = None
    fixed_series: Series = None
    moving_series: Series = None
    fixed_time: FixedTime = None
    moving_time: MovingTime = None
    fixed_view: View = None
    moving_view: View = None

    @property
    def of_both(self) -> dict[str, Any]:
        """What both files are read by as far as they hold several images (`correlight.output.parts`)."""
        return {"scene": self.scene, "series": self.series, "time": self.time, "view": self.view}

    @property
    def of_fixed(self) -> dict[str, Any]:
        """What `correlight.io.read` is told of the fixed image."""
        return {
            "scene": self.fixed_scene,
            "series": self.fixed_series,
            "time": self.fixed_time,
            "view": self.fixed_view,
        }

    @property
    def of_moving(self) -> dict[str, Any]:
        """What `correlight.io.read` is told of the moving image."""
        return {
            "scene": self.moving_scene,
            "series": self.moving_series,
            "time": self.moving_time,
            "view": self.moving_view,
        }


# Of every file what is read without options.
FIRST, FIRST_PART = Parts(), Part()
