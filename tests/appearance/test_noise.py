"""Noise is smoothed away where it drowns the image, and nowhere else."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from correlight.appearance.noise import denoised
from correlight.geometry import Grid
from correlight.images.plane import Plane, stretched
from tests.phantoms import texture

SHAPE = (300, 320)


def structure(coarse: float) -> np.ndarray:
    return texture(SHAPE, 2, coarse)


def plane(values: np.ndarray, mask: np.ndarray | None = None, spacing: float = 1.0) -> Plane:
    mask = np.ones(values.shape, bool) if mask is None else mask
    values = values.astype(np.float32)
    return Plane(stretched(values, mask), mask, Grid.of(values.shape, (spacing, spacing)))


def counts(quanta: float, coarse: float = 10.0) -> np.ndarray:
    """A map of so few quanta per bright pixel that single pixels say next to nothing."""
    return np.random.default_rng(3).poisson(quanta * structure(coarse)).astype(float)


def likeness(a: np.ndarray, truth: np.ndarray) -> float:
    """Correlation of an image, whatever its pixels, with what it shows."""
    shown = cv2.resize(truth.astype(np.float32), a.shape[::-1], interpolation=cv2.INTER_AREA)
    return float(np.corrcoef(a.ravel(), shown.ravel())[0, 1])


def test_a_clean_image_stays_as_it_is() -> None:
    clean = plane(structure(2.0))
    assert denoised(clean) is clean


def test_a_little_noise_on_fine_structure_stays() -> None:
    """Smoothing would take more from the structure than from the noise."""
    noisy = plane(structure(1.5) + 0.05 * np.random.default_rng(4).standard_normal(SHAPE))
    assert denoised(noisy) is noisy


def test_counts_become_what_they_are_a_map_of() -> None:
    few = plane(counts(0.3))
    smooth = denoised(few)
    assert likeness(few.values, structure(10.0)) < 0.35
    assert likeness(smooth.values, structure(10.0)) > 0.85
    assert smooth.values.min() >= 0
    assert smooth.values.max() <= 1
    assert np.ptp(smooth.values) > 0.9


def test_a_smoothed_image_has_no_finer_pixels_than_it_has_structure() -> None:
    """Fewer quanta leave fewer pixels, over the same field; a clean image keeps all of its own."""
    few, fewer = (plane(counts(quanta)) for quanta in (1.0, 0.05))
    assert np.prod(SHAPE) >= denoised(few).values.size > denoised(fewer).values.size
    for smooth in (denoised(few), denoised(fewer)):
        np.testing.assert_allclose(smooth.grid.extent, few.grid.extent)
        np.testing.assert_allclose(smooth.grid.centre, few.grid.centre)


def test_fewer_quanta_are_smoothed_further() -> None:
    """What the many quanta need would leave the few unlike their structure."""
    truth = structure(10.0)
    few, many = counts(0.1), counts(3.0)
    slightly = likeness(ndimage.gaussian_filter(few, 3.0), truth)
    assert likeness(denoised(plane(few)).values, truth) > slightly + 0.1
    assert likeness(denoised(plane(many)).values, truth) > 0.97


def test_invalid_pixels_have_no_say() -> None:
    mask = np.ones(SHAPE, bool)
    mask[:, :80] = False
    values = counts(0.3)
    other = values.copy()
    other[:, :80] = 7
    a, b = (denoised(plane(one, mask)) for one in (values, other))
    np.testing.assert_array_equal(a.mask, b.mask)
    np.testing.assert_allclose(a.values[a.mask], b.values[b.mask], atol=1e-5)


def test_the_pixel_size_does_not_matter() -> None:
    # No side is to end on half a pixel, which rounding may take either way.
    values = counts(0.3)[:290]
    np.testing.assert_allclose(denoised(plane(values)).values, denoised(plane(values, spacing=0.007)).values, atol=1e-5)


def test_oblong_pixels_are_smoothed_alike_in_micrometres() -> None:
    """Every second column left out, a large image is smoothed as far along one side as along the other."""
    truth = np.kron(structure(6.0), np.ones((4, 4)))
    few = np.random.default_rng(3).poisson(0.1 * truth).astype(float)
    mask = np.ones((few.shape[0], few.shape[1] // 2), bool)
    oblong = Plane(stretched(few[:, ::2].astype(np.float32), mask), mask, Grid.of(mask.shape, (1.0, 2.0)))
    smooth = denoised(oblong)
    assert smooth.grid.spacing[0] == pytest.approx(smooth.grid.spacing[1], rel=0.02)
    across, down = (np.abs(np.diff(smooth.values, axis=axis)).mean() for axis in (1, 0))
    assert 0.75 < across / down < 1.3
    assert likeness(smooth.values, truth[:, ::2]) > 0.8
