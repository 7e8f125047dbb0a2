"""The panel for pairs of landmarks: what they say while they are set, and a result from them or beginning at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from magicgui.widgets import ComboBox, Container, FileEdit, PushButton
from napari.utils.colormaps.standardize_color import transform_color
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.exchange import ExchangeContext, write_file
from correlight.landmarks.tables import LandmarkTable, supposed
from correlight.napari.layer_image import image_of
from correlight.napari.layers import Taken, companions, take
from correlight.napari.notes import notes_of
from correlight.napari.outcome import Outcome, outcome_of
from correlight.napari.pairs import (
    NOTHING_SAID,
    Paired,
    as_html,
    grid_of,
    in_pixels,
    in_units,
    next_number,
    numbered,
    positions,
    say_of_pairs,
)
from correlight.napari.panel import Panel, Words
from correlight.napari.register_panel import two_layers
from correlight.napari.texts import LANDMARKS
from correlight.output.landmarks import read_pairs
from correlight.output.target import reserve_files
from correlight.registration.from_landmarks import from_landmarks
from correlight.registration.register import register
from correlight.registration.start import start_of_pairs

_AUTO = "by the landmarks"
_ROLES = ("fixed", "moving")
_WRONG = "#d64545"
_Set = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]
"""Places in the fixed and the moving image, and the numbers of both."""

_MODELS = (_AUTO, "rigid", "similarity", "affine", "projective", "thin-plate", "elastic")


class LandmarksPanel(Panel):
    """Set pairs in two layers, and see at once what they say.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Whose layers are paired.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.points: dict[str, Any] = {}
        self._set_in: dict[str, Any] = {}
        self.said = NOTHING_SAID
        self._before: list[_Set] = []
        self._ring: Any = None
        self._quiet = False
        self.fixed = ComboBox(choices=self._images, label="fixed")
        self.moving = ComboBox(choices=self._images, label="moving")
        self.model = ComboBox(choices=_MODELS, label="model")
        self.new = PushButton(text="New pairs")
        self.next = PushButton(text="Next landmark helps most here")
        self.back = PushButton(text="Undo last change")
        self.file = FileEdit(mode="r", label="file of pairs")
        self.open = PushButton(text="Open pairs")
        self.target = FileEdit(mode="w", label="write pairs to")
        self.write = PushButton(text="Write pairs")
        self.table, self.here = Words(), Words()
        self.only, self.improve = PushButton(text="Use my clicks only"), PushButton(text="Improve from here")
        setting = Container(widgets=[self.new, self.back], layout="horizontal", labels=False)
        files = [self.file, self.open, self.target, self.write]
        before = [self.fixed, self.moving, self.model, setting, self.next, *files]
        self._lay_out(before, [self.only, self.improve], said=[self.table, self.here])
        for button, act in (
            (self.new, self._new),
            (self.next, self._show_next),
            (self.back, self._step_back),
            (self.open, self._open),
            (self.write, self._write),
            (self.only, lambda: self._start(self._by_clicks())),
            (self.improve, lambda: self._start(self._from_clicks())),
        ):
            button.changed.connect(self.guarded(act))
        self.model.changed.connect(self.guarded(self._update))
        self._viewer.mouse_move_callbacks.append(self._moved)
        self._refresh()

    def _refresh(self, _: Any = None) -> None:
        self._offer(self.fixed, self.moving)
        left = {role: layer for role, layer in self.points.items() if layer in self._viewer.layers}
        if len(left) < len(self.points):
            # What was said of the pairs is gone with them.
            self.said, self._before = NOTHING_SAID, []
            self.table.value = self.here.value = ""
        self.points = left

    def _closed(self) -> None:
        super()._closed()
        if self._moved in self._viewer.mouse_move_callbacks:
            self._viewer.mouse_move_callbacks.remove(self._moved)

    # Pairs.

    def _pair(self) -> tuple[Any, Any]:
        two_layers(self.fixed.value, self.moving.value, len(self._images()))
        for role, layer in (("fixed", self.fixed.value), ("moving", self.moving.value)):
            take(layer, role)
        if self.fixed.value.ndim != self.moving.value.ndim:
            raise UsageError("Landmarks are paired in two flat images or in two stacks; choose layers of as many axes.")
        return self.fixed.value, self.moving.value

    def _set_pair(self) -> tuple[Any, Any]:
        """The two images, in which the landmarks were set."""
        pair = self._pair()
        for role, image in zip(("fixed", "moving"), pair, strict=True):
            before = self._set_in.get(role, image)
            if role in self.points and image not in companions(before, [image]):
                raise UsageError(
                    f"The {role} landmarks were set in {before.name}, and {image.name} is chosen now; choose "
                    f"{before.name} again, or press New pairs."
                )
        return pair

    def _new(self) -> None:
        """Two layers to click into, over the two images."""
        for role, image in zip(("fixed", "moving"), self._pair(), strict=True):
            size = max(3.0, max(grid_of(image).shape) / 40)
            layer = self._viewer.add_points(
                np.empty((0, image.ndim)),
                ndim=image.ndim,
                name=f"landmarks on {image.name}",
                face_color=LANDMARKS[role],
                border_color="black",
                symbol="cross",
                size=size,
                scale=image.scale,
                translate=image.translate,
                units=image.units,
                affine=image.affine.affine_matrix,
                features={"number": np.empty(0, int)},
                feature_defaults={"number": 1},
                text={
                    "string": "{number}",
                    "color": LANDMARKS[role],
                    "size": 14,
                    "translation": (*(0.0,) * (image.ndim - 2), -size, size),
                },
            )
            layer.mode = "add"
            self.points[role], self._set_in[role] = layer, image
            layer.events.data.connect(self._heard)
            image.events.affine.connect(self._follow)
            image.events.scale.connect(self._follow)
        self._before = []
        self._update()

    def _follow(self, _: Any = None) -> None:
        """Keep the landmarks on the images that they were set in."""
        for role, layer in self.points.items():
            image = self._set_in[role]
            if layer in self._viewer.layers:
                layer.units, layer.scale, layer.translate = image.units, image.scale, image.translate
                layer.affine = image.affine.affine_matrix

    def _heard(self, event: Any) -> None:
        """Take up a change of the landmarks; napari also tells of one that begins, such as a landmark being dragged."""
        if not str(getattr(event, "action", "")).lower().endswith("ing"):
            self.guarded(self._update)()

    def _update(self) -> None:
        """Say what the pairs say, after every click."""
        if len(self.points) < 2 or self._quiet:
            return
        self._renumber()
        now = self._now()
        if not self._before or any(
            len(a) != len(b) or np.any(a != b) for a, b in zip(now, self._before[-1], strict=True)
        ):
            self._before.append(now)
        images = self._set_pair()
        grids = [grid_of(image) for image in images]
        places = [
            grid.points(positions(self.points[role], image))
            for role, image, grid in zip(_ROLES, images, grids, strict=True)
        ]
        model = None if self.model.value == _AUTO else self.model.value
        self.said = say_of_pairs(Paired.of(now[2:], places), grids, model)
        self.table.value = as_html(self.said, grids[0].frame.symbol)
        wrong = {int(self.said.names[row]) for row in self.said.suspected}
        for role, numbers in zip(_ROLES, now[2:], strict=True):
            self._paint(self.points[role], LANDMARKS[role], [number in wrong for number in numbers.tolist()])

    def _now(self) -> _Set:
        """The places and the numbers of the landmarks that are set."""
        layers = [self.points[role] for role in _ROLES]
        numbers = [np.array(layer.features["number"], int) for layer in layers]
        return np.array(layers[0].data), np.array(layers[1].data), numbers[0], numbers[1]

    def _renumber(self) -> None:
        """Number new landmarks, and say which number comes next; deleting one changes none of the others."""
        for role, other in (_ROLES, _ROLES[::-1]):
            layer, there = self.points[role], np.asarray(self.points[other].features["number"], float)
            numbers = numbered(np.asarray(layer.features["number"], float), there)
            # What is selected would take on the colour of the next landmark.
            layer.selected_data = set()
            if not np.array_equal(layer.features["number"], numbers):
                layer.features = {"number": numbers}
        numbers_of = {role: self.points[role].features["number"] for role in _ROLES}
        for role, other in (_ROLES, _ROLES[::-1]):
            self.points[role].feature_defaults = {"number": next_number(numbers_of[role], numbers_of[other])}

    def _paint(self, layer: Any, colour: str, wrong: Sequence[bool]) -> None:
        """Paint those landmarks red that cannot be right."""
        if wrong:
            colours = transform_color([_WRONG if each else colour for each in wrong])
            if not np.allclose(layer.face_color, colours):
                layer.face_color = colours
        layer.current_face_color = colour

    def _step_back(self) -> None:
        """Take back the last change of the pairs."""
        if len(self._before) < 2 or len(self.points) < 2:
            self.say("There is no change to take back.")
            return
        self._before.pop()
        self._put(*self._before.pop())
        self.say("")

    def _put(self, fixed: Any, moving: Any, *numbers: Any) -> None:
        """Set landmarks in place of those that there are, numbered from 1 unless it is said otherwise."""
        self._quiet = True
        try:
            for place, (role, places) in enumerate(zip(_ROLES, (fixed, moving), strict=True)):
                layer = self.points[role]
                layer.selected_data = set()
                layer.data = places
                layer.features = {"number": numbers[place] if numbers else np.arange(1, len(places) + 1)}
        finally:
            self._quiet = False
        self._update()

    def _show_next(self) -> None:
        grid = grid_of(self._pair()[0])
        found = self.said.next_place(grid)
        image, index = self.fixed.value, grid.index(found.place[None])
        if self._ring is not None and self._ring in self._viewer.layers:
            self._viewer.layers.remove(self._ring)
        self._ring = self._viewer.add_points(
            index,
            name="next landmark",
            symbol="ring",
            face_color="#40ff40",
            size=max(6.0, max(grid.shape) / 25),
            scale=image.scale,
            translate=image.translate,
            units=image.units,
            affine=image.affine.affine_matrix,
        )
        symbol = grid.frame.symbol
        self.say(
            f"A pair at the green ring lowers the predicted error over the image from {found.error_now:.3g} to "
            f"{found.error_then:.3g} {symbol}."
        )

    def _moved(self, viewer: Any, event: Any) -> None:
        """Say the error to expect at the place under the mouse."""
        image, found = self.fixed.value, self.said.found
        if found is None or image is None or image.ndim != found.ndim:
            return
        grid = grid_of(image)
        place = grid.points(np.asarray(image.world_to_data(event.position))[None, -image.ndim :])
        error = float(found.error(place)[0]) if grid.contains(place)[0] else float("nan")
        self.here.value = f"Predicted error here: {error:.3g} {grid.frame.symbol}" if np.isfinite(error) else ""

    # Files.

    def _open(self) -> None:
        """The pairs of a file, of any tool that is known."""
        if str(self.file.value) in ("", "."):
            raise UsageError("Choose a file of pairs first, under file of pairs.")
        images = self._set_pair()
        grids = [grid_of(image) for image in images]
        table = read_pairs(Path(self.file.value), grids[0], grids[1])
        if len(self.points) < 2:
            self._new()
        places = [side.positions(grid) for side, grid in zip((table.fixed, table.moving), grids, strict=True)]
        self._put(*(grid.index(there) for grid, there in zip(grids, places, strict=True)))
        self.say(" ".join(f"Note that {note}." for note in supposed(table, Path(self.file.value).name)))

    def _write(self) -> None:
        grids = [grid_of(image) for image in self._set_pair()]
        if not self.said.names:
            raise UsageError("There is no pair to write yet; click a place in both images.")
        target = Path(self.target.value)
        if not target.name:
            raise UsageError("Name the file to write first; its ending says the format: .csv, .json or .xml.")
        with reserve_files(target, overwrite=True) as folder:
            context = ExchangeContext(fixed=grids[0], moving=grids[1])
            write_file(folder / target.name, in_units(self.said, grids), context=context)
        self.say(f"{len(self.said.names)} pairs are in {target}.")

    # Results.

    def _start(self, work: Callable[[Callable[[str, float], None]], Outcome]) -> None:
        if self._job is None:
            self.say("")
            self._begin(work, self._registered)

    def _taken(self) -> tuple[Taken, Taken, LandmarkTable]:
        among = list(self._viewer.layers)
        fixed, moving = self._set_pair()
        if not self.said.names:
            raise UsageError("There is no pair of landmarks yet; click a place in both images.")
        pair = take(fixed, "fixed", among), take(moving, "moving", among)
        self._watched(*pair)
        self._notes = notes_of(fixed, moving, among, placed=False)
        return (*pair, in_pixels(self.said, [grid_of(fixed), grid_of(moving)]))

    def _by_clicks(self) -> Callable[[Callable[[str, float], None]], Outcome]:
        fixed, moving, table = self._taken()
        model = None if self.model.value == _AUTO else self.model.value

        def work(progress: Callable[[str, float], None]) -> Outcome:
            progress("read", 0.0)
            here, there = image_of(fixed, (), "fixed"), image_of(moving, (), "moving")
            progress("fit", 0.0)
            done = from_landmarks(here.image, there.image, table, model)
            progress("fit", 1.0)
            return outcome_of(here, there, done.result, progress, done)

        return work

    def _from_clicks(self) -> Callable[[Callable[[str, float], None]], Outcome]:
        fixed, moving, table = self._taken()

        def work(progress: Callable[[str, float], None]) -> Outcome:
            progress("read", 0.0)
            here, there = image_of(fixed, (), "fixed"), image_of(moving, (), "moving")
            start = start_of_pairs(table.fixed.positions(here.image.grid), table.moving.positions(there.image.grid))
            result = register(here.image, there.image, start=start, progress=progress)
            return outcome_of(here, there, result, progress)

        return work

    def _registered(self, outcome: Outcome) -> Iterator[None]:
        yield from super()._registered(outcome)
        self._follow()
        yield
        self._update()
        yield
