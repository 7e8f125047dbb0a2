"""What every training does step by step: the learning rate, one step downhill, averaged weights, whole checkpoints."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn


def rate(step: int, steps: int, highest: float, warm_up: int) -> float:
    """Learning rate: a short rise, then half a cosine down to nothing.

    Parameters
    ----------
    step, steps : int
        Which one, from 0, and how many there are.
    highest : float
        What it rises to.
    warm_up : int
        Steps of the rise.
    """
    return highest * min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / steps))


def take(optimiser: torch.optim.Optimizer, network: nn.Module, value: Tensor, at: float) -> None:
    """One step downhill, no gradient of the network longer than 1.

    Parameters
    ----------
    optimiser : Optimizer
        Of the parameters of the network, and others if need be.
    network : Module
        Whose gradient is cut.
    value : Tensor
        What is to become less.
    at : float
        Learning rate.
    """
    for group in optimiser.param_groups:
        group["lr"] = at
    optimiser.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()


@torch.no_grad()
def average(mean: nn.Module, network: nn.Module, step: int, span: int) -> None:
    """Move averaged weights towards those of a network: over about the last ``span`` steps, at first over fewer.

    What batches are normalised by is averaged as well; how many there were is only counted.
    """
    share = min(step / (step + 10), 1 - 1 / span)
    own = network.state_dict()
    for name, kept in mean.state_dict().items():
        _ = kept.lerp_(own[name], 1 - share) if kept.is_floating_point() else kept.copy_(own[name])


def written_whole(path: Path, write: Callable[[Path], object]) -> None:
    """A file that is never seen half-written: under another name first."""
    part = path.with_suffix(".part")
    write(part)
    os.replace(part, path)
