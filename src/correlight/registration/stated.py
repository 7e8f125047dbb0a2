"""The ways to read what two files state and to look for a pose, one after the other, and what to say of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from correlight.evidence.predicted_error import PredictedError
from correlight.geometry import Grid
from correlight.images.tilt import Tilt
from correlight.registration.result import Result
from correlight.search.limits import SMALLEST_OVERLAP, STRETCH_LIMITS, claimed_scale
from correlight.search.pose import Pose
from correlight.search.stretch import FOLLOWED, Stretch, StretchedPose
from correlight.transforms import Affine

# Pixels whose sides differ by less than this are square for all purposes.
_SQUARE = 0.02
# Where a result is accepted, a stretch is searched if its predicted error is more than this share of the width.
_INEXACT = 0.015
# A scale that differs from the claimed one by more than this is worth saying; where claims are right, it is less.
_WRONG_SCALE = 0.02


@dataclass(frozen=True, eq=False)
class Reading:
    """One way to read what two files state, and how much of them ought to be common.

    Parameters
    ----------
    fixed, moving : Grid
        The images as this reading has them.
    believed : bool
        Whether the claimed pixel sizes limit the search for the scale.
    sentence : str
        What is wrong with the files if this reading is right; empty for the files as they are, and where an image is
        stretched, of which the fit says by how much.
    least_overlap : float, optional
        Least common area as a fraction of the smaller field, where it is smaller than usual.
    stretch : Stretch, optional
        What an image is taken to be too long by.
    scale : float, optional
        Moving units per fixed unit that were found with it.
    """

    fixed: Grid
    moving: Grid
    believed: bool = True
    sentence: str = ""
    least_overlap: float | None = None
    stretch: Stretch | None = None
    scale: float | None = None

    @classmethod
    def stretched(cls, fixed: Grid, moving: Grid, found: StretchedPose) -> Reading:
        """The files as they are, but for a stretch of one image."""
        stretch = found.stretch
        grids = stretch.grid(fixed, "fixed"), stretch.grid(moving, "moving")
        return cls(*grids, stretch=stretch, scale=found.pose.scale)

    def units(self, fixed: Grid, moving: Grid) -> tuple[Affine, Affine]:
        """From moving positions of this reading to those that the file states, and from stated fixed ones to its own.

        Parameters
        ----------
        fixed, moving : Grid
            As the files state them.
        """
        into = Affine(moving.matrix @ np.linalg.inv(self.moving.matrix))
        return into, Affine(self.fixed.matrix @ np.linalg.inv(fixed.matrix))

    @property
    def last_resort(self) -> bool:
        """Whether it is tried only where nothing was accepted."""
        return not self.believed or self.least_overlap is not None or self.stretch is not None


def readings(
    fixed: Grid,
    moving: Grid,
    *,
    scale_is_free: bool,
    usual_overlap: float | None = None,
    tilts: tuple[Tilt | None, Tilt | None] = (None, None),
) -> Iterator[Reading]:
    """The files as they are; with the specimen tilted as they state; with the sides of pixels exchanged; and so on.

    Then follow less in common, and any scale.

    Parameters
    ----------
    fixed, moving : Grid
        As the files state them.
    scale_is_free : bool
        Whether the claimed pixel sizes are all that limits the scale: neither a start nor limits were given.
    usual_overlap : float, optional
        Least overlap of the search, if it may be asked for less.
    tilts : pair of Tilt or None
        Of the fixed and the moving file, where they state one that their pixel sizes are not corrected for.
    """
    yield Reading(fixed, moving)
    yield from _tilted(fixed, moving, *tilts)
    for role, grid in (("moving", moving), ("fixed", fixed)):
        if grid.calibrated and grid.ndim == 2 and max(grid.spacing) > (1 + _SQUARE) * min(grid.spacing):
            exchanged = replace(grid, spacing=grid.spacing[::-1])
            sentence = (
                f"The {role} file has the two sides of its pixels exchanged: {grid.spacing[0]:.4g} and "
                f"{grid.spacing[1]:.4g} µm along y and x should be exchanged; the transform corrects for it."
            )
            grids = (exchanged, moving) if role == "fixed" else (fixed, exchanged)
            yield Reading(*grids, True, sentence)
    if usual_overlap is not None and usual_overlap > SMALLEST_OVERLAP:
        yield Reading(fixed, moving, least_overlap=SMALLEST_OVERLAP)
    if scale_is_free and claimed_scale(fixed, moving) is not None:
        yield Reading(fixed, moving, False)


def _tilted(fixed: Grid, moving: Grid, of_fixed: Tilt | None, of_moving: Tilt | None) -> Iterator[Reading]:
    """Either file with its tilt undone, or both; a tilt that the usual search follows by itself is left alone."""
    tilts = {"fixed": of_fixed, "moving": of_moving}
    stated = {role: tilt for role, tilt in tilts.items() if tilt is not None and tilt.factor >= FOLLOWED}
    for roles in (("moving",), ("fixed",), ("fixed", "moving")):
        if all(role in stated for role in roles):
            one = stated["fixed"].grid(fixed) if "fixed" in roles else fixed
            other = stated["moving"].grid(moving) if "moving" in roles else moving
            said = " ".join(_tilt_said(role, stated[role]) for role in roles)
            yield Reading(one, other, True, f"{said} The transform corrects for it.")


def _tilt_said(role: str, tilt: Tilt) -> str:
    return (
        f"The specimen was tilted by {tilt.degrees:.3g} degrees in the {role} image, as its file states: on the "
        f"specimen its pixels are {tilt.factor:.2f} times as long along {'yx'[tilt.axis]}."
    )


def may_be_stretched(result: Result) -> bool:
    """Whether a stretch is worth a search: nothing was accepted, or what was is not exact, as no similarity is then."""
    return not result or inexactness(result) > _INEXACT


def inexactness(result: Result) -> float:
    """The median of the predicted error as a share of the longer side of the fixed image."""
    predicted = result.predicted_error
    return predicted.median / max(predicted.grid.extent)


def as_stated(result: Result, reading: Reading, fixed: Grid, moving: Grid) -> Result:
    """A result in the units that the files state, though another reading found it.

    Parameters
    ----------
    result : Result
        Of the reading.
    reading : Reading
        How the files were read.
    fixed, moving : Grid
        As the files state them.
    """
    if reading.fixed is fixed and reading.moving is moving:
        return result
    into, out = reading.units(fixed, moving)

    def pose(one: Pose) -> Pose:
        return replace(one, moving_from_fixed=into @ one.moving_from_fixed @ out)

    predicted = result.predicted_error
    return replace(
        result,
        moving_from_fixed=into @ result.moving_from_fixed @ out,
        model="affine" if result.model in ("rigid", "similarity") else result.model,
        poses=tuple(pose(one) for one in result.poses),
        predicted_error=PredictedError(predicted.values, fixed.resized(predicted.grid.shape)),
    )


def remarks(
    result: Result, reading: Reading, tried: Sequence[Reading] = (), stretch_searched: bool = False
) -> tuple[str, ...]:
    """What a result says beyond its evidence, in sentences.

    Parameters
    ----------
    result : Result
        An accepted one tells of wrong pixel sizes, a stretch and a mirrored scan, any other what was searched in vain.
    reading : Reading
        The one that it is of.
    tried : sequence of Reading
        All that were tried.
    stretch_searched : bool
        Whether a stretch was searched.
    """
    if not result:
        said = []
        least = min((one.least_overlap for one in tried if one.least_overlap is not None), default=None)
        if least is not None:
            said.append(
                f"Poses with as little as {100 * least:.0f} % of the smaller field in common were searched, too."
            )
        if stretch_searched:
            said.append("A stretch of either image along one of its axes was searched, too.")
        return tuple(said)
    said = [reading.sentence] if reading.sentence else []
    if reading.stretch is not None:
        # What was tried comes near it; the fit is exact.
        whole, _ = replace(reading.stretch, factor=1.0).refined(result.poses[0].linear, STRETCH_LIMITS)
        said = [whole.sentence]
    if result.scale_claimed is not None and reading.stretch is None:
        off = result.scale_found / result.scale_claimed - 1
        if abs(off) > _WRONG_SCALE:
            said.append(
                f"The pixel sizes in the files do not agree: they claim {result.scale_claimed:.3g} moving pixels "
                f"per fixed pixel, and {result.scale_found:.3g} were found, {abs(100 * off):.0f} % "
                f"{'more' if off > 0 else 'fewer'}; the transform corrects for it."
            )
    if result.poses and result.poses[0].linear.mirrored:
        said.append("The moving image is mirrored relative to the fixed one; the transform corrects for it.")
    return tuple(said)
