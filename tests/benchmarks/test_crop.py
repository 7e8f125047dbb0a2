"""Draws of which one image shows a small part of the other."""

import numpy as np
import pytest

from benchmarks.crop import draw_cropped
from correlight.transforms import Affine
from tests.benchmarks.drawn import PAIR


@pytest.mark.parametrize("percent", [25, 10, 5])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_small_image_has_the_share_that_was_asked_for_and_lies_in_the_other(percent: int, seed: int) -> None:
    drawn = draw_cropped(PAIR, percent, seed)
    assert drawn.moving_from_fixed is not None
    assert drawn.error(drawn.moving_from_fixed) == pytest.approx(0, abs=1e-9)
    assert drawn.error(Affine.similarity(0, 1, target=(9.0, 0.0)) @ drawn.moving_from_fixed) > 1
    small = drawn.fixed if seed % 2 == 0 else None
    if small is not None:
        # Windows show 65 to 90 % of each side of the other image.
        share = small.size / PAIR.moving.size * 1.05**2
        assert share / (percent / 100) * 1.03 >= 0.65**2
        assert share / (percent / 100) <= 0.9**2 * 1.03
    places = drawn.places
    assert places is not None
    inside = drawn.moving_from_fixed(places)
    assert np.all(inside >= -0.5)
    assert np.all(inside <= np.array(drawn.moving.shape[-2:]) - 0.5)
    assert np.all(places >= -0.5)
    assert np.all(places <= np.array(drawn.fixed.shape[-2:]) - 0.5)
    assert np.array_equal(drawn.fixed, draw_cropped(PAIR, percent, seed).fixed)
