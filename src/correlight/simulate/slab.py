"""Specimens that show little but their outline: polished slabs, tissue cores, ribbons, under two instruments.

Inside they are nearly featureless: a few pits are common to both images, and grains are seen by one of them only. What
surrounds the specimen is dark in the one; in the other it may be dark, as grey as the specimen, or bright.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from correlight.geometry import Points
from correlight.images.image import Float32, Mask
from correlight.simulate.outlines import Rng, blob, centreline, normals, polar, wobble
from correlight.transforms import Affine

Outline = Literal["slab", "core", "ribbon"]
OUTLINES: tuple[Outline, ...] = get_args(Outline)

# Pictures of the specimen have so many pixels a side; its longest side is 1 wide, the picture 1.6.
_PIXELS, _SIDE = 800, 1.6
# Widths that the two fields show along x.
_FIXED_FIELD, _MOVING_FIELD = 1.15, 1.25


@dataclass(frozen=True, eq=False)
class Distortion:
    """A smooth scan distortion: half a wave to a whole one over the specimen along each axis.

    Parameters
    ----------
    waves : (4, 2) array
        Wave vectors, radians per width.
    phases : (4,) array
        Radians.
    shifts : (4, 2) array
        Displacement by each wave, widths.
    """

    waves: NDArray[np.float64]
    phases: NDArray[np.float64]
    shifts: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: Rng, largest: float) -> Distortion:
        """One that displaces no place by more than ``largest`` widths."""
        shifts = rng.normal(size=(4, 2))
        shifts *= largest / np.linalg.norm(shifts, axis=1).sum()
        return cls(rng.normal(0, 3.0, (4, 2)), rng.uniform(0, 2 * np.pi, 4), shifts)

    def __call__(self, points: Points) -> Points:
        """Displaced ``(N, 2)`` points."""
        return np.asarray(points + np.sin(points @ self.waves.T + self.phases) @ self.shifts)


@dataclass(frozen=True, eq=False)
class SlabPair:
    """Two images of one specimen and where its places lie in them.

    Parameters
    ----------
    fixed, moving : (Y, X) array of float32
        Grey values.
    specimen_from_fixed, specimen_from_moving : Affine
        From pixels to widths of the specimen, without the distortion.
    distortion : Distortion
        From where the scan of the moving image believes to be to where it is, in widths.
    """

    fixed: Float32
    moving: Float32
    specimen_from_fixed: Affine
    specimen_from_moving: Affine
    distortion: Distortion

    def fixed_places(self, moving: Points) -> Points:
        """Where ``(N, 2)`` pixels of the moving image lie in the fixed one, distortion included."""
        there = self.distortion(self.specimen_from_moving(moving))
        return np.asarray(self.specimen_from_fixed.inverse()(there))


def slab_pair(
    seed: int,
    outline: Outline = "slab",
    *,
    inside: int | None = None,
    distortion: float = 0.04,
    width: int = 256,
) -> SlabPair:
    """A specimen under backscatter (fixed) and under another instrument (moving), in any pose, at scale 0.5 to 2.

    Parameters
    ----------
    seed : int
        Of everything.
    outline : {"slab", "core", "ribbon"}
        A rectangle with chipped corners and notches, a nearly round piece, a row of sections.
    inside : int, optional
        Another seed for the pits that the moving image shows: then no pose is right, though the outlines agree.
    distortion : float
        By how much the scan of the moving image displaces places at most, in widths of the specimen.
    width : int
        Pixels of the fixed image along x.

    Examples
    --------
    >>> slab_pair(1, width=64).fixed.shape
    (48, 64)
    """
    rng = np.random.default_rng([seed, 91])
    body = specimen_body(rng, outline)
    pits = pits_in(np.random.default_rng([seed, 92]), body)
    other = pits if inside is None else pits_in(np.random.default_rng([inside, 93]), body)
    shape, step = (3 * width // 4, width), _FIXED_FIELD / width
    specimen_from_fixed = _framed(rng, shape, step)
    scale, mirror = 2.0 ** rng.uniform(-1, 1), bool(rng.random() < 0.5)
    side = round(_MOVING_FIELD / step * scale)
    specimen_from_moving = _framed(rng, (side, side), step / scale, rng.uniform(0, 360), mirror)
    bent = Distortion.draw(rng, distortion)
    fixed = _taken(rng, _under_backscatter(rng, body, pits), shape, specimen_from_fixed, None)
    moving = _taken(rng, _otherwise(rng, body, other), (side, side), specimen_from_moving, bent)
    return SlabPair(fixed, moving, specimen_from_fixed, specimen_from_moving, bent)


def _framed(rng: Rng, shape: tuple[int, int], step: float, rotation: float = 0.0, mirror: bool = False) -> Affine:
    """From pixels of a field to the specimen, which lies nearly in its middle."""
    middle = (np.array(shape) - 1) / 2
    turn = Affine.similarity(rotation, step, mirror)
    return Affine.of(turn.linear, rng.uniform(-0.05, 0.05, 2) - turn.linear @ middle)


def filled(outlines: list[Points]) -> Mask:
    """What outlines in widths enclose, as pixels of a picture of 800 x 800 that is 1.6 widths wide."""
    drawn = np.zeros((_PIXELS, _PIXELS), np.uint8)
    for outline in outlines:
        pixels = np.rint((outline / _SIDE + 0.5) * _PIXELS).astype(np.int32)
        cv2.fillPoly(drawn, [pixels[:, ::-1]], 1)
    return drawn > 0


def specimen_body(rng: Rng, outline: Outline) -> Mask:
    """Where the specimen is, as pixels of a picture of 800 x 800 that is 1.6 widths wide."""
    if outline == "core":
        whole = [polar((0, 0), 0.36 * wobble(rng, 240, 0.08, 2, 9))]
    elif outline == "ribbon":
        line = centreline(rng, (0, 0), 0.75, 0.5, 0.0, 5)
        size, taper = rng.uniform(0.16, 0.24), rng.uniform(0.6, 0.9)
        whole = []
        for middle, across in zip(line, normals(line), strict=True):
            along = np.array([across[1], -across[0]]) * 0.085
            ends = [across * size * share * rng.uniform(0.95, 1.05) for share in (1, taper)]
            whole.append(middle + np.array([ends[0] - along, ends[0] + along, along - ends[1], -along - ends[1]]))
    else:
        half = np.array([rng.uniform(0.3, 0.4), 0.48])
        turn = np.linspace(0, 2 * np.pi, 400, endpoint=False)
        power = rng.uniform(0.12, 0.3)
        square = np.stack([np.sin(turn), np.cos(turn)], 1)
        whole = [half * np.sign(square) * np.abs(square) ** power * wobble(rng, 400, 0.012, 2, 20)[:, None]]
    edge = np.concatenate(whole)
    bites = []
    # Chips break off at corners, notches are cut into sides.
    for _ in range(rng.integers(4, 10)):
        place = edge[rng.integers(len(edge))] * rng.uniform(0.98, 1.04)
        bites.append(blob(rng, place, float(np.exp(rng.uniform(np.log(0.012), np.log(0.07)))), 0.3, rng.uniform(1, 2)))
    return filled(whole) & ~filled(bites)


def pits_in(rng: Rng, body: Mask) -> list[tuple[Points, float]]:
    """Outlines in widths of pits and cracks inside, each with how well it shows in either image, 0 to 1."""
    inside = np.argwhere(cv2.erode(body.astype(np.uint8), np.ones((9, 9), np.uint8)))
    made = []
    for place in inside[rng.integers(0, len(inside), rng.integers(4, 14))]:
        radius = float(np.exp(rng.uniform(np.log(0.005), np.log(0.022))))
        centre = (place / _PIXELS - 0.5) * _SIDE
        made.append((blob(rng, centre, radius, 0.3, rng.uniform(1, 4)), float(rng.random())))
    return made


def _under_backscatter(rng: Rng, body: Mask, pits: list[tuple[Points, float]]) -> Float32:
    """A bright even face in a dark rough mount, pits dark, one side brighter by charging."""
    surroundings = 0.15 + 0.06 * _rough(rng, 12)
    picture = np.where(body, 0.8 + 0.04 * _rough(rng, 160), surroundings)
    picture[filled([outline for outline, _ in pits])] = 0.1
    edge = cv2.GaussianBlur(body.astype(np.float32), (0, 0), 4) * ~body
    return np.asarray(picture + rng.uniform(0, 0.8) * edge, np.float32)


def _otherwise(rng: Rng, body: Mask, pits: list[tuple[Points, float]]) -> Float32:
    """Another contrast: a grey gradient or grains inside; dark, grey or bright surroundings; most pits."""
    inside = 0.5 + 0.15 * _rough(rng, 250)
    if rng.random() < 0.5:
        inside = inside + rng.uniform(0.05, 0.2) * _grains(rng, float(rng.uniform(0.015, 0.06)))
    around = float(rng.choice([0.1, 0.5, 0.9], p=[0.5, 0.25, 0.25]))
    picture = np.where(body, inside, around + 0.02 * _rough(rng, 20))
    rim = body ^ (cv2.erode(body.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)
    picture[rim] += rng.choice([-0.2, 0.2])
    seen = [outline for outline, shows in pits if shows < 0.8]
    if seen:
        picture[filled(seen)] = rng.choice([0.05, 0.95], p=[0.75, 0.25])
    return np.asarray(picture, np.float32)


def _rough(rng: Rng, size: float) -> NDArray[np.float64]:
    """Smooth noise of unit variance with structures of so many pixels of a picture."""
    coarse = rng.standard_normal((max(4, round(3 * _PIXELS / size)),) * 2)
    noise = cv2.resize(coarse, (_PIXELS, _PIXELS), interpolation=cv2.INTER_CUBIC)
    return np.asarray((noise - noise.mean()) / noise.std())


def _grains(rng: Rng, size: float) -> NDArray[np.float64]:
    """Grains of a size in widths, each of a grey of its own with unit variance."""
    sites = rng.uniform(0, _PIXELS, (int((_SIDE / size) ** 2), 2))
    places = np.indices((_PIXELS // 2, _PIXELS // 2)).reshape(2, -1).T * 2
    grey = rng.standard_normal(len(sites))[cKDTree(sites).query(places)[1]].reshape(_PIXELS // 2, -1)
    return np.asarray(cv2.resize(grey, (_PIXELS, _PIXELS), interpolation=cv2.INTER_NEAREST))


def _taken(
    rng: Rng, picture: Float32, shape: tuple[int, int], specimen_from_image: Affine, bent: Distortion | None
) -> Float32:
    """The picture sampled by an instrument, with noise."""
    places = specimen_from_image(np.indices(shape).reshape(2, -1).T.astype(float))
    places = places if bent is None else bent(places)
    pixels = ((places / _SIDE + 0.5) * _PIXELS).astype(np.float32).reshape(*shape, 2)
    # Pixels average what they cover.
    coarser = specimen_from_image.scale / _SIDE * _PIXELS
    blurred = cv2.GaussianBlur(picture, (0, 0), max(0.5 * coarser, 0.3))
    taken = cv2.remap(blurred, pixels[..., 1], pixels[..., 0], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(taken + rng.normal(0, rng.uniform(0.01, 0.04), shape), np.float32)
