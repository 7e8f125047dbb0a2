"""Labels are told from grey values by their patches, whatever their number and whatever the picture."""

import numpy as np
import pytest
from scipy import ndimage

from correlight.images.image import Image
from correlight.images.labels import are_labels, label_channels


def smooth(shape: tuple[int, ...], seed: int, sigma: float = 3) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)


def labels(shape: tuple[int, ...], seed: int, share: float = 0.3) -> np.ndarray:
    field = smooth(shape, seed, 4)
    return ndimage.label(field > np.quantile(field, 1 - share))[0].astype(np.int32)


def superpixels(shape: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(0)
    seeds = np.zeros(shape, int)
    places = rng.integers(0, shape, (80, 2))
    seeds[places[:, 0], places[:, 1]] = rng.permutation(len(places)) + 1
    _, (y, x) = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    return seeds[y, x].astype(np.uint16)


def photograph(shape: tuple[int, int], seed: int) -> np.ndarray:
    grey = 120 + 40 * smooth(shape, seed) / smooth(shape, seed).std()
    return grey + np.random.default_rng(seed).normal(0, 3, shape)


SHAPE = (200, 240)


@pytest.mark.parametrize(
    "picture",
    [
        labels(SHAPE, 1),
        labels(SHAPE, 2, 0.05).astype(np.uint8),
        (labels(SHAPE, 3) * 1_000_003).astype(np.uint64),
        labels((12, 60, 70), 4),
        superpixels(SHAPE),
        labels(SHAPE, 5) > 0,
        (labels(SHAPE, 5) > 0).astype(np.uint8) * 255,
        labels(SHAPE, 1).astype(np.float32),
    ],
    ids=["many", "few", "large", "volume", "without background", "mask", "mask of bytes", "whole numbers as floats"],
)
def test_labels_are_known(picture: np.ndarray) -> None:
    assert are_labels(picture)


@pytest.mark.parametrize(
    "picture",
    [
        photograph(SHAPE, 1).clip(0, 255).astype(np.uint8),
        (photograph(SHAPE, 1) * 3 - 300).clip(0, 255).astype(np.uint8),
        np.random.default_rng(0).poisson(0.05, SHAPE).astype(np.uint16),
        np.random.default_rng(0).poisson(np.exp(4 * smooth(SHAPE, 3) / smooth(SHAPE, 3).std() - 5)).clip(0, 255),
        ndimage.gaussian_filter(255.0 * (labels(SHAPE, 1) > 0), 2).astype(np.uint8),
        (40 * smooth(SHAPE, 9) / smooth(SHAPE, 9).std() + 90).clip(0, 255).astype(np.uint8),
        labels(SHAPE, 1).astype(np.float32) / 2,
        np.full(SHAPE, 7, np.uint8),
        np.random.default_rng(0).integers(0, 2, SHAPE).astype(np.uint8),
    ],
    ids=[
        *("photograph", "clipped at both ends", "few counts", "sparse counts", "blurred cells", "without noise"),
        *("fractions", "blank", "noise of two values"),
    ],
)
def test_grey_values_are_not_taken_for_labels(picture: np.ndarray) -> None:
    assert not are_labels(picture)


def test_the_channels_that_hold_labels_are_listed() -> None:
    grey = photograph(SHAPE, 1).clip(0, 255).astype(np.uint16)
    image = Image.from_array(np.stack([grey, labels(SHAPE, 1).astype(np.uint16), grey]))
    assert label_channels(image) == (1,)
    colours = np.stack([labels(SHAPE, 1).astype(np.uint8)] * 3)
    assert label_channels(Image.from_array(colours, rgb=True)) == ()


def test_a_few_rows_are_read_where_they_tell_and_all_where_they_do_not() -> None:
    class Watched:
        def __init__(self, array: np.ndarray) -> None:
            self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0

        def __getitem__(self, key: tuple) -> np.ndarray:
            found = self.array[key]
            self.read += found.size
            return found

    dense = Watched(labels((4000, 600), 1)[None])
    sparse = Watched(np.zeros((1, 4000, 600), np.uint8))
    sparse.array[0, 3900:3950, 100:200] = 7
    for pixels in (dense, sparse):
        grid = Image.from_array(pixels.array).grid
        assert label_channels(Image((pixels,), grid, ("labels",))) == (0,)
    assert dense.read < dense.array.size / 2
    assert sparse.read == sparse.array.size
