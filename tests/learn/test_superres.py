"""Super-resolution: learned from images of one instrument, applied on a grid that is four times finer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

torch = pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("safetensors", reason="training keeps its checkpoints with safetensors")

from correlight.cli import main  # noqa: E402
from correlight.errors import ReadError, UsageError  # noqa: E402
from correlight.geometry import Grid  # noqa: E402
from correlight.images.image import Image  # noqa: E402
from correlight.images.plane import Plane  # noqa: E402
from correlight.io import read  # noqa: E402
from correlight.io.write import write_ome_tiff  # noqa: E402
from correlight.learn.appearance import superres  # noqa: E402
from correlight.predict.model import Model, load  # noqa: E402
from correlight.predict.training import Trained, TrainingPair, TrainingSettings, Workplace  # noqa: E402
from correlight.training.table import read_pairs  # noqa: E402
from tests.learn.test_appearance import pair  # noqa: E402

SPACING = 0.2
OWN: dict[str, float | int | str] = {"channels": 8, "blocks": 1, "side": 8, "count": 4}


@contextmanager
def quick_training() -> Iterator[None]:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("correlight.learn.appearance.run.CHECKED_EVERY", 10)
        patch.setattr("correlight.learn.appearance.crops.Cropped.LOOKED_AT", 4)
        patch.setattr("correlight.learn.appearance.superres._WARM_UP", 3)
        patch.setattr("correlight.learn.appearance.finished._LOOKED_AT", 20)
        patch.setattr("correlight.learn.appearance.finished._HELD_LOOKED_AT", 10)
        yield


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    with quick_training():
        yield


def images() -> list[TrainingPair]:
    return [TrainingPair(one.name, one.source, one.source, one.mask) for one in map(pair, range(3))]


def trained(folder: Path, tell: Callable[[str, float], None] = lambda words, fraction: None) -> Trained:
    settings = TrainingSettings(steps=30, device="cpu", contrast="stretched", own=OWN)
    return superres.train(images(), settings, Workplace(folder, tell))


@pytest.fixture(scope="module")
def model(quick: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """Of images beside which the table has a column of files that are not there."""
    home = tmp_path_factory.mktemp("images")
    for number in range(2):
        grid = Grid.of((64, 96), (SPACING, SPACING), unit="micrometre")
        write_ome_tiff(home / f"light{number}.ome.tif", pair(number).source[None], grid, ["light"])
    table = home / "images.csv"
    table.write_text("fixed,moving\nnone.tif,light0.ome.tif\n,light1.ome.tif\n")
    asked = ["train", str(table), "--as", "superres", "-o", str(home / "model"), "--predicts-from", "moving"]
    assert main([*asked, "--steps", "4", "--device", "cpu"]) == 0
    return load(home / "model"), home


def test_it_learns_to_do_better_than_cubics_and_once_killed_goes_on_to_the_same_end(
    tmp_path: Path, killed_trainings: Path
) -> None:
    done = trained(tmp_path)
    ratio = [value for _, value in done.curves["held out, over cubics"]]
    assert ratio[-1] < min(1, ratio[0])
    assert done.samples[0].predicted.shape == done.samples[0].target.shape
    assert [4 * side for side in done.samples[0].source.shape] == list(done.samples[0].target.shape)

    said: list[str] = []
    again = trained(killed_trainings / "superres", lambda words, fraction: said.append(words))
    assert len(said) == 2
    assert again.curves == done.curves
    assert np.array_equal(again.samples[0].predicted, done.samples[0].predicted)


def test_a_prediction_lies_on_a_grid_four_times_finer(model: tuple[Model, Path]) -> None:
    known, home = model
    out = home / "finer.ome.tif"
    assert main(["predict", str(home / "model"), str(home / "light0.ome.tif"), "-o", str(out)]) in (0, 3)
    made, image = read(out), read(home / "light0.ome.tif")
    assert made.grid.shape == (256, 384)
    assert made.grid.spacing == pytest.approx((SPACING / 4, SPACING / 4))
    plane = Plane.of(image, 0)
    finer = known.apply(plane)
    assert finer.grid.extent == pytest.approx(plane.grid.extent)
    # The same place, edge to edge, and hardly trained: about a cubic interpolation.
    assert finer.grid.corners() == pytest.approx(plane.grid.corners())
    assert np.abs(finer.resized((64, 96)).values - plane.values).mean() < 0.05
    assert finer.mask.shape == finer.values.shape == (256, 384)


def test_bands_of_an_image_on_disk_are_the_whole_image(
    model: tuple[Model, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from correlight.output.predicted import write_prediction
    from tests.training.test_make import OnDisk

    monkeypatch.setattr("correlight.output.predicted._ROWS", 16)
    pixels = pair(5).source[None]
    both: dict[str, list[Any]] = {"held": [pixels], "disk": [OnDisk(pixels), pixels]}
    for name, levels in both.items():
        write_prediction(tmp_path / f"{name}.tif", model[0], Image(levels, Grid.of((64, 96)), ("em",)), None)
    held, disk = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("held", "disk"))
    assert held.shape == (256, 384)
    assert np.abs(held - disk).max() < 1e-5


def test_the_model_says_that_it_works_on_the_pixels_of_the_image(model: tuple[Model, Path]) -> None:
    facts = model[0].facts
    assert (facts.finer, facts.spacing, facts.shrink, facts.contrast) == (4, None, 1.0, "stretched")
    assert [list(record) for record in facts.provenance["pairs"]] == [["moving", "registered"]] * 2
    assert "4 pixels for every one" in (model[1] / "model" / "README.md").read_text()


def test_what_cannot_be_learned_from_is_said(model: tuple[Model, Path], tmp_path: Path) -> None:
    settings = TrainingSettings(contrast="equalised")
    with pytest.raises(UsageError, match="the contrast 'stretched' was expected"):
        superres.train(images(), settings, Workplace(tmp_path, lambda words, fraction: None))
    table = tmp_path / "images.csv"
    table.write_text("moving\na.tif\n")
    with pytest.raises(ReadError, match="all but fixed optional"):
        read_pairs(table, "fixed")
    assert not list(tmp_path.glob("training*"))
