"""A pair of images of one specimen, taken by an electron and a light microscope in a known pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.simulate.instruments import Electron, Light
from correlight.simulate.outlines import Rng
from correlight.simulate.specimen import Specimen, SpecimenKind, centred, specimen
from correlight.transforms import Affine

# Wide enough for every field that is drawn; a fixed extent keeps the specimen of a seed the same for all of them.
_EXTENT = 160.0


@dataclass(frozen=True, eq=False)
class SimulatedPair:
    """Two images of one specimen and the transform between them.

    Parameters
    ----------
    fixed, moving : Image
        The electron image and the light image, or the reverse after `swapped`.
    moving_from_fixed : Affine
        The truth, micrometres to micrometres.
    specimen : Specimen
        What they show.
    specimen_from_fixed : Affine
        Where the fixed image lies on it.
    """

    fixed: Image
    moving: Image
    moving_from_fixed: Affine
    specimen: Specimen
    specimen_from_fixed: Affine

    @property
    def specimen_from_moving(self) -> Affine:
        """Where the moving image lies on the specimen."""
        return _joined(self.specimen_from_fixed, self.moving_from_fixed.inverse())

    @property
    def overlap(self) -> float:
        """Fraction of the smaller field (on the specimen) that the other covers."""
        return overlap(self.fixed.grid, self.moving.grid, self.moving_from_fixed)

    def particles(self) -> tuple[Points, Points]:
        """Labels that lie in both fields: their positions ``(N, 2)`` in the fixed and in the moving image, µm."""
        places = self.specimen.particles
        fixed = self.specimen_from_fixed.inverse()(places)
        moving = self.moving_from_fixed(fixed)
        both = self.fixed.grid.contains(fixed) & self.moving.grid.contains(moving)
        return fixed[both], moving[both]

    def swapped(self) -> SimulatedPair:
        """The same pair with the roles exchanged."""
        return SimulatedPair(
            self.moving, self.fixed, self.moving_from_fixed.inverse(), self.specimen, self.specimen_from_moving
        )


def overlap(fixed: Grid, moving: Grid, moving_from_fixed: Affine) -> float:
    """Fraction of the smaller of two fields that the other covers, counted on a lattice of 64 x 64 points."""
    covered = float(np.mean(moving.contains(moving_from_fixed(fixed.lattice(64)))))
    area = float(np.prod(fixed.extent)) * moving_from_fixed.scale**2
    return min(1.0, covered * max(1.0, area / float(np.prod(moving.extent))))


def pair(
    kind: SpecimenKind = "cell",
    seed: int = 0,
    *,
    rotation: float | None = None,
    mirror: bool | None = None,
    stretch: float | None = None,
    shear: float | None = None,
    electron_spacing: float | None = None,
    light_spacing: float | None = None,
    electron_shape: tuple[int, int] = (1024, 1024),
    light_shape: tuple[int, int] = (512, 512),
    least_overlap: float = 0.6,
    electron: Electron | None = None,
    light: Light | None = None,
    data_bar: bool | None = None,
) -> SimulatedPair:
    """Take an electron image (fixed) and a light image (moving) of one specimen; what is not given is drawn.

    Parameters
    ----------
    kind : {"cell", "grains", "tissue", "fibres", "neuropil", "plant"}
        Kind of specimen, as `specimen` takes it.
    seed : int
        Seed of the specimen, the pose, the settings and the noise.
    rotation : float, optional
        Rotation of ``moving_from_fixed`` in degrees, as `Affine.similarity` takes it; drawn from 0 to 360.
    mirror : bool, optional
        Whether the light image is mirrored; drawn with probability one half.
    stretch : float, optional
        Micrometres in the light image per micrometre in the electron image (shrinkage of the section); drawn
        within 3 % of 1.
    shear : float, optional
        Change of the angle between the axes in radians, half of it from each axis so that ``rotation`` stays what
        it is; drawn within 0.02.
    electron_spacing, light_spacing : float, optional
        Micrometres per pixel; drawn from 0.018 to 0.04 and from 0.06 to 0.16.
    electron_shape, light_shape : (int, int)
        Pixels.
    least_overlap : float
        Smallest fraction of the smaller field that the other covers, above 0 and at most 1.
    electron : Electron, optional
        Settings of the electron microscope; drawn without.
    light : Light, optional
        Settings of the light microscope; drawn without.
    data_bar : bool, optional
        Whether the electron image has a data bar; drawn with probability one half.

    Returns
    -------
    SimulatedPair

    Raises
    ------
    UsageError
        If a spacing, the stretch or the overlap is out of range.

    Notes
    -----
    About 1.5 s on one core for images of the default shapes.

    Examples
    --------
    >>> both = pair(seed=1, rotation=30.0, mirror=False, electron_shape=(96, 96), light_shape=(64, 64))
    >>> round(both.moving_from_fixed.rotation), both.moving_from_fixed.mirrored
    (30, False)
    """
    rng = np.random.default_rng([seed, 41])
    drawn_rotation, drawn_stretch, drawn_shear = rng.uniform(0, 360), rng.uniform(0.97, 1.03), rng.uniform(-0.02, 0.02)
    drawn_mirror, drawn_bar = rng.random(2) < 0.5
    drawn_spacings = np.exp(rng.uniform(np.log([0.018, 0.06]), np.log([0.04, 0.16])))
    spacings = [
        float(d) if s is None else s for d, s in zip(drawn_spacings, (electron_spacing, light_spacing), strict=True)
    ]
    scale = float(drawn_stretch) if stretch is None else stretch
    if not 0 < least_overlap <= 1 or not all(np.isfinite(v) and v > 0 for v in (scale, *spacings)):
        raise UsageError(
            "Spacings and stretch must be positive and the overlap above 0 and at most 1; "
            f"got {spacings}, {scale} and {least_overlap}."
        )
    fixed = Grid.of(electron_shape, spacings[0], unit="micrometre")
    moving = Grid.of(light_shape, spacings[1], unit="micrometre")
    linear = Affine.similarity(
        float(drawn_rotation) if rotation is None else rotation,
        scale,
        bool(drawn_mirror) if mirror is None else mirror,
    ).linear @ _shear(float(drawn_shear) if shear is None else shear)
    moving_from_fixed = _place(rng, fixed, moving, linear, least_overlap)
    specimen_from_fixed = _where(rng, fixed)
    fields = _corners(fixed, moving, moving_from_fixed, specimen_from_fixed)
    what = specimen(kind, seed, extent=max(_EXTENT, 2 * float(np.abs(fields).max())))
    return SimulatedPair(
        what.electron(
            spacings[0],
            electron_shape,
            specimen_from_fixed,
            optics=electron or Electron.draw(rng),
            data_bar=bool(drawn_bar) if data_bar is None else data_bar,
            rng=rng,
        ),
        what.light(
            spacings[1],
            light_shape,
            _joined(specimen_from_fixed, moving_from_fixed.inverse()),
            optics=light or Light.draw(rng),
            rng=rng,
        ),
        moving_from_fixed,
        what,
        specimen_from_fixed,
    )


def _shear(amount: float) -> NDArray[np.float64]:
    """A symmetric shear: the nearest rotation of a product with it is that of the other factor."""
    return np.array([[1.0, amount / 2], [amount / 2, 1.0]])


def _place(rng: Rng, fixed: Grid, moving: Grid, linear: NDArray[np.float64], least: float) -> Affine:
    """Shift the smaller field at random over the larger until enough of it is covered."""
    room = (np.linalg.norm(moving.extent) + np.linalg.norm(linear @ fixed.extent)) / 2
    for attempt in range(200):
        # From anywhere to exactly centred, so that a high overlap is reached as well.
        shift = rng.uniform(-0.5, 0.5, 2) * room * (1 - attempt / 199)
        candidate = Affine.of(linear, moving.centre + shift - linear @ fixed.centre)
        if overlap(fixed, moving, candidate) >= least:
            return candidate
    return candidate


def _where(rng: Rng, fixed: Grid) -> Affine:
    """The electron image lies in the middle of the specimen, turned at random."""
    return _joined(Affine.similarity(rng.uniform(0, 360)), centred(fixed))


def _corners(fixed: Grid, moving: Grid, moving_from_fixed: Affine, specimen_from_fixed: Affine) -> Points:
    """Corners of both fields on the specimen, shape ``(8, 2)``."""
    specimen_from_moving = _joined(specimen_from_fixed, moving_from_fixed.inverse())
    return np.vstack([specimen_from_fixed(fixed.corners()), specimen_from_moving(moving.corners())])


def _joined(later: Affine, earlier: Affine) -> Affine:
    """``later @ earlier`` with a type that says that it stays affine."""
    return Affine(later.matrix @ earlier.matrix)
