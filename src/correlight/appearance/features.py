"""Features of a whole image or volume, for whoever wants to compare images by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from correlight.appearance.descriptor import PLANES, STRIDE, shipped
from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.plane import Plane

_LEAST_SIDE = 16


def features(image: Image | ArrayLike, channel: int | str | None = None, spacing: float | None = None) -> Image:
    """The learned features of an image, in the place where the image lies.

    Two images of one specimen by unlike instruments have like features where they show the same, provided that both
    were computed at the same pixel size and have the same orientation: features are not rotation invariant.

    Parameters
    ----------
    image : Image or array_like
        Two- or three-dimensional. In a volume every slice is described by itself.
    channel : int or str, optional
        Which one; the first without, or the mean of the colours of an RGB picture.
    spacing : float, optional
        Pixel size to work at, in the unit of the image; its own without. Never finer than its own.

    Returns
    -------
    Image
        float32, 16 channels, 4 times coarser in the plane than the image was worked at; with vectors of length
        below 1, and 0 where the image is not valid.

    Raises
    ------
    UsageError
        If the image is smaller than 16 pixels at that pixel size, or the pixel size is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).random((64, 96), dtype=np.float32)
    >>> described = features(image)
    >>> described.levels[0].shape, described.grid.spacing
    ((16, 16, 24), (4.0, 4.0))
    """
    image = image if isinstance(image, Image) else Image.from_array(image)
    if spacing is not None and not spacing > 0:
        raise UsageError(f"The pixel size to work at must be positive; got {spacing}.")
    number = None if image.rgb and channel is None else image.channel_index(0 if channel is None else channel)
    flat = Grid(image.grid.shape[-2:], image.grid.spacing[-2:], image.grid.origin[-2:], image.grid.unit)
    stack, masks = image.grey(number), image.valid()
    slices = stack.reshape(-1, *flat.shape), masks.reshape(-1, *flat.shape)
    made = []
    grid = flat
    for values, mask in zip(*slices, strict=True):
        plane = Plane.of(Image.from_array(values, mask=mask), 0)
        plane = replace(plane, grid=flat)
        plane = plane if spacing is None else plane.shrunk(spacing)
        if min(plane.values.shape) < _LEAST_SIDE:
            raise UsageError(
                f"At this pixel size the image has {plane.values.shape[0]} x {plane.values.shape[1]} pixels; at least "
                f"{_LEAST_SIDE} per side are needed; choose a smaller pixel size to work at."
            )
        planes, support = shipped().planes(plane.values, plane.mask)
        made.append(planes * support)
        # Pixel (i, j) of the features stands for pixel (4 i, 4 j): same origin, four times the spacing.
        step = plane.grid.spacing
        grid = Grid(support.shape, (STRIDE * step[0], STRIDE * step[1]), plane.grid.origin, flat.unit)
    pixels = np.stack(made, axis=1)
    if image.ndim == 2:
        pixels = pixels[:, 0]
    else:
        own = image.grid
        grid = Grid(
            (own.shape[0], *grid.shape), (own.spacing[0], *grid.spacing), (own.origin[0], *grid.origin), own.unit
        )
    return Image((pixels,), grid, tuple(f"feature {index}" for index in range(PLANES)))
