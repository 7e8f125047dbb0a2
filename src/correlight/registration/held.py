"""The caller's limits hold for what comes out, not only for where the search begins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from correlight.evidence.verdict import Evidence, Verdict
from correlight.geometry import Grid
from correlight.methods.task import Fit, Judgement
from correlight.refine.samples import LinearTransform
from correlight.registration.options import Options
from correlight.search.limits import Limits, pixel_sizes
from correlight.search.stretch import FOLLOWED
from correlight.transforms import Affine, scale_of

# A fit that leaves the limits by less than this (degrees, relative scale) is set back to them and judged as it then is;
# one that leaves them by more says that the truth lies elsewhere.
_ROTATION_SLACK, _SCALE_SLACK = 0.5, 0.01


def held(fit: Fit, options: Options, fixed: Grid, moving: Grid) -> tuple[Fit, Evidence | None]:
    """A fit whose rotation and scale are within what the caller allowed.

    Parameters
    ----------
    fit : Fit
        What a refinement found; it may have followed the images beyond the limits.
    options : Options
        What the caller asked for. Limits that follow from files or from a start are no promise and not looked at.
    fixed, moving : Grid
        Of the two images.

    Returns
    -------
    fit : Fit
        Rotated and scaled about the middle of the fixed field, to the nearest allowed pose.
    beyond : Evidence or None
        What contradicts the result where the images fit best far outside the limits.
    """
    one, other = pixel_sizes(fixed, moving)
    units = other / one
    rotation, scale = _rotation(fit.linear, fixed), scale_of(fit.linear, fixed.centre)
    spans = options.scale or (scale / units, scale / units)
    limits = Limits((spans[0] * units, spans[1] * units), options.rotation or (0.0, 360.0))
    rotated, scaled = limits.nearest(rotation, scale)
    by = (rotated - rotation + 180) % 360 - 180
    if abs(by) < 1e-9 and abs(scaled / scale - 1) < 1e-12:
        return fit, None
    correction = _about(by, scaled / scale, fit.linear(fixed.centre[None])[0])
    linear = correction @ fit.linear
    transform = linear if fit.transform is fit.linear else correction @ fit.transform
    inside = replace(fit, transform=transform, linear=linear)
    if abs(by) > _ROTATION_SLACK:
        first, last = limits.rotation
        found = (rotation + 180) % 360 - 180
        return inside, Evidence(
            "limits of rotation", abs(by), _ROTATION_SLACK, False,
            f"The images fit best at a rotation of {found:.1f}°, outside the {first:g}° to {last:g}° that were asked "
            "for; widen the limits.",
        )  # fmt: skip
    if abs(scaled / scale - 1) > _SCALE_SLACK:
        return inside, Evidence(
            "limits of scale", abs(scaled / scale - 1), _SCALE_SLACK, False,
            f"The images fit best at a scale of {scale / units:.3g} moving pixels per fixed pixel, outside the "
            f"{spans[0]:.3g} to {spans[1]:.3g} that were asked for; widen the limits.",
        )  # fmt: skip
    return inside, None


def beyond_stretch(linear: LinearTransform, stretch: tuple[float, float] | None, fixed: Grid) -> Evidence | None:
    """What contradicts a fit that stretches one axis more or less than the caller allowed; None where nothing does.

    Parameters
    ----------
    linear : Affine or Projective
        In the units that the files state.
    stretch : (least, greatest), optional
        How many times longer than the other one axis may be.
    fixed : Grid
        Of the fixed image, as its file states it.
    """
    if stretch is None or linear.ndim != 2:
        return None
    lengths = np.linalg.svd(linear.jacobian(fixed.centre[None])[0], compute_uv=False)
    found, (least, most) = float(lengths[0] / lengths[-1]), stretch
    if least / FOLLOWED <= found <= most * FOLLOWED:
        return None
    return Evidence(
        "limits of stretch", found, most if found > most else least, False,
        f"The images fit best with a stretch of {found:.2f}, outside the {least:g} to {most:g} that were asked for; "
        "widen the limits.",
    )  # fmt: skip


def refused(judgement: Judgement, beyond: Evidence) -> Judgement:
    """The judgement of a fit that left the limits: refused, for that reason first."""
    verdict = judgement.verdict
    reasons = (beyond.sentence, *(verdict.reasons if verdict.status == "refused" else ()))
    return replace(judgement, verdict=Verdict("refused", 0.0, reasons, (beyond, *verdict.evidence)))


def _rotation(linear: LinearTransform, fixed: Grid) -> float:
    """Degrees in [0, 360) in the middle of the field; of stacks, in the plane of the sections."""
    middle = linear.jacobian(fixed.centre[None])[0]
    return Affine.of(middle[-2:, -2:], (0.0, 0.0)).rotation


def _about(degrees: float, scale: float, place: np.ndarray) -> Affine:
    """A rotation, in space about z, and a scale that leave one place where it is."""
    flat = Affine.similarity(degrees, scale, source=place[-2:], target=place[-2:])
    if len(place) == 2:
        return flat
    linear = np.diag([scale, 1.0, 1.0])
    linear[1:, 1:] = flat.linear
    return Affine.of(linear, place - linear @ place)
