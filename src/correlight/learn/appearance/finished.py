"""What a training with a network hands over once it is done: the ONNX file, what is usual, and samples."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: F401  Needed to write the network: that it is missing must not be found when all is learned.
import torch
from numpy.typing import NDArray

from correlight.images.image import Float32
from correlight.learn.appearance.crops import Scene, crop
from correlight.learn.appearance.network import Predicting
from correlight.learn.appearance.run import CHECKPOINT
from correlight.predict.facts import Usual
from correlight.predict.network import NETWORK, Network
from correlight.predict.training import Sample, Trained, TrainingSettings, Workplace
from correlight.predict.usual import PART, described, learned

OPSET = 17
# Crops that say what is usual, and samples in the report.
_LOOKED_AT, _HELD_LOOKED_AT, _SAMPLES = 240, 120, 4


@dataclass(frozen=True, eq=False)
class Shown:
    """A held-out part for the report.

    Parameters
    ----------
    name : str
        Of its pair.
    source, target : (Y, X) array of float32
        What is predicted from, and what should come out.
    given : (Y, X) array of float32
        The source as the network takes it.
    """

    name: str
    source: Float32
    target: Float32
    given: Float32


def trained(
    network: Predicting,
    place: Workplace,
    settings: TrainingSettings,
    scenes: tuple[Sequence[Scene], Sequence[Scene]],
    shown: Sequence[Shown],
    curves: Mapping[str, Sequence[tuple[float, float]]],
    remarks: tuple[str, ...],
) -> Trained:
    """Write the network, and gather what is to be known of it.

    Parameters
    ----------
    network : Predicting
        That was kept.
    place : Workplace
        Receives ``model.onnx``.
    settings : TrainingSettings
        Of the training.
    scenes : (sequence of Scene, sequence of Scene)
        What was learned from and what was held out, as images to predict from will look.
    shown : sequence of Shown
        Held-out parts for the report.
    curves, remarks
        For the report.
    """
    network.eval()
    export(network, place.folder / NETWORK)
    # Of what gives the pixels that it takes nothing need be said.
    finer = {} if network.finer == 1 else {"finer": network.finer}
    return Trained(
        files=(NETWORK, CHECKPOINT),
        usual=usual(*scenes, settings.seed),
        settings={"reach": network.reach, "multiple": network.multiple, "opset": OPSET, **finer},
        curves=curves,
        samples=samples(network, shown),
        remarks=remarks,
    )


def export(network: Predicting, path: Path) -> None:
    """Write a network as an ONNX file that takes images of any size."""
    side = 8 * network.multiple
    sizes = {0: "count", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        # The exporter that needs no further package warns that it is the older one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.to("cpu"),
            (torch.zeros(1, 1, side, side),),
            str(path),
            input_names=["image"],
            output_names=["predicted"],
            dynamic_axes={"image": sizes, "predicted": sizes},
            opset_version=OPSET,
            dynamo=False,
        )


def usual(seen: Sequence[Scene], held: Sequence[Scene], seed: int) -> Usual:
    """What is usual: texture of crops as they were learned from, and how far crops of held-out parts lie from it."""
    rng = np.random.default_rng([seed, 7])
    side = min(PART, *(min(scene.source.shape) for scene in (*seen, *held)))

    def looked_at(kept: Sequence[Scene], count: int, plain: bool) -> list[NDArray[np.float64]]:
        found = []
        for number in range(count):
            source, _, mask = crop(kept[number % len(kept)], side, rng, plain=plain)
            if mask.mean() > 0.5:
                found.append(described(source, mask))
        return found or [described(scene.source, scene.mask > 0) for scene in kept if scene.mask.any()]

    return learned(looked_at(seen, _LOOKED_AT, False), looked_at(held, _HELD_LOOKED_AT, True))


class _Session:
    """A network in place of its ONNX file."""

    def __init__(self, network: Predicting) -> None:
        self._network = network

    @torch.no_grad()
    def run(self, names: None, given: dict[str, NDArray[np.float32]]) -> list[Any]:
        return [self._network(torch.as_tensor(given["image"])).numpy()]


def samples(network: Predicting, shown: Sequence[Shown]) -> list[Sample]:
    """What the network makes of the held-out parts."""
    mapping = Network(_Session(network), network.reach, network.multiple, network.finer)
    return [
        Sample(one.name, one.source, one.target, mapping(one.given, np.ones(one.given.shape, bool)))
        for one in shown[:_SAMPLES]
    ]
