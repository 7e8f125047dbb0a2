"""Whether the predicted error holds: how the true errors of places compare with what a result says of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from correlight.evidence.predicted_error import PredictedError


def compared(predicted: PredictedError, true: NDArray[np.float64]) -> dict[str, float | None]:
    """What a row says of the prediction; ``true`` ``(N,)`` are the errors at its places, in its unit.

    ``under_bound`` is the share of the places that lie under their 95 % bound, ``true_over_predicted`` the root mean
    square of true over predicted errors. None where nothing is predicted, or no error is known.
    """
    known = np.isfinite(predicted.values).ravel()
    if not known.any() or not np.all(np.isfinite(true)):
        return {"under_bound": None, "true_over_predicted": None}
    expected, bound = (values.ravel()[known] for values in (predicted.values, predicted.bound))
    return {
        "under_bound": float(np.mean(true[known] <= bound)),
        "true_over_predicted": float(np.sqrt(np.mean((true[known] / expected) ** 2))),
    }
