"""Image analogies: B' is to B as A' is to A, pixel by pixel from the most alike surroundings in a registered pair.

After Hertzmann, Jacobs, Oliver, Curless & Salesin, "Image analogies" (2001, doi:10.1145/383259.383295), which Cao, Zach
& Niethammer (2014, doi:10.1016/j.media.2013.12.005) took up to turn one modality into another before registration. From
coarse to fine, every pixel takes the value that the other image of the pair has at one of its pixels. Which one, two
searches propose: the most alike surroundings of all (approximate nearest neighbours), and the continuation of what
neighbours took (coherence, after Ashikhmin), which wins unless its squared distance is larger by more
than the factor ``1 + kappa / 2^level``, level 0 being the finest.

Three things differ from the publication. The scan is not row by row but along slanted lines, pixels of which do not
depend on each other: each sees exactly what it sees row by row, and all of a line are found at once. Surroundings are
compared by their principal components. Neighbours propose continuations within two pixels, however large surroundings
are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from correlight.images.image import Float32, Mask
from correlight.progress import checkpoint

# Neighbours further away than this propose no continuation, in pixels.
_NEAR = 2
# The coarsest level has at least this many times the side of the surroundings along its shorter side.
_LEAST_SIDES = 2
_MOST_LEVELS = 5
# Surroundings that principal components are computed from, and those that can be found as nearest.
_LEARNED_FROM, _MOST_FOUND = 20_000, 400_000
# Rows of surroundings at once.
_ROWS = 32

Example = tuple[Float32, Float32, Mask]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Analogy:
    """How the search is done.

    Parameters
    ----------
    side : int
        Of the surroundings of a pixel, in pixels, odd; on the next coarser level they have half as many.
    kappa : float
        How much worse a continuation may be than the nearest neighbour; 0 for nearest neighbours unless equal.
    components : int
        Principal components by which surroundings are compared.
    looseness : float
        A neighbour counts as nearest if none is nearer by more than the factor of one plus this.
    """

    side: int = 15
    kappa: float = 1.0
    components: int = 16
    looseness: float = 1.0


def predict(image: Float32, examples: Sequence[Example], analogy: Analogy, seed: int = 0) -> Float32:
    """B' of an image.

    Parameters
    ----------
    image : (Y, X) array
        B; zero mean and unit variance, as A.
    examples : sequence of ((Y, X) array, (Y, X) array, (Y, X) array of bool)
        A, A' and the pixels at which both are valid, of one or more registered pairs; at least one valid pixel.
    analogy : Analogy
        How.
    seed : int
        Of the draw of surroundings from large examples.

    Returns
    -------
    (Y, X) array
        Values of the A' of the examples.
    """
    rng = np.random.default_rng(seed)
    least = min(*image.shape, *(min(mask.shape) for *_, mask in examples))
    images, pairs = [image], [list(examples)]
    while len(pairs) < _MOST_LEVELS and least >> len(pairs) >= _LEAST_SIDES * analogy.side:
        halved = [(_halved(a), _halved(other), _halved_mask(mask)) for a, other, mask in pairs[-1]]
        if not any(mask.any() for *_, mask in halved):
            break
        images.append(_halved(images[-1]))
        pairs.append(halved)
    made: Float32 | None = None
    for level in reversed(range(len(pairs))):
        coarser = None if made is None else pairs[level + 1]
        known = _Level(pairs[level], coarser, analogy, rng)
        below = None if made is None else (images[level + 1], made)
        made = known.synthesised(images[level], below, analogy.kappa / 2**level)
    assert made is not None
    return made


def _halved(image: Float32) -> Float32:
    """The next level of a Gaussian pyramid."""
    return np.asarray(cv2.pyrDown(image, borderType=cv2.BORDER_REFLECT_101), np.float32)


def _halved_mask(mask: Mask) -> Mask:
    return np.asarray(cv2.pyrDown(mask.astype(np.float32)) > 0.99)


def _weights(side: int) -> Float32:
    """Square roots of Gaussian weights of surroundings, which add up to one, shape ``(side²,)``."""
    one = np.exp(-0.5 * ((np.arange(side) - side // 2) / (side / 4)) ** 2)
    both = np.outer(one, one)
    return np.asarray(np.sqrt(both / both.sum()).ravel(), np.float32)


class _Surroundings:
    """Surroundings on one level: of a pixel in both images of the coarser level, in the known one, and before it."""

    def __init__(self, side: int) -> None:
        self.side, self.coarse = side, side // 2 | 1
        self._fine, self._coarser = _weights(side), _weights(self.coarse)
        self.before = np.arange(side * side // 2)
        causal = self._fine[self.before]
        self.causal_weights = causal / np.sqrt(np.sum(causal**2))

    def rows(self, image: Float32, below: tuple[Float32, Float32] | None, other: Float32 | None) -> Iterator[Float32]:
        """Weighted surroundings of all pixels, some rows of the image at a time, one ``(N, C)`` row each.

        Parameters
        ----------
        image : (Y, X) array
            Known on this level.
        below : pair of arrays or None
            Both images on the coarser level.
        other : (Y, X) array or None
            The other image on this level, of which what comes before a pixel is appended.
        """
        fine = _windows(image, self.side)
        coarse = [_windows(one, self.coarse) for one in below or ()]
        after = None if other is None else _windows(other, self.side)
        columns = np.arange(image.shape[1])
        for top in range(0, image.shape[0], _ROWS):
            checkpoint()
            lines = np.arange(top, min(top + _ROWS, image.shape[0]))
            parts = [fine[lines].reshape(-1, self.side**2) * self._fine]
            for windows in coarse:
                half = windows[(lines // 2)[:, None], columns // 2]
                parts.append(half.reshape(-1, self.coarse**2) * self._coarser)
            if after is not None:
                parts.append(after[lines].reshape(-1, self.side**2)[:, self.before] * self.causal_weights)
            yield np.hstack(parts)


def _windows(image: Float32, side: int) -> Float32:
    padded = np.pad(image, side // 2, mode="symmetric")
    return np.lib.stride_tricks.sliding_window_view(padded, (side, side))


class _Level:
    """The examples on one level, ready to be searched."""

    def __init__(
        self, examples: list[Example], coarser: list[Example] | None, analogy: Analogy, rng: np.random.Generator
    ) -> None:
        self._looseness = analogy.looseness
        self._surroundings = _Surroundings(analogy.side)
        below = [None if coarser is None else coarser[number][:2] for number in range(len(examples))]
        valid = [np.flatnonzero(mask) for *_, mask in examples]
        share = min(1.0, _LEARNED_FROM / max(1, sum(map(len, valid))))
        drawn = []
        for (image, other, mask), under in zip(examples, below, strict=True):
            chosen = mask.ravel() & (rng.random(mask.size) < share)
            first = 0
            for rows in self._surroundings.rows(image, under, other):
                drawn.append(rows[chosen[first : first + len(rows)]])
                first += len(rows)
        self._learn(np.concatenate(drawn), analogy.components)
        described = [
            np.concatenate([(rows - self._mean) @ self._basis for rows in self._surroundings.rows(image, under, other)])
            for (image, other, _), under in zip(examples, below, strict=True)
        ]
        self._lay_out(examples, described)
        found = np.flatnonzero(self._valid)
        if len(found) > _MOST_FOUND:
            found = np.sort(rng.choice(found, _MOST_FOUND, replace=False))
        self._found, self._tree = found, cKDTree(self._described[found], balanced_tree=False, compact_nodes=False)

    def _learn(self, drawn: Float32, components: int) -> None:
        """The mean and the principal components of some surroundings."""
        self._mean = drawn.mean(axis=0) if len(drawn) else np.zeros(drawn.shape[1], np.float32)
        apart = (drawn - self._mean).astype(np.float64)
        _, vectors = np.linalg.eigh(apart.T @ apart)
        self._basis = np.ascontiguousarray(vectors[:, : -components - 1 : -1], np.float32)

    def _lay_out(self, examples: list[Example], described: list[Float32]) -> None:
        """Examples below each other, with invalid pixels between them, so that one number says which pixel."""
        self._width = max(mask.shape[1] for *_, mask in examples) + _NEAR
        values, valid, components = [], [], []
        for (_, other, mask), rows in zip(examples, described, strict=True):
            missing = [(0, _NEAR), (0, self._width - mask.shape[1])]
            values.append(np.pad(other, missing).ravel())
            valid.append(np.pad(mask, missing).ravel())
            shaped = np.pad(rows.reshape(*mask.shape, -1), [*missing, (0, 0)])
            components.append(shaped.reshape(-1, shaped.shape[-1]))
        self._values, self._valid = np.concatenate(values), np.concatenate(valid)
        self._described = np.concatenate(components).astype(np.float32)

    def synthesised(self, image: Float32, below: tuple[Float32, Float32] | None, kappa: float) -> Float32:
        """B' on this level.

        Parameters
        ----------
        image : (Y, X) array
            B on this level.
        below : pair of arrays or None
            B and B' on the coarser level.
        kappa : float
            How much worse a continuation may be, on this level.
        """
        kind, rim = self._surroundings, self._surroundings.side // 2
        causal = self._basis[-len(kind.before) :] * kind.causal_weights[:, None]
        known = len(self._basis) - len(kind.before)
        parts = [rows @ self._basis[:known] for rows in kind.rows(image, below, None)]
        described = np.concatenate(parts) - self._mean @ self._basis
        # Before anything is known on this level, and beyond its edges, the coarser level stands for it.
        guess = np.zeros_like(image) if below is None else cv2.resize(below[1], image.shape[::-1])
        canvas = np.pad(np.asarray(guess, np.float32), rim, mode="symmetric")
        width = canvas.shape[1]
        flat = canvas.reshape(-1)
        steps = (kind.before // kind.side - rim) * width + kind.before % kind.side - rim
        taken = _Taken(image.shape, self._width)
        for lines, columns in _slanted(image.shape, rim + 1):
            checkpoint()
            at = (lines + rim) * width + columns + rim
            wanted = described[lines * image.shape[1] + columns] + flat[at[:, None] + steps] @ causal
            chosen = self._chosen(wanted, taken.continuations(lines, columns), kappa)
            taken.keep(lines, columns, chosen)
            flat[at] = self._values[chosen]
        return canvas[rim:-rim, rim:-rim] if rim else canvas

    def _chosen(self, wanted: Float32, continuations: Ints, kappa: float) -> Ints:
        """Pixels of the examples for some surroundings; -1 among the continuations is none."""
        apart, number = self._tree.query(wanted, eps=self._looseness)
        nearest = self._found[number]
        possible = (continuations >= 0) & (continuations < len(self._valid))
        possible &= self._valid[np.where(possible, continuations, 0)]
        away = self._described[np.where(possible, continuations, 0)] - wanted[:, None]
        squared = np.where(possible, np.einsum("nkc,nkc->nk", away, away), np.inf)
        best = np.argmin(squared, axis=1)
        rows = np.arange(len(wanted))
        coherent = squared[rows, best] <= np.square(apart) * (1 + kappa)
        return np.where(coherent, continuations[rows, best], nearest)


class _Taken:
    """Which pixels of the examples were taken so far, and what would continue them."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        # A rim that is never written to: neighbours beyond the image propose nothing.
        self._numbers = np.full((shape[0] + _NEAR, shape[1] + 2 * _NEAR), -1, np.intp)
        near = [(y, x) for y in range(-_NEAR, 1) for x in range(-_NEAR, _NEAR + 1) if (y, x) < (0, 0)]
        self._down, self._across = np.array(near).T
        self._steps = self._down * width + self._across

    def keep(self, lines: Ints, columns: Ints, numbers: Ints) -> None:
        self._numbers[lines + _NEAR, columns + _NEAR] = numbers

    def continuations(self, lines: Ints, columns: Ints) -> Ints:
        """For every pixel what each of its neighbours proposes, shape ``(N, 12)``."""
        of_neighbours = self._numbers[lines[:, None] + self._down + _NEAR, columns[:, None] + self._across + _NEAR]
        return np.where(of_neighbours >= 0, of_neighbours - self._steps, -1)


def _slanted(shape: tuple[int, ...], slope: int) -> list[tuple[Ints, Ints]]:
    """Lines of pixels that need nothing of each other: with every row down, they go so many pixels to the left."""
    lines, columns = np.indices(shape).reshape(2, -1)
    key = lines * slope + columns
    order = np.argsort(key, kind="stable")
    ends = np.flatnonzero(np.diff(key[order])) + 1
    return list(zip(np.split(lines[order], ends), np.split(columns[order], ends), strict=True))
