"""Crops of pairs as a network sees them: turned, mirrored, scaled, and with other contrast."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from correlight.images.image import Float32, Mask
from correlight.predict.contrast import prepared
from correlight.predict.facts import Contrast
from correlight.predict.training import TrainingPair

# Pixels may be so many times larger or smaller than those of the training images.
SCALES = 0.55, 1.6
# Half of the crops are laid over places where there is something to predict.
_AT_SIGNAL = 0.5
# Exponents of grey values, and noise and blur in the units of prepared grey values and in pixels.
_GAMMA, _NOISE, _BLUR = 0.3, 0.15, 0.8


class Scene:
    """A pair ready to be cut.

    Parameters
    ----------
    pair : TrainingPair
        The two images.
    contrast : str
        How the source is prepared.
    """

    def __init__(self, pair: TrainingPair, contrast: Contrast) -> None:
        self.name = pair.name
        self.source = prepared(pair.source, pair.mask, contrast)
        self.target = np.where(pair.mask, pair.target, np.float32(0))
        self.mask = pair.mask.astype(np.float32)
        # Where the target is far above what it usually is.
        level = np.quantile(self.target[pair.mask], 0.98) if pair.mask.any() else 0.0
        self._signal = np.argwhere(pair.mask & (self.target >= max(level, 1e-3)))

    def centre(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A place, often one with something to predict."""
        if len(self._signal) and rng.random() < _AT_SIGNAL:
            return np.asarray(self._signal[rng.integers(len(self._signal))], float)
        return np.asarray(rng.random(2) * (np.array(self.source.shape) - 1))


def scenes(pairs: Sequence[TrainingPair], contrast: Contrast) -> list[Scene]:
    """Pairs ready to be cut."""
    return [Scene(pair, contrast) for pair in pairs]


def crop(
    scene: Scene,
    side: int,
    rng: np.random.Generator,
    *,
    plain: bool = False,
    scales: tuple[float, float] = SCALES,
) -> tuple[Float32, Float32, Mask]:
    """A crop of source and target and its valid pixels, each ``(side, side)``.

    Parameters
    ----------
    scene : Scene
        To cut from.
    side : int
        Of the crop.
    rng : Generator
        Chooses place, rotation, mirror, scale and contrast.
    plain : bool
        Only the place, as crops are judged by.
    scales : (float, float)
        How many times larger or smaller pixels may be.
    """
    centre = scene.centre(rng)
    angle, scale, mirror = 0.0, 1.0, 1.0
    if not plain:
        angle, mirror = rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0])
        scale = float(np.exp(rng.uniform(*np.log(scales))))
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    # From crop to image, x before y as OpenCV wants it.
    linear = np.array([[cosine, -sine * mirror], [sine, cosine * mirror]])
    offset = centre[::-1] - linear @ ((side - 1) / 2, (side - 1) / 2)
    matrix = np.column_stack([linear, offset])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    source, target, mask = (
        cv2.warpAffine(_low(plane, scale), matrix, (side, side), flags=flags, borderValue=0.0)
        for plane in (scene.source, scene.target, scene.mask)
    )
    valid = mask > 0.99
    if not plain:
        source = _recoloured(np.asarray(source, np.float32), rng)
    return np.where(valid, source, 0).astype(np.float32), target.astype(np.float32), valid


def _low(plane: Float32, scale: float) -> Float32:
    """What shrinks is smoothed first."""
    if scale >= 0.9:
        return plane
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), 0.5 * float(np.sqrt(1 / scale**2 - 1))), np.float32)


def _recoloured(source: Float32, rng: np.random.Generator) -> Float32:
    """Another gamma, gain and offset, blur or noise: one laboratory's images differ by as much."""
    low, high = -1.8, 1.8
    share = np.clip((source - low) / (high - low), 0, 1) ** np.float32(np.exp(rng.normal(0, _GAMMA)))
    made = low + (high - low) * share
    made = made * np.exp(rng.normal(0, 0.1)) + rng.normal(0, 0.1)
    if rng.random() < 0.3:
        made = cv2.GaussianBlur(made, (0, 0), float(rng.uniform(0.3, _BLUR)))
    return np.asarray(made + rng.normal(0, rng.uniform(0, _NOISE), made.shape), np.float32)


def batch(
    seen: Sequence[Scene],
    count: int,
    side: int,
    seed: int,
    step: int,
    *,
    plain: bool = False,
    scales: tuple[float, float] = SCALES,
) -> tuple[Float32, Float32, Float32]:
    """Crops of one step, each ``(count, 1, side, side)``; the same seed and step give the same.

    Larger scenes are cut more often.
    """
    rng = np.random.default_rng([seed, step])
    weights = np.array([float(scene.mask.sum()) for scene in seen])
    chosen = rng.choice(len(seen), count, p=weights / weights.sum())
    made = [crop(seen[number], side, rng, plain=plain, scales=scales) for number in chosen]
    source, target, mask = (np.stack([one[k] for one in made])[:, None].astype(np.float32) for k in range(3))
    return source, target, mask


class Cropped:
    """Batches of crops as a network takes them, step by step.

    Parameters
    ----------
    seen : sequence of Scene
        To cut from.
    count, side : int
        Crops in a batch and the side of a crop in pixels.
    seed : int
        The same seed and step give the same batch.
    device : torch.device
        Where they are used.
    plain : bool
        Only the place varies, as for what is held out.
    scales : (float, float)
        How many times larger or smaller pixels may be.
    """

    # What is held out is looked at by so many batches.
    LOOKED_AT = 20

    def __init__(
        self,
        seen: Sequence[Scene],
        count: int,
        side: int,
        seed: int,
        device: torch.device,
        *,
        plain: bool = False,
        scales: tuple[float, float] = SCALES,
    ) -> None:
        self._seen, self._count, self._side, self._seed = seen, count, side, seed
        self._device, self._plain, self._scales = device, plain, scales

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Source, target and valid pixels, each ``(count, 1, side, side)``."""
        made = batch(self._seen, self._count, self._side, self._seed, step, plain=self._plain, scales=self._scales)
        source, target, mask = (torch.as_tensor(part, device=self._device) for part in made)
        return source.contiguous(memory_format=torch.channels_last), target, mask

    @torch.no_grad()
    def uncorrelated(self, network: nn.Module, *, with_edges: bool = False) -> float:
        """By how much the correlation of predictions and targets falls short of 1; 1 where either is constant.

        Parameters
        ----------
        network : Module
            Predicts.
        with_edges : bool
            Whether the strengths of edges count as much as grey values.
        """
        made: list[tuple[Float32, Float32]] = []
        wanted: list[tuple[Float32, Float32]] = []
        for step in range(self.LOOKED_AT):
            source, target, mask = self(step)
            for rows, images in ((made, network(source)), (wanted, target)):
                rows += [_inside(*pair) for pair in zip(images.cpu().numpy(), mask.cpu().numpy(), strict=True)]
        short = [
            _short_of_one(*(np.concatenate([row[number] for row in rows]) for rows in (made, wanted)))
            for number in range(1 + with_edges)
        ]
        return float(np.mean(short))


def _inside(image: Float32, mask: Float32) -> tuple[Float32, Float32]:
    """Grey values at the valid pixels of a crop, and the strengths of edges where all pixels around are valid."""
    edges = np.hypot(*np.gradient(cv2.GaussianBlur(image[0], (0, 0), 1.0)))
    around = cv2.erode(mask[0], np.ones((7, 7), np.uint8), borderType=cv2.BORDER_REPLICATE) > 0
    return image[0][mask[0] > 0], edges[around]


def _short_of_one(one: Float32, other: Float32) -> float:
    return 1.0 if not one.size or min(np.ptp(one), np.ptp(other)) == 0 else 1 - float(np.corrcoef(one, other)[0, 1])
