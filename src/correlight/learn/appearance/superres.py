"""Training of the kind ``superres``: an image on four times finer pixels, learned from images of one instrument alone.

After SRGAN (Ledig et al. 2017, doi:10.1109/CVPR.2017.19): images are made coarser, and a network learns to undo that,
at first by the absolute error alone, then against a discriminator as well. The content of images is compared by their
pixels, where the publication takes features of a network that was trained on photographs.

Applied to an image as it was acquired, the network goes beyond what any of its training images showed: it assumes that
the instrument would show on finer pixels what it shows on these four times as large.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from correlight.errors import UsageError
from correlight.images.image import Float32
from correlight.learn import steps
from correlight.learn.appearance.adversary import MIDDLE, MOMENTA, RATE, WIDTH, PatchGAN, as_seen
from correlight.learn.appearance.crops import Cropped, Scene, scenes
from correlight.learn.appearance.finished import Shown, trained
from correlight.learn.appearance.network import BlockShape, Predicting, Upscaler
from correlight.learn.appearance.run import Run, device_for
from correlight.predict.training import Trained, TrainingPair, TrainingSettings, Workplace, parted

FINER = 4
_RATE, _WARM_UP = 1e-3, 50
# The discriminator begins after a third of the steps, when there is something to tell, and counts so much.
_FROM, _ADVERSARY = 1 / 3, 0.01
# Images are not enlarged to be learned from: there would be nothing in their finest pixels.
_SCALES = 0.6, 1.0
# Coarser images are blurred first by up to so many of the finer pixels, and get noise of up to so much.
_BLUR, _NOISE = 2.0, 0.02
# The side is that of a coarse crop.
_USUAL = BlockShape(channels=32, blocks=5, side=16, count=8)


def train(pairs: Sequence[TrainingPair], settings: TrainingSettings, place: Workplace) -> Trained:
    """Train, or go on where an interrupted run in the same folder stopped.

    Parameters
    ----------
    pairs : sequence of TrainingPair
        Images, each paired with itself.
    settings : TrainingSettings
        ``own`` may give the sizes of a `BlockShape`.
    place : Workplace
        Receives ``model.onnx`` and the checkpoint.

    Raises
    ------
    UsageError
        If there are too few images, their contrast would be changed, or the device is not there.
    ReadError
        If the checkpoint is damaged.
    """
    if settings.contrast != "stretched":
        raise UsageError(
            "An image on finer pixels has the contrast of the image; the contrast 'stretched' was expected for a model "
            f"of this kind, and {settings.contrast!r} was asked for."
        )
    cv2.setNumThreads(1)
    kept_in, kept_out = parted(pairs)
    seen, held = scenes(kept_in, "stretched"), scenes(kept_out, "stretched")
    run = Run(_Finer(settings, seen, held), settings.steps)
    why = run.train(place.folder, place.tell)
    remark = (
        f"squared error in the held-out part, over that of a cubic interpolation: {run.best:.3f} (below 1 is better "
        "than interpolating, of images that were made coarser)"
    )
    curves = {"absolute error": run.curves.learned, "held out, over cubics": run.curves.held_out}
    shown = [_shown(pair) for pair in kept_out]
    return trained(run.kept, place, settings, (seen, held), shown, curves, (why, remark))


def coarser(fine: Float32, blur: float, noise: float, rng: np.random.Generator) -> Float32:
    """An image on four times larger pixels, blurred first, with noise.

    Parameters
    ----------
    fine : (Y, X) array of float32
        Sides are multiples of four.
    blur : float
        Deviation of a Gaussian, in pixels.
    noise : float
        Deviation.
    rng : Generator
        Of the noise.
    """
    smooth = cv2.GaussianBlur(fine, (0, 0), blur) if blur > 0.2 else fine
    size = fine.shape[1] // FINER, fine.shape[0] // FINER
    small = cv2.resize(smooth, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small + rng.normal(0, noise, small.shape), np.float32)


def _shown(pair: TrainingPair) -> Shown:
    rows, columns = (side // FINER * FINER for side in pair.source.shape)
    fine = np.where(pair.mask, pair.source, np.float32(0))[:rows, :columns]
    small = coarser(np.ascontiguousarray(fine), _BLUR / 2, 0.0, np.random.default_rng(0))
    return Shown(pair.name, small, fine, ((small - MIDDLE) / WIDTH).astype(np.float32))


class _Finer:
    """The lesson: an absolute error, and later a discriminator that shall not tell what was drawn from images."""

    judged = True

    def __init__(self, settings: TrainingSettings, seen: Sequence[Scene], held: Sequence[Scene]) -> None:
        shape = _USUAL.asked(settings.own)
        self._device = device_for(settings.device)
        torch.manual_seed(settings.seed)
        self.network: Predicting = Upscaler(shape.channels, shape.blocks).to(self._device)
        self._adversary = PatchGAN(1).to(self._device)
        self.beside: dict[str, nn.Module] = {"adversary": self._adversary}
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "network": torch.optim.Adam(self.network.parameters(), _RATE, MOMENTA),
            "adversary": torch.optim.Adam(self._adversary.parameters(), RATE, MOMENTA),
        }
        self._steps, self._seed = settings.steps, settings.seed
        of = shape.count, FINER * shape.side
        self._crops = Cropped(seen, *of, settings.seed, self._device, scales=_SCALES)
        self._held = Cropped(held, *of, settings.seed + 1, self._device, plain=True)

    def learn(self, step: int) -> float:
        """One step of the network, and of the discriminator once it takes part."""
        coarse, fine, mask = self._made_coarser(self._crops, step)
        made = self.network(coarse)
        away = ((made - fine).abs() * mask).sum() / mask.sum().clamp(min=1)
        value = away / WIDTH
        if step >= _FROM * self._steps:
            real, false = as_seen(fine, mask), as_seen(made, mask)
            slow = steps.rate(step, self._steps, RATE, _WARM_UP)
            steps.take(self.optimisers["adversary"], self._adversary, self._adversary.wrong(real, false), slow)
            value = value + _ADVERSARY * self._adversary.not_deceived(false)
        at = steps.rate(step, self._steps, _RATE, _WARM_UP)
        steps.take(self.optimisers["network"], self.network, value, at)
        return float(away.detach())

    def _made_coarser(self, crops: Cropped, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Coarse crops as a network takes them, fine ones between 0 and 1, and valid pixels of these."""
        _, fine, mask = crops(step)
        rng = np.random.default_rng([self._seed, step, 5])
        small = [
            coarser(one[0], float(rng.uniform(0, _BLUR)), float(rng.uniform(0, _NOISE)), rng)
            for one in fine.cpu().numpy()
        ]
        coarse = torch.as_tensor(np.stack(small)[:, None], device=self._device)
        return (coarse - MIDDLE) / WIDTH, fine, mask

    def held_out(self, network: Predicting) -> float:
        """The squared error over that of a cubic interpolation."""
        errors = np.zeros(2)
        for step in range(Cropped.LOOKED_AT):
            coarse, fine, mask = self._made_coarser(self._held, step)
            smooth = nn.functional.interpolate(coarse, scale_factor=float(FINER), mode="bicubic", align_corners=False)
            for number, made in enumerate((network(coarse), smooth * WIDTH + MIDDLE)):
                errors[number] += float((((made - fine) ** 2) * mask).sum())
        return float(errors[0] / max(errors[1], 1e-12))

    def said(self, value: float) -> str:
        """The ratio in words."""
        return f"held-out squared error over that of cubics {value:.3f}"
