"""From a table of pairs to the folder of a model, and what is said where that cannot be."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from correlight.cli import main
from correlight.errors import ReadError, UsageError
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.predict.facts import read_facts
from correlight.predict.model import load
from correlight.predict.training import TrainingSettings
from correlight.training.make import Order, make_model
from correlight.training.pairs import prepare
from correlight.training.table import read_pairs
from tests.small_models import cell_and_negative

TRAINS = all(importlib.util.find_spec(name) for name in ("torch", "safetensors", "onnx"))
needs_torch = pytest.mark.skipif(not TRAINS, reason="training needs torch, safetensors and onnx")
SMALL = {"channels": 4, "levels": 1, "side": 32, "count": 2}


def silent(words: str, fraction: float) -> None:
    pass


def scene(number: int, shape: tuple[int, int] = (96, 112)) -> tuple[np.ndarray, np.ndarray]:
    """Dark discs that shine in the other image."""
    rng = np.random.default_rng(number)
    y, x = np.indices(shape)
    source, target = np.full(shape, 170.0), np.full(shape, 10.0)
    for _ in range(9):
        disc = np.hypot(y - rng.uniform(0, shape[0]), x - rng.uniform(0, shape[1])) < rng.uniform(4, 8)
        source[disc], target[disc] = 60, 200
    return (source + rng.normal(0, 8, shape)).clip(0, 255).astype(np.uint8), target.astype(np.uint8)


def write_table(folder: Path, rows: list[str], heads: str = "fixed,moving,transform", name: str = "pairs.csv") -> Path:
    table = folder / name
    table.write_text("\n".join([heads, *rows]) + "\n")
    return table


class OnDisk:
    """Pixels that are cut out and not held."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels, self.shape, self.dtype = pixels, pixels.shape, pixels.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        return np.asarray(self._pixels[key])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("pairs")
    for number in range(3):
        for name, pixels in zip(("em", "light"), scene(number), strict=True):
            tifffile.imwrite(home / f"{name}{number}.tif", pixels)
    tifffile.imwrite(home / "flat.tif", np.full((96, 112), 7, np.uint8))
    tifffile.imwrite(home / "small.tif", scene(9, (40, 50))[0])
    write_table(home, [f"em{number}.tif,light{number}.tif,registered" for number in range(3)])
    return home


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    if not TRAINS:
        pytest.skip("training needs torch, safetensors and onnx")
    order = Order(folder / "pairs.csv", "predicted-stain", source="electron", target="discs", shrink=1.0)
    make_model(folder / "model", order, TrainingSettings(steps=20, device="cpu", own=SMALL), silent)
    return folder / "model"


def test_the_folder_is_a_model_with_a_report(model: Path) -> None:
    facts = read_facts(model)
    assert (facts.kind, facts.target, facts.spacing, facts.shrink) == ("predicted-stain", "discs", None, 1.0)
    assert [pair["registered"] for pair in facts.provenance["pairs"]] == ["pixel by pixel"] * 3
    assert all(len(pair["fixed"]["sha256"]) == 64 for pair in facts.provenance["pairs"])
    page = (model / "training.html").read_text(encoding="utf-8")
    assert "Predicted detail is not data" in page
    assert page.count("data:image/jpeg") == 9
    assert "<polyline" in page
    assert "http" not in page.replace("http-equiv", "")
    assert not model.with_name("model.training").exists()


def test_the_test_tensors_are_what_the_network_gives(model: Path) -> None:
    given, expected = (np.load(model / f"test_{name}.npy") for name in ("input", "output"))
    made = load(model).mapping(given[0, 0], np.ones(given.shape[2:], bool))
    assert np.abs(made - expected[0, 0]).max() < 1e-5
    assert np.ptp(expected) > 0


def test_the_description_is_valid_for_bioimage_io(model: Path) -> None:
    """Checked, and run, by their own program where it is installed."""
    program = shutil.which("bioimageio")
    if program is None:
        pytest.skip("bioimageio is not installed (pip install bioimageio.core[onnx])")
    command = [program, "test", str(model / "rdf.yaml"), "--weight-format", "onnx"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Run onnx inference" in ran.stdout + ran.stderr


def test_the_description_names_files_with_their_checksums(model: Path) -> None:
    stated = json.loads((model / "rdf.yaml").read_text())
    onnx = read_facts(model).files["model.onnx"]
    assert stated["weights"]["onnx"]["sha256"] == onnx
    assert stated["license"] == "CC-BY-4.0"


def test_an_image_is_predicted_on_its_own_pixels(model: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "predicted.tif"
    assert main(["predict", str(model), str(folder / "em0.tif"), "-o", str(out)]) in (0, 3)
    assert tifffile.imread(out).shape == (96, 112)
    assert main(["predict", str(model), str(folder / "em0.tif"), "-o", str(out)]) == 2


def test_bands_of_an_image_on_disk_are_the_whole_image(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from correlight.geometry import Grid
    from correlight.output.predicted import write_prediction

    monkeypatch.setattr("correlight.output.predicted._ROWS", 32)
    pixels = scene(5, (200, 90))[0][None].astype(np.float32)
    pixels[0, 60:70, 20:40] = np.nan
    both: dict[str, list[Any]] = {"held": [pixels], "disk": [OnDisk(pixels), pixels]}
    for name, levels in both.items():
        image = Image(levels, Grid.of((200, 90)), ("em",))
        write_prediction(tmp_path / f"{name}.tif", load(model), image, None)
    held, disk = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("held", "disk"))
    # What the image does not show, nobody can predict.
    assert np.array_equal(np.isnan(held), np.isnan(pixels[0]))
    assert np.array_equal(np.isnan(disk), np.isnan(pixels[0]))
    assert np.ptp(held[~np.isnan(held)]) > 0.02
    assert np.nanmax(np.abs(held - disk)) < 1e-5


@needs_torch
@pytest.mark.slow
def test_a_killed_training_goes_on(folder: Path, tmp_path: Path) -> None:
    """The whole command, killed for real; given again, it goes on and leaves nothing but the model."""
    arguments = ["train", str(folder / "pairs.csv"), "--as", "predicted-stain", "-o", str(tmp_path / "model")]
    arguments += ["--steps", "4", "--shrink", "1", "--device", "cpu"]
    code = (
        "import sys, time; import correlight.learn.appearance.run as run; run.CHECKED_EVERY = 2;"
        "tell = run.Run._save\n"
        "def slow(self, path):\n    tell(self, path)\n    time.sleep(float(sys.argv[1]))\n"
        "run.Run._save = slow\n"
        "from correlight.cli import main; sys.exit(main(sys.argv[2:]))"
    )
    running = subprocess.Popen([sys.executable, "-c", code, "60", *arguments], env={**os.environ})
    checkpoint, until = tmp_path / "model.training" / "training.safetensors", time.monotonic() + 120
    while not checkpoint.is_file() and running.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert checkpoint.is_file()
    assert not (tmp_path / "model").exists()
    again = subprocess.run([sys.executable, "-c", code, "0", *arguments], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    # The first half was not done again.
    assert "step 2 of 4" not in again.stderr
    assert "step 4 of 4" in again.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    assert read_facts(tmp_path / "model").settings["reach"]


def test_other_settings_do_not_go_on(folder: Path, tmp_path: Path) -> None:
    work = tmp_path / "model.training"
    work.mkdir()
    (work / "settings.json").write_text("{}")
    order = Order(folder / "pairs.csv", "predicted-stain", shrink=1.0)
    if TRAINS:
        with pytest.raises(UsageError, match="with other pairs or settings"):
            make_model(tmp_path / "model", order, TrainingSettings(), silent)
        assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["em0.tif,light0.tif,registered"], "2 pairs or more"),
        (["em0.tif,small.tif,registered", "em1.tif,small.tif,registered"], "96 x 112 and 40 x 50 pixels"),
        (["flat.tif,light0.tif,registered", "flat.tif,light1.tif,registered"], "flat.tif is blank"),
        (["em0.tif,flat.tif,registered", "em1.tif,flat.tif,registered"], "flat.tif is blank"),
        (["em0.tif,missing.tif,registered", "em1.tif,missing.tif,registered"], "missing.tif"),
        ([",light0.tif,registered"], "names of two images"),
    ],
)
def test_tables_that_cannot_be_learned_from(
    rows: list[str], words: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = folder / f"{tmp_path.name}.csv"
    table.write_text("\n".join(["fixed,moving,transform", *rows, ""]))
    if not TRAINS:
        pytest.skip("without torch it is said first that it is missing")
    out = tmp_path / "model"
    assert main(["train", str(table), "--as", "predicted-stain", "-o", str(out), "--shrink", "1"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--shrink", "1e9"), "--shrink expects a number from 1e-06 to 1e+06; got 1e+09"),
        (("--pixel", "1e9"), "from 1e-06 to 100000; got 1e+09"),
        (("--license", "NOPE<>"), "such as CC-BY-4.0 or MIT; got 'NOPE<>'"),
    ],
)
def test_options_that_cannot_be_are_refused_before_the_work(
    option: tuple[str, str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "none.csv", "--as", "analogies", "-o", str(tmp_path / "model"), *option]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@needs_torch
@pytest.mark.parametrize("missing", ["torch", "safetensors", "onnx"])
def test_a_package_that_is_missing_is_said_before_the_work(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("correlight.learn.appearance")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    for kind in ("predicted-stain", "pix2pix", "unpaired", "superres"):
        assert main(["train", "none.csv", "--as", kind, "-o", str(tmp_path / "model")]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1
        assert f'needs the package {missing}, which is not installed; install it with: pip install "correl' in said[0]
    assert main(["train", "none.csv", "--as", "analogies", "-o", str(tmp_path / "model")]) == 2
    assert "none.csv" in capsys.readouterr().err


def test_an_unknown_kind_or_column_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no kind of model 'magic'"):
        make_model(tmp_path / "model", Order(folder / "pairs.csv", "magic"), TrainingSettings(), silent)
    with pytest.raises(ReadError, match="unknown: colour"):
        read_pairs(write_table(tmp_path, ["a,b,c"], "fixed,moving,colour"))


def test_a_pair_that_stands_twice_would_be_learned_from_and_held_out_at_once(tmp_path: Path) -> None:
    rows = ["a.tif,b.tif,0", "a.tif,b.tif,1", "./a.tif,b.tif,0"]
    with pytest.raises(ReadError, match=r"once in .*; rows 1 and 3 are one: a.tif with b.tif"):
        read_pairs(write_table(tmp_path, rows, "fixed,moving,fixed_channel"))
    assert len(read_pairs(write_table(tmp_path, rows[:2], "fixed,moving,fixed_channel"))) == 2


def test_images_apart_keep_their_shapes_and_state_their_pixel_sizes_both(folder: Path) -> None:
    heads = "fixed,moving,fixed_spacing,moving_spacing"
    row = read_pairs(write_table(folder, ["em0.tif,small.tif,0.1,0.2"], heads, "apart.csv"))
    made = prepare(row, "fixed", None, 1.0, silent, "unpaired").pairs[0]
    assert (made.source.shape, made.target.shape) == ((96, 112), (80, 100))
    row = read_pairs(write_table(folder, ["em0.tif,small.tif,0.1,"], heads, "apart.csv"))
    with pytest.raises(UsageError, match="only one image states a pixel size"):
        prepare(row, "fixed", None, 1.0, silent, "unpaired")


@pytest.mark.slow
def test_pairs_without_a_transform_are_registered_first(tmp_path: Path) -> None:
    """A light image turned by 130 degrees comes to lie on the electron image; one of another specimen is left out."""
    from correlight.io.write import write_ome_tiff

    pair = cell_and_negative()
    noise = np.random.default_rng(0).random((1, 40, 40)).astype(np.float32)
    for name, image in (("em", pair.fixed), ("light", pair.moving), ("noise", Image.from_array(noise, 0.14))):
        write_ome_tiff(tmp_path / f"{name}.tif", image.levels[0], image.grid, image.channels)
    table = write_table(tmp_path, ["em.tif,light.tif", "em.tif,noise.tif"], "fixed,moving")
    ready = prepare(read_pairs(table), "fixed", None, 2.0, silent)
    assert len(ready.pairs) == 1
    assert "noise.tif was left out" in ready.left_out[0]
    assert ready.spacing == pytest.approx(0.15)
    made = ready.pairs[0]
    assert np.corrcoef(made.source[made.mask], made.target[made.mask])[0, 1] < -0.8
    assert Plane.of(pair.fixed, 0).resized((128, 128)).values.shape == made.source.shape
