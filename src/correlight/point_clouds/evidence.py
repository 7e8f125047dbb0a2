"""Evidence for and against a fit of clouds, and its verdict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from correlight.evidence.verdict import Evidence, Status, Verdict, verdict_of
from correlight.geometry import Grid, Points
from correlight.point_clouds.fit import CloudFit
from correlight.search.limits import claimed_scale
from correlight.transforms import Transform

# A right pose beats the next one by this much likelihood per point, a logarithm: organelles of which a quarter have no
# correspondence reach 0.9 to 2, unrelated ones 0 to 0.3.
_MARGIN_LIMIT, _MARGIN_LEAST = 0.4, 0.2
# Corresponding points of a right pose lie this close together, in units of the mean distance of neighbours at random.
_SPREAD_LIMIT = 0.75
_MATCHED_LIMIT = 0.4
_APART_LIMIT = 0.02
_SCALE_LIMIT = 0.15


def evidence_of(
    fit: CloudFit,
    halves: tuple[Transform, Transform],
    points: tuple[Points, Points],
    fixed: Grid,
    moving: Grid,
) -> tuple[Evidence, ...]:
    """The evidence for and against a fit, each as a sentence with a number in it."""
    evidence = []
    if np.isfinite(fit.margin):
        good = fit.margin >= _MARGIN_LIMIT
        said = (
            f"Each point is {np.exp(min(fit.margin, 9.0)):.1f} times as likely here as in the best other orientation."
        )
        evidence.append(Evidence("Margin over rivals", fit.margin, _MARGIN_LIMIT, good, said))
    near = fit.spread / max(_neighbours_by_chance(points[1]), fit.linear.scale * _neighbours_by_chance(points[0]))
    said = (
        f"Corresponding points lie {fit.spread:.3g} {moving.frame.symbol} apart, {near:.2f} times as far as neighbours "
        "among points at random."
    )
    evidence.append(Evidence("Correspondences", near, _SPREAD_LIMIT, near <= _SPREAD_LIMIT, said))
    share = float(fit.matched_moving.mean())
    said = f"{100 * share:.0f} % of the moving points have a corresponding point."
    evidence.append(Evidence("Matched points", share, _MATCHED_LIMIT, share >= _MATCHED_LIMIT, said))
    places = fixed.lattice(10)
    apart = float(np.mean(np.linalg.norm(halves[0](places) - halves[1](places), axis=1)))
    apart /= fit.linear.scale * max(fixed.extent)
    said = f"Fits to two separate halves of the organelles differ by {100 * apart:.1f} % of the width."
    evidence.append(Evidence("Two halves", apart, _APART_LIMIT, apart <= _APART_LIMIT, said))
    if claimed_scale(fixed, moving) is not None:
        off = max(fit.linear.scale, 1 / fit.linear.scale) - 1
        said = f"The scale differs by {100 * off:.1f} % from what the pixel sizes say."
        evidence.append(Evidence("Scale", off, _SCALE_LIMIT, off <= _SCALE_LIMIT, said))
    return tuple(evidence)


def _neighbours_by_chance(points: Points) -> float:
    """About the mean distance of nearest neighbours if the points were spread at random over their box."""
    sides = np.maximum(np.ptp(points, axis=0), 1e-12)
    return float((np.prod(sides) / len(points)) ** (1 / len(sides)) / 2)


def judge(evidence: Sequence[Evidence], fit: CloudFit) -> Verdict:
    """Accept if no evidence is against; refuse what is no better than the best wrong orientation."""
    against = sum(not one.favours for one in evidence)
    margin = fit.margin if np.isfinite(fit.margin) else _MARGIN_LIMIT
    # From a tenth at the least margin through nine tenths at the limit.
    rise = 2 * np.log(9) / (_MARGIN_LIMIT - _MARGIN_LEAST)
    confidence = float(1 / (1 + np.exp(-rise * (min(margin, 2.0) - (_MARGIN_LIMIT + _MARGIN_LEAST) / 2))))
    confidence = min(confidence, 0.99) * 0.6**against
    status: Status = "doubtful" if against else "accepted"
    if not fit or margin < _MARGIN_LEAST or against >= 3:
        status, confidence = "refused", min(confidence, 0.2)
    return verdict_of(evidence, confidence, status, first=(fit.reason,) if fit.reason else ())
