"""Maps that bend in the files of others: the same points by the other program, whatever the sizes and origins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from correlight.errors import TransformError
from correlight.exchange import ExchangeContext, read_transform, write_file
from correlight.exchange.bspline import joined_spline
from correlight.exchange.elastix import read_elastix, read_transformix, write_transformix
from correlight.geometry import Grid
from correlight.io import read, write_ome_tiff
from correlight.landmarks.tables import PointTable
from correlight.output.apply import apply
from correlight.point_clouds.smooth import SmoothField
from correlight.transforms import Affine, BSplineField, Chain, Displacement, ThinPlate, Transform, VelocityField
from correlight.transforms.bending import bending
from tests.exchange.conftest import Elsewhere
from tests.exchange.test_elastix import TRANSFORMIX

# Images of unlike sizes, and a fixed one whose first pixel does not lie at zero (Borda/BIRL#18).
FIXED = {2: Grid.of((40, 56), (0.5, 0.5), (3.0, -2.0), "micrometre"), 3: Grid.of((14, 20, 26), 0.5, -1.0, "micrometre")}
MOVING = {2: Grid.of((90, 31), 0.7, unit="micrometre"), 3: Grid.of((9, 30, 17), 0.7, unit="micrometre")}
KINDS = ("spline", "flow", "displacement", "landmarks", "clouds", "inverse")


def bump(ndim: int, strength: float = 0.4) -> tuple[Any, Grid]:
    """Numbers on a lattice around the fixed image that vanish at its rim."""
    fixed = FIXED[ndim]
    steps = np.asarray(fixed.extent) / 3
    lattice = Grid.of((12,) * ndim, tuple(steps), tuple(np.asarray(fixed.origin) - 4.2 * steps), fixed.unit)
    numbers = np.zeros((*lattice.shape, ndim))
    part = (slice(3, -3),) * ndim
    numbers[part] = np.random.default_rng(ndim).normal(size=numbers[part].shape) * strength
    return numbers, lattice


def field(kind: str, ndim: int) -> Transform:
    fixed = FIXED[ndim]
    places = fixed.lattice(3)
    pulls = np.random.default_rng(1).normal(size=places.shape)
    if kind == "spline":
        return BSplineField(*bump(ndim))
    if kind == "flow":
        return VelocityField(*bump(ndim))
    if kind == "inverse":
        return BSplineField(*bump(ndim)).inverse()
    if kind == "landmarks":
        return ThinPlate(
            places, {2: 20.0, 3: 1.0}[ndim] * (pulls - pulls.mean(axis=0)), Affine.identity(ndim), max(fixed.extent)
        )
    if kind == "clouds":
        return SmoothField(places, 0.3 * pulls, max(fixed.extent) / 3)
    nodes = fixed.resized((9,) * ndim)
    return Displacement({2: 0.3, 3: 0.1}[ndim] * np.random.default_rng(2).normal(size=(*nodes.shape, ndim)), nodes)


def turned(kind: str, ndim: int) -> Chain:
    linear = np.eye(ndim) + 0.1 * np.random.default_rng(5).normal(size=(ndim, ndim))
    return Chain((field(kind, ndim), Affine.of(1.3 * linear, np.arange(ndim) + 2.0)))


def context(ndim: int) -> ExchangeContext:
    return ExchangeContext(fixed=FIXED[ndim], moving=MOVING[ndim])


@pytest.mark.parametrize(
    ("kind", "ndim", "name"),
    [
        *((kind, 2, name) for kind in KINDS for name in ("a.tfm", "a.h5", "a.zarr")),
        *((kind, 3, name) for kind in ("spline", "flow", "displacement") for name in ("a.tfm", "a.h5", "a.zarr")),
        # What bends at its points takes many nodes in space.
        ("clouds", 3, "a.h5"),
    ],
)
def test_every_field_is_the_same_map_in_its_file(kind: str, ndim: int, name: str, tmp_path: Path) -> None:
    move, points = turned(kind, ndim), FIXED[ndim].lattice({2: 15, 3: 8}[ndim])
    write_file(tmp_path / name, move, context=context(ndim))
    found = read_transform(tmp_path / name, context=context(ndim))
    exact = name != "a.zarr" and kind in ("spline", "flow", "displacement")
    assert np.abs(found(points) - move(points)).max() < (1e-9 if exact else 0.01)
    linear = move.parts[1]
    assert isinstance(linear, Affine)
    assert np.abs(found(points) - linear(points)).max() > 0.2
    if name == "a.zarr":
        return
    # ITK moves points alike, writes the file again, and is read alike.
    judge = sitk.ReadTransform(str(tmp_path / name))
    expected = np.array([judge.TransformPoint(point[::-1].tolist())[::-1] for point in points])
    assert np.abs(found(points) - expected).max() < 1e-9
    sitk.WriteTransform(judge, str(tmp_path / f"again{name}"))
    assert np.abs(read_transform(tmp_path / f"again{name}")(points) - expected).max() < 1e-9


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_field_states_how_exactly_its_inverse_leads_back(kind: str, ndim: int) -> None:
    move, points = turned(kind, ndim), FIXED[ndim].lattice(9)
    linear = move.parts[1]
    assert isinstance(linear, Affine)
    bent = bending(move, linear, points)
    assert not bent.folds
    apart = np.linalg.norm(move.inverse()(move(points)) - points, axis=1).max()
    assert bent.residual == pytest.approx(apart)
    assert bent.residual < 0.02 * 0.5
    moved = np.linalg.norm(field(kind, ndim)(points) - points, axis=1)
    assert (bent.median, bent.greatest) == pytest.approx((np.median(moved), moved.max()), rel=1e-6)
    volumes = np.linalg.det(field(kind, ndim).jacobian(points))
    assert (bent.least_volume, bent.greatest_volume) == pytest.approx((volumes.min(), volumes.max()), rel=1e-6)


@pytest.mark.parametrize("kind", ["spline", "displacement", "landmarks"])
def test_points_and_pixels_go_the_same_way_between_images_of_unlike_sizes(kind: str, tmp_path: Path) -> None:
    # bUnwarpJ and its callers moved points wrongly where image sizes differ.
    fixed = Grid.of((100, 140), 0.5, unit="micrometre")
    moving = Grid.of((190, 96), 0.7, unit="micrometre")
    bent = {
        "spline": BSplineField(*bump(2, 1.0)),
        "displacement": field("displacement", 2),
        "landmarks": field("landmarks", 2),
    }[kind]
    move = Affine.similarity(8, 1.1, source=fixed.centre, target=moving.centre) @ bent
    write_file(tmp_path / "a.h5", move, context=ExchangeContext(fixed=fixed, moving=moving))
    dots = np.array([[78, 45], [95, 50], [112, 36]])
    pixels = np.random.default_rng(0).integers(0, 20, (1, *moving.shape)).astype(np.uint8)
    for y, x in dots:
        pixels[0, y - 1 : y + 2, x - 1 : x + 2] = 250
    write_ome_tiff(tmp_path / "moving.ome.tif", pixels, moving, ["a"])
    ground = np.random.default_rng(1).integers(0, 99, (1, *fixed.shape)).astype(np.uint8)
    write_ome_tiff(tmp_path / "fixed.ome.tif", ground, fixed, ["a"])
    rows = "".join(f"{n},pixel,{y},{x}\n" for n, (y, x) in enumerate(dots))
    (tmp_path / "dots.csv").write_text("name,unit,y,x\n" + rows)
    like = tmp_path / "fixed.ome.tif"
    apply(tmp_path / "a.h5", tmp_path / "moving.ome.tif", like, tmp_path / "moved.tif", moving_spacing=0.7)
    apply(tmp_path / "a.h5", tmp_path / "dots.csv", like, tmp_path / "moved.csv", moving_spacing=0.7)
    shown = np.asarray(read(tmp_path / "moved.tif").levels[0][0]) > 180
    lines = (tmp_path / "moved.csv").read_text().splitlines()[1:]
    for line in lines:
        y, x = (float(value) for value in line.split(",")[2:4])
        near = np.argwhere(shown[round(y) - 6 : round(y) + 7, round(x) - 6 : round(x) + 7]).mean(axis=0) - 6
        middle = np.array([round(y), round(x)]) + near
        assert np.abs(middle - [y, x]).max() < 0.6


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_spline_and_an_affine_map_are_one_spline(ndim: int, tmp_path: Path) -> None:
    move, fixed = turned("flow", ndim), FIXED[ndim]
    write_file(tmp_path / "a.txt", move, "elastix", context(ndim))
    found, points = read_elastix(tmp_path / "a.txt"), fixed.points(np.argwhere(np.ones((5,) * ndim)) * 2.5)
    assert isinstance(found, BSplineField)
    corners = fixed.corners()
    assert np.abs(found(points) - move(points)).max() < 1e-9
    assert np.abs(found(corners) - move(corners)).max() < 1e-9


def test_a_spline_that_ends_within_the_image_is_extended_or_refused() -> None:
    fixed = Grid.of((40, 40), 1.0, unit="micrometre")
    small = Grid.of((9, 9), 3.0, 5.0, "micrometre")
    numbers = np.zeros((9, 9, 2))
    numbers[4, 4] = [1.0, 2.0]
    last = Affine.similarity(10, 1.2)
    points = fixed.lattice(9)
    made = joined_spline(BSplineField(numbers, small), last, fixed)
    assert np.abs(made(points) - last(BSplineField(numbers, small)(points))).max() < 1e-9
    with pytest.raises(TransformError, match="ends within the fixed image"):
        joined_spline(BSplineField(np.ones((9, 9, 2)), small), last, fixed)
    with pytest.raises(TransformError, match="give that image"):
        write_file("a.txt", last @ BSplineField(numbers, small), "elastix")


def test_transformix_moves_points_by_our_fields_as_we_do(tmp_path: Path, with_elastix: Elsewhere) -> None:
    jobs: list[dict[str, Any]] = []
    expected = []
    for ndim in (2, 3):
        for kind, move in (
            ("spline", field("spline", ndim)),
            ("flow", field("flow", ndim)),
            ("both", turned("flow", ndim)),
        ):
            folder = tmp_path / f"{kind}{ndim}"
            folder.mkdir()
            write_file(folder / "TransformParameters.0.txt", move, "elastix", context(ndim))
            points = FIXED[ndim].points(np.random.default_rng(0).random((9, ndim)) * (np.array(FIXED[ndim].shape) - 1))
            write_transformix(folder / "points.txt", PointTable(tuple("abcdefghi"), points, "micrometre"))
            files = {"file": "TransformParameters.0.txt", "points": "points.txt", "out": "."}
            jobs.append({key: str(folder / name) for key, name in files.items()} | {"shape": list(FIXED[ndim].shape)})
            expected.append(move(points))
    with_elastix(TRANSFORMIX, {"jobs": jobs})
    for job, there in zip(jobs, expected, strict=True):
        # transformix writes six decimals.
        assert np.abs(read_transformix(Path(job["out"]) / "outputpoints.txt").points - there).max() < 1e-6, job["out"]


ELASTIX = """
import itk, numpy as np
fixed, moving = (itk.image_from_array(np.load(given[name]).astype("float32")) for name in ("fixed", "moving"))
for image in (fixed, moving):
    image.SetSpacing(given["spacing"])
fixed.SetOrigin(given["origin"])
parameters = itk.ParameterObject.New()
parameters.AddParameterMap(itk.ParameterObject.GetDefaultParameterMap("affine", 2))
parameters.AddParameterMap(itk.ParameterObject.GetDefaultParameterMap("bspline", 2, given["nodes"]))
filter = itk.ElastixRegistrationMethod.New(fixed, moving)
filter.SetParameterObject(parameters)
filter.SetOutputDirectory(given["out"])
filter.SetFixedPointSetFileName(given["points"])
filter.UpdateLargestPossibleRegion()
move = itk.TransformixFilter.New(moving)
move.SetTransformParameterObject(filter.GetTransformParameterObject())
move.SetFixedPointSetFileName(given["points"])
move.SetOutputDirectory(given["out"])
move.UpdateLargestPossibleRegion()
print("1")
"""


@pytest.mark.parametrize("ndim", [2, 3])
def test_fields_that_elastix_found_move_points_as_transformix_does(
    ndim: int, tmp_path: Path, with_elastix: Elsewhere
) -> None:
    rng = np.random.default_rng(0)
    whole = 100 * ndimage.gaussian_filter(rng.normal(size=((110, 100) if ndim == 2 else (40, 48, 52))), 3)
    parts = {2: (np.s_[20:84, 9:89], np.s_[8:98, 14:84]), 3: (np.s_[4:28, 6:38, 5:45], np.s_[2:32, 4:40, 8:40])}[ndim]
    for name, part in zip(("fixed", "moving"), parts, strict=True):
        np.save(tmp_path / f"{name}.npy", whole[part])
    shape = whole[parts[0]].shape
    spacing, origin = [0.5, 0.7, 0.6][:ndim], [4.0, -3.0, 2.0][:ndim]
    grid = Grid.of(shape, tuple(spacing[::-1]), tuple(origin[::-1]), "micrometre")
    points = grid.points(rng.random((12, ndim)) * (np.array(shape) - 1))
    write_transformix(tmp_path / "points.txt", PointTable(tuple("abcdefghijkl"), points, "micrometre"))
    given = {
        "fixed": str(tmp_path / "fixed.npy"),
        "moving": str(tmp_path / "moving.npy"),
        "out": str(tmp_path),
        "points": str(tmp_path / "points.txt"),
        "spacing": spacing,
        "origin": origin,
        "nodes": 3,
    }
    with_elastix(ELASTIX, given)
    found = read_elastix(tmp_path / "TransformParameters.1.txt")
    moved = read_transformix(tmp_path / "outputpoints.txt").points
    assert np.abs(found(points) - moved).max() < 1e-5
    assert np.abs(moved - points).max() > 0.1
