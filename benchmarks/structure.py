"""Multi-scale structural similarity of two images, a measure that others report; scikit-image has one scale of it.

It says how alike two images are and nothing of whether they show the same place; docs/overlay-measures.md shows what
that means for overlays.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError

# Exponents of the five scales, window, and the two constants, from the papers that are named below.
_EXPONENTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
_SIGMA, _WINDOW, _K1, _K2 = 1.5, 11, 0.01, 0.03


def structural_similarity(one: NDArray[Any], other: NDArray[Any], span: float = 255.0) -> tuple[float, float]:
    """Structural similarity, and its part that leaves brightness aside, on one scale.

    Wang, Bovik, Sheikh and Simoncelli (2004, doi:10.1109/TIP.2003.819861), with their Gaussian window.

    Parameters
    ----------
    one, other : (Y, X) arrays
        At least 11 x 11 pixels.
    span : float
        Greatest grey level less the least one that the images may have.

    Raises
    ------
    UsageError
        If they differ in shape or are smaller than the window.
    """
    _check(one, other)
    if min(one.shape) < _WINDOW:
        raise UsageError(f"Structural similarity takes at least {_WINDOW} x {_WINDOW} pixels; got {one.shape}.")
    a, b = one.astype(np.float64), other.astype(np.float64)
    mean_a, mean_b = _local(a), _local(b)
    power_a, power_b = _local(a * a) - mean_a**2, _local(b * b) - mean_b**2
    shared = _local(a * b) - mean_a * mean_b
    first, second = (_K1 * span) ** 2, (_K2 * span) ** 2
    contrast = (2 * shared + second) / (power_a + power_b + second)
    brightness = (2 * mean_a * mean_b + first) / (mean_a**2 + mean_b**2 + first)
    # Windows that hang over the rim are left out, as in the paper.
    rim = _WINDOW // 2
    inner = slice(rim, -rim)
    return float(np.mean((contrast * brightness)[inner, inner])), float(np.mean(contrast[inner, inner]))


def multiscale_similarity(one: NDArray[Any], other: NDArray[Any], span: float = 255.0) -> float:
    """Structural similarity over five scales, each half as fine as the last.

    Wang, Simoncelli and Bovik (2003, doi:10.1109/ACSSC.2003.1292216). Parts below zero, which no power can take, count
    as zero.

    Parameters
    ----------
    one, other : (Y, X) arrays
        At least 176 x 176 pixels.
    span : float
        As for `structural_similarity`.

    Raises
    ------
    UsageError
        If they differ in shape or are too small for five scales.

    Examples
    --------
    >>> ramp = np.tile(np.arange(256.0), (256, 1))
    >>> round(multiscale_similarity(ramp, ramp), 9)
    1.0
    """
    _check(one, other)
    least = _WINDOW * 2 ** (len(_EXPONENTS) - 1)
    if min(one.shape) < least:
        raise UsageError(f"Five scales take at least {least} x {least} pixels; got {one.shape}.")
    a, b = one.astype(np.float64), other.astype(np.float64)
    product = 1.0
    for number, exponent in enumerate(_EXPONENTS):
        whole, contrast = structural_similarity(a, b, span)
        product *= max(whole if number == len(_EXPONENTS) - 1 else contrast, 0.0) ** exponent
        a, b = _halved(a), _halved(b)
    return float(product)


def _halved(values: NDArray[np.float64]) -> NDArray[np.float64]:
    size = (values.shape[1] // 2, values.shape[0] // 2)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float64)


def _local(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(values, (_WINDOW, _WINDOW), _SIGMA))


def _check(one: NDArray[Any], other: NDArray[Any]) -> None:
    if one.shape != other.shape or one.ndim != 2:
        raise UsageError(f"Two images of one shape (Y, X) were expected; got {one.shape} and {other.shape}.")
