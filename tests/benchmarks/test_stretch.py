"""Draws of which one image is stretched along an axis."""

import numpy as np
import pytest

from benchmarks.protocol import Pair
from benchmarks.stretch import FACTORS, draw_stretched, stretched
from correlight.transforms import Affine

RNG = np.random.default_rng(0)
PAIR = Pair(
    "made up",
    "none",
    RNG.integers(0, 255, (90, 120), np.uint8),
    RNG.integers(0, 255, (3, 100, 110), np.uint8),
    Affine.similarity(4.0, 1.05, target=(5.0, -3.0)),
    0.0,
)


@pytest.mark.parametrize("seed", range(6))
def test_the_truth_is_stretched_like_the_image(seed: int) -> None:
    drawn = draw_stretched(PAIR, seed)
    assert drawn.moving_from_fixed is not None
    assert drawn.error(drawn.moving_from_fixed) == pytest.approx(0, abs=1e-9)
    role, axis, factor = drawn.stretch
    assert FACTORS[0] <= factor <= FACTORS[1]
    linear = drawn.moving_from_fixed.linear if role == "moving" else np.linalg.inv(drawn.moving_from_fixed.linear)
    rows = np.linalg.norm(linear, axis=1)
    assert rows[axis] / rows[1 - axis] == pytest.approx(factor, rel=0.02)


def test_places_of_a_stretched_picture_are_known() -> None:
    picture = np.zeros((40, 50), np.float32)
    picture[10, 20] = 1
    longer, by = stretched(picture, 1, 2.0)
    assert longer.shape == (40, 100)
    rows, columns = np.nonzero(longer > 0.5)
    assert by(np.array([[10.0, 20.0]])) == pytest.approx(np.array([[rows.mean(), columns.mean()]]))
