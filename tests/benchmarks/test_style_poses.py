"""Pairs of steel from any pose, and what is said of a result of one."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.elastic import Bent, tier
from benchmarks.style import likeness
from benchmarks.style_poses import from_any_pose, judged
from correlight.transforms import Affine, Chain, Transform


@pytest.fixture(scope="module")
def bent() -> Bent:
    return next(from_any_pose(1))


def found(transform: Transform) -> Any:
    return SimpleNamespace(moving_from_fixed=transform, bending=None, status="accepted", model="affine")


def test_the_truth_lays_both_images_on_each_other(bent: Bent) -> None:
    assert isinstance(bent.truth, Chain)
    away = replace(bent, truth=Affine.of(np.eye(2), (3.0, 3.0)) @ bent.truth)
    assert abs(likeness(bent)["correlation"]) > 0.15 > 3 * abs(likeness(away)["correlation"])


def test_a_pose_is_right_or_poor_and_without_a_field_bad(bent: Bent) -> None:
    row = judged(bent, found(bent.start))
    assert (row["right"], row["before"], tier(row)) == (True, row["after"], "bad")
    row = judged(bent, found(Affine.of(np.eye(2), (1.0, 0.0)) @ bent.start))
    assert (row["right"], tier(row)) == (False, "poor")
