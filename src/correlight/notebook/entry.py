"""The public `register` and `from_landmarks`: those of the package, with results that know how to show themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import wraps
from typing import ParamSpec

from correlight.notebook.result import ResultWithImages
from correlight.registration import from_landmarks as landmarks
from correlight.registration import register as images
from correlight.registration.from_landmarks import LandmarkResult
from correlight.registration.result import Result

Asked = ParamSpec("Asked")


def _with_images(function: Callable[Asked, Result]) -> Callable[Asked, ResultWithImages]:
    @wraps(function)
    def shown(*args: Asked.args, **kwargs: Asked.kwargs) -> ResultWithImages:
        return _shown(function(*args, **kwargs))

    return shown


def _shown(result: Result) -> ResultWithImages:
    return ResultWithImages(**{field.name: getattr(result, field.name) for field in fields(result)})


register = _with_images(images.register)


@wraps(landmarks.from_landmarks)
def from_landmarks(*args: object, **kwargs: object) -> LandmarkResult:
    """As `correlight.registration.from_landmarks.from_landmarks`."""
    found = landmarks.from_landmarks(*args, **kwargs)  # type: ignore[arg-type]
    return replace(found, result=_shown(found.result))
