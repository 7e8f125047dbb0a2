"""The prediction of a model as a file, also of images larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from correlight.images.image import Float32, Image, Mask
from correlight.images.plane import Plane, between, limits
from correlight.images.pyramid import stays_on_disk, working_image
from correlight.io.write import TiffBands
from correlight.predict.contrast import curve
from correlight.predict.model import Model, shape_for
from correlight.progress import Progress

# Rows of the model that a band gives at most, beside those that it looks at, and pixels of the image that it has then:
# of a wide image fewer rows are taken at a time, but no fewer than are looked at beside them.
_ROWS, _PIXELS = 512, 2**23


def write_prediction(
    path: Path, model: Model, image: Image, channel: int | str | None, progress: Progress | None = None
) -> float:
    """Write what a model predicts of an image, on its pixels or finer ones, as float32 in the units of its targets.

    Pixels that are not valid, such as those of a data bar, become NaN.

    An image that stays on disk is predicted in bands of rows that overlap by as far as the model sees; its contrast is
    prepared by the histogram of the level of it that is looked at as a whole.

    Parameters
    ----------
    path : Path
        A ``.tif`` file.
    model : Model
        What predicts.
    image : Image
        Of two axes.
    channel : int, str or None
        Which channel; the only one, or all colours of a picture, without.
    progress : callable, optional
        Called with the fraction that is done.

    Returns
    -------
    float
        How unusual the model finds the image (see `correlight.predict.usual`).

    Raises
    ------
    UsageError
        If there is no such channel, or the contrast of the model cannot be prepared in bands.
    """
    number = image.channel_index(channel)
    whole = Plane.of(image, number)
    grid = model.grid_of(image.grid)
    shape = (1, *grid.shape)
    name = f"{model.facts.target} (predicted)"
    with TiffBands(path, shape, np.dtype(np.float32), grid, (name,), pyramid="mean") as file:
        bands = _bands(model, image, number, whole) if stays_on_disk(image) else iter([model.predicted(whole)])
        done, finer = 0, model.facts.finer
        for band in bands:
            rows = slice(done // finer, (done + len(band)) // finer)
            _, valid = _read(image, number, rows, 0.0, 1.0)
            # What the image does not show, nobody can predict.
            known = valid.repeat(finer, axis=0).repeat(finer, axis=1)
            file.add(np.where(known, band, np.float32(np.nan))[None])
            done += len(band)
            if progress is not None:
                progress("predict", done / grid.shape[0])
    return model.unusualness(whole)


def _bands(model: Model, image: Image, number: int | None, whole: Plane) -> Iterator[Float32]:
    """Predicted rows, band after band."""
    seen = working_image(image)
    grey, mask = seen.grey(number), seen.valid()
    low, high = limits(grey[mask & np.isfinite(grey)])
    small = model.at_its_pixels(whole)
    becomes = curve(small.values, small.mask, model.facts.contrast)
    height = shape_for(image.grid, model.facts.spacing, model.facts.shrink)[0]
    # Rows of the image per row of the model; bands begin where rows of both begin, as far as those are whole numbers.
    factor = image.grid.shape[0] / height
    # Networks state how far they see, and where their tiles may begin; other mappings look at all that is given.
    reach, multiple = (int(model.facts.settings.get(name, usual)) for name, usual in (("reach", 64), ("multiple", 1)))
    margin = -(-reach // multiple) * multiple
    most = min(_ROWS, max(margin, int(_PIXELS / (factor * image.grid.shape[1]))))
    step = max(most // multiple, 1) * multiple
    for first in range(0, height, step):
        top, bottom = max(first - margin, 0), min(first + step + margin, height)
        rows = slice(round(top * factor), round(bottom * factor))
        values, valid = _read(image, number, rows, low, high)
        part = Plane(values, valid, image.grid.crop((rows.start, 0), (rows.stop, image.grid.shape[1])))
        coarse = part.resized((bottom - top, small.grid.shape[1]))
        given = np.where(coarse.mask, becomes(coarse.values), np.float32(0))
        made, finer = model.enlarged(given, coarse, model.grid_of(part.grid)), model.facts.finer
        last = image.grid.shape[0] if bottom == height else round((first + step) * factor)
        yield made[(round(first * factor) - rows.start) * finer : (last - rows.start) * finer]
        if last == image.grid.shape[0]:
            return


def _read(image: Image, number: int | None, rows: slice, low: float, high: float) -> tuple[Float32, Mask]:
    """Rows of an image between 0 and 1, and which of their pixels are valid."""
    chosen = slice(None) if number is None else slice(number, number + 1)
    pixels = np.asarray(image.levels[0][(chosen, rows, slice(None))], np.float32)
    grey = pixels.mean(axis=0, dtype=np.float32)
    valid = np.isfinite(grey)
    if image.mask is not None:
        valid &= image.mask[rows, :]
    return np.where(valid, between(grey, low, high), np.float32(0)).astype(np.float32), valid
