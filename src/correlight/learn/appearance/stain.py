"""Training of the kind ``predicted-stain``: a U-Net from registered pairs, exported for prediction without PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from correlight.learn.appearance.crops import Scene, crop, scenes
from correlight.learn.appearance.network import UNet
from correlight.learn.appearance.run import CHECKPOINT, Run, Shape
from correlight.predict.facts import Usual
from correlight.predict.network import NETWORK, Network
from correlight.predict.training import Sample, Trained, TrainingPair, TrainingSettings, Workplace, parted
from correlight.predict.usual import PART, described, learned

OPSET = 17
# Crops that say what is usual, and samples in the report.
_LOOKED_AT, _HELD_LOOKED_AT, _SAMPLES = 240, 120, 4


def train(pairs: Sequence[TrainingPair], settings: TrainingSettings, place: Workplace) -> Trained:
    """Train, or go on where an interrupted run in the same folder stopped.

    Parameters
    ----------
    pairs : sequence of TrainingPair
        Registered.
    settings : TrainingSettings
        ``own`` may give ``channels``, ``levels``, ``side`` and ``count`` (see `correlight.learn.appearance.run.Shape`).
    place : Workplace
        Receives ``model.onnx`` and the checkpoint.

    Raises
    ------
    UsageError
        If there are too few pairs, or the device is not there.
    ReadError
        If the checkpoint is damaged.
    """
    cv2.setNumThreads(1)
    kept_in, kept_out = parted(pairs)
    seen, held = scenes(kept_in, settings.contrast), scenes(kept_out, settings.contrast)
    shape = Shape(**{name: int(value) for name, value in settings.own.items()})
    run = Run(shape, settings)
    why = run.train(seen, held, place.folder, place.tell)
    network = run.kept.eval()
    export(network, place.folder / NETWORK)
    return Trained(
        files=(NETWORK, CHECKPOINT),
        usual=usual(seen, held, settings.seed),
        settings={"reach": network.reach, "multiple": network.multiple, "opset": OPSET},
        curves={"squared error": run.curves.learned, "held out, 1 − correlation": run.curves.held_out},
        samples=samples(network, kept_out, held),
        remarks=(why, f"correlation of prediction and target in the held-out part: {1 - run.best:.3f}"),
    )


def export(network: UNet, path: Path) -> None:
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


def samples(network: UNet, pairs: Sequence[TrainingPair], held: Sequence[Scene]) -> list[Sample]:
    """What the network makes of the held-out parts."""

    class Session:
        @torch.no_grad()
        def run(self, names: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [network(torch.as_tensor(given["image"])).numpy()]

    mapping = Network(Session(), network.reach, network.multiple)
    shown = list(zip(pairs, held, strict=True))[:_SAMPLES]
    return [Sample(pair.name, pair.source, pair.target, mapping(scene.source, pair.mask)) for pair, scene in shown]
