"""Structural similarity agrees with scikit-image, and with what its formula says."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity as reference

from benchmarks.structure import multiscale_similarity, structural_similarity
from correlight.errors import UsageError
from tests.phantoms import noise


def picture(seed: int, side: int = 200) -> np.ndarray:
    smooth = noise((side, side), seed, 2)
    return np.round(128 + 100 * smooth / np.abs(smooth).max()).astype(np.uint8)


@pytest.mark.parametrize("noise", [2.0, 30.0])
def test_one_scale_is_that_of_scikit_image(noise: float) -> None:
    one = picture(1)
    other = np.clip(one + np.random.default_rng(2).normal(0, noise, one.shape), 0, 255).astype(np.uint8)
    expected = reference(one, other, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    assert structural_similarity(one, other)[0] == pytest.approx(expected, abs=1e-9)


def test_five_scales_are_the_product_of_their_parts() -> None:
    one, other = picture(1), picture(2)
    other = (0.5 * one + 0.5 * other).astype(np.uint8)
    expected, a, b = 1.0, one.astype(float), other.astype(float)
    for number, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        whole, contrast = structural_similarity(a, b)
        expected *= (whole if number == 4 else contrast) ** exponent
        rows, columns = a.shape[0] // 2, a.shape[1] // 2
        if number < 3:
            a, b = (p.reshape(rows, 2, columns, 2).mean(axis=(1, 3)) for p in (a, b))
        else:
            from cv2 import INTER_AREA, resize

            a, b = (resize(p, (columns, rows), interpolation=INTER_AREA) for p in (a, b))
    assert multiscale_similarity(one, other) == pytest.approx(expected, abs=1e-9)


def test_equal_pictures_are_wholly_alike_and_noise_is_not() -> None:
    assert multiscale_similarity(picture(1), picture(1)) == 1.0
    assert multiscale_similarity(picture(1), picture(2)) < 0.2


@pytest.mark.parametrize("shape", [(200, 190), (3, 200, 200)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="one shape"):
        multiscale_similarity(picture(1), np.zeros(shape))


def test_too_small_pictures_are_refused() -> None:
    with pytest.raises(UsageError, match="176 x 176"):
        multiscale_similarity(np.zeros((175, 300)), np.zeros((175, 300)))
    with pytest.raises(UsageError, match="11 x 11"):
        structural_similarity(np.zeros((10, 300)), np.zeros((10, 300)))
