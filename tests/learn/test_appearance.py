"""Training a network that predicts one image from another: the parts, a short run, and a kill that it survives."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("safetensors", reason="training keeps its checkpoints with safetensors")

from correlight.errors import ReadError, UsageError  # noqa: E402
from correlight.learn.appearance.crops import Scene, batch, crop  # noqa: E402
from correlight.learn.appearance.network import Predicting, Translator, UNet, Upscaler  # noqa: E402
from correlight.learn.appearance.run import CHECKPOINT, device_for  # noqa: E402
from correlight.learn.appearance.stain import train  # noqa: E402
from correlight.predict.facts import ModelFacts, write_facts  # noqa: E402
from correlight.predict.model import load  # noqa: E402
from correlight.predict.tiles import in_tiles  # noqa: E402
from correlight.predict.training import Trained, TrainingPair, TrainingSettings, Workplace, parted  # noqa: E402

SMALL = {"channels": 4, "levels": 1, "side": 32, "count": 4}
STEPS = 60


def pair(number: int, shape: tuple[int, int] = (64, 96)) -> TrainingPair:
    """Dark discs in the source shine in the target; rings that are as dark do not."""
    rng = np.random.default_rng(number)
    y, x = np.indices(shape)
    source, target = np.full(shape, 0.7), np.zeros(shape)
    for k in range(14):
        away = np.hypot(y - rng.uniform(0, shape[0]), x - rng.uniform(0, shape[1]))
        source[away < 5] = 0.2
        target[away < 5] = 1
        if k % 2:
            source[away < 3] = 0.7
            target[away < 5] = 0
    source += rng.normal(0, 0.05, shape)
    mask = np.ones(shape, bool)
    mask[:4] = False
    return TrainingPair(f"pair {number}", source.clip(0, 1).astype(np.float32), target.astype(np.float32), mask)


@pytest.fixture(scope="module")
def pairs() -> list[TrainingPair]:
    return [pair(number) for number in range(3)]


def trained(pairs: list[TrainingPair], folder: Path, steps: int = STEPS) -> Trained:
    torch.set_num_threads(1)
    return train(
        pairs, TrainingSettings(steps=steps, device="cpu", own=SMALL), Workplace(folder, lambda words, fraction: None)
    )


@pytest.fixture(scope="module")
def made(pairs: list[TrainingPair], tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    folder = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("correlight.learn.appearance.run.CHECKED_EVERY", 20)
        return trained(pairs, folder), folder


@pytest.mark.parametrize("network", [UNet(4, 1), UNet(4, 2), Translator(4, 1), Upscaler(4, 2)])
def test_a_network_sees_no_further_than_it_says(network: Predicting) -> None:
    """Weights that let everything through: what is further away than the reach changes nothing, and tiles are exact."""
    torch.manual_seed(1)
    network.eval()
    for name, weights in network.named_parameters():
        if name.endswith("weight") and weights.ndim == 4:
            torch.nn.init.kaiming_normal_(weights)
    rng = np.random.default_rng(1)
    values = rng.normal(size=(5 * network.reach // 2, 3 * network.reach)).astype(np.float32)

    def run(cut: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(network(torch.as_tensor(cut[None, None]))[0, 0].numpy())

    def tiles(values: np.ndarray, side: int) -> np.ndarray:
        return in_tiles(run, values, network.reach, network.multiple, side, network.finer)

    whole, tiled = tiles(values, 10_000), tiles(values, 4 * network.multiple)
    assert whole.shape == tuple(network.finer * side for side in values.shape)
    assert np.abs(whole).max() > 0.1
    assert np.abs(tiled - whole).max() < 1e-5 * np.abs(whole).max()
    other = values.copy()
    other[0, 0] += 10
    changed = np.argwhere(np.abs(tiles(other, 10_000) - whole) > 1e-5)
    assert 0 < changed.max() // network.finer <= network.reach


def test_source_and_target_of_a_crop_belong_together(pairs: list[TrainingPair]) -> None:
    """However it is turned, mirrored or scaled, what shines in the target is what was dark in the source."""
    scene = Scene(pairs[0], "equalised")
    together = []
    for seed in range(12):
        source, target, mask = crop(scene, 48, np.random.default_rng(seed))
        assert source.shape == target.shape == mask.shape == (48, 48)
        assert np.all(source[~mask] == 0)
        if (target > 0.9).sum() > 20:
            together.append(source[mask & (target > 0.9)].mean() - source[mask & (target < 0.1)].mean())
    assert len(together) > 6
    assert max(together) < -0.5


def test_batches_follow_from_seed_and_step_alone(pairs: list[TrainingPair]) -> None:
    scenes = [Scene(one, "stretched") for one in pairs]
    one, same, other = (batch(scenes, 3, 24, 5, step)[0] for step in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_short_training_learns(made: tuple[Trained, Path]) -> None:
    done, _ = made
    held = [value for _, value in done.curves["held out, 1 − correlation"]]
    assert held[-1] < 0.8 * held[0]
    assert held[-1] < 0.7
    assert [step for step, _ in done.curves["held out, 1 − correlation"]] == [20, 40, 60]
    assert any("all 60 steps" in remark for remark in done.remarks)


def test_the_model_predicts_without_pytorch_what_the_network_does(
    made: tuple[Trained, Path], pairs: list[TrainingPair], tmp_path: Path
) -> None:
    done, work = made
    for name in done.files:
        shutil.copyfile(work / name, tmp_path / name)
    facts = ModelFacts(
        kind="predicted-stain",
        source="electron",
        target="stain",
        contrast="equalised",
        usual=done.usual,
        settings=done.settings,
        files=dict.fromkeys(done.files, ""),
    )
    write_facts(tmp_path, facts)
    model = load(tmp_path)
    sample = done.samples[0]
    scene = Scene(parted(pairs)[1][0], "equalised")
    assert np.abs(model.mapping(scene.source, scene.mask > 0) - sample.predicted).max() < 1e-4


def test_a_killed_training_goes_on_to_the_same_end(
    made: tuple[Trained, Path], pairs: list[TrainingPair], tmp_path: Path
) -> None:
    """Killed by SIGKILL after the first checkpoint; what comes out is what an undisturbed run gives, bit for bit."""
    code = (
        "import sys; from pathlib import Path; from tests.learn import test_appearance as t; "
        "import correlight.learn.appearance.run as run; run.CHECKED_EVERY = 20; "
        "t.trained([t.pair(n) for n in range(3)], Path(sys.argv[1]))"
    )
    running = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env={**os.environ, "PYTHONWARNINGS": ""})
    checkpoint = tmp_path / CHECKPOINT
    until = time.monotonic() + 120
    while not checkpoint.is_file() and running.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert checkpoint.is_file()
    assert not (tmp_path / "model.onnx").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("correlight.learn.appearance.run.CHECKED_EVERY", 20)
        done = trained(pairs, tmp_path)
    assert done.curves == made[0].curves
    assert np.array_equal(done.samples[0].predicted, made[0].samples[0].predicted)


def test_a_damaged_checkpoint_is_said(made: tuple[Trained, Path], pairs: list[TrainingPair], tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes((made[1] / CHECKPOINT).read_bytes()[:500])
    with pytest.raises(ReadError, match="was expected to be a checkpoint"):
        trained(pairs, tmp_path)


def test_one_pair_is_too_few(pairs: list[TrainingPair], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 pairs or more"):
        trained(pairs[:1], tmp_path)


def test_pairs_that_cannot_be_learned_from_are_refused() -> None:
    good = pair(0)
    nothing = np.zeros_like(good.source)
    for values, words in (
        ((good.source[:-1], good.target, good.mask), "two images on the same pixels"),
        ((nothing, good.target, good.mask), "source image of the pair x has the same value"),
        ((good.source, nothing, good.mask), "target image of the pair x has the same value"),
        ((good.source, good.target, nothing > 0), "hardly any pixels in common"),
    ):
        with pytest.raises(UsageError, match=words):
            TrainingPair("x", *values)


def test_what_is_held_out_is_not_learned_from() -> None:
    few, many = [pair(number) for number in range(2)], [pair(number, (40, 44)) for number in range(11)]
    learned, held = parted(few)
    for one in few:
        pixels = sum(part.source.size for part in (*learned, *held) if part.name == one.name)
        assert pixels == one.source.size
    assert [one.source.shape[1] for one in held] == [24, 24]
    assert [one.name for one in parted(many)[1]] == ["pair 4", "pair 9"]
    assert len(parted(many)[0]) == 9


def test_a_device_that_is_not_there_is_said() -> None:
    assert device_for("cpu").type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="The device cuda is not available"):
            device_for("cuda")
