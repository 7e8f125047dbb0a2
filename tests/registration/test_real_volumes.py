"""Real stacks: what was moved by a known amount comes back, and light made from labels lies where it was made."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.volumes_real import MOVES, RealPair, around_nucleus, moved, nucleus, real_pair
from correlight.images.image import Image
from correlight.landmarks import fit
from correlight.registration.register import register
from correlight.registration.result import Result
from correlight.transforms import Affine


def off(pair: RealPair, found: Result) -> tuple[float, float]:
    """Root mean square error across and along z, in voxels of the coarser stack."""
    assert isinstance(found.moving_from_fixed, Affine)
    apart = found.moving_from_fixed.inverse()(pair.stacks.moving_from_fixed(pair.places)) - pair.places
    across, along = np.sqrt(np.mean(np.sum(apart[:, 1:] ** 2, axis=1))), np.sqrt(np.mean(apart[:, 0] ** 2))
    return float(across / pair.limits[0]), float(along / pair.limits[1])


def test_a_known_displacement_of_the_wide_field_stack_is_undone(data: Path) -> None:
    """Confocal and wide-field DNA of one nucleus, from a start, right to one voxel of half a micrometre.

    The two channels of the file do not lie on each other, so what is undone is the difference of two displacements.
    """
    confocal, wide_field = nucleus(data)
    places = around_nucleus(confocal.grid)
    apart = register(confocal, wide_field, model="rigid", start=Affine.identity(3)).moving_from_fixed
    # The channels of the file are about two micrometres apart, and no further.
    assert np.median(np.linalg.norm(apart(places) - places, axis=1)) < 3.5
    displaced, displacement = moved(wide_field, 1, (48, 140, 140))
    centred = Affine.of(np.eye(3), displaced.grid.centre - confocal.grid.centre)
    found = register(confocal, displaced, model="rigid", start=centred)
    undone = displacement.inverse()(found.moving_from_fixed(places))
    assert np.median(np.linalg.norm(undone - apart(places), axis=1)) < 0.512


@pytest.mark.parametrize("name", ["vnc membranes", "isbi2012 membranes"])
def test_light_made_of_labelled_membranes_is_found_without_a_start(name: str, data: Path) -> None:
    """Real electron slices and a light stack rendered from their labels, mirrored and turned: right to a voxel."""
    pair = real_pair(name, 3, data)
    found = register(pair.stacks.fixed, pair.stacks.moving, workers=1)
    assert found.status == "accepted"
    assert max(off(pair, found)) < 1


@pytest.mark.parametrize("from_a_start", [False, True])
def test_light_made_of_labelled_mitochondria_is_found(from_a_start: bool, data: Path) -> None:
    """They fill a twentieth of so small a field, and are found to a voxel all the same."""
    pair = real_pair("vnc mitochondria", 2, data)
    options: dict[str, Any] = {"model": "rigid", "start": pair.start()} if from_a_start else {}
    found = register(pair.stacks.fixed, pair.stacks.moving, workers=1, **options)
    assert max(off(pair, found)) < 1
    assert found.status == "accepted"


def test_every_displacement_of_the_benchmark_turns_something_else() -> None:
    stack = Image.from_array(np.ones((1, 8, 40, 50), np.uint8), spacing=(0.5, 0.2, 0.2))
    maps = [moved(stack, move, (8, 40, 50))[1] for move in range(MOVES)]
    assert sum(one.mirrored for one in maps) == 2
    assert len({tuple(one.linear.ravel().round(6)) for one in maps}) == MOVES


def test_landmarks_of_a_whole_brain_fit_in_three_dimensions(data: Path) -> None:
    """135 pairs, light to electron: an affine map leaves what bends, a few per cent of the length."""
    rows = (data / "elm" / "lm-em-landmarks_v14.csv").read_text().splitlines()
    values = np.array(
        [[float(cell.strip('"')) for cell in row.split(",")[2:8]] for row in rows if row.split(",")[1] == '"true"']
    )
    light, electron = values[:, 2::-1], values[:, 5:2:-1] / 1000
    assert len(values) > 100
    pose = fit(light, electron, "affine")
    assert isinstance(pose, Affine)
    assert pose.ndim == 3
    rest = np.linalg.norm(pose(light) - electron, axis=1)
    assert np.median(rest) < 0.05 * np.ptp(electron, axis=0).max()
