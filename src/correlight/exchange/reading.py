"""The one layer through which every file of another tool is read.

A reader says what it expects and is wrapped here. Whatever a damaged or hostile file leads it to ends in one sentence
that names the file, and what comes out is finite and can be used: no reader needs to foresee every way in which a
number, a list or an attribute can be something else.
"""

from __future__ import annotations

from collections import abc
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from correlight.errors import CorrelightError, ReadError, TransformError
from correlight.exchange.flat import FARTHEST
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.transforms import Affine, Chain, Displacement, Projective, Transform
from correlight.transforms.bent import Inverted

_Options = ParamSpec("_Options")
_Content = TypeVar("_Content", bound="Transform | LandmarkTable | PointTable")


def reads(
    expected: str,
) -> abc.Callable[
    [abc.Callable[Concatenate[str | Path, _Options], _Content]],
    abc.Callable[Concatenate[str | Path, _Options], _Content],
]:
    """Make a reader end in a transform or table that can be used, or in one sentence.

    Parameters
    ----------
    expected : str
        What the reader looks for, with its article: "a view of MoBIE".

    Returns
    -------
    callable
        A decorator for functions whose first argument is the file.
    """

    def decorated(
        read: abc.Callable[Concatenate[str | Path, _Options], _Content],
    ) -> abc.Callable[Concatenate[str | Path, _Options], _Content]:
        @wraps(read)
        def reading(path: str | Path, /, *args: _Options.args, **options: _Options.kwargs) -> _Content:
            try:
                # Numbers that overflow on the way come out infinite, and are refused below rather than warned of.
                with np.errstate(all="ignore"):
                    content = read(path, *args, **options)
                    check(content, f"{path} was read as {expected}, but")
            except CorrelightError:
                raise
            except Exception as error:  # the only place that expects anything: foreign files lead anywhere
                detail = " ".join(str(error).split())[:200] or type(error).__name__
                raise ReadError(f"Expected {expected}, but {path} is damaged ({detail}); export it again.") from error
            return content

        return reading

    return decorated


def check(content: Transform | LandmarkTable | PointTable, subject: str) -> None:
    """Refuse what no image can be moved by: numbers that are not finite, maps that flatten the image.

    Parameters
    ----------
    content : Transform, LandmarkTable or PointTable
        What was read.
    subject : str
        How the sentence of an error begins: "a.tfm was read as an ITK transform, but".

    Raises
    ------
    ReadError
        If it cannot be used.
    """
    tables: tuple[PointTable, ...] = ()
    if isinstance(content, LandmarkTable):
        tables = (content.fixed, content.moving)
    elif isinstance(content, PointTable):
        tables = (content,)
    else:
        _check_transform(content, subject)
    for table in tables:
        if not len(table.points) or not np.isfinite(table.points).all() or np.abs(table.points).max() > FARTHEST:
            raise ReadError(f"{subject} its points are not all finite places of an image; export it again.")


def _check_transform(transform: Transform, subject: str) -> None:
    for part in transform.parts if isinstance(transform, Chain) else (transform,):
        inner = part.of if isinstance(part, Inverted) else part
        grid = getattr(inner, "grid", None)
        if isinstance(inner, Affine | Projective):
            numbers = inner.matrix
        elif grid is not None:
            # The numbers of fields and splines are finite already; where they stand can still be out of the world.
            values = inner.vectors if isinstance(inner, Displacement) else getattr(inner, "coefficients", np.zeros(1))
            extremes = [values.min(), values.max()]
            numbers = np.array([*extremes, *grid.origin, *grid.spacing, *(1e-3 / step for step in grid.spacing)])
        else:
            continue
        if not np.isfinite(numbers).all() or np.abs(numbers).max() > FARTHEST:
            raise ReadError(f"{subject} its numbers reach {np.abs(numbers).max():.3g}; export it again.")
        if isinstance(inner, Affine | Projective):
            try:
                inner.inverse()
            except (TransformError, np.linalg.LinAlgError) as error:
                raise ReadError(f"{subject} its transform is singular (it flattens the image).") from error
