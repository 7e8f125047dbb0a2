"""Volumes that lie on their side are found on request, and only then."""

import numpy as np
import pytest
from scipy import ndimage

from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.registration.register import register
from correlight.transforms import Affine


@pytest.mark.slow
def test_a_volume_on_its_side_is_found_by_the_recipe_that_tries_every_axis() -> None:
    rng = np.random.default_rng(4)
    rough = ndimage.gaussian_filter(rng.normal(size=(32, 36, 40)), 2.0)
    fixed = Image.from_array((100 + 400 * rough)[None].astype(np.float32), spacing=(1.0, 1.0, 1.0))
    # z of the moving volume lies along y of the fixed one; dark is bright there.
    light = np.exp(-8 * rough).transpose(1, 0, 2)[:, ::-1]
    moving = Image.from_array(light[None].astype(np.float32).copy(), spacing=(1.0, 1.0, 1.0))
    linear = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    truth = Affine.of(linear, moving.grid.centre - linear @ fixed.grid.centre)
    found = register(fixed, moving, "volumes-any-axis", scale=(0.95, 1.05), workers=1)
    assert isinstance(found.moving_from_fixed, Affine)
    places = Grid.of(fixed.grid.shape, 1.0, unit="micrometre").lattice(5)
    assert np.abs(found.moving_from_fixed(places) - truth(places)).max() < 0.5
    assert found.status == "accepted"
