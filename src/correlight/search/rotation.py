"""Images rotated by any angle onto a canvas that holds them, and rotations parted between two images."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.images.image import Float32, Mask
from correlight.images.plane import Plane

Matrix = NDArray[np.float64]
# A resampled pixel is valid if this share of its interpolation weights lay on valid pixels.
_VALID_SHARE = 0.999


def canvas(shape: tuple[int, ...], linear: Matrix) -> tuple[Matrix, tuple[int, int]]:
    """Where the pixels of an image go when it is rotated.

    Parameters
    ----------
    shape : (rows, columns)
        Of the image.
    linear : (2, 2) array
        A rotation, possibly mirrored or scaled, in (y, x) order, from the image to the canvas.

    Returns
    -------
    canvas_from_image : (3, 3) array
        Pixels to pixels, (y, x) order.
    size : (width, height)
        Of the canvas.
    """
    corners = np.array([[y, x] for y in (0, shape[0] - 1) for x in (0, shape[1] - 1)], float) @ linear.T
    # Quarter turns are exact but for the rounding of sines; it must not add a row.
    low = np.floor(corners.min(axis=0) + 1e-6)
    rows, columns = (np.ceil(corners.max(axis=0) - low - 1e-6)).astype(int) + 1
    canvas_from_image = np.eye(3)
    canvas_from_image[:2, :2], canvas_from_image[:2, 2] = linear, -low
    return canvas_from_image, (int(columns), int(rows))


def rotated(plane: Plane, linear: Matrix) -> tuple[Float32, Mask, Matrix]:
    """Values and valid pixels of a rotated plane, and the ``(3, 3)`` map from its pixels to those of the canvas."""
    matrix, size = canvas(plane.values.shape, linear)
    matrix_xy = matrix[:2][::-1, [1, 0, 2]]
    values = cv2.warpAffine(plane.values, matrix_xy, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(plane.mask.astype(np.float32), matrix_xy, size, flags=cv2.INTER_LINEAR)
    return np.asarray(values, np.float32), np.asarray(share >= _VALID_SHARE), matrix


def inverse_of(linear: Matrix) -> Matrix:
    """The inverse of a rotation that may be mirrored or scaled."""
    return np.asarray(np.linalg.inv(linear), np.float64)


@dataclass(frozen=True, slots=True)
class SplitRotation:
    """A rotation as the product of the fixed image's part (quarter turns, mirroring) and the moving image's part.

    Parameters
    ----------
    quarters : int
    mirror : bool
    rest : float
        Degrees below 90, a multiple of the step if there is one: rotation of the image.
    residual : float
        Degrees, less than a step: rotation of the channels.
    scale : float
        Scale of the channels.
    """

    quarters: int
    mirror: bool
    rest: float
    residual: float
    scale: float

    def shares_moving_part(self, other: SplitRotation) -> bool:
        """Whether the part of the moving image is the same."""
        return (self.rest, self.residual, self.scale) == (other.rest, other.residual, other.scale)


def shared_part(moving_from_fixed: Matrix) -> tuple[float, float]:
    """The moving image's part of a rotation, in degrees, and its scale; candidates with both equal share features."""
    split = split_rotation(inverse_of(moving_from_fixed), 0.0)
    return split.rest, split.scale


def split_rotation(fixed_from_moving: Matrix, step: float) -> SplitRotation:
    """Part a rotation that may be mirrored or scaled.

    Parameters
    ----------
    fixed_from_moving : (2, 2) array
        In (y, x) order.
    step : float
        Degrees between the rotations of the moving image; 0: any.
    """
    determinant = float(np.linalg.det(fixed_from_moving))
    mirror = determinant < 0
    pure = np.diag([-1.0, 1.0]) @ fixed_from_moving if mirror else fixed_from_moving
    angle = float(np.degrees(np.arctan2(pure[0, 1], pure[0, 0]))) % 360.0
    computed_at = round(angle / step) * step if step else angle
    rest = round(computed_at % 90.0, 9) % 90.0
    quarters = round((computed_at - rest) / 90.0) % 4
    return SplitRotation(quarters, mirror, rest, round(angle - computed_at, 9), round(abs(determinant) ** 0.5, 9))


def turn_by(degrees: float) -> Matrix:
    """The ``(2, 2)`` matrix of a rotation of places in (y, x) order."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, s], [-s, c]])


def quarter_turns(quarters: int, mirror: bool) -> Matrix:
    """The ``(2, 2)`` matrix of quarter turns, mirrored or not, without rounding."""
    turn = np.rint(turn_by(90.0 * quarters))
    return np.asarray(np.diag([-1.0, 1.0]) @ turn if mirror else turn)
