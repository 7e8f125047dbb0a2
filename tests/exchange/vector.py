"""One transform that every format is tested with, so that a wrong axis or direction cannot hide.

Points move from moving to fixed by a turn of 30 degrees in the plane (x' = c x - s y, y' = s x + c y) and a shift of
1 in z, 2 in y and 3 in x.
"""

import numpy as np

from correlight.transforms import Affine

C, S = np.sqrt(0.75), 0.5
FIXED_FROM_MOVING_3D = Affine(np.array([[1, 0, 0, 1], [0, C, S, 2], [0, -S, C, 3], [0, 0, 0, 1]]))
FIXED_FROM_MOVING_2D = Affine(np.array([[C, S, 2], [-S, C, 3], [0, 0, 1]]))
MOVING_FROM_FIXED_3D = FIXED_FROM_MOVING_3D.inverse()
MOVING_FROM_FIXED_2D = FIXED_FROM_MOVING_2D.inverse()


def apart(found: object, expected: Affine) -> float:
    """The largest difference between two matrices."""
    assert isinstance(found, Affine)
    assert found.ndim == expected.ndim
    return float(np.abs(found.matrix - expected.matrix).max())
