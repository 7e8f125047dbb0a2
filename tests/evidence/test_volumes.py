"""What speaks for and against a pose in space, and what it weighs."""

from dataclasses import replace

import numpy as np
import pytest
from correlight.evidence.volumes import Checks, Findings, judge, predict

from correlight.geometry import Grid
from correlight.transforms import Affine

GOOD = Findings(margin=1.6, search=1.4, halves=0.002, backward=0.003, overlap=0.7)


def test_what_stands_out_and_agrees_is_accepted() -> None:
    verdict = judge(GOOD)
    assert verdict.status == "accepted"
    assert all(clue.favours for clue in verdict.evidence)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"margin": 1.01, "search": 1.05}, "Margin over rivals"),
        ({"halves": 0.1}, "Two halves"),
        ({"backward": 0.1}, "Exchanged images"),
    ],
)
def test_each_kind_of_doubt_is_enough_not_to_accept(change: dict[str, float], name: str) -> None:
    verdict = judge(replace(GOOD, **change))
    assert verdict.status != "accepted"
    assert next(clue.name for clue in verdict.evidence if not clue.favours) == name
    assert verdict.reasons


def test_confidence_rises_with_the_margin() -> None:
    values = [judge(replace(GOOD, margin=margin)).confidence for margin in (1.0, 1.1, 1.2, 1.4)]
    assert values == sorted(values)
    assert values[0] < 0.3 < 0.9 < values[-1]


def test_the_predicted_error_is_half_of_what_halves_differ_by() -> None:
    grid = Grid.of((10, 40, 50), (0.5, 0.1, 0.1), unit="micrometre")
    pose = Affine.identity(3)
    halves = (Affine.of(np.eye(3), (0.0, 1.0, 0.0)), Affine.of(np.eye(3), (0.0, -1.0, 0.0)))
    predicted = predict(Checks(halves, pose), pose, grid, grid)
    least = 0.3 * (0.5 * 0.1 * 0.1) ** (1 / 3)
    assert predicted.median == pytest.approx(np.hypot(1.0, least), rel=1e-6)
    away = Affine.of(np.eye(3), (100.0, 0, 0))
    assert np.isnan(predict(Checks((away, away), away), away, grid, grid).values).all()


def test_a_start_leaves_nothing_to_say_about_the_search() -> None:
    verdict = judge(replace(GOOD, search=float("nan")))
    assert verdict.status == "accepted"
    assert "Margin of the search" not in [clue.name for clue in verdict.evidence]
