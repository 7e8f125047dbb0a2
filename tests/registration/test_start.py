"""One, two or three rough clicks are enough to begin with, whatever the turn and the hand."""

import numpy as np
import pytest

from correlight.landmarks import fit
from correlight.registration.register import register
from correlight.search.limits import NearStart, StartPoints
from correlight.search.pose import Pose
from correlight.simulate import SimulatedPair
from correlight.transforms import Affine
from tests.small_pairs import cell


@pytest.fixture(scope="module")
def turned() -> SimulatedPair:
    return cell(rotation=130.0, mirror=True)


def clicked(couple: SimulatedPair, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Places known to 3 % of the width along each axis, which is 8 pixels here."""
    width = max(couple.fixed.grid.extent)
    fixed = couple.fixed.grid.centre + width * np.array([[-0.25, -0.3], [0.3, 0.2], [-0.2, 0.3]])[:count]
    shaky = fixed + np.random.default_rng(0).normal(scale=0.03 * width, size=fixed.shape)
    return fixed, couple.moving_from_fixed(shaky)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_rough_clicks_become_a_transform_of_pixels(count: int, turned: SimulatedPair) -> None:
    places = clicked(turned, count)
    start = StartPoints(*places) if count < 3 else fit(*places, "similarity")
    result = register(turned.fixed, turned.moving, moving_channel="reflected", start=start)  # type: ignore[arg-type]
    points = turned.fixed.grid.lattice(10)
    back = turned.moving_from_fixed.inverse()(result.moving_from_fixed(points))
    assert np.linalg.norm(back - points, axis=1).mean() < 0.01 * max(turned.fixed.grid.extent)
    assert result.status == "accepted"


def test_a_click_decides_between_poses_that_a_search_cannot_tell_apart(turned: SimulatedPair) -> None:
    grid = turned.fixed.grid
    right, rival = turned.moving_from_fixed, turned.moving_from_fixed @ Affine.similarity(180.0, source=grid.centre)
    poses = [Pose(rival, 2.0, 1.0), Pose(right, 1.0, 1.0)]
    near = NearStart.of(StartPoints(*clicked(turned, 1)), grid)
    assert [near.keeps(pose) for pose in poses] == [False, True]
