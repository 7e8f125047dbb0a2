"""Random instruments: the same scene recorded in ever new ways.

An instrument has two parts. `colour` says how bright each structure is: for a drawing, a random grey per material (or
only one material stained, or the boundaries), for an image, a random smooth map of its local features. `record`
adds what optics and detectors do: blur, shading, charging, curtaining, scan lines, noise, saturation, a data bar.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from correlight.images.image import Float32, Mask
from correlight.learn.descriptor.scenes import Rng, Scene

Warp = Callable[[Float32], Float32]


def colour(rng: Rng, scene: Scene, warp: Warp) -> Float32:
    """How bright each place of a scene is for one instrument.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the instrument.
    scene : Scene
        What it looks at.
    warp : callable
        Cuts the field of view out of an array of the scene's shape.

    Returns
    -------
    array of float32
        Between 0 and 1.
    """
    if scene.materials is None:
        seen = _mapped(rng, warp(np.asarray(scene.pixels, np.float32)))
    else:
        seen = (_textured if rng.random() < 0.12 else _painted)(rng, scene, warp)
    if rng.random() < 0.08:
        seen = _relief(rng, seen)
    if rng.random() < 0.3:
        seen = seen * (1 - rng.uniform(0.6, 1.0) * _patches(rng, seen.shape))
    return _stretched(_blurred(seen, _optics(rng)))


def _optics(rng: Rng) -> float:
    """Width of the point-spread function in pixels: electrons are sharp, light often is not."""
    return 0.0 if rng.random() < 0.35 else float(np.exp(rng.uniform(np.log(0.5), np.log(3.5))))


def _painted(rng: Rng, scene: Scene, warp: Warp) -> Float32:
    assert scene.materials is not None
    names = scene.materials[:, 0].astype(int)
    count = int(names.max()) + 1
    style = rng.random()
    if style < 0.25:
        # As a real stain or detector would, with some freedom.
        table = scene.materials[:, 1 + rng.integers(3)] + rng.normal(0, 0.08, count)[names]
    elif style < 0.5:
        # A sparse label: one or two kinds of structure, the rest dark.
        bright = rng.random(count) < min(0.5, 1.5 / count)
        bright[rng.integers(count)] = True
        table = np.where(bright[names], rng.uniform(0.5, 1.0, count)[names], 0.1 * rng.random(count)[names])
    else:
        table = rng.random(count)[names]
    if rng.random() < 0.5:
        # No two cells or grains are equally bright.
        table = table + rng.normal(0, rng.uniform(0.02, 0.25), len(names))
    if rng.random() < 0.5:
        table = 1 - table
    painted = np.asarray(table, np.float32)[scene.pixels]
    seen = warp(painted)
    if rng.random() < 0.3:
        # Boundaries stained: membranes, grooves, cell walls.
        which = rng.random(len(names)).astype(np.float32)[scene.pixels]
        walls = _slope(warp(which), rng.uniform(0.6, 1.6))
        walls = np.minimum(walls / max(float(np.quantile(walls, 0.97)), 1e-6), 1)
        share = rng.uniform(0.3, 1.0)
        seen = (1 - share) * seen + share * (walls if rng.random() < 0.5 else -walls)
    if rng.random() < 0.5:
        amount = rng.uniform(0, 0.35, count).astype(np.float32)[names]
        seen = seen + warp(amount[scene.pixels]) * noise(rng, seen.shape, float(np.exp(rng.uniform(-0.7, 1.2))))
    return np.asarray(seen, np.float32)


def _textured(rng: Rng, scene: Scene, warp: Warp) -> Float32:
    """Structures told apart by their texture alone, all equally bright: by how coarse it is, and how strong."""
    assert scene.materials is not None
    names = scene.materials[:, 0].astype(int)
    shown = []
    for size in np.exp(rng.uniform(np.log([0.5, 1.5]), np.log([1.5, 6.0]))):
        strength = rng.random(int(names.max()) + 1).astype(np.float32) ** 2
        strong = warp(strength[names][scene.pixels])
        shown.append(strong * noise(rng, strong.shape, float(size)))
    return np.asarray(np.sum(shown, axis=0), np.float32)


def _relief(rng: Rng, seen: Float32) -> Float32:
    """Lit from one side, as differential interference contrast and detectors at an angle show thickness."""
    smooth = _blurred(seen, float(rng.uniform(0.5, 2.0)))
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.sin(angle) * cv2.Sobel(smooth, cv2.CV_32F, 0, 1) + np.cos(angle) * cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    return np.asarray(slope + rng.uniform(0, 0.3) * smooth, np.float32)


def _mapped(rng: Rng, grey: Float32) -> Float32:
    style = rng.random()
    base = _blurred(grey, float(rng.uniform(0, 3)) if rng.random() < 0.6 else 0.0)
    if style < 0.15:
        seen = base if rng.random() < 0.5 else 1 - base
    else:
        features = [_standard(base)]
        if style > 0.5:
            near, far = rng.uniform(0.7, 2), rng.uniform(2.5, 6)
            wide = _blurred(base, far)
            features += [
                _standard(_slope(base, near)),
                _standard(_blurred(base, near) - wide),
                _standard(np.sqrt(_blurred((base - wide) ** 2, far))),
            ]
        seen = _random_map(rng, np.stack(features))
    if rng.random() < 0.4:
        # A label: only what lies above a threshold shows.
        threshold = np.quantile(seen, rng.uniform(0.6, 0.95))
        seen = np.maximum(seen - threshold, 0) if rng.random() < 0.7 else (seen > threshold).astype(np.float32)
    return np.asarray(seen, np.float32)


def _random_map(rng: Rng, features: Float32) -> Float32:
    """A random smooth function of the features: a small network with random weights."""
    count, hidden = len(features), 6
    first = rng.normal(0, 1.4 / count**0.5, (hidden, count)).astype(np.float32)
    offset = rng.normal(0, 0.8, (hidden, 1, 1)).astype(np.float32)
    inner = np.tanh(np.tensordot(first, features, 1) + offset)
    return np.asarray(np.tanh(np.tensordot(rng.normal(0, 1.0, hidden).astype(np.float32), inner, 1)), np.float32)


def record(rng: Rng, seen: Float32) -> tuple[Float32, Mask]:
    """What a detector makes of a view: an image with its faults, and the mask of its valid pixels.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the faults.
    seen : (Y, X) array of float32
        Brightness, 0 to 1.

    Returns
    -------
    image : (Y, X) array of float32
        0 to 1; what lies outside the mask is filled with the median of the rest.
    mask : (Y, X) array of bool
        Valid pixels. A data bar or a rim is not always known as such.
    """
    height, width = seen.shape
    image = seen.astype(np.float32, copy=True)
    if rng.random() < 0.3:
        image = image ** np.float32(np.exp(rng.normal(0, 0.5)))
    if rng.random() < 0.35:
        slope = noise(rng, seen.shape, 60.0)
        image = image * (1 + rng.uniform(0.1, 0.5) * slope) + rng.uniform(0, 0.3) * noise(rng, seen.shape, 40.0)
    if rng.random() < 0.12:
        # Charging: bright or dark smears along the scan behind bright structures.
        smear = cv2.blur((image > np.quantile(image, 0.9)).astype(np.float32), (int(rng.integers(15, 60)), 1))
        image = image + rng.uniform(-0.5, 0.5) * smear
    if rng.random() < 0.10:
        # Curtaining: stripes of a milled face.
        stripes = noise(rng, (1, width), float(rng.uniform(0.7, 3)))
        image = image + rng.uniform(0.05, 0.25) * np.repeat(stripes, height, 0)
    if rng.random() < 0.15:
        image = image + rng.uniform(0.02, 0.12) * rng.standard_normal((height, 1)).astype(np.float32)
    if rng.random() < 0.10:
        image = _torn(rng, image)
    if rng.random() < 0.15:
        image = image + _dust(rng, seen.shape)
    image = image - min(0.0, float(image.min()))
    if rng.random() < 0.1:
        image = _few_counts(rng, image)
    elif rng.random() < 0.5:
        photons = float(np.exp(rng.uniform(np.log(3), np.log(200))))
        image = (rng.poisson(np.clip(image, 0, 3) * photons) / photons).astype(np.float32)
    spread = max(float(image.std()), 1e-3)
    image = image + rng.uniform(0, 0.5) * rng.random() * spread * noise(
        rng, seen.shape, 0.6 if rng.random() < 0.3 else 0
    )
    if rng.random() < 0.15:
        low, high = np.quantile(image, (rng.uniform(0, 0.2), rng.uniform(0.8, 1)))
        image = np.clip(image, low, max(float(high), float(low) + 1e-3))
    image = np.rint(255 * _stretched(image)).astype(np.float32) / np.float32(255)
    return _framed(rng, image) if rng.random() < 0.25 else (image, np.ones(image.shape, bool))


def _few_counts(rng: Rng, image: Float32) -> Float32:
    """A map of few counts above a background, as an element's X-rays give, denoised as it is before any search."""
    counts = float(np.exp(rng.uniform(np.log(0.05), np.log(2.0))))
    counted = rng.poisson(np.clip(image + rng.uniform(0, 0.5), 0, 3) * counts).astype(np.float32)
    # Pixels are made a third as wide as the blur that the counts require.
    return _stretched(_blurred(counted, float(rng.uniform(2.5, 3.5))))


def _framed(rng: Rng, image: Float32) -> tuple[Float32, Mask]:
    """A frame that holds no image: a data bar, a corner beyond the tilted field, or all but a round field."""
    height, width = image.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    kind = rng.integers(3)
    if kind == 0:
        valid = y < height * rng.uniform(0.82, 0.94)
    elif kind == 1:
        angle = rng.uniform(0, 2 * np.pi)
        along = (y - height / 2) * np.sin(angle) + (x - width / 2) * np.cos(angle)
        valid = along < rng.uniform(0.25, 0.5) * width
    else:
        valid = np.hypot(y - height / 2, x - width / 2) < rng.uniform(0.46, 0.6) * width
    filling = np.full(image.shape, rng.choice([0.0, 0.0, 1.0, 0.5]), np.float32)
    if kind == 0:
        letters = rng.random((max(1, height // 6), width // 5)) < 0.3
        filling = np.abs(filling - cv2.resize(letters.astype(np.float32), (width, height), interpolation=0))
    image = np.where(valid, image, filling)
    if rng.random() < 0.3:
        return image, np.ones(image.shape, bool)
    return np.where(valid, image, np.median(image[valid])).astype(np.float32), valid


def _torn(rng: Rng, image: Float32) -> Float32:
    """A crack or fold across the field."""
    side = max(image.shape)
    path = np.linspace(-0.1, 1.1, 30)[:, None] * np.array([[np.cos(a := rng.uniform(0, 6.3)), np.sin(a)]])
    path = path * side + np.cumsum(rng.normal(0, 3, (30, 2)), 0) + rng.uniform(-0.2, 0.5, 2) * side
    value = float(rng.choice([0.0, 1.2]))
    width = int(rng.integers(2, 14))
    return np.asarray(cv2.polylines(image.copy(), np.rint(path).astype(np.int32)[None], False, value, width))


def _dust(rng: Rng, shape: tuple[int, ...]) -> Float32:
    spots = np.zeros(shape, np.float32)
    for _ in range(rng.integers(1, 8)):
        place = (int(rng.integers(shape[1])), int(rng.integers(shape[0])))
        cv2.circle(spots, place, int(rng.integers(1, 8)), float(rng.normal(0, 0.6)), -1)
    return _blurred(spots, float(rng.uniform(0, 2)))


def noise(rng: Rng, shape: tuple[int, ...], sigma: float) -> Float32:
    """A random field of mean 0 and standard deviation 1, as smooth as a Gaussian of width ``sigma`` in pixels."""
    if sigma < 0.3:
        return rng.standard_normal(shape, dtype=np.float32)
    # Drawn on a coarser lattice where it is smooth.
    step = max(1.0, sigma / 1.5)
    coarse = tuple(int(np.ceil(n / step)) + 1 if n > 1 else 1 for n in shape)
    smooth = cv2.GaussianBlur(rng.standard_normal(coarse, dtype=np.float32), (0, 0), sigma / step)
    field = cv2.resize(smooth, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return _standard(np.asarray(field, np.float32).reshape(shape))


def _patches(rng: Rng, shape: tuple[int, ...]) -> Float32:
    """Where structures are missing: smooth patches between 0 and 1."""
    field = noise(rng, shape, float(rng.uniform(8, 40))) - rng.uniform(0.0, 1.0)
    return np.asarray(1 / (1 + np.exp(-6 * field)), np.float32)


def _blurred(values: Float32, sigma: float) -> Float32:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32) if sigma > 0.25 else values


def _slope(values: Float32, sigma: float) -> Float32:
    smooth = _blurred(values, sigma)
    return np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)).astype(np.float32)


def _standard(values: Float32) -> Float32:
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-6), np.float32)


def _stretched(values: Float32) -> Float32:
    """Between 0 and 1, the darkest and brightest half per cent cut off, as images are before they are compared."""
    low, high = np.percentile(values[::2, ::2], (0.5, 99.5))
    if high - low < 1e-6:
        low, high = float(values.min()), float(values.max())
    return np.asarray(np.clip((values - low) / max(float(high - low), 1e-6), 0, 1), np.float32)
