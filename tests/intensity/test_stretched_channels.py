"""Which pairs of channels are compared under stretches, and which of their poses is taken."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from correlight.intensity import planes
from correlight.intensity.planes import PlaneCandidate, likeliest_stretch
from correlight.search.limits import Limits
from correlight.search.pose import Pose
from correlight.search.stretch import Stretch, StretchedPose
from correlight.transforms import Affine

UNMOVED = Affine.identity()


class Tried:
    """A search under stretches that finds what the search of its channels holds ready."""

    def __init__(self, usual: Any, within: tuple[float, float]) -> None:
        self._usual = usual

    def tried(self, report: Any) -> list[StretchedPose]:
        report(1.0)
        stretch = Stretch("moving", 0, self._usual.factor)
        return [StretchedPose(stretch, UNMOVED, self._usual.score)]

    def planes(self, stretch: Stretch) -> tuple[None, None]:
        return None, None

    def exact(self, tried: StretchedPose, refined: Affine) -> StretchedPose:
        return tried


def candidate(score: float, factor: float, usual: float = 1.0) -> PlaneCandidate:
    """A pair of channels of which the best pose scores so much without a stretch, and so much under one."""
    search = SimpleNamespace(score=score, factor=factor)
    search.within = lambda limits: search
    poses = (Pose(UNMOVED, usual, 1.0),) if usual else ()
    unused = cast(Any, None)
    return PlaneCandidate((0, 0), poses, unused, unused, unused, search=cast(Any, search))


@pytest.mark.parametrize(
    ("others", "score"),
    [
        # The third pair agrees best; the fourth is not compared.
        ([(2.0, 1.3), (4.0, 1.3), (9.0, 1.3)], 4.0),
        # A small stretch the usual search follows, and a pose must score more than that pair did without a stretch.
        ([(4.0, 1.05), (3.0, 1.3, 3.5)], 1.5),
        # Nor need a pair have a pose without one.
        ([(2.0, 1.3, 0.0)], 2.0),
    ],
)
def test_the_most_alike_of_up_to_three_pairs_is_taken(
    others: list[tuple[float, ...]], score: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planes, "StretchSearch", Tried)
    monkeypatch.setattr(planes, "PlanePair", lambda *given: None)
    monkeypatch.setattr(planes, "refine", lambda *given, **options: UNMOVED)
    done: list[float] = []
    task = SimpleNamespace(
        limits=Limits((0.5, 0.6)),
        report=lambda stage, share: done.append(share),
        pair=SimpleNamespace(compared_by=SimpleNamespace(refine=None)),
        seed=0,
        workers=1,
    )
    first = replace(candidate(1.5, 1.3), others=tuple(candidate(*one) for one in others))
    found = likeliest_stretch(cast(Any, task), first, (1.0, 1.6))
    assert found is not None
    assert found.score == score
    assert done == sorted(done)
    assert done[-1] == 1.0
