"""Real stacks: one of two channels of DNA is moved by a known amount, and comes back."""

from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from correlight.geometry import Grid
from correlight.image import Image
from correlight.io import read
from correlight.landmarks import fit
from correlight.register import register
from correlight.resample import warp
from correlight.simulate.volume_pair import turn
from correlight.transforms import Affine


def moved_stack(stack: Image, linear: np.ndarray, shift: tuple[float, float, float]) -> tuple[Image, Affine]:
    """The wide-field channel after a known displacement, and that displacement."""
    grid = Grid.of((48, 140, 140), stack.grid.spacing, unit="micrometre")
    displacement = Affine.of(linear, grid.centre + shift - linear @ stack.grid.centre)
    values, footprint = warp(np.asarray(stack.levels[0])[1:], stack.grid, displacement.inverse(), grid)
    return Image((values,), grid, ("wide field",), mask=footprint), displacement


def test_a_known_displacement_of_the_wide_field_stack_is_undone(data: Path) -> None:
    """Confocal and wide-field DNA of one nucleus, right to one voxel of half a micrometre.

    The two channels of the file do not lie on each other, so what is undone is the difference of two displacements.
    """
    stack = read(data / "neubias" / "xyzc_16bit__dna_conf_wf.tif")
    confocal = Image((np.asarray(stack.levels[0])[:1],), stack.grid, ("confocal",))
    centred = Affine.of(np.eye(3), Grid.of((48, 140, 140), stack.grid.spacing).centre - stack.grid.centre)
    back = []
    for linear, shift in ((np.eye(3), (0.0, 0.0, 0.0)), (turn(8.0, False, False, (3.0, -2.0)), (1.5, -2.5, 2.0))):
        wide_field, displacement = moved_stack(stack, linear, shift)
        found = register(confocal, wide_field, model="rigid", start=centred)
        assert isinstance(found.moving_from_fixed, Affine)
        back.append(Affine(displacement.inverse().matrix @ found.moving_from_fixed.matrix))
    places = stack.grid.lattice(9)
    # Places around the nucleus, which is all that the stacks show.
    places = places[np.all(np.abs(places - (11.0, 35.0, 29.0)) < (8, 14, 16), axis=1)]
    assert np.median(np.linalg.norm(back[0](places) - back[1](places), axis=1)) < 0.512
    # The channels of the file are about two micrometres apart, and no further.
    assert np.median(np.linalg.norm(back[0](places) - places, axis=1)) < 3.5


def test_light_made_of_labelled_mitochondria_lies_where_it_was_made(data: Path) -> None:
    """Real electron slices and a light stack rendered from their labels: right to 40 nm from a start 0.2 µm off.

    Without a start nothing is found, which is said: mitochondria alone fill a twentieth of so small a field.
    """
    names = sorted(path.name for path in (data / "vnc" / "raw").iterdir())
    slices = np.stack([cv2.imread(str(data / "vnc" / "raw" / name), 0)[::2, ::2] for name in names])
    folder = data / "vnc" / "mitochondria"
    labels = np.stack([cv2.imread(str(path), 0)[::2, ::2] for path in sorted(folder.iterdir())]) > 0
    electrons = Image.from_array(slices[None], spacing=(0.045, 0.0092, 0.0092))
    glow = ndimage.gaussian_filter(labels.astype(np.float32), (3.0, 8.0, 8.0))
    grid = Grid.of((7, 150, 150), (0.12, 0.04, 0.04), unit="micrometre")
    linear = 1.05 * turn(70.0, True, False)
    truth = Affine.of(linear, grid.centre + np.array([0.05, 0.2, -0.3]) - linear @ electrons.grid.centre)
    light, _ = warp(glow[None], electrons.grid, truth.inverse(), grid)
    counts = np.random.default_rng(0).poisson(60 * light + 3).astype(np.uint16)
    light_stack = Image.from_array(counts, spacing=grid.spacing)
    start = Affine(truth.matrix @ Affine.of(np.eye(3), (0.05, 0.12, -0.12)).matrix)
    found = register(electrons, light_stack, start=start, workers=1)
    assert found.status == "accepted"
    assert register(electrons, light_stack, workers=1).status == "refused"
    assert isinstance(found.moving_from_fixed, Affine)
    places = electrons.grid.lattice(9)
    places = places[grid.contains(truth(places))]
    apart = (found.moving_from_fixed(places) - truth(places)) / 1.05
    assert np.median(np.linalg.norm(apart[:, 1:], axis=1)) < 0.04
    assert np.median(np.abs(apart[:, 0])) < 0.12


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
