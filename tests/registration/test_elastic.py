"""register() with a smooth field: found, said, saved and applied; refused where the images do not belong together."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile

from correlight.errors import UsageError
from correlight.exchange import read_transform, write_transform
from correlight.exchange.table import write_points
from correlight.images.image import Image
from correlight.images.resample import warp
from correlight.intensity.elastic import verdict_with_landmarks
from correlight.io import read, write_ome_tiff, write_tiff
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.methods.task import Candidate, Fit
from correlight.output.apply import apply, read_saved
from correlight.output.apply.points import move_points
from correlight.output.folder import write_result
from correlight.output.target import reserve
from correlight.registration.register import register
from correlight.registration.result import Result
from correlight.simulate import pair
from correlight.transforms import Affine, Chain, Transform
from tests.phantoms import bend, noise
from tests.small_pairs import stacks

NEAR: dict[str, Any] = {"rotation": (19.0, 21.0), "scale": (0.99, 1.01), "mirror": False, "workers": 1}


@cache
def bent() -> tuple[Image, Image, Transform, Result]:
    """An electron image, another of the same that is bent and turned, the truth, and what `auto` finds."""
    made = pair("cell", seed=3, electron_shape=(224, 224), light_shape=(96, 96), data_bar=False).fixed
    truth = Affine.similarity(20.0, 1.0, source=made.grid.centre) @ bend(made.grid, 3, 4.0)
    values, shown = warp(made, made.grid, truth, made.grid)
    fixed = replace(made, levels=(values,), mask=shown)
    return fixed, made, truth, register(fixed, made, **NEAR)


def off(found: Transform, truth: Transform, image: Image) -> np.ndarray:
    points = image.grid.lattice(24)
    both = image.grid.contains(truth(points))
    return np.asarray(np.linalg.norm(found(points) - truth(points), axis=1)[both] / image.grid.spacing[0])


def test_auto_adds_a_field_that_is_there_and_says_so() -> None:
    fixed, moving, truth, result = bent()
    assert result.status == "accepted"
    assert result.model == "elastic", result.model_reason
    assert "a first look shows more than a linear map, and a field of" in result.model_reason
    assert "standard errors over the linear map" in result.model_reason
    linear = result.poses[0].moving_from_fixed
    assert isinstance(linear, Affine)
    assert np.median(off(linear, truth, fixed)) > 0.8
    assert np.median(off(result.moving_from_fixed, truth, fixed)) < 0.25
    names = {one.name: one for one in result.verdict.evidence}
    assert names["Least change of area"].value > 0
    assert names["Inverse of the field"].value < 0.1
    assert names["Field with evidence"].value > 0.3
    assert names["Displacement beyond the linear map"].value / fixed.grid.spacing[0] > 0.5
    told = json.loads(json.dumps(result.to_json("moving_from_fixed.h5"), allow_nan=False))
    assert told["moving_from_fixed"] == {"type": "elastic", "axes": "yx", "file": "moving_from_fixed.h5"}
    assert moving.ndim == 2


def test_the_predicted_error_covers_the_field() -> None:
    fixed, _, truth, result = bent()
    predicted = result.predicted_error
    places = predicted.grid.lattice_of_pixels()
    known = np.isfinite(predicted.values.ravel())
    wrong = np.linalg.norm(result.moving_from_fixed(places) - truth(places), axis=1)
    assert np.mean(wrong[known] <= predicted.bound.ravel()[known]) >= 0.9
    # It is no wider than the field itself: a bound that covers everything says nothing.
    assert predicted.median < 3.0 * fixed.grid.spacing[0]


def test_auto_adds_no_field_where_an_affine_map_serves_and_says_so() -> None:
    _, moving, _, _ = bent()
    turn = Affine.similarity(20.0, 1.0, source=moving.grid.centre)
    values, shown = warp(moving, moving.grid, turn, moving.grid)
    result = register(replace(moving, levels=(values,), mask=shown), moving, **NEAR)
    assert result.status == "accepted"
    assert isinstance(result.moving_from_fixed, Affine)
    assert result.model_reason.endswith("a first look shows no smooth field beyond it")
    assert result.bending is None


def test_a_model_that_is_asked_for_is_not_bent() -> None:
    fixed, moving, _, _ = bent()
    result = register(fixed, moving, model="affine", **NEAR)
    assert result.model == "affine"
    assert "field" not in result.model_reason


def test_points_go_both_ways_and_files_keep_the_field(tmp_path: Path) -> None:
    fixed, _, truth, result = bent()
    points = fixed.grid.lattice(12)[40:100]
    there = result.moving_from_fixed(points)
    assert np.abs(result.moving_from_fixed.inverse()(there) - points).max() < 0.05 * fixed.grid.spacing[0]
    write_transform(tmp_path / "a.h5", result.moving_from_fixed)
    found = read_transform(tmp_path / "a.h5")
    assert isinstance(found, Chain)
    assert np.abs(found(points) - there).max() < 1e-9
    assert np.abs(found.inverse()(there) - points).max() < 1e-6
    assert truth.ndim == 2


def test_unrelated_images_are_refused_without_a_field() -> None:
    one = pair("cell", seed=3, electron_shape=(96, 96), light_shape=(64, 64), data_bar=False).fixed
    other = pair("grains", seed=5, electron_shape=(96, 96), light_shape=(64, 64), data_bar=False).fixed
    near: dict[str, Any] = {"rotation": (-0.5, 0.5), "scale": (0.996, 1.004), "mirror": False, "stretch": (1.0, 1.0)}
    result = register(one, other, model="elastic", workers=1, **near)
    assert result.status != "accepted"
    assert isinstance(result.moving_from_fixed, Affine)
    assert result.model != "elastic"
    assert "elastic was asked for, but" in result.model_reason


def test_an_image_onto_itself_is_not_bent() -> None:
    image = pair("cell", seed=3, electron_shape=(224, 224), light_shape=(96, 96), data_bar=False).fixed
    near: dict[str, Any] = {**NEAR, "rotation": (-0.5, 0.5)}
    result = register(image, image, model="elastic", **near)
    assert result.status == "accepted"
    points = image.grid.lattice(12)
    beyond = result.moving_from_fixed(points) - result.poses[0].moving_from_fixed(points)
    assert np.linalg.norm(beyond, axis=1).mean() / image.grid.spacing[0] <= 0.02


def test_a_recipe_of_mutual_information_fits_its_field_by_it() -> None:
    scene = np.asarray(100 + 20 * noise((112, 112), 0, 2.5), np.float32)
    moving = Image.from_array(scene, 0.1)
    truth = bend(moving.grid, 2, 2.0)
    values, shown = warp(moving, moving.grid, truth, moving.grid)
    # Bright and dark are told apart by a middle grey, which no linear relation of grey values says.
    fixed = replace(moving, levels=(np.abs(np.asarray(values, np.float32) - 100),), mask=shown)
    result = register(fixed, moving, "mutual-information", model="elastic", start=Affine.identity(2), workers=1)
    assert result.model == "elastic", result.model_reason
    assert "fitted by mutual information, gains" in result.model_reason
    assert np.median(off(result.moving_from_fixed, truth, fixed)) < 0.3


def landmarks_of(truth: Transform, fixed: Image) -> LandmarkTable:
    """Eight places and where the truth leads them."""
    places = fixed.grid.points(np.array([[y, x] for y in (60, 150) for x in (50, 90, 130, 170)], float))
    names = tuple("abcdefgh")
    return LandmarkTable(PointTable(names, places, "micrometre"), PointTable(names, truth(places), "micrometre"))


def test_landmarks_beside_the_images_lead_the_field() -> None:
    fixed, moving, truth, _ = bent()
    near: dict[str, Any] = {"model": "elastic", "mirror": False, "workers": 1, "scale": (0.98, 1.02)}
    result = register(fixed, moving, landmarks=landmarks_of(truth, fixed), **near)
    assert result.status == "accepted"
    assert result.model == "elastic", result.model_reason
    assert np.median(off(result.moving_from_fixed, truth, fixed)) < 0.25
    [said] = [one for one in result.verdict.evidence if one.name == "Landmarks beside the images"]
    assert said.favours
    assert said.sentence in result.verdict.reasons


def test_landmarks_that_a_result_misses_make_it_doubtful_and_no_better() -> None:
    fixed, _, truth, result = bent()
    fit = Fit(Candidate((0, 0), ()), result.moving_from_fixed, result.poses[0].moving_from_fixed, "elastic", "")
    table, pixel = landmarks_of(truth, fixed), fixed.grid.spacing[0]
    right = table.fixed.points, table.moving.points
    kept = verdict_with_landmarks(result.verdict, fit, right, pixel, "µm")
    assert (kept.status, kept.confidence) == ("accepted", result.verdict.confidence)
    wrong = right[0], right[1] + np.eye(1, 8, 2).T * [40 * pixel, 0.0]
    doubted = verdict_with_landmarks(result.verdict, fit, wrong, pixel, "µm")
    assert doubted.status == "doubtful"
    assert doubted.confidence < 0.9
    assert "contradict them; check them" in doubted.reasons[-1]
    # Right landmarks do not make more of a result than the images did.
    refused = replace(result.verdict, status="refused")
    assert verdict_with_landmarks(refused, fit, right, pixel, "µm").status == "refused"


def test_landmarks_that_cannot_be_heeded_are_refused_in_a_sentence() -> None:
    fixed, moving, truth, _ = bent()
    right = landmarks_of(truth, fixed)
    with pytest.raises(UsageError, match="only the model elastic has"):
        register(fixed, moving, landmarks=right)
    far = replace(right, moving=replace(right.moving, points=right.moving.points + 1e3))
    with pytest.raises(UsageError, match="Landmark a lies outside the moving image"):
        register(fixed, moving, model="elastic", landmarks=far)
    nothing = replace(right.fixed, names=(), points=right.fixed.points[:0])
    none = LandmarkTable(nothing, nothing)
    with pytest.raises(UsageError, match="At least one pair of landmarks"):
        register(fixed, moving, model="elastic", landmarks=none)


def test_a_section_in_a_stack_is_not_bent() -> None:
    rng = np.random.default_rng(0)
    section = Image.from_array(rng.random((40, 50)).astype(np.float32), 0.1)
    stack = Image.from_array(rng.random((1, 12, 40, 50)).astype(np.float32), (0.3, 0.1, 0.1))
    with pytest.raises(UsageError, match="one of rigid, similarity, affine"):
        register(section, stack, model="elastic")


def test_a_result_folder_moves_points_both_ways_and_labels_through_the_field(tmp_path: Path) -> None:
    fixed, moving, _, result = bent()
    write_ome_tiff(tmp_path / "fixed.ome.tif", np.asarray(fixed.levels[0]), fixed.grid, ["a"])
    write_ome_tiff(tmp_path / "moving.ome.tif", np.asarray(moving.levels[0]), moving.grid, ["a"])
    with reserve(tmp_path / "out") as folder:
        write_result(folder, result, read(tmp_path / "fixed.ome.tif"), read(tmp_path / "moving.ome.tif"))
    moved_by = tifffile.imread(tmp_path / "out" / "field_displacement.tif") / fixed.grid.spacing[0]
    share = tifffile.imread(tmp_path / "out" / "field_evidence.tif")
    known = np.isfinite(result.predicted_error.values)
    assert np.array_equal(np.isfinite(moved_by), known)
    grid = result.predicted_error.grid
    points = grid.points(np.argwhere(known))
    straight = result.poses[0].moving_from_fixed.inverse()(result.moving_from_fixed(points))
    expected = np.linalg.norm(straight - points, axis=1) / fixed.grid.spacing[0]
    assert moved_by[known] == pytest.approx(expected, abs=1e-3)
    assert 0 <= share[known].min() <= share[known].max() <= 1
    assert share[known].mean() > 0.5
    saved = read_saved(tmp_path / "out")
    places = fixed.grid.lattice(8)[20:44]
    there = result.moving_from_fixed(places)
    names = tuple(f"p{number}" for number in range(len(places)))
    sides: list[tuple[Any, Any, Literal["fixed", "moving"]]] = [(places, there, "fixed"), (there, places, "moving")]
    for points, expected, side in sides:
        write_points(tmp_path / f"{side}.csv", PointTable(names, points, "micrometre"))
        found = move_points(saved, tmp_path / f"{side}.csv", tmp_path / "fixed.ome.tif", points_in=side)
        assert np.abs(found.table.points - expected).max() < 0.02 * fixed.grid.spacing[0]
    squares = (np.add.outer(np.arange(224) // 28, np.arange(224) // 28 * 8) + 1).astype(np.uint16)
    write_tiff(tmp_path / "labels.tif", squares, moving.grid)
    moved = apply(
        tmp_path / "out",
        tmp_path / "labels.tif",
        tmp_path / "fixed.ome.tif",
        tmp_path / "moved.ome.tif",
        order="nearest",
    )
    labels = tifffile.imread(moved.files[0]).squeeze()
    index = np.argwhere(labels > 0)
    where = np.rint(moving.grid.index(result.moving_from_fixed(fixed.grid.points(index)))).astype(int)
    same = labels[tuple(index.T)] == squares[tuple(np.clip(where, 0, 223).T)]
    assert same.mean() > 0.999
    assert len(np.unique(labels)) > 40


@pytest.mark.slow
@pytest.mark.parametrize("exchanged", [False, True])
def test_stacks_are_bent_whichever_is_sampled(exchanged: bool) -> None:
    couple = stacks(40.0)
    field = bend(couple.fixed.grid, 3, 3.0, seed=1)
    values, shown = warp(couple.fixed, couple.fixed.grid, field, couple.fixed.grid)
    bent_one = replace(couple.fixed, levels=(values,), mask=shown)
    truth = couple.moving_from_fixed @ field
    fixed, moving = (couple.moving, bent_one) if exchanged else (bent_one, couple.moving)
    truth, turn = (truth.inverse(), -40.0) if exchanged else (truth, 40.0)
    points = fixed.grid.lattice(9)
    points = points[moving.grid.contains(truth(points))]
    # Two landmarks are too few to start from.
    two = points[[len(points) // 3, len(points) // 2]]
    sides = [PointTable(("a", "b"), places, "micrometre") for places in (two, truth(two))]
    known = LandmarkTable(sides[0], sides[1])
    limits: dict[str, Any] = {"rotation": (turn - 2, turn + 2), "mirror": False}
    result = register(fixed, moving, model="elastic", landmarks=known, **limits)
    assert result.status == "accepted"
    assert result.model == "elastic", result.model_reason
    before, after = (
        np.median(np.linalg.norm(found(points) - truth(points), axis=1))
        for found in (result.poses[0].moving_from_fixed, result.moving_from_fixed)
    )
    assert before > 0.6
    assert after < 0.35
    assert np.abs(result.moving_from_fixed.inverse()(result.moving_from_fixed(points)) - points).max() < 0.05
    [said] = [one for one in result.verdict.evidence if one.name == "Landmarks beside the images"]
    assert said.favours
