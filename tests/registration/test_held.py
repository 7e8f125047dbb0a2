"""Limits that a caller sets hold for the result, not only for the search."""

import numpy as np
import pytest

from correlight.geometry import Grid
from correlight.methods.task import Candidate, Fit
from correlight.registration.held import held
from correlight.registration.options import Options
from correlight.registration.register import register
from correlight.transforms import Affine, Chain, Projective
from tests.small_pairs import cell

FIXED, MOVING = Grid.of((100, 120), 0.5, unit="micrometre"), Grid.of((80, 90), 2.0, unit="micrometre")
NONE = Candidate((0, 0), ())


def fit_of(linear: Affine | Projective) -> Fit:
    return Fit(NONE, linear, linear, "affine", "")


def similarity(rotation: float, scale: float, mirror: bool = False) -> Affine:
    return Affine.similarity(rotation, scale, mirror=mirror, source=FIXED.centre, target=(70.0, 80.0))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(
    ("rotation", "inside", "beyond"), [(-6.3, -5.0, True), (-5.3, -5.0, False), (4.9, 4.9, False), (350, -5.0, True)]
)
def test_a_rotation_is_set_back_about_the_middle_of_the_field(
    rotation: float, inside: float, beyond: bool, mirror: bool
) -> None:
    found, against = held(fit_of(similarity(rotation, 1.0, mirror)), Options(rotation=(-5, 5)), FIXED, MOVING)
    assert isinstance(found.linear, Affine)
    assert found.linear is found.transform
    assert found.linear.rotation == pytest.approx(inside % 360)
    assert found.linear.mirrored is mirror
    assert np.allclose(found.linear(FIXED.centre[None]), [[70, 80]])
    assert (against is not None) is beyond
    if against is not None:
        assert "outside the -5° to 5°" in against.sentence
        assert not against.favours


@pytest.mark.parametrize(("scale", "inside", "beyond"), [(1.2, 1.1, True), (1.105, 1.1, False), (0.85, 0.9, True)])
def test_a_scale_is_held_in_pixels(scale: float, inside: float, beyond: bool) -> None:
    # One fixed pixel is a quarter of a moving pixel.
    asked = Options(scale=(0.9 / 4, 1.1 / 4))
    found, against = held(fit_of(similarity(20, scale)), asked, FIXED, MOVING)
    assert found.linear.scale == pytest.approx(inside)
    assert (against is not None) is beyond


def test_what_is_within_the_limits_or_has_none_is_left_alone() -> None:
    fit = fit_of(similarity(20, 1.2))
    assert held(fit, Options(), FIXED, MOVING) == (fit, None)
    assert held(fit, Options(rotation=(10, 30), scale=(0.1, 1)), FIXED, MOVING) == (fit, None)
    assert held(fit, Options(rotation=(-400 + 60, -320)), FIXED, MOVING) == (fit, None)


def test_perspective_and_what_bends_follow() -> None:
    tilted = Projective(similarity(8, 1.0).matrix)
    bent = Chain((tilted, Affine.of(np.eye(2), (0.0, 0.0))))
    found, against = held(Fit(NONE, bent, tilted, "elastic", ""), Options(rotation=(-5, 5)), FIXED, MOVING)
    assert against is not None
    places = FIXED.lattice(5)
    assert np.allclose(found.transform(places), similarity(5, 1.0)(places))


def test_stacks_are_turned_in_the_plane() -> None:
    fixed, moving = Grid.of((10, 50, 60), (2, 1, 1), unit="micrometre"), Grid.of((10, 50, 60), unit="micrometre")
    linear = np.diag([1.2, 1.2, 1.2])
    linear[1:, 1:] = similarity(9, 1.2).linear
    found, against = held(
        fit_of(Affine.of(linear, (1.0, 2.0, 3.0))), Options(rotation=(-5, 5), scale=(0.5, 1.6)), fixed, moving
    )
    assert against is not None
    assert isinstance(found.linear, Affine)
    assert Affine.of(found.linear.linear[1:, 1:], (0, 0)).rotation == pytest.approx(5)
    assert found.linear.linear[0] == pytest.approx([1.2, 0, 0])
    assert found.linear.scale == pytest.approx(1.2)


def test_no_result_leaves_the_limits() -> None:
    """The truth lies a little outside, where a refinement goes of its own accord."""
    couple = cell(rotation=-7.0, mirror=False)
    result = register(
        couple.fixed,
        couple.moving,
        moving_channel="reflected",
        rotation=(-5, -2),
        scale=(0.52, 0.55),
        stretch=(1.0, 1.0),
    )
    assert isinstance(result.moving_from_fixed, Affine | Projective)
    angle = Affine.of(result.moving_from_fixed.jacobian(couple.fixed.grid.centre[None])[0], (0, 0)).rotation
    assert -5 - 1e-9 <= (angle + 180) % 360 - 180 <= -2 + 1e-9
    assert result.status == "refused"
    assert any("outside the -5° to -2°" in reason for reason in result.verdict.reasons)
