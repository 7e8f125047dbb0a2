"""B-spline transforms, with SimpleITK as the judge."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from correlight.errors import ReadError, TransformError
from correlight.exchange.bspline import bspline_from_lists
from correlight.exchange.itk import read_itk, write_itk
from correlight.geometry import Grid
from correlight.transforms import Affine, BSplineField, Chain


def judge(ndim: int, strength: float = 1.0) -> Any:
    transform = sitk.BSplineTransform(ndim, 3)
    transform.SetTransformDomainOrigin([1.0, 2.0, 3.0][:ndim])
    transform.SetTransformDomainPhysicalDimensions([20.0, 30.0, 25.0][:ndim])
    transform.SetTransformDomainMeshSize([4, 5, 3][:ndim])
    numbers = np.random.default_rng(0).normal(size=len(transform.GetParameters())) * strength
    transform.SetParameters(numbers.tolist())
    return transform


def through(transform: Any, points: Any) -> Any:
    return np.array([transform.TransformPoint(point[::-1].tolist())[::-1] for point in points])


@pytest.mark.parametrize("ending", [".tfm", ".h5"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_points_move_as_in_simpleitk_inside_and_outside(ndim: int, ending: str, tmp_path: Path) -> None:
    sitk.WriteTransform(judge(ndim), str(tmp_path / f"a{ending}"))
    points = np.random.default_rng(1).uniform(-5, 40, size=(300, ndim))
    expected = through(judge(ndim), points)
    moved = np.abs(expected - points).max(axis=1) > 0
    assert 20 < moved.sum() < 280
    found = read_itk(tmp_path / f"a{ending}")
    assert np.abs(found(points) - expected).max() < 1e-12
    write_itk(tmp_path / f"b{ending}", found)
    assert np.abs(through(sitk.ReadTransform(str(tmp_path / f"b{ending}")), points) - expected).max() < 1e-12


def test_it_joins_others_in_a_composite(tmp_path: Path) -> None:
    sitk.WriteTransform(judge(2), str(tmp_path / "a.tfm"))
    both = Chain((read_itk(tmp_path / "a.tfm"), Affine.similarity(20, 1.5)))
    write_itk(tmp_path / "b.h5", both)
    points = np.random.default_rng(2).uniform(3, 20, size=(50, 2))
    assert np.abs(through(sitk.ReadTransform(str(tmp_path / "b.h5")), points) - both(points)).max() < 1e-11
    assert np.abs(read_itk(tmp_path / "b.h5")(points) - both(points)).max() < 1e-12


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("ndim", [2, 3])
def test_the_derivative_is_that_of_the_map(order: int, ndim: int) -> None:
    grid = Grid.of((7, 8, 6)[-ndim:], (1.5, 2.0, 1.0)[-ndim:], -1.0, "micrometre")
    spline = BSplineField(np.random.default_rng(order).normal(size=(*grid.shape, ndim)), grid, order)
    points = grid.points(np.random.default_rng(0).uniform(1.1, np.array(grid.shape) - 2.1, size=(40, ndim)))
    step = 1e-6
    slopes = [(spline(points + step * axis) - spline(points - step * axis)) / (2 * step) for axis in np.eye(ndim)]
    # Central differences of a cubic are wrong by its third derivative times the step squared; rounding gives 1e-9.
    assert np.abs(spline.jacobian(points) - np.stack(slopes, axis=-1)).max() < 1e-7


@pytest.mark.parametrize("order", [1, 2, 3])
def test_equal_coefficients_are_a_shift(order: int) -> None:
    grid = Grid.of((8, 8), 2.0, unit="micrometre")
    spline = BSplineField(np.broadcast_to([3.0, -1.0], (8, 8, 2)), grid, order)
    points = np.random.default_rng(0).uniform(3, 11, size=(30, 2))
    assert np.abs(spline(points) - points - [3.0, -1.0]).max() < 1e-12


def test_the_inverse_leads_back_unless_the_map_folds() -> None:
    grid = Grid.of((9, 9), 5.0, unit="micrometre")
    weak = BSplineField(np.random.default_rng(0).normal(size=(9, 9, 2)) * 0.5, grid)
    points = np.random.default_rng(1).uniform(10, 30, size=(40, 2))
    assert np.abs(weak.inverse()(weak(points)) - points).max() < 1e-8
    strong = BSplineField(np.random.default_rng(0).normal(size=(9, 9, 2)) * 50, grid)
    with pytest.raises(TransformError, match="folds"):
        strong.inverse()


@pytest.mark.parametrize(
    ("size", "origin", "spacing", "directions", "words"),
    [
        ([4, 4], [0, 0], [1, 1], [0, 1, 2, 0], "right angles"),
        ([4, 4], [0, 0], [1, 1], [1, 0, 0], "not described"),
        ([4, 5], [0, 0], [1, 1], [1, 0, 0, 1], "needs 40 numbers; got 32"),
        ([4, 4], [0, 0], [1, 0], [1, 0, 0, 1], "needs"),
        ([4, 4], [0, np.nan], [1, 1], [1, 0, 0, 1], "needs"),
        ([2, 8], [0, 0], [1, 1], [1, 0, 0, 1], "more control points"),
    ],
)
def test_lists_that_do_not_fit_are_named(size: Any, origin: Any, spacing: Any, directions: Any, words: str) -> None:
    with pytest.raises(ReadError, match=words):
        bspline_from_lists(np.zeros(32), (size, origin, spacing, directions), "a.tfm")
