"""The panel that registers one layer to another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from magicgui.widgets import CheckBox, ComboBox, Container, LineEdit, PushButton, SpinBox

from correlight import recipes
from correlight.errors import UsageError
from correlight.napari.by_hand import ByHand
from correlight.napari.layer_image import image_of
from correlight.napari.layers import companions, take
from correlight.napari.linked import FoundLink
from correlight.napari.notes import BRIGHTNESS, notes_of
from correlight.napari.outcome import Outcome, outcome_of
from correlight.napari.pairs import grid_of
from correlight.napari.panel import Panel, offer_again, prompt
from correlight.napari.result_view import ResultView
from correlight.napari.side_by_side import SideBySide
from correlight.napari.start import depth_seen, position_of
from correlight.napari.texts import limits, numbers
from correlight.napari.work import load_ahead, sentence
from correlight.registration.register import register

_ANY = "any"
_COLOURS = ("red", "green", "blue")
_MODELS = (_ANY, "rigid", "similarity", "affine", "projective", "elastic")


class RegisterPanel(Panel):
    """Choose two layers, start, look at the result, save it.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Whose layers are registered.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.window_beside: SideBySide | None = None
        self._turn: ByHand | None = None
        # What of the limits was set by a turn by hand, and what stood there before.
        self._turned: tuple[tuple[str, bool], tuple[str, bool]] | None = None
        self._pair: tuple[Any, Any] = (None, None)
        self._link: tuple[Any, FoundLink] | None = None
        load_ahead()
        self._make()
        for signal in (self.fixed.changed, self.moving.changed):
            signal.connect(self._chosen)
        self._refresh()

    def _make(self) -> None:
        self.fixed = ComboBox(choices=self._images, label="fixed", tooltip="The layer that stays where it is.")
        self.fixed_size = LineEdit(label="its pixel size, µm")
        self.moving = ComboBox(choices=self._images, label="moving", tooltip="The layer that is registered to it.")
        self.moving_size = LineEdit(label="its pixel size, µm")
        self.more = CheckBox(text="More", value=False)
        self.recipe = ComboBox(choices=recipes.names(), value="auto", label="recipe")
        self.model = ComboBox(choices=_MODELS, label="model")
        self.fixed_channel = ComboBox(choices=partial(self._channels, "fixed"), label="fixed channel")
        self.moving_channel = ComboBox(choices=partial(self._channels, "moving"), label="moving channel")
        self.rotation = LineEdit(label="rotation, degrees", tooltip="First and last, such as -10, 10; empty for any.")
        self.scale = LineEdit(label="scale", tooltip="Least and greatest moving pixels per fixed pixel.")
        self.mirror = CheckBox(text="may be mirrored", value=True)
        self.from_here = CheckBox(text="start from where the layers lie", value=False)
        self.from_turn = CheckBox(text="start from side by side", value=False, enabled=False)
        self.seed = SpinBox(value=0, min=0, max=2**31 - 1, label="seed")
        options = (self.recipe, self.model, self.fixed_channel, self.moving_channel, self.rotation, self.scale)
        self.further = Container(
            widgets=[*options, self.mirror, self.from_here, self.from_turn, self.seed], visible=False
        )
        self.more.changed.connect(lambda value: setattr(self.further, "visible", value))
        self.start, self.refine = PushButton(text="Start"), PushButton(text="Refine this pose")
        self.rank = SpinBox(value=1, min=1, max=9, label="pose")
        self.beside = PushButton(text="Side by side", tooltip="Look at both images, and turn the moving one by hand.")
        choice = [self.fixed, self.fixed_size, self.moving, self.moving_size, self.beside]
        self._lay_out([*choice, self.more, self.further], [self.start], [self.rank, self.refine])
        self._runners.append(self.refine)
        self.beside.changed.connect(self.guarded(self._show_beside))
        self.from_here.changed.connect(partial(self._only_start, self.from_turn))
        self.from_turn.changed.connect(partial(self._only_start, self.from_here))
        self.start.changed.connect(lambda: self.run())
        self.rank.changed.connect(self.guarded(self._show_pose))
        self.refine.changed.connect(lambda: self.run(pose=self.rank.value))

    # What is chosen.

    def _channels(self, role: str, _: Any = None) -> list[Any]:
        chosen = getattr(self, role).value if hasattr(self, role) else None
        if chosen is not None and getattr(chosen, "rgb", False):
            return [(BRIGHTNESS, None), *((name, number) for number, name in enumerate(_COLOURS))]
        return [(_ANY, None), *((each.name, each) for each in self._companions(chosen))]

    def _only_start(self, other: Any, chosen: bool) -> None:
        """A search begins at one place."""
        if chosen:
            other.value = False

    def _refresh(self, _: Any = None) -> None:
        self._offer(self.fixed, self.moving)
        self._chosen()

    def _chosen(self, _: Any = None) -> None:
        """Ask for what is to be known of the chosen layers; what was typed for them stays while they do."""
        pair = self.fixed.value, self.moving.value
        if pair[0] is self._pair[0] and pair[1] is self._pair[1]:
            for role in ("fixed", "moving"):
                offer_again(getattr(self, f"{role}_channel"))
            return
        self._pair = pair
        for role, field in (("fixed", self.fixed_size), ("moving", self.moving_size)):
            field.value = ""
            said = prompt(getattr(self, role).value)
            field.native.setPlaceholderText(said)
            # Narrow panels cut it.
            field.native.setToolTip(said)
            getattr(self, f"{role}_channel").reset_choices()
        self._close_beside()
        self._turn = None
        if self._turned is not None and (self.rotation.value, self.mirror.value) == self._turned[0]:
            # What was seen of one pair says nothing of another.
            self.rotation.value, self.mirror.value = self._turned[1]
        self._turned = None
        self.from_turn.value = self.from_turn.enabled = False

    # Side by side.

    def _show_beside(self) -> None:
        """Open the window with both images beside each other."""
        fixed, moving = self.fixed.value, self.moving.value
        two_layers(fixed, moving, len(self._images()))
        for role, layer in (("fixed", fixed), ("moving", moving)):
            take(layer, role)
        self._close_beside()
        turn = ByHand(grid_of(fixed), grid_of(moving))
        self.window_beside = SideBySide(
            self._main_window(),
            self._companions(fixed),
            self._companions(moving),
            turn,
            self._linked,
            self._take_turn,
        )
        self.window_beside.refresh()
        self.window_beside.show()

    def _close_beside(self) -> None:
        if self.window_beside is not None and self.window_beside.open:
            self.window_beside.close()
        self.window_beside = None

    def _linked(self) -> FoundLink | None:
        """Through the transform by which the chosen layers lie on each other; None where there is none."""
        view = self.view
        if view is None or view.transform is None:
            return None
        sides = view.outcome.fixed, view.outcome.moving
        if self.fixed.value not in sides[0].channels.values() or self.moving.value not in sides[1].channels.values():
            return None
        if self._link is None or self._link[0] is not view.transform:
            self._link = view.transform, FoundLink(view.transform, sides[0].image.grid, sides[1].image.grid)
        return self._link[1]

    def _take_turn(self, turn: ByHand) -> None:
        """Search near what was turned by hand."""
        before = (self.rotation.value, self.mirror.value) if self._turned is None else self._turned[1]
        self.rotation.value = "{:.1f}, {:.1f}".format(*turn.rotation)
        self.mirror.value = turn.mirror
        self._turned = (self.rotation.value, self.mirror.value), before
        flat = turn.fixed.ndim == turn.moving.ndim == 2
        self._turn = turn if turn.placed and flat else None
        self.from_turn.value = self.from_turn.enabled = self._turn is not None
        self.more.value = True
        self.say(f"The search is limited to {turn.sentence}. Start begins it.")

    def _changed_view(self) -> None:
        if self.window_beside is not None and self.window_beside.open:
            self.window_beside.refresh()

    def _closed(self) -> None:
        super()._closed()
        self._close_beside()

    # The work.

    def run(self, pose: int | None = None) -> None:
        """Begin to register what is chosen."""
        if self._job is not None:
            return
        try:
            work = self._prepared(pose)
        except Exception as error:  # the window must stay usable, whatever it was
            self.say(sentence(error))
            return
        if self.view is not None:
            self.view.stop_comparing()
        self.say("")
        self._begin(work, self._registered)

    def _prepared(self, pose: int | None) -> Callable[[Callable[[str, float], None]], Outcome]:
        """The work, with all that it needs taken down in this thread."""
        fixed, moving = self.fixed.value, self.moving.value
        two_layers(fixed, moving, len(self._images()))
        among = list(self._viewer.layers)
        pair = take(fixed, "fixed", among), take(moving, "moving", among)
        given = (
            numbers(self.fixed_size.value, "the pixel size of the fixed image"),
            numbers(self.moving_size.value, "the pixel size of the moving image"),
        )
        start, turn = self.from_here.value, self._turn if self.from_turn.value else None
        options: dict[str, Any] = {
            "model": None if self.model.value == _ANY else self.model.value,
            "rotation": limits(self.rotation.value, "limits of the rotation"),
            "scale": limits(self.scale.value, "limits of the scale"),
            "mirror": self.mirror.value,
            "seed": self.seed.value,
            "pose": pose,
        }
        channels, recipe = (self.fixed_channel.value, self.moving_channel.value), self.recipe.value
        depth = depth_seen(self._viewer) if fixed.ndim != moving.ndim else None
        places = position_of(fixed, depth), position_of(moving, depth)
        self._watched(*pair)
        colours = fixed.rgb and channels[0] is not None, moving.rgb and channels[1] is not None
        self._notes = notes_of(fixed, moving, among, placed=bool(start), by_channel=colours)

        def work(progress: Callable[[str, float], None]) -> Outcome:
            progress("read", 0.0)
            here, there = image_of(pair[0], given[0], "fixed"), image_of(pair[1], given[1], "moving")
            progress("read", 1.0)
            if start:
                options["start"] = places[1].to(there.image.grid) @ places[0].to(here.image.grid).inverse()
            elif turn is not None:
                options["start"] = turn.start(here.image.grid, there.image.grid)
            result = register(
                here.image,
                there.image,
                recipe,
                fixed_channel=_number(here.channels, channels[0]),
                moving_channel=_number(there.channels, channels[1]),
                progress=progress,
                **options,
            )
            return outcome_of(here, there, result, progress)

        return work

    def _take_up(self, view: ResultView | None) -> None:
        super()._take_up(view)
        if view is None:
            self._changed_view()
            return
        self.rank.max = max(1, min(9, len(view.outcome.result.poses)))
        view.posed = self._posed
        self._posed(max(1, view.pose))

    def _show_pose(self) -> None:
        if self.view is not None:
            self.view.show_pose(self.rank.value)

    def _posed(self, rank: int) -> None:
        """Name the pose that is shown: it is the one that would be refined."""
        with self.rank.changed.blocked():
            self.rank.value = rank
        self._changed_view()


def two_layers(fixed: Any, moving: Any, count: int) -> None:
    """Refuse a choice that is none."""
    if count == 0:
        raise UsageError("Two images are registered, and no layer is open; open two files, or File, Open Sample.")
    if fixed is None or moving is None or count == 1:
        raise UsageError("Two images are registered, and one layer is open; open the other one as well.")
    if fixed is moving:
        raise UsageError(f"{fixed.name} was chosen as fixed and as moving; choose another layer for one of them.")
    if fixed in companions(moving, [fixed]):
        raise UsageError(
            f"{fixed.name} and {moving.name} are channels of one image, which lie on each other already; choose a "
            "layer of another image."
        )


def _number(channels: dict[int | None, Any], layer: Any) -> int | None:
    """Which channel a layer shows, or which of the three colours; None where any was asked for."""
    if isinstance(layer, int):
        return layer
    return next((number for number, shown in channels.items() if shown is layer), None)
