"""Where a layer lies before it is registered, as a start for the search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.napari.layers import lengths
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
        """The map from the viewer to positions in an image whose pixels the layer shows.

        Parameters
        ----------
        grid : Grid
            Of the image.
        """
        matrix = np.eye(len(self.world_from_index))
        # A flat image in a stack is a slice that has depth 0 itself.
        matrix[-grid.ndim - 1 :, -grid.ndim - 1 :] = grid.matrix
        return Affine(matrix @ np.linalg.inv(self.world_from_index))


def position_of(layer: Any, depth: float | None = None) -> Position:
    """Where the pixels of a layer lie, its own affine transform included.

    Parameters
    ----------
    layer : napari layer
        Of two or three axes.
    depth : float, optional
        Of the slice in which a flat layer is seen over a stack, in what the viewer counts.
    """
    factors = lengths(layer.units)
    units = np.diag([*(np.ones(layer.ndim) if factors is None else factors), 1.0])
    place = np.diag([*layer.scale, 1.0])
    place[:-1, -1] = layer.translate
    whole = units @ np.asarray(layer.affine.affine_matrix) @ place
    if depth is None or layer.ndim == 3:
        return Position(whole)
    in_space = np.eye(4)
    in_space[1:, 1:] = whole
    in_space[0, 3] = depth
    return Position(in_space)


def depth_seen(viewer: Any) -> float | None:
    """Depth of the slice that is looked at, in micrometres or else pixels; None where all layers are flat."""
    if viewer.dims.ndim < 3:
        return None
    units = viewer.layers.extent.units
    factors = None if units is None else lengths(units)
    return float(viewer.dims.point[-3]) * (1.0 if factors is None else factors[-3])
