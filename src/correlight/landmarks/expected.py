"""The error to expect of a transform from landmarks at every place, landmark or not.

Three errors are kept apart. The *localisation* error is how far a landmark was clicked from where it belongs; nobody
sees it. The *registration* error of the landmarks is what the fit leaves over; it is small where there are few
landmarks, however bad they are. The *target* registration error is how far the transform is off at a place that is not
a landmark, and that is what counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from correlight.errors import UsageError
from correlight.geometry import Points
from correlight.transforms import Transform

Float64 = NDArray[np.float64]
LandmarkModel = Literal["rigid", "similarity", "affine", "projective", "thin-plate", "elastic"]
Noise = Literal["isotropic", "anisotropic"]


@dataclass(frozen=True, eq=False)
class Estimate:
    """A transform from landmarks, and what they say about its error. All errors are lengths in the fixed image.

    Parameters
    ----------
    moving_from_fixed : Transform
        The transform.
    model : str
        Its kind.
    fixed, moving : (N, D) arrays
        The landmarks.
    degrees_of_freedom : int
        Number of coordinates beyond those that determine the transform; with none, nothing is known of the error
        unless that of the landmarks was given.
    scatter_degrees_of_freedom : float
        Degrees of freedom of the scatter that the error of the landmarks was found from.
    given : bool
        Whether the error of the landmarks was given rather than found from their scatter.
    landmark_covariances : (N, D, D) array
        Localisation error of each pair, both images together; NaN where nothing is known.
    """

    moving_from_fixed: Transform
    model: LandmarkModel
    fixed: Points
    moving: Points
    degrees_of_freedom: int
    scatter_degrees_of_freedom: float
    given: bool
    landmark_covariances: Float64

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return self.moving_from_fixed.ndim

    @property
    def residuals(self) -> Float64:
        """What the fit leaves over at each landmark, as a displacement in the fixed image, shape ``(N, D)``."""
        apart = self.moving - self.moving_from_fixed(self.fixed)
        return np.asarray(np.linalg.solve(self.moving_from_fixed.jacobian(self.fixed), apart[..., None])[..., 0])

    @property
    def fre(self) -> float:
        """Root mean square of the residuals, in the fixed image."""
        return float(np.sqrt(np.mean(np.sum(self.residuals**2, axis=1))))

    @property
    def fle(self) -> float:
        """Root mean square localisation error of a landmark, both images together; NaN where unknown."""
        return float(np.sqrt(np.mean(np.trace(self.landmark_covariances, axis1=1, axis2=2))))

    @property
    def left_out(self) -> Float64:
        """Error of each landmark predicted by a fit to the others, shape ``(N, D)``; NaN where they determine none."""
        raise NotImplementedError

    @property
    def left_out_covariances(self) -> Float64:
        """What was to be expected of `left_out`, shape ``(N, D, D)``."""
        raise NotImplementedError

    def covariance_between(self, a: ArrayLike, b: ArrayLike) -> Float64:
        """Covariance of the target registration errors at two lists of places, shape ``(A, B, D, D)``."""
        raise NotImplementedError

    def covariances(self, places: ArrayLike) -> Float64:
        """Covariance of the target registration error at each of ``(N, D)`` fixed places, shape ``(N, D, D)``."""
        raise NotImplementedError

    def error(self, places: ArrayLike) -> Float64:
        """Root mean square target registration error to be expected at each of ``(N, D)`` fixed places."""
        # Where a spline meets its landmarks exactly, rounding can leave a little less than nothing.
        return np.asarray(np.sqrt(np.maximum(np.trace(self.covariances(places), axis1=1, axis2=2), 0.0)))

    def ellipses(self, places: ArrayLike, level: float = 0.95) -> tuple[Float64, Float64]:
        """Regions round mapped places that hold the true ones with a given probability.

        Parameters
        ----------
        places : (N, D) array
            In the fixed image.
        level : float
            Probability, between 0 and 1.

        Returns
        -------
        radii : (N, D) array
            Half axes, the longest first.
        directions : (N, D, D) array
            Their unit vectors, one per column.

        Notes
        -----
        Where the scatter of a few landmarks is all that is known of their error, that scatter may be small by chance;
        Fisher's distribution in place of the normal one takes it into account.
        """
        return ellipses(self.covariances(places), level, None if self.given else self.scatter_degrees_of_freedom)


def ellipses(covariances: Float64, level: float, degrees_of_freedom: float | None) -> tuple[Float64, Float64]:
    """Half axes and directions of confidence regions from ``(N, D, D)`` covariances; see `Estimate.ellipses`."""
    if not 0 < level < 1:
        raise UsageError(f"A probability between 0 and 1 was expected; got {level}.")
    ndim = covariances.shape[1]
    if degrees_of_freedom is None:
        reach = float(special.chdtri(ndim, 1 - level))
    else:
        reach = float(ndim * special.fdtri(ndim, degrees_of_freedom, level)) if degrees_of_freedom > 0 else np.nan
    known = np.asarray(np.isfinite(covariances).all(axis=(1, 2)))
    squares, directions = np.linalg.eigh(np.where(known[:, None, None], covariances, np.eye(ndim)))
    radii = np.sqrt(np.maximum(squares, 0.0) * reach)
    radii[~known] = np.nan
    return radii[:, ::-1], directions[:, :, ::-1]
