"""The fit of the verdict: better evidence counts for a result, and none is judged by numbers that knew its specimen."""

import numpy as np
import pytest

from benchmarks import calibrate
from benchmarks.calibrate import NAMES, TERMS, Cases, cross_validated, expected_calibration_error, figures, fit
from correlight.evidence.confidence import Findings, calibration, probability


def made(count: int, seed: int = 0) -> Cases:
    """Right results stand out; whether two halves agree says nothing here."""
    rng = np.random.default_rng(seed)
    right = rng.random(count) < 0.5
    terms = np.zeros((count, len(TERMS)))
    terms[:, 0] = np.where(right, rng.normal(0.7, 0.2, count), rng.normal(0.1, 0.1, count))
    terms[:, 1] = np.where(right, rng.normal(0.6, 0.2, count), rng.normal(0.05, 0.05, count))
    terms[:, 3] = rng.uniform(0, 0.5, count)
    specimen = np.array([f"specimen {number % 5}" for number in range(count)])
    return Cases(terms, right, specimen, np.arange(count) % 2 == 0, np.ones(count, bool))


def test_the_fit_tells_right_from_wrong_and_no_weight_is_negative() -> None:
    cases = made(300)
    numbers = fit(cases)
    assert np.all(numbers[1:] >= 0)
    shares = figures(1 / (1 + np.exp(-calibrate.log_odds(numbers, cases.terms))), cases)
    assert shares["accepted that are wrong"] < 0.05
    assert shares["right that are accepted"] > 0.8
    assert shares["calibration error"] < 0.06


def test_a_weight_can_be_left_out() -> None:
    assert fit(made(100), without="margin")[1 + TERMS.index("margin")] == 0


def test_nobody_is_judged_by_numbers_that_knew_the_specimen(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = made(60)
    pairs = cases.specimen.copy()
    pairs[::7] = "specimen 1 with specimen 2"
    cases = Cases(cases.terms, cases.right, pairs, cases.real, cases.related)
    seen: list[set[str]] = []

    def fitted(part: Cases, without: str | None = None) -> np.ndarray:
        seen.append({name for couple in part.specimen for name in couple.split(" with ")})
        return calibrate.PRIOR

    monkeypatch.setattr(calibrate, "fit", fitted)
    cross_validated(cases)
    for specimen, others in zip(np.unique(pairs), seen, strict=True):
        assert not set(specimen.split(" with ")) & others


def test_the_curve_of_the_fit_is_that_of_the_verdict() -> None:
    evidence = dict.fromkeys(NAMES, 0.0) | {"wrong_ratio": 1.7, "margin": 1.3, "second_measure": 1.4, "halves": 0.03}
    terms = np.array([calibrate._terms({NAMES[field]: value for field, value in evidence.items()})])
    known = calibration()
    numbers = np.array([known.offset, *(known.weights[name] for name in TERMS)])
    sure = 1 / (1 + np.exp(-calibrate.log_odds(numbers, terms)))
    assert sure[0] == pytest.approx(probability(Findings(**evidence)))  # type: ignore[arg-type]


def test_calibrated_probabilities_have_no_calibration_error() -> None:
    rng = np.random.default_rng(1)
    sure = rng.random(20_000)
    assert expected_calibration_error(sure, rng.random(20_000) < sure) < 0.02
    assert expected_calibration_error(np.full(1000, 0.95), rng.random(1000) < 0.5) > 0.4


def test_predicted_errors_are_told_for_each_specimen_and_for_all() -> None:
    def row(specimen: str, under: float | None, success: bool = True) -> dict[str, object]:
        return {"specimen": specimen, "success": success, "under_bound": under, "true_over_predicted": 0.5}

    exact = [row("steel", 1.0), row("steel", 0.8), row("brain", 0.6), row("brain", 0.0, success=False)]
    lines = calibrate._errors([], [*exact, row("embryo", None, success=False)], 1.3)
    told = {
        cells[1].strip(): [cell.strip() for cell in cells[2:4]] for cells in (line.split("|") for line in lines[4:9])
    }
    assert told == {
        "simulated": ["0", "–"],
        "real, registered by construction": ["3", "80.0 %"],
        "of these, steel": ["2", "90.0 %"],
        "of these, brain": ["1", "60.0 %"],
        "of these, embryo": ["0", "–"],
    }
