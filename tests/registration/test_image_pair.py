"""Two images that are read more than once: computed once where the readings agree."""

from dataclasses import replace

import numpy as np
import pytest

from correlight.appearance import APPEARANCES
from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.intensity.search import FeatureSearch, PoseSettings
from correlight.methods.task import ImagePair, Task
from correlight.search.limits import Limits

GRID = Grid.of((48, 64), (0.5, 0.8), unit="micrometre")


def image_pair(pixels: np.ndarray) -> ImagePair:
    image = Image.from_array(pixels, spacing=GRID.spacing)
    return ImagePair(image, image, appearance=APPEARANCES["edges"])


def test_a_reading_on_the_same_grids_shares_what_was_computed() -> None:
    stated = image_pair(np.random.default_rng(0).random((48, 64)))
    again = stated.on_grids(stated.fixed.grid, stated.moving.grid)
    assert again.planes is stated.planes
    assert again.working is stated.working


def test_a_reading_on_other_grids_shares_no_planes() -> None:
    stated = image_pair(np.random.default_rng(0).random((48, 64)))
    exchanged = replace(GRID, spacing=GRID.spacing[::-1])
    other = stated.on_grids(stated.fixed.grid, exchanged)
    assert other.moving.grid is exchanged
    assert other.planes is not stated.planes
    assert other.working is not stated.working
    # The search keeps one engine; what that keeps belongs to the planes, which are others here.
    assert all(other.planes[0][channel] is not plane for channel, plane in stated.planes[0].items())


def test_every_reading_is_searched_by_one_engine_and_every_search_has_its_own() -> None:
    class Spy(FeatureSearch):
        def _engine(self, task: Task) -> object:  # type: ignore[override]
            made.append(super()._engine(task))
            return made[-1]

    made: list[object] = []
    pair, limits = image_pair(np.random.default_rng(0).random((48, 64))), Limits((0.9, 1.1), rotation=(0.0, 5.0))
    other = pair.on_grids(pair.fixed.grid, replace(GRID, spacing=GRID.spacing[::-1]))
    search = Spy(PoseSettings(hypotheses=1))
    for reading in (pair, other):
        search.find(Task(reading, limits))
    assert len(made) == 1
    Spy(PoseSettings(hypotheses=1)).find(Task(pair, limits))
    assert len(made) == 2
    assert made[0] is not made[1]


def test_an_image_that_shows_nothing_is_named() -> None:
    with pytest.raises(UsageError, match="The fixed image has the same value everywhere"):
        _ = image_pair(np.full((48, 64), 7.0)).planes


def test_a_method_that_compares_images_says_when_a_recipe_names_no_appearance() -> None:
    bare = replace(image_pair(np.random.default_rng(0).random((48, 64))), appearance=None)
    with pytest.raises(UsageError, match="names none"):
        _ = bare.compared_by
