"""What a transform makes of a layer of images, labels, points or shapes, computed in the thread of the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.napari.layer_data import LayerData
from correlight.napari.layer_image import image_of
from correlight.napari.layers import (
    Taken,
    first_pixel,
    grid_of_pixels,
    levels_of,
    must_be_upright,
    stated_spacing,
    take,
)
from correlight.napari.placing import computed, is_shown_by_affine, resampled
from correlight.output.apply.bent import led, said_of_image, said_of_points
from correlight.output.apply.saved import Saved
from correlight.progress import watched
from correlight.transforms import Transform, scale_of

# What of a layer says where it lies, and is another thing for a new one.
_OF_THE_PLACE = frozenset(
    ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels", "name", "metadata", "visible")
)
# Corners of an ellipse that is bent.
_CORNERS = 64


@dataclass(frozen=True, eq=False)
class Stated:
    """What a layer states of itself, taken down before work on it begins in another thread.

    Parameters
    ----------
    taken : Taken
        The layer with its pixels; of points and shapes there are none.
    kind : str
        "image", "labels", "points" or "shapes".
    shape : tuple of int
        Of the pixels, along the axes of space.
    spacing : tuple of float or None
        Micrometres per pixel that the layer states.
    origin : tuple of float
        Where its first pixel lies, in pixels.
    data : array or list of array
        Places of points, corners of shapes.
    looks : dict
        How the layer looks, and what is written to its points and shapes, as options of a new layer.
    """

    taken: Taken
    kind: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None
    origin: tuple[float, ...]
    data: Any
    looks: dict[str, Any]

    @property
    def name(self) -> str:
        """What the layer is called."""
        return self.taken.names[0]

    @property
    def ndim(self) -> int:
        """Axes of space."""
        return len(self.shape)

    @classmethod
    def of(cls, layer: Any) -> Stated:
        """Take down what a layer states now.

        Raises
        ------
        UsageError
            If it is turned by its own rotation, shear or scale, and of an image as for `correlight.napari.layers.take`.
        """
        must_be_upright(layer, "moving")
        kind = type(layer).__name__.lower()
        levels: tuple[Any, ...] = ()
        data: Any = None
        if kind in ("image", "labels"):
            levels = tuple(levels_of(layer))
            shape = tuple(int(n) for n in np.shape(levels[0])[: layer.ndim])
        else:
            shape = (1,) * int(layer.ndim)
        if kind == "image":
            taken = take(layer, "moving")
        else:
            taken = Taken((layer,), (levels or (None,),), (layer.name,), False, None, ())
        looks = {name: value for name, value in layer.as_layer_data_tuple()[1].items() if name not in _OF_THE_PLACE}
        if kind == "points":
            data = np.array(layer.data, float)
        elif kind == "shapes":
            data = [np.array(one, float) for one in layer.data]
        return cls(taken, kind, shape, stated_spacing(layer), first_pixel(layer), data, looks)

    def placed(self, recorded: Grid | None) -> Grid:
        """The grid of the layer in the frame of a transform: as it states, or as the registration recorded it.

        Parameters
        ----------
        recorded : Grid or None
            The grid of the image that was registered; None where there is no record.

        Raises
        ------
        UsageError
            If the frame counts micrometres and neither says how large a pixel is.
        """
        calibrated = self.spacing is not None if recorded is None else recorded.calibrated
        if not calibrated:
            return grid_of_pixels(self.shape, self.origin, None)
        if self.spacing is not None:
            return grid_of_pixels(self.shape, self.origin, self.spacing)
        assert recorded is not None
        if recorded.shape[-self.ndim :] == self.shape or self.data is not None:
            return grid_of_pixels(self.shape, self.origin, recorded.spacing[-self.ndim :])
        raise UsageError(
            f"The transform counts micrometres, and {self.name} states no pixel size and has another shape than the "
            "image that was registered; set its scale and its units (right-click the layer, or layer.units in the "
            "console)."
        )


@dataclass(frozen=True, eq=False)
class Applied:
    """A layer under a transform.

    Parameters
    ----------
    found : Transform
        Takes places of the layer to places of the image that it is moved onto.
    here, there : Grid
        Of the layer and of the image, in the frames of the transform.
    made : layer data or None
        A new layer; None where the layer itself can be shown by its affine transform.
    notes : tuple of str
        Sentences about what is to be known of it.
    """

    found: Transform
    here: Grid
    there: Grid
    made: LayerData | None
    notes: tuple[str, ...]


def applied(
    layer: Stated, onto: Stated, saved: Saved, progress: Callable[[str, float], None], *, to_fixed: bool
) -> Applied:
    """Take a layer through a transform, in the thread of the work.

    Parameters
    ----------
    layer, onto : Stated
        What is moved, and the image that it is moved onto.
    saved : Saved
        The transform with the record of its frames.
    progress : callable
        Called with "resample" and the fraction done; may raise `correlight.errors.Cancelled`.
    to_fixed : bool
        Whether the layer is of the moving frame.

    Raises
    ------
    UsageError
        If the layers do not suit the transform.
    """
    found = led(saved.moving_from_fixed, "moving" if to_fixed else "fixed")
    if not found.ndim == layer.ndim == onto.ndim:
        raise UsageError(
            f"The transform is one of {found.ndim} axes, {layer.name} has {layer.ndim} and {onto.name} {onto.ndim}; "
            "choose layers of as many axes."
        )
    frames = saved.frames
    here = layer.placed(None if frames is None else frames.moving if to_fixed else frames.fixed)
    there = onto.placed(None if frames is None else frames.fixed if to_fixed else frames.moving)
    notes: tuple[str, ...] = ()
    if frames is not None and frames.status == "refused":
        notes = ("The result was refused: it says nothing about where they lie.",)
    if is_shown_by_affine(found, (layer, onto)):
        return Applied(found, here, there, None, notes)
    back = saved.moving_from_fixed if to_fixed else led(saved.moving_from_fixed, "moving")
    name = f"{layer.name} on {onto.name}"
    with watched(progress) as report:
        report("resample", 0.0)
        data, options, said = _bent(layer, here, there, found, back, partial(report, "resample"))
    options["name"] = name
    return Applied(found, here, there, (data, options, layer.kind), (*notes, *(f"Note that {note}." for note in said)))


def _bent(
    layer: Stated, here: Grid, there: Grid, found: Transform, back: Transform, report: Callable[[float], None]
) -> tuple[Any, dict[str, Any], tuple[str, ...]]:
    """The data and looks of a new layer, and what is to be said of it."""
    if layer.kind == "points":
        places = here.points(layer.data)
        moved = found(places)
        # Where a field does not lead, there is no point to show.
        led_there = np.asarray(np.isfinite(moved).all(axis=1))
        looks = _of_some(layer.looks, led_there)
        looks["size"] = np.asarray(looks["size"]) * _larger(found, here, there)
        return there.index(moved[led_there]), looks, said_of_points(found, places, moved)
    if layer.kind == "shapes":
        drawn = [
            _round(one) if kind == "ellipse" else one
            for one, kind in zip(layer.data, layer.looks["shape_type"], strict=True)
        ]
        corners = [there.index(found(here.points(one))) for one in drawn]
        if not all(np.isfinite(one).all() for one in corners):
            raise UsageError(
                f"Corners of {layer.name} lie where the field of the transform does not lead; remove them."
            )
        # A box that is bent is no box any more.
        kinds = ["polygon" if each in ("rectangle", "ellipse") else each for each in layer.looks["shape_type"]]
        widths = np.asarray(layer.looks["edge_width"]) * _larger(found, here, there)
        return corners, {**layer.looks, "shape_type": kinds, "edge_width": list(widths)}, ()
    if layer.kind == "labels":
        image = Image((np.asarray(layer.taken.levels[0][0])[None],), here, ("labels",))
        [labels, *_] = computed(resampled(image, 0, back, there, "nearest")[:1], report)
        return labels, {**layer.looks, "multiscale": False}, said_of_image(back, there, "the image")
    shown = image_of(layer.taken, (), "moving")
    # Its pixels lie where the transform counts them, whatever size the file states.
    image = replace(shown.image, grid=here)
    levels = computed(resampled(image, shown.chosen, back, there), report)
    several = len(levels) > 1
    looks = {**layer.looks, "multiscale": several, "rgb": layer.taken.rgb, "blending": "additive"}
    return (levels if several else levels[0]), looks, said_of_image(back, there, "the image")


def _of_some(looks: dict[str, Any], chosen: NDArray[np.bool_]) -> dict[str, Any]:
    """How the points look of which some are left out."""
    kept = dict(looks)
    for name in ("features", "size", "symbol", "face_color", "border_color", "border_width", "shown"):
        kept[name] = looks[name][chosen]
    return kept


def _larger(found: Transform, here: Grid, there: Grid) -> float:
    """How many pixels of the one image a pixel of the other covers, in the middle of it."""
    return float(here.spacing[-1] * scale_of(found, here.centre) / there.spacing[-1])


def _round(box: Points) -> Points:
    """Corners along an ellipse, which napari states by the four corners of its box."""
    turn = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)[:, None]
    across, along = (box[1] - box[0]) / 2, (box[3] - box[0]) / 2
    return np.asarray(box.mean(axis=0) + np.cos(turn) * across + np.sin(turn) * along)
