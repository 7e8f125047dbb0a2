"""Coupled sparse dictionaries: two modalities share the codes of their patches, so that one predicts the other.

After Cao, Zach & Niethammer, "Multi-modal registration for correlative microscopy using image analogies" (2014,
doi:10.1016/j.media.2013.12.005): patches of both images of a registered pair are stacked, one dictionary is learned for
the stacks (equations 8 to 11), and the codes of a new image give the image that is missing (equation 7). The same
dictionary denoises the image that the prediction is to be compared with, and says where the prediction is uncertain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from correlight.images.image import Float32, Mask
from correlight.predict.patches import tiled
from correlight.predict.sparse_coding import Codes, Coding, reconstruct
from correlight.progress import Progress

# Steps of the codes between two updates of the dictionary; more at first, when the codes begin at zero.
_FIRST_STEPS, _STEPS = 20, 6
# The last rounds see all samples; the dictionary has settled by then.
_ROUNDS = 25
_KEPT_EVERY = 5
# The variance of a prediction's error that this share of held-out pixels does not exceed counts as the least.
_SUREST = 0.05

Triple = tuple[Float32, Float32, Mask]


def sampled(pairs: Sequence[Triple], side: int, count: int, rng: np.random.Generator) -> Float32:
    """Stacked patches from random places of registered pairs.

    Parameters
    ----------
    pairs : sequence of ((Y, X) array, (Y, X) array, (Y, X) array of bool)
        Both images on the same pixels, zero mean and unit variance, and the pixels at which both are valid.
    side : int
        Of a patch, in pixels.
    count : int
        At most so many patches; each pair gives its share.
    rng : Generator
        Draws the places.

    Returns
    -------
    (N, 2 side²) array
        Fewer than asked for, or none, where the pairs hold fewer patches that are valid throughout.
    """
    drawn = []
    for one, other, mask in pairs:
        if min(mask.shape) < side:
            continue
        places = np.argwhere(np.lib.stride_tricks.sliding_window_view(mask, (side, side)).all(axis=(2, 3)))
        places = places[rng.permutation(len(places))[: -(-count // len(pairs))]]
        views = [np.lib.stride_tricks.sliding_window_view(image, (side, side)) for image in (one, other)]
        drawn.append(np.hstack([view[places[:, 0], places[:, 1]].reshape(len(places), -1) for view in views]))
    stacked = np.concatenate(drawn) if drawn else np.zeros((0, 2 * side * side))
    return np.asarray(rng.permutation(stacked)[:count], np.float32)


@dataclass(frozen=True, eq=False)
class Round:
    """Where the learning of a dictionary stands, to go on from.

    Parameters
    ----------
    number : int
        Rounds that are done.
    dictionary : (K, P) array
        One atom a row.
    codes : (N, K) array
        The state of the codes.
    """

    number: int
    dictionary: Float32
    codes: Float32


def learned(
    patches: Float32,
    atoms: int,
    sparsity: float,
    report: Progress = lambda stage, fraction: None,
    *,
    keep: Callable[[Round], None] = lambda done: None,
    kept: Round | None = None,
) -> Float32:
    """The dictionary that codes patches most sparsely: codes and atoms minimise equation 8 in turn.

    Codes go on where they were, so that few steps suffice after each update of the atoms. Atoms follow from
    equation 10 with none longer than one, one after the other (Mairal et al. 2009, doi:10.1145/1553374.1553463):
    without a bound on the atoms the penalty on the codes would mean nothing. An atom that no patch uses becomes the
    patch that is coded worst.

    Parameters
    ----------
    patches : (N, P) array
        At least as many as atoms; in random order, for the first are the first atoms.
    atoms : int
        How many to learn.
    sparsity : float
        λ.
    report : callable
        Told how far it is.
    keep : callable
        Given every few rounds what can be gone on from.
    kept : Round, optional
        To go on from, of the same patches.

    Returns
    -------
    (K, P) array
        One atom a row.
    """
    lengths = np.linalg.norm(patches, axis=1, keepdims=True)
    # Constant patches are no directions: they are the last to become atoms.
    first = np.argsort(lengths[:, 0] < 1e-3, kind="stable")[:atoms]
    dictionary = np.asarray(patches[first] / np.maximum(lengths[first], np.float32(1e-6)), np.float32)
    if kept is not None:
        dictionary = kept.dictionary.copy()
    codes = Codes(dictionary, len(patches), sparsity)
    if kept is not None:
        codes.resume(kept.codes)
    for number in range(kept.number if kept is not None else 0, _ROUNDS):
        for _ in range(_STEPS if number else _FIRST_STEPS):
            codes.step(patches)
        _update(dictionary, patches, codes.values, last=number == _ROUNDS - 1)
        codes.use(dictionary)
        if (number + 1) % _KEPT_EVERY == 0:
            keep(Round(number + 1, dictionary, codes.state))
        report("dictionary", (number + 1) / _ROUNDS)
    return dictionary


def _update(dictionary: Float32, patches: Float32, codes: Float32, last: bool) -> None:
    """The atoms that fit patches best for given codes, in place."""
    together, right = codes.T @ codes, codes.T @ patches
    for number in range(len(dictionary)):
        used = together[number, number]
        if used <= 0:
            continue
        atom = dictionary[number] + (right[number] - together[number] @ dictionary) / used
        dictionary[number] = atom / max(1.0, float(np.linalg.norm(atom)))
    unused = np.flatnonzero(np.diag(together) <= 0)
    if len(unused) and not last:
        apart = np.sum((patches - codes @ dictionary) ** 2, axis=1)
        worst = patches[np.argsort(apart)[::-1][: len(unused)]]
        unused = unused[: len(worst)]
        dictionary[unused] = worst / np.maximum(np.linalg.norm(worst, axis=1, keepdims=True), np.float32(1e-6))


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a dictionary makes of an image.

    Parameters
    ----------
    denoised, predicted : (Y, X) array
        The image itself without what the dictionary cannot tell from noise, and the one that was predicted.
    confidence : (Y, X) array
        Weights between 0 and 1 for equation 12: the least variance of the prediction's error over that expected here.
    """

    denoised: Float32
    predicted: Float32
    confidence: Float32


@dataclass(frozen=True, eq=False)
class JointDictionary:
    """A dictionary of patch pairs.

    Parameters
    ----------
    atoms : (K, 2 side²) array
        The first half of each belongs to the image that is known, the second to the one that is predicted.
    coding : Coding
        How images are coded.
    variances : (6,) array
        The variance to expect of the prediction's error: everywhere, and per unit of each column of `_signs`; the last
        is the least of it.
    """

    atoms: Float32
    coding: Coding
    variances: NDArray[np.float64]

    @property
    def _pixels(self) -> int:
        return self.coding.side**2

    def predict(self, image: Float32, mask: Mask) -> Prediction:
        """The other image of a pair, by equation 7.

        Parameters
        ----------
        image : (Y, X) array
            Zero mean and unit variance.
        mask : (Y, X) array of bool
            Valid pixels.
        """
        denoised, predicted, spread = self._coded(image, mask)
        least = self.variances[-1]
        variance = self._signs(image - denoised, predicted, spread, mask) @ self.variances[:-1]
        confidence = np.where(mask, least / np.maximum(variance, least), 0)
        return Prediction(denoised, predicted, confidence.astype(np.float32))

    def denoise_other(self, image: Float32, mask: Mask) -> Float32:
        """The image that a prediction is to be compared with, denoised by its own half of the dictionary (equation 5).

        Parameters
        ----------
        image, mask
            As for `predict`, of the other modality.
        """
        atoms = np.ascontiguousarray(self.atoms[:, self._pixels :])
        return tiled(
            lambda part, valid: reconstruct(part, valid, atoms, self.coding).images, image, mask, self.coding.side
        )[0]

    def _coded(self, image: Float32, mask: Mask) -> tuple[Float32, Float32, Float32]:
        """Denoised image, predicted image, and the variance between the patches over a pixel of the latter."""

        def part(values: Float32, valid: Mask) -> tuple[Float32, ...]:
            made = reconstruct(values, valid, self.atoms, self.coding)
            return (*made.images, made.spread[1])

        denoised, predicted, spread = tiled(part, image, mask, self.coding.side)
        return denoised, predicted, spread

    def _signs(self, residual: Float32, predicted: Float32, spread: Float32, mask: Mask) -> NDArray[np.float64]:
        """What the variance of the error may grow with, shape ``(Y, X, 5)``.

        One for what is the same everywhere; what the dictionary could not code of the image, nearby; the disagreement
        of the patches over a pixel; how far the prediction is above and below the mean, for bright structures are
        predicted worse than empty background.
        """
        uncoded = _local_mean(np.where(mask, residual**2, 0).astype(np.float32), mask, self.coding.side)
        above, below = np.maximum(predicted, 0) ** 2, np.minimum(predicted, 0) ** 2
        return np.stack([np.ones_like(spread), uncoded, spread, above, below], axis=-1).astype(np.float64)

    def with_variances(self, pairs: Sequence[Triple]) -> JointDictionary:
        """The dictionary with the variances that its predictions of pairs showed, best of pairs held out of training.

        Parameters
        ----------
        pairs : sequence of ((Y, X) array, (Y, X) array, (Y, X) array of bool)
            As for `sampled`, at least one pixel valid.
        """
        told, seen = [], []
        for image, other, mask in pairs:
            denoised, predicted, spread = self._coded(image, mask)
            told.append(self._signs(image - denoised, predicted, spread, mask)[mask])
            seen.append(((predicted - other)[mask]).astype(np.float64) ** 2)
        table, errors = np.concatenate(told), np.concatenate(seen)
        parts, _ = nnls(table.T @ table, table.T @ errors)
        least = max(float(np.quantile(table @ parts, _SUREST)), 1e-9)
        return replace(self, variances=np.array([*parts, least]))


def _local_mean(values: Float32, mask: Mask, side: int) -> Float32:
    """Mean of the valid pixels in a square around each pixel."""
    weight = mask.astype(np.float32)
    total, count = (cv2.blur(part, (side, side), borderType=cv2.BORDER_REFLECT) for part in (values * weight, weight))
    return np.asarray(total / np.maximum(count, np.float32(1e-6)), np.float32)
