import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from correlight.simulate.outlines import Warp, blob, centreline, normals, polar, rod, wobble

seeds = st.integers(0, 2**32 - 1)


def area(outline):
    """Signed area by the shoelace formula."""
    y, x = outline.T
    return 0.5 * float(np.sum(y * np.roll(x, -1) - x * np.roll(y, -1)))


@given(seeds, st.floats(0.1, 0.95))
def test_warp_never_folds_and_stays_within_its_largest_shift(seed, strength):
    warp = Warp(np.random.default_rng(seed), strength, 5.0, 40.0)
    points = np.random.default_rng(seed).uniform(-80, 80, (200, 2))
    step = 1e-4
    columns = [(warp(points + step * unit) - warp(points - step * unit)) / (2 * step) for unit in np.eye(2)]
    determinant = columns[0][:, 0] * columns[1][:, 1] - columns[0][:, 1] * columns[1][:, 0]
    assert determinant.min() >= (1 - strength) ** 2 - 1e-6
    assert np.hypot(*(warp(points) - points).T).max() <= warp.largest_shift


@given(seeds, st.floats(0.0, 2.0))
def test_wobble_keeps_an_outline_star_shaped(seed, roughness):
    profile = wobble(np.random.default_rng(seed), 64, roughness)
    assert profile.shape == (64,)
    assert profile.min() >= 0.3


@given(seeds, st.floats(0.02, 2.0), st.floats(1.0, 3.0))
def test_stretching_a_disc_keeps_its_area(seed, radius, stretch):
    outline = blob(np.random.default_rng(seed), (3.0, -2.0), radius, 0.0, stretch)
    corners = len(outline)
    # A regular polygon in a circle.
    expected = corners / 2 * np.sin(2 * np.pi / corners) * radius**2
    assert abs(area(outline)) == pytest.approx(expected, rel=1e-9)
    assert np.allclose(outline.mean(0), (3.0, -2.0), atol=1e-9)


def test_a_straight_rod_is_a_stadium():
    line = np.stack([np.zeros(9), np.linspace(0, 2, 9)], 1)
    outline = rod(line, np.full(9, 0.25))
    # Length times width and a disc; the caps are polygons of seven vertices each, 1 % below the half disc.
    assert abs(area(outline)) == pytest.approx(2 * 0.5 + np.pi * 0.25**2, rel=0.01)
    assert ConvexHull(outline).volume == pytest.approx(abs(area(outline)), rel=1e-6), "it must not cross itself"


@given(seeds, st.floats(0.2, 5.0))
def test_a_centreline_has_its_length_and_middle(seed, length):
    line = centreline(np.random.default_rng(seed), (1.0, 2.0), length, 1.0, 0.7)
    assert np.sum(np.hypot(*np.diff(line, axis=0).T)) == pytest.approx(length)
    assert np.allclose(line.mean(0), (1.0, 2.0))
    across = normals(line)
    assert np.allclose(np.hypot(*across.T), 1)
    assert np.allclose(np.sum(across * np.gradient(line, axis=0), axis=1), 0, atol=1e-9)


def test_polar_starts_along_x_and_takes_a_single_radius():
    assert np.allclose(polar((1.0, 1.0), 2.0, 4), [[1, 3], [3, 1], [1, -1], [-1, 1]])
