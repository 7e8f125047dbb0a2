"""Poses from the beads of two images: found in both, matched by their places, handed on as every search does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from correlight.beads.point_matching import STRETCH, BeadMatching, match_beads
from correlight.beads.pose_limits import PoseLimits
from correlight.beads.pose_search import Match
from correlight.beads.spots import Spots, find_spots
from correlight.errors import UsageError
from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.images.pyramid import WORKING, Window, reduced, working_image
from correlight.search.limits import Limits
from correlight.search.pose import Pose
from correlight.transforms import Affine

# Beads are never together better than to this share of their distance: sections shrink unevenly, and beads lie at
# different depths. The errors of the spots follow from photon statistics, which do not include that.
_LEAST_NOISE = 0.02
# Nor need they be known better than to this, in pixels of the coarser image.
_LEAST_PIXELS = 0.25
# Places per axis on which the overlap of two fields is counted.
_PLACES = 32


@dataclass(frozen=True, eq=False)
class MatchedBeads:
    """Beads of two images and the poses that bring them together.

    Parameters
    ----------
    fixed, moving : Spots
        The beads.
    matching : BeadMatching
        How they match; falsy where nothing stands out.
    poses : tuple of Pose
        Best first; the score is the number of matched beads beyond those expected by chance.
    """

    fixed: Spots
    moving: Spots
    matching: BeadMatching
    poses: tuple[Pose, ...]

    @property
    def significance(self) -> float:
        """That of the best match; minus infinity without one."""
        return self.matching.matches[0].significance if self.matching.matches else -np.inf

    def matched(self, match: Match) -> tuple[Points, Points]:
        """Places of the beads of a match in the fixed and in the moving image, each ``(M, D)``."""
        return self.fixed.points[match.fixed_index], self.moving.points[match.moving_index]


class BeadSearch:
    """Searches by beads; beads of a channel are found once, however many channels it is paired with.

    Parameters
    ----------
    fixed, moving : Image
        Two images, both 2-D or both 3-D.
    limits : Limits
        Which poses are possible; in stacks rotations are not limited but by ``near``.
    diameter : float, optional
        Of a bead, in micrometres; found from the images without.
    fixed_psf, moving_psf : float
        Standard deviation of the point-spread function of either instrument, in micrometres.
    stretch : float
        By how much the images may be stretched or sheared against each other, as a share of lengths.

    Raises
    ------
    UsageError
        If a diameter is given and an image has no pixel size.
    """

    def __init__(
        self,
        fixed: Image,
        moving: Image,
        limits: Limits,
        *,
        diameter: float | None = None,
        fixed_psf: float = 0.0,
        moving_psf: float = 0.0,
        stretch: float = STRETCH,
    ) -> None:
        self._images, self._limits = {"fixed": fixed, "moving": moving}, limits
        self._diameter, self._psf, self._stretch = diameter, {"fixed": fixed_psf, "moving": moving_psf}, stretch
        for role, image in self._images.items():
            if diameter is not None and not image.grid.calibrated:
                raise UsageError(
                    f"The diameter of the beads counts micrometres and the {role} image states no pixel size; give its "
                    "spacing, or leave the diameter out."
                )
        self._searched: dict[str, Image] = {}
        self._spots: dict[tuple[str, int | None], Spots] = {}

    def spots(self, role: str, channel: int | None) -> Spots:
        """The beads of one channel of the fixed or the moving image."""
        if (role, channel) not in self._spots:
            if role not in self._searched:
                self._searched[role] = searched_image(self._images[role])
            image = self._searched[role]
            self._spots[role, channel] = find_spots(
                image.grey(channel), image.grid, image.valid(), diameter=self._diameter, psf=self._psf[role]
            )
        return self._spots[role, channel]

    def __call__(
        self, fixed_channel: int | None, moving_channel: int | None, near: Affine | None = None
    ) -> MatchedBeads:
        """Match the beads of two channels.

        Parameters
        ----------
        fixed_channel, moving_channel : int or None
            0-based; None for all colours of an image.
        near : Affine, optional
            A pose that is right to a few per cent and degrees; beads are matched near it only, in stacks as well.
        """
        fixed, moving = self.spots("fixed", fixed_channel), self.spots("moving", moving_channel)
        grids = self._images["fixed"].grid, self._images["moving"].grid
        limits = PoseLimits(self._limits) if near is None else PoseLimits.around(near, self._limits)
        noise = common_noise(fixed, moving, grids, limits.limits)
        matching = match_beads(fixed.points, moving.points, limits=limits, noise=noise, stretch=self._stretch)
        poses = tuple(
            Pose(
                match.moving_from_fixed,
                max(len(match) - match.by_chance, 0.0),
                overlap(*grids, match.moving_from_fixed),
            )
            for match in matching.matches
        )
        return MatchedBeads(fixed, moving, matching, poses)

    def near(self, fixed: Sequence[int | None], moving: Sequence[int | None], pose: Affine) -> MatchedBeads:
        """The beads that match best near a pose, in whichever channels they are.

        Parameters
        ----------
        fixed, moving : sequence of int or None
            Channels that may show beads, at least one of each image.
        pose : Affine
            ``moving_from_fixed``, right to a few per cent.
        """
        found = [self(one, other, near=pose) for one in fixed for other in moving]
        return max(found, key=lambda fiducials: fiducials.significance)


def searched_image(image: Image) -> Image:
    """The image in which beads are detected: in memory, and of a stack at most 2**24 voxels of a channel.

    An image is taken as it is, or the finest level in memory of one that stays on disk. A larger stack is taken at the
    finest level of its file that is small enough; where there is none, voxels are averaged along the axes on which they
    are shortest, so that slices stay apart where they are few.

    Parameters
    ----------
    image : Image
        Perhaps on disk.
    """
    if image.ndim == 2 or math.prod(image.grid.shape) <= WORKING:
        return working_image(image)
    small = next((level for level in image.levels if math.prod(level.shape[1:]) <= WORKING), None)
    if small is None:
        last = len(image.levels) - 1
        small = reduced(image.levels[last], shrinking(image.level_grid(last)))
    whole = Window(image.levels[0], (0, 0, 0), image.grid.shape)
    return working_image(replace(image, levels=(whole, small)))


def shrinking(grid: Grid) -> tuple[int, ...]:
    """How many voxels become one along each axis so that at most 2**24 are left, and as alike in length as can be."""
    factors = np.ones(grid.ndim, int)
    while math.prod(n // factor for n, factor in zip(grid.shape, factors, strict=True)) > WORKING:
        factors[int(np.argmin(factors * grid.spacing))] += 1
    return tuple(int(factor) for factor in factors)


def common_noise(fixed: Spots, moving: Spots, grids: tuple[Grid, Grid], limits: Limits) -> float | None:
    """Standard deviation per axis of the distance of two images of one bead, in the moving unit.

    Parameters
    ----------
    fixed, moving : Spots
        The beads of both images.
    grids : (Grid, Grid)
        Where they were found.
    limits : Limits
        Their scales, where they are narrow, carry the error of the fixed image over; otherwise the distances of beads
        do, which are the same in both.

    Returns
    -------
    float or None
        None where there are too few beads to tell.
    """
    if min(len(fixed), len(moving)) < 2:
        return None
    own, other = (_spacing(spots.points) for spots in (fixed, moving))
    scale = float(np.clip(other / max(own, 1e-300), *limits.scale))
    pixel = max(min(grids[1].spacing), scale * min(grids[0].spacing))
    return float(max(np.hypot(scale * fixed.noise, moving.noise), _LEAST_NOISE * other, _LEAST_PIXELS * pixel))


def overlap(fixed: Grid, moving: Grid, moving_from_fixed: Affine) -> float:
    """Share of the smaller of two fields that the other covers, counted on a lattice."""
    covered = float(np.mean(moving.contains(moving_from_fixed(fixed.lattice(_PLACES)))))
    content = float(np.prod(fixed.extent)) * moving_from_fixed.scale**fixed.ndim
    return min(1.0, covered * max(1.0, content / float(np.prod(moving.extent))))


def _spacing(points: Points) -> float:
    """Distance that beads would have if they were spread evenly over the box around them."""
    extent = np.ptp(points, axis=0)
    return float((np.prod(np.maximum(extent, 1e-9)) / len(points)) ** (1 / points.shape[1]))
