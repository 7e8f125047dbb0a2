"""A result over the fixed layer: the transform, rival poses, the predicted error, and ways to compare by eye."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import ref

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from correlight.geometry import Grid
from correlight.napari.colours import to_change
from correlight.napari.compare import checkerboard, left_of
from correlight.napari.kept import Kept
from correlight.napari.keys import Keys
from correlight.napari.outcome import Outcome, bent
from correlight.napari.placing import (
    carry,
    in_micrometres,
    in_pixels,
    is_shown_by_affine,
    lay,
    over,
    steps_into_micrometres,
)
from correlight.output.apply.saved import Frames, Saved
from correlight.output.section import flat
from correlight.transforms import Affine, Transform

RESULT = "correlight result"
"""Under which the moving layers remember the view that laid them, in their metadata, as a weak reference."""

KEYS = "Keys: F flicker, C checkerboard, S swipe, 1 to 9 poses."

# Milliseconds for which each image is seen in turn.
_FLICKER = 500


def view_of(metadata: Mapping[str, Any]) -> ResultView | None:
    """The result by which a layer with these metadata lies where it lies; None where there is none."""
    held = metadata.get(RESULT)
    return held() if isinstance(held, ref) else None


def results_of(layers: Iterable[Any]) -> list[ResultView]:
    """The results by which layers lie where they lie, the last one first."""
    found: list[ResultView] = []
    for layer in layers:
        view = view_of(layer.metadata)
        if view is not None and view not in found:
            found.insert(0, view)
    return found


@contextmanager
def _undrawn(canvas: QWidget | None) -> Iterator[None]:
    """Draw what changes in the block after it."""
    if canvas is not None:
        canvas.setUpdatesEnabled(False)
    try:
        yield
    finally:
        if canvas is not None:
            canvas.setUpdatesEnabled(True)


class ResultView:
    """Shows one outcome in a viewer, and takes it away again.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the layers are.
    outcome : Outcome
        What to show.
    said : callable
        Called with a sentence about what is seen.
    canvas : QWidget, optional
        Where the layers are drawn.
    """

    def __init__(
        self, viewer: Any, outcome: Outcome, said: Callable[[str], None], canvas: QWidget | None = None
    ) -> None:
        self.viewer, self.outcome, self._said, self._canvas = viewer, outcome, said, canvas
        self.fixed = next(iter(outcome.fixed.channels.values()))
        self.moving = tuple(outcome.moving.channels.values())
        self._kept = Kept()
        self._added: list[Any] = []
        self._error: Any = None
        self._looks: list[tuple[Any, str, Any]] = []
        self.pose = 0
        # Called with the rank of a pose that is shown, by whichever way.
        self.posed: Callable[[int], None] = lambda rank: None
        # Called when another result takes the place of this one.
        self.replaced: Callable[[], None] = lambda: None
        self.transform: Transform | None = None
        self._timer = QTimer()
        self._timer.setInterval(_FLICKER)
        self._timer.timeout.connect(self._blink)
        self._over: Any = None
        self._way = ""
        self._hidden: list[Any] = []
        self._keys = Keys(viewer)

    @property
    def shown(self) -> tuple[Any, ...]:
        """The layers in which the registered moving image is seen."""
        return tuple(self._added) or self.moving

    @property
    def lies(self) -> bool:
        """Whether a layer lies by it."""
        return self.transform is not None and any(layer in self.viewer.layers for layer in self.moving)

    def show(self) -> Iterator[None]:
        """Lay the moving layers onto the fixed one, unless the result is refused, and listen to keys.

        Every change of a layer is drawn, which takes a while, so that this stops after each for whoever runs it to let
        the window do something else.
        """
        for other in results_of(self.viewer.layers):
            other.rest()
        grid, sides = self.outcome.fixed.image.grid, tuple(self.outcome.fixed.channels.values())
        self._kept.keep(*sides, *self.moving)
        steps = steps_into_micrometres(self.fixed, grid)
        for layer in sides:
            in_micrometres(layer, grid)
            yield
        if steps is not None:
            for layer in in_pixels(self.viewer.layers):
                self._kept.keep(layer)
                carry(layer, steps)
                yield
        if self.outcome.result.status != "refused":
            yield from self._colour()
            yield from self._lay(self.outcome.result.moving_from_fixed)
            self.pose = 1
        for layer in self.moving:
            layer.metadata[RESULT] = ref(self)
        self.listen()
        yield
        self._look_at_fixed()
        yield

    def _look_at_fixed(self) -> None:
        """Let the field of the fixed image fill the canvas."""
        self.viewer.reset_view()
        if self.viewer.dims.ndisplay == 2:
            low, high = (np.asarray(end)[-2:] for end in self.fixed.extent.world)
            whole = self.viewer.layers.extent.world
            self.viewer.scene.camera.center = (low + high) / 2
            self.viewer.scene.camera.zoom *= float(np.min((whole[1] - whole[0])[-2:] / (high - low)))

    @property
    def saved(self) -> Saved | None:
        """What lies on the fixed layer at the moment, as if it had been saved and read; None where nothing does."""
        if self.transform is None:
            return None
        grids = self.outcome.fixed.image.grid, self.outcome.moving.image.grid
        return Saved(self.transform, Frames(grids[0], grids[1], None, None, self.outcome.result.status))

    def show_pose(self, rank: int) -> None:
        """Show the moving layers in another pose that the search found, counted from 1; the first is the result."""
        poses = self.outcome.result.poses
        if not 1 <= rank <= len(poses):
            many = f"{len(poses)} pose" + "s" * (len(poses) != 1)
            self._said(f"The search found {many}; there is none of number {rank}.")
            return
        self.stop_comparing()
        self._drop()
        if not self._looks:
            for _ in self._colour():
                pass
        first = rank == 1 and self.outcome.result.status != "refused"
        for _ in self._lay(self.outcome.result.moving_from_fixed if first else poses[rank - 1].linear):
            pass
        self.pose = rank
        self.posed(rank)
        pose = poses[rank - 1]
        turn = f"rotation {pose.linear.rotation:.1f}°, " if pose.linear.ndim == 2 else ""
        hand = "mirrored" if pose.linear.mirrored else "not mirrored"
        what = "the result" if first else "not refined; Refine this pose makes a result of it"
        self._said(f"Pose {rank} of {len(poses)}: {turn}{hand}, score {pose.score:.3g} ({what}).")

    def _colour(self) -> Iterator[None]:
        """Give the layers the colours of the report, and let the fixed ones be seen through the moving ones."""
        sides = self.outcome.fixed.channels, self.outcome.moving.channels
        colours = dict(to_change(self.outcome.look, *sides))
        for layer in dict.fromkeys((*colours, *self.moving)):
            colormap = colours.get(layer)
            self._looks.append((layer, layer.blending, layer.colormap if colormap is not None else None))
            if layer in self.moving and layer.blending.startswith("translucent"):
                layer.blending = "additive"
            if colormap is not None:
                layer.colormap = colormap
            yield

    def _lay(self, transform: Transform) -> Iterator[None]:
        """Lay the moving layers by a transform, one after the other."""
        self.transform = transform
        grid = self.outcome.moving.image.grid
        if isinstance(transform, Affine) and is_shown_by_affine(transform, (*self.moving, self.fixed)):
            for layer in self.moving:
                lay(layer, self.fixed, grid, transform)
                yield
            return
        ready = self.outcome.bent if transform is self.outcome.result.moving_from_fixed else None
        laid = ready or bent(self.outcome.fixed, self.outcome.moving, transform)
        for number, layer in self.outcome.moving.channels.items():
            yield from self._add(laid.levels[number], layer, laid.grid)
            layer.visible = False
            yield
        if isinstance(transform, Affine):
            for layer in self.moving:
                if layer.ndim == transform.ndim:
                    # Rightly seen in three dimensions, where whoever wants to see it makes it visible.
                    lay(layer, self.fixed, grid, transform)
                    yield

    def _add(self, levels: list[Any], like: Any, grid: Grid) -> Iterator[None]:
        """Add a layer like another one, in steps that are short."""
        options = {} if like.rgb else {"colormap": like.colormap, "contrast_limits": like.contrast_limits}
        layer = Image(
            levels if len(levels) > 1 else levels[0],
            multiscale=len(levels) > 1,
            name=f"{like.name} registered",
            rgb=like.rgb,
            blending="additive",
            **over(self.fixed, grid),
            **options,
        )
        yield
        # Widgets and shaders of the layer are made now, and what it looks like is drawn in the turn after the next.
        with _undrawn(self._canvas):
            selection = self.viewer.layers.selection
            # That it is selected is told in a step of its own, for it takes a fifth of the time.
            with selection.events.blocker_all():
                self.viewer.add_layer(layer)
            self._added.append(layer)
            yield
        yield
        selection.clear()
        selection.active = layer
        yield

    def _drop(self) -> None:
        for layer in self._added:
            if layer in self.viewer.layers:
                self.viewer.layers.remove(layer)
        if self._added:
            for layer in self.moving:
                # Seen again only where it was, for napari warns of a tilted layer that is seen in the plane.
                self._kept.show_before(layer)
        self._added = []

    def add_error(self) -> Any:
        """The predicted error as a layer over the fixed image, made once; None where nothing is known of it."""
        if self._error is not None and self._error in self.viewer.layers:
            self._error.visible = True
            return self._error
        error = self.outcome.result.predicted_error
        if not np.isfinite(error.values).any():
            self._said("No error is predicted, for nothing was found that it could be predicted of.")
            return None
        grid = flat(error.grid)
        values = error.values[0] if error.grid.ndim != grid.ndim else error.values
        self._error = self.viewer.add_image(
            values,
            name=f"predicted error, {grid.frame.symbol}",
            colormap="inferno",
            contrast_limits=(0.0, max(float(np.nanmax(values)), 1e-9)),
            opacity=0.5,
            interpolation2d="linear",
            **over(self.fixed, grid),
        )
        return self._error

    # Comparing by eye.

    def flicker(self) -> None:
        """Begin or end to show and hide the registered layers in turn."""
        if self._way == "flicker":
            self.stop_comparing()
            return
        self.stop_comparing()
        self._way, self._hidden = "flicker", [layer for layer in self.shown if layer.visible]
        self._timer.start()
        self._said("Flicker: the registered image comes and goes; F ends it.")

    def _blink(self) -> None:
        for layer in self._hidden:
            if layer in self.viewer.layers:
                layer.visible = not layer.visible

    def checkerboard(self) -> None:
        """Begin or end to show both images in alternate squares."""
        self._compare("checkerboard", checkerboard, "Checkerboard: both images in alternate squares; C ends it.")

    def swipe(self) -> None:
        """Begin or end to show the registered image to the left of the cursor only."""
        self._compare("swipe", lambda pixels: left_of(pixels, 0.5), "Swipe: move the mouse left and right; S ends it.")

    def _compare(self, way: str, masked: Callable[[Any], Any], sentence: str) -> None:
        comparison = self.outcome.comparison
        if self._way == way:
            self.stop_comparing()
            return
        self.stop_comparing()
        if comparison is None or self.pose != 1:
            self._said("Checkerboard and swipe show the result of two flat images; flicker (F) works for the others.")
            return
        self._way, self._hidden = way, [layer for layer in self.shown if layer.visible]
        self._colours = comparison.coloured(self.outcome.moving.channels)
        for layer in self._hidden:
            layer.visible = False
        grid = comparison.grid
        self._over = self.viewer.add_image(
            masked(self._colours),
            name=way,
            rgb=True,
            blending="translucent",
            **over(self.fixed, grid),
        )
        if way == "swipe":
            self.viewer.mouse_move_callbacks.append(self._swiped)
        self._said(sentence)

    def _swiped(self, viewer: Any, event: Any) -> None:
        if self._over is not None:
            place = self._over.world_to_data(event.position)
            share = float(np.clip(place[-1] / self._over.data.shape[1], 0.0, 1.0))
            self._over.data = left_of(self._colours, share)

    def stop_comparing(self) -> None:
        """Show the layers as they were before flicker, checkerboard or swipe."""
        self._timer.stop()
        if self._swiped in self.viewer.mouse_move_callbacks:
            self.viewer.mouse_move_callbacks.remove(self._swiped)
        if self._over is not None and self._over in self.viewer.layers:
            self.viewer.layers.remove(self._over)
        for layer in self._hidden:
            if layer in self.viewer.layers:
                layer.visible = True
        if self._way:
            self._said(KEYS)
        self._over, self._hidden, self._way = None, [], ""

    # Keys.

    def listen(self) -> None:
        """Take the keys, which are those of one result at a time."""
        actions: dict[str, Callable[[], None]] = {"F": self.flicker, "C": self.checkerboard, "S": self.swipe}
        for rank in range(1, min(9, len(self.outcome.result.poses)) + 1):
            actions[str(rank)] = lambda rank=rank: self.show_pose(rank)  # type: ignore[misc]
        self._keys.take(actions)

    def rest(self) -> None:
        """Leave the keys to another result; the layers stay where they lie."""
        self.stop_comparing()
        self._keys.leave()

    def close(self, *, undo: bool = False) -> None:
        """Take away keys and what compares; if asked for, also put all layers back to where they were."""
        self.rest()
        for layer in self.moving:
            layer.metadata.pop(RESULT, None)
        self.transform = None
        if undo:
            self._drop()
            if self._error is not None and self._error in self.viewer.layers:
                self.viewer.layers.remove(self._error)
            self._kept.put_back(self.viewer.layers)
            for layer, blending, colormap in self._looks:
                layer.blending = blending
                if colormap is not None:
                    layer.colormap = colormap
            self._error, self._looks = None, []
        # The keys are those of the result before, where there is one.
        for other in results_of(self.viewer.layers)[:1]:
            other.listen()
