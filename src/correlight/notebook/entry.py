"""The public `register` and `from_landmarks`: those of the package, with results that know how to show themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import wraps
from typing import ParamSpec, TypeVar

from correlight.images.fingerprint import fingerprint
from correlight.notebook.result import ResultWithImages
from correlight.registration import from_landmarks as landmarks
from correlight.registration import register as images
from correlight.registration.from_landmarks import LandmarkResult
from correlight.registration.result import Result

Asked = ParamSpec("Asked")
Made = TypeVar("Made")
Shown = TypeVar("Shown")


def _then(function: Callable[Asked, Made], show: Callable[[Made], Shown]) -> Callable[Asked, Shown]:
    """A function whose outcome is turned into another one; it keeps its parameters and its documentation."""

    @wraps(function)
    def called(*args: Asked.args, **kwargs: Asked.kwargs) -> Shown:
        return show(function(*args, **kwargs))

    return called


def _shown(result: Result) -> ResultWithImages:
    seen = tuple(fingerprint(image) for image in result.images or ())
    return ResultWithImages(**{field.name: getattr(result, field.name) for field in fields(result)}, seen=seen)


def _shown_of_landmarks(found: LandmarkResult) -> LandmarkResult:
    return replace(found, result=_shown(found.result))


register = _then(images.register, _shown)
from_landmarks = _then(landmarks.from_landmarks, _shown_of_landmarks)
