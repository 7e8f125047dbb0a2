"""Feature channels do not care about contrast, turn with the image, and know nothing of masked pixels."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from correlight.appearance.channels import Group, edges, shrunk
from correlight.images.image import Image
from correlight.images.plane import Plane
from tests import phantoms

SHAPE = (60, 76)
few = settings(max_examples=15)
SEEDS = st.integers(0, 10_000)
Turn = Callable[[np.ndarray], np.ndarray]
TURNS: dict[str, Turn] = {
    "not": lambda array: array,
    "90": lambda array: np.rot90(array, 1),
    "180": lambda array: np.rot90(array, 2),
    "270": lambda array: np.rot90(array, 3),
    "mirrored": lambda array: array[:, ::-1],
    "mirrored, 90": lambda array: np.rot90(array[:, ::-1], 1),
    "mirrored, 180": lambda array: np.rot90(array[:, ::-1], 2),
    "mirrored, 270": lambda array: np.rot90(array[:, ::-1], 3),
}


def texture(seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Smooth noise from 0 to 1, of which one minus the value is exact in float32."""
    return np.asarray(np.round(phantoms.texture(shape, seed, 2.0) * 4096) / 4096, np.float32)


def hole(seed: int) -> np.ndarray:
    """A mask without a rectangle of random place and size, and without the first rows."""
    rng = np.random.default_rng(seed)
    mask = np.ones(SHAPE, bool)
    top, left = rng.integers(10, 40), rng.integers(10, 50)
    mask[top : top + rng.integers(3, 16), left : left + rng.integers(3, 20)] = False
    mask[: rng.integers(0, 8)] = False
    return mask


def assert_same(ones: tuple[Group, ...], others: tuple[Group, ...], tolerance: float) -> None:
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        assert one.stride == other.stride
        assert np.abs(one.planes - other.planes).max() <= tolerance


def test_there_are_directions_and_strength() -> None:
    groups = edges(texture(0), np.ones(SHAPE, bool))
    assert [group.planes.shape for group in groups] == [(2, *SHAPE), (1, *SHAPE)]
    assert [group.stride for group in groups] == [1, 1]
    assert all(group.planes.dtype == np.float32 for group in groups)


@few
@given(seed=SEEDS)
def test_planes_have_zero_mean_and_unit_mean_energy_over_their_support(seed: int) -> None:
    mask = hole(seed)
    depth = ndimage.distance_transform_cdt(np.pad(mask, 1), "chessboard")[1:-1, 1:-1]
    for group in edges(texture(seed), mask):
        support = np.asarray(group.planes.any(axis=0))
        assert support[depth >= 6].all()
        assert not support[depth <= 2].any()
        assert group.energy == pytest.approx(np.sum(group.planes**2, axis=0))
        assert group.energy[support].mean() == pytest.approx(1, abs=1e-4)
        assert group.planes[:, support].mean(axis=1) == pytest.approx(0, abs=1e-5)


@few
@given(seed=SEEDS)
def test_bright_on_dark_equals_dark_on_bright(seed: int) -> None:
    values, mask = texture(seed), hole(seed)
    assert_same(edges(values, mask), edges(1 - values, mask), 5e-5)


@few
@given(seed=SEEDS, contrast=st.floats(-4, 4).filter(lambda factor: abs(factor) > 0.05), offset=st.floats(-1, 1))
def test_contrast_and_brightness_do_not_matter(seed: int, contrast: float, offset: float) -> None:
    values, mask = texture(seed), hole(seed)
    changed = np.float32(contrast) * values + np.float32(offset)
    # An offset costs up to five bits of the values of a faint image, whose slopes are some hundredths of its range.
    assert_same(edges(values, mask), edges(changed, mask), 1e-3)


@few
@given(seed=SEEDS)
def test_masked_pixels_of_an_image_do_not_matter(seed: int) -> None:
    values, mask = texture(seed), hole(seed)
    other = np.where(mask, values, np.random.default_rng(seed).normal(0, 100, SHAPE)).astype(np.float32)
    planes = [Plane.of(Image.from_array(pixels, mask=mask), 0) for pixels in (values, other)]
    one, two = (edges(plane.values, plane.mask) for plane in planes)
    assert_same(one, two, 0)


@few
@given(seed=SEEDS)
def test_the_edge_of_a_mask_is_no_edge(seed: int) -> None:
    values, mask = texture(seed), hole(seed)
    rng = np.random.default_rng(seed)
    for fill in (0.0, 1.0, rng.random(SHAPE)):
        other = np.where(mask, values, fill).astype(np.float32)
        # The outermost weight of the smoothing, 4e-4, may reach over the edge of the mask; a full edge would show as 1.
        assert_same(edges(values, mask), edges(other, mask), 0.02)


@pytest.mark.parametrize("degrees", [0, 20, 45, 75, 90, 130])
def test_directions_are_those_of_the_structure(degrees: float) -> None:
    """Waves that run in a known direction: the planes hold the cosine and sine of twice its angle."""
    wave = np.deg2rad(degrees)
    rows, columns = np.indices((81, 81)) - 40
    patch = 1.0 * (np.hypot(rows, columns) < 18)
    sine = 0.5 + 0.5 * np.sin(0.8 * (columns * np.cos(wave) + rows * np.sin(wave))) * patch
    (directions, *_) = edges(sine.astype(np.float32), np.ones(sine.shape, bool))
    cosine, sine_of_it = directions.planes[:, 30:51, 30:51].mean(axis=(1, 2))
    apart = np.arctan2(sine_of_it, cosine) - 2 * wave
    assert np.rad2deg(np.abs((apart + np.pi) % (2 * np.pi) - np.pi)) <= 2


@pytest.mark.parametrize("stride", [2, 4])
def test_planes_of_a_shrunk_image_lie_where_their_stride_says(stride: int) -> None:
    """A spot on pixel (stride * i, stride * j) shows on pixel (i, j), and masked pixels have no say."""
    values, mask = np.zeros((192, 256), np.float32), np.ones((192, 256), bool)
    row, column = 20 * stride, 15 * stride
    cv2.circle(values, (column, row), 2 * stride, 1.0, -1)
    values = np.asarray(cv2.GaussianBlur(values, (0, 0), 0.5 * stride), np.float32)
    (*_, strength) = shrunk(edges, stride)(values, mask)
    assert strength.stride == stride
    assert strength.planes.shape[1:] == (192 // stride, 256 // stride)
    weight = np.where(strength.planes[0] > 0.5 * strength.planes[0].max(), 1.0, 0.0)
    centre = [np.average(index, weights=weight) for index in np.indices(weight.shape)]
    assert centre == pytest.approx([20, 15], abs=0.1)
    mask[:, 200:] = False
    changed = np.where(mask, values, 5.0).astype(np.float32)
    for one, other in zip(shrunk(edges, stride)(values, mask), shrunk(edges, stride)(changed, mask), strict=True):
        assert np.array_equal(one.planes, other.planes)
        assert np.array_equal(one.support, other.support)


@pytest.mark.parametrize("mask", [np.ones(SHAPE, bool), np.zeros(SHAPE, bool)], ids=["constant", "nothing valid"])
def test_a_blank_plane_has_no_features(mask: np.ndarray) -> None:
    for group in edges(np.full(SHAPE, 0.5, np.float32), mask):
        assert np.array_equal(group.planes, np.zeros_like(group.planes))
