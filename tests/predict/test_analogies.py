"""Image analogies: against a plain scan of the publication, and what must hold of any prediction."""

from typing import Any

import cv2
import numpy as np
import pytest

from correlight.predict.analogies import Analogy, predict


def blobs(seed: int, shape: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), 2.0)
    return ((image - image.mean()) / image.std()).astype(np.float32)


def other_of(image: np.ndarray) -> np.ndarray:
    """Another modality: bright where the image is neither dark nor bright."""
    made = np.exp(-(image**2))
    return ((made - made.mean()) / made.std()).astype(np.float32)


def gaussian(side: int) -> np.ndarray:
    y, x = np.indices((side, side)) - side // 2
    weights = np.exp(-(y**2 + x**2) / (2 * (side / 4) ** 2))
    return weights / weights.sum()


def around(image: np.ndarray, y: int, x: int, side: int) -> np.ndarray:
    padded = np.pad(image, side // 2, mode="symmetric")
    return padded[y : y + side, x : x + side]


def features(image, other, below, y, x, side):
    """Weighted surroundings of one pixel, those of the other image only as far as a scan has come."""
    parts = [np.sqrt(gaussian(side)) * around(image, y, x, side)]
    coarse = side // 2 | 1
    parts += [np.sqrt(gaussian(coarse)) * around(one, y // 2, x // 2, coarse) for one in below or ()]
    causal = np.arange(side * side) < side * side // 2
    weights = gaussian(side).ravel()[causal]
    parts.append(np.sqrt(weights / weights.sum()) * around(other, y, x, side).ravel()[causal])
    return np.concatenate([part.ravel() for part in parts])


def scanned(image, a, a_other, side, kappa, levels):
    """Algorithm 2, pixel by pixel in rows, with exact nearest neighbours of whole surroundings."""
    pyramids = [[one] for one in (image, a, a_other)]
    for _ in range(levels - 1):
        for pyramid in pyramids:
            pyramid.append(cv2.pyrDown(pyramid[-1]))
    made = None
    for level in reversed(range(levels)):
        b, one, two = (pyramid[level] for pyramid in pyramids)
        below = None if made is None else (pyramids[0][level + 1], made)
        of_a = None if made is None else (pyramids[1][level + 1], pyramids[2][level + 1])
        table = np.array([[features(one, two, of_a, y, x, side) for x in range(one.shape[1])] for y in range(len(one))])
        guess = np.zeros_like(b) if made is None else cv2.resize(made, b.shape[::-1])
        rim = side // 2
        canvas = np.pad(guess, rim, mode="symmetric")
        source: dict[tuple[int, int], Any] = {}
        for y, x in np.ndindex(b.shape):
            wanted = features(b, b, below, y, x, side)
            causal = np.arange(side * side) < side * side // 2
            weights = gaussian(side).ravel()[causal]
            seen = canvas[y : y + side, x : x + side].ravel()[causal]
            wanted[-len(seen) :] = np.sqrt(weights / weights.sum()) * seen
            apart = np.sum((table - wanted) ** 2, axis=2)
            best = np.unravel_index(np.argmin(apart), apart.shape)
            chosen, least = best, np.inf
            for down, across in np.ndindex(3, 5):
                down, across = down - 2, across - 2
                if (down, across) >= (0, 0) or (y + down, x + across) not in source:
                    continue
                from_y, from_x = source[y + down, x + across]
                place = from_y - down, from_x - across
                if 0 <= place[0] < len(one) and 0 <= place[1] < one.shape[1] and apart[place] < least:
                    chosen, least = place, apart[place]
            if least > apart[best] * (1 + kappa / 2**level):
                chosen = best
            source[y, x] = chosen
            canvas[y + rim, x + rim] = two[chosen]
        made = canvas[rim:-rim, rim:-rim].astype(np.float32)
    return made


@pytest.mark.parametrize("kappa", [0.0, 2.0])
def test_slanted_lines_give_what_a_scan_row_by_row_gives(kappa: float) -> None:
    # As many components as surroundings have pixels, and exact neighbours: only the order is left to differ.
    a, b = blobs(1, (24, 22)), blobs(2, (20, 23))
    everything = Analogy(side=5, kappa=kappa, components=55, looseness=0.0)
    made = predict(b, [(a, other_of(a), np.ones(a.shape, bool))], everything)
    plain = scanned(b, a, other_of(a), 5, kappa, levels=2)
    # Roundings decide a few ties, and what follows from them.
    assert np.mean(np.abs(made - plain) < 1e-6) > 0.97


def test_the_other_modality_of_another_field_is_predicted() -> None:
    a, b = blobs(3, (96, 96)), blobs(4, (64, 80))
    made = predict(b, [(a, other_of(a), np.ones(a.shape, bool))], Analogy(side=5))
    assert np.corrcoef(made.ravel(), other_of(b).ravel())[0, 1] > 0.8
    # The raw images are hardly correlated at all.
    assert abs(np.corrcoef(b.ravel(), other_of(b).ravel())[0, 1]) < 0.3


def test_only_valid_pixels_of_examples_are_taken() -> None:
    a, b = blobs(5, (48, 48)), blobs(6, (32, 32))
    other, mask = other_of(a), np.ones(a.shape, bool)
    mask[:, 24:], other[:, 24:] = False, 100.0
    first = predict(
        b, [(a, other, mask), (blobs(7, (30, 40)), blobs(8, (30, 40)), np.ones((30, 40), bool))], Analogy(5)
    )
    assert np.max(first) < 50


def test_the_same_draw_gives_the_same_prediction() -> None:
    a, b = blobs(9, (40, 40)), blobs(10, (33, 21))
    pair = [(a, other_of(a), np.ones(a.shape, bool))]
    np.testing.assert_array_equal(predict(b, pair, Analogy(5)), predict(b, pair, Analogy(5)))
