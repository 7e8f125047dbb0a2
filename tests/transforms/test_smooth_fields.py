"""Cubic B-spline displacements and the flow of a velocity: values, derivatives, inverses, blocks, and files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.integrate import solve_ivp

from correlight.errors import TransformError
from correlight.exchange import read_transform, write_file
from correlight.exchange.context import ExchangeContext
from correlight.geometry import Grid
from correlight.images.resample import Resampling, warp
from correlight.transforms import Affine, BSplineField, Chain, Transform, VelocityField

RIM = 3


def lattice(ndim: int) -> Grid:
    return Grid.of((12, 11, 10)[-ndim:], (2.0, 1.5, 2.5)[-ndim:], (-5.0, -4.0, -3.0)[-ndim:], "micrometre")


def inner(ndim: int, strength: float, seed: int = 0) -> Any:
    """Random numbers that vanish at the rim."""
    grid = lattice(ndim)
    numbers = np.zeros((*grid.shape, ndim))
    part = (slice(RIM, -RIM),) * ndim
    numbers[part] = np.random.default_rng(seed).normal(size=numbers[part].shape) * strength
    return numbers


def places(ndim: int, count: int = 60) -> Any:
    grid = lattice(ndim)
    return grid.points(np.random.default_rng(1).uniform(1.5, np.array(grid.shape) - 2.5, size=(count, ndim)))


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_spline_ends_smoothly_where_its_rim_is_zero(ndim: int) -> None:
    field, grid = BSplineField(inner(ndim, 1.0), lattice(ndim)), lattice(ndim)
    middle = (np.array(grid.shape) - 1) / 2
    for side, edge in ((-1, 1.0), (1, grid.shape[0] - 2.0)):
        index = np.array([[edge + side * away, *middle[1:]] for away in (-1e-4, 1e-4)])
        inside, outside = field(grid.points(index)) - grid.points(index)
        assert np.all(outside == 0)
        assert np.abs(inside).max() < 1e-9
    assert np.abs(field(grid.points(middle[None])) - grid.points(middle[None])).max() > 0.01


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_flow_is_where_points_come_to_that_move_with_the_velocity(ndim: int) -> None:
    grid, numbers = lattice(ndim), inner(ndim, 0.8)
    speed = BSplineField(numbers, grid)
    points = places(ndim, 40)

    def moving(_: float, where: Any) -> Any:
        return speed.displaced(where.reshape(-1, ndim)).ravel()

    expected = solve_ivp(moving, (0, 1), points.ravel(), rtol=1e-9, atol=1e-10).y[:, -1].reshape(-1, ndim)
    assert np.abs(expected - points).max() > 0.2
    assert np.abs(VelocityField(numbers, grid)(points) - expected).max() < 0.01


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_negated_velocity_leads_back_within_the_stated_residual(ndim: int) -> None:
    field = VelocityField(inner(ndim, 0.8), lattice(ndim))
    points = places(ndim)
    back = field.inverse()
    assert isinstance(back, VelocityField)
    assert np.abs(back.velocity + field.velocity).max() == 0
    assert field.residual < 0.02
    assert np.linalg.norm(back(field(points)) - points, axis=1).max() <= 1.2 * field.residual
    assert np.linalg.norm(field(points) - points, axis=1).max() > 20 * field.residual
    assert field.smallest_volume > 0


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", [BSplineField, VelocityField])
def test_derivative_inverse_and_determinant_belong_to_the_map(kind: Any, ndim: int) -> None:
    field, step = kind(inner(ndim, 0.3), lattice(ndim)), 1e-5
    points = places(ndim)
    slopes = [(field(points + step * axis) - field(points - step * axis)) / (2 * step) for axis in np.eye(ndim)]
    assert np.abs(field.jacobian(points) - np.stack(slopes, axis=-1)).max() < 1e-6
    assert field.smallest_volume <= np.linalg.det(field.jacobian(places(ndim, 2000))).min() + 0.05
    assert np.linalg.norm(field.inverse()(field(points)) - points, axis=1).max() < 5e-3
    if kind is BSplineField:
        assert np.linalg.norm(field.inverse()(field(points)) - points, axis=1).max() < 1e-8


def test_what_folds_or_is_too_fast_says_so() -> None:
    folded = BSplineField(inner(2, 20.0), lattice(2))
    assert folded.smallest_volume < 0
    with pytest.raises(TransformError, match="folds"):
        folded.inverse()
    with pytest.raises(TransformError, match="too fast"):
        VelocityField(inner(2, 60.0), lattice(2))(places(2))
    with pytest.raises(TransformError, match="hundreds of cells"):
        VelocityField(inner(2, 1e5), lattice(2))(places(2))
    with pytest.raises(TransformError, match="outermost control points"):
        VelocityField(np.ones((9, 9, 2)), Grid.of((9, 9), 1.0))
    with pytest.raises(TransformError, match="outermost control points"):
        VelocityField(np.zeros((6, 9, 2)), Grid.of((6, 9), 1.0))


@pytest.mark.parametrize("kind", [BSplineField, VelocityField])
def test_images_are_warped_block_by_block_as_at_once_and_points_agree(kind: Any) -> None:
    grid = Grid.of((60, 70), (0.25, 0.25), (-2.0, -2.0), "micrometre")
    rows, columns = np.indices(grid.shape)
    pixels = np.stack([rows, columns]).astype(np.float32) + 1
    moving_from_fixed = Affine.similarity(10, 1.05, source=grid.centre) @ kind(inner(2, 0.4), lattice(2))
    blocks = list(Resampling(pixels, grid, moving_from_fixed, grid, block=32).blocks())
    whole, inside = warp(pixels, grid, moving_from_fixed, grid)
    joined = np.zeros_like(whole)
    for made in blocks:
        joined[(slice(None), *made.region)] = made.values
    assert np.array_equal(joined, whole)
    index = np.argwhere(inside)
    expected = grid.index(moving_from_fixed(grid.points(index))) + 1
    # A ramp is interpolated exactly, so that its values are where the points lead.
    assert np.abs(whole[:, inside].T - expected).max() < 1e-3


@pytest.mark.parametrize(("name", "off"), [("a.tfm", 1e-9), ("a.h5", 1e-9), ("a.zarr", 0.02), ("a.txt", 1e-9)])
@pytest.mark.parametrize("kind", [BSplineField, VelocityField])
@pytest.mark.parametrize("ndim", [2, 3])
def test_files_hold_the_same_map(kind: Any, name: str, off: float, ndim: int, tmp_path: Path) -> None:
    field = kind(inner(ndim, 0.4 if ndim == 2 else 0.15), lattice(ndim))
    fixed = Grid.of((24, 28, 26)[-ndim:], 0.5, 1.0, "micrometre")
    written: Transform = field
    if name != "a.txt":
        written = Chain((field, Affine.of(1.1 * np.eye(ndim), np.arange(ndim))))
    context = ExchangeContext(fixed=fixed, moving=fixed)
    write_file(tmp_path / name, written, {"a.txt": "elastix", "a.zarr": "ngff"}.get(name), context)
    found = read_transform(tmp_path / name, context=ExchangeContext(fixed=fixed, moving=fixed))
    points = fixed.lattice(7)
    assert np.linalg.norm(written(points) - points, axis=1).max() > 5 * off
    assert np.linalg.norm(found(points) - written(points), axis=1).max() < off


def test_itk_reads_the_flow_of_a_velocity_as_it_is(tmp_path: Path) -> None:
    field = VelocityField(inner(2, 0.4), lattice(2))
    write_file(tmp_path / "a.tfm", field)
    judge: Any = sitk.ReadTransform(str(tmp_path / "a.tfm"))
    points = places(2)
    expected = [judge.TransformPoint(point[::-1].tolist())[::-1] for point in points]
    assert np.abs(field(points) - np.array(expected)).max() < 1e-9
