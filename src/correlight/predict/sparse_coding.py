"""Sparse codes of overlapping patches under a joint dictionary, and the images that follow from them.

The energy is that of Cao, Zach & Niethammer, "Multi-modal registration for correlative microscopy using image
analogies" (2014, doi:10.1016/j.media.2013.12.005), equation 7, multiplied by the number N of patches:

    weight/2 Σ_x m c (u1 - f)² + Σ_i { ½ |R_i u1 - D1 α_i|² + ½ |R_i u2 - D2 α_i|² + λ |α_i|₁ }

where f is the image that is known, m its valid pixels, c the number of patches over a pixel, u1 the same image denoised
and u2 the image that is predicted. With one image only it is equation 5, which denoises, and without images, of patches
that are given, equation 8.

The paper minimises it by the simultaneous-direction method of multipliers with copies of all variables (Algorithm 3).
Here only the codes have a copy, which the penalty shrinks; the images are eliminated, because for given codes they are
weighted means of the patches. The images of the codes before replace them in the quadratic part, which then bounds the
energy from above: the majorised method of multipliers of Li, Sun & Toh (2016, doi:10.1137/140999025). The energy is
convex, so both end at the same images; a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from correlight.images.image import Float32, Mask
from correlight.predict.patches import PatchGrid
from correlight.progress import checkpoint

# Penalty of the distance between codes and their copies; it has the unit of squared atoms, which have length one.
_PENALTY = 3.0
# Steps are lengthened by this (Eckstein & Bertsekas 1992, doi:10.1007/BF01581204), which halves their number.
_RELAXED = 1.6
# Patches at once: their codes stay in the cache of a core.
_AT_ONCE = 512


class Codes:
    """Codes of a fixed number of patches, brought closer to their optimum with every step.

    Parameters
    ----------
    atoms : (K, P) array
        The dictionary, one atom a row.
    count : int
        Patches.
    sparsity : float
        The factor λ of the sum of absolute codes.
    """

    def __init__(self, atoms: Float32, count: int, sparsity: float) -> None:
        self._threshold = np.float32(sparsity / _PENALTY)
        # Copies and multipliers in one array: what is beyond the threshold is the copy, what is below the multiplier.
        self._both = np.zeros((count, len(atoms)), np.float32)
        self._of_copies, self._of_multipliers, self.images = (
            np.zeros((count, atoms.shape[1]), np.float32) for _ in range(3)
        )
        self.use(atoms)

    def use(self, atoms: Float32) -> None:
        """Go on with a dictionary that was changed a little."""
        self._atoms, self._transposed = atoms, np.ascontiguousarray(atoms.T)
        square = atoms.T.astype(np.float64) @ atoms
        self._square = square.astype(np.float32)
        self._inverse = np.linalg.inv(_PENALTY * np.eye(len(square)) + square).astype(np.float32)
        for part in self._parts():
            multipliers = np.clip(self._both[part], -self._threshold, self._threshold)
            self._of_multipliers[part] = multipliers @ atoms
            self._of_copies[part] = (self._both[part] - multipliers) @ atoms

    def _parts(self) -> Iterator[slice]:
        for first in range(0, len(self._both), _AT_ONCE):
            checkpoint()
            yield slice(first, first + _AT_ONCE)

    def step(self, patches: Float32) -> None:
        """Towards the codes of ``(N, P)`` patches; afterwards ``images`` holds what the codes stand for."""
        penalty = np.float32(_PENALTY)
        for part in self._parts():
            both, copies, multipliers = self._both[part], self._of_copies[part], self._of_multipliers[part]
            # The quadratic part in closed form, by the inverse of a matrix of the size of a patch.
            right = penalty * (copies - multipliers) + patches[part] @ self._square
            pull = (patches[part] - right @ self._inverse) / penalty
            of_pull = pull @ self._square
            self.images[part] = copies - multipliers + of_pull
            below = np.clip(both, -self._threshold, self._threshold)
            both -= below
            both += np.float32(_RELAXED) * (pull @ self._transposed) + np.float32(1 - _RELAXED) * below
            total = copies + np.float32(_RELAXED) * of_pull + np.float32(1 - _RELAXED) * multipliers
            copies[:] = (both - np.clip(both, -self._threshold, self._threshold)) @ self._atoms
            multipliers[:] = total - copies

    @property
    def state(self) -> Float32:
        """All that codes of a dictionary that was just taken up depend on, besides it; shape ``(N, K)``."""
        return self._both

    def resume(self, state: Float32) -> None:
        """Go on from such a state."""
        self._both[:] = state
        self.use(self._atoms)

    @property
    def values(self) -> Float32:
        """The codes, shape ``(N, K)``: most are exactly zero."""
        return self._both - np.clip(self._both, -self._threshold, self._threshold)


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What the codes of an image stand for.

    Parameters
    ----------
    images : tuple of (Y, X) arrays
        u1 and, of a joint dictionary, u2.
    spread : tuple of (Y, X) arrays
        Of each image, the mean square by which the patches over a pixel differ from it.
    """

    images: tuple[Float32, ...]
    spread: tuple[Float32, ...]


@dataclass(frozen=True)
class Coding:
    """How an image is coded.

    Parameters
    ----------
    side, step : int
        Of the patches, and from one to the next, in pixels.
    sparsity : float
        λ, for grey values of unit variance.
    weight : float
        Of a pixel of the image, per patch over it; the paper's γ = 0.01 is 1.5 in an image of 200 x 200 pixels.
    iterations : int
        Steps of the codes.
    """

    side: int = 15
    step: int = 3
    sparsity: float = 1.0
    weight: float = 1.5
    iterations: int = 50


def reconstruct(
    image: Float32, mask: Mask, atoms: Float32, coding: Coding, codes: Codes | None = None
) -> Reconstruction:
    """Minimise equation 7, or equation 5 if the atoms are patches of one image only.

    Parameters
    ----------
    image : (Y, X) array
        f: the image that is known, at least a patch along each axis.
    mask : (Y, X) array of bool
        Its valid pixels; elsewhere only the codes say what the image is.
    atoms : (K, side²) or (K, 2 side²) array
        The dictionary; the first half of an atom belongs to the image that is known.
    coding : Coding
        How.
    codes : Codes, optional
        To go on from.

    Returns
    -------
    Reconstruction
    """
    rows, columns = image.shape
    grid = PatchGrid((rows, columns), coding.side, coding.step)
    pixels = coding.side**2
    count = atoms.shape[1] // pixels
    known = grid.extended(np.where(mask, image, np.float32(0)))
    # The paper weighs a pixel against the sum over all patches of the image divided by their number, so that its weight
    # depends on the size of the image. Times the patches over a pixel, it depends on size, step and place no more.
    weight = grid.extended(mask.astype(np.float32), fill=0.0) * grid.cover * np.float32(coding.weight)
    codes = codes or Codes(atoms, grid.counts[0] * grid.counts[1], coding.sparsity)
    images = [known] + [np.zeros_like(known)] * (count - 1)
    for _ in range(coding.iterations):
        codes.step(np.hstack([grid.rows(one) for one in images]))
        sums = [grid.summed(codes.images[:, number * pixels : (number + 1) * pixels]) for number in range(count)]
        images = [(weight * known + sums[0]) / (weight + grid.cover), *(one / grid.cover for one in sums[1:])]
    spread = []
    for number, one in enumerate(images):
        apart = codes.images[:, number * pixels : (number + 1) * pixels] - grid.rows(one)
        spread.append(grid.cut(grid.summed(apart**2) / grid.cover))
    return Reconstruction(tuple(grid.cut(one) for one in images), tuple(spread))
