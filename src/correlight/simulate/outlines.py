"""Outlines as nature draws them: wobbly discs, bent rods, walks, and a smooth warp that bends them all."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.geometry import Points

Rng = np.random.Generator
Profile = NDArray[np.float64]


@cache
def angles(count: int) -> NDArray[np.float64]:
    """Directions around a full turn, shape ``(count,)``, in radians; read-only."""
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    turn.flags.writeable = False
    return turn


@cache
def _harmonics(count: int, lowest: int, highest: int) -> tuple[Profile, Profile]:
    """Cosines and sines around a turn, each harmonic divided by its order, of unit variance in sum."""
    orders = np.arange(lowest, highest + 1)[:, None]
    scale = 1 / np.sqrt(np.sum(1.0 / orders**2))
    phase = orders * angles(count)
    return scale * np.cos(phase) / orders, scale * np.sin(phase) / orders


def wobble(rng: Rng, count: int, roughness: float, lowest: int = 2, highest: int = 7) -> Profile:
    """A smooth periodic factor around 1 for the radius of an outline.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    count : int
        Number of directions.
    roughness : float
        Standard deviation of the factor.
    lowest, highest : int
        Range of harmonics; their amplitudes fall with the order, as on real outlines.

    Returns
    -------
    (count,) array
        Never below 0.3, so that an outline stays star-shaped.
    """
    cosines, sines = _harmonics(count, lowest, highest)
    weights = roughness * rng.standard_normal((2, len(cosines)))
    return np.asarray(np.maximum(1 + weights[0] @ cosines + weights[1] @ sines, 0.3))


def polar(centre: ArrayLike, radius: ArrayLike, count: int = 0) -> Points:
    """The outline with the given radius in each direction, shape ``(K, 2)``; a circle for a single radius."""
    profile = np.asarray(radius, float)
    if profile.ndim == 0:
        profile = np.full(count, float(profile))
    turn = angles(len(profile))
    outline: Points = np.asarray(centre, float) + profile[:, None] * np.stack([np.sin(turn), np.cos(turn)], 1)
    return outline


def blob(rng: Rng, centre: ArrayLike, radius: float, roughness: float = 0.18, stretch: float = 1.0) -> Points:
    """A wobbly disc, drawn out by ``stretch`` in a random direction, area kept; ``(K, 2)`` vertices."""
    count = 12 if radius < 0.12 else 28
    shape = polar((0, 0), radius * wobble(rng, count, roughness))
    if stretch != 1.0:
        turn = rng.uniform(0, np.pi)
        along = np.array([np.sin(turn), np.cos(turn)])
        drawn_out = np.outer(along, along) * (stretch**0.5 - stretch**-0.5) + np.eye(2) * stretch**-0.5
        shape = np.asarray(shape @ drawn_out)
    placed: Points = shape + np.asarray(centre, float)
    return placed


def centreline(rng: Rng, centre: ArrayLike, length: float, bend: float, direction: float, count: int = 9) -> Points:
    """A smoothly bent line of the given length through ``centre``, shape ``(count, 2)``.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    centre : (2,) array
        Mean of the points.
    length : float
        Length along the line.
    bend : float
        Standard deviation of the turn from end to end, radians.
    direction : float
        Mean direction, radians.
    count : int
        Number of vertices.
    """
    step = np.linspace(-0.5, 0.5, count)
    turn = direction + bend * (rng.standard_normal() * step + rng.standard_normal() * np.cos(2 * np.pi * step) / 3)
    line = np.cumsum(np.stack([np.sin(turn), np.cos(turn)], 1), axis=0) * (length / (count - 1))
    centred: Points = line - line.mean(0) + np.asarray(centre, float)
    return centred


def normals(line: Points) -> Points:
    """Unit vectors across a line at each of its points, shape ``(K, 2)``."""
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-12)
    return np.stack([along[:, 1], -along[:, 0]], 1)


def rod(line: Points, halfwidth: NDArray[np.float64]) -> Points:
    """The closed outline of a rod around a line with a half width at each point, round at both ends."""
    across = normals(line)
    along = np.stack([-across[:, 1], across[:, 0]], 1)
    cap = np.linspace(-np.pi / 2, np.pi / 2, 7)[:, None]
    head = line[-1] + halfwidth[-1] * (np.cos(cap) * along[-1] - np.sin(cap) * across[-1])
    tail = line[0] + halfwidth[0] * (-np.cos(cap) * along[0] + np.sin(cap) * across[0])
    side = across * halfwidth[:, None]
    return np.concatenate([line + side, head, (line - side)[::-1], tail])


class Warp:
    """A smooth, fold-free bending of the plane, so that nothing built from circles and lines keeps looking like it.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    strength : float
        Largest possible stretch; below 1 the plane cannot fold.
    shortest, longest : float
        Wavelengths in micrometres.

    Notes
    -----
    A sum of plane waves with displacement ``a sin(k p + phi)``. Its derivative is bounded by the sum of ``|a| |k|``,
    which is set to ``strength``; a map whose displacement has a derivative below 1 in norm is one to one.
    """

    def __init__(self, rng: Rng, strength: float, shortest: float, longest: float, waves: int = 10) -> None:
        wavelength = np.exp(rng.uniform(np.log(shortest), np.log(longest), waves))
        heading, swing = rng.uniform(0, 2 * np.pi, (2, waves))
        self._wave = np.stack([np.sin(heading), np.cos(heading)]) * 2 * np.pi / wavelength
        self._swing = (
            np.stack([np.sin(swing), np.cos(swing)], 1) * (strength / waves * wavelength / (2 * np.pi))[:, None]
        )
        self._phase = rng.uniform(0, 2 * np.pi, waves)

    @property
    def largest_shift(self) -> float:
        """No point moves further, micrometres."""
        return float(np.sum(np.linalg.norm(self._swing, axis=1)))

    def __call__(self, points: Points) -> Points:
        """Bend ``(N, 2)`` points."""
        return np.asarray(points + np.sin(points @ self._wave + self._phase) @ self._swing)
