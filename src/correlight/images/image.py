"""Image: pixels that may stay on disk, the grid they lie on, channel names, and which pixels are valid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid, as_pixel_size, level_factor

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Pixels(Protocol):
    """Anything that can be cut into NumPy arrays: NumPy, zarr and Dask arrays, memory maps."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels first: ``(C, Y, X)`` or ``(C, Z, Y, X)``."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Pixel type of the file."""
        ...

    def __getitem__(self, key: Any, /) -> Any:
        """A block of pixels."""
        ...


def cut_from(key: Any, shape: Sequence[int]) -> tuple[tuple[slice, ...], tuple[int, ...]]:
    """What a key cuts out of pixels, for arrays that NumPy does not cut itself.

    Parameters
    ----------
    key : int, slice, Ellipsis or tuple of these
        As NumPy takes it; steps are positive.
    shape : sequence of int
        Of the pixels.

    Returns
    -------
    region : tuple of slice
        One per axis, with both ends and a step.
    dropped : tuple of int
        The axes that numbers stand for, which the block does not have.

    Raises
    ------
    IndexError
        If there is no such place.
    """
    given = key if isinstance(key, tuple) else (key,)
    whole = (slice(None),) * (len(shape) - len(given) + (Ellipsis in given))
    place = given.index(Ellipsis) if Ellipsis in given else len(given)
    given = (*given[:place], *whole, *given[place + 1 :])
    region, dropped = [], []
    for axis, (part, size) in enumerate(zip(given, shape, strict=True)):
        if isinstance(part, slice):
            start, stop, step = part.indices(size)
            if step < 1:
                raise IndexError("Pixels on disk are cut out forwards only.")
            region.append(slice(start, max(start, stop), step))
        else:
            number = int(part)
            if not -size <= number < size:
                raise IndexError(f"There is no place {number} among {size}.")
            region.append(slice(number % size, number % size + 1, 1))
            dropped.append(axis)
    return tuple(region), tuple(dropped)


@dataclass(frozen=True, slots=True, eq=False)
class CoarseMask:
    """The valid pixels of an image too large to keep one value for each: those of a level, spread over its blocks.

    Parameters
    ----------
    small : array of bool
        Valid pixels of the level.
    shape : tuple of int
        Of the full resolution.
    """

    small: Mask
    shape: tuple[int, ...]

    def __getitem__(self, key: Any) -> Mask:
        """The mask of a block."""
        region, dropped = cut_from(key, self.shape)
        cuts = zip(self.shape, self.small.shape, region, strict=True)
        lines = [_nearest(large, small)[part] for large, small, part in cuts]
        return np.asarray(self.small[np.ix_(*lines)]).squeeze(dropped)

    def all(self) -> bool:
        """Whether every pixel is valid."""
        return bool(self.small.all())

    def resized(self, shape: Sequence[int]) -> Mask:
        """The mask at another shape over the same field, by the nearest pixel."""
        return np.asarray(self.small[np.ix_(*(_nearest(n, m) for n, m in zip(shape, self.small.shape, strict=True)))])


def _nearest(large: int, small: int) -> NDArray[np.intp]:
    """The pixel of a level that each pixel of the full resolution belongs to."""
    return np.minimum(np.arange(large) / level_factor(large, small), small - 1).astype(np.intp)


@dataclass(frozen=True, eq=False)
class Image:
    """One specimen seen by one instrument.

    Parameters
    ----------
    levels : sequence of Pixels
        Full resolution first, then the smaller levels of a pyramid if the file holds one. Each of shape
        ``(C, Y, X)`` or ``(C, Z, Y, X)``; pixels may stay on disk until they are cut out.
    grid : Grid
        Where the pixels of the full resolution lie.
    channels : tuple of str
        One name per channel.
    rgb : bool
        Whether the three channels are the colours of one RGB image, which is registered as a single channel.
    mask : array of bool, CoarseMask or None
        Valid pixels at full resolution, shape ``grid.shape``; None where every pixel is valid. A `CoarseMask`
        where the image stays on disk.
    findings : tuple of str
        What was found about the pixels on reading ("a data bar of 79 rows at the bottom is ignored").
    source : mapping
        Where the image comes from: path, sha256, spacing_source and what else a report should state.

    Raises
    ------
    UsageError
        If shapes or names do not fit together.
    """

    levels: Sequence[Pixels]
    grid: Grid
    channels: tuple[str, ...]
    rgb: bool = False
    mask: Mask | CoarseMask | None = None
    findings: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.levels[0].shape
        if shape[1:] != self.grid.shape or shape[0] != len(self.channels):
            raise UsageError(
                f"Pixels of shape {shape} do not fit {len(self.channels)} channels on a grid of {self.grid.shape}."
            )
        if self.mask is not None and self.mask.shape != self.grid.shape:
            raise UsageError(f"The mask has shape {self.mask.shape}, the image {self.grid.shape}.")
        if self.rgb and shape[0] != 3:
            raise UsageError(f"An RGB image has three channels; got {shape[0]}.")

    @classmethod
    def from_array(
        cls,
        pixels: ArrayLike,
        spacing: float | Sequence[float] | None = None,
        channels: Sequence[str] | None = None,
        rgb: bool = False,
        mask: Mask | None = None,
    ) -> Image:
        """Make an image from an array: ``(Y, X)``, or channels first ``(C, Y, X)`` or ``(C, Z, Y, X)``.

        Parameters
        ----------
        pixels : array_like
            Any integer or float type. Of a picture in colours (``rgb``) the colours may also be last, ``(Y, X, 3)``. A
            `DataArray` of xarray says by itself what its axes are, and where its pixels lie.
        spacing : float or sequence of float, optional
            Micrometres per pixel, array order; without it the grid is uncalibrated.
        channels : sequence of str, optional
            Names; "channel 0" and so on without them.
        rgb : bool
            Whether three channels are the colours of one picture.
        mask : (Y, X) array of bool, optional
            Which pixels are valid. What a masked array masks, and what is not a finite number, in any channel, is not.

        Raises
        ------
        UsageError
            If these are no two to four axes of real numbers, no pixel is valid, or the axes look like those of colours
            last and nothing says that they are.
        """
        from correlight.images.labelled import image_of, is_labelled

        if is_labelled(pixels):
            return image_of(pixels, spacing, channels, rgb, mask)
        valid = ~np.ma.getmaskarray(pixels) if isinstance(pixels, np.ma.MaskedArray) else None
        try:
            array = np.ma.getdata(pixels) if isinstance(pixels, np.ma.MaskedArray) else np.asanyarray(pixels)
        except (ValueError, TypeError) as error:
            raise UsageError(
                "An image of real numbers was expected, (Y, X), (C, Y, X) or (C, Z, Y, X); what was given is no array, "
                "such as lists of unequal lengths."
            ) from error
        if array.dtype.kind not in "buif" or array.ndim not in (2, 3, 4) or not array.size:
            raise UsageError(
                "An image of real numbers with 2 or 3 axes of space was expected, (Y, X), (C, Y, X) or (C, Z, Y, X); "
                f"got an array of {array.dtype} and shape {array.shape}."
            )
        if _has_colours_last(array.shape):
            if not rgb:
                raise UsageError(
                    f"An array of shape {array.shape} looks like an image with its {array.shape[-1]} channels last; "
                    "say rgb=True of a picture in three colours, or put the channels first with np.moveaxis."
                )
            array, valid = np.moveaxis(array, -1, 0), None if valid is None else np.moveaxis(valid, -1, 0)
        if array.dtype.kind == "f" and not isinstance(array, np.memmap):
            # Images are compared in single precision, in which larger numbers are no longer finite.
            with np.errstate(invalid="ignore"):
                finite = np.abs(array) <= np.finfo(np.float32).max
            valid = finite if valid is None else valid & finite
        mask = None if mask is None else _as_mask(mask)
        if valid is not None and not valid.all():
            inside: Mask = np.asarray(valid if valid.ndim == 2 else valid.all(axis=0), bool)
            # A mask of another shape is refused below.
            mask = (
                inside & mask if mask is not None and mask.shape == inside.shape else inside if mask is None else mask
            )
            if mask.shape == inside.shape and not mask.any():
                raise UsageError("No pixel of the image is valid: each is masked, or in some channel no finite number.")
        array = array[None] if array.ndim == 2 else array
        if channels is not None and (
            isinstance(channels, str)
            or not isinstance(channels, Sequence)
            or not all(isinstance(name, str) for name in channels)
        ):
            raise UsageError(f"A name for each channel was expected; got {channels!r}.")
        names = tuple(channels) if channels is not None else default_channels(array.shape[0], rgb)
        if len(set(names)) < len(names):
            raise UsageError(f"Each channel needs a name of its own; got {', '.join(names)}.")
        if spacing is None:
            grid = Grid.of(array.shape[1:])
        else:
            grid = Grid.of(array.shape[1:], _fitting(spacing, array.ndim - 1), unit="micrometre")
        return cls((array,), grid, names, rgb=rgb, mask=mask)

    def __repr__(self) -> str:
        """What it is in a line: size, pixel type, pixel size and channels."""
        size = " x ".join(str(count) for count in self.grid.shape)
        steps = " x ".join(f"{step:.4g}" for step in self.grid.spacing)
        steps = f"{self.grid.spacing[0]:.4g}" if len(set(self.grid.spacing)) == 1 else steps
        scaled = f"{steps} µm per pixel" if self.grid.calibrated else "no pixel size"
        axes = "(z, y, x)" if self.ndim == 3 else "(y, x)"
        return f"<Image: {size} pixels {axes}, {self.dtype}, {scaled}; {', '.join(self.channels)}>"

    def _repr_html_(self) -> str:
        """A notebook shows a small copy of the first channel, or of the colours, above that line."""
        from correlight.images.display import in_a_page, thumbnail

        return in_a_page(thumbnail(self), repr(self))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All pixels of the full resolution, channels first; they are read from the file if they lie on disk."""
        return np.array(self.levels[0][...], dtype=dtype, copy=copy)

    def to_xarray(self) -> Any:
        """A `DataArray` of xarray with coordinates in micrometres (`correlight.images.labelled.to_xarray`)."""
        from correlight.images.labelled import to_xarray

        return to_xarray(self)

    @property
    def ndim(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return self.grid.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Pixel type."""
        return np.dtype(self.levels[0].dtype)

    @property
    def usable_channels(self) -> tuple[int | None, ...]:
        """The channels that can be registered on their own; ``(None,)`` for a colour image."""
        return (None,) if self.rgb else tuple(range(len(self.channels)))

    def channel_index(self, channel: int | str | None) -> int | None:
        """The 0-based number of a channel given by number or name; None (all colours) for an RGB picture.

        Raises
        ------
        UsageError
            If there is no such channel; the message lists those that exist.
        """
        if self.rgb and channel is None:
            return None
        if isinstance(channel, str) and channel in self.channels:
            return self.channels.index(channel)
        if (
            isinstance(channel, int | str)
            and str(channel).isdecimal()
            and len(str(channel)) < 10
            and int(channel) < len(self.channels)
        ):
            return int(channel)
        if channel is None and len(self.channels) == 1:
            return 0
        known = ", ".join(f"{i} ({name})" for i, name in enumerate(self.channels))
        if channel is None:
            raise UsageError(f"One of the channels must be chosen; this image has {known}.")
        raise UsageError(f"There is no channel {channel!r}; this image has {known}.")

    def channel_name(self, channel: int | None) -> str:
        """How a channel is called in a report; an RGB image taken as one image is "RGB"."""
        return "RGB" if channel is None else self.channels[channel]

    def grey(self, channel: int | None = None, level: int = 0) -> Float32:
        """One channel as float32, shape of the level; the mean of the colours where ``channel`` is None."""
        pixels = self.levels[level]
        # What overflows in single precision is not valid; see `from_array`.
        with np.errstate(over="ignore", invalid="ignore"):
            if channel is not None:
                return np.asarray(pixels[channel], dtype=np.float32)
            total = np.asarray(pixels[0], dtype=np.float32)
            for index in range(1, pixels.shape[0]):
                total = total + np.asarray(pixels[index], dtype=np.float32)
        return np.asarray(total / np.float32(pixels.shape[0]))

    def level_grid(self, level: int) -> Grid:
        """The grid of a pyramid level, each of whose pixels lies in the middle of those that it was made of."""
        return self.grid.level(self.levels[level].shape[1:])

    def valid(self) -> Mask:
        """Valid pixels at full resolution, shape ``grid.shape``; as large as the image, however large that is."""
        if self.mask is None:
            return np.ones(self.grid.shape, bool)
        return self.mask[...] if isinstance(self.mask, CoarseMask) else self.mask

    def with_mask(self, mask: Mask | CoarseMask, *findings: str) -> Image:
        """The same image with fewer valid pixels (the old mask stays in force) and what was found."""
        both: Mask | CoarseMask
        if self.mask is None:
            both = mask
        elif isinstance(mask, CoarseMask) and isinstance(self.mask, CoarseMask):
            both = CoarseMask(mask.small & self.mask.resized(mask.small.shape), mask.shape)
        else:
            both = (mask[...] if isinstance(mask, CoarseMask) else mask) & self.valid()
        return replace(self, mask=both, findings=(*self.findings, *findings))

    def with_spacing(self, spacing: float | Sequence[float], source: str) -> Image:
        """The same image with another pixel size in micrometres, and where that comes from.

        A region cut out of a larger image stays as many pixels from the first one as it was.
        """
        whole = Grid.of(self.grid.shape, _fitting(spacing, self.ndim), unit="micrometre")
        first = whole.points(-self.grid.index(np.zeros((1, self.ndim))))[0]
        grid = replace(whole, origin=tuple(float(position) for position in first))
        return replace(self, grid=grid, source={**self.source, "spacing_source": source})


def _fitting(spacing: object, ndim: int) -> tuple[float, ...]:
    """A pixel size that was given, for each axis."""
    size = as_pixel_size(spacing)
    if size.ndim > 1 or (size.ndim and len(size) not in (1, ndim)):
        raise UsageError(f"A pixel size is one number, or one for each of {ndim} axes; got {spacing!r}.")
    return tuple(np.broadcast_to(size, (ndim,)).tolist())


def _has_colours_last(shape: tuple[int, ...]) -> bool:
    """Whether an array of three axes has three or four channels behind its rows and columns."""
    return len(shape) == 3 and shape[2] in (3, 4) and min(shape[:2]) > shape[2]


def _as_mask(mask: object) -> Mask:
    """What somebody means by a mask: zero excludes."""
    array = np.asarray(mask)
    if array.dtype.kind not in "buif" or not np.isfinite(array).all():
        raise UsageError(
            f"A mask was expected as an array of bool, False where a pixel is not valid; got {array.dtype}."
        )
    return np.asarray(array != 0, bool)


def told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """Names of which none occurs twice: of those that do, all but the first get a number."""
    out = list[str]()
    for name in names:
        free = (f"{name} {number}" for number in range(2, len(names) + 2))
        out.append(name if name not in out else next(one for one in free if one not in (*names, *out)))
    return tuple(out)


def default_channels(count: int, rgb: bool = False) -> tuple[str, ...]:
    """Names for channels that the file does not name."""
    return ("red", "green", "blue") if rgb else tuple(f"channel {index}" for index in range(count))
