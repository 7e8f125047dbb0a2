"""Training that translates one image into the contrast of another, from registered pairs and from images apart."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("safetensors", reason="training keeps its checkpoints with safetensors")

from correlight.errors import UsageError  # noqa: E402
from correlight.learn.appearance import paired, unpaired  # noqa: E402
from correlight.learn.appearance.adversary import PatchGAN, as_seen  # noqa: E402
from correlight.learn.appearance.run import CHECKPOINT  # noqa: E402
from correlight.predict.contrast import prepared  # noqa: E402
from correlight.predict.facts import ModelFacts, write_facts  # noqa: E402
from correlight.predict.model import load  # noqa: E402
from correlight.predict.training import Trained, TrainingPair, TrainingSettings, Workplace, parted  # noqa: E402
from tests.learn.test_appearance import pair  # noqa: E402

STEPS, LOOKS = 24, 8
OWN: dict[str, dict[str, float | int | str]] = {
    "pix2pix": {"channels": 4, "levels": 1, "side": 32, "count": 2},
    "unpaired": {"channels": 4, "blocks": 2, "side": 32, "count": 2},
}
TRAINS = {"pix2pix": paired.train, "unpaired": unpaired.train}


def pairs_for(kind: str) -> list[TrainingPair]:
    """Registered pairs; or the image of one and a part of the other image of the next, of another shape."""
    registered = [pair(number) for number in range(3)]
    if kind == "pix2pix":
        return registered
    return [
        TrainingPair(one.name, one.source, two.target[:, :70], one.mask, two.mask[:, :70])
        for one, two in zip(registered, registered[1:] + registered[:1], strict=True)
    ]


def trained(kind: str, folder: Path, tell: Callable[[str, float], None]) -> Trained:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("correlight.learn.appearance.run.CHECKED_EVERY", LOOKS)
        patch.setattr("correlight.learn.appearance.crops.Cropped.LOOKED_AT", 8)
        patch.setattr(f"{TRAINS[kind].__module__}._WARM_UP", 3)
        patch.setattr("correlight.learn.appearance.finished._LOOKED_AT", 20)
        patch.setattr("correlight.learn.appearance.finished._HELD_LOOKED_AT", 10)
        settings = TrainingSettings(steps=STEPS, device="cpu", own=OWN[kind])
        return TRAINS[kind](pairs_for(kind), settings, Workplace(folder, tell))


@pytest.fixture(scope="module", params=["pix2pix", "unpaired"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Trained, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, trained(request.param, folder, lambda words, fraction: None), folder


def test_it_learns(made: tuple[str, Trained, Path]) -> None:
    """Of pairs held-out predictions correlate better; without, places of a prediction are told apart better."""
    kind, done, _ = made
    learned, held = done.curves.values()
    assert [step for step, _ in held] == [LOOKS, 2 * LOOKS, 3 * LOOKS]
    better = held if kind == "pix2pix" else learned
    assert better[-1][1] < better[0][1]
    assert all(np.isfinite(value) for _, value in (*learned, *held))


def test_one_that_was_killed_goes_on_to_the_same_end(made: tuple[str, Trained, Path], killed_trainings: Path) -> None:
    """Also discriminator and momenta are what they were: what comes out is the same, bit for bit."""
    kind, done, _ = made
    assert sorted(path.name for path in (killed_trainings / kind).iterdir()) == [CHECKPOINT]
    said: list[str] = []
    again = trained(kind, killed_trainings / kind, lambda words, fraction: said.append(words))
    assert len(said) == 2
    assert again.curves == done.curves
    assert np.array_equal(again.samples[0].predicted, done.samples[0].predicted)


def test_the_model_predicts_without_pytorch_what_the_network_does(
    made: tuple[str, Trained, Path], tmp_path: Path
) -> None:
    kind, done, work = made
    for name in done.files:
        shutil.copyfile(work / name, tmp_path / name)
    facts = ModelFacts(
        kind=kind,
        source="one",
        target="other",
        usual=done.usual,
        settings=done.settings,
        files=dict.fromkeys(done.files, ""),
    )
    write_facts(tmp_path, facts)
    pairs = pairs_for(kind)
    held = parted(pairs if kind == "pix2pix" else [one.alone("source") for one in pairs])[1][0]
    shown = done.samples[0]
    assert np.array_equal(held.source, shown.source)
    given = prepared(held.source, held.mask, "equalised")
    away = np.abs(load(tmp_path).mapping(given, held.mask) - shown.predicted).max()
    assert away < 0.01 * np.ptp(shown.predicted)


def test_images_of_two_places_keep_their_shapes_and_are_checked_each() -> None:
    one, other = pair(0), pair(1, (70, 80))
    apart = TrainingPair("x", one.source, other.target, one.mask, other.mask)
    assert apart.alone("target").source.shape == (70, 80)
    assert apart.alone("source").mask is one.mask
    with pytest.raises(UsageError, match=r"x \(target\) has the same value everywhere"):
        TrainingPair("x", one.source, np.zeros_like(other.target), one.mask, other.mask)
    with pytest.raises(UsageError, match=r"The image x \(source\) has hardly any valid pixels"):
        TrainingPair("x", one.source, other.target, ~one.mask, other.mask)


def test_a_discriminator_learns_to_tell_and_sees_nothing_outside_the_mask() -> None:
    torch.manual_seed(0)
    adversary = PatchGAN(1, 4)
    real, made = torch.ones(2, 1, 32, 32), torch.zeros(2, 1, 32, 32)
    optimiser = torch.optim.Adam(adversary.parameters(), 0.01)
    first = adversary.wrong(real, made).item()
    for _ in range(20):
        optimiser.zero_grad()
        adversary.wrong(real, made).backward()
        optimiser.step()
    assert adversary.wrong(real, made).item() < first
    mask = torch.ones_like(made)
    mask[..., :4] = 0
    assert torch.all(as_seen(made, mask)[..., :4] == 0)
    assert torch.all(as_seen(made, mask)[..., 4:] < 0)
