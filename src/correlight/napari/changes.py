"""Layers that are closed, replaced or painted in while they are registered, so that a result would not fit them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from correlight.errors import UsageError
from correlight.images.fingerprint import checksum
from correlight.napari.layers import Taken

Progress = Callable[[str, float], None]


class Watch:
    """Notices what happens to layers while work on them goes on in another thread.

    Parameters
    ----------
    taken : Taken
        What is worked on.
    """

    def __init__(self, *taken: Taken) -> None:
        self._taken = taken
        self._layers = [layer for each in taken for layer in each.layers]
        self._replaced: list[Any] = []
        self._before: list[int | None] = []
        for layer in self._layers:
            layer.events.data.connect(self._edited)

    def _edited(self, event: Any) -> None:
        self._replaced.append(event.source)

    def stop(self) -> None:
        """Let go of the layers."""
        for layer in self._layers:
            layer.events.data.disconnect(self._edited)

    def begin(self, progress: Progress) -> None:
        """Take down what the pixels are, in the thread of the work."""
        self._before = self._sums(progress)

    def check(self, progress: Progress) -> None:
        """Say whether pixels were changed in place since `begin`, in the thread of the work.

        Raises
        ------
        UsageError
            If they were.
        """
        for number, (before, now) in enumerate(zip(self._before, self._sums(progress), strict=True)):
            if before != now:
                raise UsageError(_said(self._names[number], "changed"))

    def said(self, present: Any) -> str:
        """What happened to the layers meanwhile; empty where nothing did.

        Parameters
        ----------
        present : napari LayerList
            The layers of the viewer.
        """
        closed = [layer for layer in self._layers if layer not in present]
        if closed:
            return _said(closed[0].name, "closed")
        return _said(self._replaced[0].name, "changed") if self._replaced else ""

    @property
    def _names(self) -> list[str]:
        return [name for each in self._taken for name in each.names]

    def _sums(self, progress: Progress) -> list[int | None]:
        """Checksums of all pixels in memory; None of those on disk, which nobody paints in."""
        whole = [levels[0] for each in self._taken for levels in each.levels]
        tell = partial(progress, "check pixels")
        return [checksum(pixels, tell=tell) if isinstance(pixels, np.ndarray) else None for pixels in whole]


def _said(name: str, what: str) -> str:
    return f"The layer {name} was {what} meanwhile, so nothing is shown; start again with the layers as they are now."
