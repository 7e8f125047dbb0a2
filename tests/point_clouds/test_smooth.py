import numpy as np
import pytest

from correlight import Affine, Grid
from correlight.errors import TransformError
from correlight.point_clouds.smooth import Basis, SmoothField, gaussians
from correlight.transforms.field import sampled


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture(params=[2, 3])
def field(request, rng) -> SmoothField:
    return SmoothField(rng.uniform(0, 10, (6, request.param)), 0.3 * rng.normal(size=(6, request.param)), 3.0)


def test_it_is_the_sum_of_gaussians(field, rng):
    points = rng.uniform(0, 10, (20, field.ndim))
    expected = points.copy()
    for centre, weight in zip(field.centres, field.weights, strict=True):
        expected += np.exp(-np.sum((points - centre) ** 2, axis=1) / 18)[:, None] * weight
    assert np.allclose(field(points), expected)


def test_its_derivative_is_that_of_finite_differences(field, rng):
    points, step = rng.uniform(0, 10, (20, field.ndim)), 1e-5
    for axis in range(field.ndim):
        offset = step * np.eye(field.ndim)[axis]
        slope = (field(points + offset) - field(points - offset)) / (2 * step)
        assert np.allclose(field.jacobian(points)[:, :, axis], slope, atol=1e-8)


def test_its_inverse_leads_back(field, rng):
    points = rng.uniform(0, 10, (50, field.ndim))
    back = field.inverse()
    assert np.allclose(back(field(points)), points, atol=1e-8)
    assert back.inverse() is field
    assert np.allclose(back.jacobian(field(points)) @ field.jacobian(points), np.eye(field.ndim), atol=1e-6)


def test_it_joins_other_transforms(field, rng):
    points = rng.uniform(0, 10, (5, field.ndim))
    shift = Affine.of(np.eye(field.ndim), np.arange(field.ndim))
    assert np.allclose((field @ shift)(points), field(shift(points)))
    assert np.allclose((shift @ field)(points), shift(field(points)))


def test_sampled_it_is_the_same_map(field, rng):
    """Linear interpolation on a step h errs by at most h^2 / 8 of the second derivative, below sum(w) / beta^2."""
    grid = Grid.of((41,) * field.ndim, 0.25, unit="micrometre")
    points = rng.uniform(0, 10, (50, field.ndim))
    bound = field.ndim * 0.25**2 / 8 * np.abs(field.weights).sum() / 9
    assert np.abs(sampled(field, grid)(points) - field(points)).max() < bound


def test_a_field_that_folds_has_no_inverse():
    with pytest.raises(TransformError, match="folds"):
        SmoothField(np.array([[0.0, 0.0]]), np.array([[9.0, 0.0]]), 2.0).inverse()


@pytest.mark.parametrize(
    ("centres", "weights", "beta"),
    [([[0.0, 0.0]], [[1.0, 0.0, 0.0]], 1.0), ([[0.0, np.nan]], [[1.0, 0.0]], 1.0), ([[0.0, 0.0]], [[1.0, 0.0]], 0.0)],
)
def test_misuse_is_told(centres, weights, beta):
    with pytest.raises(TransformError, match="smooth field"):
        SmoothField(centres, weights, beta)


def test_a_basis_tells_the_kernel_to_its_precision(rng):
    """The error of an incomplete Cholesky factorisation is positive semi-definite: no element exceeds the diagonal."""
    points = rng.normal(size=(300, 2))
    kernel = gaussians(points, points, 1.0)
    for precision in (1e-2, 1e-5, 1e-8):
        basis = Basis.of(points, 1.0, precision)
        assert np.abs(basis.factor @ basis.factor.T - kernel).max() <= precision + 1e-12
        assert basis.factor.shape[1] < 150


def test_a_basis_gives_the_same_displacement_as_its_field(rng):
    points = rng.normal(size=(200, 3))
    basis = Basis.of(points, 1.5)
    coefficients = rng.normal(size=(basis.factor.shape[1], 3))
    field = basis.field(points, coefficients, 1.5)
    # Coefficients of columns that carry a millionth of the kernel weigh a thousand times more in the field.
    assert np.allclose(field(points) - points, basis.factor @ coefficients, atol=1e-6)
