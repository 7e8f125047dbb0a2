"""Arrays whose axes have names and coordinates, as xarray has them, as images and back.

A `DataArray` is known by what it has, so that xarray is needed only to make one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.images.image import Image, Mask

# What people call the axes, and units in micrometres.
_AXES = {"z": "z", "y": "y", "x": "x", "c": "c", "channel": "c", "channels": "c", "band": "c", "s": "s", "rgb": "s"}
_PIXELS = ("pixel", "pixels", "px")
_MICROMETRES = {
    **dict.fromkeys(
        ("µm", "μm", "um", "micrometre", "micrometer", "micrometres", "micrometers", "micron", "microns"), 1.0
    ),
    **dict.fromkeys(("nm", "nanometre", "nanometer", "nanometres", "nanometers"), 1e-3),
    **dict.fromkeys(("mm", "millimetre", "millimeter", "millimetres", "millimeters"), 1e3),
}
# Coordinates are even if no step differs from the others by more than this.
_EVEN = 1e-3


def is_labelled(given: object) -> bool:
    """Whether this is an array with named axes and coordinates, such as a `DataArray` of xarray."""
    return all(hasattr(given, name) for name in ("dims", "coords", "attrs", "transpose", "values"))


def image_of(
    array: Any,
    spacing: float | Sequence[float] | None = None,
    channels: Sequence[str] | None = None,
    rgb: bool = False,
    mask: Mask | None = None,
) -> Image:
    """An image of an array with named axes; parameters as for `Image.from_array`, which take precedence.

    Axes are called y and x, perhaps z, c or channel, and s or rgb for the colours of a picture; one slice is a flat
    image. The coordinates of y, x and z are those of the centres of pixels: in micrometres, unless their attribute
    ``units`` says nm, mm or pixel. Without it, coordinates that grow by a whole number count pixels, as ``arange`` does
    and what is cut out of it or binned. Positions are those of the coordinates, also where these do not begin at 0. A
    coordinate ``valid`` over all axes of space is the mask.

    Raises
    ------
    UsageError
        If an axis has another name and more than one place, or coordinates are not even, fall, have another unit, or
        are in micrometres for some axes only.
    """
    names = [_AXES.get(str(name).lower(), "") for name in array.dims]
    extra = [str(dim) for dim, name in zip(array.dims, names, strict=True) if not name or names.count(name) > 1]
    extra = [dim for dim in extra if array.sizes[dim] > 1]
    if extra or not {"y", "x"} <= set(names):
        axes = ", ".join(map(str, array.dims))
        raise UsageError(f"Axes called y and x, perhaps z, c or rgb, were expected; got {axes}; choose or rename them.")
    single = {dim for dim, name in zip(array.dims, names, strict=True) if not name or name == "z"}
    array = array.isel({dim: 0 for dim in single if array.sizes[dim] == 1})
    named = {_AXES[str(dim).lower()]: dim for dim in array.dims}
    order = [named[name] for name in "sczyx" if name in named]
    pixels = np.asarray(array.transpose(*order).values)
    if "c" in named and "s" in named:
        raise UsageError("An image has channels or the colours of a picture; got axes for both, so choose one of them.")
    if "z" in named and not {"c", "s"} & set(named):
        pixels = pixels[None]
    rgb = rgb or ("s" in named and pixels.shape[0] == 3)
    if channels is None and not rgb:
        channels = _names(array, named)
    space = [axis for axis in "zyx" if axis in named]
    if mask is None and "valid" in array.coords and set(array.coords["valid"].dims) == {named[axis] for axis in space}:
        mask = np.asarray(array.coords["valid"].transpose(*(named[axis] for axis in space)).values, bool)
    lines = [_line(array, str(named[axis])) for axis in space]
    if spacing is not None:
        return Image.from_array(pixels, spacing, channels, rgb, mask)
    if len({line.counts for line in lines}) > 1:
        told = ", ".join(f"{named[axis]} in {line.unit}" for axis, line in zip(space, lines, strict=True))
        raise UsageError(
            f"Coordinates of all axes in micrometres, or of all in pixels, were expected; got {told}. Give all axes "
            "coordinates in one unit, or the pixel size."
        )
    steps, firsts = (tuple(getattr(line, name) for line in lines) for name in ("step", "first"))
    if lines[0].counts:
        image = Image.from_array(pixels, None, channels, rgb, mask)
        return replace(image, grid=replace(image.grid, spacing=steps, origin=firsts))
    image = Image.from_array(pixels, steps, channels, rgb, mask)
    source = {**image.source, "spacing_source": "the coordinates of the array"}
    return replace(image, grid=replace(image.grid, origin=firsts), source=source)


def to_xarray(image: Image) -> Any:
    """A `DataArray` of the pixels of an image, channels (or ``rgb``) first, with coordinates in micrometres.

    Where not every pixel is valid, a coordinate ``valid`` says which are.

    Raises
    ------
    UsageError
        If xarray is not installed.
    """
    try:
        from xarray import DataArray
    except ImportError as error:
        raise UsageError(
            f"For arrays with coordinates the package xarray is needed, and it cannot be imported ({error}); install "
            "correlight[notebook]."
        ) from error
    axes = ("z", "y", "x")[-image.ndim :]
    unit = {"units": "µm" if image.grid.calibrated else "pixel"}
    coordinates: dict[str, Any] = {"c": list(image.channels)}
    for axis, count, first, step in zip(axes, image.grid.shape, image.grid.origin, image.grid.spacing, strict=True):
        coordinates[axis] = (axis, first + step * np.arange(count), unit)
    if image.mask is not None:
        coordinates["valid"] = (axes, image.valid())
    about = {key: str(image.source[key]) for key in ("path", "moved_by") if key in image.source}
    if image.rgb:
        coordinates["rgb"] = coordinates.pop("c")
    return DataArray(np.asarray(image), dims=("rgb" if image.rgb else "c", *axes), coords=coordinates, attrs=about)


def _names(array: Any, named: dict[str, Any]) -> list[str] | None:
    """The names of the channels, where there are any."""
    if "c" in named:
        dim = named["c"]
        return [str(name) for name in array.coords[dim].values.tolist()] if dim in array.coords else None
    single = "s" not in named and getattr(array, "name", None)
    return [str(array.name)] if single else None


@dataclass(frozen=True, slots=True)
class _Line:
    """The first coordinate of an axis and the step to the next, in pixels if it counts those, else in micrometres."""

    first: float
    step: float
    counts: bool

    @property
    def unit(self) -> str:
        return "pixels" if self.counts else "µm"


def _line(array: Any, dim: str) -> _Line:
    """Where the pixels lie along an axis."""
    if dim not in array.coords:
        return _Line(0.0, 1.0, True)
    line = array.coords[dim]
    values: NDArray[Any] = np.asarray(line.values)
    unit = str(line.attrs.get("units", line.attrs.get("unit", ""))).strip().lower()
    if values.dtype.kind not in "iuf":
        raise UsageError(f"Numbers were expected as coordinates of {dim}; got {values.dtype}.")
    if unit and unit not in _MICROMETRES and unit not in _PIXELS:
        raise UsageError(f"The coordinates of {dim} were expected in µm, nm, mm or pixels; got {unit!r}.")
    steps = np.diff(values.astype(float))
    step = float(np.median(steps)) if steps.size else 0.0
    if not (step > 0 and np.abs(steps - step).max() <= _EVEN * step):
        raise UsageError(f"Coordinates that grow by even steps were expected along {dim}; sort and resample the array.")
    first, step = float(values[0]), float(values[-1] - values[0]) / (len(values) - 1)
    # Of pixels that were binned the first lies between two.
    if unit in _PIXELS or (not unit and step == round(step) and 2 * first == round(2 * first)):
        return _Line(first, step, True)
    scale = _MICROMETRES.get(unit, 1.0)
    return _Line(first * scale, step * scale, False)
