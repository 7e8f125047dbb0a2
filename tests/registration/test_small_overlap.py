"""Two images that have little in common: found where nothing else is, and never by chance."""

import numpy as np
import pytest
from scipy import ndimage

from correlight.images.image import Image
from correlight.registration.register import register
from correlight.registration.result import Result
from correlight.search.limits import SMALLEST_OVERLAP

# Both windows are this wide, and the second one begins here.
WIDTH, BEGINS = 120, 93
COMMON = 100 * (WIDTH - BEGINS) / WIDTH


def specimen(seed: int) -> np.ndarray:
    """Blobs of all sizes, (104, 213)."""
    rng = np.random.default_rng(seed)
    shape = (104, BEGINS + WIDTH)
    layers = [ndimage.gaussian_filter(rng.normal(size=shape), sigma) * sigma > 0.12 for sigma in (2, 4, 8)]
    return np.asarray(np.sum(layers, axis=0), np.float32)


def registered(fixed: np.ndarray, moving: np.ndarray, *, mirror: bool = False) -> Result:
    images = Image.from_array(fixed[:, :WIDTH]), Image.from_array(moving[:, BEGINS:])
    return register(*images, rotation=(-0.5, 0.5), scale=(0.99, 1.01), mirror=mirror, workers=1)


def halved(seed: int, alike: float) -> np.ndarray:
    """The same, whose right half is the left one in the mirror but for a part, (104, 213)."""
    rng = np.random.default_rng(seed)
    shape = (104, BEGINS + WIDTH)
    layers = []
    for sigma in (2, 4, 8):
        both, own = (sigma * ndimage.gaussian_filter(rng.normal(size=shape), sigma) for _ in range(2))
        both = (both + both[:, ::-1]) / np.sqrt(2)
        layers.append(alike * both + np.sqrt(1 - alike**2) * own > 0.12)
    return np.asarray(np.sum(layers, axis=0), np.float32)


@pytest.fixture(scope="module")
def found() -> Result:
    own = specimen(3)
    noise = 0.1 * np.random.default_rng(4).normal(size=own.shape)
    return registered(own, np.exp(-own) + noise)


def test_a_common_part_of_a_fifth_is_found(found: Result) -> None:
    assert found
    places = np.stack(np.meshgrid((10.0, 50.0, 95.0), (BEGINS + 2.0, WIDTH - 4.0), indexing="ij"), -1).reshape(-1, 2)
    assert found.moving_from_fixed(places) == pytest.approx(places - (0, BEGINS), abs=2)


def test_the_result_says_how_much_is_common(found: Result) -> None:
    overlap = next(one for one in found.verdict.evidence if one.name == "Overlap")
    assert 100 * overlap.value == pytest.approx(COMMON, abs=3)
    assert any("common area is only" in reason for reason in found.verdict.reasons)


@pytest.mark.parametrize(("alike", "sure"), [(0.85, True), (0.95, False)])
def test_one_half_of_a_symmetric_specimen_is_not_taken_for_the_other(alike: float, sure: bool) -> None:
    own = halved(3, alike)
    noise = 0.1 * np.random.default_rng(4).normal(size=own.shape)
    result = registered(own, np.exp(-own) + noise, mirror=True)
    # In the mirror, all of the moving image would lie on the fixed one.
    right = result.moving_from_fixed(np.array([[50.0, 100.0]])) == pytest.approx(np.array([[50.0, 7.0]]), abs=2)
    assert (result.status, right) == ("accepted" if sure else "doubtful", sure)
    said = any("as of the other half of a symmetric specimen" in reason for reason in result.verdict.reasons)
    assert said is not sure


@pytest.mark.slow
def test_unlike_images_are_refused_and_the_result_says_what_was_searched() -> None:
    result = registered(specimen(3), np.exp(-specimen(8)))
    assert not result
    assert any(f"as little as {100 * SMALLEST_OVERLAP:.0f} %" in reason for reason in result.verdict.reasons)
