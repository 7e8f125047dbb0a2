"""The discriminator: which patches of an image could be of the other instrument and which were made by a network.

A PatchGAN (Isola et al. 2017, doi:10.1109/CVPR.2017.632), judged by squares (Mao et al. 2017,
doi:10.1109/ICCV.2017.304) and kept from changing too fast by the norm of its weights (Miyato et al. 2018,
doi:10.48550/arXiv.1802.05957). It takes part in training only and is no part of a model.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from correlight.predict.contrast import EVEN

# Grey values between 0 and 1 are taken as models take those that are only stretched.
MIDDLE, WIDTH = EVEN
# How fast it learns, and the momenta of both optimisers.
RATE, MOMENTA = 4e-4, (0.5, 0.999)


def _as_it_is(layer: nn.Module) -> nn.Module:
    return layer


class PatchGAN(nn.Sequential):
    """Takes ``(N, C, Y, X)`` to one number for every patch of 34 pixels: 1 for what is real, 0 for what was made.

    Parameters
    ----------
    images : int
        How many it sees at once: 2 where what was predicted from is shown beside the prediction.
    channels : int
        Of the first layer.
    bounded : bool
        Whether weights are kept from growing.
    """

    def __init__(self, images: int, channels: int = 16, *, bounded: bool = True) -> None:
        layers: list[nn.Module] = []
        kept: Callable[[nn.Module], nn.Module] = spectral_norm if bounded else _as_it_is
        for before, after, stride in (
            (images, channels, 2),
            (channels, 2 * channels, 2),
            (2 * channels, 4 * channels, 1),
        ):
            layers += [kept(nn.Conv2d(before, after, 4, stride=stride, padding=1)), nn.LeakyReLU(0.2)]
        super().__init__(*layers, kept(nn.Conv2d(4 * channels, 1, 4, padding=1)))

    def wrong(self, real: Tensor, made: Tensor) -> Tensor:
        """By how much it errs; what it is trained to make less."""
        error: Tensor = ((self(real) - 1) ** 2).mean() + (self(made.detach()) ** 2).mean()
        return error / 2

    def not_deceived(self, made: Tensor) -> Tensor:
        """By how much it finds out what was made; what a network is trained to make less."""
        error: Tensor = ((self(made) - 1) ** 2).mean()
        return error


def as_seen(grey: Tensor, mask: Tensor) -> Tensor:
    """Grey values between 0 and 1 as the discriminator takes them, 0 outside the mask."""
    return (grey - MIDDLE) / WIDTH * mask
