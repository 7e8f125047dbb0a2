"""ITK's brain slice that was deformed by a B-spline, registered by correlight and by other programs.

``python -m benchmarks.elastic_brain --data FOLDER`` registers the deformed slice to the undeformed one, of the same
contrast (proton density) and of another (T1, of the same slice, so that the field is the same). The field itself is not
published: what is measured is how far the grey values of the slice of the same contrast are off where they are led,
over the head, which says the same of both. ``--peer elastix|ants|simpleitk`` as for `benchmarks.elastic`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.elastic import PEERS, Bent, by_peer, planes_of
from correlight.images.image import Image
from correlight.io import read
from correlight.refine.described import FIELD_MEASURES
from correlight.refine.rounds import choose_in_rounds
from correlight.refine.trial import FieldSettings
from correlight.transforms import Affine

DEFORMED = "BrainProtonDensitySliceBSplined10.png"
SLICES = {"proton density": "BrainProtonDensitySliceBorder20.png", "T1": "BrainT1SliceBorder20.png"}
# Grey values of the head are above this; what is led outside the deformed slice does not count.
_HEAD = 30


def pixels(image: Image) -> NDArray[np.float64]:
    """The only channel."""
    return np.asarray(image.levels[0], float).reshape(image.grid.shape)


def off(fixed: NDArray[np.float64], moving: NDArray[np.float64], led: NDArray[np.float64]) -> tuple[float, float]:
    """Root mean square difference of grey values over the head, and their correlation."""
    found = ndimage.map_coordinates(moving, led.T, order=1, cval=np.nan).reshape(fixed.shape)
    head = (fixed > _HEAD) & np.isfinite(found)
    one, other = fixed[head], found[head]
    return float(np.sqrt(np.mean((one - other) ** 2))), float(np.corrcoef(one, other)[0, 1])


def main() -> int:
    """One row for each contrast."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.elastic_brain", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds itk-brain")
    parser.add_argument("--peer", choices=PEERS)
    parser.add_argument("--measure", choices=FIELD_MEASURES, help="what the field is fitted by alone")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    folder = asked.data / "itk-brain"
    moving, same = read(folder / DEFORMED), pixels(read(folder / SLICES["proton density"]))
    for name, file in SLICES.items():
        fixed = read(folder / file)
        bent = Bent(f"brain {name}", fixed, moving, Affine.identity(), None)
        points = fixed.grid.lattice_of_pixels()
        wall, began = time.perf_counter(), time.process_time()
        if asked.peer is None:
            settings = FieldSettings(None if asked.measure is None else (asked.measure,))
            choice, pose = choose_in_rounds(planes_of(bent), bent.start, settings)
            led = pose(points if choice.fit is None else choice.fit.field(points))
            least = 1.0 if choice.fit is None else choice.fit.field.smallest_volume
            seconds, spent = time.perf_counter() - wall, time.process_time() - began
        else:
            led, least, seconds, spent = by_peer(bent, asked.peer, points)
        before, after = (off(same, pixels(moving), moving.grid.index(place)) for place in (points, led))
        program = asked.peer or f"correlight, {asked.measure or 'as usual'}"
        print(f"| {name} | {program} | {before[0]:.1f} | {after[0]:.1f} | {before[1]:.3f} | "
              f"{after[1]:.3f} | {least:.2f} | {spent:.1f} | {seconds:.1f} |", flush=True)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
