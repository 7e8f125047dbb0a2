"""Pairs of images at a known random pose: the protocols that every accuracy figure stands on.

Each image of a pair is first cut by a random window of its own, because in most pairs both frames are equal and would
betray the pose. The moving image is then turned, mirrored, scaled and shifted on a canvas grown so that nothing more
is cut; the canvas is filled with the image's median. No mask and no pixel size goes with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.io import read
from correlight.transforms import Affine

Protocol = Literal["near", "free"]
GRID_POINTS = 10
ALLOWED_ERROR = 0.02


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
    """A pair at a random pose, ready to be registered; arrays are ``(Y, X)`` or ``(3, Y, X)`` for RGB."""

    fixed: NDArray[Any]
    moving: NDArray[Any]
    moving_from_fixed: Affine
    allowed_error: float

    def error(self, found: Any) -> float:
        """Mean distance in fixed pixels between found and true places, over a grid inside the fixed image."""
        height, width = self.fixed.shape[-2:]
        lines = [(np.arange(GRID_POINTS) + 0.5) / GRID_POINTS * n - 0.5 for n in (height, width)]
        points = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, 2)
        back = self.moving_from_fixed.inverse()(found(points))
        return float(np.mean(np.linalg.norm(back - points, axis=1)))


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
        matrix = np.eye(3)
        matrix[:2] = entry["moving_from_fixed_px_yx"]
        truth = Affine(matrix)
        pairs.append(
            Pair(entry["id"], entry["specimen"], pictures[0], pictures[1], truth, float(entry["truth_error_px"]))
        )
    return pairs


def draw(pair: Pair, protocol: Protocol, seed: int, noise: bool = False) -> Draw:
    """Cut, move and pad a pair at random; the same seed gives the same draw.

    Parameters
    ----------
    pair : Pair
        From `load_pairs`.
    protocol : {"near", "free"}
        near: rotation within 10 degrees, shift within 10 % of the width. free: any rotation, mirrored or not,
        scale 0.5 to 2.
    seed : int
        Seed of this draw.
    noise : bool
        Replace the pixels by smooth noise (the control: only frames could betray the pose then).
    """
    name_number = sum(ord(letter) * 31**place for place, letter in enumerate(pair.name)) % 2**32
    rng = np.random.default_rng([seed, name_number, protocol == "free"])
    fixed, moving, truth = _cut(pair, rng)
    if noise:
        fixed, moving = _smooth_noise(fixed, rng), _smooth_noise(moving, rng)
    width = fixed.shape[-1]
    if protocol == "near":
        rotation, scale, mirror = rng.uniform(-10, 10), 1.0, False
        shift = rng.uniform(-0.1, 0.1, 2) * width
    else:
        rotation, scale, mirror = rng.uniform(0, 360), 2.0 ** rng.uniform(-1, 1), bool(rng.random() < 0.5)
        shift = np.zeros(2)
    moved, canvas_from_moving = _on_canvas(moving, rotation, scale, mirror, shift)
    return Draw(fixed, moved, canvas_from_moving @ truth, ALLOWED_ERROR * width + pair.truth_error)


def _cut(pair: Pair, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any], Affine]:
    """Random windows, at least half of the fixed one in common; the truth between the windows."""
    for _ in range(10_000):
        corners = []
        for picture in (pair.fixed, pair.moving):
            shape = np.array(picture.shape[-2:])
            size = np.round(shape * rng.uniform(0.65, 0.9, 2)).astype(int)
            start = np.floor(rng.random(2) * (shape - size + 1)).astype(int)
            corners.append((start, size))
        (f0, fs), (m0, ms) = corners
        moved = pair.moving_from_fixed(f0 + rng.random((400, 2)) * (fs - 1))
        if np.mean(np.all((moved >= m0) & (moved <= m0 + ms - 1), axis=1)) >= 0.5:
            fixed = pair.fixed[..., f0[0] : f0[0] + fs[0], f0[1] : f0[1] + fs[1]]
            moving = pair.moving[..., m0[0] : m0[0] + ms[0], m0[1] : m0[1] + ms[1]]
            to_window = Affine.of(np.eye(2), -m0.astype(float))
            from_window = Affine.of(np.eye(2), f0.astype(float))
            return fixed, moving, to_window @ pair.moving_from_fixed @ from_window
    raise ValueError(f"{pair.name}: no two windows share half of the fixed one.")


def _smooth_noise(pixels: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    flat = ndimage.gaussian_filter(rng.standard_normal(pixels.shape[-2:]), 4)
    low, high = np.percentile(pixels, [1, 99])
    flat = (flat - flat.min()) / np.ptp(flat) * max(float(high - low), 1.0) + float(low)
    return np.broadcast_to(flat, pixels.shape).astype(pixels.dtype)


def _on_canvas(
    pixels: NDArray[Any], rotation: float, scale: float, mirror: bool, shift: NDArray[np.float64]
) -> tuple[NDArray[Any], Affine]:
    """Move a picture without cutting it; what lies outside becomes its median."""
    shape = np.array(pixels.shape[-2:])
    middle = (shape - 1) / 2
    turn = Affine.similarity(rotation, scale, mirror, middle)
    edges = turn(np.array([[y, x] for y in (-0.5, shape[0] - 0.5) for x in (-0.5, shape[1] - 0.5)]))
    # The shift shows as empty canvas on the side that the picture moved away from.
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
