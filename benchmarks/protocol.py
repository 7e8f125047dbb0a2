"""Pairs of images at a known random pose: the protocols that every accuracy figure stands on.

Each image of a pair is first cut by a random window of its own, because in most pairs both frames are equal and would
betray the pose. The moving image is then turned, mirrored, scaled and shifted on a canvas grown so that nothing more
is cut; the canvas is filled with the image's median. No mask and no pixel size goes with it.

Two more protocols check the figures: control, where smooth noise takes the place of the pixels and only frames
could betray the pose, and unrelated, where the two images show different specimens and no pose is right.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.geometry import Grid
from correlight.io import read
from correlight.transforms import Affine, Transform

Protocol = Literal["near", "multiregeval", "free", "control"]
# Largest rotation, in degrees, of the protocols that neither scale nor mirror.
LARGEST_TURN = {"near": 10.0, "multiregeval": 20.0}
GRID_POINTS = 10
ALLOWED_ERROR = 0.02
# Cells per side in which the common part of two windows is counted: good to 1 % of a window.
OVERLAP_CELLS = 100


@dataclass(frozen=True)
class Pair:
    """A real pair with its truth, in pixels of the files."""

    name: str
    specimen: str
    fixed: NDArray[Any]
    moving: NDArray[Any]
    moving_from_fixed: Affine
    truth_error: float


@dataclass(frozen=True)
class Draw:
    """A pair at a random pose, ready to be registered; arrays are ``(Y, X)`` or ``(3, Y, X)`` for RGB.

    The truth is None where the images show different specimens. ``moving_mask`` ``(Y, X)`` is where the canvas shows
    the image, for programs that are to be told; None with different specimens.
    """

    name: str
    fixed: NDArray[Any]
    moving: NDArray[Any]
    moving_from_fixed: Affine | None
    allowed_error: float
    moving_mask: NDArray[np.bool_] | None = None

    def error(self, found: Transform) -> float:
        """Mean distance in fixed pixels between found and true places, over a grid inside the fixed image.

        Infinite where no transform is right, or where the one found sends a point of the grid to infinity.
        """
        return float(np.mean(self.errors(found, Grid.of(self.fixed.shape[-2:]).resized((GRID_POINTS, GRID_POINTS)))))

    def errors(self, found: Transform, grid: Grid) -> NDArray[np.float64]:
        """Distance in fixed pixels between found and true place at each point of a grid over the fixed image."""
        points = grid.lattice_of_pixels()
        moved = found(points)
        if self.moving_from_fixed is None or not np.all(np.isfinite(moved)):
            return np.full(len(points), np.inf)
        return np.asarray(np.linalg.norm(self.moving_from_fixed.inverse()(moved) - points, axis=1))

    def is_right(self, found: Transform) -> bool:
        """Whether a transform counts as a success."""
        return self.error(found) <= self.allowed_error


def load_pairs(data: Path) -> list[Pair]:
    """Every 2-D pair with a known truth of ``pairs.json``, cut to its valid rows."""
    pairs = []
    for entry in json.loads((data / "pairs.json").read_text()):
        if entry["moving_from_fixed_px_yx"] is None:
            continue
        first, last = entry.get("valid_rows", (0, None))
        pictures = []
        for role in ("fixed", "moving"):
            image = read(data / entry[role])
            channel = entry.get(f"{role}_channel")
            pixels = np.asarray(image.levels[0][:])
            pixels = pixels if image.rgb else pixels[channel or 0]
            pictures.append(pixels[..., first:last, :])
        stated = np.asarray(entry["moving_from_fixed_px_yx"], float)
        cut = Affine.of(np.eye(2), (float(first), 0.0))
        truth = cut.inverse() @ Affine.of(stated[:, :2], stated[:, 2]) @ cut
        pairs.append(
            Pair(entry["id"], entry["specimen"], pictures[0], pictures[1], truth, float(entry["truth_error_px"]))
        )
    return pairs


def draw(pair: Pair, protocol: Protocol, seed: int) -> Draw:
    """Cut, move and pad a pair at random; the same seed gives the same draw.

    Parameters
    ----------
    pair : Pair
        From `load_pairs`.
    protocol : {"near", "multiregeval", "free", "control"}
        near: rotation within 10 degrees, shift within 10 % of the width. multiregeval: the same with 20 degrees.
        free: any rotation, mirrored or not, scale 0.5 to 2. control: the poses of free, the pixels replaced by
        smooth noise.
    seed : int
        Seed of this draw.
    """
    rng = np.random.default_rng([seed, number_of(pair.name), protocol != "near"])
    fixed, moving, truth = _cut(pair, rng)
    if protocol == "control":
        fixed, moving = _smooth_noise(fixed, rng), _smooth_noise(moving, rng)
    width = fixed.shape[-1]
    if protocol in LARGEST_TURN:
        largest = LARGEST_TURN[protocol]
        turn, shift = (rng.uniform(-largest, largest), 1.0, False), rng.uniform(-0.1, 0.1, 2) * width
        moved, canvas_from_moving = _on_canvas(moving, *turn, shift)
    else:
        moved, canvas_from_moving = moved_freely(moving, rng)
    allowed = ALLOWED_ERROR * width + pair.truth_error
    shown = _shown(moved.shape[-2:], moving.shape[-2:], canvas_from_moving)
    return Draw(pair.name, fixed, moved, canvas_from_moving @ truth, allowed, shown)


def draw_unrelated(pairs: list[Pair], seed: int) -> Draw:
    """Two images of different specimens, cut and moved as under the free protocol.

    Seeds that follow each other go through all ordered couples of specimens, in a new order each time, so that no
    specimen counts for more because it has more pairs.

    Parameters
    ----------
    pairs : list of Pair
        All pairs, of at least two specimens; other pairs give other draws.
    seed : int
        Seed of this draw.
    """
    couples = list(permutations(sorted({pair.specimen for pair in pairs}), 2))
    turn, place = divmod(seed, len(couples))
    couple = couples[np.random.default_rng([turn, number_of("unrelated")]).permutation(len(couples))[place]]
    rng = np.random.default_rng([seed, number_of("unrelated"), 1])
    pictures = []
    for specimen in couple:
        own = [pair for pair in pairs if pair.specimen == specimen]
        pair = own[rng.integers(len(own))]
        picture = pair.moving if rng.random() < 0.5 else pair.fixed
        start, size = window(picture, rng)
        pictures.append(windowed(picture, start, size))
    moved, _ = moved_freely(pictures[1], rng)
    return Draw(" with ".join(couple), pictures[0], moved, None, ALLOWED_ERROR * pictures[0].shape[-1])


def number_of(name: str) -> int:
    """A number for a name, the same in every process."""
    return sum(ord(letter) * pow(31, place, 2**32) for place, letter in enumerate(name)) % 2**32


def window(picture: NDArray[Any], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First pixel and size of a random window of 65 to 90 % of each side."""
    shape = np.array(picture.shape[-2:])
    size = np.round(shape * rng.uniform(0.65, 0.9, 2)).astype(np.int64)
    return np.floor(rng.random(2) * (shape - size + 1)).astype(np.int64), size


def windowed(picture: NDArray[Any], start: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[Any]:
    (top, left), (bottom, right) = start, start + size
    return picture[..., top:bottom, left:right]


def _cut(pair: Pair, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any], Affine]:
    """Random windows, at least half of the fixed one in common; the truth between the windows."""
    share = (np.indices((OVERLAP_CELLS, OVERLAP_CELLS)).reshape(2, -1).T + 0.5) / OVERLAP_CELLS
    for _ in range(10_000):
        fixed_start, fixed_size = window(pair.fixed, rng)
        moving_start, moving_size = window(pair.moving, rng)
        inside = pair.moving_from_fixed(fixed_start + share * fixed_size - 0.5) - moving_start
        if np.mean(np.all((inside >= -0.5) & (inside <= moving_size - 0.5), axis=1)) >= 0.5:
            truth = (
                Affine.of(np.eye(2), -moving_start.astype(float))
                @ pair.moving_from_fixed
                @ Affine.of(np.eye(2), fixed_start.astype(float))
            )
            fixed = windowed(pair.fixed, fixed_start, fixed_size)
            return fixed, windowed(pair.moving, moving_start, moving_size), truth
    raise ValueError(f"{pair.name}: no two windows share half of the fixed one.")


def moved_freely(pixels: NDArray[Any], rng: np.random.Generator) -> tuple[NDArray[Any], Affine]:
    """Any rotation, mirrored or not, scale 0.5 to 2, on a canvas; the map from image to canvas."""
    rotation, scale, mirror = rng.uniform(0, 360), 2.0 ** rng.uniform(-1, 1), bool(rng.random() < 0.5)
    return _on_canvas(pixels, rotation, scale, mirror, np.zeros(2))


def _shown(canvas: tuple[int, ...], picture: tuple[int, ...], canvas_from_picture: Affine) -> NDArray[np.bool_]:
    """Which pixels of a canvas have their middle inside the picture."""
    places = canvas_from_picture.inverse()(np.indices(canvas).reshape(2, -1).T)
    inside: NDArray[np.bool_] = np.all((places >= -0.5) & (places <= np.array(picture) - 0.5), axis=1)
    return inside.reshape(canvas)


def _smooth_noise(pixels: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    flat = ndimage.gaussian_filter(rng.standard_normal(pixels.shape[-2:]), 4)
    low, high = np.percentile(pixels, [1, 99])
    flat = (flat - flat.min()) / np.ptp(flat) * max(float(high - low), 1.0) + float(low)
    return np.broadcast_to(flat, pixels.shape).astype(pixels.dtype)


def _on_canvas(
    pixels: NDArray[Any], rotation: float, scale: float, mirror: bool, shift: NDArray[np.float64]
) -> tuple[NDArray[Any], Affine]:
    """Move an image without cutting it; what lies outside becomes its median."""
    shape = np.array(pixels.shape[-2:])
    middle = (shape - 1) / 2
    turn = Affine.similarity(rotation, scale, mirror, middle)
    edges = turn(np.array([[y, x] for y in (-0.5, shape[0] - 0.5) for x in (-0.5, shape[1] - 0.5)]))
    # The shift shows as empty canvas on the side that the image moved away from.
    low = np.floor(edges.min(0) + np.minimum(shift, 0) + 0.5)
    high = np.ceil(edges.max(0) + np.maximum(shift, 0) - 0.5)
    size = (high - low + 1).astype(int)
    placed = Affine.of(np.eye(2), shift - low) @ turn
    back = placed.inverse()
    # OpenCV wants x before y and the map from canvas to picture.
    matrix = np.array(
        [
            [back.linear[1, 1], back.linear[1, 0], back.offset[1]],
            [back.linear[0, 1], back.linear[0, 0], back.offset[0]],
        ]
    )
    planes = pixels if pixels.ndim == 3 else pixels[None]
    if scale < 1:
        # What shrinks is low-passed first, as a real instrument of that pixel size would.
        sigma = 0.5 * np.sqrt(1 / scale**2 - 1)
        planes = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in planes])
    moved = np.stack(
        [
            cv2.warpAffine(
                plane,
                matrix,
                (int(size[1]), int(size[0])),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=float(np.median(plane)),
            )
            for plane in planes
        ]
    )
    return (moved if pixels.ndim == 3 else moved[0]), placed
