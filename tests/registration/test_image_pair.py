"""Two images that are read more than once: computed once where the readings agree."""

from dataclasses import replace

import numpy as np
import pytest
from correlight.registration.inputs import Inputs

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.recipes import load

GRID = Grid.of((48, 64), (0.5, 0.8), unit="micrometre")


def inputs(pixels: np.ndarray) -> Inputs:
    image = Image.from_array(pixels, spacing=GRID.spacing)
    return Inputs(image, image, load("auto"), None, None)


def test_a_reading_on_the_same_grids_shares_what_was_computed() -> None:
    stated = inputs(np.random.default_rng(0).random((48, 64)))
    again = stated.read_as(stated.fixed.grid, stated.moving.grid)
    assert again.planes is stated.planes
    assert again.engine is stated.engine
    assert again.working is stated.working


def test_a_reading_on_other_grids_shares_nothing() -> None:
    stated = inputs(np.random.default_rng(0).random((48, 64)))
    exchanged = replace(GRID, spacing=GRID.spacing[::-1])
    other = stated.read_as(stated.fixed.grid, exchanged)
    assert other.moving.grid is exchanged
    assert other.planes is not stated.planes
    assert other.engine is not stated.engine
    assert other.working is not stated.working


def test_an_image_that_shows_nothing_is_named() -> None:
    with pytest.raises(UsageError, match="The fixed image has the same value everywhere"):
        _ = inputs(np.full((48, 64), 7.0)).planes
