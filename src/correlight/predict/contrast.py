"""Grey values as models see them: zero mean and unit variance, after one of the preparations that were compared.

DeepCLEM (Seifert, Markert et al. 2020, doi:10.12688/f1000research.27158) found electron images
of one laboratory to differ so much in contrast that equalised histograms served best.
"""

from __future__ import annotations

import numpy as np
from skimage import exposure

from correlight.images.image import Float32, Mask
from correlight.predict.facts import Contrast

# Grey levels that histograms tell apart, and the sides of the fields that are equalised one by one, in pixels.
_LEVELS, _FIELD = 1024, 64
# Mean and deviation of what is spread evenly between 0 and 1.
_EVEN = 0.5, np.sqrt(1 / 12)


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
    if contrast == "normalised":
        valid = values[mask]
        made, (mean, width) = values, (float(valid.mean()), float(valid.std()))
    elif contrast == "stretched":
        made, (mean, width) = values, _EVEN
    elif contrast == "equalised":
        made, (mean, width) = exposure.equalize_hist(values, _LEVELS, mask), _EVEN  # type: ignore[no-untyped-call]
    else:
        filled = np.where(mask, values, np.float32(np.median(values[mask])))
        fields = [min(_FIELD, side) for side in values.shape]
        made, (mean, width) = exposure.equalize_adapthist(filled, fields), _EVEN
    return np.where(mask, (made - mean) / width, 0).astype(np.float32)
