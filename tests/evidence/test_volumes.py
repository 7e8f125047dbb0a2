"""What speaks for and against a pose in space, and what it weighs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from correlight.evidence.checks import IndependentFits, predicted_error
from correlight.evidence.confidence import Findings, calibration
from correlight.evidence.confidence import judge as judge_by
from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Verdict
from correlight.geometry import Grid
from correlight.transforms import Affine

# A volume is compared by nothing that was learned, and with no wrong poses but the rivals of the search.
GOOD = Findings(margin=1.6, search=1.4, halves=0.002, backward=0.003, overlap=0.7, unusual=float("nan"))


def judge(findings: Findings) -> Verdict:
    return judge_by(findings, calibration("volumes"))


def test_what_stands_out_and_agrees_is_accepted() -> None:
    verdict = judge(GOOD)
    assert verdict.status == "accepted"
    assert all(one.favours for one in verdict.evidence)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"margin": 1.01, "search": 1.05}, "Margin over rivals"),
        ({"halves": 0.1}, "Two halves"),
        ({"backward": 0.1}, "Exchanged images"),
    ],
)
def test_each_kind_of_doubt_is_enough_not_to_accept(change: dict[str, Any], name: str) -> None:
    verdict = judge(replace(GOOD, **change))
    assert verdict.status != "accepted"
    assert next(one.name for one in verdict.evidence if not one.favours) == name
    assert verdict.reasons


def test_confidence_rises_with_the_margin() -> None:
    values = [judge(replace(GOOD, margin=margin)).confidence for margin in (1.0, 1.1, 1.2, 1.4)]
    assert values == sorted(values)
    assert values[0] < 0.3 < 0.9 < values[-1]


def test_the_predicted_error_is_half_of_what_halves_differ_by() -> None:
    grid = Grid.of((10, 40, 50), (0.5, 0.1, 0.1), unit="micrometre")
    pose = Affine.identity(3)

    def predicted(found: Affine, halves: tuple[Affine, Affine]) -> PredictedError:
        return predicted_error(IndependentFits(found, halves, found), 1.0, grid, grid, calibration("volumes"))

    halves = (Affine.of(np.eye(3), (0.0, 1.0, 0.0)), Affine.of(np.eye(3), (0.0, -1.0, 0.0)))
    least = 0.3 * (0.5 * 0.1 * 0.1) ** (1 / 3)
    assert predicted(pose, halves).median == pytest.approx(np.hypot(1.0, least), rel=1e-6)
    away = Affine.of(np.eye(3), (100.0, 0, 0))
    assert np.isnan(predicted(away, (away, away)).values).all()


def test_a_start_leaves_nothing_to_say_about_the_search() -> None:
    verdict = judge(replace(GOOD, search=float("nan")))
    assert verdict.status == "accepted"
    named = [one.name for one in verdict.evidence]
    assert "Margin in the plane" not in named
    # Nor is anything weighed that only planes have.
    assert set(named) == {"Margin over rivals", "Two halves", "Exchanged images", "Overlap"}
