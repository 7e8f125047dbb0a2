"""Keys that a viewer and its images listen to, as long as somebody has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Keys:
    """Listens to keys in a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose keys they are.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._actions: Mapping[str, Callable[[], None]] = {}
        self._heard: list[Any] = []

    def take(self, actions: Mapping[str, Callable[[], None]]) -> None:
        """Do something at each key; nothing changes where that was taken already.

        Parameters
        ----------
        actions : mapping of str to callable
            What each key does.
        """
        if self._heard:
            return
        self._actions = actions
        self._hear(self._viewer)
        for layer in self._viewer.layers:
            self._hear_layer(layer)
        self._viewer.layers.events.inserted.connect(self._inserted)
        self._viewer.layers.events.removed.connect(self._removed)

    def leave(self) -> None:
        """Let go of the keys and the layers."""
        if self._heard:
            self._viewer.layers.events.inserted.disconnect(self._inserted)
            self._viewer.layers.events.removed.disconnect(self._removed)
        for holder in self._heard:
            for key in self._actions:
                holder.bind_key(key, None)
        self._heard, self._actions = [], {}

    def _inserted(self, event: Any) -> None:
        self._hear_layer(event.value)

    def _removed(self, event: Any) -> None:
        """Let go of a layer that is closed, for its pixels may be many."""
        self._heard = [holder for holder in self._heard if holder is not event.value]

    def _hear_layer(self, layer: Any) -> None:
        """Listen to keys of an image, for those of the active layer come before those of the viewer.

        With points, labels and shapes they choose tools, which people need more.
        """
        if type(layer).__name__ == "Image":
            self._hear(layer)

    def _hear(self, holder: Any) -> None:
        for key, act in self._actions.items():
            holder.bind_key(key, lambda _, act=act: act(), overwrite=True)
        self._heard.append(holder)
