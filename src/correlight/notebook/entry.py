"""The public `register` and `from_landmarks`: those of the package, with results that know how to show themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from correlight.errors import UsageError
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
    """A function whose outcome is turned into another one; it keeps its parameters and its documentation.

    An option that it does not have is refused with the name that comes nearest, as Python does from 3.13 on.
    """
    known = list(signature(function).parameters)

    @wraps(function)
    def called(*args: Asked.args, **kwargs: Asked.kwargs) -> Shown:
        for name in kwargs:
            if name not in known:
                near = get_close_matches(name, known, 1, 0.5)
                meant = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}."
                raise UsageError(f"{function.__name__} has no option {name!r}; {meant}")
        return show(function(*args, **kwargs))

    return called


def _shown(result: Result) -> ResultWithImages:
    seen = tuple(fingerprint(image) for image in result.images or ())
    return ResultWithImages(**{field.name: getattr(result, field.name) for field in fields(result)}, seen=seen)


def _shown_of_landmarks(found: LandmarkResult) -> LandmarkResult:
    return replace(found, result=_shown(found.result))


register = _then(images.register, _shown)
from_landmarks = _then(landmarks.from_landmarks, _shown_of_landmarks)
