"""Simulated pairs whose moving image is distorted by a known amount."""

import numpy as np
import pytest

from benchmarks.poor_model import WARPS, table, warped
from correlight.landmarks.linear import fit
from correlight.transforms.motions import LinearModel

# The poorest kind of transform that follows each distortion.
FOLLOWED: dict[str, LinearModel] = {
    "none": "rigid",
    "shear": "affine",
    "stretch": "affine",
    "perspective": "projective",
}


@pytest.mark.parametrize("warp", list(WARPS))
def test_the_truth_of_a_distortion_is_of_the_kind_that_it_says(warp: str) -> None:
    made = warped(warp, 1)
    places = made.moving.grid.lattice(8)
    there = made.fixed_from_moving(places)

    def left(model: LinearModel) -> float:
        """What a model leaves of the distortion, in fixed pixels."""
        return float(np.abs(fit(places, there, model)(places) - there).max() / made.fixed.grid.spacing[0])

    if warp == "smooth":
        assert left("projective") > 0.1
        return
    assert left(FOLLOWED[warp]) < 1e-6
    if warp != "none":
        assert left("similarity") > 0.1


def test_the_table_has_a_line_for_each_distortion_and_one_for_all() -> None:
    row = {"warp": "shear", "model": "affine", "under_bound": 0.9, "true_px": 1.0, "predicted_px": 2.0}
    lines = table([row, {**row, "warp": "none", "model": "rigid"}]).splitlines()
    assert len(lines) == 5
    assert lines[3] == "| shear | 1 | 1 affine | 90 % | 1.00 | 2.00 |"
    assert "1 rigid, 1 affine" in lines[-1]
