"""Witnesses tell a right pose from a shifted one under vignettes, and a specimen from another of the same outline."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from correlight.appearance.channels import edges
from correlight.evidence.confidence import Findings, judge
from correlight.evidence.witnesses import above_displaced, apart_from_outline, of_detail
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.refine.planes import Overlay, PlanePair
from correlight.simulate.slab import slab_pair
from correlight.transforms import Affine

SIZE = 256


def laid(fixed: np.ndarray, moving: np.ndarray, pose: Affine | None = None) -> Overlay:
    one, other = (Plane.of(Image.from_array(np.asarray(pixels, np.float32)), 0) for pixels in (fixed, moving))
    return PlanePair(one, other, edges).overlay(pose or Affine.identity(), SIZE)


def texture(seed: int) -> np.ndarray:
    return cv2.GaussianBlur(np.random.default_rng(seed).standard_normal((SIZE, SIZE)), (0, 0), 2.0)


def vignette(middle: float) -> np.ndarray:
    away = np.hypot(*(np.indices((SIZE, SIZE)) - middle)) / SIZE
    return 6 * np.exp(-4 * away**2)


def test_fine_detail_is_seen_under_vignettes_that_mislead_plain_mutual_information() -> None:
    one, other = texture(0), texture(1)
    fixed = one + vignette(110.0)
    right = laid(fixed, vignette(145.0) - one)
    assert of_detail(right) > 12
    assert above_displaced(right.samples, "mutual information") < 5
    assert of_detail(laid(fixed, vignette(145.0) - other)) < 4
    assert of_detail(laid(fixed, vignette(145.0) - one, Affine.of(np.eye(2), (16.0, 0.0)))) < 4


def test_too_little_in_common_says_nothing() -> None:
    apart = laid(texture(0), texture(0), Affine.of(np.eye(2), (2.0 * SIZE, 0.0)))
    assert of_detail(apart) == 0
    assert np.isnan(apart_from_outline(apart))


def test_a_texture_has_no_outline() -> None:
    assert np.isnan(apart_from_outline(laid(texture(0), texture(0))))
    assert np.isnan(apart_from_outline(laid(np.ones((SIZE, SIZE)), np.ones((SIZE, SIZE)))))


@pytest.mark.parametrize(("outline", "seed"), [("slab", 0), ("core", 4)])
def test_pits_inside_tell_a_specimen_from_a_stranger_of_the_same_outline(outline: str, seed: int) -> None:
    said = []
    for inside in (None, 10_000 + seed):
        pair = slab_pair(seed, outline, inside=inside, distortion=0.0, width=256)  # type: ignore[arg-type]
        pose = pair.specimen_from_moving.inverse() @ pair.specimen_from_fixed
        said.append(apart_from_outline(laid(pair.fixed, pair.moving, pose)))
    assert said[0] > 3.2
    assert said[1] < 2.7


def test_fine_detail_takes_back_what_a_vignette_says() -> None:
    misled = Findings(1.4, 0.002, 0.002, 0.9, wrong_poses=9.0, wrong_ratio=1.6, second_measure=0.5)
    assert judge(misled).status != "accepted"
    assert judge(replace(misled, detail=1.0)).confidence == judge(misled).confidence
    assert judge(replace(misled, detail=20.0)).status == "accepted"


def test_a_result_of_which_only_the_outline_agrees_is_not_accepted() -> None:
    clear = Findings(2.3, 0.002, 0.002, 0.9, wrong_poses=20.0, wrong_ratio=2.5, second_measure=5.0, inside=6.0)
    assert judge(clear).status == "accepted"
    stranger = judge(
        Findings(2.3, 0.002, 0.002, 0.9, wrong_poses=20.0, wrong_ratio=2.5, second_measure=5.0, inside=0.5)
    )
    assert stranger.status == "doubtful"
    assert any("another specimen of the same outline" in reason for reason in stranger.reasons)
