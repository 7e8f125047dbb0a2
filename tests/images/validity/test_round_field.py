"""Round fields of view are found in images as they come, cut and turned; round specimens are none."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from correlight.images.validity import find_valid, find_valid_channels
from tests.phantoms import texture

SHAPE, CENTRE, RADIUS = (300, 360), np.array([152.0, 176.0]), 158.0


def distance(shape: tuple[int, int] = SHAPE) -> NDArray[np.float64]:
    y, x = np.indices(shape)
    return np.hypot(y - CENTRE[0], x - CENTRE[1])


def seen(rim: NDArray[np.float64] | float = RADIUS, soft: float = 1.0, seed: int = 1) -> NDArray[np.uint8]:
    """What an eyepiece shows: darker towards the rim, and hardly anything outside."""
    apart = distance()
    field = (60 + 150 * texture(SHAPE, seed, 5.0)) * (1 - 0.3 * (apart / RADIUS) ** 2)
    image = 6 + (field - 6) / (1 + np.exp((apart - rim) / soft))
    return np.clip(image + np.random.default_rng(seed).normal(0, 1.5, SHAPE), 0, 255).astype(np.uint8)


def findings(image: NDArray[np.generic]) -> str:
    return "; ".join(find_valid(image).findings)


@pytest.mark.parametrize("bright", [False, True])
@pytest.mark.parametrize("lossy", [False, True])
def test_a_round_field_is_found_and_said(bright: bool, lossy: bool) -> None:
    image = 255 - seen() if bright else seen()
    if lossy:
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))
    found = find_valid(image)
    outside = distance() > RADIUS
    assert "outside the round field of view" in found.findings[0]
    assert not (found.mask & outside).any()
    # The rim, where it grows dark, is lost as well, but no more.
    assert np.mean(~found.mask & ~outside) < 0.06


def test_arcs_of_it_are_found_in_a_turned_part_on_a_canvas() -> None:
    part = seen()[20:270, 10:300]
    matrix = cv2.getRotationMatrix2D((145, 125), 33, 1.0)
    matrix[:, 2] += (70, 90)
    image = cv2.warpAffine(part, matrix, (430, 430), borderValue=127)
    outside = cv2.warpAffine((distance() > RADIUS).astype(np.uint8)[20:270, 10:300], matrix, (430, 430)) > 0
    found = find_valid(image)
    assert any("constant padding" in said for said in found.findings)
    assert any("round field of view" in said for said in found.findings)
    assert not (found.mask & outside).any()


def test_channels_share_it_unless_one_shows_something_outside() -> None:
    image, other = seen(), seen(seed=2)
    assert "round field" in find_valid_channels([image, other]).findings[0]
    everywhere = (255 * texture(SHAPE, 3, 5.0)).astype(np.uint8)
    assert find_valid_channels([image, everywhere]).findings == ()


@pytest.mark.parametrize("seed", range(6))
def test_a_round_specimen_on_a_dark_background_stays_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = np.indices(SHAPE)
    angle = np.arctan2(y - CENTRE[0], x - CENTRE[1])
    rim = 130.0 * (1 + sum(0.02 * rng.standard_normal() * np.cos(n * angle + rng.uniform(0, 6)) for n in (2, 3, 4)))
    assert findings(seen(np.asarray(rim))) == ""


@pytest.mark.parametrize(
    "image",
    [
        (255 * texture(SHAPE, 5, 4.0)).astype(np.uint8),
        np.clip(np.random.default_rng(0).poisson(3, SHAPE) + 200 * (texture(SHAPE, 6, 9.0) > 0.6), 0, 255),
        255 * ndimage.binary_dilation(np.random.default_rng(1).random(SHAPE) > 0.999, iterations=6).astype(np.uint8),
        (40 + 200 * np.exp(-((distance() / 150) ** 2))).astype(np.uint8),
    ],
    ids=["texture", "patches", "spots", "vignette"],
)
def test_nothing_round_is_found_where_there_is_none(image: NDArray[np.generic]) -> None:
    assert "round" not in findings(image).replace("around", "")
