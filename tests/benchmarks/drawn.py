"""What several tests of the benchmarks draw from, and ask of a draw."""

import numpy as np

from benchmarks.protocol import Draw, Pair
from correlight.transforms import Affine

_RNG = np.random.default_rng(0)
# Of noise: what draws are, and not what they show, is under test.
PAIR = Pair(
    "made up",
    "none",
    _RNG.integers(0, 255, (300, 400), np.uint8),
    _RNG.integers(0, 255, (320, 380), np.uint8),
    Affine.similarity(4.0, 1.05, target=(5.0, -3.0)),
    0.0,
)


def truth_of(drawn: Draw) -> Affine:
    """The transform that a draw was made with; unrelated images have none."""
    assert drawn.moving_from_fixed is not None
    return drawn.moving_from_fixed
