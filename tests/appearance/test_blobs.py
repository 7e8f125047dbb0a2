"""The scale of what an image shows."""

import numpy as np
import pytest

from correlight.appearance.blobs import blob_scale, laplacian
from correlight.errors import UsageError


def spots(radius: float, dark: bool = False, noise: float = 0.02) -> np.ndarray:
    """Gaussian spots of one size on a lattice."""
    y, x = np.indices((200, 220), float)
    picture = np.zeros((200, 220))
    for row in range(20, 190, 40):
        for column in range(20, 210, 40):
            picture += np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * radius**2))
    picture = 1 - picture if dark else picture
    return (picture + np.random.default_rng(0).normal(0, noise, picture.shape)).astype(np.float32)


@pytest.mark.parametrize("radius", [2.0, 4.0, 6.0])
def test_the_scale_of_gaussian_spots_is_their_own(radius: float) -> None:
    """The normalised Laplacian of a Gaussian spot is largest at its own standard deviation; scales step by 19 %."""
    found = blob_scale(spots(radius))
    assert radius / 1.2 <= found.sigma <= 1.2 * radius
    assert found.counts.max() >= 20


def test_dark_spots_are_counted_on_their_own() -> None:
    dark = spots(4.0, dark=True)
    assert blob_scale(dark, dark=True).counts.max() >= 20
    assert abs(np.log2(blob_scale(dark, dark=True).sigma / 4.0)) < 0.3


def test_an_image_without_blobs_gives_the_middle_scale() -> None:
    found = blob_scale(np.zeros((64, 64), np.float32))
    assert not found.counts.any()
    assert found.sigma == found.sigmas[len(found.sigmas) // 2]


def test_the_laplacian_of_a_gaussian_is_known() -> None:
    """At the centre of a spot of unit height smoothed by its own deviation, times that squared: minus one half."""
    middle = spots(4.0, noise=0.0)[20, 20]
    assert middle == pytest.approx(1.0, abs=1e-6)
    assert laplacian(spots(4.0, noise=0.0), 4.0)[20, 20] == pytest.approx(-0.5, abs=0.01)


def test_too_few_scales_are_refused() -> None:
    with pytest.raises(UsageError, match="at least three"):
        blob_scale(np.zeros((64, 64), np.float32), sigmas=(1.0, 2.0))
