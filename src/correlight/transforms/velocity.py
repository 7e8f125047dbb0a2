"""The flow of a velocity that does not change with time: a smooth map whose inverse is the flow backwards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from correlight.errors import TransformError
from correlight.geometry import Grid, Points
from correlight.transforms.bent import OnLattice
from correlight.transforms.bspline import BSplineField, centred_spline

# The flow is computed at so many places a cell of the lattice along each axis, in space at fewer.
_FINER = {2: 4, 3: 3}
# The first step, by the fourth-order rule, moves no place further than this share of the distance to the next.
_FIRST_STEP = 1.0
_MOST_SQUARINGS = 12
# So many control points at every side are zero, so that the flow ends smoothly.
RIM = 3


@dataclass(frozen=True, eq=False)
class VelocityField(OnLattice):
    """Where points come to that move for one unit of time with a stationary velocity made of cubic B-splines.

    Parameters
    ----------
    velocity : ``(*grid.shape, D)`` array
        Velocity that each control point contributes, in the unit of the grid, array order. The three outermost
        control points at every side are zero.
    grid : Grid
        Where the control points stand, in the frame that the transform starts from; D = 2 or 3.
    finer : int, optional
        At so many places a cell of the lattice along each axis the flow is computed; 4 in the plane and 3 in space
        without. Fewer are quicker and leave a greater residual.

    Raises
    ------
    TransformError
        If the velocities do not fit the grid, are not finite, do not vanish at the rim, or are so fast that the
        lattice cannot show the flow without folds.

    Notes
    -----
    The flow is the exponential of the velocity, found by scaling and squaring [1]_: a short step is joined with itself
    again and again. Its inverse is the exponential of the negated velocity. In exact arithmetic both are one-to-one;
    here they are held as cubic B-splines on a lattice several times finer, which leaves `residual`.

    References
    ----------
    .. [1] V. Arsigny et al., MICCAI 2006, LNCS 4190, 924. doi:10.1007/11866565_113

    Examples
    --------
    >>> velocity = np.zeros((9, 9, 2))
    >>> velocity[4, 4] = [0.9, 0.0]
    >>> field = VelocityField(velocity, Grid.of((9, 9), 2.0, unit="micrometre"))
    >>> field.inverse()(field([[7.0, 9.0]])).round(3)
    array([[7., 9.]])
    >>> field.residual < 1e-3
    True
    """

    velocity: NDArray[np.float64]
    grid: Grid
    finer: int | None = None

    def __post_init__(self) -> None:
        velocity = np.array(self.velocity, float)
        BSplineField(velocity, self.grid)
        ndim = self.grid.ndim
        inner = (slice(RIM, -RIM),) * ndim
        if min(self.grid.shape) <= 2 * RIM or np.abs(velocity).sum() > np.abs(velocity[inner]).sum() * (1 + 1e-12):
            raise TransformError(
                f"The {RIM} outermost control points of a velocity are zero at every side, with at least one more in "
                f"between; got a lattice of {self.grid.shape} that is not."
            )
        velocity.flags.writeable = False
        object.__setattr__(self, "velocity", velocity)

    @cached_property
    def flow(self) -> BSplineField:
        """The map as a B-spline displacement on a finer lattice, which other tools can read."""
        finer = self._finer
        shape = tuple(finer * (n - 1) + 1 for n in self.grid.shape)
        spacing = tuple(step / finer for step in self.grid.spacing)
        grid = Grid.of(shape, spacing, self.grid.origin, self.grid.unit)
        places = np.indices(shape, float)
        vectors = self._first_step(places)
        for _ in range(self._squarings):
            vectors = vectors + _at(_filtered(vectors), places + vectors)
        if _smallest_volume(vectors) <= 0:
            raise TransformError(
                f"The velocity is too fast for its lattice of {self.grid.shape}: its flow folds; smooth the velocity."
            )
        return BSplineField(np.moveaxis(_filtered(vectors), 0, -1) * spacing, grid)

    @property
    def _finer(self) -> int:
        return self.finer or _FINER[self.ndim]

    @cached_property
    def _squarings(self) -> int:
        steps = np.abs(self.velocity / self.grid.spacing).max() * self._finer / _FIRST_STEP
        if steps > 2.0**_MOST_SQUARINGS:
            raise TransformError("The velocity is too fast for its lattice: it leads across hundreds of cells.")
        return max(0, int(np.ceil(np.log2(max(steps, 1.0)))))

    def _first_step(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Displacement after the first fraction of the time, in steps of the finer lattice, by a Runge-Kutta step."""
        share, finer = 2.0**-self._squarings, self._finer
        coefficients = np.moveaxis(share * finer * self.velocity / self.grid.spacing, -1, 0)
        # What no control point that moves reaches stays where it is.
        beyond = finer * (RIM - 2)
        reached = (slice(None), *(slice(beyond, n - beyond) for n in places.shape[1:]))
        start = places[reached]

        def speed(at: NDArray[np.float64]) -> NDArray[np.float64]:
            return _at(coefficients, at / finer)

        one = _on_finer(coefficients, finer)[reached]
        two = speed(start + one / 2)
        three = speed(start + two / 2)
        four = speed(start + three)
        vectors = np.zeros_like(places)
        vectors[reached] = (one + 2 * two + 2 * three + four) / 6
        return vectors

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points."""
        return self.flow(points)

    def displaced(self, points: ArrayLike) -> Points:
        """How far each of ``(N, D)`` points is moved, shape ``(N, D)``; zero beyond the lattice."""
        return self.flow.displaced(points)

    @property
    def words(self) -> str:
        """The kind, as a sentence calls it."""
        return "the flow of a velocity"

    @property
    def finest(self) -> float:
        """No detail is smaller than half the distance of the control points of the velocity."""
        return min(self.grid.spacing) / 2

    @property
    def looks(self) -> Points:
        """As `BSplineField.looks` of the flow."""
        return self.flow.looks

    def covers(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Whether each of ``(N, D)`` points lies on the lattice."""
        return self.flow.covers(points)

    def inverse(self) -> VelocityField:
        """The flow backwards; it leads back to within `residual`."""
        return self._backward

    @cached_property
    def _backward(self) -> VelocityField:
        return VelocityField(-self.velocity, self.grid, self.finer)

    @cached_property
    def residual(self) -> float:
        """Greatest distance to the start after the map and its inverse, over the nodes of the finer lattice.

        In the unit of the grid.
        """
        points = self.flow.grid.lattice_of_pixels()
        return float(np.linalg.norm(self._backward(self(points)) - points, axis=1).max())

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """Derivative at each of ``(N, D)`` points, shape ``(N, D, D)``; the identity where points stay."""
        return self.flow.jacobian(points)


def _smallest_volume(vectors: NDArray[np.float64]) -> float:
    """Smallest determinant by differences of neighbours, of displacements ``(D, ...)`` in steps of their lattice."""
    slopes = np.stack([np.stack(np.gradient(part)) for part in vectors])
    return float(np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1)) + np.eye(len(vectors))).min())


def _filtered(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of the cubic B-splines through vectors ``(D, ...)``."""
    return np.stack([ndimage.spline_filter(part, order=3, mode="mirror") for part in vectors])


def _on_finer(coefficients: NDArray[np.float64], finer: int) -> NDArray[np.float64]:
    """Splines ``(D, ...)`` at so many places a cell of their lattice: what `_at` finds there, axis by axis."""
    for axis, count in enumerate(coefficients.shape[1:], start=1):
        apart = np.arange(finer * (count - 1) + 1)[:, None] / finer - np.arange(count)
        coefficients = np.moveaxis(np.tensordot(centred_spline(apart, 3), coefficients, (1, axis)), 0, axis)
    return coefficients


def _at(coefficients: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Splines ``(D, ...)`` at places ``(D, ...)`` in steps of their lattice; zero beyond it."""
    return np.stack(
        [
            ndimage.map_coordinates(part, places, order=3, mode="constant", cval=0.0, prefilter=False)
            for part in coefficients
        ]
    )
