"""Training the descriptor: the task, the loss, a short run that learns, a kill that it survives, and the ONNX file."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch")

from correlight.appearance.descriptor import STRIDE, load, prepared  # noqa: E402
from correlight.errors import UsageError  # noqa: E402
from correlight.learn.descriptor import scenes, sketches  # noqa: E402
from correlight.learn.descriptor.export import export, restored  # noqa: E402
from correlight.learn.descriptor.modality import colour, record  # noqa: E402
from correlight.learn.descriptor.network import Descriptor  # noqa: E402
from correlight.learn.descriptor.task import SEARCHED, TEMPLATE, VIEW, batch, loss, scores, unlikeness  # noqa: E402
from correlight.learn.descriptor.train import Run, Settings, train  # noqa: E402


@pytest.fixture(autouse=True, scope="module")
def brief() -> Iterator[None]:
    """Fewer images to say what is usual, and how specimens never learned from are found: here nobody asks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("correlight.learn.descriptor.export._LOOKED_AT", 3)
        patch.setattr("correlight.learn.descriptor.quantise._LOOKED_AT", 1)
        patch.setattr("correlight.learn.descriptor.train._CHECKED_BATCHES", 1)
        patch.setattr("correlight.learn.descriptor.train._UNSEEN_DRAWN", 4)
        patch.setattr("correlight.learn.descriptor.train._UNSEEN_SIMULATED", 1)
        patch.setattr("correlight.learn.descriptor.train._UNSEEN_SKETCHED", 0)
        yield


SMALL = Settings(steps=6, size=3, simulated=1, sketched=1, drawn=12, kinds=("cell", "grains"))


@pytest.fixture(scope="module")
def drawings() -> list[scenes.Scene]:
    return list(scenes.drawn(16, seed=0))


def test_scenes_are_drawings_or_pictures(drawings: list[scenes.Scene]) -> None:
    for scene in [*drawings, *scenes.simulated(("neuropil",), 1, 0)]:
        assert scene.materials is not None
        assert scene.pixels.max() == len(scene.materials) - 1
        assert np.all((scene.materials[:, 1:] >= 0) & (scene.materials[:, 1:] <= 1))
    pictures = list(scenes.of_package())
    assert len({scene.name for scene in pictures}) >= 10
    for scene in pictures:
        assert scene.materials is None
        assert 0 <= scene.pixels.min() < scene.pixels.max() <= 1


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has none"):
        list(scenes.of_files(tmp_path))


def test_instruments_differ_but_are_reproducible(drawings: list[scenes.Scene]) -> None:
    def seen(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        image, mask = record(rng, colour(rng, drawings[0], lambda values: values[:192, :192]))
        assert image.shape == mask.shape == (192, 192)
        assert 0 <= image.min() <= image.max() <= 1
        return image

    assert np.array_equal(seen(1), seen(1))
    assert not np.array_equal(seen(1), seen(2))


def test_a_batch_depends_on_seed_and_step_alone(drawings: list[scenes.Scene]) -> None:
    one, same, other = (batch(drawings, 3, 0, step) for step in (5, 5, 6))
    assert np.array_equal(one.views, same.views)
    assert not np.array_equal(one.views, other.views)
    assert one.searched.shape == (3, 2, SEARCHED, SEARCHED)
    assert one.views.shape == (2, 3, 2, VIEW, VIEW)
    assert np.all((one.shifts >= 0) & (one.shifts <= (SEARCHED - TEMPLATE) / STRIDE))


def test_scores_are_correlations_and_the_loss_knows_the_place() -> None:
    generator = torch.Generator().manual_seed(0)
    searched = torch.randn((3, 4, 20, 20), generator=generator)
    places = [(2, 5), (7, 0), (4, 10)]
    templates = torch.stack([searched[n, :, y : y + 10, x : x + 10] for n, (y, x) in enumerate(places)])
    maps = scores(searched, torch.cat([templates, torch.randn((3, 4, 10, 10), generator=generator)]))
    assert maps.shape == (3, 6, 11, 11)
    for n, (y, x) in enumerate(places):
        assert int(maps[n].argmax()) == n * 121 + y * 11 + x
        # The mean of the searched view is not that of the template.
        assert float(maps[n, n, y, x]) == pytest.approx(1, abs=0.03)
    there, won = loss(maps, torch.tensor(places, dtype=torch.float), torch.tensor(50.0))
    elsewhere, lost = loss(maps, torch.tensor(places[::-1], dtype=torch.float), torch.tensor(50.0))
    assert float(there) < 0.1 < float(elsewhere)
    assert [float(won), float(lost)] == pytest.approx([1, 1 / 3])


def quiet(out: Path, settings: Settings, **options) -> Path:
    return train(out, settings, workers=0, report=lambda line: None, **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quiet(tmp_path_factory.mktemp("run"), SMALL)


def test_a_run_leaves_weights_a_log_and_what_it_saw(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained.parent / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 6
    assert {"loss", "won", "won_unseen"} <= set(lines[-1])
    seen = json.loads((trained.parent / "seen.json").read_text())
    assert seen["scenes"]["cell"] == seen["scenes"]["grains"] == 1
    assert seen["scenes"]["drawn"] == 12


@pytest.mark.parametrize("shipped", [False, True])
def test_torch_and_onnx_agree(shipped: bool, trained: Path, drawings: list[scenes.Scene]) -> None:
    file = Path(str(resources.files("correlight.appearance") / "descriptor.onnx")) if shipped else trained
    network = restored(file)
    image = batch(drawings, 2, seed=3, step=0).searched[0]
    values, mask = image[0], image[1] > 0
    with torch.no_grad():
        expected = network.eval()(torch.as_tensor(prepared(values, mask)[None]))
    features, hidden = load(file).run(values, mask)
    assert np.abs(features - expected[0][0].numpy()).max() < 1e-4
    # The hidden layer has no bounds of its own.
    assert np.abs(hidden - expected[1][0].numpy()).max() < 1e-4 * hidden.max()


def test_the_quick_network_knows_as_much_of_its_training_as_the_exact_one(trained: Path) -> None:
    exact, quick = load(trained), load(trained.with_name("descriptor-quick.onnx"))
    assert quick.typical == exact.typical
    rng = np.random.default_rng(0)
    values, mask = rng.random((64, 64), np.float32), np.ones((64, 64), bool)
    # Planes are orthonormal combinations of those of the exact network: no vector is longer than it was there.
    (few, _), (all_planes, _) = quick.planes(values, mask), exact.planes(values, mask)
    assert few.shape == (6, 16, 16)
    assert np.linalg.norm(few, axis=0).max() <= 1.1 * np.linalg.norm(all_planes, axis=0).max()


def test_the_same_seed_gives_the_same_weights(trained: Path, tmp_path: Path) -> None:
    again = restored(quiet(tmp_path, SMALL)).state_dict()
    assert all(torch.equal(again[name], value) for name, value in restored(trained).state_dict().items())


@pytest.mark.slow
def test_learning_lowers_the_loss_and_can_go_on_from_earlier_weights(tmp_path: Path) -> None:
    """Six specimens over and over: a network that learns anything at all learns those."""
    settings = Settings(steps=12, size=4, simulated=0, sketched=0, drawn=6, kinds=(), photographs=False)
    first = quiet(tmp_path / "one", settings)
    log = [json.loads(line) for line in (first.parent / "log.jsonl").read_text().splitlines()]
    second = quiet(tmp_path / "two", replace(settings, wide=True), start=first)
    later = [json.loads(line) for line in (second.parent / "log.jsonl").read_text().splitlines()]
    assert later[-1]["loss"] < log[-1]["loss"]
    # The second run begins with what the first one ended with.
    assert (later[0]["step"], later[0]["won_unseen"]) == (0, log[-1]["won_unseen"])


def test_other_settings_do_not_continue_a_run(trained: Path) -> None:
    with pytest.raises(UsageError, match="other settings"):
        quiet(trained.parent, Settings(steps=7, size=3, simulated=1, sketched=1, drawn=12, kinds=("cell", "grains")))


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import correlight.learn.descriptor.train as t\n"
        "t._SAVED_EVERY, t._CHECKED_BATCHES, t._UNSEEN_DRAWN, t._UNSEEN_SKETCHED = 2, 1, 4, 0\n"
        "import correlight.learn.descriptor.export as e; e._LOOKED_AT = 3\n"
        "import correlight.learn.descriptor.quantise as q; q._LOOKED_AT = 1\n"
        "s = t.Settings(steps=int(sys.argv[2]), size=2, kinds=(), sketched=0, drawn=8, photographs=False)\n"
        "t.train(Path(sys.argv[1]), s, workers=0, report=lambda line: print(line, flush=True))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path), "8"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        checkpoint = tmp_path / "checkpoint.pt"
        deadline = time.monotonic() + 120
        while not checkpoint.exists() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
    assert checkpoint.exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "going on after step" in done.stdout
    assert (tmp_path / "descriptor.onnx").exists()


def test_a_network_before_any_training_can_be_exported(tmp_path: Path, drawings: list[scenes.Scene]) -> None:
    path = export(Descriptor(), tmp_path / "descriptor.onnx", drawings, 0, {"steps": 0})
    assert load(path).typical > 0


def test_sketches_are_drawings_of_every_kind_and_none_of_them_is_empty() -> None:
    made = list(sketches.sketched(1, seed=0))
    assert len({scene.name for scene in made}) == len(made) == len(sketches.KINDS)
    assert np.array_equal(made[0].pixels, next(sketches.sketched(1, seed=0)).pixels)
    for scene in made:
        assert scene.materials is not None
        assert scene.pixels.max() == len(scene.materials) - 1 > 0
        # There is something to see.
        assert np.bincount(scene.pixels.ravel()).max() < 0.99 * scene.pixels.size


def test_a_wide_network_does_the_same_as_the_narrow_one_until_it_is_trained() -> None:
    shipped = Path(str(resources.files("correlight.appearance") / "descriptor.onnx"))
    narrow, wide = restored(shipped), restored(shipped, wide=True)
    assert narrow.surroundings is None
    assert wide.surroundings is not None
    # At a quarter of the resolution the sides are odd.
    image = torch.rand((1, 2, 36, 44), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(narrow(image)[0], wide(image)[0])
        torch.nn.init.ones_(wide.surroundings.finer.bias)
        assert not torch.equal(narrow(image)[0], wide(image)[0])


def test_features_are_unlike_by_what_changes_scores() -> None:
    features = torch.rand((2, 3, 5, 5), generator=torch.Generator().manual_seed(0))
    for other, expected in ((2 * features + 1, 0.0), (-features, 2.0)):
        assert float(unlikeness(features, other)) == pytest.approx(expected, abs=1e-5)


def test_a_teacher_adds_to_the_loss_what_its_pupil_does_otherwise(trained: Path) -> None:
    made = batch(list(scenes.drawn(4, seed=0)), 2, seed=0, step=0)
    strange = restored(trained, wide=True)
    torch.nn.init.normal_(strange.head.weight)
    runs = (
        Run(SMALL, torch.device("cpu"), restored(trained), teacher) for teacher in (None, restored(trained), strange)
    )
    alone, same, other = (run.learn(made)[0] for run in runs)
    assert same == pytest.approx(alone, abs=1e-3)
    assert other > alone + 1
