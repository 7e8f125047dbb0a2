"""Images rotated by any angle onto a canvas that holds them."""

from __future__ import annotations

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
