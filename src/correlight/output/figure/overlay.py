"""The overlay of a result at the full resolution of the fixed image, and what is drawn onto it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images import display
from correlight.images.display import COLOURS, GREY, RGB, Grey
from correlight.images.image import Image, Mask
from correlight.images.pyramid import shown_image
from correlight.images.resample import Chosen, Resampling
from correlight.output.composite import channel_names, in_step
from correlight.output.figure import marks
from correlight.output.figure.marks import Landmarks, Mark
from correlight.output.report import pictures
from correlight.output.report.pictures import Colour
from correlight.parsing import stem_of
from correlight.transforms import Affine, Transform

Region = tuple[int, int, int, int]
MOST_PIXELS = 2**27  # of a figure: a third of a gigabyte in memory
_SMALL = 1600  # pixels of a side on which it is decided how an image is shown


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A figure before it is written.

    Parameters
    ----------
    picture : (Y, X, 3) array of uint8
        The overlay alone.
    offset : int
        Rows of the figure above the overlay.
    marks : tuple of Mark
        What is drawn onto it, in pixels of the figure.
    shape : (int, int)
        Rows and columns of the figure.
    grid : Grid
        Where the pixels of the overlay lie in the fixed frame.
    notes : tuple of str
        What a caption should say.
    """

    picture: Colour
    offset: int
    marks: tuple[Mark, ...]
    shape: tuple[int, int]
    grid: Grid
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Layer:
    """A channel, and how it is shown."""

    number: int | None
    name: str
    colour: RGB
    limits: tuple[float, float]
    inverted: bool
    dense: bool

    def light(self, values: NDArray[Any]) -> Grey:
        """What of it is shown, from 0 to 255."""
        grey = display.between(values, *self.limits)
        return 255 - grey if self.inverted else grey


def draw(
    fixed: Image,
    moving: Image,
    moving_from_fixed: Transform,
    *,
    used: tuple[str | None, str | None] = (None, None),
    channels: str | Sequence[str] = (),
    colours: str | Sequence[str] = (),
    region: Region | None = None,
    longest: int | None = None,
    status: str = "accepted",
    landmarks: tuple[tuple[str, ...], NDArray[Any], NDArray[Any]] | None = None,
) -> Drawn:
    """Draw the overlay at the resolution of the fixed image, in bands of rows.

    Parameters
    ----------
    fixed, moving : Image
        In the plane.
    moving_from_fixed : Transform
        Takes fixed to moving positions.
    used : (str or None, str or None)
        Names of the channels used for registration, which are shown where nothing else is asked for.
    channels : str, or sequence of str
        Moving channels to show, by name or 0-based number.
    colours : str, or sequence of str
        Their colours: names in `correlight.images.display.COLOURS`, ``grey`` or ``#RRGGBB``. Without them every channel
        has the colour that it has in every picture of correlight.
    region : (int, int, int, int), optional
        First and last (excluded) row and column of the fixed image to show.
    longest : int, optional
        Pixels along the longer side; those of the fixed image without.
    status : {"accepted", "doubtful", "refused"}
        The verdict; a doubtful overlay says so.
    landmarks : (names, (N, 2) array, (N, 2) array), optional
        Places in the fixed and in the moving image.

    Raises
    ------
    UsageError
        If the result was refused, the images are no planes, an option does not suit them, or the figure would be too
        large.
    """
    if status == "refused":
        raise UsageError("The registration was refused, so there is no overlay to draw.")
    if fixed.ndim != 2 or moving_from_fixed.ndim != 2:
        raise UsageError("A figure is drawn of images in the plane, and these are stacks; choose a slice of them.")
    _must_be_numbers(region, longest)
    channels, colours = ([one] if isinstance(one, str) else one for one in (channels, colours))
    onto = _pixels(fixed.grid, region, longest)
    ground = _layers((fixed, moving), False, [_number(fixed, used[0])], [GREY])[0]
    lights = _chosen((fixed, moving), used[1], channels, colours)
    if len(lights) == 1 and lights[0].dense:
        ground = replace(ground, colour=_opposite(lights[0].colour))
    picture, last = _laid(fixed, moving, moving_from_fixed, onto, ground, lights)
    rows, columns = onto.shape
    size = marks.letter_size((rows, columns))
    above, offset = ([], 0) if status == "accepted" else marks.band(f"{status}: check before use", columns, size)
    bar = marks.scale_bar((rows, columns), onto.spacing[1], onto.frame.symbol, last, offset)
    shown: list[Mark] = [*above, *bar]
    notes = [f"one pixel of the figure is {onto.spacing[1]:.4g} {onto.frame.symbol}"]
    if longest is not None and longest > max(onto.shape):
        notes.append(f"the figure has {max(onto.shape)} pixels along its longer side, as no finer ones are drawn")
    if landmarks is not None:
        found = _on_picture(landmarks, moving_from_fixed, onto)
        shown += marks.landmarks(found, (rows, columns), offset)
        notes.append(f"residuals of the landmarks are drawn {found.times:g} times as long as they are")
    names = [(layer.name, layer.colour) for layer in (ground, *lights)]
    below, height = marks.legend(names, columns, offset + rows, size)
    shape = offset + rows + height, columns
    return Drawn(picture, offset, (*shown, *below), shape, onto, tuple(notes))


def colour_named(name: str) -> RGB:
    """Red, green and blue of a colour.

    Raises
    ------
    UsageError
        If there is no such colour.
    """
    if name in COLOURS:
        return COLOURS[name]
    if name in ("grey", "gray", "white"):
        return GREY
    if re.fullmatch(r"#[0-9a-fA-F]{6}", name):
        return int(name[1:3], 16), int(name[3:5], 16), int(name[5:], 16)
    raise UsageError(f"A colour is {', '.join(COLOURS)}, grey or #RRGGBB; got {name!r}.")


def _must_be_numbers(region: object, longest: object) -> None:
    """Refuse what is no region and no number of pixels."""
    four = isinstance(region, Sequence | np.ndarray) and len(region) == 4
    if region is not None and not (four and all(isinstance(n, Integral) for n in region)):  # type: ignore[attr-defined]
        raise UsageError(f"A region is four whole numbers of pixels, y0, y1, x0, x1; got {region!r}.")
    if longest is not None and not (isinstance(longest, Integral) and int(longest) >= 1):
        raise UsageError(f"The pixels along the longer side are a whole number from 1; got {longest!r}.")


def _pixels(grid: Grid, region: Region | None, longest: int | None) -> Grid:
    """The pixels of a figure: square ones, of the fixed image or coarser."""
    if region is not None:
        grid = grid.crop((region[0], region[2]), (region[1], region[3]))
    shape = display.display_shape(grid, longest or max(math.ceil(side / min(grid.spacing)) for side in grid.extent))
    if math.prod(shape) > MOST_PIXELS:
        raise UsageError(
            f"The figure would have {shape[0]} x {shape[1]} pixels, and at most {MOST_PIXELS:,} are drawn; choose a "
            "part of the image, or fewer pixels along its longer side."
        )
    return grid if shape == grid.shape else grid.resized(shape)


def _chosen(
    images: tuple[Image, Image], used: str | None, channels: Sequence[str], colours: Sequence[str]
) -> list[_Layer]:
    """The moving channels to show; those that are asked for, or the one used for registration."""
    moving = images[1]
    if moving.rgb and channels:
        raise UsageError("The moving image is a picture in colours, which is shown as one channel; name no channels.")
    numbers = [moving.channel_index(name) for name in channels] if channels else [_number(moving, used)]
    if len(colours) > len(numbers):
        raise UsageError(f"There are {len(numbers)} channels to colour; got {len(colours)} colours.")
    named = [colour_named(name) for name in colours]
    usual = [COLOURS[pictures.colour_of(number)] for number in numbers]
    return _layers(images, True, numbers, [*named, *usual[len(named) :]])


def _number(image: Image, used: str | None) -> int | None:
    """The channel used for registration, or the first; None for all colours of a picture."""
    if image.rgb:
        return None
    return image.channels.index(used) if used in image.channels else 0


def _layers(
    images: tuple[Image, Image], moved: bool, numbers: Sequence[int | None], colours: Sequence[RGB]
) -> list[_Layer]:
    """How channels of the moving or the fixed image are shown, by a look at a small copy of each."""
    image, names, fixed = images[moved], channel_names(images), len(images[0].channels)
    names = names[fixed:] if moved else names[:fixed]
    small = shown_image(image)
    shape = display.display_shape(small.grid, _SMALL)
    valid = display.resize_mask(small.valid(), shape)
    out = []
    for number, colour in zip(numbers, colours, strict=True):
        plane = display.shrunk(small, number, shape)
        limits = display.display_range(plane, valid) or (0.0, 1.0)
        grey = display.between(plane, *limits)
        inverted = moved and pictures.has_bright_ground(grey, valid)
        dense = moved and pictures.is_dense(255 - grey if inverted else grey, valid)
        name = stem_of(str(image.source.get("path", "colours"))) if number is None else names[number]
        # Of two dense images nothing is inverted: what agrees is grey.
        out.append(_Layer(number, name, colour, limits, inverted and not dense, dense))
    return out


def _laid(
    fixed: Image,
    moving: Image,
    moving_from_fixed: Transform,
    onto: Grid,
    ground: _Layer,
    lights: Sequence[_Layer],
) -> tuple[Colour, int]:
    """The overlay, and the row that the valid pixels of the fixed image end at."""
    picture = np.empty((*onto.shape, 3), np.uint8)
    both = _bands(fixed, Affine.identity(2), onto, [ground]), _bands(moving, moving_from_fixed, onto, lights)
    row, last = 0, 0
    for ((grey,), valid), (colours, covered) in zip(*both, strict=True):
        rows = slice(row, row + grey.shape[0])
        covered &= (specimen := display.specimen_rows(valid))
        weights = [np.where(covered, light, 0)[..., None].astype(np.float32) / np.float32(255) for light in colours]
        picture[rows] = _mixed(grey, weights, covered, ground, lights)
        row = rows.stop
        if specimen.any():
            last = rows.start + int(np.flatnonzero(specimen)[-1]) + 1
    return picture, last or onto.shape[0]


def _mixed(
    grey: Grey, weights: Sequence[NDArray[np.float32]], covered: Mask, ground: _Layer, lights: Sequence[_Layer]
) -> Colour:
    """Rows of both images in colours; a moving pixel covers the fixed one as far as it is bright."""
    colours = [np.asarray(layer.colour, np.float32) for layer in lights]
    below: NDArray[np.float32] = grey[..., None].astype(np.float32)
    if ground.colour != GREY:
        tint = np.where(covered[..., None], np.asarray(ground.colour, np.float32) / 255, np.float32(1))
        mixed = below * tint + weights[0] * colours[0]
    else:
        mixed = np.repeat(below * math.prod(1 - weight for weight in weights), 3, axis=2)
        for weight, colour in zip(weights, colours, strict=True):
            mixed += weight * colour
    return np.asarray(np.round(np.clip(mixed, 0, 255)), np.uint8)


def _bands(
    image: Image, transform: Transform, onto: Grid, layers: Sequence[_Layer]
) -> Iterator[tuple[list[Grey], Mask]]:
    """Bands of 256 rows of the channels to show, ``(rows, X)`` each, and which pixels were sampled."""
    numbers = [layer.number for layer in layers]
    chosen = range(3) if None in numbers else [number for number in numbers if number is not None]
    part = Resampling(Chosen(image.levels[0], list(chosen)), image.grid, transform, onto, mask=image.mask)
    both = (np.concatenate([values.astype(np.float32), covered[None]]) for values, covered in part.bands())
    for band in in_step(both, onto.shape[0]):
        values = [band[:-1].mean(axis=0)] if None in numbers else list(band[:-1])
        yield [layer.light(one) for layer, one in zip(layers, values, strict=True)], band[-1] > 0


def _opposite(colour: RGB) -> RGB:
    """The colour that makes white of another, so that what agrees is grey."""
    red, green, blue = (255 - part for part in colour)
    return red, green, blue


def _on_picture(
    landmarks: tuple[tuple[str, ...], NDArray[Any], NDArray[Any]], moving_from_fixed: Transform, onto: Grid
) -> Landmarks:
    names, there, partners = landmarks
    moved = moving_from_fixed.inverse()(partners)
    # From the middle of a pixel to its corner, and x first.
    here, back = ((onto.index(places) + 0.5)[:, ::-1] for places in (there, moved))
    return Landmarks(names, here, back)
