"""Training of the kind ``predicted-stain``: a U-Net from registered pairs, by its mean squared error."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from correlight.learn import steps
from correlight.learn.appearance.crops import Scene
from correlight.learn.appearance.registered import Registered, train_registered
from correlight.predict.training import Trained, TrainingPair, TrainingSettings, Workplace

_RATE, _WARM_UP, _DECAY = 3e-3, 50, 1e-4


def train(pairs: Sequence[TrainingPair], settings: TrainingSettings, place: Workplace) -> Trained:
    """Train a model of this kind; see `correlight.learn.appearance.registered.train_registered`."""
    return train_registered(pairs, settings, place, _Squares, "squared error")


class _Squares(Registered):
    """The lesson: a mean squared error."""

    def __init__(self, settings: TrainingSettings, seen: Sequence[Scene], held: Sequence[Scene]) -> None:
        super().__init__(settings, seen, held)
        self.optimisers["network"] = torch.optim.AdamW(self.network.parameters(), _RATE, weight_decay=_DECAY)

    def learn(self, step: int) -> float:
        """One step downhill."""
        source, target, mask = self.crops(step)
        value = _share(self.network(source), target, mask)
        at = steps.rate(step, self.steps, _RATE, _WARM_UP)
        steps.take(self.optimisers["network"], self.network, value, at)
        return float(value.detach())


def _share(made: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the variance of the target, so that 1 is what a constant would reach."""
    wrong = (made - target) ** 2 * mask
    mean = (target * mask).sum() / mask.sum().clamp(min=1)
    spread = (((target - mean) ** 2) * mask).sum()
    share: Tensor = wrong.sum() / spread.clamp(min=1e-3 * float(mask.numel()))
    return share
