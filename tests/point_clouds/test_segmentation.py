import numpy as np
import pytest
from scipy import ndimage

from correlight import Affine, Grid
from correlight.errors import UsageError
from correlight.point_clouds.fit import fit_clouds
from correlight.point_clouds.segmentation import cloud, segment


def balls(grid: Grid, radius: float, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels of balls that stay apart, and their middles."""
    rng = np.random.default_rng(seed)
    middles: list[np.ndarray] = []
    extent = np.asarray(grid.extent)
    while len(middles) < count:
        place = rng.uniform(2 * radius, extent - 2 * radius)
        if all(np.hypot.reduce(place - other) > 3 * radius for other in middles):
            middles.append(place)
    points = grid.lattice_of_pixels()
    labels = np.zeros(len(points), int)
    for number, middle in enumerate(middles, 1):
        labels[np.linalg.norm(points - middle, axis=1) < radius] = number
    return labels.reshape(grid.shape), np.array(middles)


GRIDS = [
    Grid.of((200, 240), 0.1, unit="micrometre"),
    Grid.of((24, 90, 100), (0.3, 0.1, 0.1), unit="micrometre"),
]


@pytest.mark.parametrize("grid", GRIDS, ids=["plane", "volume"])
@pytest.mark.parametrize("polarity", ["bright", "dark"])
def test_balls_are_found_one_by_one(grid, polarity):
    """Grey values of a light image: balls on a sloping background with noise of a fifth of their height."""
    labels, middles = balls(grid, 0.7, 12)
    rng = np.random.default_rng(1)
    bright = ndimage.gaussian_filter((labels > 0).astype(float), 1.0) + 0.002 * np.indices(grid.shape)[-1]
    picture = (1 if polarity == "bright" else -1) * bright + 0.2 * rng.normal(size=grid.shape)
    found = segment(picture.astype(np.float32), grid, polarity=polarity)
    assert found.count == 12
    centres = grid.points(np.array(ndimage.center_of_mass(found.labels > 0, found.labels, range(1, 13))))
    apart = np.linalg.norm(centres[:, None] - middles[None], axis=2).min(axis=1)
    # A pixel is 0.1 µm, a slice 0.3.
    assert apart.max() < 0.15
    # The strongest answer of a ball comes at radius / sqrt(axes), up to the step and the blur.
    assert found.size == pytest.approx(0.7 / np.sqrt(grid.ndim), rel=0.45)


def test_noise_holds_hardly_any_organelles():
    rng = np.random.default_rng(2)
    found = segment(rng.normal(size=(200, 200)).astype(np.float32), Grid.of((200, 200)))
    assert (found.labels > 0).mean() < 0.005
    assert segment(np.full((50, 50), 3.0, np.float32), Grid.of((50, 50))).count == 0


def test_masked_pixels_say_nothing():
    grid = GRIDS[0]
    labels, _ = balls(grid, 0.7, 12)
    mask = np.ones(grid.shape, bool)
    mask[:, :100] = False
    picture = ndimage.gaussian_filter((labels > 0).astype(np.float32), 1.0)
    spoilt = np.where(mask, picture, 1000 * np.random.default_rng(0).random(grid.shape)).astype(np.float32)
    found = segment(spoilt, grid, mask)
    assert found.count > 3
    assert not found.labels[~mask].any()
    assert np.array_equal(found.labels, segment(np.where(mask, picture, 5.0).astype(np.float32), grid, mask).labels)
    assert segment(picture, grid, np.zeros(grid.shape, bool)).count == 0


@pytest.mark.parametrize("grid", GRIDS, ids=["plane", "volume"])
def test_a_cloud_lies_on_the_outlines(grid):
    labels, middles = balls(grid, 0.8, 8)
    points = cloud(labels, grid, 300)
    assert len(points) == 300
    radius = np.linalg.norm(points[:, None] - middles[None], axis=2).min(axis=1)
    # Outline pixels have their middle inside the ball and a neighbour along an axis outside.
    assert radius.max() < 0.8
    assert radius.min() > 0.8 - max(grid.spacing)
    filled = cloud(labels, grid, 10**6, outline=False)
    assert len(filled) == np.count_nonzero(labels)


def test_touching_organelles_have_an_outline_each():
    labels = np.ones((20, 20), int)
    labels[:, 10:] = 2
    points = cloud(labels, Grid.of((20, 20)))
    assert set(points[:, 1]) == {9.0, 10.0}
    assert len(cloud(labels > 0, Grid.of((20, 20)))) == 0


def test_light_and_labels_lead_to_the_same_place():
    """The way of correlative volumes: blobs of a blurred, turned, noisy picture against labels of a sharp one."""
    fixed_grid = Grid.of((400, 400), 0.05, unit="micrometre")
    labels, _ = balls(fixed_grid, 0.6, 25, seed=4)
    moving_grid = Grid.of((220, 200), 0.15, unit="micrometre")
    moving_from_fixed = Affine.similarity(
        rotation=140.0, mirror=True, source=fixed_grid.centre, target=moving_grid.centre
    )
    there = fixed_grid.index(moving_from_fixed.inverse()(moving_grid.lattice_of_pixels())).T
    seen = ndimage.map_coordinates((labels > 0).astype(np.float32), there, order=1).reshape(moving_grid.shape)
    noise = 0.1 * np.random.default_rng(5).normal(size=moving_grid.shape)
    picture = (ndimage.gaussian_filter(seen, 1.0) + noise).astype(np.float32)
    blobs = segment(picture, moving_grid)
    found = fit_clouds(cloud(labels, fixed_grid, 1000), cloud(blobs.labels, moving_grid, 1000))
    assert found
    points = fixed_grid.lattice(8)
    apart = np.linalg.norm(found.moving_from_fixed(points) - moving_from_fixed(points), axis=1)
    # A third of a light pixel over the whole field.
    assert np.sqrt(np.mean(apart**2)) < 0.05


@pytest.mark.parametrize("wrong", [{"size": 0.0}, {"threshold": -1.0}, {"mask": np.ones((3, 3), bool)}])
def test_misuse_is_told_in_one_sentence(wrong):
    with pytest.raises(UsageError, match="must"):
        segment(np.zeros((20, 20), np.float32), Grid.of((20, 20)), **wrong)


def test_a_cloud_needs_labels_that_fit():
    with pytest.raises(UsageError, match="Labels must have the shape"):
        cloud(np.zeros((3, 3), int), Grid.of((4, 4)))
