"""The report of a result from landmarks draws them where they lie, and lists how far their partners are off."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from correlight.images.image import Image
from correlight.io import read
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.output.folder import write_result
from correlight.output.report.landmarks import describe
from correlight.registration.from_landmarks import LandmarkResult, from_landmarks
from tests.known_pair import FIXED_SPACING, MOVING_FROM_FIXED, SHAPE, write_images

PLACES = np.array([[30.0, 40], [30, 110], [80, 60], [85, 120], [60, 90]])
NAMES = ("a", "b", "c", "<d>", "e")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, Image, LandmarkResult]:
    fixed, moving = (read(path) for path in write_images(tmp_path_factory.mktemp("images")))
    places = fixed.grid.points(PLACES)
    partners = MOVING_FROM_FIXED(places) + np.array([[0.0, 0], [0, 2], [-2, 0], [0, 0], [1, 1]])
    pairs = LandmarkTable(PointTable(NAMES, places, "micrometre"), PointTable(NAMES, partners, "pixel"))
    return fixed, moving, from_landmarks(fixed, moving, pairs, "similarity")


def test_places_are_pixels_of_the_picture_and_residuals_lengths_in_the_fixed_image(
    made: tuple[Image, Image, LandmarkResult],
) -> None:
    fixed, _, outcome = made
    shown = describe(outcome.result, outcome, fixed.grid, (SHAPE[0] // 2, SHAPE[1] // 2))
    np.testing.assert_allclose(np.asarray(shown["there"]), (PLACES[:, ::-1] + 0.5) / 2)
    off = np.linalg.norm(np.asarray(shown["moved"]) - shown["there"], axis=1) * 2 * FIXED_SPACING
    for row, length in zip(shown["rows"], off, strict=True):
        number, unit = row["residual"].split()
        assert float(number) * {"nm": 1e-3, "µm": 1}[unit] == pytest.approx(length, rel=0.01)
    assert off.max() < 3 / 60


def test_the_report_lists_them_and_draws_them(made: tuple[Image, Image, LandmarkResult], tmp_path: Path) -> None:
    fixed, moving, outcome = made
    write_result(tmp_path, outcome.result, fixed, moving, grid="none", landmarks=outcome)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="show-landmarks" checked' in page
    section = page.partition('<h2 id="landmarks">')[2].partition("</section>")[0]
    assert re.findall(r'<th scope="row">(.*?)</th>', section) == ["a", "b", "c", "&lt;d&gt;", "e"]
    write_result(tmp_path, outcome.result, fixed, moving, grid="none")
    assert "show-landmarks" not in (tmp_path / "report.html").read_text(encoding="utf-8").partition("<script")[0]


def test_beads_that_a_result_rests_on_are_shown_alike(
    made: tuple[Image, Image, LandmarkResult], tmp_path: Path
) -> None:
    fixed, moving, outcome = made
    pairs = outcome.landmarks.fixed.points, outcome.landmarks.moving.points
    write_result(tmp_path, replace(outcome.result, pairs=pairs), fixed, moving, grid="none")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Matched beads and residuals" in page
    section = page.partition('<h2 id="landmarks">')[2].partition("</section>")[0]
    assert len(re.findall(r'<th scope="row">bead', section)) == len(PLACES)
