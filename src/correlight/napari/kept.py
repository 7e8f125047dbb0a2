"""What layers were before they were moved, and how they get back there, in whichever order results are taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from correlight.napari.layers import BORROWED


@dataclass(frozen=True, eq=False)
class Place:
    """Where a layer lies, in which units, and whether it is seen."""

    scale: Any
    translate: Any
    units: Any
    affine: NDArray[np.float64]
    visible: bool
    borrowed: Any

    @classmethod
    def of(cls, layer: Any) -> Place:
        """Where a layer lies now."""
        affine, borrowed = np.array(layer.affine.affine_matrix), layer.metadata.get(BORROWED)
        return cls(np.array(layer.scale), np.array(layer.translate), layer.units, affine, layer.visible, borrowed)

    def give(self, layer: Any) -> None:
        """Lay the layer there."""
        layer.metadata.pop(BORROWED, None)
        if self.borrowed is not None:
            layer.metadata[BORROWED] = self.borrowed
        layer.units = self.units
        layer.scale = self.scale
        layer.translate = self.translate
        layer.affine = self.affine
        layer.visible = self.visible


# Who moved a layer, the first one first, and where it lay before each.
_MOVED: WeakKeyDictionary[Any, list[tuple[object, Place]]] = WeakKeyDictionary()


class Kept:
    """The places of layers before one result, or one panel, moved them.

    Several may move one layer, such as the fixed image of two results. Who puts it back while it still serves another
    leaves it where it is, and the other one puts it back to where it lay at first.
    """

    def __init__(self) -> None:
        self._who = object()

    def keep(self, *layers: Any) -> None:
        """Take down where layers lie, before they are moved; again does nothing."""
        for seen in layers:
            layer = _itself(seen)
            stack = _MOVED.setdefault(layer, [])
            if self._at(layer) is None:
                stack.append((self._who, Place.of(layer)))

    def put_back(self, present: Any) -> None:
        """Put all layers back, and forget where they lay.

        Parameters
        ----------
        present : napari LayerList
            Layers that were closed are left alone.
        """
        for layer in list(_MOVED):
            at = self._at(layer)
            if at is None:
                continue
            stack = _MOVED[layer]
            _, before = stack.pop(at)
            if at < len(stack):
                stack[at] = stack[at][0], before
            elif layer in present:
                before.give(layer)
            if not stack:
                del _MOVED[layer]

    def show_before(self, layer: Any) -> None:
        """Lay a layer where it lay before, and keep it all the same; not one that somebody else moved since."""
        at, stack = self._at(layer), _MOVED.get(_itself(layer), [])
        if at is not None and at == len(stack) - 1:
            stack[at][1].give(layer)

    def _at(self, layer: Any) -> int | None:
        whose = (number for number, (who, _) in enumerate(_MOVED.get(_itself(layer), ())) if who is self._who)
        return next(whose, None)


def was_moved(layer: Any) -> bool:
    """Whether a layer lies where the plug-in laid it."""
    return bool(_MOVED.get(_itself(layer)))


def _itself(layer: Any) -> Any:
    """The layer, where napari hands it to plug-ins in a wrapping, which lives shorter."""
    return getattr(layer, "__wrapped__", layer)
