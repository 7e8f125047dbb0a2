"""Training of the kind ``pix2pix``: translation from registered pairs, against a discriminator.

After Isola et al. 2017 (doi:10.1109/CVPR.2017.632), without dropout: a registration needs one prediction, not a sample
of several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from correlight.learn import steps
from correlight.learn.appearance.adversary import MOMENTA, RATE, WIDTH, PatchGAN, as_seen
from correlight.learn.appearance.crops import Scene
from correlight.learn.appearance.network import Predicting
from correlight.learn.appearance.registered import Registered, train_registered
from correlight.predict.training import Trained, TrainingPair, TrainingSettings, Workplace

_RATE, _WARM_UP = 1e-3, 50
# The absolute error counts a hundred times as much as the discriminator, as published.
_ADVERSARY = 0.01
# Crops in a batch: few, as published, and quicker.
_COUNT = 4


def train(pairs: Sequence[TrainingPair], settings: TrainingSettings, place: Workplace) -> Trained:
    """Train a model of this kind; see `correlight.learn.appearance.registered.train_registered`."""
    return train_registered(pairs, settings, place, _Translated, "absolute error")


class _Translated(Registered):
    """The lesson: an absolute error, and a discriminator that shall not tell predictions from images."""

    def __init__(self, settings: TrainingSettings, seen: Sequence[Scene], held: Sequence[Scene]) -> None:
        super().__init__(replace(settings, own={"count": _COUNT, **settings.own}), seen, held)
        self._adversary = PatchGAN(2).to(self.device)
        self.beside["adversary"] = self._adversary
        self.optimisers["network"] = torch.optim.Adam(self.network.parameters(), _RATE, MOMENTA)
        self.optimisers["adversary"] = torch.optim.Adam(self._adversary.parameters(), RATE, MOMENTA)

    def learn(self, step: int) -> float:
        """One step of the discriminator, and one of the network."""
        source, target, mask = self.crops(step)
        made = self.network(source)
        real, false = (torch.cat([source, as_seen(grey, mask)], dim=1) for grey in (target, made))
        wrong, slow = self._adversary.wrong(real, false), steps.rate(step, self.steps, RATE, _WARM_UP)
        steps.take(self.optimisers["adversary"], self._adversary, wrong, slow)
        away = ((made - target).abs() * mask).sum() / mask.sum().clamp(min=1)
        value = away / WIDTH + _ADVERSARY * self._adversary.not_deceived(false)
        at = steps.rate(step, self.steps, _RATE, _WARM_UP)
        steps.take(self.optimisers["network"], self.network, value, at)
        return float(away.detach())

    def held_out(self, network: Predicting) -> float:
        """By how much correlations of grey values and of edges, on average, fall short of 1.

        What grey a grain or a cell has is not always to be known from the other instrument; where it ends is.
        """
        return self.held.uncorrelated(network, with_edges=True)
