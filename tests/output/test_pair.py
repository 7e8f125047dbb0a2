"""A pair of one field and one pixel size: the ratio, the padding, every channel alike, and the folder."""

import json
from pathlib import Path

import numpy as np
import pytest

from correlight.cli import main
from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.images.resample import warp
from correlight.io import read, write_ome_tiff
from correlight.output.pair import binning_of, prepare_pair
from correlight.output.pair_search import find_pair
from correlight.refine.neural import refine_neural
from correlight.simulate import pair
from correlight.transforms import Affine
from tests.phantoms import mean_error, noise

RATIO = 4.0
SPACING = 0.02
STILL = (0.0, 0.0)


def scene(seed: int, side: int) -> np.ndarray:
    smooth = noise((side, side), seed, 4)
    return np.round(30_000 + 25_000 * smooth / np.abs(smooth).max()).astype(np.uint16)


def electron(wide: Image, truth: Affine, side: int = 800) -> Image:
    """What an instrument with finer pixels and the contrast upside down shows of a part of the light image."""
    grid = Grid.of((side, side), SPACING, unit="micrometre")
    values, _ = warp(np.asarray(wide.levels[0][:1]), wide.grid, truth, grid)
    return Image.from_array((65_535 - values[0]).astype(np.uint16), spacing=SPACING)


@pytest.fixture(scope="module")
def light() -> Image:
    """Two channels, which are known functions of each other."""
    first = scene(1, 420)
    return Image.from_array(np.stack([first, first // 2 + 7]), spacing=RATIO * SPACING, channels=("light", "half"))


def placed(centre: tuple[float, float], scale: float = 1.0) -> Affine:
    middle = Grid.of((800, 800), SPACING).centre
    return Affine.similarity(0.0, scale, False, middle, centre)


def error(found: Affine, truth: Affine, grid: Grid) -> float:
    return mean_error(found, truth, grid, 6) / grid.spacing[0]


@pytest.mark.parametrize("wrong", [0.9, 1.1])
def test_the_ratio_is_found_to_half_a_per_cent_where_the_claim_is_wrong_by_ten(wrong: float, light: Image) -> None:
    truth = placed((18.0, 14.0))
    claimed = light.with_spacing(RATIO * SPACING * wrong, "claimed")
    made = prepare_pair(electron(light, truth), claimed, moving_channel=0, rotation=STILL)
    assert made
    assert made.ratio_claimed == pytest.approx(RATIO * wrong)
    assert made.ratio_found == pytest.approx(RATIO, rel=0.005)
    back = Affine(np.diag([1 / wrong, 1 / wrong, 1.0]) @ made.moving_from_fixed.matrix)
    assert error(back, truth, made.fixed.grid) < 4  # one light pixel
    assert f"{RATIO * wrong:.4g}" in made.sentence


def test_without_any_claim_the_ratio_is_found_too(light: Image) -> None:
    fixed = electron(light, placed((18.0, 14.0)))
    made = prepare_pair(Image.from_array(np.asarray(fixed.levels[0])), light, moving_channel=0, rotation=STILL)
    assert made.ratio_claimed is None
    assert made.ratio_found == pytest.approx(RATIO, rel=0.005)


def test_a_simulated_specimen_by_reflected_light() -> None:
    both = pair(
        "cell",
        3,
        rotation=0.0,
        mirror=False,
        stretch=1.0,
        shear=0.0,
        electron_spacing=0.04,
        light_spacing=0.16,
        electron_shape=(560, 560),
        light_shape=(300, 300),
        least_overlap=1.0,
    )
    claimed = both.moving.with_spacing(0.16 * 1.08, "claimed")
    made = prepare_pair(both.fixed, claimed, moving_channel="reflected", rotation=(-1, 1))
    assert made
    assert made.ratio_found == pytest.approx(4.0, rel=0.005)


def test_all_channels_are_moved_alike_and_lie_on_the_electron_grid(light: Image) -> None:
    made = prepare_pair(electron(light, placed((18.0, 14.0))), light, moving_channel="light", rotation=STILL)
    first, half = np.asarray(made.moving.levels[0]).astype(float)
    assert made.moving.grid == made.fixed.grid
    assert made.moving.channels == light.channels
    # Integers are rounded once in each channel.
    assert np.abs(half - (first / 2 + 7)).max() <= 1.5
    whole = 65_535 - np.asarray(made.fixed.levels[0][0]).astype(float)
    assert np.corrcoef(first.ravel(), whole.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("padding", ["grey", "edge", "masked"])
def test_padding_stands_only_where_the_light_field_has_ended(padding: str, light: Image) -> None:
    truth = placed((6.5, 16.0))
    fixed = electron(light, truth)
    grid = fixed.grid
    inside = warp(light, light.grid, truth, grid)[1]
    assert 0.75 < inside.mean() < 0.95
    fixed = fixed.with_mask(inside)
    made = prepare_pair(fixed, light, moving_channel=0, padding=padding, rotation=STILL)  # type: ignore[arg-type]
    assert error(made.moving_from_fixed, truth, grid) < 8
    values, sampled = np.asarray(made.moving.levels[0][0]), made.moving.valid()
    plain, footprint = warp(light, light.grid, made.moving_from_fixed, grid)
    assert np.array_equal(sampled, footprint)
    assert np.array_equal(values[sampled], plain[0][sampled])
    outside = values[~sampled]
    if padding == "masked":
        assert not outside.any()
    elif padding == "grey":
        assert np.all(outside == int(np.median(values[sampled])))
    else:
        columns = sampled.any(axis=0)
        top = np.argmax(sampled, axis=0)
        edge = values[top, np.arange(len(top))].astype(float)
        assert np.abs(values[0].astype(float) - edge)[columns].mean() < 300


def test_another_specimen_is_not_believed(light: Image) -> None:
    other = Image.from_array(scene(9, 420), spacing=RATIO * SPACING)
    made = prepare_pair(electron(light, placed((18.0, 14.0))), other, rotation=STILL)
    assert not made
    assert "position is ambiguous" in made.sentence


@pytest.mark.parametrize(
    ("light_pixel", "side", "expected"), [(0.2, 11_000, 10), (0.2, 2000, 3), (0.2, 900, 1), (0.03, 11_000, 1)]
)
def test_binning_follows_the_light_pixels_and_leaves_512(light_pixel: float, side: int, expected: int) -> None:
    fixed = Grid.of((side, side + 100), 0.02, unit="micrometre")
    assert binning_of(fixed, Grid.of((600, 600), light_pixel, unit="micrometre"), 1.0) == expected


def test_what_is_found_on_binned_pixels_holds_at_full_size(light: Image) -> None:
    truth = placed((18.0, 14.0))
    fixed = electron(light, truth)
    pixels = np.asarray(fixed.levels[0][0], np.float32)
    means = pixels.reshape(200, 4, 200, 4).mean(axis=(1, 3))
    binned = Plane.of(Image.from_array(means, spacing=4 * SPACING), 0)
    # Block means lie (4 - 1) / 2 pixels from the first one.
    binned = Plane(binned.values, binned.mask, fixed.grid.shrink(4))
    moving = Plane.of(light, 0)
    found = refine_neural(binned, moving, truth, "similarity", sizes=(96, 192))
    assert error(Affine(found.matrix), truth, fixed.grid) < 1.0
    # As pixel numbers: small pixel i is full pixel 4 i + 1.5, and both lead to one place.
    index = np.array([[0.0, 0.0], [199.0, 57.0]])
    there = found(binned.grid.points(index))
    assert np.allclose(there, found(fixed.grid.points(4 * index + 1.5)), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"match": "sift"}, "zero-mean"),
        ({"padding": "black"}, "masked"),
        ({"ratio": 0.0}, "positive"),
        ({"rotation": (5.0, -5.0)}, "ascending"),
        ({"moving_channel": "red"}, "light"),
        ({"ratio": 0.2}, "exchange"),
    ],
)
def test_what_is_wrong_is_said(options: dict, said: str, light: Image) -> None:
    with pytest.raises(UsageError, match=said):
        prepare_pair(Image.from_array(scene(2, 300), spacing=SPACING), light, **options)


def test_a_blank_image_is_refused(light: Image) -> None:
    with pytest.raises(UsageError, match="same value"):
        prepare_pair(Image.from_array(np.zeros((300, 300), np.uint8), spacing=SPACING), light)


@pytest.mark.slow
def test_a_field_that_is_turned_is_found_by_the_search_of_all_poses() -> None:
    both = pair(
        "cell",
        12,
        electron_shape=(160, 160),
        light_shape=(100, 100),
        electron_spacing=0.12,
        light_spacing=0.224,
        rotation=130.0,
        mirror=False,
        stretch=1.0,
        shear=0.0,
        least_overlap=0.9,
        data_bar=False,
    )
    # What was searched was not found by matching.
    made = find_pair(both.fixed, both.moving, moving_channel="reflected", rotation=(-1, 1))
    assert made
    assert (made.searched, made.channel) == ("accepted", "reflected")
    assert "the search of all poses found this one" in made.sentence
    assert error(made.moving_from_fixed, both.moving_from_fixed, both.fixed.grid) < 2
    values, covered = warp(both.moving, both.moving.grid, made.moving_from_fixed, both.fixed.grid)
    np.testing.assert_array_equal(made.moving.valid(), covered)
    np.testing.assert_array_equal(np.asarray(made.moving.levels[0])[:, covered], values[:, covered])


def test_the_command_writes_a_folder_and_ends_with_a_code(
    light: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = electron(light, placed((18.0, 14.0)))
    for name, image in (("em.ome.tif", fixed), ("light.ome.tif", light)):
        write_ome_tiff(tmp_path / name, image.levels[0], image.grid, image.channels)
    out = tmp_path / "out"
    files = [str(tmp_path / "em.ome.tif"), str(tmp_path / "light.ome.tif")]
    assert main(["pair", *files, "-o", str(out), "--moving-channel", "light", "--rotation", "0..0"]) == 0
    assert "fixed pixels wide" in capsys.readouterr().out
    record = json.loads((out / "pair.json").read_text())
    assert record["ratio_found"] == pytest.approx(RATIO, rel=0.005)
    assert record["ratio_claimed"] == pytest.approx(RATIO)
    assert record["moving"]["channel"] == "light"
    cut = read(out / "moving.ome.tif")
    assert cut.grid.shape == fixed.grid.shape
    assert cut.grid.spacing == pytest.approx(fixed.grid.spacing)
    assert {path.name for path in out.iterdir()} == {
        "manifest.json",
        "pair.json",
        "moving_from_fixed.tfm",
        "moving.ome.tif",
        "footprint.tif",
        "overlay.png",
    }
    assert main(["pair", *files, "-o", str(out)]) == 2
    assert main(["pair", *files, "-o", str(tmp_path / "two"), "--rotation", "9..1"]) == 2
    assert not (tmp_path / "two").exists()
