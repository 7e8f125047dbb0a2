"""Maps of numbers that the package itself has written: the predicted error, a footprint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.io.door import check_regular
from correlight.io.tiff_checks import check_companions, other_files
from correlight.io.tiff_file import open_tiff, quiet

LIMIT = 2**26  # numbers; a map is coarse


def read_map(path: str | Path) -> NDArray[np.float64]:
    """The numbers of a map, of any size and with NaN among them, which no image would be read with.

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
    check_regular(path, "a map of numbers")
    try:
        # Through the one door, as a map of somebody else could name files that are none of it.
        with quiet(), open_tiff(Path(path)) as opened:
            check_companions(Path(path), opened.file)
            series = opened.file.series[0]
            other_files(Path(path), series)
            if series.size > LIMIT:
                raise ReadError(f"A coarse map was expected in {path}; it has {series.size} values.")
            if series.dtype is None or series.dtype.kind not in "buif":
                raise ReadError(f"A map of real numbers was expected in {path}; it holds {series.dtype}.")
            values = np.squeeze(np.asarray(series.asarray(), float))
    except ReadError:
        raise
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        detail = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
        raise ReadError(f"A map of numbers was expected in {path}, which cannot be read: {detail}.") from error
    if values.ndim not in (2, 3):
        raise ReadError(f"A map of 2 or 3 axes was expected in {path}; got the shape {values.shape}.")
    return values
