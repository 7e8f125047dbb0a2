"""SIFT features and RANSAC by OpenCV, with the settings of its tutorial on feature matching and homography.

That tutorial (docs.opencv.org, "Feature Matching + Homography to find Objects") matches SIFT features by FLANN with 5
trees and 50 checks, keeps a match whose distance is below 0.7 of the second best, asks for 10 of them, and fits by
RANSAC within 5 pixels. Two things differ: the fit is affine, because no pair needs perspective and a weaker model
would cost it matches, and the 10 are asked of the inliers as well, so that the peer can refuse.

Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94; Fischler and Bolles 1981, doi:10.1145/358669.358692.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.attempt import Attempt, Task

PACKAGE = "opencv-python-headless"
FEWEST_MATCHES = 10
RATIO = 0.7
TOLERANCE = 5.0
FLANN_KDTREE = 1


def register(task: Task) -> Attempt:
    """Match features of the two images and fit an affine map to them."""
    cv2.setNumThreads(1)
    cv2.setRNGSeed(task.seed)
    sift: Any = cv2.SIFT_create()  # type: ignore[attr-defined]
    places, words = sift.detectAndCompute(_eight_bit(task.fixed, None), None)
    mask = task.moving_mask.astype(np.uint8)
    moving_places, moving_words = sift.detectAndCompute(_eight_bit(task.moving, task.moving_mask), mask)
    if min(len(places), len(moving_places)) < 2:
        return Attempt(None, 0.0, "fewer than two features")
    matcher = cv2.FlannBasedMatcher({"algorithm": FLANN_KDTREE, "trees": 5}, {"checks": 50})
    couples = [c for c in matcher.knnMatch(words, moving_words, k=2) if len(c) == 2]
    good = [first for first, second in couples if first.distance < RATIO * second.distance]
    source = np.array([places[match.queryIdx].pt for match in good]).reshape(-1, 2)
    target = np.array([moving_places[match.trainIdx].pt for match in good]).reshape(-1, 2)
    # Three matches are what an affine map needs at all.
    fit, inliers = _affine(source, target) if len(good) >= 3 else (None, None)
    if fit is None or inliers is None:
        return Attempt(None, 0.0, f"{len(good)} matches and no fit")
    count = int(inliers.sum())
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = fit[::-1, 1::-1], fit[::-1, 2]
    refusal = f"{count} inliers, fewer than {FEWEST_MATCHES}" if count < FEWEST_MATCHES else None
    return Attempt(matrix, float(count), refusal)


def _affine(source: NDArray[Any], target: NDArray[Any]) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    return cv2.estimateAffine2D(source, target, method=cv2.RANSAC, ransacReprojThreshold=TOLERANCE)


def _eight_bit(pixels: NDArray[np.float32], mask: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """SIFT takes 8 bits only; the whole range of the image is spread over them."""
    low, high = np.percentile(pixels if mask is None else pixels[mask], [0.1, 99.9])
    if high <= low:
        low, high = float(pixels.min()), float(pixels.max())
    spread: NDArray[np.uint8] = np.clip((pixels - low) / max(float(high - low), 1e-12) * 255, 0, 255).astype(np.uint8)
    return spread
