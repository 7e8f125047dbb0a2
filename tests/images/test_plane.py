"""Planes keep every pixel where it lies, and masked pixels never enter a value."""

from collections.abc import Sequence
from dataclasses import replace
from weakref import ref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlight.appearance.channels import edges
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.plane import Plane

SEEDS = st.integers(0, 10_000)


def ramp(shape: tuple[int, int], spacing: Sequence[float], origin: Sequence[float]) -> Plane:
    """A plane whose value at every position is 0.002 y + 0.001 x."""
    grid = Grid.of(shape, spacing, origin, "micrometre")
    values = (grid.lattice_of_pixels() @ [0.002, 0.001]).reshape(shape)
    return Plane(values.astype(np.float32), np.ones(shape, bool), grid)


def scattered(seed: int, shape: tuple[int, int] = (40, 52), share: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Random grey values and a random mask in which about the given share of pixels is valid."""
    rng = np.random.default_rng(seed)
    return rng.random(shape).astype(np.float32), rng.random(shape) < share


def test_grey_values_are_stretched_between_the_percentiles() -> None:
    pixels = np.random.default_rng(0).permutation(10_000).reshape(100, 100)
    pixels[0, 0] = 2**30
    plane = Plane.of(Image.from_array(pixels, spacing=0.5), 0)
    low, high = np.percentile(pixels, (0.5, 99.5))
    assert plane.values.dtype == np.float32
    assert plane.values == pytest.approx(np.clip((pixels - low) / (high - low), 0, 1), abs=1e-6)
    assert plane.grid == Grid.of((100, 100), 0.5, unit="micrometre")
    assert plane.mask.all()


def test_a_picture_in_colours_is_the_mean_of_its_colours() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 30, 40)).astype(np.uint8)
    plane = Plane.of(Image.from_array(pixels, rgb=True), None)
    mean = pixels.mean(axis=0)
    low, high = np.percentile(mean, (0.5, 99.5))
    assert plane.values == pytest.approx(np.clip((mean - low) / (high - low), 0, 1), abs=1e-5)


def test_sparse_bright_pixels_survive_the_stretch() -> None:
    pixels = np.zeros((100, 100), np.uint16)
    pixels[[10, 60], [20, 70]] = (500, 1000)
    plane = Plane.of(Image.from_array(pixels), 0)
    assert plane.values[[0, 10, 60], [0, 20, 70]] == pytest.approx([0.0, 0.5, 1.0])


@pytest.mark.parametrize("mask", [None, np.zeros((40, 40), bool)], ids=["constant", "nothing valid"])
def test_a_blank_picture_gives_a_constant_plane(mask: np.ndarray | None) -> None:
    plane = Plane.of(Image.from_array(np.full((40, 40), 7, np.uint8), mask=mask), 0)
    assert np.ptp(plane.values) == 0
    assert np.isfinite(plane.values).all()
    assert np.array_equal(plane.mask, np.full((40, 40), mask is None))


def test_what_is_not_finite_is_not_valid() -> None:
    pixels = np.random.default_rng(0).random((40, 40)).astype(np.float32)
    pixels[3, 4:9], pixels[20, 5] = np.nan, np.inf
    plane = Plane.of(Image.from_array(pixels), 0)
    assert np.array_equal(plane.mask, np.isfinite(pixels))
    assert np.isfinite(plane.values).all()


@given(seed=SEEDS)
def test_masked_pixels_never_enter_a_value(seed: int) -> None:
    pixels, mask = scattered(seed)
    other = np.where(mask, pixels, np.random.default_rng(seed + 1).normal(0, 1e6, mask.shape).astype(np.float32))
    one, two = (Plane.of(Image.from_array(values, mask=mask), 0) for values in (pixels, other))
    assert np.array_equal(one.values, two.values)
    assert np.array_equal(one.shrunk(2.5).values, two.shrunk(2.5).values)


@given(seed=SEEDS, shape=st.tuples(st.integers(5, 40), st.integers(5, 52)))
def test_masked_pixels_never_enter_a_resized_value(seed: int, shape: tuple[int, int]) -> None:
    values, mask = scattered(seed)
    other = np.where(mask, values, np.float32(1) - values)
    grid = Grid.of(mask.shape)
    one, two = (Plane(pixels, mask, grid).resized(shape) for pixels in (values, other))
    assert np.array_equal(one.mask, two.mask)
    assert np.array_equal(one.values[one.mask], two.values[two.mask])


def test_shrinking_by_a_whole_number_is_the_mean_of_the_valid_pixels() -> None:
    values, mask = scattered(0, (40, 52))
    small = Plane(values, mask, Grid.of(mask.shape)).resized((10, 13))
    share = mask.reshape(10, 4, 13, 4).mean(axis=(1, 3))
    mean = (values * mask).reshape(10, 4, 13, 4).mean(axis=(1, 3)) / share
    assert np.array_equal(small.mask, share >= 0.75)
    assert 0 < np.count_nonzero(small.mask) < small.mask.size
    assert small.values[small.mask] == pytest.approx(mean[small.mask], abs=1e-6)
    assert small.values[~small.mask] == pytest.approx(np.median(mean[small.mask]), abs=1e-6)


@pytest.mark.parametrize("shape", [(20, 30), (17, 23), (40, 23), (7, 60)])
@pytest.mark.parametrize("masked", [False, True])
def test_resizing_keeps_positions(shape: tuple[int, int], masked: bool) -> None:
    plane = ramp((40, 60), (0.5, 0.25), (10.0, -3.0))
    if masked:
        plane = Plane(plane.values, np.arange(40)[:, None] < np.full(60, 20), plane.grid)
    small = plane.resized(shape)
    assert small.grid == plane.grid.resized(shape)
    assert small.grid.extent == pytest.approx(plane.grid.extent)
    full = small.mask.copy()
    if masked:
        # Where a new pixel is valid in part, the mean is that of this part, not of the whole pixel.
        full &= (np.arange(shape[0])[:, None] + 1) * 40 / shape[0] <= 20
    # The mean of a linear function over a pixel is its value at the centre, as the grid says where that is. Averaging
    # takes a split old pixel for constant, which at each edge costs slope * old**2 / 8 of the integral at most.
    expected = (small.grid.lattice_of_pixels() @ [0.002, 0.001]).reshape(shape)
    split = [own**2 / (8 * new) for own, new in zip(plane.grid.spacing, small.grid.spacing, strict=True)]
    whole = shape == (20, 30)
    tolerance = 1e-6 if whole else 1e-6 + float(np.dot([0.002, 0.001], split))
    assert np.count_nonzero(full) > 0.3 * full.size
    assert small.values[full] == pytest.approx(expected[full], abs=tolerance)


def test_a_spot_stays_where_it_is() -> None:
    grid = Grid.of((90, 120), (0.2, 0.3), (5.0, 7.0), "micrometre")
    place = np.array([13.1, 29.4])
    distance = np.linalg.norm(grid.lattice_of_pixels() - place, axis=1).reshape(grid.shape)
    small = Plane(np.exp(-((distance / 2.0) ** 2)).astype(np.float32), np.ones(grid.shape, bool), grid).shrunk(0.7)
    weights = small.values.ravel() / small.values.sum()
    # Averaging does not move the centre of mass, except where it splits a pixel: to a two-hundredth of one.
    assert weights @ small.grid.lattice_of_pixels() == pytest.approx(place, abs=1e-3)


@given(spacing=st.floats(0.05, 10.0))
def test_shrinking_gives_about_the_spacing_asked_for_and_is_never_finer(spacing: float) -> None:
    plane = ramp((64, 100), (0.2, 0.3), (1.0, 2.0))
    small = plane.shrunk(spacing)
    for got, own, count, field in zip(
        small.grid.spacing, plane.grid.spacing, small.grid.shape, (12.8, 30.0), strict=True
    ):
        assert got >= own * (1 - 1e-12)
        assert abs(field / max(spacing, own) - count) <= 0.5 or count == 1
    assert small.grid.extent == pytest.approx(plane.grid.extent)


@pytest.mark.parametrize("shape", [(100, 150), (100, 30), (20, 150)])
def test_an_enlarged_plane_shows_the_same_places(shape: tuple[int, int]) -> None:
    plane = ramp((40, 60), (0.5, 0.25), (3.0, 1.0))
    made = plane.resized(shape)
    expected = ramp(shape, made.grid.spacing, made.grid.origin).values
    # Within a tenth of a pixel, which is a step of 0.001 or less: cubics of OpenCV ripple a little on a slope.
    np.testing.assert_allclose(made.values[5:-5, 5:-5], expected[5:-5, 5:-5], atol=1e-4)
    assert made.mask.all()
    assert made.grid.extent == pytest.approx(plane.grid.extent)


def test_invalid_pixels_stay_invalid_when_pixels_are_divided() -> None:
    plane = ramp((40, 60), (1.0, 1.0), (0.0, 0.0))
    mask = plane.mask.copy()
    mask[:, :20] = False
    made = replace(plane, mask=mask).at(1 / 3)
    assert made.grid.shape == (120, 180)
    np.testing.assert_array_equal(made.mask, np.kron(mask, np.ones((3, 3), bool)))


@given(seed=SEEDS)
def test_invalid_pixels_do_not_enter_a_value_when_pixels_are_divided(seed: int) -> None:
    values, mask = scattered(seed)
    other = np.where(mask, values, np.float32(1) - values)
    one, two = (Plane(grey, mask, Grid.of(mask.shape)).at(0.4) for grey in (values, other))
    np.testing.assert_array_equal(one.values[one.mask], two.values[two.mask])


def test_a_plane_of_the_asked_shape_is_not_touched() -> None:
    plane = ramp((40, 60), (0.5, 0.25), (0.0, 0.0))
    assert plane.resized((40, 60)) is plane
    assert plane.shrunk(0.1) is plane


def test_a_plane_is_made_once_as_long_as_it_is_in_use_and_no_longer_kept() -> None:
    plane = ramp((40, 52), (0.5, 0.5), (0.0, 0.0))
    small = plane.resized((20, 26))
    assert plane.resized((20, 26)) is small
    assert plane.resized((20, 25)) is not small
    kept = ref(small)
    del small
    assert kept() is None
    assert plane.resized((20, 26)).grid.shape == (20, 26)


def test_area_counts_valid_pixels_only() -> None:
    grid = Grid.of((10, 20), (0.5, 0.2), unit="micrometre")
    mask = np.zeros(grid.shape, bool)
    mask[2:5, 3:7] = True
    assert Plane(np.zeros(grid.shape, np.float32), mask, grid).area == pytest.approx(12 * 0.1)


def test_a_cut_keeps_positions() -> None:
    plane = ramp((40, 60), (0.5, 0.25), (10.0, -3.0))
    part = plane.cut((5, 8), (25, 48))
    assert part.values.shape == part.mask.shape == part.grid.shape == (20, 40)
    expected = (part.grid.lattice_of_pixels() @ [0.002, 0.001]).reshape(20, 40)
    assert part.values == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_reaches_no_feature(missing: float) -> None:
    """Features are products with the mask: what a plane holds outside of it must be a number at every size."""
    values, _ = scattered(0, (60, 80))
    values[20:40, 30:50] = missing
    values[5, 7] = missing
    plane = Plane.of(Image.from_array(values), 0)
    for one in (plane, plane.shrunk(2.0), plane.at(0.5)):
        assert not one.mask.all()
        assert np.isfinite(one.values).all()
        assert all(np.isfinite(group.planes).all() for group in edges(one.values, one.mask))
