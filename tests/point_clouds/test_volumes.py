"""Organelles of two stacks with voxels of unlike shape: segmented, laid onto each other; unrelated ones are told."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from correlight import Affine, Grid
from correlight.point_clouds.fit import CloudFit, fit_clouds
from correlight.point_clouds.segmentation import cloud, segment

# Slices of the light stack are two and a half times as far apart as its pixels are wide.
FIXED = Grid.of((40, 80, 90), 0.1, unit="micrometre")
MOVING = Grid.of((15, 60, 66), (0.35, 0.15, 0.15), unit="micrometre")
POINTS = 800


@cache
def organelles(seed: int) -> np.ndarray:
    """Labels of 24 ovals of mixed size and shape."""
    rng = np.random.default_rng(seed)
    places, labels = FIXED.lattice_of_pixels(), np.zeros(int(np.prod(FIXED.shape)), np.uint16)
    for number in range(1, 25):
        middle, radius = rng.uniform(0, FIXED.extent), np.exp(rng.normal(np.log(0.5), 0.3))
        labels[np.sum(((places - middle) / np.exp(rng.normal(0, 0.3, 3))) ** 2, axis=1) < radius**2] = number
    return labels.reshape(FIXED.shape)


def truth(seed: int) -> Affine:
    """Any rotation about z, a tilt of up to 15 degrees about either other axis, mirrored or not."""
    rng = np.random.default_rng([seed, 3])
    angles = rng.uniform((-180, -15, -15), (180, 15, 15))
    rotation = Rotation.from_euler("zyx", angles, degrees=True).as_matrix()[::-1, ::-1]
    linear = 1.03 * rotation @ np.diag([1, 1, -1 if seed % 2 else 1])
    return Affine.of(linear, MOVING.centre - linear @ FIXED.centre)


@cache
def light(seed: int) -> np.ndarray:
    """The same organelles blurred, with noise of a tenth of their brightness, on coarse voxels."""
    places = truth(seed).inverse()(MOVING.lattice_of_pixels())
    seen = ndimage.map_coordinates((organelles(seed) > 0).astype(np.float32), FIXED.index(places).T, order=1)
    noise = 0.1 * np.random.default_rng(seed).normal(size=MOVING.shape)
    return (ndimage.gaussian_filter(seen.reshape(MOVING.shape), (0.6, 1.0, 1.0)) + noise).astype(np.float32)


def fitted(fixed: int, moving: int) -> CloudFit:
    clouds = (
        cloud(organelles(fixed), FIXED, POINTS),
        cloud(segment(light(moving), MOVING).labels, MOVING, POINTS),
    )
    return fit_clouds(*clouds, "similarity", outliers=0.2)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_organelles_of_two_stacks_are_laid_onto_each_other(seed: int) -> None:
    found = fitted(seed, seed)
    assert found, found.reason
    places = FIXED.lattice(8)
    apart = np.linalg.norm(found.moving_from_fixed(places) - truth(seed)(places), axis=1)
    # 0.05 to 0.09 in these three: less than a pixel of the light stack.
    assert apart.mean() < 0.1
    assert found.linear.mirrored == bool(seed % 2)
    # What a registration asks for: see `correlight.point_clouds.method`.
    assert found.margin > 0.4


@pytest.mark.parametrize("seeds", [(0, 1), (1, 2), (2, 0)])
def test_unrelated_organelles_fit_no_better_than_in_other_orientations(seeds: tuple[int, int]) -> None:
    assert not fitted(*seeds).margin > 0.2


def test_blobs_of_a_stack_are_segmented_by_their_true_size() -> None:
    """The scale is one length for all axes: a ball of five voxels by eleven is one organelle as round as it is."""
    labels = np.zeros(MOVING.shape, int)
    places = MOVING.lattice_of_pixels().reshape(*MOVING.shape, 3)
    middles = np.array([[1.6, 2.4, 2.4], [3.4, 6.4, 3.2], [2.2, 4.0, 7.4]])
    for middle in middles:
        labels[np.linalg.norm(places - middle, axis=-1) < 0.8] = 1
    rng = np.random.default_rng(0)
    picture = ndimage.gaussian_filter(labels.astype(np.float32), (0.5, 1.0, 1.0)) + 0.05 * rng.normal(size=labels.shape)
    found = segment(picture.astype(np.float32), MOVING)
    assert found.count == 3
    assert found.size == pytest.approx(0.8 / np.sqrt(3), rel=0.45)
    extents = [
        np.array([side.stop - side.start for side in box]) * MOVING.spacing
        for box in ndimage.find_objects(found.labels)
    ]
    # Each about 1.6 µm along all axes, to a voxel on either side.
    assert np.all(np.abs(np.array(extents) - 1.6) <= 2 * np.asarray(MOVING.spacing))


def test_a_mask_takes_as_much_off_along_every_axis() -> None:
    """Eroding as many slices as pixels would leave nothing of a stack of few slices."""
    mask = np.ones(MOVING.shape, bool)
    mask[:, :, :20] = False
    mask[:3] = False
    picture = light(0)
    found = segment(picture, MOVING, mask)
    assert not found.labels[~mask].any()
    assert (found.labels > 0)[5:].any(axis=(1, 2)).all()
