"""A small field is found in a wide one, by every kind of comparison that can."""

import numpy as np
import pytest

from correlight.geometry import Grid
from correlight.images.plane import Plane
from correlight.images.resample import warp
from correlight.search.template import Range, match_template
from correlight.transforms import Affine
from tests.phantoms import mean_error, plane, texture


def scene(seed: int, side: int = 400) -> np.ndarray:
    return texture((side, side), seed, 3).astype(np.float32)


def template(
    wide: Plane, turn: float, scale: float, place: tuple[float, float], side: int = 240
) -> tuple[Plane, Affine]:
    """A part of the wide field with pixels a quarter as large, and where it lies."""
    grid = Grid.of((side, side), 0.25)
    truth = Affine.similarity(turn, scale, False, grid.centre, place)
    values, inside = warp(wide.values[None], wide.grid, truth, grid)
    return Plane(values[0], inside, grid), truth


def error(found: Affine, truth: Affine, grid: Grid) -> float:
    return mean_error(found, truth, grid, 5)


@pytest.mark.parametrize("kind", ["edges", "zero-mean", "plain"])
def test_a_part_of_the_same_picture_is_found_by_all_kinds(kind: str) -> None:
    wide = plane(scene(1))
    small, truth = template(wide, 0.0, 1.04, (230.0, 120.0))
    poses = match_template(small, wide, Range((0.9, 1.1)), kind)  # type: ignore[arg-type]
    assert error(poses[0].linear, truth, small.grid) < 1.0
    assert [pose.score for pose in poses] == sorted((pose.score for pose in poses), reverse=True)
    assert poses[0].overlap == pytest.approx(1.0)


def test_edges_find_it_where_contrast_is_upside_down_and_grey_values_do_not() -> None:
    wide = plane(scene(2))
    small, truth = template(wide, 0.0, 1.0, (150.0, 260.0))
    turned = Plane(1 - small.values, small.mask, small.grid)
    found = {kind: match_template(turned, wide, Range((0.95, 1.05)), kind)[0] for kind in ("edges", "zero-mean")}  # type: ignore[arg-type]
    assert error(found["edges"].linear, truth, small.grid) < 1.0
    assert error(found["zero-mean"].linear, truth, small.grid) > 20


@pytest.mark.parametrize("kind", ["edges", "zero-mean"])
def test_a_turned_field_is_found(kind: str) -> None:
    wide = plane(scene(3))
    small, truth = template(wide, -7.0, 0.97, (200.0, 210.0))
    pose = match_template(small, wide, Range((0.95, 1.0), (-9, -5)), kind)[0]  # type: ignore[arg-type]
    assert error(pose.linear, truth, small.grid) < 1.2


def test_a_field_that_hangs_over_the_rim_is_found() -> None:
    wide = plane(scene(4))
    small, truth = template(plane(scene(4)), 0.0, 1.0, (18.0, 200.0))
    rest = Plane(np.where(small.mask, small.values, np.float32(0.5)), small.mask, small.grid)
    pose = match_template(rest, wide, Range((0.97, 1.03)))[0]
    assert error(pose.linear, truth, small.grid) < 1.5


def test_a_wide_range_of_sizes_is_searched() -> None:
    wide = plane(scene(5))
    small, truth = template(wide, 0.0, 1.7, (200.0, 190.0))
    assert error(match_template(small, wide, Range((0.5, 2.5)))[0].linear, truth, small.grid) < 2.5


def test_another_specimen_stands_out_nowhere() -> None:
    wide = plane(scene(6))
    small, _ = template(plane(scene(7)), 0.0, 1.0, (200.0, 200.0))
    poses = match_template(small, wide, Range((0.9, 1.1)))
    assert poses[0].score < 1.3 * poses[1].score


def test_a_template_that_is_larger_than_the_field_fits_nowhere() -> None:
    small, _ = template(plane(scene(8)), 0.0, 1.0, (200.0, 200.0))
    assert match_template(small, plane(scene(8)[:20, :20]), Range((0.9, 1.1))) == []
