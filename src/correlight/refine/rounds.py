"""A field and the linear map after it, in rounds: what of the field is linear goes to the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from correlight.refine.elastic import ElasticChoice, ElasticFit, choose_field
from correlight.refine.samples import Comparison, LinearTransform
from correlight.refine.trial import FieldSettings
from correlight.transforms import Affine

# The linear part of a field counts if it moves places by this share of what the field does, and by so many pixels of
# the features.
_LINEAR_SHARE, _LEAST_PIXELS = 0.5, 1.0
_MOST_ROUNDS = 3


def choose_in_rounds(
    pairs: Sequence[Comparison], pose: LinearTransform, settings: FieldSettings | None = None
) -> tuple[ElasticChoice, LinearTransform]:
    """A field and the linear map that follows it.

    The field may turn out to have been linear altogether: then there is none, and the map is another one.

    A field ends at the rim of what was compared and is held back, so that it is a poor substitute for a linear map.
    Where much of it is linear, that goes to the map and a field is fitted anew; the round that agrees best on parts
    that it was not fitted to is taken.

    Parameters
    ----------
    pairs : sequence of Comparison
        The two images, as `choose_field` takes them.
    pose : Affine or Projective
        The linear map.
    settings : FieldSettings, optional
        How the field is fitted.
    """
    best, last = choose_field(pairs, pose, settings), pose
    fit = best.fit
    for number in range(2, _MOST_ROUNDS + 1):
        if fit is None:
            break
        moved = linear_part(fit, last)
        points = fit.grid.lattice(16)
        apart = np.linalg.norm(moved(points) - last(points), axis=1).mean() / last.scale
        total = np.linalg.norm(fit.field.displaced(points), axis=1).mean()
        if apart < _LINEAR_SHARE * total or apart < _LEAST_PIXELS * min(fit.grid.spacing):
            break
        again = choose_field(pairs, moved, settings)
        if again.agreement <= best.agreement:
            break
        what = "the linear map was corrected by the field of the round before"
        # What the round before gained over the map that was given, this one gains as well.
        better = None if again.fit is None else replace(again.fit, gain=max(fit.gain, again.fit.gain))
        best = ElasticChoice(better, f"{again.reason} (round {number}: {what})", again.agreement)
        fit, last = better, moved
    return best, last


def linear_part(fit: ElasticFit, pose: LinearTransform) -> Affine:
    """The affine map nearest to a field and the map after it, where the images speak for the field."""
    points = fit.grid.lattice(32)
    weights = np.sqrt(fit.evidence_at(points) + 1e-3)[:, None]
    columns = np.column_stack([points, np.ones(len(points))])
    found = np.linalg.lstsq(columns * weights, pose(fit.field(points)) * weights, rcond=None)[0]
    return Affine.of(found[:-1].T, found[-1])
