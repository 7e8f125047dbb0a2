"""A field that the images hardly speak for is not accepted, however certain the linear map is."""

from typing import Any, cast

import numpy as np
import pytest

from correlight.evidence.verdict import Verdict
from correlight.geometry import Grid
from correlight.intensity.elastic import verdict_with_field
from correlight.intensity.fit import ImageFit
from correlight.methods.task import Candidate
from correlight.refine.elastic import ElasticFit
from correlight.refine.lattice import Lattice
from correlight.transforms import Affine

GRID = Grid.of((64, 64))


def fit_with(evidence: float, pixels: float = 0.2) -> ImageFit:
    lattice = Lattice.over(GRID, 2)
    field = lattice.velocity(pixels * np.random.default_rng(0).normal(size=(lattice.count, 2)))
    known = np.zeros(GRID.shape, np.float32)
    known[: round(evidence * 64)] = 1
    elastic = ElasticFit(field, (field, field), 2, 5.0, known, known, np.ones(GRID.shape, bool), GRID)
    unused = cast(Any, None)
    linear = Affine.identity()
    return ImageFit(Candidate((0, 0), ()), field, linear, "elastic", "", unused, unused, elastic=elastic)


@pytest.mark.parametrize(("evidence", "status"), [(0.8, "accepted"), (0.1, "doubtful")])
def test_a_field_needs_evidence_of_its_own(evidence: float, status: str) -> None:
    linear = Verdict("accepted", 0.99, ("The pose stands out.",))
    told = verdict_with_field(linear, fit_with(evidence), 1.0, "px")
    assert told.status == status
    assert (told.confidence < 0.9) is (status == "doubtful")
    assert any("speak for the field on only 9 %" in reason for reason in told.reasons) is (status == "doubtful")


@pytest.mark.parametrize(
    ("evidence", "pixels", "status"),
    # The last two move places by 1.1 and 1.3 % of the width: 1.2 % is far.
    [(0.91, 3.0, "accepted"), (0.89, 3.0, "doubtful"), (0.8, 1.5, "accepted"), (0.8, 1.7, "doubtful")],
)
def test_a_large_field_needs_evidence_on_more_of_the_area(evidence: float, pixels: float, status: str) -> None:
    linear = Verdict("accepted", 0.99, ("The pose stands out.",))
    told = verdict_with_field(linear, fit_with(evidence, pixels), 1.0, "px")
    assert told.status == status
    assert any("may not have been found" in reason for reason in told.reasons) is (status == "doubtful")
    assert verdict_with_field(linear, fit_with(evidence), 1.0, "px").status == "accepted"


def test_a_field_makes_nothing_better_than_its_linear_map() -> None:
    linear = Verdict("refused", 0.1, ("Wrong poses score more.",))
    assert verdict_with_field(linear, fit_with(0.8), 1.0, "px").status == "refused"
