"""What each kind of method must offer.

A method is a class. A recipe names it and gives its settings, which the class states as a pydantic model `Settings`;
`register` makes one object of it with those settings and calls it. What it cannot serve it says in `serves`, so that
every combination of recipe, images and options either runs as it says or is refused in one sentence beforehand.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, get_args, runtime_checkable

from pydantic import BaseModel, ConfigDict

from correlight.methods.task import Candidate, Fit, Judgement, Task
from correlight.search.stretch import StretchedPose

Dimension = Literal["2-D", "3-D", "section in stack"]
DIMENSIONS: tuple[Dimension, ...] = ("2-D", "3-D", "section in stack")
# Options of `register` that a method may or may not heed; all others are heeded by `register` itself.
Option = Literal["rotation", "scale", "stretch", "mirror", "start", "pose", "landmarks"]
OPTIONS: tuple[Option, ...] = get_args(Option)


class MethodSettings(BaseModel):
    """Settings of a method in a recipe; those of a method derive from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Serves:
    """What a method can be asked.

    Parameters
    ----------
    dimensions : set of {"2-D", "3-D", "section in stack"}
        Kinds of images.
    options : set of {"rotation", "scale", "stretch", "mirror", "start", "pose"}
        Options of `register` that it heeds.
    models : tuple of str
        Kinds of transform that the user may ask for, poorest first; empty where the method does not choose.
    appearance : bool
        Whether it compares images by the appearance of the recipe.
    less_overlap : bool
        Whether it is worth asking again with a smaller least overlap, where nothing was accepted.
    """

    dimensions: AbstractSet[Dimension] = frozenset(DIMENSIONS)
    options: AbstractSet[Option] = frozenset()
    models: tuple[str, ...] = ()
    appearance: bool = False
    less_overlap: bool = False


class Method(Protocol):
    """What all methods have in common."""

    Settings: ClassVar[type[MethodSettings]]

    def __init__(self, settings: Any) -> None: ...

    def serves(self, dimension: Dimension) -> Serves:
        """What it can be asked with images of a kind; a kind that it does not serve is not in the answer."""
        ...


class Search(Method, Protocol):
    """Finds poses."""

    gives: ClassVar[tuple[type[Candidate], ...]]

    @property
    def scale(self) -> tuple[float, float]:
        """Least and greatest moving pixels per fixed pixel where a pixel size is unknown."""
        ...

    @property
    def calibrated_tolerance(self) -> float:
        """By how much the scale may differ from what both files claim."""
        ...

    @property
    def least_overlap(self) -> float:
        """Least common area as a fraction of the smaller field."""
        ...

    def find(self, task: Task) -> Candidate:
        """The best candidate; one without poses where nothing was found."""
        ...


@runtime_checkable
class SearchesStretch(Protocol):
    """A search that finds out whether one image is stretched along one of its axes; it heeds the option stretch."""

    def stretch(self, task: Task, candidate: Candidate, within: tuple[float, float]) -> StretchedPose | None:
        """The likeliest stretch within limits, after nothing was accepted without; None where there is none."""
        ...


class Refinement(Method, Protocol):
    """Makes the first pose of a candidate exact."""

    takes: ClassVar[tuple[type[Candidate], ...]]
    gives: ClassVar[tuple[type[Fit], ...]]

    def fit(self, task: Task, candidate: Candidate) -> Fit:
        """The transform; the candidate has at least one pose."""
        ...


@runtime_checkable
class AddsField(Protocol):
    """A refinement that can add a smooth field to a linear map that was accepted."""

    def with_field(self, task: Task, fit: Fit) -> Fit | None:
        """The fit with a field where held-out parts clearly speak for one, or without and with a reason that says so.

        None where the recipe, the images or what was asked for leave fields out.
        """
        ...


class EvidenceMethod(Method, Protocol):
    """Judges a fit."""

    takes: ClassVar[tuple[type[Fit], ...]]

    def judge(self, task: Task, fit: Fit) -> Judgement:
        """The verdict, and the error to expect."""
        ...
