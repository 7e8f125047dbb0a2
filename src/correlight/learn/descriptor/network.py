"""The descriptor network: any grey image in, feature planes at a quarter of the resolution out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from correlight.appearance.descriptor import PLANES, STRIDE

# Channels at half and at quarter resolution. Processors multiply matrices in tiles of 16 and 32.
_HALF, _QUARTER = 32, 64
# Dilations of the residual blocks: by them alone a feature sees 77 pixels of the image along each axis.
_DILATIONS = (1, 2, 4, 1)
# Channels and dilations at an eighth of the resolution, where a weight costs a quarter of what it costs at a quarter.
_EIGHTH, _EIGHTH_DILATIONS = 128, (1, 2)


class _Block(nn.Module):
    """A residual convolution; starts as the identity."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same shape."""
        added: Tensor = self.mix(torch.relu(self.spatial(x)))
        return x + added


class _Surroundings(nn.Module):
    """What lies around, at half the resolution of what it is added to; starts as nothing.

    A network without it, trained before, is therefore a start for one with it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, _EIGHTH, 3, stride=2, padding=1),
            nn.ReLU(),
            *(_Block(_EIGHTH, dilation) for dilation in _EIGHTH_DILATIONS),
        )
        self.finer = nn.Conv2d(_EIGHTH, 4 * channels, 1)
        nn.init.zeros_(self.finer.weight)
        nn.init.zeros_(self.finer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """What is to be added, of the same shape."""
        fine = torch.pixel_shuffle(self.finer(torch.relu(self.inner(x))), 2)
        # Sides need not be even.
        return fine[:, :, : x.shape[2], : x.shape[3]]


class Descriptor(nn.Module):
    """Fully convolutional, so that it takes images of any size.

    Its input is ``(N, 2, Y, X)``: grey values with mean 0 and standard deviation 1 over the valid pixels and 0 outside
    them, and the mask; both sides multiples of 4. Its outputs are the features ``(N, PLANES, Y / 4, X / 4)``, of
    length below 1 at every place so that a place can say "nothing here", and the last hidden layer
    ``(N, 64, Y / 4, X / 4)``, which tells how usual the image is.

    Parameters
    ----------
    wide : bool
        Whether it sees the surroundings of a place at an eighth of the resolution besides: 630,000 weights instead of
        195,000, and half as much time again for an image.
    """

    def __init__(self, wide: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(2, _HALF, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(_HALF, _HALF, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_HALF, _QUARTER, 3, stride=STRIDE // 2, padding=1),
            nn.ReLU(),
        )
        self.surroundings = _Surroundings(_QUARTER) if wide else None
        self.body = nn.Sequential(*(_Block(_QUARTER, dilation) for dilation in _DILATIONS))
        self.head = nn.Conv2d(_QUARTER, PLANES, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features and hidden layer of a batch of images."""
        near = self.stem(x)
        if self.surroundings is not None:
            near = near + self.surroundings(near)
        hidden = torch.relu(self.body(near))
        raw = self.head(hidden)
        return raw / torch.sqrt(1 + (raw * raw).sum(dim=1, keepdim=True)), hidden
