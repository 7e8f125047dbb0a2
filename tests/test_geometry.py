"""Grids: where pixels lie, checked against explicit numbers and brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlight.errors import CorrelightError, UsageError
from correlight.geometry import Frame, Grid

SPACINGS = st.floats(1e-3, 1e3)
ORIGINS = st.floats(-1e4, 1e4)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    ndim = draw(st.sampled_from([2, 3]))
    shape = draw(st.tuples(*[st.integers(1, 12)] * ndim))
    spacing = draw(st.tuples(*[SPACINGS] * ndim))
    origin = draw(st.tuples(*[ORIGINS] * ndim))
    return Grid(shape, spacing, origin, draw(st.sampled_from(["micrometre", "pixel"])))


def block_means(values: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Average whole blocks by counting, without any reshaping trick."""
    shape = tuple(n // f for n, f in zip(values.shape, factors, strict=True))
    out = np.empty(shape)
    for index in np.ndindex(*shape):
        block = tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True))
        out[index] = values[block].mean()
    return out


def test_frame_names_axes_in_array_order() -> None:
    assert Grid.of((4, 5)).frame == Frame(("y", "x"), "pixel")
    frame = Grid.of((3, 4, 5), 0.5, unit="micrometre").frame
    assert frame == Frame(("z", "y", "x"), "micrometre")
    assert (frame.ndim, frame.symbol, Grid.of((4, 5)).frame.symbol) == (3, "µm", "px")


def test_without_calibration_the_unit_is_pixel() -> None:
    assert not Grid.of((4, 5)).calibrated
    assert Grid.of((4, 5), 1.0, unit="micrometre").calibrated


def test_origin_is_the_centre_of_the_first_pixel() -> None:
    grid = Grid.of((3, 4), spacing=(2.0, 0.5), origin=(10.0, 20.0), unit="micrometre")
    np.testing.assert_array_equal(grid.points([[0, 0], [2, 3]]), [[10.0, 20.0], [14.0, 21.5]])
    np.testing.assert_array_equal(grid.index([[14.0, 21.5]]), [[2.0, 3.0]])
    np.testing.assert_array_equal(grid.centre, [12.0, 20.75])
    assert grid.extent == (6.0, 2.0)
    np.testing.assert_array_equal(grid.corners(), [[9.0, 19.75], [9.0, 21.75], [15.0, 19.75], [15.0, 21.75]])


def test_field_reaches_to_the_outer_pixel_edges() -> None:
    grid = Grid.of((3, 4))
    inside = grid.contains([[-0.5, -0.5], [2.5, 3.5], [-0.51, 0.0], [0.0, 3.51], [1.0, 1.0]])
    assert inside.tolist() == [True, True, False, False, True]


def test_lattice_includes_both_ends() -> None:
    points = Grid.of((5, 9), 2.0).lattice(3)
    assert points.shape == (9, 2)
    np.testing.assert_array_equal(points[[0, 4, 8]], [[0, 0], [4, 8], [8, 16]])


@given(grids(), st.data())
def test_index_undoes_points(grid: Grid, data: st.DataObject) -> None:
    index = np.array([[data.draw(st.floats(-5, n + 5)) for n in grid.shape]])
    # One rounding of the position, at most 1e4 + 45 * 1e3, seen through a spacing of at least 1e-3.
    limit = 4 * np.finfo(float).eps * np.max(np.abs(grid.points(index)) + np.abs(grid.origin)) / min(grid.spacing)
    np.testing.assert_allclose(grid.index(grid.points(index)), index, rtol=0, atol=max(limit, 1e-12))


@given(grids(), st.data())
def test_matrix_agrees_with_points(grid: Grid, data: st.DataObject) -> None:
    index = np.array([data.draw(st.floats(-5, n + 5)) for n in grid.shape])
    np.testing.assert_allclose((grid.matrix @ [*index, 1.0])[:-1], grid.points(index[None])[0], rtol=1e-12, atol=1e-9)


@given(grids(), st.data())
def test_shrunken_pixels_lie_where_the_means_of_their_blocks_lie(grid: Grid, data: st.DataObject) -> None:
    factors = data.draw(st.tuples(*[st.integers(1, min(n, 5)) for n in grid.shape]))
    small = grid.shrink(factors)
    every = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    positions = grid.points(every)
    expected = np.stack([block_means(positions[..., axis], factors) for axis in range(grid.ndim)], -1)
    assert small.shape == expected.shape[:-1]
    small_index = np.stack(np.meshgrid(*[np.arange(n) for n in small.shape], indexing="ij"), -1)
    np.testing.assert_allclose(small.points(small_index), expected, rtol=1e-11, atol=1e-8)
    assert small.unit == grid.unit


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
def test_resized_agrees_with_shrink_where_blocks_are_whole(factor: int, rows: int, columns: int) -> None:
    grid = Grid.of((rows * factor, columns * factor), (0.3, 0.7), (5.0, -2.0), "micrometre")
    shrunken, resized = grid.shrink(factor), grid.resized((rows, columns))
    assert resized.shape == shrunken.shape
    np.testing.assert_allclose(resized.matrix, shrunken.matrix, rtol=1e-12, atol=1e-12)


@given(grids(), st.data())
def test_resized_keeps_the_outer_edges(grid: Grid, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 60)] * grid.ndim))
    np.testing.assert_allclose(grid.resized(shape).corners(), grid.corners(), rtol=1e-12, atol=1e-7)


@given(grids(), st.data())
def test_crop_leaves_its_pixels_where_they_were(grid: Grid, data: st.DataObject) -> None:
    start = [data.draw(st.integers(0, n - 1)) for n in grid.shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, grid.shape, strict=True)]
    part = grid.crop(start, stop)
    np.testing.assert_allclose(part.points(np.zeros((1, grid.ndim))), grid.points([start]), rtol=1e-12, atol=1e-12)
    assert part.shape == tuple(b - a for a, b in zip(start, stop, strict=True))
    assert (part.spacing, part.unit) == (grid.spacing, grid.unit)
    assert all(type(position) is float for position in part.origin)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Grid((4, 5), (1.0,), (0.0, 0.0)), "one length"),
        (lambda: Grid.of((4,)), "2 or 3 axes"),
        (lambda: Grid.of((4, 0)), "at least one pixel"),
        (lambda: Grid.of((4, 5), -1.0), "positive"),
        (lambda: Grid.of((4, 5), float("nan")), "positive and finite"),
        (lambda: Grid.of((4, 5), 1.0, float("inf")), "origin must be finite"),
        (lambda: Grid.of((4, 5)).shrink(5), r"Cannot shrink a grid of shape \(4, 5\) by \(5, 5\)"),
        (lambda: Grid.of((4, 5)).shrink(0), "Cannot shrink"),
        (lambda: Grid.of((4, 5)).crop((0, 0), (4, 6)), "does not lie in"),
        (lambda: Grid.of((4, 5)).crop((2, 2), (2, 4)), "does not lie in"),
    ],
)
def test_misuse_is_named_in_one_sentence(build, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        build()
    assert isinstance(caught.value, CorrelightError)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).endswith(".")
