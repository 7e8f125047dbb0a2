"""Time, memory and error of a smooth field between two stacks, from the affine map.

``python -m benchmarks.field_volumes 64 512 512`` makes a stack of smooth noise of so many slices, rows and columns, and
another of it that is bent and of another contrast, and fits a field from the nearest affine map, on voxels as fine as a
registration would compare. Each call is a process of its own, as the peak of memory is that of the process.
``--peer elastix|ants|simpleitk`` registers the same stacks by another program, the moving one laid by the affine map
onto the voxels of the fixed one, as for `benchmarks.elastic`; distances count voxels there, which are not cubes.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import cv2
import numpy as np
from scipy import ndimage

from benchmarks.elastic import PEERS, bend, bent_copy, nearest_affine, run_peer
from correlight.evidence.checks import LEAST_ERROR
from correlight.evidence.predicted_error import PredictedError, coarser_pixel, spread
from correlight.images.image import Image
from correlight.images.volume import Volume
from correlight.refine.rounds import choose_in_rounds
from correlight.refine.volumes import VolumePair, levels_of
from correlight.transforms import VelocityField

SPACING = (0.3, 0.1, 0.1)
MOST_VOXELS = 5e6
SHARE = 0.01


def main() -> int:
    """One row."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.field_volumes", description=__doc__)
    parser.add_argument("shape", type=int, nargs=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer", choices=PEERS)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(asked.seed)
    coarse = rng.normal(size=[max(4, n // step) for n, step in zip(asked.shape, (2, 6, 6), strict=True)])
    made = ndimage.zoom(coarse.astype(np.float32), np.array(asked.shape) / coarse.shape, order=3)
    moving = Image.from_array(made[None], SPACING)
    truth = bend(moving.grid, 2, SHARE, asked.seed)
    fixed = bent_copy(moving, truth)
    other = Image.from_array(np.exp(-made)[None] + rng.normal(scale=0.2, size=made.shape).astype(np.float32), SPACING)
    if asked.peer is not None:
        return by_peer(asked.peer, fixed, other, truth)
    size = max(SPACING[1], (float(np.prod(fixed.grid.extent)) / MOST_VOXELS) ** (1 / 3))
    one, another = Volume.of(fixed, 0, size), Volume.of(other, 0, size)
    pair = VolumePair(levels_of(one, another, 1.0, [4 * size, 2 * size, size]))
    start = nearest_affine(truth, fixed.grid)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, began = time.perf_counter(), time.process_time()
    choice, pose = choose_in_rounds([pair], start)
    seconds, spent = time.perf_counter() - wall, time.process_time() - began
    points = fixed.grid.lattice(12)
    points = points[fixed.grid.contains(truth(points))]
    led = points if choice.fit is None else choice.fit.field(points)
    errors = [np.linalg.norm(one - truth(points), axis=1) / SPACING[1] for one in (start(points), pose(led))]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    shape = "x".join(map(str, asked.shape))
    print(f"| {shape} | {'x'.join(map(str, pair.fixed_grid.shape))} | {np.median(errors[0]):.2f} | "
          f"{np.median(errors[1]):.2f} | {np.percentile(errors[1], 90):.2f} | {seconds:.1f} | {spent:.1f} | "
          f"{before:.0f} | {peak:.0f} |")  # fmt: skip
    if choice.fit is not None:
        # As `correlight.intensity.elastic.error_with_field` adds them up where the images speak for the field.
        halves = spread([choice.fit.halves], 1.0, LEAST_ERROR * coarser_pixel(fixed.grid, other.grid, 1.0))
        own, apart = choice.fit.deviation_at(points), halves(points)
        seen = choice.fit.evidence_at(points) > 0.5
        bound = PredictedError(np.sqrt(own**2 + apart**2)[:, None, None].astype(np.float32), fixed.grid).bound.ravel()
        under = (errors[1] * SPACING[1] <= bound)[seen]
        deviation, rest = (np.median(one) / SPACING[1] for one in (own, apart))
        print(f"{choice.reason}; evidence on {seen.mean():.2f}; deviation {deviation:.2f}, halves and least error "
              f"{rest:.2f}; {under.mean():.2f} under the 95 % bound")  # fmt: skip
    else:
        print(choice.reason)
    return 0


def by_peer(peer: str, fixed: Image, moving: Image, truth: VelocityField) -> int:
    """The row of another program."""
    grid = fixed.grid
    start = nearest_affine(truth, grid)
    laid = bent_copy(moving, start)
    points = grid.lattice(12)
    points = points[grid.contains(truth(points))]
    values = [np.asarray(image.levels[0], np.float32)[0] for image in (fixed, laid)]
    led, least, seconds, spent = run_peer(peer, values[0], values[1], fixed.valid() & laid.valid(), grid.index(points))
    where = points, grid.points(led)
    errors = [np.linalg.norm(start(place) - truth(points), axis=1) / SPACING[1] for place in where]
    print(f"| {'x'.join(map(str, grid.shape))} | {peer} | {np.median(errors[0]):.2f} | {np.median(errors[1]):.2f} | "
          f"{np.percentile(errors[1], 90):.2f} | {least:.2f} | {seconds:.1f} | {spent:.1f} |")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
