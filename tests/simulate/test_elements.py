import numpy as np
import pytest

from correlight.simulate.elements import Bends, bent, dots, draw_materials, inside, oval, packed, thinned, tiles
from correlight.simulate.model import Material, Shape
from correlight.simulate.outlines import Warp

GLASS = Material("glass", 0.5)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.mark.parametrize("heading", [0.0, 0.7, np.pi / 2, 2.5])
def test_an_oval_lies_along_its_heading(rng, heading):
    """Directions are (sin, cos) in (y, x), as everywhere in outlines."""
    points = oval(rng, np.array([3.0, -2.0]), 2.0, 0.5, heading, roughness=0.0) - (3.0, -2.0)
    along = points @ [np.sin(heading), np.cos(heading)]
    across = points @ [np.cos(heading), -np.sin(heading)]
    # A polygon of 22 vertices falls short of its circle by at most 1 - cos(pi / 22) = 1 %.
    assert np.abs(along).max() == pytest.approx(2.0, rel=0.011)
    assert np.abs(across).max() == pytest.approx(0.5, rel=0.011)


def test_offsets_inside_fill_the_ellipse_evenly(rng):
    """A quarter of the area of an ellipse lies within half of it; 4000 draws tell to 0.7 % (one sigma)."""
    offsets = np.array([inside(rng, 3.0, 1.0, 0.4) for _ in range(4000)])
    along, across = offsets @ [np.sin(0.4), np.cos(0.4)] / 3, offsets @ [np.cos(0.4), -np.sin(0.4)]
    far = np.hypot(along, across)
    assert far.max() <= 1
    assert np.mean(far < 0.5) == pytest.approx(0.25, abs=0.028)
    assert np.abs([along.mean(), across.mean()]).max() < 0.035


def test_packed_discs_keep_their_distance_and_none_could_be_put_back(rng):
    radii = rng.uniform(0.5, 3.0, 600)
    places, which = packed(rng, radii, 40.0, 1.1)
    kept = radii[which]
    gap = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) - 1.1 * (kept[:, None] + kept)
    assert gap[~np.eye(len(places), dtype=bool)].min() > 0
    assert np.all(np.diff(which) > 0)
    assert np.abs(places).max() <= 20
    assert 0.2 < np.pi * np.sum(kept**2) / 40**2 < 0.9


def test_thinned_discs_keep_their_distance(rng):
    places, radii, rank = rng.uniform(0, 40, (4000, 2)), np.full(4000, 0.5), rng.random(4000)
    stays = thinned(places, radii, rank, 1.0)
    left = places[stays]
    apart = np.hypot(*(left[:, None] - left[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(left))
    assert apart.min() >= 1.0
    # One round of the process keeps (1 - exp(-n a)) / (n a) of n discs per area with exclusion area a (Matérn); the
    # second round can only add.
    load = 4000 / 1600 * np.pi
    assert len(left) / 4000 > 0.95 * (1 - np.exp(-load)) / load
    highest = int(np.argmax(rank))
    assert stays[highest]


def test_tiles_cover_the_specimen_once():
    middles = np.array([middle for _, middle in tiles(40.0, 8.0)])
    assert len(np.unique(middles, axis=0)) == 25
    assert (middles.min(), middles.max()) == (-16.0, 16.0)
    assert [number for number, _ in tiles(40.0, 8.0)] == list(range(25))


def test_bends_are_the_warps_in_order_and_never_fold(rng):
    first, second = Warp(rng, 0.9, 1.0, 9.0, 4), Warp(rng, 0.9, 1.0, 9.0, 4)
    both = Bends(first, second)
    points = rng.uniform(-20, 20, (500, 2))
    assert np.array_equal(both(points), second(first(points)))
    assert np.hypot(*(both(points) - points).T).max() <= both.largest_shift
    step = 1e-5
    rows, columns = ((both(points + offset) - both(points - offset)) / (2 * step) for offset in ([step, 0], [0, step]))
    assert np.min(rows[:, 0] * columns[:, 1] - rows[:, 1] * columns[:, 0]) > 0


def test_bent_shapes_are_each_shape_bent(rng):
    warp = Warp(rng, 0.5, 2.0, 9.0)
    shapes = [Shape(rng.uniform(-5, 5, (count, 2)), GLASS, float(count)) for count in (3, 7, 4)]
    for before, after in zip(shapes, bent(shapes, warp), strict=True):
        assert np.allclose(after.points, warp(before.points))
        assert (after.material, after.width) == (before.material, before.width)
    assert bent([], warp) == []


def test_dots_are_circles_at_their_centres():
    centres = np.array([[0.0, 1.0], [4.0, -3.0]])
    for dot, centre in zip(dots(centres, 0.2, GLASS, 9), centres, strict=True):
        assert np.allclose(np.hypot(*(dot.points - centre).T), 0.2)
        assert dot.points.shape == (9, 2)


def test_materials_differ_between_specimens_in_all_that_instruments_see():
    at_rest = {"dark": (0.8, 0.0, 0.4), "dyed": (0.4, 0.6, 1.0)}
    drawn = [draw_materials(np.random.default_rng(seed), at_rest) for seed in range(60)]
    for name in at_rest:
        for quantity in ("stain", "reflectance", "grain"):
            values = np.array([getattr(stuff[name], quantity) for stuff in drawn])
            assert values.std() > 0.03
            assert values.min() >= 0
    assert all(stuff["dark"].chromatin == 0 and stuff["dark"].stain <= 1 for stuff in drawn)
    # Stain keeps its order; reflectance follows it with either sign.
    assert np.mean([stuff["dark"].stain > stuff["dyed"].stain for stuff in drawn]) > 0.95
    sign = np.array([stuff["dark"].reflectance > stuff["dyed"].reflectance for stuff in drawn])
    assert 0.2 < sign.mean() < 0.8
