"""Recipes: which appearance, which search, which refinement, which limits; as data."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from correlight.errors import UsageError


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Search(_Strict):
    """How the pose is found.

    Parameters
    ----------
    engine : {"features", "mutual information", "fiducials", "point clouds", "patches"}
        What gives every shift its score, or beads or organelles instead; "patches" is for volumes.
    channels : {"classical", "descriptor", "descriptor and edges"}
        Feature channels: edges, the learned descriptor, or both; for the engine "features" and as evidence.
    scale : tuple of float
        Least and greatest moving pixels per fixed pixel where a pixel size is unknown.
    calibrated_tolerance : float
        By how much the scale may differ from what both files claim.
    least_overlap : float
        Least common area as a fraction of the smaller field.
    orientations : {"about z", "all"}
        Of volumes: whether the two z axes point roughly along one line, or any of the three axes may lie along z.
    """

    engine: Literal["features", "mutual information", "fiducials", "point clouds", "patches"]
    channels: Literal["classical", "descriptor", "descriptor and edges"]
    scale: tuple[float, float] = Field(default=(0.25, 4.0))
    calibrated_tolerance: float = Field(default=0.15, gt=0, lt=1)
    least_overlap: float = Field(default=0.35, gt=0, lt=1)
    orientations: Literal["about z", "all"] = "about z"


class Refine(_Strict):
    """How the pose becomes exact.

    Parameters
    ----------
    measure : {"auto", "features", "mutual information", "neural mutual information", "fiducials"}
        What is maximised; "auto" takes the one whose fits to two halves agree best. With "fiducials" the transform
        is fitted to matched beads. Without a say where the engine is "point clouds".
    models : tuple of str
        Kinds of transform that may be chosen, poorest first.
    hypotheses : int
        How many poses are refined.
    """

    measure: Literal["auto", "features", "mutual information", "neural mutual information", "fiducials"]
    models: tuple[Literal["rigid", "similarity", "affine", "projective"], ...] = Field(min_length=1)
    hypotheses: int = Field(default=8, ge=1)


class Beads(_Strict):
    """What is known of the beads that "fiducials" look for; lengths in micrometres.

    Parameters
    ----------
    diameter : float or None
        Of a bead; found from the pictures without.
    fixed_psf, moving_psf : float
        Standard deviation of the point-spread function of either instrument; counts where the diameter is given.
    stretch : float
        By how much the images may be stretched or sheared against each other, as a share of lengths.
    """

    diameter: float | None = Field(default=None, gt=0)
    fixed_psf: float = Field(default=0.0, ge=0)
    moving_psf: float = Field(default=0.0, ge=0)
    stretch: float = Field(default=0.04, gt=0, lt=0.2)


class Clouds(_Strict):
    """How organelles become clouds of points; the same as `correlight.point_clouds.method.Organelles`.

    Parameters
    ----------
    fixed, moving : {"auto", "labels", "blobs"}
        Whether an image holds labels or is segmented by its blobs.
    polarity : {"bright", "dark"}
        Of blobs.
    points : int
        Most points per cloud.
    outline : bool
        Whether points lie on outlines only.
    outliers : float
        Share of points without a mate.
    beta, lambda_ : float
        Where bending is allowed: standard deviation of the kernel, in units of the moving image, and weight of
        smoothness against fit, as in `fit_clouds`.
    """

    fixed: Literal["auto", "labels", "blobs"] = "auto"
    moving: Literal["auto", "labels", "blobs"] = "auto"
    polarity: Literal["bright", "dark"] = "bright"
    points: int = Field(default=2000, ge=5)
    outline: bool = True
    outliers: float = Field(default=0.2, gt=0, lt=1)
    beta: float | None = Field(default=None, gt=0)
    lambda_: float = Field(default=200.0, gt=0)


class Recipe(_Strict):
    """One way of registering, as a frozen object; a TOML file holds the same fields."""

    name: str
    summary: str
    search: Search
    refine: Refine
    beads: Beads = Beads()
    clouds: Clouds = Clouds()


def names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(entry.name[:-5] for entry in resources.files(__name__).iterdir() if entry.name.endswith(".toml"))


def load(recipe: str | Path) -> Recipe:
    """A recipe by its name, or from a TOML file.

    Raises
    ------
    UsageError
        If there is no such recipe, or the file does not hold one.

    Examples
    --------
    >>> load("auto").search.engine
    'features'
    """
    path = Path(recipe)
    if path.suffix == ".toml":
        try:
            text = path.read_text()
        except OSError as error:
            raise UsageError(f"The recipe {path} cannot be read ({error.strerror}); check the path.") from error
    elif str(recipe) in names():
        text = resources.files(__name__).joinpath(f"{recipe}.toml").read_text()
    else:
        raise UsageError(f"There is no recipe {str(recipe)!r}; choose {', '.join(names())} or a .toml file.")
    try:
        return Recipe.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"The recipe {recipe} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"The recipe {recipe} does not fit at {where!r}: {first['msg']}.") from error
