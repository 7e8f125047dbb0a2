"""Registration through a prediction: from two images and a model to a result and its report."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight.cli import main
from correlight.errors import UsageError
from correlight.images.image import Image
from correlight.images.resample import warp
from correlight.io.write import write_ome_tiff
from correlight.output.report import write_report
from correlight.recipes import load
from correlight.refine.lattice import Lattice
from correlight.registration.register import register
from correlight.registration.result import Result
from correlight.transforms import Affine
from tests.small_models import NEAR, cell_and_negative, negative, write_negative


@pytest.fixture(scope="module")
def found() -> Result:
    pair = cell_and_negative()
    return register(pair.fixed, pair.moving, "predicted-stain", predictor=negative(), **NEAR)


def test_the_model_finds_the_image_that_it_is_for(found: Result) -> None:
    assert found.status == "accepted", found.verdict.reasons
    assert cell_and_negative().error(found) < 0.05
    assert found.predicted is not None
    assert found.predicted.role == "fixed"
    assert found.predicted.unusualness <= 1


def test_exchanged_images_are_told_apart() -> None:
    pair = cell_and_negative()
    back = register(
        pair.moving,
        pair.fixed,
        "predicted-stain",
        predictor=negative(),
        rotation=(-134.0, -126.0),
        scale=(1.84, 1.89),
        mirror=False,
    )
    assert back.predicted is not None
    assert back.predicted.role == "moving"
    places = pair.places
    returned = back.moving_from_fixed(pair.moving_from_fixed(places))
    assert np.linalg.norm(returned - places, axis=1).mean() < 0.05


def test_the_record_names_the_model(found: Result) -> None:
    record = json.loads(json.dumps(found.to_json()))["predicted"]
    assert record["model"]["kind"] == "predicted-stain"
    assert record["folder"] == str(negative())
    assert len(record["model"]["files"]["model.onnx"]) == 64


def test_the_report_shows_both_and_says_that_a_prediction_is_not_data(found: Result, tmp_path: Path) -> None:
    pair = cell_and_negative()
    write_report(tmp_path / "report.html", found, pair.fixed, pair.moving, None, None)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Predicted detail is not data" in page
    assert "As acquired (electron)" in page
    assert "As predicted (stain), not data" in page
    plain = dataclasses.replace(found, predicted=None)
    write_report(tmp_path / "plain.html", plain, pair.fixed, pair.moving, None, None)
    assert "Predicted detail" not in (tmp_path / "plain.html").read_text(encoding="utf-8")


def test_an_image_that_the_model_finds_unusual_is_doubtful(tmp_path: Path) -> None:
    """The same pair, which is accepted above, with a model whose training images look otherwise."""
    pair = cell_and_negative()
    noise = Image.from_array(np.random.default_rng(0).random((256, 256)).astype(np.float32))
    folder = write_negative(tmp_path, noise)
    found = register(
        pair.fixed,
        pair.moving,
        load("predicted-stain").with_settings("appearance", predicts_from="fixed"),
        predictor=folder,
        **NEAR,
    )
    assert found.status == "doubtful"
    assert any("unlike its training images" in reason for reason in found.verdict.reasons)


@pytest.mark.parametrize(
    ("recipe", "predictor", "words"),
    [
        ("predicted-stain", None, "names no predictor"),
        ("auto", "model", "predicts nothing"),
        ("fiducials", "model", "predicts nothing"),
    ],
)
def test_a_model_too_many_or_too_few_is_said(recipe: str, predictor: str | None, words: str) -> None:
    image = Image.from_array(np.random.default_rng(0).random((40, 40)).astype(np.float32))
    with pytest.raises(UsageError, match=words):
        register(image, image, recipe, predictor=predictor)


def test_a_model_of_another_kind_is_refused() -> None:
    image = Image.from_array(np.random.default_rng(0).random((40, 40)).astype(np.float32))
    recipe = load("predicted-stain").with_settings("appearance", trained_as="analogies")
    with pytest.raises(UsageError, match="of the kind predicted-stain; one of the kind analogies"):
        register(image, image, recipe, predictor=negative())


def test_the_command_line_takes_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = cell_and_negative()
    for name, image in (("em.tif", pair.fixed), ("light.tif", pair.moving)):
        write_ome_tiff(tmp_path / name, image.levels[0], image.grid, image.channels)
    files = [str(tmp_path / "em.tif"), str(tmp_path / "light.tif"), "-o", str(tmp_path / "out")]
    arguments = [
        "register",
        *files,
        "--recipe",
        "predicted-stain",
        "--rotation",
        "126..134",
        "--scale",
        "0.53..0.545",
        "--no-mirror",
    ]
    assert main(arguments) == 2
    assert "--predictor" in capsys.readouterr().err
    assert main([*arguments, "--predictor", str(negative())]) == 0
    assert json.loads((tmp_path / "out" / "result.json").read_text())["predicted"]["role"] == "fixed"


def test_images_are_bent_by_their_prediction_and_the_field_is_that_of_the_image_itself(tmp_path: Path) -> None:
    """The truth leads from the electron image as it is; only its translation was compared."""
    pair = cell_and_negative()
    lattice = Lattice.over(pair.fixed.grid, 2)
    moved = np.random.default_rng(5).normal(size=(lattice.count, 2)) * 9.0 * pair.fixed.grid.spacing[0]
    field = lattice.velocity(moved)
    truth = Affine(pair.moving_from_fixed.matrix) @ field
    values, shown = warp(pair.fixed, pair.fixed.grid, field, pair.fixed.grid)
    bent = dataclasses.replace(pair.fixed, levels=(values,), mask=shown)
    limits: dict[str, Any] = {"rotation": (122.0, 138.0), "scale": (0.5, 0.57), "mirror": False, "workers": 1}
    found = register(bent, pair.moving, "style-elastic", predictor=write_negative(tmp_path, bent), **limits)
    assert found.status == "accepted", found.verdict.reasons
    assert found.model == "elastic", found.model_reason
    assert found.predicted is not None
    places = pair.places[pair.moving.grid.contains(truth(pair.places))]
    before, after = (
        np.median(np.linalg.norm(one(places) - truth(places), axis=1)) / pair.moving.grid.spacing[0]
        for one in (found.poses[0].moving_from_fixed, found.moving_from_fixed)
    )
    assert before > 0.7
    assert after < 0.4
