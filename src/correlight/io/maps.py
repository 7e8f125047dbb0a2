"""Maps of numbers that the package itself has written: the predicted error, a footprint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from correlight.errors import ReadError

LIMIT = 2**26  # numbers; a map is coarse


def read_map(path: str | Path) -> NDArray[np.float64]:
    """The numbers of a map, of any size and with NaN among them, which no picture would be read with.

    Parameters
    ----------
    path : str or Path
        A TIFF file with one channel.

    Returns
    -------
    (Y, X) or (Z, Y, X) array

    Raises
    ------
    ReadError
        If the file is missing, damaged, too large, or holds something else.
    """
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            if series.size > LIMIT:
                raise ReadError(f"A coarse map was expected in {path}; it has {series.size} values.")
            values = np.squeeze(np.asarray(series.asarray(), float))
    except (tifffile.TiffFileError, OSError, ValueError, IndexError, TypeError) as error:
        raise ReadError(f"A map of numbers was expected in {path}, which cannot be read: {error}.") from error
    if values.ndim not in (2, 3):
        raise ReadError(f"A map of 2 or 3 axes was expected in {path}; got the shape {values.shape}.")
    return values
