import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from correlight.point_clouds.mixture import Mixture, boxes, evenly

VOLUME, OUTLIERS = 12.0, 0.1


def plainly(points, centroids, variance):
    """The expectation step as the paper writes it, with outliers of density 1 / volume."""
    ndim = points.shape[1]
    squared = np.sum((points[None] - centroids[:, None]) ** 2, axis=2)
    peak = (1 - OUTLIERS) / (len(centroids) * (2 * np.pi * variance) ** (ndim / 2))
    density = peak * np.exp(-squared / (2 * variance))
    whole = density.sum(axis=0) + OUTLIERS / VOLUME
    shares = density / whole
    return shares.sum(axis=1), shares.sum(axis=0), shares @ points, np.log(whole).sum()


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("width", [1.0, 0.2, 0.05, 0.01, 0.001])
def test_responsibilities_are_those_of_the_plain_sum(ndim, width):
    """Single precision around the middle of a box keeps an exponent to 1e-5; what is left out is a millionth."""
    rng = np.random.default_rng(1)
    points = rng.normal(size=(700, ndim))
    centroids = np.vstack([points[:500] + 0.01 * rng.normal(size=(500, ndim)), rng.normal(size=(100, ndim))])
    order, starts = boxes(centroids)
    found = Mixture(points, OUTLIERS, VOLUME).responsibilities(centroids, width**2, order, starts)
    of_centroids, of_points, pull, likelihood = plainly(points, centroids, width**2)
    assert np.allclose(found.of_centroids, of_centroids, atol=3e-5)
    assert np.allclose(found.of_points, of_points, atol=3e-5)
    assert np.allclose(found.weighted_points, pull, atol=1e-4)
    assert found.likelihood == pytest.approx(likelihood, abs=1e-5 * len(points))
    assert found.total == pytest.approx(found.of_centroids.sum(), rel=1e-5)


def test_boxes_drawn_elsewhere_serve_as_well():
    """Boxes only say which centroids are neighbours; wrong ones cost time, nothing else."""
    rng = np.random.default_rng(2)
    points, centroids = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    mixture = Mixture(points, OUTLIERS, VOLUME)
    first = mixture.responsibilities(centroids, 0.01, *boxes(centroids))
    other = mixture.responsibilities(centroids, 0.01, *boxes(rng.normal(size=(300, 2))))
    assert np.allclose(first.of_centroids, other.of_centroids, atol=2e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 400), st.integers(1, 70), st.integers(2, 3), st.integers(0, 9))
def test_boxes_hold_every_point_once(count, leaf, ndim, seed):
    points = np.random.default_rng(seed).normal(size=(count, ndim))
    order, starts = boxes(points, leaf)
    assert np.array_equal(np.sort(order), np.arange(count))
    assert np.diff(np.append(starts, count)).max() <= leaf
    assert np.all(np.diff(starts) > 0)


def test_evenly_chosen_points_stand_for_the_cloud():
    """A dense and a sparse half keep their shares: within 3 of 100, where a fair draw would have a sigma of 4."""
    rng = np.random.default_rng(3)
    cloud = np.vstack([rng.uniform(0, 1, (3000, 2)), rng.uniform((5, 0), (6, 1), (1000, 2))])
    chosen = evenly(cloud, 100)
    assert len(np.unique(chosen)) == 100
    assert abs(np.mean(chosen < 3000) - 0.75) <= 0.03
    assert np.array_equal(evenly(cloud[:50], 100), np.arange(50))
