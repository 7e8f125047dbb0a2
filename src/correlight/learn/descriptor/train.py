"""Training: one command, one seed, checkpoints that survive a kill, and an ONNX file at the end."""

from __future__ import annotations

import copy
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from correlight.appearance.descriptor import STRIDE
from correlight.errors import UsageError
from correlight.learn import steps
from correlight.learn.descriptor import scenes as scenery
from correlight.learn.descriptor.export import export, restored
from correlight.learn.descriptor.network import Descriptor
from correlight.learn.descriptor.quantise import quantise
from correlight.learn.descriptor.scenes import Scene
from correlight.learn.descriptor.sketches import sketched
from correlight.learn.descriptor.task import TEMPLATE, VIEW, Batch, batch, loss, scores, unlikeness
from correlight.simulate.specimen import SpecimenKind

Report = Callable[[str], None]

_RATE, _WARM_UP, _DECAY = 2e-3, 200, 1e-4
# Weights are averaged over about this many of the last steps.
_AVERAGED = 500
_TEMPERATURE = 25.0
# Weight of being unlike a teacher, which is between 0 and 2, beside a loss of about 4.
_TAUGHT = 5.0
_SAVED_EVERY, _CHECKED_EVERY, _CHECKED_BATCHES = 200, 1000, 24
# Specimens never learned from: random drawings, and simulated ones and sketches of each kind.
_UNSEEN_DRAWN, _UNSEEN_SIMULATED, _UNSEEN_SKETCHED = 24, 6, 3
_RIM = (VIEW - TEMPLATE) // 2 // STRIDE


@dataclass(frozen=True)
class Settings:
    """What a run depends on.

    Parameters
    ----------
    steps : int
        Batches seen.
    size : int
        Specimens in a batch.
    seed : int
        Of everything.
    simulated, sketched, drawn : int
        Simulated specimens and sketches of each kind, and random drawings.
    kinds : tuple of str
        Kinds of simulated specimen.
    pictures : tuple of str
        Real images, or folders of them.
    photographs : bool
        Whether the images that scikit-image installs are shown.
    wide : bool
        Whether the network sees wider surroundings, which takes half as much time again.
    """

    steps: int = 12000
    size: int = 8
    seed: int = 0
    simulated: int = 60
    sketched: int = 40
    drawn: int = 240
    kinds: tuple[str, ...] = get_args(SpecimenKind)
    pictures: tuple[str, ...] = ()
    photographs: bool = True
    wide: bool = False


def train(
    out: Path,
    settings: Settings,
    *,
    start: Path | None = None,
    teacher: Path | None = None,
    workers: int = 1,
    report: Report = print,
) -> Path:
    """Train the descriptor, or go on where an interrupted run of the same settings stopped.

    Parameters
    ----------
    out : Path
        Folder for the checkpoint, the log, and at the end ``descriptor.onnx`` and ``descriptor-quick.onnx``.
    settings : Settings
        What is learned from, and for how long.
    start : Path, optional
        An earlier ``descriptor.onnx`` whose weights are the start, so that a long run can be put together from
        several.
    teacher : Path, optional
        An earlier ``descriptor.onnx`` whose features are learned besides: a quick network can come near a wide one.
    workers : int
        Processes that make batches; the result does not depend on it.
    report : callable
        Called with a line now and then.

    Returns
    -------
    Path
        The first of the two ONNX files.

    Raises
    ------
    UsageError
        If ``out`` holds a run of other settings, or a folder of images has none.
    """
    cv2.setNumThreads(1)
    out.mkdir(parents=True, exist_ok=True)
    _same_settings(out / "settings.json", settings, start, teacher)
    training = _scenes(out, settings, report)
    unseen = [
        *scenery.drawn(_UNSEEN_DRAWN, settings.seed + 1),
        *scenery.simulated(settings.kinds, _UNSEEN_SIMULATED, settings.seed + 1),
        *sketched(_UNSEEN_SKETCHED, settings.seed + 1),
    ]
    torch.manual_seed(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = Run(
        settings,
        device,
        Descriptor(settings.wide) if start is None else restored(start, settings.wide),
        None if teacher is None else restored(teacher),
    )
    checkpoint = out / "checkpoint.pt"
    if checkpoint.is_file():
        run.restore(torch.load(checkpoint, map_location=device, weights_only=True))
        report(f"going on after step {run.step}")
    began, first = time.perf_counter(), run.step
    recent: list[tuple[float, float]] = []
    with (out / "log.jsonl").open("a") as log:
        if run.step == 0:
            # What the weights at the start can do already.
            log.write(json.dumps({"step": 0, "won_unseen": round(run.check(unseen), 4)}) + "\n")
            log.flush()
        for made in _batches(training, settings, range(run.step, settings.steps), workers):
            recent.append(run.learn(made))
            if run.step % _SAVED_EVERY and run.step != settings.steps:
                continue
            state = run.state()
            steps.written_whole(checkpoint, lambda part, state=state: torch.save(state, part))  # type: ignore[misc]
            line: dict[str, Any] = {"step": run.step, "seconds": round(time.perf_counter() - began, 1)}
            line["loss"], line["won"] = (round(float(value), 4) for value in np.mean(recent, axis=0))
            line["temperature"] = round(float(run.temperature.detach().exp()), 2)
            if run.step % _CHECKED_EVERY == 0 or run.step == settings.steps:
                line["won_unseen"] = round(run.check(unseen), 4)
            recent.clear()
            log.write(json.dumps(line) + "\n")
            log.flush()
            rate = (run.step - first) / (time.perf_counter() - began)
            left = (settings.steps - run.step) / rate / 60
            report(", ".join(f"{name} {value}" for name, value in line.items()) + f"; {left:.0f} min left")
    exact = export(run.averaged, out / "descriptor.onnx", training, settings.seed, asdict(settings))
    quantise(exact, out / "descriptor-quick.onnx", training, settings.seed)
    return exact


class Run:
    """Network, optimiser, averaged weights and step; what a checkpoint holds.

    Parameters
    ----------
    settings : Settings
        Of the run.
    device : torch.device
        Where it is computed.
    network : Descriptor
        What it begins with.
    teacher : Descriptor, optional
        Whose features are learned besides.
    """

    def __init__(
        self, settings: Settings, device: torch.device, network: Descriptor, teacher: Descriptor | None = None
    ) -> None:
        self._settings, self._device, self.step = settings, device, 0
        # Channels last is the order in which matrix units of processors take convolutions.
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(network).to(device)
        self._teacher = None if teacher is None else teacher.to(device)
        self.temperature = torch.nn.Parameter(torch.tensor(math.log(_TEMPERATURE), device=device))
        self._optimiser = torch.optim.AdamW([*self.network.parameters(), self.temperature], _RATE, weight_decay=_DECAY)

    def learn(self, made: Batch) -> tuple[float, float]:
        """One step; its loss, and how often the right place won."""
        features = self._features(self.network, made)
        value, won = self._judge(features, made)
        if self._teacher is not None:
            with torch.no_grad():
                shown = self._features(self._teacher, made)
            value = value + _TAUGHT * sum(unlikeness(own, wanted) for own, wanted in zip(features, shown, strict=True))
        steps.take(self._optimiser, self.network, value, steps.rate(self.step, self._settings.steps, _RATE, _WARM_UP))
        self.step += 1
        steps.average(self.averaged, self.network, self.step, _AVERAGED)
        return float(value.detach()), float(won)

    def _features(self, network: Descriptor, made: Batch) -> tuple[Tensor, Tensor]:
        """Of the searched views, and of the middles of the right and wrong second ones."""
        views = made.views.reshape(-1, *made.views.shape[2:])
        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            searched, templates = (network(self._tensor(images))[0] for images in (made.searched, views))
        return searched.float(), templates[:, :, _RIM:-_RIM, _RIM:-_RIM].float()

    def _judge(self, features: tuple[Tensor, Tensor], made: Batch) -> tuple[Tensor, Tensor]:
        return loss(scores(*features), torch.as_tensor(made.shifts, device=self._device), self.temperature.exp())

    def _tensor(self, images: Any) -> Tensor:
        return torch.as_tensor(images, device=self._device).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def check(self, unseen: Sequence[Scene]) -> float:
        """How often the averaged weights find the right place among specimens never learned from."""
        made = (batch(unseen, self._settings.size, self._settings.seed + 1, step) for step in range(_CHECKED_BATCHES))
        return float(np.mean([float(self._judge(self._features(self.averaged, one), one)[1]) for one in made]))

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "temperature": self.temperature.detach(),
            "optimiser": self._optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.step = int(state["step"])
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.temperature.data.copy_(state["temperature"])
        self._optimiser.load_state_dict(state["optimiser"])


class _Batches(Dataset[Batch]):
    def __init__(self, scenes: Sequence[Scene], settings: Settings) -> None:
        self._scenes, self._settings = scenes, settings

    def __getitem__(self, step: int) -> Batch:
        cv2.setNumThreads(1)
        return batch(self._scenes, self._settings.size, self._settings.seed, step)


def _batches(scenes: Sequence[Scene], settings: Settings, steps: range, workers: int) -> Iterator[Batch]:
    loader = DataLoader(
        _Batches(scenes, settings),
        batch_size=None,
        sampler=list(steps),
        num_workers=workers,
        collate_fn=lambda made: made,
        prefetch_factor=6 if workers else None,
    )
    return iter(loader)


def _scenes(out: Path, settings: Settings, report: Report) -> list[Scene]:
    """Everything the network is shown; simulated specimens are kept in a folder, since drawing them takes minutes."""
    pictures: list[Scene] = []
    if settings.photographs:
        pictures += scenery.of_package()
    for place in settings.pictures:
        pictures += scenery.of_files(Path(place))
    drawings = [
        *_kept(out / "scenes", settings, report),
        *sketched(settings.sketched, settings.seed),
        *scenery.drawn(settings.drawn, settings.seed),
    ]
    # However many there are of each, about a third of what is seen are pictures.
    repeats = max(1, round(0.5 * len(drawings) / len(pictures))) if pictures else 0
    seen = Counter(scene.name.partition("-")[0] for scene in drawings)
    seen.update(f"picture {scene.name}" for scene in pictures)
    (out / "seen.json").write_text(json.dumps({"scenes": dict(seen), "each picture counts": repeats}, indent=1))
    report(f"{len(drawings)} drawings and {len(pictures)} pictures, each counted {repeats} times")
    return [*drawings, *(pictures * repeats)]


def _kept(folder: Path, settings: Settings, report: Report) -> list[Scene]:
    folder.mkdir(exist_ok=True)
    total = settings.simulated * len(settings.kinds)
    files = sorted(folder.glob("*.npz"))
    if len(files) < total:
        for number, scene in enumerate(scenery.simulated(settings.kinds, settings.simulated, settings.seed)):
            assert scene.materials is not None
            part = folder / "part"
            with part.open("wb") as file:
                np.savez_compressed(file, pixels=scene.pixels, materials=scene.materials)
            part.rename(folder / f"{number:05d} {scene.name}.npz")
            if number % 50 == 49:
                report(f"{number + 1} of {total} specimens simulated")
        files = sorted(folder.glob("*.npz"))
    made = []
    for path in files:
        with np.load(path) as stored:
            made.append(Scene(path.stem.partition(" ")[2], stored["pixels"], stored["materials"]))
    return made


def _same_settings(path: Path, settings: Settings, start: Path | None, teacher: Path | None) -> None:
    places = {"start": start, "teacher": teacher}
    wanted = {**asdict(settings), **{name: None if place is None else str(place) for name, place in places.items()}}
    wanted = json.loads(json.dumps(wanted))
    if path.is_file() and json.loads(path.read_text()) != wanted:
        raise UsageError(f"{path.parent} holds a run with other settings ({path.name}); choose another folder.")
    path.write_text(json.dumps(wanted, indent=1))
