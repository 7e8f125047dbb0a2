"""Where a layer lies before it is registered, as a start for the search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.napari.layers import micrometres
from correlight.transforms import Affine


@dataclass(frozen=True, eq=False)
class Position:
    """Where the pixels of a layer lie in the viewer.

    Parameters
    ----------
    world_from_index : (D+1, D+1) array
        From pixel indices to what the viewer counts: micrometres where the layer has a unit of length.
    """

    world_from_index: NDArray[np.float64]

    def to(self, grid: Grid) -> Affine:
        """The map from the viewer to positions in an image whose pixels the layer shows."""
        return Affine(grid.matrix @ np.linalg.inv(self.world_from_index))


def position_of(layer: Any) -> Position:
    """Where the pixels of a layer lie, its own affine transform included."""
    factors = micrometres(layer)
    units = np.diag([*(np.ones(layer.ndim) if factors is None else factors), 1.0])
    place = np.diag([*layer.scale, 1.0])
    place[:-1, -1] = layer.translate
    return Position(units @ np.asarray(layer.affine.affine_matrix) @ place)
