"""Whatever else bioio reads, for those who have it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from correlight.errors import ReadError
from correlight.io import calibration
from correlight.io.axes import FIRST, Choice, choose_level, choose_scene, in_order, index_of
from correlight.io.content import NOT_STATED, Content, check_size, from_samples
from correlight.io.extras import losses_raised, reader


def bioio_is_installed() -> bool:
    """Whether the fallback is there."""
    return find_spec("bioio") is not None


def read_bioio(path: Path, *, calibrate: bool = True, choice: Choice = FIRST) -> Content:
    """Read one scene of a file through bioio and the plug-ins that are installed for it.

    Parameters
    ----------
    path : Path
        The file.
    calibrate : bool
        Whether to read the pixel size; without, an impossible one does no harm.
    choice : Choice
        Scene, by number or name, level and frame.
    """
    bioio = reader("bioio", "this kind of file")
    with losses_raised():
        try:
            image = bioio.BioImage(path)
        except Exception as error:  # plug-ins raise what they like
            detail = " ".join(str(error).split())[:200] or type(error).__name__
            raise ReadError(f"Cannot read {path} with bioio ({detail}); export the image as OME-TIFF.") from error
        number, findings = choose_scene(path, list(image.scenes), choice)
        image.set_scene(number)
        image.set_resolution_level(choose_level(path, len(image.resolution_levels), choice))
        array = image.dask_data
        axes = "".join(image.dims.order)
        index, said = index_of(path, axes, array.shape, choice)
        shape = tuple(count for count, part in zip(array.shape, index, strict=True) if isinstance(part, slice))
        check_size(path, shape, array.dtype.itemsize)
        pixels = np.asarray(array[index])
        sizes = image.physical_pixel_sizes
        names = tuple(str(name) for name in image.channel_names or ())
    kept = "".join(axis for axis, part in zip(axes, index, strict=True) if isinstance(part, slice))
    if kept.endswith("YXS") and pixels.shape[-1] in (3, 4) and pixels.size == np.prod(pixels.shape[-3:]):
        content = from_samples(pixels.reshape(pixels.shape[-3:]))
    else:
        content = Content(in_order(path, kept, pixels))
    steps = [getattr(sizes, axis) for axis in "ZYX"[-content.ndim :]]
    known = calibrate and all(step for step in steps)
    return Content(
        content.pixels,
        channels=names if len(names) == content.count and not content.rgb else (),
        rgb=content.rgb,
        opaque=content.opaque,
        spacing=calibration.checked(path, [float(step) for step in steps], "metadata") if known else None,
        spacing_source="bioio" if known else NOT_STATED,
        findings=(*findings, *said),
    )
