"""The patch search finds where a histogram recurs, and votes outvote slips."""

import numpy as np
import pytest

from correlight.appearance.blobs import laplacian
from correlight.search.patches import best_centres, cosine, direction_codes, intersection, log_codes, vote


def picture() -> np.ndarray:
    """Spots of one strength that are dense in one place only."""
    rng = np.random.default_rng(3)
    spots = rng.normal((70, 90), 9, (60, 2)).clip(0, (119, 139)).astype(int)
    spots = np.vstack([spots, rng.uniform(0, (120, 140), (25, 2)).astype(int)])
    base = np.zeros((120, 140), np.float32)
    base[tuple(spots.T)] = 1
    return laplacian(base, 1.5) + rng.normal(0, 0.002, base.shape).astype(np.float32)


@pytest.mark.parametrize("turns", [0, 1])
def test_a_patch_is_found_where_it_was_cut_even_turned(turns: int) -> None:
    """Histograms change slowly: within three steps of the lattice of patches, a tenth of a side, 4 pixels."""
    whole = picture()
    centres = best_centres(np.rot90(whole[50:90, 70:110], turns).copy(), whole)
    off = [float(np.hypot(*(centre - (69.5, 89.5)))) for centre in centres]
    # Values do not know directions, codes of directions do.
    assert max(off[:2] if turns else off) <= 12


def test_codes_of_directions_have_three_bits() -> None:
    codes, count = direction_codes(picture())
    assert count == 256
    assert set(np.unique([int(code).bit_count() for code in np.unique(codes)])) == {3}


def test_codes_of_directions_ignore_brightness_and_contrast() -> None:
    whole = picture()
    assert np.mean(direction_codes(whole)[0] == direction_codes(3 * whole + 7)[0]) > 0.99
    assert np.array_equal(log_codes(whole)[0], log_codes(2 * whole)[0])


def test_similarities_are_one_for_the_same_and_nought_for_strangers() -> None:
    one, other = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.0, 1.0])
    both = np.stack([one, other])
    np.testing.assert_allclose(cosine(one, both), [1, 0], atol=1e-12)
    np.testing.assert_allclose(intersection(one, both), [1, 0], atol=1e-12)


def test_votes_are_weighted_by_closeness_to_the_median() -> None:
    centres = np.array([[10.0, 10.0], [10.0, 10.0], [12.0, 10.0], [10.0, 10.0], [60.0, 80.0], [10.0, 11.0]])
    agreed = vote(centres, 3.0)
    assert agreed.kept.tolist() == [True, True, True, True, False, True]
    assert np.linalg.norm(agreed.centre - 10) < 0.05
