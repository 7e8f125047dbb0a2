"""The judgement as a function of what was found, and the predicted error as a function of independent estimates."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlight.appearance.channels import edges
from correlight.evidence.checks import (
    IndependentFits,
    independent_fits,
    local_misfit,
    predicted_error,
    shares_apart,
)
from correlight.evidence.confidence import Compared, Findings, calibration, judge
from correlight.evidence.null_poses import ScoreStatistics, score_statistics
from correlight.evidence.predicted_error import PredictedError
from correlight.geometry import Grid
from correlight.images.plane import Plane
from correlight.refine.choose import Choice
from correlight.refine.planes import PlanePair
from correlight.search.correlate import ByFeatures, Shift
from correlight.search.limits import Limits, NearStart
from correlight.search.pose import Pose
from correlight.transforms import Affine
from tests.phantoms import MIDDLE, mean_error, seen_through

# As measured on a clear real pair, and on images of two specimens.
CLEAR = Findings(
    margin=2.3,
    wrong_poses=37.0,
    wrong_ratio=3.5,
    second_measure=7.0,
    halves=0.002,
    measures=0.001,
    backward=0.0015,
    overlap=0.86,
)
UNRELATED = Findings(
    margin=1.03,
    wrong_poses=2.3,
    wrong_ratio=1.0,
    second_measure=0.8,
    halves=0.023,
    measures=0.05,
    backward=0.06,
    overlap=0.7,
)
MEASURED = [field.name for field in fields(Findings) if field.type == "float"]
shares = st.floats(0.0, 0.5)
some_findings = st.builds(
    Findings,
    margin=st.floats(0.3, 10.0),
    wrong_poses=st.floats(-2.0, 60.0),
    wrong_ratio=st.floats(0.3, 10.0),
    second_measure=st.floats(-2.0, 20.0),
    halves=shares,
    measures=shares,
    backward=shares,
    overlap=st.floats(0.1, 1.0),
    search=st.floats(0.3, 10.0) | st.just(float("nan")),
    predicted=st.floats(0.0, 3.0) | st.just(float("nan")),
    detail=st.floats(-2.0, 60.0),
    inside=st.floats(-2.0, 20.0) | st.just(float("nan")),
)
kinds: st.SearchStrategy[Compared] = st.sampled_from(["images", "volumes"])


def test_a_clear_pair_is_accepted_and_an_unrelated_one_refused() -> None:
    assert judge(CLEAR).status == "accepted"
    assert judge(UNRELATED).status == "refused"


@pytest.mark.parametrize(
    "change",
    [
        {"unusual": 2.5, "wrong_ratio": 1.6, "margin": 1.4},
        {"wrong_ratio": 1.05},
        {"margin": 0.9, "wrong_ratio": 1.6},
        {"halves": 0.1},
        {"measures": 0.1, "margin": 1.5},
        {"backward": 0.1},
        {"inside": 1.0},
        {"second_measure": 0.5, "wrong_ratio": 1.5, "margin": 1.4},
    ],
)
def test_one_bad_finding_keeps_a_result_from_being_accepted(change: dict[str, Any]) -> None:
    verdict = judge(replace(CLEAR, **change))
    assert verdict.status != "accepted"
    assert verdict.reasons


def test_a_doubtful_result_with_nothing_against_it_says_that_what_favours_it_is_weak() -> None:
    verdict = judge(replace(CLEAR, wrong_ratio=1.36, margin=1.16, wrong_poses=7.0))
    assert verdict.status == "doubtful"
    assert all(one.favours for one in verdict.evidence)
    said, *weakest = verdict.reasons
    assert said.startswith("Nothing speaks against this result, but what speaks for it is too weak (confidence 0.")
    assert weakest == [
        "The pose scores 1.4 times as much as the best of 0 deliberately wrong poses.",
        "It scores 1.2 times as much as the best rival pose.",
    ]


def test_a_pose_that_stands_far_out_outweighs_a_measure_that_follows_a_vignette() -> None:
    vignette = replace(CLEAR, margin=2.6, second_measure=0.2, measures=0.04)
    verdict = judge(vignette)
    assert verdict.status == "accepted"
    assert any("does not support this pose" in reason for reason in verdict.reasons)
    # The same opinion keeps a pose from being accepted that stands out less, or beside halves that disagree.
    assert judge(replace(vignette, wrong_ratio=1.7, margin=1.4)).status == "refused"
    assert judge(replace(vignette, halves=0.1)).status != "accepted"


def test_a_symmetric_specimen_is_doubtful_and_says_why() -> None:
    verdict = judge(replace(CLEAR, wrong_ratio=1.02, margin=1.01, rival="The mirror image", symmetric=True))
    assert verdict.status == "doubtful"
    assert any("The mirror image fits almost as well" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("seen", [{"rival_agrees": True}, {"less_common": 1.1}])
def test_a_pose_with_less_in_common_that_agrees_better_leaves_the_half_open(seen: dict[str, Any]) -> None:
    assert judge(replace(CLEAR, less_common=2.0)).status == "accepted"
    assert judge(replace(CLEAR, **seen)).status == "doubtful"
    assert judge(replace(UNRELATED, **seen)).status == "refused"


def test_two_wrong_poses_are_no_symmetric_specimen() -> None:
    assert judge(replace(UNRELATED, rival="The mirror image", symmetric=True)).status == "refused"


@given(some_findings, kinds)
def test_a_verdict_is_always_complete(findings: Findings, kind: Compared) -> None:
    """Every finding that was measured is weighed, and nothing else."""
    verdict = judge(findings, calibration(kind))
    assert 0 < verdict.confidence < 1
    assert verdict.reasons
    assert all(reason.endswith(".") for reason in verdict.reasons)
    known = [getattr(findings, name) for name in MEASURED if np.isfinite(getattr(findings, name))]
    assert len(known) >= len(MEASURED) - 4
    assert len({one.name for one in verdict.evidence}) == len(verdict.evidence) == len(known)
    assert {one.value for one in verdict.evidence} == set(known)


@given(some_findings, kinds, st.sampled_from(MEASURED), st.floats(0.0, 3.0))
def test_better_evidence_never_lowers_the_confidence(
    findings: Findings, kind: Compared, name: str, more: float
) -> None:
    better = -more if name in ("halves", "measures", "backward", "unusual", "predicted") else more
    improved = replace(findings, **{name: getattr(findings, name) + better})
    known = calibration(kind)
    assert judge(improved, known).confidence >= judge(findings, known).confidence


def test_a_rival_that_did_not_hold_is_none_and_wrong_poses_stand_for_it() -> None:
    best, rival, gone = (Pose(shifted(by), score, 1.0) for by, score in ((0, 12.0), (30, 8.0), (60, 0.0)))
    wrong = np.array([2.0, 5.0, 3.0])
    assert ScoreStatistics(shifted(0), 10.0, wrong, [best, rival, gone]).margin == pytest.approx(1.5)
    for poses in ([best], [best, gone]):
        scores = ScoreStatistics(shifted(0), 10.0, wrong, poses)
        assert scores.rival is None
        assert scores.margin == scores.ratio == pytest.approx(2.0)


def shifted(by: float) -> Affine:
    return Affine.of(np.eye(2), [by, 0.0])


def planes() -> tuple[Plane, Plane]:
    fixed = Plane(np.zeros((60, 80), np.float32), np.ones((60, 80), bool), Grid.of((60, 80), 0.5, unit="micrometre"))
    moving = Plane(np.zeros((60, 80), np.float32), np.ones((60, 80), bool), Grid.of((60, 80), 2.0, unit="micrometre"))
    return fixed, moving


def predicted(found: Affine, halves: tuple[Affine, Affine] | None = None, **others: Affine) -> PredictedError:
    fixed, moving = planes()
    fits = IndependentFits(found, halves or (found, found), others.get("backward", found), others.get("measure", found))
    return predicted_error(fits, found.scale, fixed.grid, moving.grid, calibration())


def test_estimates_that_agree_leave_a_share_of_the_coarser_pixel() -> None:
    error = predicted(shifted(0))
    np.testing.assert_allclose(error.values, calibration().error_scale * 0.3 * 2.0, rtol=1e-6)
    assert error.grid.unit == "micrometre"


def test_halves_that_differ_count_with_half_their_distance() -> None:
    error = predicted(shifted(0), (shifted(-4), shifted(4)))
    np.testing.assert_allclose(error.values, calibration().error_scale * np.hypot(4.0, 0.6), rtol=1e-6)


@pytest.mark.parametrize("name", ["backward", "measure"])
def test_other_estimates_count_with_half_their_distance_too(name: str) -> None:
    other: dict[str, Any] = {name: shifted(4)}
    error = predicted(shifted(0), **other)
    np.testing.assert_allclose(error.values, calibration().error_scale * np.hypot(2.0, 0.6), rtol=1e-6)


def test_nothing_is_predicted_where_the_moving_image_does_not_reach() -> None:
    error = predicted(Affine.of(np.eye(2), [0.0, -20.0]))
    positions = error.grid.lattice_of_pixels()[:, 1].reshape(error.values.shape)
    # The outer edge of the moving image lies one micrometre before the centre of its first pixel.
    np.testing.assert_array_equal(np.isnan(error.values), positions - 20.0 < -1.0)


def test_distances_between_fits_are_shares_of_the_longest_side() -> None:
    fixed, _ = planes()
    fits = IndependentFits(shifted(0), (shifted(-4), shifted(4)), shifted(2), shifted(1))
    # 80 pixels of half a micrometre.
    assert shares_apart(fits, fixed.grid) == pytest.approx({"halves": 0.2, "backward": 0.05, "measures": 0.025})
    alone = IndependentFits(shifted(0), (shifted(-4), shifted(4)), shifted(2))
    assert set(shares_apart(alone, fixed.grid)) == {"halves", "backward"}
    assert len(alone.pairs) == 2


def test_fits_that_check_a_result_do_not_rest_on_it() -> None:
    """From a result that is a few pixels off, the other measure and the exchanged images lead back to the truth."""
    truth = Affine.similarity(2.0, source=MIDDLE)
    off = Affine.of(truth.linear, truth.offset + 1.5)
    pair = PlanePair(*seen_through(truth), edges)
    fits = independent_fits(pair, Choice("rigid", "", off, (off, off), "features"))
    assert mean_error(fits.found, truth, pair.fixed_grid) == pytest.approx(np.hypot(1.5, 1.5))
    assert fits.by_other_measure is not None
    for other in (fits.backward, fits.by_other_measure):
        assert mean_error(other, truth, pair.fixed_grid) < 0.3


def test_wrong_poses_that_are_known_are_not_looked_at_again() -> None:
    asked = []

    class Counting:
        def best_shifts(self, linear: np.ndarray) -> list[Shift]:
            asked.append(linear)
            return [Shift(float(len(asked)), 1.0, np.eye(3))]

    class Making:
        stride = 1

        def __call__(
            self, fixed: Plane, moving: Plane, least: float, step: float = 0.0, start: Any = None, /
        ) -> Counting:
            return Counting()

    def look(pose: Affine, known: ScoreStatistics | None) -> ScoreStatistics:
        asked.clear()
        return score_statistics(*planes(), pose, [Pose(pose, 1.0, 1.0)], Making(), Limits((1.0, 1.0)), 1, known)

    first = look(Affine.similarity(20.0, 0.25), None)
    assert len(asked) == 3 + 46
    assert look(Affine.similarity(21.0, 0.255), first).wrong is first.wrong
    assert len(asked) == 3
    for other in (Affine.similarity(24.0, 0.25), Affine.similarity(20.0, 0.3), Affine.similarity(20.0, 0.25, True)):
        assert look(other, first).wrong is not first.wrong
        assert len(asked) == 3 + 46


def test_near_a_start_the_pose_is_scored_there_and_wrong_ones_anywhere() -> None:
    truth = Affine.similarity(12.0, source=MIDDLE)
    images = seen_through(truth)

    def look(start: Affine | None) -> ScoreStatistics:
        near = None if start is None else NearStart.of(start, images[0].grid)
        limits = Limits((1.0, 1.0), start=near)
        return score_statistics(*images, truth, [Pose(truth, 1.0, 1.0)], ByFeatures(edges), limits, 1)

    free, right, elsewhere = (
        look(start) for start in (None, truth, Affine.of(truth.linear, np.add(truth.offset, (96.0, 0))))
    )
    assert free.ratio > 1.5
    assert right.own == pytest.approx(free.own, rel=1e-4)
    assert elsewhere.own < 0.5 * free.own
    for one in (right, elsewhere):
        assert one.wrong == pytest.approx(free.wrong, rel=1e-4)


def test_exchanged_images_score_alike_and_the_smaller_one_is_turned() -> None:
    truth = Affine.similarity(12.0, source=MIDDLE)
    whole, moving = seen_through(truth)
    fixed = whole.cut((30, 20), (150, 150))
    turned: list[tuple[int, ...]] = []

    class Watched(ByFeatures):
        def __call__(self, fixed: Plane, moving: Plane, *given: Any) -> Any:
            turned.append(moving.values.shape)
            return super().__call__(fixed, moving, *given)

    def look(fixed: Plane, moving: Plane, pose: Affine) -> ScoreStatistics:
        limits = Limits((1.0, 1.0), start=NearStart.of(pose, fixed.grid))
        return score_statistics(fixed, moving, pose, [Pose(pose, 1.0, 1.0)], Watched(edges), limits, 1)

    one, other = look(fixed, moving, truth), look(moving, fixed, truth.inverse())
    assert one.ratio > 1.5
    assert other.own == pytest.approx(one.own, rel=0.02)
    assert np.mean(other.wrong) == pytest.approx(np.mean(one.wrong), rel=0.02)
    assert len(set(turned)) == 1


def test_quarters_see_what_the_transform_does_not_follow() -> None:
    """An image that is stretched by 6 % moves the middles of its quarters by one and a half percent of its width."""
    truth = Affine.of(np.diag([1.06, 1.0]), -0.06 * MIDDLE * (1, 0))
    pair = PlanePair(*seen_through(truth), edges)
    width = max(pair.fixed_grid.extent)

    def misfit(transform: Affine) -> float:
        return local_misfit(pair, Choice("affine", "", transform, (transform, transform), "features"))

    assert misfit(truth) < 0.003 * width
    assert misfit(Affine.identity(2)) == pytest.approx(0.015 * width, rel=0.3)


def test_what_is_missing_adds_to_the_predicted_error() -> None:
    fixed, moving = planes()
    fits = IndependentFits(shifted(0), (shifted(0), shifted(0)), shifted(0))
    known = calibration()
    alone = predicted_error(fits, 1.0, fixed.grid, moving.grid, known)
    both = predicted_error(replace(fits, local=3.0), 1.0, fixed.grid, moving.grid, known)
    assert both.median == pytest.approx(np.hypot(alone.median, 3.0))
