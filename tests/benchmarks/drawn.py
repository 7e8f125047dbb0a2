"""What several tests of the benchmarks ask of a draw."""

from benchmarks.protocol import Draw
from correlight.transforms import Affine


def truth_of(drawn: Draw) -> Affine:
    """The transform that a draw was made with; unrelated images have none."""
    assert drawn.moving_from_fixed is not None
    return drawn.moving_from_fixed
