"""Models whose mapping is a network in an ONNX file, run by onnxruntime in tiles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from correlight.appearance.onnx import session
from correlight.errors import ReadError
from correlight.images.image import Float32, Mask
from correlight.predict.facts import ModelFacts
from correlight.predict.tiles import in_tiles

NETWORK = "model.onnx"
# Side of a tile; with 32 channels at full resolution some 200 MB at a time.
TILE = 512


@dataclass(frozen=True, eq=False)
class Network:
    """A fully convolutional network.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        Takes ``image`` of shape ``(1, 1, Y, X)`` to one output of the same shape, or of a finer one.
    reach : int
        How far it sees, in pixels.
    multiple : int
        What both sides of its input must be multiples of.
    finer : int
        Pixels that one becomes along either axis.
    """

    session: Any
    reach: int
    multiple: int
    finer: int = 1

    def __call__(self, values: Float32, mask: Mask) -> Float32:
        """Predicted values; see `correlight.predict.kinds.Mapping`."""
        return in_tiles(self._run, values, self.reach, self.multiple, TILE, self.finer)

    def _run(self, values: Float32) -> Float32:
        return np.asarray(self.session.run(None, {"image": values[None, None]})[0][0, 0])


def load(folder: Path, facts: ModelFacts, threads: int = 1) -> Network:
    """The network of a model.

    Parameters
    ----------
    folder : Path
        Holds ``model.onnx``.
    facts : ModelFacts
        State its reach and what sides must be multiples of.
    threads : int
        Threads for one tile.

    Raises
    ------
    ReadError
        If the file is no such network.
    """
    path = folder / NETWORK
    try:
        opened = session(path, threads)
        network = Network(opened, int(facts.settings["reach"]), int(facts.settings["multiple"]), facts.finer)
        side = network.multiple
        fits = network._run(np.zeros((side, side), np.float32)).shape == (side * network.finer,) * 2
    except Exception as error:  # onnxruntime has no tree of exceptions of its own
        raise ReadError(
            f"{path} was expected to be a network from image to image; running it failed: {error}"
        ) from error
    if not fits:
        raise ReadError(
            f"{path} was expected to give {network.finer} times the shape that it takes; train the model anew."
        )
    return network
