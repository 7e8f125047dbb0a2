"""Transforms of elastix for images that had an origin, and the images that have lost it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from correlight.cli import main
from correlight.errors import ReadError, UsageError
from correlight.exchange import ExchangeContext, read_transform
from correlight.exchange.table import write_points
from correlight.geometry import Grid
from correlight.io import write_tiff
from correlight.landmarks.tables import PointTable
from correlight.output.apply import apply
from correlight.transforms import Affine

# As elastix writes it; x first. The fixed image began at (x, y) = (100, 50) and the moving one at (20, 30).
FILE = """(CenterOfRotationPoint 102.55 52.55)
(Direction 1 0 0 1)
(FixedImageDimension 2)
(InitialTransformParameterFileName "NoInitialTransform")
(MovingImageDimension 2)
(Origin 100 50)
(Size 512 512)
(Spacing 0.01 0.01)
(Transform "EulerTransform")
(TransformParameters 0.07 -80.09 -20.06)
(UseDirectionCosines "true")
"""
FIXED_ORIGIN, MOVING_ORIGIN = (50.0, 100.0), (30.0, 20.0)
PLACES = np.random.default_rng(0).uniform(0, 5, size=(20, 2))
BARE = Grid.of((512, 512), 0.01, unit="micrometre")
PLACED = Grid.of((512, 512), 0.01, FIXED_ORIGIN, "micrometre")


def expected() -> np.ndarray:
    """Positions from the first pixel of the moving image, of positions from that of the fixed one, by SimpleITK."""
    judge = sitk.Euler2DTransform((102.55, 52.55), 0.07, (-80.09, -20.06))
    moved = [judge.TransformPoint((place + FIXED_ORIGIN)[::-1].tolist())[::-1] for place in PLACES]
    return np.array(moved) - MOVING_ORIGIN


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    path = tmp_path / "TransformParameters.0.txt"
    path.write_text(FILE)
    return path


def test_positions_count_from_the_origins_that_the_images_state(parameters: Path) -> None:
    for context in (ExchangeContext(), ExchangeContext(fixed=PLACED)):
        found = read_transform(parameters, context=context)
        assert np.abs(found(PLACES + FIXED_ORIGIN) - MOVING_ORIGIN - expected()).max() < 1e-9


def test_a_fixed_image_that_has_lost_its_origin_is_refused(parameters: Path) -> None:
    with pytest.raises(ReadError, match=r"begins at 50, 100, and the one given begins at 0, 0 .* origin of the moving"):
        read_transform(parameters, context=ExchangeContext(fixed=BARE))
    parameters.write_text(FILE.replace("(Direction 1 0 0 1)", "(Direction 0 1 -1 0)"))
    with pytest.raises(ReadError, match="turned axes"):
        read_transform(parameters, context=ExchangeContext(fixed=PLACED))


def test_the_origin_of_the_moving_image_makes_it_right(parameters: Path) -> None:
    known = ExchangeContext(fixed=BARE, moving=BARE, moving_origin=MOVING_ORIGIN)
    assert np.abs(read_transform(parameters, context=known)(PLACES) - expected()).max() < 1e-9
    # The fixed image has kept its origin, the moving one has not.
    known = ExchangeContext(fixed=PLACED, moving=BARE, moving_origin=MOVING_ORIGIN)
    found = read_transform(parameters, context=known)
    assert np.abs(found(PLACES + FIXED_ORIGIN) - expected()).max() < 1e-9
    stripped = "".join(line for line in FILE.splitlines(keepends=True) if "Origin" not in line)
    parameters.write_text(stripped)
    known = ExchangeContext(fixed_origin=FIXED_ORIGIN, moving_origin=MOVING_ORIGIN)
    assert np.abs(read_transform(parameters, context=known)(PLACES) - expected()).max() < 1e-9
    with pytest.raises(UsageError, match="origin of the moving image has 2 finite numbers"):
        read_transform(parameters, context=ExchangeContext(moving_origin=(1.0, 2.0, 3.0)))


def test_pixels_of_another_size_are_another_unit(parameters: Path) -> None:
    millimetres = Grid.of((512, 512), 1e-5, FIXED_ORIGIN, "micrometre")
    with pytest.raises(ReadError, match=r"made for pixels of 0\.01, 0\.01, and the fixed image has pixels of 1e-05"):
        read_transform(parameters, context=ExchangeContext(fixed=millimetres))


def test_another_level_of_the_fixed_image_will_do_and_another_image_will_not(parameters: Path) -> None:
    half = Grid.of((256, 256), 0.02, (50.005, 100.005), "micrometre")
    origins: dict[str, Any] = {"fixed_origin": FIXED_ORIGIN, "moving_origin": MOVING_ORIGIN}
    read_transform(parameters, context=ExchangeContext(fixed=half, **origins))
    part = Grid.of((330, 330), 0.01, unit="micrometre")
    read_transform(parameters, context=ExchangeContext(fixed=part, **origins))
    other = Grid.of((330, 330), 0.02, unit="micrometre")
    with pytest.raises(ReadError, match=r"for a field of 5.12, 5.12 .* has 6.6, 6.6 in pixels of 0.02"):
        read_transform(parameters, context=ExchangeContext(fixed=other, **origins))


@pytest.mark.parametrize("change", ["(Size 512)", "(Size 512 0)", "(Spacing 0 1)", "(Origin nan 1)", "(Direction 1 0)"])
def test_a_place_that_contradicts_itself_is_named(change: str, parameters: Path) -> None:
    key = change.split()[0]
    lines = [change if line.startswith(key + " ") else line for line in FILE.splitlines()]
    parameters.write_text("\n".join(lines))
    with pytest.raises(ReadError, match="do not fit each other"):
        read_transform(parameters)


def test_the_command_line_takes_the_origin(parameters: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = parameters.with_name("out.tfm")
    words = ["convert", str(parameters), str(out), "--fixed-spacing", "0.01"]
    assert main(words) == 2
    assert "state the origin of the moving image" in capsys.readouterr().err
    assert main([*words, "--moving-origin", "30,20"]) == 0
    found = read_transform(out)
    assert isinstance(found, Affine)
    assert np.abs(found(PLACES) - expected()).max() < 1e-9
    assert main([*words, "--moving-origin", "30"]) == 2
    assert "expects a place" in capsys.readouterr().err


@pytest.mark.parametrize("of", ["image.tif", "points.csv"])
def test_a_transform_of_images_elsewhere_is_not_applied(of: str, parameters: Path) -> None:
    folder = parameters.parent
    for name in ("fixed.tif", "image.tif"):
        pixels = np.random.default_rng(0).integers(1, 99, (40, 50), np.uint8)
        write_tiff(folder / name, pixels, Grid.of((40, 50), 0.01, unit="micrometre"))
    write_points(folder / "points.csv", PointTable(("a",), np.array([[0.1, 0.2]]), "micrometre"))
    target = folder / ("out.csv" if of == "points.csv" else "out.tif")
    with pytest.raises(ReadError, match="state the origin of the moving image"):
        apply(parameters, folder / of, folder / "fixed.tif", target)
    assert not target.exists()


def test_itk_takes_both_origins(tmp_path: Path) -> None:
    sitk.WriteTransform(sitk.Euler2DTransform((102.55, 52.55), 0.07, (-80.09, -20.06)), str(tmp_path / "a.tfm"))
    known = ExchangeContext(fixed_origin=FIXED_ORIGIN, moving_origin=MOVING_ORIGIN)
    assert np.abs(read_transform(tmp_path / "a.tfm", context=known)(PLACES) - expected()).max() < 1e-9
