"""The registration of one pair as the thesis behind TFUDL-CLEM prints it, to compare with.

Written from the description: six levels of a Gaussian pyramid; on each all pixels of dilated Canny edges of the fixed
image; a perceptron with two hidden layers of 100; the Donsker-Varadhan bound with its plain gradient; an affine map as
the exponential, in ten terms, of six generators with coefficients for all levels and more for the finest; AMSGrad with
rates of 1e-5 for the perceptron, 5e-4 for the coefficients and 1e-5 for those of the finest level. The thesis runs
87,000 iterations. Only the end is another: this one keeps the pose of chosen iterations, so that error can be followed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import transform

LEVELS, HIDDEN, TERMS = 6, 100, 10
RATE_OF_CRITIC, RATE_OF_POSE, RATE_OF_FINEST = 1e-5, 5e-4, 1e-5
ITERATIONS_OF_THESIS = 87_000
EDGE_BLUR, EDGE_LOW, EDGE_HIGH, EDGE_WIDTH = (21, 21), 0, 30, 5


@dataclass(frozen=True)
class Kept:
    """The pose after some iterations.

    Parameters
    ----------
    iteration : int
    seconds : float
        Processor time since the first iteration began.
    moved_from_fixed : (3, 3) array
        Pixels (y, x) of the fixed image to pixels of the moving image, which has the same frame.
    """

    iteration: int
    seconds: float
    moved_from_fixed: NDArray[np.float64]


def run(
    fixed: NDArray[np.uint8], moving: NDArray[np.uint8], iterations: Sequence[int], seconds: float, seed: int = 0
) -> list[Kept]:
    """Register two images of one frame.

    Parameters
    ----------
    fixed, moving : (Y, X) arrays
        Pixels of 0 to 255.
    iterations : sequence of int
        After which the pose is kept, in rising order; the last one ends it.
    seconds : float
        Processor time after which it ends in any case.
    seed : int
        Of the weights and permutations.
    """
    import torch
    from torch.nn import functional

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    levels = [_level(*pictures) for pictures in zip(_pyramid(fixed), _pyramid(moving), strict=True)]
    critic = torch.nn.Sequential(
        torch.nn.Linear(2, HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Linear(HIDDEN, HIDDEN),
        torch.nn.ReLU(),
        torch.nn.Linear(HIDDEN, 1),
    )
    shared, finest = (torch.zeros(6, requires_grad=True) for _ in range(2))
    directions = torch.tensor(_directions(), dtype=torch.float32)
    optimiser = torch.optim.Adam(
        [
            {"params": critic.parameters(), "lr": RATE_OF_CRITIC},
            {"params": [shared], "lr": RATE_OF_POSE},
            {"params": [finest], "lr": RATE_OF_FINEST},
        ],
        amsgrad=True,
    )

    def pose(number: int) -> Any:
        coefficients = shared + finest if number == 0 else shared
        exponent = torch.tensordot(coefficients, directions, 1)
        term = torch.eye(3)
        matrix = torch.eye(3)
        for order in range(1, TERMS):
            term = term @ exponent / order
            matrix = matrix + term
        return matrix

    kept = []
    began = time.process_time()
    for iteration in range(iterations[-1] + 1):
        if iteration in iterations or time.process_time() - began > seconds:
            kept.append(Kept(iteration, time.process_time() - began, _in_pixels(pose(0).detach().numpy(), fixed.shape)))
        if iteration == iterations[-1] or time.process_time() - began > seconds:
            break
        optimiser.zero_grad()
        total = torch.zeros(())
        for number, (values, picture, places) in enumerate(levels):
            if not len(values):
                continue
            moved = places @ pose(number).T
            moved = moved[:, :2] / moved[:, 2:]
            sampled = functional.grid_sample(picture[None, None], moved[None, None], align_corners=True)[0, 0, 0]
            other = sampled[torch.randperm(len(sampled))]
            together = critic(torch.stack([values, sampled], 1))
            shuffled = critic(torch.stack([values, other], 1))
            total = total + together.mean() - torch.log(torch.exp(shuffled).mean())
        loss: Any = -total / len(levels)
        loss.backward()
        optimiser.step()
    return kept


def _pyramid(picture: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.0)
    pyramid: Any = transform.pyramid_gaussian
    return [np.asarray(level, np.float32) for level in pyramid(smooth, max_layer=LEVELS - 1, downscale=2)]


def _level(fixed: NDArray[np.float32], moving: NDArray[np.float32]) -> tuple[Any, Any, Any]:
    """Fixed values on edges, the whole moving image, and where the edges are, x first, from -1 to 1."""
    import torch

    pictures = [(level - level.min()) / max(float(np.ptp(level)), 1e-9) for level in (fixed, moving)]
    edges = cv2.Canny(cv2.GaussianBlur(fixed, EDGE_BLUR, 0).astype(np.uint8), EDGE_LOW, EDGE_HIGH)
    pixels = np.argwhere(cv2.dilate(edges, np.ones((EDGE_WIDTH, EDGE_WIDTH), np.uint8)) > 0)
    height, width = fixed.shape
    places = np.ones((len(pixels), 3), np.float32)
    places[:, 0] = 2 * pixels[:, 1] / (width - 1) - 1
    places[:, 1] = 2 * pixels[:, 0] / (height - 1) - 1
    values = pictures[0][pixels[:, 0], pixels[:, 1]]
    return torch.from_numpy(values), torch.from_numpy(pictures[1]), torch.from_numpy(places)


def _directions() -> NDArray[np.float64]:
    """Two shifts, the two entries off the diagonal, a stretch of x against y, and a stretch of y against the whole."""
    made = np.zeros((6, 3, 3))
    made[0, 0, 2] = made[1, 1, 2] = made[2, 0, 1] = made[3, 1, 0] = 1
    made[4, 0, 0], made[4, 1, 1] = 1, -1
    made[5, 1, 1], made[5, 2, 2] = -1, 1
    return made


def _in_pixels(matrix: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A map of x and y from -1 to 1 as a map of pixels, y first."""
    height, width = shape
    unit_from_pixel = np.array([[0, 2 / (width - 1), -1], [2 / (height - 1), 0, -1], [0, 0, 1.0]])
    out = np.linalg.inv(unit_from_pixel) @ matrix.astype(np.float64) @ unit_from_pixel
    return np.asarray(out / out[2, 2])
