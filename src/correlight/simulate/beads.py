"""Fields of beads seen by two instruments: some beads by both, some by one only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid, Points
from correlight.simulate.bead_images import fluorescence_image, raise_ball
from correlight.simulate.outlines import Rng
from correlight.simulate.pair import SimulatedPair
from correlight.transforms import Affine


@dataclass(frozen=True, eq=False)
class BeadPair:
    """The beads that two instruments find on one specimen, and the transform between them.

    Parameters
    ----------
    fixed, moving : (N, D) and (K, D) arrays
        Where each instrument finds beads, micrometres, in no particular order; localisation noise included.
    partners : (C, 2) array of int
        Row numbers, in ``fixed`` and in ``moving``, of the beads that both see.
    moving_from_fixed : Affine
        The truth.
    fixed_grid, moving_grid : Grid
        The two fields.
    """

    fixed: Points
    moving: Points
    partners: NDArray[np.int64]
    moving_from_fixed: Affine
    fixed_grid: Grid
    moving_grid: Grid

    def common_places(self, count: int, rng: Rng) -> Points:
        """Random places ``(count, D)`` of the fixed field that the moving field covers: where an error counts."""
        return _common(count, self.fixed_grid, self.moving_grid, self.moving_from_fixed, rng)


def bead_pair(
    seed: int = 0,
    *,
    beads: int | tuple[int, int] = 60,
    common: float = 0.4,
    noise: float | tuple[float, float] = 0.02,
    shape: tuple[int, ...] = (511, 511),
    spacing: float = 0.04,
    field: float = 1.0,
    rotation: float | None = None,
    scale: float | tuple[float, float] = (0.97, 1.03),
    mirror: bool | None = None,
    shear: float | None = None,
    unequal: float | None = None,
    least_overlap: float = 0.7,
    least_distance: float = 0.2,
    touching: float = 0.0,
) -> BeadPair:
    """Scatter beads over the fields of an electron microscope (fixed) and a light microscope (moving).

    Parameters
    ----------
    seed : int
        Seed of beads, pose and noise.
    beads : int or (int, int)
        How many the fixed and the moving instrument find.
    common : float
        How many of them are the same, as a fraction of the smaller number, 0 to 1. The others are missed by one
        instrument, or are no beads at all.
    noise : float or (float, float)
        Standard deviation of the localisation per axis in the fixed and the moving image, both in micrometres of the
        moving image, so that a scale does not change how well beads are known.
    shape, spacing
        Pixels and pixel size in micrometres of the moving field; two or three axes.
    field : float
        Width of the fixed field on the specimen relative to the moving one.
    rotation, mirror, shear, unequal : optional
        Pose and affine part: degrees (in 3-D a random rotation is drawn in any case), handedness, change of the angle
        between the axes in radians, relative difference of the scales along the axes; drawn without (shear and
        ``unequal`` within 0.02).
    scale : float or (float, float)
        Moving length per fixed length, or the two ends of what it is drawn from, evenly in its logarithm.
    least_overlap : float
        Least share of the smaller field that the other covers.
    least_distance : float
        No two beads of one field are closer, in micrometres of the moving image.
    touching : float
        Share of the common beads that sit in twos, as far apart as the least distance: a diameter makes them touch.

    Returns
    -------
    BeadPair

    Raises
    ------
    UsageError
        If shares are out of range, or so many beads do not fit at that distance.

    Examples
    --------
    >>> pair = bead_pair(seed=1, beads=20, common=0.5, noise=0.0)
    >>> apart = pair.moving_from_fixed(pair.fixed[pair.partners[:, 0]]) - pair.moving[pair.partners[:, 1]]
    >>> apart.shape, bool(abs(apart).max() < 1e-9)
    ((10, 2), True)
    """
    counts = (beads, beads) if isinstance(beads, int) else beads
    noises = (noise, noise) if isinstance(noise, float | int) else noise
    if not (0 <= common <= 1 and 0 <= touching <= 1 and 0 < least_overlap <= 1 and field > 0):
        raise UsageError(
            f"Shares lie between 0 and 1 and the field is positive; got common {common}, touching {touching}, overlap "
            f"{least_overlap} and field {field}."
        )
    rng = np.random.default_rng([seed, 61])
    linear = _linear(rng, len(shape), rotation, scale, mirror, shear, unequal)
    size = abs(float(np.linalg.det(linear))) ** (1 / len(shape))
    moving_grid = Grid.of(shape, spacing, unit="micrometre")
    fixed_grid = Grid.of(shape, spacing * field / size, unit="micrometre")
    moving_from_fixed = _placed(rng, fixed_grid, moving_grid, linear, least_overlap)
    shared = round(common * min(counts))
    places = _common(40 * max(1, shared), fixed_grid, moving_grid, moving_from_fixed, rng)
    both = _apart(places, shared, least_distance / size)
    if touching > 0:
        both = _in_twos(both, touching, least_distance / size, fixed_grid, moving_grid, moving_from_fixed, rng)
    extra_fixed = _more(both, counts[0] - shared, fixed_grid, least_distance / size, rng)
    extra_moving = _more(moving_from_fixed(both), counts[1] - shared, moving_grid, least_distance, rng)
    orders = [rng.permutation(count) for count in counts]
    seen = (np.vstack([both, extra_fixed]), np.vstack([moving_from_fixed(both), extra_moving]))
    fixed, moving = (
        (points + rng.normal(0, deviation, points.shape))[order]
        for points, deviation, order in zip(seen, (noises[0] / size, noises[1]), orders, strict=True)
    )
    partners = np.stack([np.argsort(order)[:shared] for order in orders], axis=1)
    return BeadPair(fixed, moving, partners, moving_from_fixed, fixed_grid, moving_grid)


def _linear(
    rng: Rng,
    ndim: int,
    rotation: float | None,
    scale: float | tuple[float, float],
    mirror: bool | None,
    shear: float | None,
    unequal: float | None,
) -> NDArray[np.float64]:
    """Rotation, mirror and scale after a mild symmetric shear and unequal scales of the first two axes."""
    angle = float(rng.uniform(0, 360)) if rotation is None else rotation
    low, high = (scale, scale) if isinstance(scale, float | int) else scale
    size = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    flip = bool(rng.random() < 0.5) if mirror is None else mirror
    drawn = rng.uniform(-0.02, 0.02, 2)
    skew, ratio = float(drawn[0]) if shear is None else shear, float(drawn[1]) if unequal is None else unequal
    bend = np.eye(ndim)
    bend[-2:, -2:] = [[1 + ratio / 2, skew / 2], [skew / 2, 1 - ratio / 2]]
    if ndim == 2:
        return np.asarray(Affine.similarity(angle, size, flip).linear @ bend)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn[:, 0] *= np.sign(np.linalg.det(turn)) * (-1 if flip else 1)
    return np.asarray(size * turn @ bend)


def _placed(rng: Rng, fixed: Grid, moving: Grid, linear: NDArray[np.float64], least: float) -> Affine:
    """Shift the smaller field at random over the larger until enough of it is covered."""
    room = (np.asarray(moving.extent) + np.abs(linear) @ fixed.extent) / 2
    fixed_places, moving_places = fixed.lattice(16), moving.lattice(16)
    for attempt in range(200):
        shift = rng.uniform(-1, 1, fixed.ndim) * room * (1 - attempt / 199)
        pose = Affine.of(linear, moving.centre + shift - linear @ fixed.centre)
        covered = np.mean(moving.contains(pose(fixed_places))), np.mean(fixed.contains(pose.inverse()(moving_places)))
        if max(covered) >= least:
            break
    return pose


def _common(count: int, fixed: Grid, moving: Grid, moving_from_fixed: Affine, rng: Rng) -> Points:
    """Random places of the fixed field that the moving field covers, shape ``(count, D)``."""
    found: list[Points] = []
    while sum(map(len, found)) < count:
        index = rng.uniform(-0.5, np.asarray(fixed.shape) - 0.5, (4 * count + 64, fixed.ndim))
        places = fixed.points(index)
        found.append(places[moving.contains(moving_from_fixed(places))])
    return np.vstack(found)[:count]


def _apart(places: Points, count: int, least: float, taken: Points | None = None) -> Points:
    """The first ``count`` places that keep their distance from one another and from those taken."""
    kept = np.empty((0, places.shape[1])) if taken is None else taken
    before = len(kept)
    for place in places:
        if len(kept) == before + count:
            break
        if not len(kept) or np.min(np.sum((kept - place) ** 2, axis=1)) >= least**2:
            kept = np.vstack([kept, place])
    if len(kept) < before + count:
        raise UsageError(
            f"{count} beads do not fit into the field at a distance of {least:.3g} from each other; ask for fewer, or "
            "a smaller distance."
        )
    return kept[before:]


def _in_twos(
    beads: Points, share: float, distance: float, fixed: Grid, moving: Grid, moving_from_fixed: Affine, rng: Rng
) -> Points:
    """The same number of beads, a share of them moved next to another one, as far as both fields see that place."""
    count = int(share * len(beads) / 2)
    ways = rng.normal(size=(count, beads.shape[1]))
    beside = beads[:count] + distance * ways / np.linalg.norm(ways, axis=1, keepdims=True)
    seen = fixed.contains(beside) & moving.contains(moving_from_fixed(beside))
    moved = beads.copy()
    moved[len(beads) - count :][seen] = beside[seen]
    return moved


def _more(taken: Points, count: int, grid: Grid, least: float, rng: Rng) -> Points:
    """Further beads of one field, away from those that both fields share."""
    index = rng.uniform(-0.5, np.asarray(grid.shape) - 0.5, (40 * max(1, count), grid.ndim))
    return _apart(grid.points(index), count, least, taken)


def with_beads(
    pair: SimulatedPair, seed: int = 0, *, beads: int = 60, common: float = 0.5, diameter: float = 0.2
) -> SimulatedPair:
    """The same pair after beads were scattered over the specimen: bright discs, and a light channel "beads".

    Parameters
    ----------
    pair : SimulatedPair
        Electron image (fixed) and light image (moving); the truth stays what it is.
    seed : int
        Seed of beads and noise.
    beads : int
        How many each image shows.
    common : float
        Share of them that both show.
    diameter : float
        Of a bead, in micrometres.

    Returns
    -------
    SimulatedPair
    """
    rng = np.random.default_rng([seed, 67])
    fixed, moving, pose = pair.fixed, pair.moving, pair.moving_from_fixed
    shared = round(common * beads)
    least = 1.5 * diameter
    both = _apart(_common(40 * max(1, shared), fixed.grid, moving.grid, pose, rng), shared, least)
    in_fixed = np.vstack([both, _more(both, beads - shared, fixed.grid, least, rng)])
    in_moving = np.vstack([pose(both), _more(pose(both), beads - shared, moving.grid, least, rng)])
    electron = np.asarray(fixed.levels[0][0], np.float32)
    level = np.zeros(electron.shape, np.float32)
    for place in fixed.grid.index(in_fixed):
        raise_ball(level, place, fixed.grid, diameter / 2, 0.8)
    valid = fixed.valid()
    electron = np.where(valid, electron + (250 - electron) * level, electron)
    blurred = fluorescence_image(in_moving, moving.grid, rng, diameter=diameter, psf=0.11, photons=4000)
    light = np.concatenate([np.asarray(moving.levels[0]), blurred[None].astype(moving.dtype)])
    return replace(
        pair,
        fixed=replace(fixed, levels=(np.rint(electron).astype(fixed.dtype)[None],)),
        moving=replace(moving, levels=(light,), channels=(*moving.channels, "beads")),
    )
