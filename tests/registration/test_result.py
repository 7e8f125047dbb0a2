"""Results: true only when accepted, and always writable as strict JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest

from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Evidence, Verdict
from correlight.geometry import Grid
from correlight.registration.result import ImageRecord, Result
from correlight.search.pose import Pose
from correlight.transforms import Affine, Displacement, Projective

FIXED = ImageRecord(
    "em.tif", "ab" * 32, (4, 5), (0.01, 0.01), "micrometre", "FEI tags", "channel 0", ("channel 0",), ("a bar",)
)
MOVING = ImageRecord(None, None, (4, 5), (1.0, 1.0), "pixel", "not stated", "DAPI", ("DAPI", "GFP"), ())


def predicted(values: list[float], unit="micrometre") -> PredictedError:
    return PredictedError(np.array([values], np.float32), Grid.of((1, len(values)), 10.0, unit=unit))


def result(status="accepted", moving_from_fixed=None, **changes) -> Result:
    transform = moving_from_fixed or Affine.similarity(30.0, 2.0, True, target=(7.0, 8.0))
    made = Result(
        moving_from_fixed=transform,
        model="affine",
        model_reason="Shear is supported by the evidence.",
        verdict=Verdict(
            status, 0.9, ("The margin is wide.",), (Evidence("margin", 3.0, 1.5, True, "The best is 3.0 ahead."),)
        ),
        predicted_error=predicted([1.0, 2.0, 4.0, np.nan]),
        poses=(Pose(Affine.similarity(30.0, 2.0, True, target=(7.0, 8.0)), 0.5, 0.8),),
        fixed=FIXED,
        moving=MOVING,
        scale_found=200.0,
        scale_claimed=None,
        recipe="auto",
        seed=7,
        seconds={"search": 1.23456, "total": 2.0},
        peak_memory_mb=512.34,
        versions={"correlight": "0.1.0"},
    )
    return replace(made, **changes)


@pytest.mark.parametrize(("status", "truth"), [("accepted", True), ("doubtful", False), ("refused", False)])
def test_only_an_accepted_result_is_true(status: str, truth: bool) -> None:
    made = result(status)
    assert bool(made) is truth
    assert bool(made.verdict) is truth
    assert made.status == status


def test_predicted_error_ignores_what_is_unknown() -> None:
    error = predicted([1.0, 2.0, 4.0, np.nan])
    assert error.median == 2.0
    assert error.p95 == pytest.approx(np.percentile([1.0, 2.0, 4.0], 95))
    told = error.to_json()
    assert told.pop("within") == error.within
    assert told == {"median": 2.0, "p95": pytest.approx(3.8), "bound_factor": 1.731, "unit": "micrometre"}


def test_95_of_100_errors_stay_within_what_is_said() -> None:
    """Errors drawn as they are predicted; a place that is known worse counts as often as any other."""
    deviations = np.array([1.0, 2.0, 4.0])
    draws = np.random.default_rng(0).standard_normal((20_000, 3, 2)) * deviations[:, None] / np.sqrt(2)
    within = predicted([*deviations, np.nan]).within
    assert np.mean(np.hypot(*np.moveaxis(draws, -1, 0)) < within) == pytest.approx(0.95, abs=0.003)
    assert predicted([2.0, 2.0]).within == pytest.approx(1.731 * 2, rel=1e-3)
    assert predicted([0.0, 0.0]).within == 0


def test_nothing_known_is_null_and_no_number() -> None:
    error = predicted([np.nan, np.nan], unit="pixel")
    assert np.isnan(error.median)
    assert error.to_json() == {"median": None, "p95": None, "within": None, "bound_factor": 1.731, "unit": "pixel"}


def test_a_pose_tells_rotation_scale_and_mirror() -> None:
    told = Pose(Affine.similarity(30.0, 2.0, True, target=(7.0, 8.0)), 0.5, 0.8).to_json()
    assert told["rotation_degrees"] == pytest.approx(30.0)
    assert told["scale"] == pytest.approx(2.0)
    assert told["mirrored"] is True
    assert (told["score"], told["overlap"]) == (0.5, 0.8)
    assert Pose(Affine.identity(3), 0.5, 0.8).to_json()["rotation_degrees"] is None


def test_a_pose_without_its_perspective() -> None:
    matrix = Affine.similarity(30.0, 2.0, target=(7.0, 8.0)).matrix.copy()
    matrix[2, :2] = 1e-3, 2e-3
    linear = Pose(Projective(matrix), 0.5, 0.8).linear
    np.testing.assert_array_equal(linear.matrix[:2], matrix[:2])
    np.testing.assert_array_equal(linear.matrix[2], [0, 0, 1])


def test_the_contract_of_result_json() -> None:
    told = result().to_json()
    contract = {
        "status", "reasons", "confidence", "fixed_unit", "moving_unit", "predicted_error", "moving_from_fixed",
        "scale_found", "scale_claimed", "poses", "fixed", "moving", "recipe", "seed", "seconds", "peak_memory_mb",
        "versions",
    }  # fmt: skip
    assert contract <= set(told)
    assert (told["fixed_unit"], told["moving_unit"]) == ("micrometre", "pixel")
    assert told["moving_from_fixed"]["axes"] == "yx"
    assert np.shape(told["moving_from_fixed"]["matrix"]) == (3, 3)
    assert {"path", "sha256", "shape", "spacing", "channel"} <= set(told["fixed"])
    assert told["fixed"]["shape"] == [4, 5]
    assert told["scale_claimed"] is None
    assert told["seconds"] == {"search": 1.235, "total": 2.0}


def test_json_brings_the_matrix_back_to_the_last_bit() -> None:
    made = result(moving_from_fixed=Affine.similarity(33.3, 1 / 3, target=(0.1, 1e-17)))
    read = json.loads(json.dumps(made.to_json(), allow_nan=False))
    np.testing.assert_array_equal(read["moving_from_fixed"]["matrix"], made.moving_from_fixed.matrix)  # type: ignore[attr-defined]


def test_what_is_not_finite_is_null() -> None:
    clue = Evidence("margin", float("nan"), float("inf"), False, "There is no rival.")
    made = result(
        "refused",
        predicted_error=predicted([np.nan]),
        verdict=Verdict("refused", 0.0, ("No pose was found.",), (clue,)),
    )
    told = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert told["evidence"][0]["value"] is None
    assert told["evidence"][0]["limit"] is None


def test_a_transform_without_a_matrix_names_its_file() -> None:
    field = Displacement(np.zeros((3, 4, 5, 3)), Grid.of((3, 4, 5)))
    told = result(moving_from_fixed=field, model="elastic").to_json("moving_from_fixed.h5")["moving_from_fixed"]
    assert told == {"type": "elastic", "axes": "zyx", "file": "moving_from_fixed.h5"}


def test_results_can_be_compared_and_kept_in_sets() -> None:
    one, other = result(), result()
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2
