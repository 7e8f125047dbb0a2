"""Where poses with less in common are looked for, and where a limit leaves nothing to find."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from correlight.evidence.less_in_common import _within, over_less_in_common
from correlight.search.limits import SMALLEST_OVERLAP, Limits, NearStart
from correlight.transforms import Affine

LIMITS = Limits((0.9, 1.1), rotation=(-10.0, 10.0), mirror=(False,))


@pytest.mark.parametrize(
    "limits", [replace(LIMITS, least_overlap=SMALLEST_OVERLAP), replace(LIMITS, start=cast(NearStart, object()))]
)
def test_nothing_is_searched_where_as_little_was_or_where_a_start_says_what_overlaps(limits: Limits) -> None:
    untouched = cast(Any, None)
    assert np.isnan(over_less_in_common(untouched, Affine.identity(), limits))


@pytest.mark.parametrize(
    ("angle", "mirror", "allowed"), [(0, False, True), (14, False, True), (16, False, False), (0, True, False)]
)
def test_a_rival_lies_within_the_limits_as_far_as_candidates_go(angle: float, mirror: bool, allowed: bool) -> None:
    assert _within(LIMITS, Affine.similarity(angle, 1.0, mirror, np.zeros(2))) is allowed
