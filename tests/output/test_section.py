"""A section registered in a stack: the pixels that are written, and the picture that is shown, in both orders."""

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from correlight.errors import UsageError
from correlight.exchange.table import read_points, write_points
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.resample import warp
from correlight.io import read, write_ome_tiff
from correlight.landmarks.tables import PointTable
from correlight.output.apply import apply, read_saved
from correlight.output.folder import write_result
from correlight.output.report.volumes import cuts_through, section_cut
from correlight.output.section import filling
from correlight.output.target import reserve
from correlight.transforms import Chain, Displacement
from tests.stack_and_section import SECTION, STACK, known, stack_and_section, stack_from_section

TILTS = (0.0, 4.0, 12.0)


def written(out: Path, fixed: Image, moving: Image, transform: Any, grid: Any = "fixed") -> Path:
    with reserve(out, overwrite=True) as folder:
        write_result(folder, known(fixed, moving, transform), fixed, moving, grid=grid)
    return out


@pytest.mark.parametrize("tilt", TILTS)
def test_the_stack_is_cut_along_the_plane_of_a_fixed_section(tilt: float, tmp_path: Path) -> None:
    stack, section = stack_and_section(tilt)
    out = written(tmp_path / "out", section, stack, stack_from_section(tilt))
    registered = read(out / "registered.ome.tif")
    assert registered.ndim == 2
    assert registered.grid.shape == SECTION.shape
    assert registered.grid.spacing == pytest.approx(SECTION.spacing)
    assert registered.channels == ("dye",)
    footprint = tifffile.imread(out / "footprint.tif") == 1
    assert footprint.shape == SECTION.shape
    # The section was made by interpolating the stack along its plane, so what is cut out of it is the section again.
    apart = np.abs(registered.levels[0][0].astype(int) - section.levels[0][0])
    assert footprint.mean() > 0.99
    assert apart[footprint].max() <= 1


@pytest.mark.parametrize("tilt", TILTS)
def test_a_moving_section_fills_the_slices_that_it_lies_in(tilt: float, tmp_path: Path) -> None:
    stack, section = stack_and_section(tilt)
    out = written(tmp_path / "out", stack, section, stack_from_section(tilt).inverse())
    registered = tifffile.imread(out / "registered.ome.tif")
    footprint = tifffile.imread(out / "footprint.tif") == 1
    assert registered.shape == footprint.shape == STACK.shape
    assert np.array_equal(registered > 0, footprint)
    # Every column that meets the section meets it once, and together they have its area as seen along z.
    met = footprint.sum(axis=0)
    assert met.max() == 1
    seen = SECTION.extent[0] * SECTION.extent[1] * np.cos(np.radians(tilt))
    assert met.sum() * STACK.spacing[1] * STACK.spacing[2] == pytest.approx(seen, rel=0.04)
    # Each voxel shows what the section has at the nearest place of its plane.
    index = np.argwhere(footprint)
    places = stack_from_section(tilt).inverse()(STACK.points(index))
    assert np.abs(places[:, 0]).max() <= STACK.spacing[0] / 2 + 1e-6
    nearest = np.clip(np.rint(SECTION.index(places[:, 1:])).astype(int), 0, np.asarray(SECTION.shape) - 1)
    expected = section.levels[0][0][nearest[:, 0], nearest[:, 1]].astype(float)
    found = registered[footprint].astype(float)
    assert np.corrcoef(found, expected)[0, 1] > 0.99
    assert np.array_equal(read(out / "registered.ome.zarr").levels[0][0], registered)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_picture_shows_the_section_and_the_stack_on_its_plane(swapped: bool, tmp_path: Path) -> None:
    stack, section = stack_and_section()
    transform = stack_from_section()
    order = (stack, section, transform.inverse()) if swapped else (section, stack, transform)
    three = [image if image.ndim == 3 else one(image) for image in order[:2]]
    cut = section_cut(three[0], three[1], order[2], (0, 0))
    assert cut.fixed.shape == cut.moving.shape == SECTION.shape
    assert cut.pixel == pytest.approx(0.08)
    assert cut.covered.mean() > 0.99
    for side in (cut.fixed, cut.moving):
        apart = np.abs(side.astype(int) - section.levels[0][0])
        assert np.mean(apart <= 1) > 0.99
    out = written(tmp_path / "out", *order)
    picture = np.asarray(cv2.imread(str(out / "overlay.png")))
    assert picture.shape == (*SECTION.shape, 3)
    # Both are dense: the fixed image in magenta and the moving one in green, grey where they agree, and not black.
    assert np.median(picture.max(axis=2)) > 60
    for shown, side in ((picture[..., 2], cut.fixed), (picture[..., 1], cut.moving)):
        assert np.corrcoef(shown[:60].ravel(), side[:60].ravel())[0, 1] > 0.98
    page = (out / "report.html").read_text()
    assert "the plane of the section" in page
    assert page.count("data:image/png") == (4 if swapped else 1)
    titles = [cut.title for cut in cuts_through(three[0], three[1], order[2], (0, 0))]
    assert len(titles) == (4 if swapped else 1)


def one(section: Image) -> Image:
    pixels = np.asarray(section.levels[0])[:, None]
    return Image.from_array(pixels, spacing=(0.4, *section.grid.spacing))


def test_planes_across_a_moving_section_meet_it() -> None:
    stack, section = stack_and_section()
    cuts = cuts_through(stack, one(section), stack_from_section().inverse(), (0, 0))
    assert [cut.covered.any() for cut in cuts] == [True] * 4
    across_z = cuts[1]
    # The stack leans by 4 degrees, so that a plane across z meets the section in a broad band only.
    assert 0.05 < across_z.covered.mean() < 0.5


@pytest.mark.parametrize("grid", ["moving", 0.2])
def test_a_section_stays_a_plane_on_every_grid(grid: object, tmp_path: Path) -> None:
    stack, section = stack_and_section()
    out = written(tmp_path / "out", section, stack, stack_from_section(), grid)
    registered = read(out / "registered.ome.tif")
    assert registered.ndim == 2
    assert registered.grid.spacing == pytest.approx((0.1, 0.1) if grid == "moving" else (0.2, 0.2), rel=0.02)
    assert (registered.levels[0][0] > 0).mean() > 0.95


def test_a_section_is_as_thick_as_the_slices_even_if_it_stands_on_edge() -> None:
    upright = stack_from_section(tilt=90.0, rotation=0.0).inverse()
    thick = filling(Grid((1, *SECTION.shape), (9.0, *SECTION.spacing), (0.0, 0.0, 0.0), "micrometre"), upright, STACK)
    assert thick.spacing == pytest.approx((0.1, 0.08, 0.08))


def test_colours_of_a_section_stay_colours(tmp_path: Path) -> None:
    stack, section = stack_and_section()
    grey = (np.asarray(section.levels[0][0]) // 256).astype(np.uint8)
    colours = Image.from_array(np.stack([grey, 255 - grey, grey // 2]), spacing=SECTION.spacing, rgb=True)
    out = written(tmp_path / "out", stack, colours, stack_from_section().inverse())
    registered = read(out / "registered.ome.tif")
    assert registered.levels[0].shape == (3, *STACK.shape)
    covered = tifffile.imread(out / "footprint.tif") == 1
    total = registered.levels[0][0][covered].astype(int) + registered.levels[0][1][covered]
    assert np.abs(total - 255).max() <= 1


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("source", ["out", "out/moving_from_fixed.tfm", "alone.tfm"])
def test_apply_moves_what_registration_moved(swapped: bool, source: str, tmp_path: Path) -> None:
    stack, section = stack_and_section()
    for name, image in (("stack.ome.tif", stack), ("section.ome.tif", section)):
        write_ome_tiff(tmp_path / name, image.levels[0], image.grid, image.channels)
    names = ("stack.ome.tif", "section.ome.tif") if swapped else ("section.ome.tif", "stack.ome.tif")
    fixed, moving = (read(tmp_path / name) for name in names)
    transform = stack_from_section().inverse() if swapped else stack_from_section()
    out = written(tmp_path / "out", fixed, moving, transform)
    (tmp_path / "alone.tfm").write_bytes((out / "moving_from_fixed.tfm").read_bytes())
    moved = apply(tmp_path / source, tmp_path / names[1], tmp_path / names[0], tmp_path / "again.ome.tif")
    for made, kept in zip(moved.files, ("registered.ome.tif", "footprint.tif"), strict=True):
        assert np.array_equal(tifffile.imread(made), tifffile.imread(out / kept))


def test_points_go_between_a_section_and_a_stack(tmp_path: Path) -> None:
    stack, section = stack_and_section()
    for name, image in (("stack.ome.tif", stack), ("section.ome.tif", section)):
        write_ome_tiff(tmp_path / name, image.levels[0], image.grid, image.channels)
    fixed, moving = read(tmp_path / "section.ome.tif"), read(tmp_path / "stack.ome.tif")
    out = written(tmp_path / "out", fixed, moving, stack_from_section())
    seen = np.array([[1.0, 2.0], [3.5, 4.5]])
    write_points(tmp_path / "seen.csv", PointTable(("a", "b"), seen, "micrometre"))
    like = tmp_path / "section.ome.tif"
    there = apply(out, tmp_path / "seen.csv", like, tmp_path / "there.csv", points_in="fixed")
    found = read_points(there.files[0])
    expected = stack_from_section()(np.column_stack([np.zeros(2), seen]))
    assert found.points == pytest.approx(expected, abs=1e-9)
    back = apply(out, there.files[0], like, tmp_path / "back.csv")
    assert read_points(back.files[0]).points[:, 1:] == pytest.approx(seen, abs=1e-9)
    assert back.outside == ()
    with (tmp_path / "back.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["error"]) for row in rows] == pytest.approx([0.05, 0.05], rel=1e-3)


def test_a_bent_transform_is_shown_and_written_as_well(tmp_path: Path) -> None:
    """Fields of displacements are transforms like others: nothing may ask them for a matrix."""
    stack, section = stack_and_section(0.0)
    straight = stack_from_section(0.0)
    nodes = Grid.of((2, 4, 4), (0.4, 2.4, 2.9), (-0.2, 0.0, 0.0), "micrometre")
    bend = 0.05 * np.sin(np.arange(nodes.shape[0] * 16 * 3)).reshape(*nodes.shape, 3)
    bent = Chain((Displacement(bend, nodes), straight))
    out = written(tmp_path / "out", section, stack, bent)
    expected, _ = warp(stack, stack.grid, bent, Grid((1, *SECTION.shape), (0.4, 0.08, 0.08), (0, 0, 0), "micrometre"))
    assert np.array_equal(tifffile.imread(out / "registered.ome.tif"), expected[0, 0])
    moved = apply(
        out, save(tmp_path / "stack.ome.tif", stack), save(tmp_path / "s.ome.tif", section), tmp_path / "a.tif"
    )
    apart = tifffile.imread(moved.files[0]).astype(int) - expected[0, 0]
    assert np.abs(apart).max() <= 2
    assert read_saved(out).moving_from_fixed.ndim == 3


def save(path: Path, image: Image) -> Path:
    write_ome_tiff(path, image.levels[0], image.grid, image.channels)
    return path


def test_a_picture_in_place_of_a_stack_is_refused(tmp_path: Path) -> None:
    stack, section = stack_and_section()
    files = save(tmp_path / "stack.ome.tif", stack), save(tmp_path / "section.ome.tif", section)
    out = written(tmp_path / "out", *(read(path) for path in files[::-1]), stack_from_section())  # type: ignore[call-arg]
    other = save(tmp_path / "other.ome.tif", Image.from_array(stack.levels[0][0, 3], spacing=0.1))
    with pytest.raises(UsageError, match=r"a stack of 20 slices, and .*other\.ome\.tif is a flat image"):
        apply(out, other, files[1], tmp_path / "a.tif")
    (tmp_path / "alone.tfm").write_bytes((out / "moving_from_fixed.tfm").read_bytes())
    with pytest.raises(UsageError, match="both images are flat"):
        apply(tmp_path / "alone.tfm", other, files[1], tmp_path / "a.tif")
    assert not list(tmp_path.glob("*a.tif*"))
