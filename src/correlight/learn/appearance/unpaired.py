"""Training of the kind ``unpaired``: translation from images of two instruments that need not show the same places.

Contrastive translation (CUT; Park et al. 2020, doi:10.1007/978-3-030-58545-7_19): a discriminator asks that predictions
look like images of the other instrument, and every place of a prediction must be told by its features from the other
places of the image that it was made from, so that what was there stays where it was. One network and one discriminator
serve, where a cycle needs two of each.

Two things differ from that publication. Image and prediction are told by features of their own, after Han et al. 2021
(doi:10.48550/arXiv.2104.07689): one description for both asks that bright stays bright. And the discriminator sees both
images through noise, so that it cannot tell them by the noise of the other instrument, which no network can predict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn

from correlight.learn import steps
from correlight.learn.appearance.adversary import MIDDLE, MOMENTA, WIDTH, PatchGAN, as_seen
from correlight.learn.appearance.crops import Cropped, Scene, scenes
from correlight.learn.appearance.finished import Shown, trained
from correlight.learn.appearance.network import BlockShape, Predicting, Translator
from correlight.learn.appearance.run import Run, device_for
from correlight.predict.training import Trained, TrainingPair, TrainingSettings, Workplace, parted
from correlight.predict.usual import described

_RATE, _WARM_UP = 4e-4, 50
# The discriminator is ahead of the network, and looks through so much noise, in deviations of grey values.
_ADVERSARY_RATE, _NOISE = 1.5e-3, 0.3
# Structures have their size: pixels may not be as much larger or smaller as where pairs say what belongs together.
_SCALES = 0.8, 1.25
# Places of a crop that are told from each other, numbers that describe each, and how sharply.
_PLACES, _WIDE, _TEMPERATURE = 64, 64, 0.07
# Textures are compared of crops a quarter of which is valid: that much is, of one whose middle is within an image.
_VALID = 0.2
# As published, of features at half the resolution and less: at all of it greys would be told, and kept.
_CONTRASTIVE, _TOLD_BY = 1.0, slice(1, None)
_USUAL = BlockShape(channels=16, blocks=6, side=64, count=4)


def train(pairs: Sequence[TrainingPair], settings: TrainingSettings, place: Workplace) -> Trained:
    """Train, or go on where an interrupted run in the same folder stopped.

    Parameters
    ----------
    pairs : sequence of TrainingPair
        Images of the two instruments, which need not be registered.
    settings : TrainingSettings
        ``own`` may give the sizes of a `BlockShape`.
    place : Workplace
        Receives ``model.onnx`` and the checkpoint.

    Raises
    ------
    UsageError
        If there are too few images, or the device is not there.
    ReadError
        If the checkpoint is damaged.
    """
    cv2.setNumThreads(1)
    parts = [parted([pair.alone(role) for pair in pairs]) for role in ("source", "target")]
    (seen, held), others = ([scenes(some, settings.contrast) for some in part] for part in parts)
    run = Run(_Unpaired(settings, (seen, held), (others[0], others[1])), settings.steps)
    why = run.train(place.folder, place.tell)
    remark = (
        f"distance of held-out predictions from held-out images, of texture and structure: {run.best:.3f} (0 is "
        "alike); it cannot say whether structures were translated rightly"
    )
    curves = {"contrastive error": run.curves.learned, "held out, distance": run.curves.held_out}
    shown = [
        Shown(one.name, one.source, other.source, scene.source)
        for one, other, scene in zip(parts[0][1], parts[1][1], held, strict=True)
    ]
    return trained(run.kept, place, settings, (seen, held), shown, curves, (why, remark))


class _Unpaired:
    """The lesson."""

    # Textures of the noise-free predictions move away from those of images with noise the better greys are translated.
    judged = False

    def __init__(
        self,
        settings: TrainingSettings,
        images: tuple[Sequence[Scene], Sequence[Scene]],
        others: tuple[Sequence[Scene], Sequence[Scene]],
    ) -> None:
        shape = _USUAL.asked(settings.own)
        device = device_for(settings.device)
        torch.manual_seed(settings.seed)
        self._translator = Translator(shape.channels, shape.blocks)
        self._translator.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: Predicting = self._translator
        self._adversary = PatchGAN(1, bounded=False).to(device)
        widths = [channels * shape.channels for channels in (1, 2, 4, 4)][_TOLD_BY]
        # Of the image, and of what was made of it.
        self._heads = nn.ModuleList(nn.ModuleList(map(_head, widths)) for _ in range(2)).to(device)
        self.beside: dict[str, nn.Module] = {"adversary": self._adversary, "heads": self._heads}
        both = [*self._translator.parameters(), *self._heads.parameters()]
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "network": torch.optim.Adam(both, _RATE, MOMENTA),
            "adversary": torch.optim.Adam(self._adversary.parameters(), _ADVERSARY_RATE, MOMENTA),
        }
        self._steps, self._seed = settings.steps, settings.seed
        of = shape.count, shape.side
        self._images, self._others = (
            Cropped(some[0], *of, settings.seed + number, device, scales=_SCALES)
            for number, some in ((0, images), (10, others))
        )
        # What is held out may be narrower than what is learned from.
        narrow = min(shape.side, *(min(scene.source.shape) for some in (images, others) for scene in some[1]))
        held = shape.count, max(narrow // self.network.multiple, 1) * self.network.multiple
        self._held = [Cropped(some[1], *held, settings.seed + 1, device, plain=True) for some in (images, others)]
        self._wanted = _Textures.of([_texture(*parts) for parts in self._held_parts(self._held[1])])

    def learn(self, step: int) -> float:
        """One step of the discriminator, and one of the network."""
        (source, _, mask), (_, other, shown) = self._images(step), self._others(step)
        made, features = self._translator.translated(source)
        false, real = as_seen(made, mask), as_seen(other, shown)
        kept = self._contrast(features, self._translator.features(false), step)
        noise = np.random.default_rng([self._seed, step, 4]).normal(0, _NOISE, (2, *false.shape))
        false, real = (
            one + torch.as_tensor(added, dtype=one.dtype, device=one.device)
            for one, added in zip((false, real), noise, strict=True)
        )
        fast = steps.rate(step, self._steps, _ADVERSARY_RATE, _WARM_UP)
        steps.take(self.optimisers["adversary"], self._adversary, self._adversary.wrong(real, false), fast)
        value = self._adversary.not_deceived(false) + _CONTRASTIVE * kept
        at = steps.rate(step, self._steps, _RATE, _WARM_UP)
        steps.take(self.optimisers["network"], self._translator, value, at)
        return float(kept.detach())

    def _contrast(self, image: Sequence[Tensor], made: Sequence[Tensor], step: int) -> Tensor:
        """How badly places of predictions are told apart by what the image has there; 1 as badly as by chance."""
        rng = np.random.default_rng([self._seed, step, 3])
        total = image[0].new_zeros(())
        told_by = zip(*self._heads, image[_TOLD_BY], made[_TOLD_BY], strict=True)
        for of_image, of_made, before, after in told_by:
            count, wide, rows, columns = before.shape
            places = torch.as_tensor(rng.choice(rows * columns, min(_PLACES, rows * columns), replace=False))
            keys, queries = (
                nn.functional.normalize(
                    head(one.reshape(count, wide, -1)[:, :, places.to(one.device)].transpose(1, 2)), dim=-1
                )
                for head, one in ((of_image, before.detach()), (of_made, after))
            )
            alike = queries @ keys.transpose(1, 2) / _TEMPERATURE
            right = torch.arange(len(places), device=alike.device).repeat(count)
            error = nn.functional.cross_entropy(alike.reshape(-1, len(places)), right)
            total = total + error / math.log(len(places))
        return total / len(image[_TOLD_BY])

    def held_out(self, network: Predicting) -> float:
        """How far textures of predictions are from those of the other instrument, and how badly places are told."""
        assert isinstance(network, Translator)
        found, kept = [], []
        for step in range(Cropped.LOOKED_AT):
            source, _, mask = self._held[0](step)
            made, features = network.translated(source)
            found += [_texture(one, shown) for one, shown in zip(made, mask, strict=True)]
            kept.append(float(self._contrast(features, network.features(as_seen(made, mask)), step)))
        textures = _Textures.of(found)
        away = 0.0 if textures is None or self._wanted is None else self._wanted.distance(textures)
        return away + float(np.mean(kept))

    @staticmethod
    def _held_parts(crops: Cropped) -> list[tuple[Tensor, Tensor]]:
        batches = (crops(step) for step in range(Cropped.LOOKED_AT))
        return [part for _, target, mask in batches for part in zip(target, mask, strict=True)]

    def said(self, value: float) -> str:
        """The distance in words."""
        return f"held-out distance {value:.3f}"


def _head(wide: int) -> nn.Module:
    """Makes features the numbers by which a place is told."""
    return nn.Sequential(nn.Linear(wide, _WIDE), nn.ReLU(), nn.Linear(_WIDE, _WIDE))


def _texture(grey: Tensor, mask: Tensor) -> np.ndarray:
    """The numbers by which a crop is described (see `correlight.predict.usual`); NaN where hardly a pixel is valid."""
    values, valid = ((one[0].cpu().numpy()) for one in ((grey - MIDDLE) / WIDTH, mask))
    if valid.mean() < _VALID:
        return np.full(14, np.nan)
    return described(np.ascontiguousarray(values, np.float32), valid > 0)


@dataclass(frozen=True, eq=False)
class _Textures:
    """Mean and covariance of descriptions."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[np.ndarray]) -> _Textures | None:
        """Of some descriptions; None where fewer than two are known."""
        table = np.stack(rows)
        table = table[np.isfinite(table).all(axis=1)]
        return None if len(table) < 2 else cls(table.mean(axis=0), np.cov(table.T))

    def distance(self, other: _Textures) -> float:
        """Fréchet distance (Heusel et al. 2017, doi:10.48550/arXiv.1706.08500) in deviations, a mean over numbers."""
        width = np.sqrt(np.diag(self.covariance)) + 1e-3
        scale = np.outer(width, width)
        ridge = 1e-3 * np.eye(len(width))
        one, two = (covariance / scale + ridge for covariance in (self.covariance, other.covariance))
        away = (((self.mean - other.mean) / width) ** 2).sum()
        return float(away + np.trace(one + two - 2 * np.real(sqrtm(one @ two)))) / len(width)
