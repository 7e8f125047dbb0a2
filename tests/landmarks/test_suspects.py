"""Slips of the finger are named, and nothing else is."""

import time

import numpy as np
import pytest

from correlight.errors import TransformError
from correlight.landmarks import estimate, next_place, suspects
from correlight.landmarks.choose import choose_model
from correlight.landmarks.expected import LandmarkModel


def clicks(count: int, seed: int, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    fixed = rng.random((count, 2)) * 100
    turned = fixed @ [[0.6, -1.6], [1.6, 0.6]] + [20, 200]
    return fixed, turned + rng.normal(scale=noise, size=fixed.shape)


def test_correct_landmarks_are_not_suspected() -> None:
    """One set in a thousand may be, so that one of 30 already happens in three runs of a hundred."""
    accused = 0
    for seed in range(30):
        fixed, moving = clicks(6 + seed % 15, seed)
        accused += bool(suspects(fixed, moving, "similarity"))
    assert accused <= 1


@pytest.mark.parametrize(("axis", "name"), [(0, "y"), (1, "x")])
def test_a_mistyped_coordinate_is_named(axis: int, name: str) -> None:
    for seed in range(5):
        fixed, moving = clicks(9, seed)
        moving[3, axis] += 90
        [found] = suspects(fixed, moving, "similarity")
        assert found.pairs == (3,)
        assert found.fault == "outlier"
        assert found.times_worse > 20
        assert found.error_without < 0.2 * found.error_with
        assert f"moving {name} is" in found.hint
        fixed, moving = clicks(9, seed)
        fixed[3, axis] -= 60
        [found] = suspects(fixed, moving, "similarity")
        assert found.pairs == (3,)


def test_the_sentence_says_it_all() -> None:
    fixed, moving = clicks(9, 0)
    moving[6, 1] += 90
    [found] = suspects(fixed, moving, "similarity")
    said = found.sentence([str(number) for number in range(1, 10)], "µm")
    assert said.startswith("Pair 7 is ")
    assert " times worse than the rest (its moving x is " in said
    assert f"without it the error falls from {found.error_with:.3g} to {found.error_without:.3g} µm." in said


def test_exchanged_pairs_are_found_together() -> None:
    for seed in range(10):
        fixed, moving = clicks(12, seed)
        if np.linalg.norm(moving[2] - moving[8]) < 20:
            continue
        moving[[2, 8]] = moving[[8, 2]]
        [found] = suspects(fixed, moving, "similarity")
        assert found.fault == "swapped"
        assert sorted(found.pairs) == [2, 8]
        assert found.error_without < 0.2 * found.error_with
        assert "look exchanged" in found.sentence([str(number) for number in range(12)], "µm")


def test_exchanged_coordinates_are_recognised() -> None:
    fixed, moving = clicks(9, 4)
    moving[5] = moving[5, ::-1]
    [found] = suspects(fixed, moving, "similarity")
    assert found.hint == "its moving coordinates look exchanged"


def test_a_pair_entered_twice_and_one_half_copied() -> None:
    fixed, moving = clicks(9, 5)
    twice = suspects(np.vstack([fixed, fixed[4]]), np.vstack([moving, moving[4]]), "similarity")
    assert [(found.pairs, found.fault) for found in twice] == [((4, 9), "twice")]
    assert "entered twice" in twice[0].sentence([str(number) for number in range(10)], "µm")
    moving[4] = moving[6]
    found = suspects(fixed, moving, "similarity")
    assert [(suspect.pairs, suspect.fault) for suspect in found] == [((4, 6), "same place"), ((4,), "outlier")]


def test_two_wrong_pairs_do_not_hide_each_other() -> None:
    fixed, moving = clicks(14, 6)
    moving[1] += (80, 0)
    moving[9] += (70, 20)
    assert sorted(found.pairs[0] for found in suspects(fixed, moving, "affine")) == [1, 9]


def test_three_of_four_cannot_outvote_one() -> None:
    fixed, moving = clicks(4, 7)
    moving[0] += 50
    assert suspects(fixed, moving, "affine") == ()


@pytest.mark.parametrize("model", ["thin-plate", "elastic"])
def test_a_spline_does_not_bend_to_a_wrong_pair(model: LandmarkModel) -> None:
    fixed, moving = clicks(25, 8, noise=0.2)
    moving += 6 * np.sin(fixed / 20)
    assert suspects(fixed, moving, model) == ()
    moving[3, 1] += 70
    assert [found.pairs for found in suspects(fixed, moving, model)] == [(3,)]


def test_the_next_landmark_goes_where_the_error_is_largest_to_be_gained() -> None:
    fixed = np.array([[0, 0], [0, 10], [10, 0], [10, 10.0]])
    candidates = np.stack(np.meshgrid([0, 20, 40], [0, 20, 40.0]), -1).reshape(-1, 2)
    for model in ("similarity", "affine"):
        found = estimate(fixed, 2 * fixed, model, moving_error=0.1)
        best = next_place(found, candidates, candidates)
        assert best.place.tolist() == [40, 40]
        # The prediction must be what the landmark then brings.
        more = np.vstack([fixed, best.place])
        then = estimate(more, 2 * more, model, moving_error=0.1)
        assert best.error_then == pytest.approx(np.sqrt(np.mean(then.error(candidates) ** 2)), rel=1e-9)
        assert best.error_now == pytest.approx(np.sqrt(np.mean(found.error(candidates) ** 2)), rel=1e-9)
        others = [np.vstack([fixed, place]) for place in candidates]
        means = [np.mean(estimate(o, 2 * o, model, moving_error=0.1).error(candidates) ** 2) for o in others]
        assert np.argmin(means) == len(candidates) - 1


def test_the_model_is_as_rich_as_the_landmarks_carry() -> None:
    rng = np.random.default_rng(9)
    fixed = rng.random((30, 2)) * 100
    noise = rng.normal(scale=0.3, size=fixed.shape)
    models: tuple[LandmarkModel, ...] = ("rigid", "similarity", "affine", "thin-plate")
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    cases = {
        "rigid": fixed @ turn,
        "similarity": 1.05 * fixed @ turn,
        "affine": fixed @ [[0.9, -0.6], [0.6, 0.8]],
        "thin-plate": fixed @ turn + 4 * np.sin(fixed / 15),
    }
    for expected, moving in cases.items():
        choice = choose_model(fixed, moving + noise, models, symbol="µm")
        assert choice.estimate.model == expected
        assert "left out of the fit are" in choice.reason
    few = choose_model(fixed[:2], fixed[:2] @ turn, models[1:])
    assert few.estimate.model == "similarity"
    assert "too few" in few.reason


@pytest.mark.parametrize("model", ["rigid", "similarity", "affine", "projective"])
def test_thousands_of_landmarks_are_judged_at_once(model: LandmarkModel) -> None:
    """By one fit each and not by one fit per landmark; all pairs of 3,000 would take minutes."""
    rng = np.random.default_rng(4)
    fixed = rng.random((3000, 2)) * 1000
    moving = fixed @ [[0.6, -0.8], [0.8, 0.6]] + [20, 200] + rng.normal(scale=0.5, size=fixed.shape)
    moving[7] += 40
    fixed[20], moving[20] = fixed[10], moving[10]
    fixed[30] = fixed[10]
    began = time.process_time()
    found = suspects(fixed, moving, model)  # type: ignore[arg-type]
    assert time.process_time() - began < 30
    assert {(suspect.pairs, suspect.fault) for suspect in found if len(suspect.pairs) == 2} == {
        ((10, 20), "twice"),
        ((10, 30), "same place"),
    }
    assert {suspect.pairs for suspect in found if len(suspect.pairs) == 1} == {(7,), (30,)}


def test_many_landmarks_in_one_place_are_not_told_pair_by_pair() -> None:
    fixed, moving = clicks(400, 1)
    fixed[100:], moving[100:] = fixed[0], moving[0]
    found = [suspect for suspect in suspects(fixed, moving, "affine") if suspect.fault == "twice"]
    assert [suspect.pairs for suspect in found] == [(0, index) for index in range(100, 400)]


def test_slips_among_many_landmarks_of_a_spline_are_found() -> None:
    fixed, moving = clicks(90, 2, noise=0.2)
    moving += 3 * np.sin(fixed[:, ::-1] / 15)
    moving[11] += [30, -20]
    assert [suspect.pairs for suspect in suspects(fixed, moving, "thin-plate")] == [(11,)]


def test_a_spline_of_too_many_landmarks_is_refused_or_left_out() -> None:
    fixed, moving = clicks(1001, 3)
    with pytest.raises(TransformError, match="at most 1,000 landmarks"):
        estimate(fixed, moving, "thin-plate")
    choice = choose_model(fixed, moving)
    assert choice.estimate.model in ("similarity", "affine")
    assert "a thin-plate spline was not tried, as there are more than 1,000 landmarks" in choice.reason
