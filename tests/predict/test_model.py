"""A model as a folder, what it makes of a plane, and what it says of unusual or damaged things."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from correlight.errors import ReadError, UsageError
from correlight.geometry import Grid
from correlight.images.plane import Plane
from correlight.predict.contrast import prepared
from correlight.predict.facts import FACTS, Contrast
from correlight.predict.model import Model, load
from correlight.predict.network import NETWORK
from correlight.predict.tiles import in_tiles
from tests.small_models import cell_and_negative, negative


@pytest.fixture(scope="module")
def model() -> Model:
    return load(negative())


@pytest.fixture(scope="module")
def plane() -> Plane:
    return Plane.of(cell_and_negative().fixed, None)


def test_a_prediction_lies_on_the_pixels_of_the_image(model: Model, plane: Plane) -> None:
    made = model.apply(plane)
    assert made.grid == plane.grid
    assert np.array_equal(made.mask, plane.mask)
    assert 0 <= made.values.min() < made.values.max() <= 1
    assert np.corrcoef(made.values[plane.mask], -plane.values[plane.mask])[0, 1] > 0.8


@pytest.mark.parametrize(("spacing", "shrink", "side"), [(None, 2.0, 128), (0.3, 1.0, 64), (None, 1.0, 256)])
def test_a_model_sees_the_pixel_size_that_it_was_trained_at(
    spacing: float | None, shrink: float, side: int, model: Model, plane: Plane
) -> None:
    changed = Model(model.facts.model_copy(update={"spacing": spacing, "shrink": shrink}), model.mapping, "")
    assert changed.at_its_pixels(plane).grid.shape == (side, side)
    assert changed.apply(plane).grid == plane.grid
    uncalibrated = Plane(plane.values, plane.mask, Grid.of(plane.grid.shape))
    assert changed.at_its_pixels(uncalibrated).grid.shape == tuple(round(256 / shrink) for _ in range(2))


def test_an_image_is_not_enlarged_without_end(model: Model, plane: Plane) -> None:
    changed = Model(model.facts.model_copy(update={"spacing": None, "shrink": 1e-3}), model.mapping, "")
    with pytest.raises(UsageError, match="an image of 256 x 256 pixels becomes one of 256,000 x 256,000"):
        changed.apply(plane)


def test_what_is_masked_changes_nothing(model: Model, plane: Plane) -> None:
    mask = plane.mask.copy()
    mask[:, 200:] = False
    outside = Plane(np.where(mask, plane.values, 1), mask, plane.grid)
    other = Plane(np.where(mask, plane.values, 0), mask, plane.grid)
    assert np.array_equal(model.apply(outside).values[mask], model.apply(other).values[mask])


@pytest.mark.parametrize("shape", [(37, 61), (64, 64), (5, 130)])
def test_tiles_are_the_whole_image(shape: tuple[int, int]) -> None:
    """A mapping that sees three pixels far, with a pyramid of factor two in it."""
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    asked = []

    def run(cut: np.ndarray) -> np.ndarray:
        asked.append(cut.shape)
        assert all(side % 2 == 0 for side in cut.shape)
        means = cut.reshape(cut.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3))
        wide = np.pad(means, 1)
        near = np.sum([wide[y : y + len(means), x : x + len(means[0])] for y in range(3) for x in range(3)], axis=0)
        return np.asarray(cut - near.repeat(2, axis=0).repeat(2, axis=1), np.float32)

    tiled, whole = (in_tiles(run, values, reach=3, multiple=2, tile=tile) for tile in (16, 1000))
    assert len(asked) > 2
    assert np.abs(tiled - whole).max() < 1e-5


@pytest.mark.parametrize("contrast", ["stretched", "normalised", "equalised", "equalised locally"])
def test_contrast_is_comparable_and_deaf_to_gain(contrast: Contrast, plane: Plane) -> None:
    mask = plane.mask.copy()
    mask[:40] = False
    made = prepared(plane.values, mask, contrast)
    assert np.all(made[~mask] == 0)
    assert abs(float(made[mask].mean())) < 2
    assert 0.2 < float(made[mask].std()) < 3
    if contrast in ("normalised", "equalised"):
        other = prepared(plane.values * np.float32(0.25) + np.float32(0.1), mask, contrast)
        assert np.abs(other - made)[mask].mean() < 0.05
    flat = np.full(plane.values.shape, np.float32(0.4))
    assert np.all(prepared(flat, mask, contrast) == 0)


def test_an_image_of_another_texture_is_unusual(model: Model, plane: Plane) -> None:
    own = model.unusualness(plane)
    rng = np.random.default_rng(0)
    noise = rng.random(plane.values.shape).astype(np.float32)
    spots = (rng.random(plane.values.shape) > 0.99).astype(np.float32)
    nothing = np.zeros_like(plane.mask)
    assert own <= 1
    for strange in (noise, spots, np.ones_like(noise)):
        assert model.unusualness(Plane(strange, plane.mask, plane.grid)) > 1.5 * own
    assert np.isfinite(model.unusualness(Plane(noise, nothing, plane.grid)))


def damaged(folder: Path, how: str) -> Path:
    shutil.copytree(negative(), folder)
    facts, network = folder / FACTS, folder / NETWORK
    stated = json.loads(facts.read_text())
    if how == "no statement":
        facts.unlink()
    elif how == "no network":
        network.unlink()
    elif how == "truncated network":
        network.write_bytes(network.read_bytes()[:40])
    elif how == "truncated statement":
        facts.write_text(facts.read_text()[:200])
    elif how == "another version":
        facts.write_text(json.dumps({**stated, "version": 7}))
    elif how == "another kind":
        facts.write_text(json.dumps({**stated, "kind": "clairvoyance"}))
    elif how == "another format":
        facts.write_text(json.dumps([1, 2]))
    elif how == "a file elsewhere":
        facts.write_text(json.dumps({**stated, "files": {"../model.onnx": stated["files"][NETWORK]}}))
    elif how.startswith("usual"):
        usual, name = stated["usual"], how.split()[1]
        usual[name] = {
            "mean": [float("nan")] * 14,
            "typical": float("inf"),
            "whitening": [*usual["whitening"][1:], [1.0]],
        }[name]
        facts.write_text(json.dumps(stated))
    elif how == "no number of usual":
        facts.write_text(json.dumps({**stated, "usual": {**stated["usual"], "mean": [0.0]}}))
    elif how == "tiny pixels":
        facts.write_text(json.dumps({**stated, "shrink": 1e-9}))
    elif how == "an unknown field":
        facts.write_text(json.dumps({**stated, "run": "rm"}))
    return folder


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no statement", "does not exist"),
        ("no network", "truncated, was changed"),
        ("truncated network", "truncated, was changed"),
        ("truncated statement", "no valid JSON"),
        ("another version", "version 7"),
        ("another kind", "no kind of model 'clairvoyance'"),
        ("another format", "does not describe a model"),
        ("a file elsewhere", "not the file"),
        ("usual mean", "does not fit at 'usual.mean.0'"),
        ("usual typical", "does not fit at 'usual.typical'"),
        ("usual whitening", "does not fit at 'usual.whitening'"),
        ("no number of usual", "does not fit at 'usual.mean'"),
        ("tiny pixels", "does not fit at 'shrink'"),
        ("an unknown field", "does not fit at 'run'"),
    ],
)
def test_what_is_wrong_with_a_model_is_said_in_one_sentence(how: str, words: str, tmp_path: Path) -> None:
    with pytest.raises((ReadError, UsageError)) as caught:
        load(damaged(tmp_path / "model", how))
    assert words in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_network_of_another_kind_is_refused(tmp_path: Path) -> None:
    """With the right checksum, but not from image to image."""
    from correlight.predict.facts import read_facts, write_facts

    folder = damaged(tmp_path / "model", "")
    facts = read_facts(folder)
    (folder / NETWORK).write_bytes(b"no network at all")
    write_facts(folder, facts)
    with pytest.raises(ReadError, match="was expected to be a network"):
        load(folder)
