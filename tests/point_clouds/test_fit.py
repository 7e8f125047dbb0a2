import numpy as np
import pytest

from correlight import Affine
from correlight.errors import UsageError
from correlight.point_clouds.fit import fit_clouds
from correlight.point_clouds.starts import orientations


def cloud(ndim: int, count: int = 300, seed: int = 0) -> np.ndarray:
    """Outlines of a few organelles, in micrometres: no symmetry, no correspondence to anything."""
    rng = np.random.default_rng([seed, ndim])
    middles, radii = rng.uniform(0, 20, (12, ndim)) * np.array([1, 0.7, 0.5])[:ndim], rng.uniform(0.5, 2.0, (12, 1))
    which, rays = rng.integers(0, 12, count), rng.normal(size=(count, ndim))
    return middles[which] + radii[which] * rays / np.linalg.norm(rays, axis=1, keepdims=True)


def turned(ndim: int, seed: int, scale: float = 1.0, mirror: bool = False) -> Affine:
    rng = np.random.default_rng([seed, 7])
    turn, _ = np.linalg.qr(rng.normal(size=(ndim, ndim)))
    if (np.linalg.det(turn) < 0) != mirror:
        turn[:, 0] *= -1
    return Affine.of(scale * turn, rng.uniform(-30, 30, ndim))


def error(found, truth, points) -> float:
    return float(np.sqrt(np.mean(np.sum((found.moving_from_fixed(points) - truth(points)) ** 2, axis=1))))


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_cloud_is_found_at_any_turn(ndim, mirror, seed):
    fixed, truth = cloud(ndim, seed=seed), turned(ndim, seed, mirror=mirror)
    found = fit_clouds(fixed, truth(np.random.default_rng(1).permutation(fixed)))
    assert found
    assert found.margin > 0.1
    # With no noise nothing but the tolerance, 1e-5 of the radius of some 8 µm, is left.
    assert error(found, truth, fixed) < 1e-4
    assert np.all(found.matched_moving > 0.9)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("model", ["rigid", "similarity", "affine"])
def test_noise_and_unrelated_points_leave_what_statistics_allows(ndim, model):
    """Least squares on 240 partners with noise of 0.1 µm: sqrt(parameters / (240 ndim)) of it per axis, times three."""
    rng = np.random.default_rng(4)
    fixed = cloud(ndim)
    truth = turned(ndim, 3, 1.0 if model == "rigid" else 1.4)
    if model == "affine":
        truth = Affine.of(np.eye(ndim) + 0.08 * rng.normal(size=(ndim, ndim)), np.zeros(ndim)) @ truth
    partners = truth(fixed[:240]) + 0.1 * rng.normal(size=(240, ndim))
    unrelated = rng.uniform(partners.min(0), partners.max(0), (60, ndim))
    found = fit_clouds(fixed, rng.permutation(np.vstack([partners, unrelated])), model, outliers=0.2)
    parameters = {"rigid": ndim * (ndim + 1) / 2, "similarity": ndim * (ndim + 1) / 2 + 1, "affine": ndim**2 + ndim}
    allowed = 3 * 0.1 * np.sqrt(parameters[model] / 240)
    assert found
    assert error(found, truth, fixed[:240]) < allowed
    assert found.spread == pytest.approx(0.1, rel=0.25)
    assert 220 < found.matched_moving.sum() < 275


@pytest.mark.parametrize("ndim", [2, 3])
def test_smooth_bending_is_followed(ndim):
    """Bent by 0.5 µm over waves of 25 µm; an affine map is left with most of it."""
    rng = np.random.default_rng(6)
    fixed, turn = cloud(ndim, 600), turned(ndim, 2)

    def truth(points):
        there = turn(points)
        return there + 0.5 * np.sin(there[:, ::-1] / 4)

    moving = rng.permutation(truth(fixed) + 0.02 * rng.normal(size=fixed.shape))
    stiff, bent = (fit_clouds(fixed, moving, model, beta=6.0, outliers=0.02) for model in ("affine", "elastic"))
    assert error(bent, truth, fixed) < 0.05 < 0.15 < error(stiff, truth, fixed)
    # The map is good between the points it was fitted to as well.
    between = fixed + rng.normal(size=fixed.shape)
    assert error(bent, truth, between) < 0.1


def test_a_start_is_kept_to():
    """A cloud with a fourfold symmetry has four right poses; the start says which."""
    quarter = cloud(2, 60) + 3
    fixed = np.vstack([Affine.similarity(rotation=90.0 * k)(quarter) for k in range(4)])
    for k in range(4):
        start = Affine.similarity(rotation=90.0 * k + 20, target=(0.5, 0.0))
        found = fit_clouds(fixed, fixed, start=start)
        assert (found.moving_from_fixed.rotation - 90 * k + 180) % 360 - 180 == pytest.approx(0.0, abs=0.01)  # type: ignore[attr-defined]
        assert np.isnan(found.margin)


def test_a_good_start_is_not_left():
    """With a narrow mixture only what lies near is looked at: the right pose, though a mirrored copy fits as well."""
    fixed = cloud(2, 150) + np.array([0, 3])
    both = np.vstack([fixed, fixed * np.array([1, -1])])
    start = Affine.of(np.eye(2), (0.2, -0.2))
    found = fit_clouds(fixed, both, start=start, start_error=0.5, outliers=0.5)
    assert np.allclose(found.moving_from_fixed(fixed), fixed, atol=0.01)
    assert found.linear is found.moving_from_fixed


def test_symmetry_leaves_no_margin():
    quarter = cloud(2, 60) + 3
    fixed = np.vstack([Affine.similarity(rotation=90.0 * k)(quarter) for k in range(4)])
    assert fit_clouds(fixed, fixed, mirror=False).margin == pytest.approx(0.0, abs=0.01)


def test_units_and_places_of_the_clouds_change_nothing():
    fixed, truth = cloud(2), turned(2, 1)
    moving = truth(fixed) + 0.05 * np.random.default_rng(2).normal(size=fixed.shape)
    first = fit_clouds(fixed, moving, "similarity")
    far = fit_clouds(1000 * fixed + 5e4, 0.001 * moving - 3, "similarity")
    assert np.allclose(far.moving_from_fixed(1000 * fixed + 5e4), 0.001 * first.moving_from_fixed(fixed) - 3, atol=1e-6)
    assert far.margin == pytest.approx(first.margin, abs=1e-3)
    assert far.spread == pytest.approx(0.001 * first.spread, rel=1e-2)


def test_part_of_a_cloud_is_found_in_the_whole():
    fixed, truth = cloud(2, 500), turned(2, 5)
    part = fixed[fixed[:, 0] < np.quantile(fixed[:, 0], 0.7)]
    found = fit_clouds(fixed, truth(part), start=turned(2, 5))
    assert error(found, truth, part) < 0.02


@pytest.mark.parametrize("ndim", [2, 3])
def test_orientations_are_turns_and_spread(ndim):
    """Every turn lies within 15 degrees of one of the plane's, within 63 degrees of one of the cube's (its corners)."""
    turns = orientations(ndim, mirror=False)
    assert len(turns) == (12 if ndim == 2 else 24)
    assert len(orientations(ndim)) == 2 * len(turns)
    assert all(np.linalg.det(one) == pytest.approx(1) for one in turns)
    assert all(np.linalg.det(one) == pytest.approx(-1) for one in orientations(ndim, mirror=True))
    worst = 15.0 if ndim == 2 else 63.0
    for seed in range(50):
        wanted = turned(ndim, seed).linear
        traces = [np.clip((np.trace(one.T @ wanted) - (ndim == 3)) / 2, -1, 1) for one in turns]
        assert np.rad2deg(np.arccos(max(traces))) <= worst + 1e-6


def test_too_few_points_are_a_falsy_answer():
    found = fit_clouds(np.zeros((3, 2)), cloud(2))
    assert not found
    assert "needs 5 points; got 3 and 300" in found.reason


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"fixed": np.zeros((9, 4))}, "fixed cloud must hold"),
        ({"moving": np.full((9, 2), np.nan)}, "moving cloud must hold"),
        ({"moving": np.zeros((9, 3))}, "as many axes"),
        ({"model": "loose"}, "models of clouds are rigid"),
        ({"outliers": 0.0}, "share of outliers"),
        ({"beta": -1.0}, "must be positive"),
        ({"start_error": 0.0}, "must be positive"),
        ({"tolerance": 0.0}, "tolerance between 0 and 1"),
        ({"start": Affine.identity(3)}, "as many axes"),
    ],
)
def test_misuse_is_told_in_one_sentence(change, expected):
    arguments = {"fixed": cloud(2, 20), "moving": cloud(2, 20), **change}
    with pytest.raises(UsageError, match=expected):
        fit_clouds(**arguments)


@pytest.mark.parametrize("model", ["similarity", "affine", "elastic"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_pycpd_climbs_to_the_same_place(ndim, model):
    """An implementation by others, with outliers converted: theirs have the density 1 / N, ours 1 / volume."""
    pycpd = pytest.importorskip("pycpd")
    rng = np.random.default_rng(8)
    fixed = cloud(ndim, 250)
    fixed = (fixed - fixed.mean(0)) / np.sqrt(np.mean(np.sum((fixed - fixed.mean(0)) ** 2, axis=1)))
    moving = turned(ndim, 1, 1.1).linear[0, 0] * 0.05 + fixed @ (np.eye(ndim) + 0.05 * rng.normal(size=(ndim, ndim))).T
    moving = moving[:220] + 0.01 * rng.normal(size=(220, ndim))
    size = np.sqrt(np.mean(np.sum((moving - moving.mean(0)) ** 2, axis=1)))
    start = Affine.identity(ndim)
    found = fit_clouds(fixed, moving, model, start=start, beta=2.0, lambda_=2.0 * size**2, tolerance=1e-7, most=2000)
    odds = len(moving) * 0.1 / 0.9 / np.prod(np.ptp(moving, axis=0))
    options = {"X": moving, "Y": fixed, "w": float(odds / (1 + odds)), "max_iterations": 600, "tolerance": 1e-12}
    theirs = {
        "similarity": pycpd.RigidRegistration,
        "affine": pycpd.AffineRegistration,
        "elastic": lambda **more: pycpd.DeformableRegistration(alpha=2.0, beta=2.0, **more),
    }[model](**options)
    placed, _ = theirs.register()
    # A hundredth of the distance of neighbours, which is some 0.06.
    assert np.sqrt(np.mean(np.sum((found.moving_from_fixed(fixed) - placed) ** 2, axis=1))) < 6e-4
