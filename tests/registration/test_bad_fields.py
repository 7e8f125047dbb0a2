"""Fields that no registration can use: one sentence each, and the exit code of misuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight import cli
from correlight.cli.terminal import MISUSED, UNSURE
from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Verdict
from correlight.exchange import write_transform
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.io import write_ome_tiff
from correlight.landmarks.nearness import nearness
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.methods.task import Candidate, Fit, ImagePair, Judgement
from correlight.registration.finish import finish
from correlight.registration.from_landmarks import from_landmarks
from correlight.search.pose import Pose
from correlight.transforms import Affine, Displacement
from tests.phantoms import texture

PLANE = Grid.of((64, 80), 0.1, unit="micrometre")
STACK = Grid.of((8, 40, 40), (0.3, 0.1, 0.1), unit="micrometre")


def spike(height: float, nodes: int = 9) -> Displacement:
    vectors = np.zeros((nodes, nodes, 2))
    vectors[nodes // 2, nodes // 2, 0] = height
    return Displacement(vectors, Grid.of((nodes, nodes), (6.4 / nodes, 8.0 / nodes), unit="micrometre"))


def slope(height: float) -> Displacement:
    """Grows to one side, so gently that it does not fold."""
    ramp = np.linspace(0, 1, 9)[:, None] ** 4 * np.ones((9, 9))
    return Displacement(height * np.stack([ramp, 0 * ramp], axis=-1), Grid.of((9, 9), (0.8, 1.0), unit="micrometre"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fields")
    for name, grid, seed in (("a", PLANE, 1), ("b", PLANE, 2), ("stack", STACK, 3), ("other", STACK, 4)):
        values = (250 * texture(grid.shape, seed)).astype(np.uint8)[None]
        write_ome_tiff(folder / f"{name}.ome.tif", values, grid, ["x"])
    noise = np.random.default_rng(0).integers(0, 3, (1, *PLANE.shape)).astype(np.uint8)
    write_ome_tiff(folder / "noise.ome.tif", noise, PLANE, ["x"])
    far = Affine.of(np.eye(2), (500.0, 0.0))
    for name, move in (
        ("folds", spike(4.0)),
        ("flat", slope(0.3)),
        ("outside", far @ slope(0.1)),
        ("space", Affine.identity(3)),
    ):
        write_transform(folder / f"{name}.h5", move)
    # What the images share is narrower than the way that its far end is moved, across a much wider moving image.
    wide = Grid.of((160, 160), 0.4, unit="micrometre")
    write_ome_tiff(folder / "wide.ome.tif", (250 * texture(wide.shape, 5)).astype(np.uint8)[None], wide, ["x"])
    growing = Displacement(
        np.stack([40 * np.linspace(0, 1, 33)[:, None] ** 6 * np.ones((33, 2)), np.zeros((33, 2))], axis=-1),
        Grid.of((33, 2), (0.2, 8.0), unit="micrometre"),
    )
    write_transform(folder / "steep.h5", growing)
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: Any) -> str:
    assert cli.main([str(word) for word in words]) == MISUSED
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    return told.err


@pytest.mark.parametrize(
    ("images", "start", "words"),
    [
        (("a", "b"), "folds", "The start folds over itself on"),
        (("a", "b"), "outside", "leads outside the moving image from every place"),
        (("a", "wide"), "steep", "wide; give a start that bends less"),
        (("a", "b"), "space", "Flat images start from a transform of two axes"),
        (("stack", "other"), "flat", "Stacks start from an affine transform of three axes"),
    ],
)
def test_a_start_that_is_no_map_is_refused(
    images: tuple[str, str], start: str, words: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [home / f"{name}.ome.tif" for name in images]
    text = said(capsys, "register", *paths, "-o", tmp_path / "out", "--start", home / f"{start}.h5")
    assert words in text
    assert not (tmp_path / "out").exists()


def test_a_field_of_the_plane_is_not_applied_to_stacks(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stacks = home / "stack.ome.tif", "--like", home / "other.ome.tif"
    text = said(capsys, "apply", home / "flat.h5", *stacks, "-o", tmp_path / "a.tif")
    assert "The transform is one of flat images, and the fixed image is a stack of 8 slices" in text
    mixed = home / "stack.ome.tif", "--like", home / "a.ome.tif"
    assert "stack" in said(capsys, "apply", home / "flat.h5", *mixed, "-o", tmp_path / "a.tif")


def test_a_field_that_leaves_nothing_of_the_overlap_writes_nothing(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = home / "a.ome.tif", "--like", home / "b.ome.tif"
    assert "outside" in said(capsys, "apply", home / "outside.h5", *images, "-o", tmp_path / "a.tif")
    assert not (tmp_path / "a.tif").exists()


def test_no_evidence_at_all_gives_no_field(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = home / "noise.ome.tif", home / "noise.ome.tif"
    write_transform(tmp_path / "start.tfm", Affine.identity())
    blank = Image.from_array(np.random.default_rng(1).integers(0, 2, PLANE.shape).astype(np.uint8), 0.1)
    write_ome_tiff(tmp_path / "blank.ome.tif", np.asarray(blank.levels[0]), PLANE, ["x"])
    words = [images[0], tmp_path / "blank.ome.tif", "-o", tmp_path / "out", "--model", "elastic"]
    assert cli.main(["register", *map(str, words)]) == UNSURE
    assert (tmp_path / "out" / "moving_from_fixed.tfm").exists()
    assert not list((tmp_path / "out").glob("field_*"))
    capsys.readouterr()


def test_landmarks_that_are_none_are_refused(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pairs.csv").write_text("name,unit,fixed_y,fixed_x,moving_y,moving_x\na,pixel,1,1,2,2\n")
    images = "--fixed", home / "a.ome.tif", "--moving", home / "b.ome.tif"
    text = said(capsys, "landmarks", tmp_path / "pairs.csv", *images, "-o", tmp_path / "out", "--model", "elastic")
    assert "landmark" in text


def fitted(move: Any) -> Any:
    """What a method would hand over that found a map, accepted by its evidence."""
    image = Image.from_array((250 * texture(PLANE.shape, 1)).astype(np.uint8), 0.1)
    linear = Affine.identity()
    candidate = Candidate((0, 0), (Pose(linear, 1.0, 1.0),))
    fit = Fit(candidate, move, linear, "elastic", "it was asked for")
    coarse = PLANE.resized((6, 8))
    predicted = PredictedError(np.full(coarse.shape, 0.05, np.float32), coarse)
    return finish(ImagePair(image, image), fit, Judgement(Verdict("accepted", 0.95, ("Good.",)), predicted), "x", 0, {})


def test_a_field_that_folds_is_never_accepted() -> None:
    result = fitted(spike(4.0))
    assert result.status == "refused"
    assert result.verdict.reasons[0].startswith("The field folds: it changes areas or volumes by factors down to -")
    assert isinstance(result.moving_from_fixed, Affine)
    assert result.bending is None
    assert result.maps == {}
    kept = fitted(spike(0.2))
    assert kept.status == "accepted"
    assert kept.bending.least_volume > 0
    assert np.nanmax(kept.maps["field_displacement"]) == pytest.approx(0.12, rel=0.05)
    told = kept.to_json("a.h5")["field"]
    assert told["unit"] == "micrometre"
    assert told["greatest"] == pytest.approx(0.19, rel=0.05)
    assert told["residual"] < 1e-6


@pytest.mark.parametrize("model", ["thin-plate", "elastic"])
def test_a_spline_through_landmarks_is_reported_like_any_field(model: str) -> None:
    image = Image.from_array((250 * texture(PLANE.shape, 1)).astype(np.uint8), 0.1)
    places = PLANE.lattice(4)[:, ::1] * 0.8 + 0.6
    there = places + 0.15 * np.sin(places[:, ::-1])
    names = tuple(str(number) for number in range(len(places)))
    pairs = LandmarkTable(PointTable(names, places, "micrometre"), PointTable(names, there, "micrometre"))
    result = from_landmarks(image, image, pairs, model, error=0.01).result
    assert result
    assert result.bending is not None
    assert 0 < result.bending.least_volume < 1 < result.bending.greatest_volume
    assert 0 < result.bending.median < result.bending.greatest < 0.6
    assert result.bending.residual < 1e-6
    evidence, moved = result.maps["field_evidence"], result.maps["field_displacement"]
    assert evidence.shape == moved.shape == result.predicted_error.values.shape
    assert np.array_equal(np.isfinite(evidence), np.isfinite(result.predicted_error.values))
    linear = from_landmarks(image, image, pairs, "affine").result
    assert linear.bending is None
    assert linear.maps == {}
    assert linear.to_json()["field"] is None


def test_nearness_falls_from_points_and_counts_how_sure_they_are() -> None:
    points = np.array([[0.0, 0], [0, 8], [8, 0], [8, 8]])
    near = nearness(np.array([[0.0, 0], [1, 0], [4, 4], [60, 60]]), points)
    assert near[0] == 1.0
    assert 1 > near[1] > near[2] > 0.3
    assert near[3] < 1e-6
    unsure = nearness(points, points, np.array([1.0, 0.2, 0.0, 1.0]))
    assert unsure[0] == 1.0
    assert unsure[1] == pytest.approx(max(0.2, np.exp(-0.5 * (8 / 4) ** 2)))
    line = nearness(np.array([[0.0, 3.0]]), np.array([[0.0, 0], [0, 10]]))
    assert np.isfinite(line).all()


def test_the_record_of_a_map_without_inverse_can_be_written() -> None:
    bent = replace(fitted(spike(0.2)).bending, residual=float("inf"))
    assert bent.to_json()["residual"] is None
