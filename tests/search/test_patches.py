"""The patch search finds where histograms recur, and votes outvote slips."""

import numpy as np
import pytest

from correlight.appearance.blobs import laplacian
from correlight.geometry import Grid
from correlight.images.volume import Volume
from correlight.search.patches import (
    agreements,
    cosine,
    direction_codes,
    intersection,
    patch_shift,
    shift_votes,
    value_codes,
    vote,
)


def picture(shape: tuple[int, int] = (160, 180)) -> np.ndarray:
    """Discs of several sizes on a dark ground."""
    rng = np.random.default_rng(3)
    y, x = np.indices(shape)
    out = np.zeros(shape, np.float32)
    for _ in range(14):
        cy, cx, r = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(6, 16)
        out += np.hypot(y - cy, x - cx) < r
    return np.asarray(out + rng.normal(0, 0.05, shape), np.float32)


@pytest.mark.parametrize("contrast", [1.0, -1.0])
def test_a_field_is_found_where_it_was_cut_with_either_contrast(contrast: float) -> None:
    """Votes lie on a lattice of a tenth of the patch, 3 pixels, so that most are right to two of its steps."""
    whole = picture()
    field = np.float32(contrast) * whole[50:110, 70:140] + np.float32(4)
    votes = shift_votes([field], [whole], 30, 1.5)
    places = agreements(votes, 4.5)
    assert np.linalg.norm(places[0][0] - (50, 70)) < 3
    assert places[0][1] > 0.7
    assert all(places[0][1] > 5 * share for _, share in places[1:])


def test_a_field_that_hangs_over_the_edge_is_found() -> None:
    """Patches that lie inside vote for a place that is not."""
    whole = picture()
    places = agreements(shift_votes([whole[50:110, 70:140]], [whole[:, 100:]], 30, 1.5), 4.5)
    assert np.linalg.norm(places[0][0] - (50, -30)) < 3


def stacks() -> tuple[Volume, Volume]:
    """A dense stack, and a sparse one of a wider field at another scale, dark where the first is bright."""
    whole = picture((200, 240)).clip(0, None) ** 2
    field = 1 - whole[40:120, 90:190] / whole.max()
    slices = np.repeat(field[None], 6, axis=0).astype(np.float32)
    wide = np.repeat(whole[None] / whole.max(), 4, axis=0).astype(np.float32)
    return (
        Volume(slices, np.ones(slices.shape, bool), Grid.of(slices.shape, 0.5, (3.0, 1.0, 2.0))),
        Volume(wide, np.ones(wide.shape, bool), Grid.of(wide.shape, (1.0, 1.0, 1.0))),
    )


@pytest.mark.parametrize("swapped", [False, True])
def test_the_shift_between_two_stacks_is_found_in_either_order(swapped: bool) -> None:
    dense, wide = stacks()
    assert wide.sparse
    assert not dense.sparse
    poses = patch_shift(wide, dense, 0.5) if swapped else patch_shift(dense, wide, 2.0)
    found = poses[0].linear.inverse() if swapped else poses[0].linear
    # Pixel (0, 0) of the field lies at (1, 2), and in the other stack at (40, 90).
    assert np.linalg.norm(found([[1.0, 2.0]]) - (40, 90)) < 3
    assert found.scale == pytest.approx(2.0)
    assert poses[0].score > 2 * poses[1].score


def test_a_field_of_a_few_pixels_gives_no_pose() -> None:
    dense, wide = stacks()
    tiny = Volume(dense.values[:, :16, :16], dense.mask[:, :16, :16], dense.grid.crop((0, 0, 0), (6, 16, 16)))
    assert patch_shift(tiny, wide, 2.0) == []


def test_codes_of_directions_are_numbers_of_patterns() -> None:
    """On a ramp along x the steepest compass edges are east and west, then any one that is steeper than north."""
    codes = direction_codes(picture())
    assert codes.min() >= 0
    assert codes.max() == 55
    ramp = direction_codes(np.tile(np.arange(20, dtype=np.float32), (20, 1)))[5:-5, 5:-5]
    assert np.ptp(ramp) == 0
    turned = direction_codes(np.tile(np.arange(20, dtype=np.float32), (20, 1)).T.copy())[5:-5, 5:-5]
    assert np.ptp(turned) == 0
    assert turned[0, 0] != ramp[0, 0]


def test_codes_ignore_brightness_and_contrast() -> None:
    whole = picture()
    assert np.mean(direction_codes(whole) == direction_codes(3 * whole + 7)) > 0.99
    edges = laplacian(whole, 2.0)
    assert np.mean(value_codes(edges) == value_codes(2 * edges)) > 0.999
    assert np.mean(value_codes(-edges) == 8 - value_codes(edges)) > 0.999


def test_similarities_are_one_for_the_same_and_nought_for_strangers() -> None:
    """Two cells each: of the last patch one is the same and one is strange."""
    one, other = [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]
    patch = np.array([[one, other]], np.float32)
    others = np.array([[one, other], [other, one], [one, one]], np.float32)
    np.testing.assert_allclose(cosine(patch, others), [[1, 0, 0.5]], atol=1e-6)
    np.testing.assert_allclose(intersection(patch, others), [[1, 0, 0.5]], atol=1e-6)


def test_places_are_listed_by_the_votes_that_they_have() -> None:
    votes = np.array([[5.0, 5], [6, 5], [40, 40], [40, 41], [41, 40], [90, 0]])
    places = agreements(votes, 3.0)
    assert [share for _, share in places] == pytest.approx([3 / 6, 2 / 6, 1 / 6])
    np.testing.assert_allclose(places[2][0], (90, 0))


def test_votes_are_weighted_by_closeness_to_the_median() -> None:
    centres = np.array([[10.0, 10.0], [10.0, 10.0], [12.0, 10.0], [10.0, 10.0], [60.0, 80.0], [10.0, 11.0]])
    agreed = vote(centres, 3.0)
    assert agreed.kept.tolist() == [True, True, True, True, False, True]
    plain = centres[agreed.kept].mean(axis=0)
    assert np.linalg.norm(agreed.centre - 10) < np.linalg.norm(plain - 10)
