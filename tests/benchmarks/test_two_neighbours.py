"""The published algorithm does what it says, and shares its limits."""

import numpy as np
import pytest

from benchmarks.two_neighbours import match_two_neighbours
from correlight.simulate.beads import bead_pair


@pytest.mark.parametrize("mirror", [False, True])
def test_beads_that_both_images_hold_give_the_transform(mirror: bool) -> None:
    pair = bead_pair(1, beads=60, common=1.0, noise=0.0, mirror=mirror, least_overlap=1.0)
    found = match_two_neighbours(pair.fixed, pair.moving)
    assert found is not None
    places = pair.common_places(200, np.random.default_rng(0))
    assert np.abs(found.moving_from_fixed(places) - pair.moving_from_fixed(places)).max() < 1e-6


def test_few_common_beads_lead_it_astray_where_triangles_do_not() -> None:
    pair = bead_pair(1, common=0.3)
    places = pair.common_places(200, np.random.default_rng(0))
    found = match_two_neighbours(pair.fixed, pair.moving)
    assert found is None or np.abs(found.moving_from_fixed(places) - pair.moving_from_fixed(places)).mean() > 0.5


def test_too_few_beads_or_beads_on_one_line_give_nothing() -> None:
    assert match_two_neighbours(np.zeros((2, 2)), np.zeros((9, 2))) is None
    line = np.arange(12.0)[:, None] ** 1.3 * [1.0, 2.0]
    assert match_two_neighbours(line, line) is None
