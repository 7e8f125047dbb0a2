"""Models that are numbers only: written by a training, read back, and at work in a registration."""

import json
from dataclasses import replace

import numpy as np
import pytest

from correlight.errors import ReadError, UsageError
from correlight.images.plane import Plane
from correlight.learn.by_example import ROUND, train_analogies, train_dictionaries
from correlight.predict.by_example import ARRAYS
from correlight.predict.facts import FACTS, read_facts, write_facts
from correlight.predict.model import load
from correlight.predict.training import TrainingPair, TrainingSettings, Workplace
from correlight.refine.planes import lay
from correlight.registration.register import register
from tests.small_models import NEAR, by_example, cell_and_negative

KINDS = ("analogies", "dictionaries")


def pair_of(seed: int) -> TrainingPair:
    rng = np.random.default_rng(seed)
    source = rng.random((64, 64)).astype(np.float32)
    return TrainingPair("noise", source, 1 - source, np.ones(source.shape, bool))


@pytest.mark.parametrize("kind", KINDS)
def test_the_prediction_is_what_the_other_instrument_shows(kind: str) -> None:
    both, model = cell_and_negative(), load(by_example(kind))
    plane = Plane.of(both.fixed, 0)
    laid = lay(Plane.of(both.moving, 0), both.moving_from_fixed, plane.grid)
    made = model.apply(plane)
    valid = laid.mask & plane.mask
    assert np.corrcoef(made.values[valid], laid.values[valid])[0, 1] > 0.8
    assert made.grid is plane.grid
    assert model.unusualness(plane) < 1.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_registration_through_it_finds_the_pose(kind: str) -> None:
    both = cell_and_negative()
    result = register(both.fixed, both.moving, kind, predictor=by_example(kind), **NEAR)
    points = both.fixed.grid.lattice(8)
    apart = np.linalg.norm(result.moving_from_fixed(points) - both.moving_from_fixed(points), axis=1)
    assert float(apart.mean()) < 1.5 * both.moving.grid.spacing[0]
    assert result.predicted is not None
    assert result.predicted.role == "fixed"
    assert result.recipe == kind


def test_dictionaries_denoise_the_other_image_and_say_how_sure_they_are() -> None:
    both, model = cell_and_negative(), load(by_example("dictionaries"))
    other = Plane.of(both.moving, 0)
    assert model.made_comparable(other) is not other
    _, confidence = model.apply_with_confidence(Plane.of(both.fixed, 0))
    assert confidence is not None
    assert 0 <= confidence.min() < confidence.max() <= 1
    assert load(by_example("analogies")).apply_with_confidence(Plane.of(both.fixed, 0))[1] is None


def copied(kind: str, folder, **changes):
    """The model with some of its numbers changed, and checksums that fit."""
    with np.load(by_example(kind) / ARRAYS) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez_compressed(folder / ARRAYS, **{**arrays, **changes})
    write_facts(folder, read_facts(by_example(kind)))
    return folder


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [
        ("dictionaries", {"atoms": np.zeros((5, 7))}, "do not fit pairs of patches of 6 pixels"),
        ("dictionaries", {"variances": np.full(6, np.nan)}, "variances are missing, not finite"),
        ("analogies", {"source0": np.zeros((3, 4))}, "do not fit each other"),
        ("analogies", {"source0": np.zeros((5000, 5000), np.float32)}, "packed more densely"),
        ("analogies", {"mask0": np.array(["a"], dtype=object)}, "Object arrays cannot be loaded"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_in_a_sentence(kind, changes, why, tmp_path) -> None:
    with pytest.raises(ReadError, match=why):
        load(copied(kind, tmp_path, **changes))


def test_a_file_that_is_no_archive_is_refused(tmp_path) -> None:
    (tmp_path / ARRAYS).write_bytes(b"no numbers")
    write_facts(tmp_path, read_facts(by_example("analogies")))
    with pytest.raises(ReadError, match="copy its folder anew"):
        load(tmp_path)


@pytest.mark.parametrize("examples", ["x", 1.5, 0, 10**9])
def test_a_number_of_examples_that_cannot_be_is_refused(examples, tmp_path) -> None:
    folder = copied("analogies", tmp_path)
    stated = json.loads((folder / FACTS).read_text())
    stated["settings"]["examples"] = examples
    (folder / FACTS).write_text(json.dumps(stated))
    with pytest.raises(ReadError, match="copy its folder anew"):
        load(folder)


def test_a_missing_setting_is_refused(tmp_path) -> None:
    folder = copied("dictionaries", tmp_path)
    stated = json.loads((folder / FACTS).read_text())
    del stated["settings"]["sparsity"]
    (folder / FACTS).write_text(json.dumps(stated))
    with pytest.raises(ReadError, match="the setting sparsity is missing"):
        load(folder)


@pytest.mark.parametrize(
    ("train", "own", "why"),
    [
        (train_analogies, {"side": 6}, "odd number of pixels"),
        (train_analogies, {"kappa": -1.0}, "kappa was expected to be a positive number"),
        (train_analogies, {"side": "wide"}, "side was expected to be a number"),
        (train_dictionaries, {"side": 15, "step": 4}, "step that divides the side"),
        (train_dictionaries, {"atoms": 900}, "900 atoms"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_learned(train, own, why, tmp_path) -> None:
    pairs, place = [pair_of(1), pair_of(2)], Workplace(tmp_path, lambda words, done: None)
    with pytest.raises(UsageError, match=why):
        train(pairs, TrainingSettings(own={"samples": 2000, **own}), place)
    assert not list(tmp_path.iterdir())


def test_targets_of_one_value_are_refused(tmp_path) -> None:
    pair = pair_of(3)
    target = np.zeros_like(pair.target)
    target[:3, 8:11] = 1
    pairs = [replace(pair, target=target)] * 5
    flat = [one.cut(np.s_[20:, :]) for one in pairs]
    with pytest.raises(UsageError, match="one value everywhere"):
        train_dictionaries(flat, TrainingSettings(), Workplace(tmp_path, lambda words, done: None))


def test_a_training_of_dictionaries_that_was_interrupted_goes_on_to_the_same_end(tmp_path) -> None:
    own = {"side": 6, "step": 3, "atoms": 20, "samples": 200}
    settings, pairs = TrainingSettings(contrast="normalised", own=own), [pair_of(seed) for seed in range(2)]
    told: dict[str, list[float]] = {name: [] for name in ("whole", "stopped", "resumed")}

    def train(name: str, until: float) -> None:
        folder = tmp_path / name.replace("resumed", "stopped")
        folder.mkdir(exist_ok=True)

        def tell(words: str, done: float) -> None:
            told[name].append(done)
            if done > until:
                raise KeyboardInterrupt

        train_dictionaries(pairs, settings, Workplace(folder, tell))

    train("whole", 1)
    with pytest.raises(KeyboardInterrupt):
        train("stopped", 0.4)
    assert not (tmp_path / "stopped" / ARRAYS).exists()
    train("resumed", 1)
    assert len(told["resumed"]) < len(told["whole"]) - 9
    one, other = (np.load(tmp_path / name / ARRAYS) for name in ("whole", "stopped"))
    assert np.array_equal(one["atoms"], other["atoms"])
    assert np.array_equal(one["variances"], other["variances"])
    round_ = tmp_path / "stopped" / ROUND
    round_.write_bytes(round_.read_bytes()[:300])
    with pytest.raises(ReadError, match="was expected to be a checkpoint"):
        train("resumed", 1)
