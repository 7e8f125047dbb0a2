"""One image on a canvas of its own beside the window, with a mark that follows the mouse over the other image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from napari.components.viewer_model import ViewerModel
from napari.layers import Layer
from napari.qt import QtViewer

from correlight.geometry import Grid, Points
from correlight.napari.placing import units_of
from correlight.transforms import Affine

# What a copy of a layer follows while people set it in the layer list.
_FOLLOWED = ("contrast_limits", "gamma", "colormap", "data")
_MARK, _MARK_PIXELS = "#40ff40", 24


class Canvas:
    """Copies of the layers of one image; pixels are shared with the layers, not copied.

    Parameters
    ----------
    title : str
        What the image is called.
    layers : sequence of napari layers
        The channels of one image.
    grid : Grid
        Of their pixels.
    moved : callable
        Called when the view was moved or zoomed.
    pointed : callable
        Called with the place under the mouse, in the frame of `grid`.
    """

    def __init__(
        self,
        title: str,
        layers: Sequence[Any],
        grid: Grid,
        moved: Callable[[], None],
        pointed: Callable[[Points], None],
    ) -> None:
        self.layers, self.grid = tuple(layers), grid
        self._shown = Affine.identity()
        self._moved, self._pointed = moved, pointed
        self.model = ViewerModel(title=title)
        self.native = QtViewer(self.model)
        # Files are opened in the window of napari.
        self.native.setAcceptDrops(False)
        any_visible = any(layer.visible for layer in self.layers)
        self.copies = tuple(self._copy(layer, any_visible) for layer in self.layers)
        self._mark = self.model.add_points(
            grid.centre[None],
            name="cursor",
            visible=False,
            symbol="cross",
            face_color=_MARK,
            border_width=0,
            canvas_size_limits=(_MARK_PIXELS, _MARK_PIXELS),
            units=units_of(grid),
        )
        self.place(grid, self._shown)
        for layer in self.layers:
            for name in _FOLLOWED:
                getattr(layer.events, name).connect(self._follow)
        camera = self.model.scene.camera
        camera.events.center.connect(self._on_camera)
        camera.events.zoom.connect(self._on_camera)
        self.model.mouse_move_callbacks.append(self._on_mouse)

    def _copy(self, layer: Any, any_visible: bool) -> Any:
        data, options, kind = layer.as_layer_data_tuple()
        options.update(affine=None, metadata={}, visible=layer.visible or not any_visible)
        copy = Layer.create(data, options, kind)
        self.model.layers.append(copy)
        return copy

    def place(self, grid: Grid, shown: Affine) -> None:
        """Lay the image where it shall be seen.

        Parameters
        ----------
        grid : Grid
            Of its pixels.
        shown : Affine
            From places of the image to where they are seen, in the plane.
        """
        self.grid, self._shown = grid, shown
        matrix = np.eye(grid.ndim + 1)
        matrix[-3:, -3:] = shown.matrix
        for copy in self.copies:
            copy.units = units_of(grid)
            copy.scale, copy.translate, copy.affine = grid.spacing, grid.origin, matrix
        self._mark.units = units_of(grid)

    def close(self) -> None:
        """Let go of the layers, the canvas and its threads."""
        for layer in self.layers:
            for name in _FOLLOWED:
                getattr(layer.events, name).disconnect(self._follow)
        self.model.mouse_move_callbacks.clear()
        self.model._layer_slicer.shutdown()
        self.model.layers.clear()
        self.native.close()

    # Where people look.

    @property
    def middle(self) -> Points:
        """The place in the middle of the view."""
        return self._place(np.asarray(self.model.scene.camera.center, float)[-2:])

    @property
    def zoom(self) -> float:
        """Pixels of the screen per unit."""
        return float(self.model.scene.camera.zoom)

    def look_at(self, place: Points, zoom: float) -> None:
        """Bring a place into the middle; nothing happens where one does not exist."""
        if not np.isfinite([*place[-2:], zoom]).all() or zoom <= 0:
            return
        self._to_slice(place)
        self.model.scene.camera.center = (0.0, *self._shown(place[None, -2:])[0])
        self.model.scene.camera.zoom = zoom

    def mark(self, place: Points | None) -> None:
        """Put the mark on a place, or take it away where there is none."""
        if place is None or not np.isfinite(place[-2:]).all():
            self._mark.visible = False
            return
        self._to_slice(place)
        self._mark.data = np.array([[*self._slice, *self._shown(place[None, -2:])[0]]])
        self._mark.visible = True

    @property
    def marked(self) -> Points | None:
        """The place of the mark; None where there is none."""
        return self._place(self._mark.data[0][-2:]) if self._mark.visible else None

    @property
    def _slice(self) -> tuple[float, ...]:
        """Where the slice that is seen lies in depth; nothing of a flat image."""
        return tuple(float(at) for at in self.model.dims.point[: self.grid.ndim - 2])

    def _place(self, seen: Points) -> Points:
        return np.array([*self._slice, *self._shown.inverse()(np.asarray(seen, float)[None])[0]])

    def _to_slice(self, place: Points) -> None:
        if self.grid.ndim == 3 and np.isfinite(place[0]):
            index = int(np.clip(np.rint(self.grid.index(place[None])[0, 0]), 0, self.grid.shape[0] - 1))
            if index != self.model.dims.current_step[0]:
                self.model.dims.set_current_step(0, index)

    # What happens.

    def _on_camera(self, _: Any = None) -> None:
        self._moved()

    def _on_mouse(self, _: Any, event: Any) -> None:
        self._pointed(self._place(np.asarray(event.position, float)[-2:]))

    def _follow(self, event: Any) -> None:
        """Take over what was set in the layer list."""
        for layer, copy in zip(self.layers, self.copies, strict=True):
            if layer is event.source and hasattr(copy, event.type):
                setattr(copy, event.type, getattr(layer, event.type))
