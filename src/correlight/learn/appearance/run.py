"""One run of training: steps, a held-out part that decides when to stop, checkpoints that survive a kill."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from correlight.errors import ReadError, UsageError
from correlight.learn import steps
from correlight.learn.appearance.crops import Scene, batch
from correlight.learn.appearance.network import UNet
from correlight.predict.training import Device, Tell, TrainingSettings

CHECKPOINT = "training.safetensors"
_RATE, _WARM_UP, _DECAY = 3e-3, 50, 1e-4
# Weights are averaged over about this many of the last steps.
_AVERAGED = 200
# The held-out part is looked at this often, by so many batches; training ends after so many looks without a gain.
CHECKED_EVERY, _CHECKED_BATCHES, _PATIENCE = 100, 20, 10


@dataclass(frozen=True)
class Shape:
    """Sizes of a run.

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


@dataclass
class Curves:
    """What the report draws: step and value."""

    learned: list[tuple[float, float]] = field(default_factory=list)
    held_out: list[tuple[float, float]] = field(default_factory=list)


def device_for(asked: Device) -> torch.device:
    """The device that was asked for, or the first there is of CUDA, MPS and the processor.

    Raises
    ------
    UsageError
        If this machine does not have it.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        return torch.device(next(name for name, usable in there.items() if usable))
    if not there.get(asked, False):
        usable = ", ".join(name for name, able in there.items() if able)
        raise UsageError(f"The device {asked} is not available here; choose {usable} or auto.")
    return torch.device(asked)


class Run:
    """Network, optimiser, averaged weights, the best of them, and the step: what a checkpoint holds."""

    def __init__(self, shape: Shape, settings: TrainingSettings) -> None:
        torch.manual_seed(settings.seed)
        self._shape, self._settings, self._device = shape, settings, device_for(settings.device)
        self.step, self.curves, self.best_step, self.best = 0, Curves(), 0, math.inf
        self.network = UNet(shape.channels, shape.levels).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = UNet(shape.channels, shape.levels).to(self._device)
        self.averaged.load_state_dict(self.network.state_dict())
        self.kept = UNet(shape.channels, shape.levels)
        self._optimiser = torch.optim.AdamW(self.network.parameters(), _RATE, weight_decay=_DECAY)

    def train(self, seen: Sequence[Scene], held: Sequence[Scene], folder: Path, tell: Tell) -> str:
        """Learn until the held-out part gains no more, or all steps are done; say which."""
        self._restore(folder / CHECKPOINT)
        began, first, last = time.perf_counter(), self.step, self._settings.steps
        recent: list[float] = []
        while self.step < last:
            if self.step - self.best_step > _PATIENCE * CHECKED_EVERY:
                return f"stopped after {self.step} steps, {self.step - self.best_step} after the last gain"
            recent.append(self._learn(seen))
            if self.step % CHECKED_EVERY and self.step != last:
                continue
            self.curves.learned.append((self.step, float(np.mean(recent))))
            self._look(held)
            recent.clear()
            self._save(folder / CHECKPOINT)
            left = (last - self.step) * (time.perf_counter() - began) / (self.step - first) / 60
            tell(
                f"step {self.step} of {last}: error {self.curves.learned[-1][1]:.3f}, held-out correlation "
                f"{1 - self.curves.held_out[-1][1]:.3f}; {left:.0f} min left at most",
                self.step / last,
            )
        return f"all {last} steps were done; the held-out part gained last at step {self.best_step}"

    def _learn(self, seen: Sequence[Scene]) -> float:
        self.network.train()
        value = self._error(seen)
        at = steps.rate(self.step, self._settings.steps, _RATE, _WARM_UP)
        steps.take(self._optimiser, self.network, value, at)
        self.step += 1
        steps.average(self.averaged, self.network, self.step, _AVERAGED)
        return float(value.detach())

    def _batch(self, scenes: Sequence[Scene], step: int, *, plain: bool) -> tuple[Tensor, Tensor, Tensor]:
        made = batch(scenes, self._shape.count, self._shape.side, self._settings.seed + plain, step, plain=plain)
        source, target, mask = (torch.as_tensor(part, device=self._device) for part in made)
        return source.contiguous(memory_format=torch.channels_last), target, mask

    def _error(self, scenes: Sequence[Scene]) -> Tensor:
        """Mean squared error over the variance of the target, so that 1 is what a constant would reach."""
        source, target, mask = self._batch(scenes, self.step, plain=False)
        wrong = (self.network(source) - target) ** 2 * mask
        mean = (target * mask).sum() / mask.sum().clamp(min=1)
        spread = (((target - mean) ** 2) * mask).sum()
        share: Tensor = wrong.sum() / spread.clamp(min=1e-3 * float(mask.numel()))
        return share

    @torch.no_grad()
    def _look(self, held: Sequence[Scene]) -> None:
        """By how much the correlation of predictions and targets falls short of 1: that is what registers images."""
        self.averaged.eval()
        made, wanted = [], []
        for step in range(_CHECKED_BATCHES):
            parts = self._batch(held, step, plain=True)
            inside = parts[2].bool()
            made.append(self.averaged(parts[0])[inside].cpu().numpy())
            wanted.append(parts[1][inside].cpu().numpy())
        both = np.concatenate(made), np.concatenate(wanted)
        value = 1.0 if min(np.ptp(one) for one in both) == 0 else 1 - float(np.corrcoef(*both)[0, 1])
        self.curves.held_out.append((self.step, value))
        if value < self.best:
            self.best, self.best_step = value, self.step
            self.kept.load_state_dict({name: one.cpu() for name, one in self.averaged.state_dict().items()})

    def _save(self, path: Path) -> None:
        """Everything to go on from, as numbers under names: no code, and complete or not there."""
        tensors: dict[str, Tensor] = {}
        for prefix, network in (("network", self.network), ("averaged", self.averaged), ("kept", self.kept)):
            tensors |= {f"{prefix}.{name}": one.contiguous().cpu() for name, one in network.state_dict().items()}
        for number, state in self._optimiser.state_dict()["state"].items():
            tensors |= {
                f"optimiser.{number}.{name}": torch.as_tensor(one).contiguous().cpu() for name, one in state.items()
            }
        facts = {"step": self.step, "best_step": self.best_step, "best": self.best}
        curves = {"learned": self.curves.learned, "held_out": self.curves.held_out}
        metadata = {"run": json.dumps({**facts, "curves": curves})}
        steps.written_whole(path, lambda part: save_file(tensors, part, metadata=metadata))

    def _restore(self, path: Path) -> None:
        if not path.is_file():
            return
        try:
            with safe_open(path, framework="pt") as stored:
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
                facts: dict[str, Any] = json.loads(stored.metadata()["run"])
            for prefix, network in (("network", self.network), ("averaged", self.averaged), ("kept", self.kept)):
                network.load_state_dict(_below(tensors, prefix))
            known = self._optimiser.state_dict()
            known["state"] = {
                number: _below(tensors, f"optimiser.{number}") for number in range(len(list(self.network.parameters())))
            }
            self._optimiser.load_state_dict(known)
            self.step, self.best_step, self.best = facts["step"], facts["best_step"], facts["best"]
            self.curves = Curves(*([tuple(one) for one in facts["curves"][name]] for name in ("learned", "held_out")))
        except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise ReadError(
                f"{path} was expected to be a checkpoint of this training ({error}); remove its folder to begin anew."
            ) from error


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix + "."): one for name, one in tensors.items() if name.startswith(prefix + ".")}
