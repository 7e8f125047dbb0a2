"""May a pose in space be trusted? Evidence, a verdict, and the error to expect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Evidence, Status, Verdict
from correlight.geometry import Grid
from correlight.refine.solid import Level, SolidModel, apart, refine_solid
from correlight.transforms import Affine

# Where each finding turns from speaking for a result to speaking against it (benchmarks/results/volumes.md).
_MARGIN_LIMIT, _SEARCH_LIMIT, _APART_LIMIT, _OVERLAP_LIMIT = 1.15, 1.15, 0.012, 0.35
_MOST_SUPPORT = 4.6
_ACCEPT_FROM, _REFUSE_BELOW = 0.9, 0.3
# Places per axis at which the error is predicted, and the share of a voxel that is never undercut.
_ERROR_PLACES, _LEAST_ERROR = (5, 16, 16), 0.3


@dataclass(frozen=True, slots=True)
class Findings:
    """What was measured about a pose in space, before it is judged.

    Parameters
    ----------
    margin : float
        Score of the pose over the score of the best other pose after refinement.
    search : float
        Score of its pose in the plane over the best rival there; that search did not know mutual information. NaN
        where it had no rival, or where a start was given.
    halves : float
        Mean distance between fits to the two halves of a checkerboard of blocks, as a share of the longest side.
    backward : float
        The same between the pose and the one found with exchanged roles.
    overlap : float
        Share of the smaller volume that the other covers.
    """

    margin: float
    search: float
    halves: float
    backward: float
    overlap: float


@dataclass(frozen=True, slots=True, eq=False)
class Checks:
    """Fits that ought to agree with the pose: to each half of the blocks, and with exchanged roles."""

    halves: tuple[Affine, Affine]
    backward: Affine

    @classmethod
    def of(cls, level: Level, pose: Affine, model: SolidModel) -> Checks:
        """Refine anew on each half, and with the moving volume sampled instead of the fixed one.

        Parameters
        ----------
        level : Level
            The finest that was used.
        pose : Affine
            The result.
        model : {"rigid", "similarity", "affine"}
            Its kind.
        """
        one, other = (refine_solid(level, pose, model, level.odd == odd) for odd in (True, False))
        exchanged = Level.of(level.moving, level.fixed)
        return cls((one, other), refine_solid(exchanged, pose.inverse(), model).inverse())


def predict(checks: Checks, pose: Affine, fixed: Grid, moving: Grid) -> PredictedError:
    """The error to expect over the fixed volume, from how far the fits lie apart.

    Fits to halves differ by twice the error of the fit to the whole, if their errors are independent.

    Parameters
    ----------
    checks : Checks
        The fits.
    pose : Affine
        ``moving_from_fixed``.
    fixed, moving : Grid
        Of the two volumes in full.
    """
    shape = tuple(min(n, count) for n, count in zip(fixed.shape, _ERROR_PLACES, strict=True))
    grid = fixed.resized(shape)
    places = grid.lattice_of_pixels()
    scale = pose.scale
    pixel = max(float(np.prod(fixed.spacing) ** (1 / 3)), float(np.prod(moving.spacing) ** (1 / 3)) / scale)
    between = np.sum((checks.halves[0](places) - checks.halves[1](places)) ** 2, axis=1)
    back = np.sum((checks.backward(places) - pose(places)) ** 2, axis=1)
    values = np.sqrt((between + back) / (2 * scale) ** 2 + (_LEAST_ERROR * pixel) ** 2)
    values[~moving.contains(pose(places))] = np.nan
    return PredictedError(values.reshape(shape).astype(np.float32), grid)


def findings_of(margin: float, search: float, overlap: float, checks: Checks, pose: Affine, fixed: Grid) -> Findings:
    """Everything in one place; distances as shares of the longest side of the fixed volume."""
    longest = max(fixed.extent)
    return Findings(
        margin,
        search,
        apart(*checks.halves, fixed) / longest,
        apart(pose, checks.backward, fixed) / longest,
        overlap,
    )


def judge(found: Findings) -> Verdict:
    """Weigh the findings: a logistic curve over both margins, lowered by whatever leads elsewhere.

    Parameters
    ----------
    found : Findings
        What was measured.

    Returns
    -------
    Verdict
        Accepted from a confidence of 0.9, refused below 0.3, doubtful between.
    """
    support = 14 * np.log(max(found.margin, 0.1) / _MARGIN_LIMIT)
    support += 4 * np.log(max(found.search, 0.1) / _SEARCH_LIMIT) if np.isfinite(found.search) else 0.0
    support = min(support, _MOST_SUPPORT)
    for distance in (found.halves, found.backward):
        support -= 1.5 * max(0.0, distance / _APART_LIMIT - 1)
    support -= 2.3 * (found.overlap < _OVERLAP_LIMIT)
    confidence = float(1 / (1 + np.exp(-np.clip(support, -_MOST_SUPPORT, _MOST_SUPPORT))))
    status: Status = "accepted" if confidence >= _ACCEPT_FROM else "doubtful"
    if confidence < _REFUSE_BELOW:
        status = "refused"
    clues = tuple(clue for clue in _clues(found) if np.isfinite(clue.value))
    against = tuple(clue.sentence for clue in clues if not clue.favours)
    support_sentences = tuple(clue.sentence for clue in clues if clue.favours)
    reasons = (*support_sentences[:3], *against) if status == "accepted" else against or support_sentences
    return Verdict(status, confidence, reasons, clues)


def _clues(f: Findings) -> tuple[Evidence, ...]:
    halves, back, shared = f"{100 * f.halves:.1f} %", f"{100 * f.backward:.1f} %", f"{100 * f.overlap:.0f} %"

    def clue(name: str, value: float, limit: float, good: str, bad: str, *, below: bool = False) -> Evidence:
        favours = value <= limit if below else value >= limit
        return Evidence(name, value, limit, favours, good if favours else bad)

    return (
        clue(
            "Margin over rivals",
            f.margin,
            _MARGIN_LIMIT,
            f"The volumes share {f.margin:.1f} times as much information here as in the best rival pose.",
            f"A rival pose shares almost as much information (the best {f.margin:.2f} times as much).",
        ),
        clue(
            "Margin of the search",
            f.search,
            _SEARCH_LIMIT,
            f"Projections of the volumes match {f.search:.1f} times as well here as in the best rival pose.",
            f"Projections of the volumes match about as well elsewhere ({f.search:.2f} times the best rival).",
        ),
        clue(
            "Two halves",
            f.halves,
            _APART_LIMIT,
            f"Two separate halves of the volume lead to the same place within {halves} of its length.",
            f"Two separate halves of the volume lead to places {halves} of its length apart.",
            below=True,
        ),
        clue(
            "Way back",
            f.backward,
            _APART_LIMIT,
            f"Registering in the other direction leads back within {back} of the length.",
            f"Registering in the other direction leads {back} of the length elsewhere.",
            below=True,
        ),
        clue(
            "Overlap",
            f.overlap,
            _OVERLAP_LIMIT,
            f"The volumes share {shared} of the smaller one.",
            f"The volumes share only {shared} of the smaller one.",
        ),
    )
