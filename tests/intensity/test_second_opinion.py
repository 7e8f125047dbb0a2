"""Landmarks are judged by the images, too: coordinates in another order may fit perfectly and be wrong."""

import numpy as np
import pytest

from correlight.geometry import Points
from correlight.images.image import Image
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.registration.from_landmarks import from_landmarks
from correlight.registration.result import Result
from correlight.simulate import SimulatedPair, pair


@pytest.fixture(scope="module")
def couple() -> SimulatedPair:
    return pair(
        "cell", 12, electron_shape=(256, 256), light_shape=(160, 160), electron_spacing=0.05, light_spacing=0.1,
        data_bar=False, rotation=25.0, mirror=False,
    )  # fmt: skip


def result_of(fixed: Image, moving: Image, places: Points, there: Points) -> Result:
    names = tuple(str(number) for number in range(len(places)))
    noise = 0.02 * np.random.default_rng(0).standard_normal(places.shape)
    units = PointTable(names, places, "micrometre"), PointTable(names, there + noise, "micrometre")
    return from_landmarks(fixed, moving, LandmarkTable(*units), "similarity").result


def test_right_landmarks_are_confirmed(couple: SimulatedPair) -> None:
    places = couple.fixed.grid.lattice(4)
    result = result_of(couple.fixed, couple.moving, places, couple.moving_from_fixed(places))
    assert result.status == "accepted"
    told = {one.name: one for one in result.verdict.evidence}["Images and landmarks"]
    assert told.favours
    assert told.value > 1.35
    assert told.sentence in result.verdict.reasons
    assert not any("mirror" in reason for reason in result.verdict.reasons)


@pytest.mark.parametrize(
    ("slip", "role", "words"),
    [
        ("exchanged", "moving", "y and x of the landmarks of the moving image are exchanged"),
        ("exchanged", "fixed", "y and x of the landmarks of the fixed image are exchanged"),
        ("exchanged", "both", "y and x of the landmarks of both images are exchanged"),
        ("from below", "moving", "y of the landmarks of the moving image is counted from below"),
    ],
)
def test_coordinates_written_otherwise_are_found(couple: SimulatedPair, slip: str, role: str, words: str) -> None:
    places = couple.fixed.grid.lattice(4)
    points = {"fixed": places, "moving": couple.moving_from_fixed(places)}
    for name in ("fixed", "moving") if role == "both" else (role,):
        image = couple.fixed if name == "fixed" else couple.moving
        # The first pixel's centre is the origin, so that y counted from below runs from 0 at the last row.
        last = (image.grid.shape[0] - 1) * image.grid.spacing[0]
        points[name] = points[name][:, ::-1] if slip == "exchanged" else np.array([last, 0]) + points[name] * (-1, 1)
    result = result_of(couple.fixed, couple.moving, points["fixed"], points["moving"])
    assert result.status == "doubtful"
    assert words in result.verdict.reasons[0]
    assert any("mirror image" in reason for reason in result.verdict.reasons) is (role != "both")


def test_images_that_show_nothing_are_not_asked(couple: SimulatedPair) -> None:
    blank = Image.from_array(np.zeros(couple.moving.grid.shape, np.uint8), spacing=couple.moving.grid.spacing)
    places = couple.fixed.grid.lattice(4)
    result = result_of(couple.fixed, blank, places, couple.moving_from_fixed(places))
    assert result.status == "accepted"
    assert "Images and landmarks" not in {one.name for one in result.verdict.evidence}
