"""What makes the folder of a model one of bioimage.io as well: its description, words for people, and test tensors.

The description follows the model format 0.5 of the bioimage.io specification. It is written as JSON, which every reader
of YAML reads. Kinds without a network in an ONNX file have no weights that the format knows, so they get none.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import correlight
from correlight.parsing import sha256
from correlight.predict.contrast import prepared
from correlight.predict.facts import ModelFacts
from correlight.predict.kinds import KINDS
from correlight.predict.model import Model
from correlight.predict.network import NETWORK
from correlight.predict.training import TrainingPair

DESCRIPTION, WORDS = "rdf.yaml", "README.md"
_TENSORS = "test_input.npy", "test_output.npy"
# Side of the test image in pixels, at most: large enough for a network to show what it does.
_SIDE = 256


def describe(folder: Path, model: Model, pair: TrainingPair, licence: str) -> None:
    """Write the description of a model, unless the format has no place for what it is.

    Parameters
    ----------
    folder : Path
        Of the model, complete but for this.
    model : Model
        Read from there.
    pair : TrainingPair
        Whose source becomes the test image.
    licence : str
        Identifier of SPDX.
    """
    (folder / WORDS).write_text(_words(model.facts), encoding="utf-8")
    if NETWORK not in model.facts.files:
        return
    multiple = int(model.facts.settings["multiple"])
    side = min(_SIDE, *pair.source.shape) // multiple * multiple
    given = prepared(pair.source, pair.mask, model.facts.contrast)[:side, :side]
    made = model.mapping(np.ascontiguousarray(given), np.ones_like(given, bool))
    for name, values in zip(_TENSORS, (given, made), strict=True):
        np.save(folder / name, np.asarray(values, np.float32)[None, None])
    described = _description(folder, model.facts, side, licence)
    # Others must find the same but for rounding, which the format wants stated as a small share of what comes out.
    tolerance = {"relative_tolerance": 1e-3, "absolute_tolerance": min(1e-3, 0.005 * float(np.abs(made).max()))}
    described["config"]["bioimageio"] = {"reproducibility_tolerance": [tolerance]}
    (folder / DESCRIPTION).write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def _file(folder: Path, name: str) -> dict[str, str]:
    return {"source": name, "sha256": sha256(folder / name)}


def _description(folder: Path, facts: ModelFacts, side: int, licence: str) -> dict[str, Any]:
    multiple, reach = int(facts.settings["multiple"]), int(facts.settings["reach"])
    # Something must be left of the smallest image, and of the test image, inside of what its rim reaches.
    halo = min(-(-reach // multiple), (side // multiple - 1) // 2) * multiple

    def axes(space: dict[str, Any], channel: str) -> list[dict[str, Any]]:
        return [
            {"type": "batch"},
            {"type": "channel", "channel_names": [channel]},
            *({"type": "space", "id": axis, **_sized(space, axis)} for axis in "yx"),
        ]

    return {
        "type": "model",
        "format_version": "0.5.4",
        "name": f"{facts.source} to {facts.target}",
        "description": f"{KINDS[facts.kind].summary}, for registration only.",
        "authors": [{"name": "trained with correlight"}],
        "license": licence,
        "documentation": WORDS,
        "tags": ["registration", "correlative-microscopy", "image-translation"],
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": [
            {
                "id": "image",
                "description": "Grey values of zero mean and unit variance, after the preparation that the words name.",
                "axes": axes({"size": {"min": 2 * halo + multiple, "step": multiple}}, facts.source.replace(" ", "_")),
                "test_tensor": _file(folder, _TENSORS[0]),
                "data": {"type": "float32"},
            }
        ],
        "outputs": [
            {
                "id": "predicted",
                "description": "What the other instrument is predicted to show; not data.",
                "axes": axes({"halo": halo * facts.finer, "scale": 1 / facts.finer}, facts.target.replace(" ", "_")),
                "test_tensor": _file(folder, _TENSORS[1]),
                "data": {"type": "float32"},
            }
        ],
        "weights": {"onnx": {**_file(folder, NETWORK), "opset_version": int(facts.settings["opset"])}},
        "config": {"correlight": {"version": correlight.__version__, "facts": "model.json"}},
    }


def _sized(space: dict[str, Any], axis: str) -> dict[str, Any]:
    """An axis of the input with its sizes, or of the output with its halo and the axis of the input that it follows."""
    return space if "size" in space else {**space, "size": {"tensor_id": "image", "axis_id": axis}}


def _words(facts: ModelFacts) -> str:
    pixel = f"{facts.spacing:.4g} micrometres" if facts.spacing else "not stated by the training images"
    pairs = facts.provenance.get("pairs", [])
    return "\n".join(
        [
            f"# {facts.source} to {facts.target}",
            "",
            f"{KINDS[facts.kind].summary}. Trained with correlight {correlight.__version__} on {len(pairs)} pairs. It "
            "serves to register images; predicted detail is not data.",
            "",
            "## Validation",
            "",
            *(f"- {remark}" for remark in facts.provenance.get("remarks", [])),
            "- `training.html` shows the curves and what the model makes of parts that were held out.",
            "",
            "## How grey values are prepared",
            "",
            "Stretched to 0 to 1 between the percentiles 0.5 and 99.5 of the valid pixels, resampled to the pixel size "
            f"of the model ({pixel}; {facts.shrink:g} pixels of the training images), then {facts.contrast}, then "
            "brought to zero mean and unit variance; 0 where there is no image.",
            *([f"What is predicted has {facts.finer} pixels for every one along either axis."] * (facts.finer > 1)),
            "",
        ]
    )
