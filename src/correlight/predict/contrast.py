"""Grey values as models see them: zero mean and unit variance, after one of the preparations that were compared.

DeepCLEM (Seifert, Markert et al. 2020, doi:10.12688/f1000research.27158) found electron images
of one laboratory to differ so much in contrast that equalised histograms served best.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from skimage import exposure

from correlight.errors import UsageError
from correlight.images.image import Float32, Mask
from correlight.predict.facts import Contrast

# Grey levels that histograms tell apart, and the sides of the fields that are equalised one by one, in pixels.
_LEVELS, _FIELD = 1024, 64
# Mean and deviation of what is spread evenly between 0 and 1.
EVEN = 0.5, float(np.sqrt(1 / 12))


def prepared(values: Float32, mask: Mask, contrast: Contrast) -> Float32:
    """Grey values as a model takes them; 0, the mean, outside the mask.

    Parameters
    ----------
    values : (Y, X) array of float32
        Grey values between 0 and 1.
    mask : (Y, X) array of bool
        Valid pixels.
    contrast : {"stretched", "normalised", "equalised", "equalised locally"}
        As they are; zero mean and unit variance of this image; every grey level equally frequent, in the image or in
        each part of it.
    """
    if not mask.any() or np.ptp(values[mask]) == 0:
        return np.zeros_like(values)
    if contrast == "equalised locally":
        filled = np.where(mask, values, np.float32(np.median(values[mask])))
        made = exposure.equalize_adapthist(filled, [min(_FIELD, side) for side in values.shape])
        return np.where(mask, (made - EVEN[0]) / EVEN[1], 0).astype(np.float32)
    return np.where(mask, curve(values, mask, contrast)(values), 0).astype(np.float32)


def curve(values: Float32, mask: Mask, contrast: Contrast) -> Callable[[Float32], Float32]:
    """What becomes of each grey value: for images too large to be prepared at once.

    Parameters
    ----------
    values, mask, contrast
        As for `prepared`; of the image at any pixel size.

    Raises
    ------
    UsageError
        If what becomes of a grey value depends on where it is.
    """
    if contrast == "equalised locally":
        raise UsageError(
            "Local contrast of an image that does not fit into memory is not equalised; use a model of another "
            "contrast, or crop the image."
        )
    valid = values[mask]
    if not valid.size or np.ptp(valid) == 0:
        return np.zeros_like
    if contrast == "equalised":
        shares, levels = exposure.cumulative_distribution(valid, _LEVELS)  # type: ignore[no-untyped-call]
        return lambda grey: ((np.interp(grey, levels, shares) - EVEN[0]) / EVEN[1]).astype(np.float32)
    mean, width = (float(valid.mean()), float(valid.std())) if contrast == "normalised" else EVEN
    return lambda grey: ((grey - mean) / width).astype(np.float32)
