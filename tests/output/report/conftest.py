"""A small specimen with a known pose, and the result that a registration of it would hand back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Evidence, Status, Verdict
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.resample import warp
from correlight.registration.result import ImageRecord, Result
from correlight.search.pose import Pose
from correlight.transforms import Affine, Displacement
from correlight.transforms.bending import bending

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    binary = os.environ.get("CORRELIGHT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not binary:
        pytest.skip(f"no Chromium found: set CORRELIGHT_CHROMIUM or install one of {', '.join(NAMES)}")
    with api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=binary, headless=True, args=ARGUMENTS)
        yield launched
        launched.close()


SHAPE = (120, 160)
SHIFT = (6, 10)


@dataclass(frozen=True)
class Case:
    result: Result
    fixed: Image
    moving: Image
    registered: NDArray[Any] | None
    footprint: NDArray[np.bool_] | None


def spots(places: list[tuple[int, int]], shape: tuple[int, int], width: float = 5.0) -> NDArray[np.float64]:
    rows, columns = np.indices(shape)
    return np.sum([np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2)) for y, x in places], axis=0)


def record(image: Image, path: str | None, channel: str, source: str) -> ImageRecord:
    grid = image.grid
    return ImageRecord(
        path, "5e" * 32, grid.shape, grid.spacing, grid.unit, source, channel, image.channels, image.findings
    )


def make_case(
    status: Status = "accepted",
    *,
    fixed_path: str | None = "/data/section.tif",
    moving_path: str | None = "/data/stain.tif",
    spacing: float | None = 0.02,
    rgb: bool = False,
    reasons: tuple[str, ...] = ("The best pose stands clearly above its rivals.",),
    channels: tuple[str, ...] = ("chromatin", "membrane"),
    bent: float = 0.0,
) -> Case:
    """A section with two dark nuclei, and a stain of them that is shifted by ``SHIFT`` pixels.

    With ``bent``, a field moves the middle by so many pixels beyond the shift.
    """
    rng = np.random.default_rng(3)
    nuclei, others = [(40, 50), (75, 110)], [(30, 120), (90, 40)]
    ground = 170 - 110 * spots(nuclei, SHAPE, 12) + rng.normal(0, 12, SHAPE)
    mask = np.ones(SHAPE, bool)
    mask[-12:] = False
    fixed = Image.from_array(np.clip(ground, 0, 255).astype(np.uint8), spacing=spacing)
    fixed = fixed.with_mask(mask, "A data bar of 12 rows at the bottom is ignored.")
    size = (SHAPE[0] + 20, SHAPE[1] + 20)
    places = [nuclei, others] + [[(30 + 7 * i, 60)] for i in range(len(channels) - 2)]
    stains = [spots([(y + SHIFT[0], x + SHIFT[1]) for y, x in where], size) for where in places[: len(channels)]]
    pixels = np.stack([np.clip(40_000 * stain + 500, 0, 65_535).astype(np.uint16) for stain in stains])
    moving = Image.from_array(pixels, channels=channels)
    if rgb:
        moving = Image.from_array((np.stack([pixels[0], pixels[1], pixels[0]]) >> 8).astype(np.uint8), rgb=True)
    sheet = moving.levels[0]
    registered = sheet[:, SHIFT[0] : SHIFT[0] + SHAPE[0], SHIFT[1] : SHIFT[1] + SHAPE[1]].copy()
    footprint = np.ones(SHAPE, bool)
    footprint[:, :15] = False
    pose = Affine(Affine.of(np.eye(2), SHIFT).matrix @ np.linalg.inv(fixed.grid.matrix))
    rival = Affine.similarity(90, pose.scale, True, source=fixed.grid.centre, target=moving.grid.centre)
    grid = fixed.grid.resized((6, 8))
    error = np.linspace(1.0, 2.0, 48).reshape(6, 8).astype(np.float32) * np.float32(fixed.grid.spacing[0])
    error[0, 0] = np.nan
    result = Result(
        moving_from_fixed=pose,
        model="rigid",
        model_reason="A richer model did not lower the cost.",
        verdict=Verdict(
            status,
            {"accepted": 0.97, "doubtful": 0.5, "refused": 0.04}[status],
            reasons,
            (
                Evidence("margin", 1.42, 1.15, True, "The best pose scores 1.42 times its rival."),
                Evidence("spread", 2.25, 4.0, False, "Wrong poses come within 2.25 deviations."),
            ),
        ),
        predicted_error=PredictedError(error, grid),
        poses=(Pose(pose, 0.8123, 0.9), Pose(rival, 0.4567, 0.6)),
        fixed=record(fixed, fixed_path, "channel 0", "OME-XML" if spacing else "not stated"),
        moving=record(moving, moving_path, "RGB" if rgb else channels[0], "not stated"),
        scale_found=1.0,
        scale_claimed=1.25 if spacing else None,
        recipe="auto",
        seed=7,
        seconds={"search": 1.5, "total": 2.25},
        peak_memory_mb=321.0,
        versions={"correlight": "9.8.7", "numpy": "2.0.0"},
    )
    if bent:
        move = pose @ bump(fixed.grid, bent)
        registered, footprint = warp(moving, moving.grid, move, fixed.grid)
        share = np.ones(grid.shape, np.float32)
        share[:, 4:] = 0.0
        nodes = fixed.grid.lattice(40)
        result = replace(
            result,
            moving_from_fixed=move,
            model="elastic",
            maps={"field_evidence": share},
            bending=bending(move, pose, nodes[moving.grid.contains(move(nodes))]),
        )
    if status == "refused":
        return Case(result, fixed, moving, None, None)
    return Case(result, fixed, moving, registered, footprint)


def bump(grid: Grid, pixels: float) -> Displacement:
    """A displacement downwards that is largest in the middle of an image."""
    nodes = grid.resized((25, 33))
    away = (nodes.lattice_of_pixels() - grid.centre) / grid.extent
    down = pixels * grid.spacing[0] * np.exp(-(away**2).sum(axis=1) / 0.05)
    return Displacement(np.stack([down, 0 * down], axis=-1).reshape(*nodes.shape, 2), nodes)


@pytest.fixture
def case() -> Callable[..., Case]:
    """Makes a `Case`; see `make_case` for what can be chosen."""
    return make_case
