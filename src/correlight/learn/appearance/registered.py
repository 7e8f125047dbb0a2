"""What trainings from registered pairs share: a U-Net, crops of both images, and what is held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import torch
from torch import nn

from correlight.learn.appearance.crops import Cropped, Scene, scenes
from correlight.learn.appearance.finished import Shown, trained
from correlight.learn.appearance.network import Predicting, UNet
from correlight.learn.appearance.run import Lesson, Run, device_for
from correlight.predict.training import Trained, TrainingPair, TrainingSettings, Workplace, parted

Maker = Callable[[TrainingSettings, Sequence[Scene], Sequence[Scene]], Lesson]


@dataclass(frozen=True)
class Shape:
    """Sizes of a training.

    Parameters
    ----------
    channels, levels : int
        Of the network.
    side, count : int
        Side of a crop in pixels, and crops in a batch.
    """

    channels: int = 16
    levels: int = 3
    side: int = 64
    count: int = 8


class Registered:
    """The part of a lesson that does not depend on the error that is made less.

    Parameters
    ----------
    settings : TrainingSettings
        Of the training.
    seen, held : sequence of Scene
        What is learned from, and what is held out.
    """

    judged = True

    def __init__(self, settings: TrainingSettings, seen: Sequence[Scene], held: Sequence[Scene]) -> None:
        shape = Shape(**{name: int(value) for name, value in settings.own.items()})
        self.device = device_for(settings.device)
        torch.manual_seed(settings.seed)
        self.network: Predicting = UNet(shape.channels, shape.levels)
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.beside: dict[str, nn.Module] = {}
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        self.steps = settings.steps
        self.crops = Cropped(seen, shape.count, shape.side, settings.seed, self.device)
        self.held = Cropped(held, shape.count, shape.side, settings.seed + 1, self.device, plain=True)

    def held_out(self, network: Predicting) -> float:
        """By how much the correlation of predictions and targets falls short of 1: that is what registers images."""
        return self.held.uncorrelated(network)

    def said(self, value: float) -> str:
        """The correlation in words."""
        return f"held-out correlation {1 - value:.3f}"


def train_registered(
    pairs: Sequence[TrainingPair], settings: TrainingSettings, place: Workplace, lesson: Maker, error: str
) -> Trained:
    """Train, or go on where an interrupted run in the same folder stopped.

    Parameters
    ----------
    pairs : sequence of TrainingPair
        Registered.
    settings : TrainingSettings
        ``own`` may give the sizes of a `Shape`.
    place : Workplace
        Receives ``model.onnx`` and the checkpoint.
    lesson : callable
        Makes it from the settings, what is learned from and what is held out.
    error : str
        What is made less, for the report.

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
    run = Run(lesson(settings, seen, held), settings.steps)
    why = run.train(place.folder, place.tell)
    remark = f"correlation of prediction and target in the held-out part: {1 - run.best:.3f}"
    curves = {error: run.curves.learned, "held out, 1 − correlation": run.curves.held_out}
    shown = [
        Shown(pair.name, pair.source, pair.target, scene.source) for pair, scene in zip(kept_out, held, strict=True)
    ]
    return trained(run.kept, place, settings, (seen, held), shown, curves, (why, remark))
