import numpy as np
import pytest
from scipy import ndimage

from correlight import Affine, Grid
from correlight.errors import UsageError
from correlight.simulate.model import Material, Shape, Texture, paint

EMPTY, FULL = Material("empty", 0.0), Material("full", 1.0)
SQUARE = np.array([[2.0, 3.0], [2.0, 7.0], [5.0, 7.0], [5.0, 3.0]])


def pixels(shape, spacing):
    return Grid.of(shape, spacing, unit="micrometre")


@pytest.mark.parametrize("spacing", [0.05, 0.1, 0.25])
def test_an_outline_covers_its_area_in_its_place_at_every_pixel_size(spacing):
    """OpenCV also fills the drawn pixels that an outline passes through: half a drawn pixel more on every side."""
    grid = pixels((round(10 / spacing), round(12 / spacing)), spacing)
    drawing = paint([Shape(SQUARE, FULL)], EMPTY, grid, Affine.identity(), 0.025)
    cover = drawing.quantity("stain")
    assert cover.sum() * spacing**2 == pytest.approx((3 + 0.025) * (4 + 0.025), rel=0.004)
    assert np.allclose(grid.points([ndimage.center_of_mass(cover)])[0], (3.5, 5.0), atol=0.0125)


@pytest.mark.parametrize("mirror", [False, True])
def test_a_pose_moves_the_drawing(mirror):
    grid = pixels((200, 200), 0.1)
    place = Affine.similarity(rotation=63.0, mirror=mirror, source=(10.0, 10.0), target=(3.0, 6.0))
    cover = paint([Shape(SQUARE, FULL)], EMPTY, grid, place, 0.025).quantity("stain")
    expected = place.inverse()(SQUARE.mean(0, keepdims=True))[0]
    assert np.allclose(grid.points([ndimage.center_of_mass(cover)])[0], expected, atol=0.0125)


def test_later_shapes_hide_earlier_ones_and_strokes_have_their_width():
    line = Shape(np.array([[3.5, 0.0], [3.5, 10.0]]), Material("line", 0.5), 0.4)
    drawing = paint([Shape(SQUARE, FULL), line], EMPTY, pixels((100, 100), 0.1), Affine.identity(), 0.02)
    assert drawing.fraction("line").sum() * 0.01 == pytest.approx(0.4 * 9.95, rel=0.06)
    assert drawing.quantity("stain")[35, 50] == 0.5
    assert drawing.quantity("stain", 2).shape == (200, 200)
    both = drawing.fraction("line", "full", "empty")
    assert np.allclose(both, 1)


@pytest.mark.parametrize("grid", [Grid.of((8, 8)), Grid.of((4, 4, 4), 1.0, unit="micrometre")])
def test_a_grid_that_is_not_flat_and_physical_is_refused(grid):
    with pytest.raises(UsageError, match="flat grid in micrometres"):
        paint([], EMPTY, grid, Affine.identity(), 1.0)


@pytest.mark.parametrize("size", [0.35, 0.12, 0.05])
def test_texture_has_unit_strength_where_it_is_resolved(size):
    values = Texture((4,)).sample(size, pixels((400, 400), 0.04), Affine.identity())
    grains = (400 * 0.04 / size) ** 2
    assert abs(values.mean()) < 4 / np.sqrt(grains)
    # The standard deviation of N grains is known to 1 / sqrt(2 N); neighbours are correlated, hence the factor.
    assert values.std() == pytest.approx(1.0, abs=6 / np.sqrt(2 * grains))


def test_texture_finer_than_a_pixel_fades_as_its_mean_does():
    values = Texture((4,)).sample(0.05, pixels((400, 400), 0.1), Affine.identity())
    assert values.std() == pytest.approx(0.5, rel=0.05)
    assert not Texture((4,)).sample(0.03, pixels((8, 8), 0.1), Affine.identity()).any()


def test_texture_is_fixed_to_the_specimen():
    """Two instruments at the same place read the same value, whatever their pose."""
    texture = Texture((5,))
    one, other = pixels((200, 200), 0.1), pixels((260, 260), 0.07)
    place = Affine.similarity(rotation=40.0, mirror=True, source=(9.0, 9.0), target=(11.0, 10.0))
    first = texture.sample(1.0, one, Affine.identity())
    second = texture.sample(1.0, other, place)
    points = np.random.default_rng(0).uniform(8, 12, (300, 2))
    seen = [
        ndimage.map_coordinates(values, grid.index(there).T, order=3)
        for values, grid, there in ((first, one, points), (second, other, place.inverse()(points)))
    ]
    # OpenCV rounds positions to 1/32 of a lattice cell; a typical slope is about one strength per cell.
    assert np.sqrt(np.mean((seen[0] - seen[1]) ** 2)) < 0.05


def test_texture_differs_from_seed_to_seed():
    grid = pixels((200, 200), 0.1)
    one, other = (Texture((seed,)).sample(0.5, grid, Affine.identity()) for seed in (1, 2))
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1
