"""Smooth maps are asked at few places of a block, and what lies in between is right to a hundredth of a pixel."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.images.places import PLACE_ERROR, NodePlaces, dense, places_of
from correlight.images.resample import warp
from correlight.transforms import Affine, BSplineField, Chain, Displacement, ThinPlate, Transform, VelocityField
from correlight.transforms.bending import finest_detail
from tests.phantoms import texture

SHAPES = {2: (200, 256), 3: (40, 60, 80)}


def grid(ndim: int) -> Grid:
    return Grid.of(SHAPES[ndim], (0.5, 0.25, 0.25)[-ndim:], (-3.0, 2.0, 1.0)[-ndim:], "micrometre")


def lattice(ndim: int, cells: int) -> Grid:
    """Control points around an image, the outermost three of every side beyond it."""
    over = grid(ndim)
    steps = np.asarray(over.extent) / cells
    return Grid.of((cells + 7,) * ndim, tuple(steps), tuple(np.asarray(over.origin) - 3 * steps), over.unit)


def inner(where: Grid, strength: float) -> Any:
    numbers = np.zeros((*where.shape, where.ndim))
    part = (slice(3, -3),) * where.ndim
    numbers[part] = np.random.default_rng(3).normal(size=numbers[part].shape) * strength
    return numbers


def smooth_map(kind: str, ndim: int) -> Transform:
    over, where = grid(ndim), lattice(ndim, 2)
    turn = Affine.of(np.eye(ndim) + 0.05 * np.random.default_rng(0).normal(size=(ndim, ndim)), np.zeros(ndim))
    if kind == "spline":
        return Chain((BSplineField(inner(where, 0.8), where), turn))
    if kind == "flow":
        return VelocityField(inner(where, 0.8), where)
    if kind == "inverse":
        return BSplineField(inner(where, 0.8), where).inverse() @ turn
    places = over.lattice(3)
    pulls = 30.0 * np.random.default_rng(1).normal(size=places.shape)
    return ThinPlate(places, pulls - pulls.mean(axis=0), Affine.identity(ndim), float(max(over.extent)))


@dataclass(frozen=True, eq=False)
class Counted:
    """A map that counts how many places it was asked for."""

    of: Any
    asked: list[int] = field(default_factory=list)

    ndim = property(lambda self: self.of.ndim)

    def __call__(self, points: Any) -> Any:
        self.asked.append(len(points))
        return self.of(points)


@pytest.mark.parametrize(
    ("kind", "ndim"),
    [("spline", 2), ("spline", 3), ("flow", 2), ("flow", 3), ("inverse", 2), ("inverse", 3), ("landmarks", 2)],
)
def test_places_between_nodes_are_right_to_a_hundredth_of_a_pixel(kind: str, ndim: int) -> None:
    over, move = grid(ndim), smooth_map(kind, ndim)
    region = tuple(slice(0, n) for n in over.shape)
    known = places_of(over, move, over, quick=True)
    assert known is not None
    made = known(region)
    assert isinstance(made, NodePlaces)
    found = np.stack(dense(made, region))
    index = np.random.default_rng(2).integers(0, over.shape, (4000, ndim))
    exact = over.index(move(over.points(index)))
    assert np.abs(exact - index).max() > 1.0
    assert np.abs(found[(slice(None), *index.T)].T - exact).max() <= PLACE_ERROR
    assert (made.low <= found.reshape(ndim, -1).min(axis=1)).all()
    assert (made.high >= found.reshape(ndim, -1).max(axis=1)).all()
    assert made.nodes[0].size < found[0].size / 8
    lines = made.lines(0, 5, 9)
    assert np.array_equal(lines, found[0].reshape(-1, over.shape[-1])[5:9])
    halved = made.shrunk((2,) * ndim)
    assert np.abs(np.stack(dense(halved, region)) - (found - 0.5) / 2).max() < 1e-9


@pytest.mark.parametrize(("dtype", "order"), [(np.uint8, "linear"), (np.float32, "linear"), (np.uint16, "nearest")])
def test_an_image_moved_by_nodes_is_that_moved_pixel_by_pixel(dtype: type, order: Any, monkeypatch: Any) -> None:
    over, move = grid(2), smooth_map("spline", 2)
    slope = np.add.outer(np.arange(200) * 0.2, np.arange(256) * 0.4)
    labels = np.kron(texture((20, 32), 1) * 900, np.ones((10, 8)))
    pixels: NDArray[Any] = (slope if order == "linear" else labels).astype(dtype)[None]
    values, inside = warp(pixels, over, move, over, order)
    monkeypatch.setattr("correlight.images.places.PLACE_ERROR", -1.0)
    expected, there = warp(pixels, over, move, over, order)
    assert 0.5 < inside.mean() < 1
    # Where the moving image ends is looked at pixel by pixel in either case.
    assert np.array_equal(inside, there)
    if order == "nearest":
        assert np.mean(values != expected) < 0.01
    else:
        assert np.abs(values.astype(float) - expected).max() <= (1 if dtype == np.uint8 else 0.01)


def test_a_detail_between_the_nodes_is_not_missed() -> None:
    over = Grid.of((256, 256))
    vectors = np.zeros((64, 64, 2))
    vectors[31, 37] = [3.0, 0.0]
    spike = Displacement(vectors, Grid.of((64, 64), 4.0))
    assert finest_detail(spike, over.centre) == 4.0
    ramp = np.indices((256, 256))[0][None].astype(np.float32)
    values, _ = warp(ramp, over, spike, over)
    assert values[0, 124, 148] == pytest.approx(127.0)


def test_few_places_of_a_large_block_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = Grid.of((1024, 1024), 0.1, 0.0, "micrometre")
    steps = 102.4 / 4
    where = Grid.of((11, 11), steps, -3 * steps, "micrometre")
    counted = Counted(BSplineField(inner(where, 0.3), where))
    monkeypatch.setattr("correlight.images.places.finest_detail", lambda *_: where.spacing[0])
    known = places_of(over, counted, over, quick=True)  # type: ignore[arg-type]
    assert known is not None
    assert known((slice(0, 1024), slice(0, 1024))) is not None
    assert sum(counted.asked) < 1024**2 / 20


def test_the_finest_detail_is_that_of_the_frame_where_it_is_asked_for() -> None:
    bent = BSplineField(np.zeros((9, 9, 2)), Grid.of((9, 9), 3.0))
    larger = Affine.of(2.0 * np.eye(2), (0.0, 0.0))
    assert finest_detail(bent, np.zeros(2)) == 3.0
    assert finest_detail(larger @ bent, np.zeros(2)) == 3.0
    assert finest_detail(bent @ larger, np.zeros(2)) == 1.5
    assert finest_detail(larger, np.zeros(2)) == np.inf
    assert finest_detail(bent.inverse(), np.zeros(2)) == pytest.approx(3.0)
