"""One run of training: steps, a held-out part that decides when to stop, checkpoints that survive a kill."""

from __future__ import annotations

import json
import math
import time
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from correlight.errors import ReadError, UsageError
from correlight.learn import steps
from correlight.learn.appearance.network import Predicting
from correlight.predict.training import Device, Tell

CHECKPOINT = "training.safetensors"
# Weights are averaged over about this many of the last steps.
_AVERAGED = 200
# The held-out part is looked at this often; training ends after so many looks without a gain.
CHECKED_EVERY, PATIENCE = 100, 10


class Lesson(Protocol):
    """What is learned, from what, and by which errors.

    Attributes
    ----------
    network : Predicting
        What the model is made of in the end.
    beside : dict of str to Module
        What only the training needs, such as a discriminator.
    optimisers : dict of str to Optimizer
        Of the parameters of all of them.
    judged : bool
        Whether what is held out says which weights are best and when to stop; else the last ones are kept.
    """

    network: Predicting
    beside: dict[str, nn.Module]
    optimisers: dict[str, torch.optim.Optimizer]
    judged: bool

    def learn(self, step: int) -> float:
        """One step downhill; the error that the curve shows."""
        ...

    def held_out(self, network: Predicting) -> float:
        """How bad a network is where it has not learned: the lower the better."""
        ...

    def said(self, value: float) -> str:
        """Such a number in words, for the line of progress."""
        ...


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
    """A lesson, averaged weights, the best of them, and the step: what a checkpoint holds.

    Parameters
    ----------
    lesson : Lesson
        With its networks on the device that trains.
    last : int
        Steps at most.
    """

    def __init__(self, lesson: Lesson, last: int) -> None:
        self._lesson, self._last = lesson, last
        self.step, self.curves, self.best_step, self.best = 0, Curves(), 0, math.inf
        self.averaged = deepcopy(lesson.network)
        self.kept = deepcopy(lesson.network).to("cpu")
        self._networks = {"network": lesson.network, "averaged": self.averaged, "kept": self.kept, **lesson.beside}

    def train(self, folder: Path, tell: Tell) -> str:
        """Learn until the held-out part gains no more, if it judges, or all steps are done; say which."""
        self._restore(folder / CHECKPOINT)
        began, first, last = time.perf_counter(), self.step, self._last
        recent: list[float] = []
        while self.step < last:
            if self.step - self.best_step > PATIENCE * CHECKED_EVERY:
                return f"stopped after {self.step} steps, {self.step - self.best_step} after the last gain"
            self._lesson.network.train()
            recent.append(self._lesson.learn(self.step))
            self.step += 1
            steps.average(self.averaged, self._lesson.network, self.step, _AVERAGED)
            if self.step % CHECKED_EVERY and self.step != last:
                continue
            self.curves.learned.append((self.step, float(np.mean(recent))))
            self._look()
            recent.clear()
            self._save(folder / CHECKPOINT)
            left = (last - self.step) * (time.perf_counter() - began) / (self.step - first) / 60
            tell(
                f"step {self.step} of {last}: error {self.curves.learned[-1][1]:.3f}, "
                f"{self._lesson.said(self.curves.held_out[-1][1])}; {left:.0f} min left at most",
                self.step / last,
            )
        gained = f"; the held-out part gained last at step {self.best_step}" if self._lesson.judged else ""
        return f"all {last} steps were done{gained}"

    @torch.no_grad()
    def _look(self) -> None:
        self.averaged.eval()
        value = self._lesson.held_out(self.averaged)
        self.curves.held_out.append((self.step, value))
        if value < self.best or not self._lesson.judged:
            self.best, self.best_step = value, self.step
            self.kept.load_state_dict({name: one.cpu() for name, one in self.averaged.state_dict().items()})

    def _save(self, path: Path) -> None:
        """Everything to go on from, as numbers under names: no code, and complete or not there."""
        tensors: dict[str, Tensor] = {}
        for prefix, network in self._networks.items():
            tensors |= {f"{prefix}.{name}": one.contiguous().cpu() for name, one in network.state_dict().items()}
        for whose, optimiser in self._lesson.optimisers.items():
            for number, state in optimiser.state_dict()["state"].items():
                tensors |= {
                    f"optimiser of {whose}.{number}.{name}": torch.as_tensor(one).contiguous().cpu()
                    for name, one in state.items()
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
            for prefix, network in self._networks.items():
                network.load_state_dict(_below(tensors, prefix))
            for whose, optimiser in self._lesson.optimisers.items():
                known = optimiser.state_dict()
                count = sum(len(group["params"]) for group in known["param_groups"])
                known["state"] = {number: _below(tensors, f"optimiser of {whose}.{number}") for number in range(count)}
                optimiser.load_state_dict(known)
            self.step, self.best_step, self.best = facts["step"], facts["best_step"], facts["best"]
            self.curves = Curves(*([tuple(one) for one in facts["curves"][name]] for name in ("learned", "held_out")))
        except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise ReadError(
                f"{path} was expected to be a checkpoint of this training ({error}); remove its folder to begin anew."
            ) from error


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix + "."): one for name, one in tensors.items() if name.startswith(prefix + ".")}
