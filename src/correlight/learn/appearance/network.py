"""Networks that predict one image from another, small enough for a processor.

Once trained they normalise nothing by the image at hand, so that a tile with its surroundings gives what the whole
image gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from correlight.predict.contrast import EVEN


class _Twice(nn.Sequential):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        for wide in (before, after):
            self.extend([nn.Conv2d(wide, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()])


@dataclass(frozen=True)
class BlockShape:
    """Sizes of a training of a network of blocks.

    Parameters
    ----------
    channels, blocks : int
        Of the network.
    side, count : int
        Side of a crop in pixels, and crops in a batch.
    """

    channels: int
    blocks: int
    side: int
    count: int

    def asked(self, own: Mapping[str, Any]) -> BlockShape:
        """The same with the sizes that a caller gives."""
        return replace(self, **{name: int(value) for name, value in own.items()})


class Predicting(nn.Module):
    """Takes ``(N, 1, Y, X)`` of zero mean and unit variance to ``(N, 1, Y, X)`` of about 0 to 1, or to finer pixels."""

    @property
    def multiple(self) -> int:
        """What both sides of an image must be multiples of."""
        raise NotImplementedError

    @property
    def reach(self) -> int:
        """How many pixels away an input may be that counts for an output, at most."""
        raise NotImplementedError

    @property
    def finer(self) -> int:
        """Pixels that one becomes along either axis."""
        return 1


class UNet(Predicting):
    """The U-Net, in the manner of CARE (Weigert et al. 2018, doi:10.1038/s41592-018-0216-7).

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


class _Block(nn.Module):
    """Two convolutions that begin with changing nothing."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.within = nn.Sequential(nn.Conv2d(wide, wide, 3, padding=1), nn.ReLU(), nn.Conv2d(wide, wide, 3, padding=1))
        nn.init.zeros_(self.within[2].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.within[2].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """The input and what is added to it."""
        added: Tensor = self.within(x)
        return x + added


class Translator(Predicting):
    """Residual blocks at a quarter of the resolution (after Johnson et al. 2016, doi:10.1007/978-3-319-46475-6_43).

    What is finer is handed across, as in a U-Net, so that boundaries stay where they are; no layer normalises.

    Parameters
    ----------
    channels : int
        At full resolution; four times as many in the blocks.
    blocks : int
        How many.
    """

    def __init__(self, channels: int = 16, blocks: int = 6) -> None:
        super().__init__()
        half, quarter = 2 * channels, 4 * channels
        self.head = nn.Conv2d(1, channels, 5, padding=2)
        self.halve = nn.Conv2d(channels, half, 3, stride=2, padding=1)
        self.halve_again = nn.Conv2d(half, quarter, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(_Block(quarter) for _ in range(blocks))
        self.enlarge = nn.Conv2d(quarter, half, 3, padding=1)
        self.enlarge_again = nn.Conv2d(half, channels, 3, padding=1)
        self.out = nn.Conv2d(channels, 1, 5, padding=2)

    @property
    def multiple(self) -> int:
        """Four, as the image is halved twice."""
        return 4

    @property
    def reach(self) -> int:
        """Eight pixels for every block, and a few for what leads there and back."""
        return 8 * len(self.blocks) + 16

    def features(self, x: Tensor) -> list[Tensor]:
        """What the first layers make of images: at full, half and quarter resolution, and after half of the blocks."""
        found = [self.head(x)]
        found.append(self.halve(nn.functional.relu(found[0])))
        found.append(self.halve_again(nn.functional.relu(found[1])))
        deep = nn.functional.relu(found[2])
        for block in list(self.blocks)[: len(self.blocks) // 2]:
            deep = block(deep)
        return [*found, deep]

    def forward(self, x: Tensor) -> Tensor:
        """The prediction."""
        return self.translated(x)[0]

    def translated(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The prediction and the features of the image."""
        found = self.features(x)
        deep = found[3]
        for block in list(self.blocks)[len(self.blocks) // 2 :]:
            deep = block(deep)
        for layer, beside in ((self.enlarge, found[1]), (self.enlarge_again, found[0])):
            deep = nn.functional.relu(layer(nn.functional.interpolate(deep, scale_factor=2.0, mode="nearest")) + beside)
        made: Tensor = 0.5 + self.out(deep)
        return made, found


class Upscaler(Predicting):
    """Adds to a cubic interpolation what residual blocks make of the image.

    Pixels are made of channels at the end, as in SRGAN (Ledig et al. 2017, doi:10.1109/CVPR.2017.19), and nothing is
    normalised (Lim et al. 2017, doi:10.1109/CVPRW.2017.151).

    Parameters
    ----------
    channels : int
        Of every layer.
    blocks : int
        How many.
    """

    def __init__(self, channels: int = 32, blocks: int = 5) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(_Block(channels) for _ in range(blocks)))
        steps: list[nn.Module] = []
        for _ in range(2):
            steps += [nn.Conv2d(channels, 4 * channels, 3, padding=1), nn.PixelShuffle(2), nn.ReLU()]
        self.enlarge = nn.Sequential(*steps)
        self.out = nn.Conv2d(channels, 1, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    @property
    def multiple(self) -> int:
        """One: any image."""
        return 1

    @property
    def reach(self) -> int:
        """Two pixels for every block, and a few for what leads there and on."""
        return 2 * len(self.blocks) + 6

    @property
    def finer(self) -> int:
        """Four."""
        return 4

    def forward(self, x: Tensor) -> Tensor:
        """The image on finer pixels."""
        first = nn.functional.relu(self.head(x))
        added = self.out(self.enlarge(first + self.blocks(first)))
        smooth = nn.functional.interpolate(x, scale_factor=4.0, mode="bicubic", align_corners=False)
        made: Tensor = smooth * EVEN[1] + EVEN[0] + added
        return made
