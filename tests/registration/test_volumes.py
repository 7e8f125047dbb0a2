"""The road in three dimensions, on small stacks with known truth."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from correlight.errors import UsageError
from correlight.evidence.checks import LEAST_ERROR
from correlight.evidence.predicted_error import coarser_pixel
from correlight.exchange import read_transform
from correlight.images.image import Image
from correlight.io import read
from correlight.output.folder import write_result
from correlight.output.target import reserve
from correlight.registration.register import register
from correlight.registration.result import Result
from correlight.simulate.volume_pair import VolumePair, volume_pair
from correlight.transforms import Affine

SIZE = 0.3


@pytest.fixture(scope="module")
def pair() -> VolumePair:
    return volume_pair(seed=2, size=SIZE, rotation=200.0, mirror=True, flip=True, scale=1.08, least_overlap=0.7)


@pytest.fixture(scope="module")
def result(pair: VolumePair) -> Result:
    return register(pair.fixed, pair.moving)


def off(pair: VolumePair, found: Result) -> tuple[float, float]:
    """Root mean square error across and along z in fixed micrometres."""
    assert isinstance(found.moving_from_fixed, Affine)
    places = pair.common_places(500, np.random.default_rng(0))
    apart = found.moving_from_fixed.inverse()(pair.moving_from_fixed(places)) - places
    return float(np.sqrt(np.mean(np.sum(apart[:, 1:] ** 2, axis=1)))), float(np.sqrt(np.mean(apart[:, 0] ** 2)))


def test_rotation_mirror_direction_and_scale_are_found(pair: VolumePair, result: Result) -> None:
    across, along = off(pair, result)
    assert across < 0.7
    assert along < 1.8
    assert result.status == "accepted", result.verdict.reasons
    assert result.scale_found / result.scale_claimed == pytest.approx(1.08, rel=0.02)  # type: ignore[operator]
    assert result.poses[0].linear.linear[0, 0] < 0


@pytest.fixture(scope="module")
def back(pair: VolumePair) -> Result:
    """The same stacks in the other order."""
    swapped = pair.swapped()
    return register(swapped.fixed, swapped.moving, rotation=(199.5, 200.5))


def test_the_other_order_gives_the_way_back(pair: VolumePair, back: Result) -> None:
    assert off(pair.swapped(), back)[0] < 0.7
    assert off(pair.swapped(), back)[1] < 1.8


def test_the_predicted_error_is_of_the_right_size(pair: VolumePair, result: Result, back: Result) -> None:
    """Places are off by less than the bound of 95 in 100, and both are about the least error that is ever stated.

    That is 0.3 voxels of the coarser stack; halves of so clear a pair differ by less, which therefore adds little.
    """
    for couple, found in ((pair, result), (pair.swapped(), back)):
        predicted = found.predicted_error
        assert predicted.grid.ndim == 3
        known = np.isfinite(predicted.values)
        places = predicted.grid.lattice_of_pixels()[known.ravel()]
        apart = couple.moving_from_fixed.inverse()(found.moving_from_fixed(places)) - places
        length = np.linalg.norm(apart, axis=1)
        assert np.mean(length <= predicted.bound[known]) >= 0.95
        voxel = coarser_pixel(couple.fixed.grid, couple.moving.grid, found.poses[0].linear.scale)
        assert 0.999 * LEAST_ERROR * voxel < predicted.median < 1.25 * LEAST_ERROR * voxel
        # Of three normal errors with one deviation, 95 in 100 are shorter than 1.61 times their root mean square.
        assert np.median(predicted.bound[known]) < 1.7 * 1.25 * LEAST_ERROR * voxel


def test_stacks_of_different_specimens_are_refused() -> None:
    unrelated = volume_pair(seed=3, size=SIZE, specimens=(3, 1003))
    found = register(unrelated.fixed, unrelated.moving, rotation=(0.0, 1.0))
    assert found.status == "refused"
    assert found.verdict.confidence < 0.1


def test_a_start_is_taken_and_improved(pair: VolumePair) -> None:
    nudge = Affine.of(np.eye(3), (0.8, -0.9, 0.7))
    found = register(pair.fixed, pair.moving, start=Affine(pair.moving_from_fixed.matrix @ nudge.matrix))
    assert off(pair, found)[0] < 0.7


def test_the_recipe_with_patches_finds_a_shift() -> None:
    """What it is for; a field of two cells, turned by as much as in the published experiment."""
    pair = volume_pair(seed=2, size=SIZE, rotation=-1.5, mirror=False, flip=False, scale=1.0, tilt=(-2.6, 7.5))
    found = register(pair.fixed, pair.moving, "log-mi-3d")
    assert found.recipe == "log-mi-3d"
    assert found.model in ("rigid", "affine")
    assert found.status == "accepted", found.verdict.reasons
    across, along = off(pair, found)
    assert across < 0.7
    assert along < 1.8


def test_the_recipe_with_patches_does_not_take_a_turned_pair_for_a_shifted_one(pair: VolumePair) -> None:
    assert register(pair.fixed, pair.moving, "log-mi-3d").status == "doubtful"


def test_the_folder_holds_stacks_with_their_spacings(pair: VolumePair, result: Result, tmp_path: Path) -> None:
    with reserve(tmp_path / "out") as folder:
        write_result(folder, result, pair.fixed, pair.moving, grid=0.5)
    out = tmp_path / "out"
    content = json.loads((out / "result.json").read_text())
    assert np.array(content["moving_from_fixed"]["matrix"]).shape == (4, 4)
    stored = read_transform(out / "moving_from_fixed.tfm")
    np.testing.assert_allclose(stored([[1.0, 2, 3]]), result.moving_from_fixed([[1.0, 2, 3]]), atol=1e-9)
    for name in ("registered.ome.tif", "registered.ome.zarr"):
        again = read(out / name)
        assert again.grid.spacing == pytest.approx((0.5, 0.5, 0.5))
        assert again.channels == pair.moving.channels
    with tifffile.TiffFile(out / "registered.ome.tif") as file:
        assert 'PhysicalSizeZ="0.5"' in (file.ome_metadata or "")
    ome: Any = zarr.open_group(str(out / "registered.ome.zarr"), mode="r").attrs["ome"]
    scale = ome["multiscales"][0]["datasets"][0]
    assert scale["coordinateTransformations"][0]["scale"] == [1.0, 0.5, 0.5, 0.5]
    page = (out / "report.html").read_text()
    assert page.count("data:image/png") == 3
    assert "across z" in page
    assert "across x" in page
    assert "Pixels (z × y × x)" in page


def test_a_section_is_found_in_the_stack(pair: VolumePair) -> None:
    """One electron section in the light stack: in its plane to a micrometre, in depth to the axial resolution."""
    number = 120
    section = Image.from_array(np.asarray(pair.fixed.levels[0][0, number]), spacing=0.14)
    found = register(section, pair.moving, rotation=(199.5, 200.5))
    assert isinstance(found.moving_from_fixed, Affine)
    y, x = section.grid.lattice(9).T
    depth = pair.fixed.grid.points([[number, 0, 0]])[0, 0]
    truth = pair.moving_from_fixed(np.column_stack([np.full(len(y), depth), y, x]))
    inside = pair.moving.grid.contains(truth)
    apart = (found.moving_from_fixed(np.column_stack([np.zeros(len(y)), y, x])) - truth)[inside]
    assert np.median(np.linalg.norm(apart[:, 1:], axis=1)) < 1.0
    assert np.median(np.abs(apart[:, 0])) < 1.8


def test_two_images_are_not_volumes() -> None:
    flat = Image.from_array(np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32), spacing=0.1)
    with pytest.raises(UsageError, match="registers stacks or a section and a stack; got two flat images"):
        register(flat, flat, "log-mi-3d")


def test_two_stacks_of_one_slice_are_refused() -> None:
    pixels = np.random.default_rng(0).normal(size=(1, 1, 64, 64)).astype(np.float32)
    alone = Image.from_array(pixels, spacing=(0.3, 0.1, 0.1))
    with pytest.raises(UsageError, match="a single slice"):
        register(alone, alone)


def test_an_unknown_model_is_refused(pair: VolumePair) -> None:
    with pytest.raises(UsageError, match="rigid, similarity, affine"):
        register(pair.fixed, pair.moving, model="projective")
