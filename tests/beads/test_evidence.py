"""What matched beads say of a transform."""

from dataclasses import replace

import numpy as np
import pytest

from correlight.beads.evidence import beads_and_images, refused
from correlight.beads.matching import BeadSearch, MatchedBeads, overlap
from correlight.beads.method import BeadCandidate, BeadFit, bead_fit, judged_by_beads
from correlight.beads.point_matching import match_beads
from correlight.beads.spots import Spots
from correlight.evidence.verdict import Evidence, Verdict
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.methods.task import ImagePair, Judgement, Task
from correlight.search.limits import Limits
from correlight.search.pose import Pose
from correlight.simulate.bead_images import fluorescence_image
from correlight.simulate.beads import BeadPair, bead_pair
from correlight.transforms.motions import LinearModel

NOISE = 0.02 * 2**0.5
MODELS: tuple[LinearModel, ...] = ("rigid", "similarity", "affine")


def spots(points: np.ndarray) -> Spots:
    ones = np.ones(len(points))
    return Spots(points, np.full(points.shape, 0.02), ones, ones, 0)


def matched(pair: BeadPair) -> MatchedBeads:
    found = match_beads(pair.fixed, pair.moving, noise=NOISE)
    poses = tuple(
        Pose(m.moving_from_fixed, len(m), overlap(pair.fixed_grid, pair.moving_grid, m.moving_from_fixed))
        for m in found.matches
    )
    return MatchedBeads(spots(pair.fixed), spots(pair.moving), found, poses)


def judged(fixed: Grid, moving: Grid, found: MatchedBeads, rank: int = 1) -> tuple[BeadFit, Judgement]:
    """The transform of the match of a rank, and what the beads say of it; no pixel is looked at."""
    one, other = (
        replace(Image.from_array(np.zeros((1, *grid.shape), np.uint8)), grid=grid) for grid in (fixed, moving)
    )
    task = Task(ImagePair(one, other), Limits((0.1, 10.0)))
    fit = bead_fit(task, BeadCandidate((0, 0), found.poses, found).of_rank(rank), found, MODELS)
    return fit, judged_by_beads(task, fit)


def test_common_beads_are_accepted_with_an_error_that_holds() -> None:
    """The bound is meant for 95 of 100 places, and held at 95 where the kind of transform was the true one (40 seeds).

    It held at 62 where rigid was chosen though the truth is sheared by up to a fiftieth, which so few beads hardly
    show, and at 88 over all seeds.
    """
    below: dict[str, list[float]] = {}
    squares = []
    for seed in range(10):
        pair = bead_pair(seed, scale=1.0)
        fit, said = judged(pair.fixed_grid, pair.moving_grid, matched(pair))
        assert said.verdict.status == "accepted"
        assert said.verdict.confidence > 0.9
        known = np.isfinite(said.predicted_error.values)
        places = said.predicted_error.grid.lattice_of_pixels()[known.ravel()]
        apart = np.linalg.norm(fit.transform(places) - pair.moving_from_fixed(places), axis=1)
        below.setdefault(fit.model, []).append(float(np.mean(apart <= said.predicted_error.bound[known])))
        if fit.model == "affine":
            squares.append((np.mean(apart**2), np.mean(said.predicted_error.values[known] ** 2)))
    assert len(below["affine"]) >= 6
    assert np.mean(below["affine"]) >= 0.9
    assert np.mean([share for shares in below.values() for share in shares]) >= 0.8
    true, predicted = np.sqrt(np.mean(squares, axis=0))
    assert 0.8 < true / predicted < 1.25


def test_the_kind_of_transform_is_the_one_that_predicts_beads_left_out() -> None:
    straight = bead_pair(3, scale=1.0, shear=0.0, unequal=0.0, common=0.6)
    assert judged(straight.fixed_grid, straight.moving_grid, matched(straight))[0].model == "rigid"
    bent = bead_pair(3, scale=1.0, shear=0.04, unequal=0.03, common=0.6)
    fit, _ = judged(bent.fixed_grid, bent.moving_grid, matched(bent))
    assert fit.model == "affine"
    one, other = fit.fitted.halves
    places = bent.common_places(50, np.random.default_rng(0))
    assert 0 < np.linalg.norm(one(places) - other(places), axis=1).mean() < 0.1


def test_stacks_go_the_same_way_from_pixels_to_verdict() -> None:
    pair = bead_pair(1, beads=24, common=0.75, noise=0.0, shape=(60, 120, 120), spacing=0.1, scale=1.0)
    rng = np.random.default_rng(0)
    stacks = []
    for points, whole in ((pair.fixed, pair.fixed_grid), (pair.moving, pair.moving_grid)):
        grid = whole.resized((30, 120, 120))
        pixels = fluorescence_image(points, grid, rng, psf=(0.3, 0.12, 0.12), photons=6000)
        stacks.append(replace(Image.from_array(pixels[None], spacing=grid.spacing), grid=grid))
    found = BeadSearch(stacks[0], stacks[1], Limits((0.85, 1.15)))(0, 0)
    fit, said = judged(stacks[0].grid, stacks[1].grid, found)
    # A quarter of the common field lies between the 18 beads that match; nothing else speaks against them.
    assert said.verdict.status == "doubtful"
    assert [one.name for one in said.verdict.evidence if not one.favours] == ["Between beads"]
    assert said.verdict.confidence > 0.85
    places = pair.common_places(200, rng)
    apart = np.linalg.norm(fit.transform(places) - pair.moving_from_fixed(places), axis=1)
    # A tenth of the distance of the planes.
    assert apart.mean() < 0.02


def test_unrelated_beads_are_refused_and_it_is_said_why() -> None:
    one, other = bead_pair(5, common=0.0), bead_pair(6, common=0.0)
    found = match_beads(one.fixed, other.moving, noise=NOISE)
    poses = tuple(Pose(match.moving_from_fixed, len(match), 0.5) for match in found.matches)
    nothing = MatchedBeads(spots(one.fixed), spots(other.moving), found, poses)
    verdict = judged(one.fixed_grid, other.moving_grid, nothing)[1].verdict
    assert verdict.status == "refused"
    assert any("unrelated beads" in reason for reason in verdict.reasons)


def test_a_pose_of_another_rank_is_judged_as_it_was_found() -> None:
    pair = bead_pair(1)
    found = matched(pair)
    fit, said = judged(pair.fixed_grid, pair.moving_grid, found, rank=2)
    assert said.verdict.status == "refused"
    places = pair.fixed_grid.lattice(4)
    assert np.allclose(fit.transform(places), found.poses[1].moving_from_fixed(places), atol=2.0)


def test_where_nothing_matches_the_reason_is_handed_on() -> None:
    found = match_beads(np.zeros((2, 2)), np.zeros((3, 2)))
    verdict = refused(MatchedBeads(spots(np.zeros((2, 2))), spots(np.zeros((3, 2))), found, ()))
    assert verdict.status == "refused"
    assert verdict.reasons == (found.reason,)


def test_a_scale_far_from_the_claimed_one_is_doubted() -> None:
    pair = bead_pair(2, scale=2.0)
    verdict = judged(pair.fixed_grid, pair.moving_grid, matched(pair))[1].verdict
    assert verdict.status == "doubtful"
    assert any("scale differs" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("image", "beads", "status"),
    [
        ("accepted", "accepted", "accepted"),
        ("doubtful", "accepted", "doubtful"),
        ("accepted", "refused", "refused"),
        ("refused", "doubtful", "refused"),
    ],
)
def test_of_two_opinions_the_more_cautious_one_counts(image: str, beads: str, status: str) -> None:
    one = Evidence("a", 1.0, 0.0, True, "a sentence")
    by_images = Verdict(image, 0.7, ("image",), (one,))  # type: ignore[arg-type]
    by_beads = Verdict(beads, 0.8, ("beads",), (one, one))  # type: ignore[arg-type]
    joined = beads_and_images(by_images, by_beads, 0.0)
    assert joined.status == status
    assert joined.confidence == 0.7
    assert joined.reasons
    assert len(joined.evidence) == 4


def test_beads_and_images_that_lead_to_different_places_are_doubted() -> None:
    good = Verdict("accepted", 0.95, ("good",))
    assert beads_and_images(good, good, 0.01).status == "accepted"
    doubted = beads_and_images(good, good, 0.1)
    assert doubted.status == "doubtful"
    assert doubted.reasons == ("Transforms from beads and from images differ by 10.0 % of the width.",)
