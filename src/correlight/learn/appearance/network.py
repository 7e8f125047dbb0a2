"""The U-Net: any grey image in, a predicted image on the same pixels out.

In the manner of CARE (Weigert et al. 2018, doi:10.1038/s41592-018-0216-7), small enough for a processor. Once trained
it normalises nothing by the image at hand, so that a tile with its surroundings gives what the whole image gives.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _Twice(nn.Sequential):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        for wide in (before, after):
            self.extend([nn.Conv2d(wide, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()])


class UNet(nn.Module):
    """Takes ``(N, 1, Y, X)`` of zero mean and unit variance to ``(N, 1, Y, X)``; sides multiples of `multiple`.

    Parameters
    ----------
    channels : int
        At full resolution; they double with every level.
    levels : int
        How often the image is halved.
    """

    def __init__(self, channels: int = 16, levels: int = 3) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(levels + 1)]
        self.levels = levels
        self.down = nn.ModuleList(
            _Twice(before, after) for before, after in zip([1, *widths[:-2]], widths[:-1], strict=True)
        )
        self.bottom = _Twice(widths[-2], widths[-1])
        self.up = nn.ModuleList(
            _Twice(low + high, high) for low, high in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.out = nn.Conv2d(channels, 1, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    @property
    def multiple(self) -> int:
        """What both sides of an image must be multiples of."""
        return 1 << self.levels

    @property
    def reach(self) -> int:
        """How many pixels away an input may be that counts for an output, at most."""
        # Two convolutions a level and direction see two of its pixels far; halving and doubling add one less than
        # the size of a pixel each.
        there_and_back = 2 * sum(3 << level for level in range(self.levels))
        return there_and_back + (2 << self.levels)

    def forward(self, x: Tensor) -> Tensor:
        """The prediction."""
        kept = []
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for block, beside in zip(self.up, reversed(kept), strict=True):
            x = block(torch.cat([nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"), beside], dim=1))
        made: Tensor = self.out(x)
        return made
