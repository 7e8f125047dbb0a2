"""Noise is smoothed away where it drowns the image, and nowhere else."""

import numpy as np
from scipy import ndimage

from correlight.appearance.noise import calmed
from correlight.geometry import Grid
from correlight.plane import Plane, stretched

SHAPE = (300, 320)


def structure(coarse: float) -> np.ndarray:
    rng = np.random.default_rng(2)
    texture = ndimage.gaussian_filter(rng.standard_normal(SHAPE), coarse)
    return (texture - texture.min()) / np.ptp(texture)


def plane(values: np.ndarray, mask: np.ndarray | None = None, spacing: float = 1.0) -> Plane:
    mask = np.ones(values.shape, bool) if mask is None else mask
    values = values.astype(np.float32)
    return Plane(stretched(values, mask), mask, Grid.of(values.shape, (spacing, spacing)))


def counts(quanta: float, coarse: float = 10.0) -> np.ndarray:
    """A map of so few quanta per bright pixel that single pixels say next to nothing."""
    return np.random.default_rng(3).poisson(quanta * structure(coarse)).astype(float)


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_a_clean_image_stays_as_it_is() -> None:
    clean = plane(structure(2.0))
    assert calmed(clean) is clean


def test_a_little_noise_on_fine_structure_stays() -> None:
    """Smoothing would take more from the structure than from the noise."""
    noisy = plane(structure(1.5) + 0.05 * np.random.default_rng(4).standard_normal(SHAPE))
    assert calmed(noisy) is noisy


def test_counts_become_what_they_are_a_map_of() -> None:
    few = plane(counts(0.3))
    calm = calmed(few)
    assert likeness(few.values, structure(10.0)) < 0.35
    assert likeness(calm.values, structure(10.0)) > 0.85
    assert calm.grid == few.grid
    assert calm.values.min() == 0
    assert calm.values.max() == 1


def test_fewer_quanta_are_smoothed_further() -> None:
    """What the many quanta need would leave the few unlike their structure."""
    truth = structure(10.0)
    few, many = counts(0.1), counts(3.0)
    slightly = likeness(ndimage.gaussian_filter(few, 3.0), truth)
    assert likeness(calmed(plane(few)).values, truth) > slightly + 0.1
    assert likeness(calmed(plane(many)).values, truth) > 0.97


def test_invalid_pixels_have_no_say() -> None:
    mask = np.ones(SHAPE, bool)
    mask[:, :80] = False
    values = counts(0.3)
    other = values.copy()
    other[:, :80] = 7
    a, b = (calmed(plane(one, mask)) for one in (values, other))
    np.testing.assert_allclose(a.values[mask], b.values[mask], atol=1e-5)


def test_the_pixel_size_does_not_matter() -> None:
    values = counts(0.3)
    np.testing.assert_array_equal(calmed(plane(values)).values, calmed(plane(values, spacing=0.007)).values)


def test_oblong_pixels_are_smoothed_alike_in_micrometres() -> None:
    """Every second column left out, a large image is smoothed as far along one side as along the other."""
    truth = np.kron(structure(6.0), np.ones((4, 4)))
    few = np.random.default_rng(3).poisson(0.1 * truth).astype(float)
    mask = np.ones((few.shape[0], few.shape[1] // 2), bool)
    oblong = Plane(stretched(few[:, ::2].astype(np.float32), mask), mask, Grid.of(mask.shape, (1.0, 2.0)))
    calm = calmed(oblong)
    assert calm.grid == oblong.grid
    across, down = (np.abs(np.diff(calm.values, axis=axis)).mean() for axis in (1, 0))
    assert 1.5 < across / down < 2.6
    assert likeness(calm.values, truth[:, ::2]) > 0.8
