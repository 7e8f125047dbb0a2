"""Tiny models: the negative of an image, slightly blurred, as a network in an ONNX file; and learned from one pair."""

import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.learn.by_example import train_analogies, train_dictionaries
from correlight.predict.contrast import prepared
from correlight.predict.facts import ModelFacts, write_facts
from correlight.predict.network import NETWORK
from correlight.predict.training import Trainer, TrainingPair, TrainingSettings, Workplace
from correlight.predict.usual import learned, parts
from correlight.refine.planes import lay
from correlight.transforms import Affine
from tests.small_pairs import Couple, cell_with_beads, couple, seen

# Limits within which their registrations are quick.
NEAR: dict[str, Any] = {
    "rotation": (126.0, 134.0),
    "scale": (0.53, 0.545),
    "mirror": False,
    "model": "similarity",
    "workers": 1,
}
_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def write_network(path: Path, kernel: np.ndarray) -> None:
    """A network of one convolution, whose grey is 0.5."""
    onnx = pytest.importorskip("onnx", reason="the network of the test is written with the package onnx")
    make, reach = onnx.helper, len(kernel) // 2
    weights = onnx.numpy_helper.from_array(kernel.astype(np.float32)[None, None], "kernel")
    middle = onnx.numpy_helper.from_array(np.array([0.5], np.float32), "middle")
    node = make.make_node("Conv", ["image", "kernel", "middle"], ["predicted"], pads=[reach] * 4)
    sides = [
        make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, "y", "x"]) for name in ("image", "predicted")
    ]
    graph = make.make_graph([node], "negative", sides[:1], sides[1:], [weights, middle])
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)


def write_negative(folder: Path, like: Image, **changes: Any) -> Path:
    """A model that makes the negative, which finds images like the given one usual."""
    write_network(folder / NETWORK, -0.29 * np.ones((3, 3)) / 9)
    plane = Plane.of(like, 0)
    found = []
    for turn in range(4):
        values, mask = np.rot90(plane.values, turn), np.rot90(plane.mask, turn)
        for start in range(0, 90, 15):
            cut = np.ascontiguousarray(values[start:, start:]), np.ascontiguousarray(mask[start:, start:])
            found += parts(prepared(*cut, "stretched"), cut[1])
    facts: dict[str, Any] = {
        "kind": "predicted-stain",
        "source": "electron",
        "target": "stain",
        "usual": learned(found, found),
        "settings": {"reach": 1, "multiple": 4},
        "provenance": {"trained": "not at all: it is the negative"},
        "files": {NETWORK: ""},
    }
    write_facts(folder, ModelFacts(**{**facts, **changes}))
    return folder


@cache
def negative() -> Path:
    """The folder of such a model for `cell_and_negative`."""
    _KEPT.append(tempfile.TemporaryDirectory())
    return write_negative(Path(_KEPT[-1].name), cell_and_negative().fixed)


@cache
def by_example(kind: str) -> Path:
    """A model of the kind analogies or dictionaries, trained on `cell_and_negative`."""
    _KEPT.append(tempfile.TemporaryDirectory())
    folder, both = Path(_KEPT[-1].name), cell_and_negative()
    source = Plane.of(both.fixed, 0).resized((96, 96))
    laid = lay(Plane.of(both.moving, 0), Affine(both.moving_from_fixed.matrix), source.grid)
    pairs = [TrainingPair("negative", source.values, laid.values, source.mask & laid.mask)] * 2
    trainers: dict[str, tuple[Trainer, dict[str, float | int | str]]] = {
        "analogies": (train_analogies, {"side": 5}),
        "dictionaries": (train_dictionaries, {"side": 6, "step": 3, "atoms": 60, "samples": 600, "sparsity": 0.3}),
    }
    train, own = trainers[kind]
    settings = TrainingSettings(contrast="normalised", own=own)
    trained = train(pairs, settings, Workplace(folder, lambda words, done: None))
    facts = ModelFacts(
        kind=kind,
        source="electron",
        target="negative",
        spacing=source.grid.spacing[0],
        contrast=settings.contrast,
        usual=trained.usual,
        settings=trained.settings,
        files=dict.fromkeys(trained.files, ""),
    )
    write_facts(folder, facts)
    return folder


@cache
def cell_and_negative() -> Couple:
    """An electron image, and its negative seen by another instrument: blurred, noisy, on coarser pixels, turned."""
    cell = cell_with_beads()
    fixed, grid, truth = cell.fixed, cell.moving.grid, cell.moving_from_fixed
    values = fixed.grey(0)
    negative = seen(np.where(fixed.valid(), values.max() - values, 0), fixed.grid, grid, Affine(truth.matrix))
    noise = np.random.default_rng(3).normal(0, 4, grid.shape)
    return couple(fixed, Image.from_array((negative + noise).astype(np.float32), grid.spacing), truth)


# Recipes that predict, each with the model that it is tested with.
PREDICTING: dict[str, Callable[[], Path]] = {
    "predicted-stain": negative,
    "analogies": partial(by_example, "analogies"),
    "dictionaries": partial(by_example, "dictionaries"),
    "style-elastic": negative,
}
