"""The task that the network learns: the search itself.

A batch holds several specimens, each seen twice. The first view is searched; from the second only the middle counts
as template. Beside the right template lies one of the same view wrongly turned, mirrored or scaled. Among all shifts
of all templates, the right one must win.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from correlight.appearance.descriptor import STRIDE, prepared
from correlight.images.image import Float32
from correlight.learn.descriptor.modality import Warp, colour, noise, record
from correlight.learn.descriptor.scenes import Rng, Scene

Matrix = NDArray[np.float64]

# Sides in pixels: of the field that both views lie in, of the searched view, of the other view, of its middle.
FIELD, SEARCHED, VIEW, TEMPLATE = 288, 192, 144, 96
# What the poses of a coarse search leave over: degrees, and fractions of the scale and of the angle between the axes.
_ROTATION, _SCALE, _SHEAR = 4.5, 0.06, 0.03
_LEAST_ENERGY = 0.3


@dataclass(frozen=True, eq=False)
class Batch:
    """Several specimens, each seen twice.

    Parameters
    ----------
    searched : (N, 2, 192, 192) array of float32
        First views as the network takes them.
    views : (2, N, 2, 144, 144) array of float32
        Second views, right and wrong ones.
    shifts : (N, 2) array of float
        Where the corner of the right template lies in the features of the first view.
    """

    searched: Float32
    views: Float32
    shifts: NDArray[np.float64]


def batch(scenes: Sequence[Scene], size: int, seed: int, step: int) -> Batch:
    """The batch of a step: the same seed and step give the same one, whoever makes it."""
    rng = np.random.default_rng([seed, 61, step])
    # Scenes of one name show the same thing, which would make a right answer wrong.
    drawn = (scenes[index] for index in rng.choice(len(scenes), 4 * size))
    chosen = list({scene.name: scene for scene in drawn}.values())[:size]
    examples = [_example(rng, scene, chosen[number - 1]) for number, scene in enumerate(chosen)]
    searched, right, wrong, shifts = zip(*examples, strict=True)
    return Batch(np.stack(searched), np.stack([np.stack(right), np.stack(wrong)]), np.array(shifts))


def _example(rng: Rng, scene: Scene, other: Scene) -> tuple[Float32, Float32, Float32, NDArray[np.float64]]:
    field = _field(rng, scene)
    first, second = (colour(rng, scene, field) for _ in range(2))
    if rng.random() < 0.2:
        # Something that only one instrument shows, such as what lies below the section.
        amount = np.float32(rng.uniform(0.2, 0.5))
        second = (1 - amount) * second + amount * colour(rng, other, _field(rng, other))
    margin = (FIELD - SEARCHED) // 2
    room = (SEARCHED - TEMPLATE) / 2 - STRIDE
    offset = rng.uniform(-room, room, 2)
    middle = (FIELD - 1) / 2 + offset
    bend = _bend(rng)
    right = _motion(rng.uniform(-_ROTATION, _ROTATION), np.exp(rng.uniform(-_SCALE, _SCALE)), rng)
    views = [_view(second, middle, right, bend), _view(second, middle, _wrong(rng) @ right, bend)]
    searched = first[margin : margin + SEARCHED, margin : margin + SEARCHED]
    # The middle of the template lies at `offset` from the middle of the searched view.
    shift = (offset + (SEARCHED - TEMPLATE) / 2) / STRIDE
    return prepared(*record(rng, searched)), *(prepared(*record(rng, view)) for view in views), shift  # type: ignore[return-value]


def _field(rng: Rng, scene: Scene) -> Warp:
    """A random part of a scene, turned, mirrored and scaled at random."""
    shape = np.array(scene.pixels.shape, float)
    largest = min(2.2, float(shape.min()) / FIELD)
    step = float(np.exp(rng.uniform(np.log(min(0.85, largest)), np.log(largest))))
    angle = rng.uniform(0, 2 * np.pi)
    linear = step * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if rng.random() < 0.5:
        linear = linear @ np.diag([1.0, -1.0])
    room = np.maximum(0, shape - step * FIELD) / 2
    middle = (shape - 1) / 2 + rng.uniform(-room, room)
    matrix = _about(linear, middle, (FIELD - 1) / 2)

    def cut(values: Float32) -> Float32:
        if step > 1.25:
            values = np.asarray(cv2.GaussianBlur(values, (0, 0), 0.45 * step), np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(values, matrix, (FIELD, FIELD), flags=flags, borderMode=cv2.BORDER_REFLECT_101), np.float32
        )

    return cut


def _about(linear_xy: Matrix, to: Matrix, middle: float) -> Matrix:
    """``(2, 3)``, (x, y): the map with a linear part that takes the middle of a view to a place given as (y, x)."""
    return np.column_stack([linear_xy, to[::-1] - linear_xy @ np.array([middle, middle])])


def _motion(degrees: float, scale: float, rng: Rng) -> Matrix:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * turn @ (np.eye(2) + rng.normal(0, _SHEAR / 2, (2, 2)))


def _wrong(rng: Rng) -> Matrix:
    kind = rng.integers(3)
    if kind == 0:
        return _motion(rng.uniform(20, 340), 1.0, rng)
    if kind == 1:
        return np.diag([1.0, -1.0]) @ _motion(rng.uniform(0, 360), 1.0, rng)
    return _motion(0.0, float(rng.choice([rng.uniform(0.6, 0.8), rng.uniform(1.25, 1.6)])), rng)


def _bend(rng: Rng) -> Float32:
    """A smooth displacement of up to a few pixels, shape ``(2, 144, 144)``; the shorter its waves, the less."""
    size = 20.0 if rng.random() < 0.7 else float(rng.uniform(10, 40))
    amount = np.float32(rng.uniform(0, 0.075 * size))
    return amount * np.stack([noise(rng, (VIEW, VIEW), size) for _ in range(2)])


def _view(seen: Float32, middle: Matrix, linear_xy: Matrix, bend: Float32) -> Float32:
    matrix = _about(linear_xy, middle, (VIEW - 1) / 2)
    y, x = np.mgrid[:VIEW, :VIEW]
    places = np.tensordot(matrix, np.stack([x, y, np.ones_like(x)]), 1).astype(np.float32) + bend
    return np.asarray(
        cv2.remap(seen, places[0], places[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), np.float32
    )


def scores(searched: Tensor, templates: Tensor) -> Tensor:
    """Normalised correlation of every template with every searched view at every shift.

    Parameters
    ----------
    searched : (N, C, Y, X) tensor
        Features.
    templates : (M, C, y, x) tensor
        Features of smaller pieces.

    Returns
    -------
    (N, M, Y - y + 1, X - x + 1) tensor
        Correlation coefficients over the template, with a floor for the energy of empty places.
    """
    shape = searched.shape[-2:]
    searched = searched - searched.mean(dim=(2, 3), keepdim=True)
    templates = templates - templates.mean(dim=(2, 3), keepdim=True)
    spectra = torch.fft.rfft2(searched)
    products = torch.einsum("nchw,mchw->nmhw", spectra, torch.fft.rfft2(templates, s=shape).conj())
    rows, columns = (n - m + 1 for n, m in zip(shape, templates.shape[-2:], strict=True))
    raw = torch.fft.irfft2(products, s=shape)[..., :rows, :columns]
    energy = (searched * searched).sum(dim=1)
    total = energy.cumsum(1).cumsum(2)
    total = torch.nn.functional.pad(total, (1, 0, 1, 0))
    high, wide = templates.shape[-2:]
    local = total[:, high:, wide:] - total[:, :-high, wide:] - total[:, high:, :-wide] + total[:, :-high, :-wide]
    floor = _LEAST_ENERGY * energy.mean(dim=(1, 2), keepdim=True) * (high * wide)
    own = (templates * templates).sum(dim=(1, 2, 3))
    width = torch.sqrt((local.maximum(floor) + 1e-6)[:, None] * (own + 1e-6)[None, :, None, None])
    return torch.div(raw, width)


def unlikeness(features: Tensor, wanted: Tensor) -> Tensor:
    """1 minus the correlation of two networks' features of the same images; 0 where all scores by them are the same.

    Parameters
    ----------
    features, wanted : (N, C, Y, X) tensors
        Plane by plane.
    """
    own, other = ((one - one.mean(dim=(2, 3), keepdim=True)).flatten(1) for one in (features, wanted))
    return 1 - torch.cosine_similarity(own, other).mean()


def loss(maps: Tensor, shifts: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """Minus the log of the probability that the right shift of the right template wins, and how often it does.

    Parameters
    ----------
    maps : (N, M, Y, X) tensor
        Scores; template ``n`` is the right one for view ``n``.
    shifts : (N, 2) tensor
        Where.
    temperature : tensor
        Inverse width of a score.
    """
    count = maps.shape[0]
    rows, columns = maps.shape[-2:]
    logits = (temperature * maps).reshape(count, -1)
    y = torch.arange(rows, device=maps.device)
    x = torch.arange(columns, device=maps.device)
    near = ((y[None, :, None] - shifts[:, 0, None, None]).abs() < 1.5) & (
        (x[None, None, :] - shifts[:, 1, None, None]).abs() < 1.5
    )
    right = torch.zeros_like(maps, dtype=torch.bool)
    right[torch.arange(count), torch.arange(count)] = near
    right = right.reshape(count, -1)
    there = torch.logsumexp(logits.masked_fill(~right, -torch.inf), dim=1)
    won = right.gather(1, logits.argmax(dim=1, keepdim=True)).float().mean()
    return (torch.logsumexp(logits, dim=1) - there).mean(), won
