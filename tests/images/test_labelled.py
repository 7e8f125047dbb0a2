"""Arrays with named axes and coordinates become images that lie where the coordinates say, and the way back."""

from typing import Any

import numpy as np
import pytest

from correlight import Image, register
from correlight.errors import UsageError
from tests.small_pairs import cell

xarray: Any = pytest.importorskip("xarray", reason="xarray is not installed")


def labelled(shape: tuple[int, ...] = (20, 30), dims: tuple[str, ...] = ("y", "x"), **coords: Any) -> Any:
    pixels = np.random.default_rng(0).random(shape)
    return xarray.DataArray(pixels, dims=dims, coords=coords, name="SEM")


def test_coordinates_are_positions_in_micrometres() -> None:
    y, x = 5 + 0.5 * np.arange(20), -3 + 0.25 * np.arange(30)
    image = Image.from_array(labelled(y=y, x=x))
    assert (image.grid.unit, image.grid.spacing, image.grid.origin) == ("micrometre", (0.5, 0.25), (5.0, -3.0))
    assert image.channels == ("SEM",)
    assert image.grid.points(np.array([[4.0, 8.0]])).tolist() == [[y[4], x[8]]]
    in_nm = labelled(y=("y", 1000 * y, {"units": "nm"}), x=("x", 1000 * x, {"unit": "nm"}))
    assert Image.from_array(in_nm).grid.spacing == pytest.approx((0.5, 0.25))
    assert Image.from_array(in_nm, 7.0).grid.spacing == (7.0, 7.0)


@pytest.mark.parametrize(
    "coords",
    [
        {},
        {"y": np.arange(20), "x": np.arange(30)},
        {"x": ("x", np.arange(30.0), {"units": "px"})},
    ],
)
def test_without_coordinates_in_a_unit_there_is_no_pixel_size(coords: dict[str, Any]) -> None:
    assert not Image.from_array(labelled(**coords)).grid.calibrated


def test_pixels_that_were_cut_out_or_binned_stay_pixels_in_their_place() -> None:
    whole = labelled(y=np.arange(20), x=np.arange(30))
    cases = [
        (whole.isel(y=slice(4, 15), x=slice(5, 25)), (1.0, 1.0), (4.0, 5.0)),
        (whole[::2, ::3], (2.0, 3.0), (0.0, 0.0)),
        (whole.coarsen(y=2, x=2).mean(), (2.0, 2.0), (0.5, 0.5)),
        (labelled(y=("y", 10 + 2.0 * np.arange(20), {"units": "pixel"}), x=np.arange(30)), (2.0, 1.0), (10.0, 0.0)),
    ]
    for array, spacing, origin in cases:
        grid = Image.from_array(array).grid
        assert (grid.unit, grid.spacing, grid.origin) == ("pixel", spacing, origin)
    image = Image.from_array(np.zeros((20, 30)) + np.eye(20, 30))
    assert Image.from_array(image.to_xarray().isel(y=slice(3, 9))).grid.origin == (3.0, 0.0)


def test_axes_may_stand_in_any_order_and_name_their_channels() -> None:
    array = labelled((20, 30, 2), ("y", "x", "channel"), channel=["DAPI", "GFP"])
    image = Image.from_array(array)
    assert image.channels == ("DAPI", "GFP")
    np.testing.assert_array_equal(np.asarray(image), np.moveaxis(array.values, -1, 0))
    picture = Image.from_array(labelled((20, 30, 3), ("y", "x", "rgb")))
    assert picture.rgb
    micrometres = {"units": "µm"}
    lines = {
        axis: (axis, step * np.arange(count), micrometres)
        for axis, step, count in (("z", 2.0, 4), ("y", 1.0, 20), ("x", 1.0, 30))
    }
    stack = Image.from_array(labelled((1, 4, 20, 30), ("t", "z", "y", "x"), **lines))
    assert (stack.grid.shape, stack.grid.spacing, stack.grid.calibrated) == ((4, 20, 30), (2.0, 1.0, 1.0), True)
    flat = {**lines, "z": ("z", [7.0], micrometres)}
    assert Image.from_array(labelled((1, 20, 30), ("z", "y", "x"), **flat)).grid.spacing == (1.0, 1.0)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (labelled(dims=("row", "column")), "Axes called y and x"),
        (labelled((3, 20, 30), ("t", "y", "x")), "got t, y, x"),
        (labelled(y=np.arange(20.0)[::-1], x=np.arange(30.0)), "grow by even steps"),
        (labelled(y=np.arange(20.0) ** 2, x=np.arange(30.0)), "grow by even steps"),
        (labelled(y=("y", np.arange(20.0), {"units": "degrees"}), x=np.arange(30.0)), "'degrees'"),
        (labelled(y=0.1 * np.arange(20)), "got y in µm, x in pixels"),
        (labelled(y=0.1 * np.arange(20), x=np.arange(30)), "got y in µm, x in pixels"),
    ],
)
def test_what_is_not_understood_is_said(array: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Image.from_array(array)


def test_there_and_back() -> None:
    y, x = 5 + 0.5 * np.arange(20), -3 + 0.25 * np.arange(30)
    array = labelled((2, 20, 30), ("c", "y", "x"), c=["a", "b"], y=y, x=x)
    back = Image.from_array(array).to_xarray()
    xarray.testing.assert_allclose(array, back.drop_attrs())
    assert back.y.attrs["units"] == "µm"
    masked = Image.from_array(np.ma.masked_less(array.values[0], 0.5)).to_xarray()
    np.testing.assert_array_equal(masked.valid, array.values[0] >= 0.5)
    np.testing.assert_array_equal(Image.from_array(masked).mask, array.values[0] >= 0.5)
    picture = Image.from_array(np.random.default_rng(1).random((20, 30, 3)), 0.5, rgb=True)
    again = Image.from_array(picture.to_xarray())
    assert (again.rgb, again.grid) == (True, picture.grid)
    np.testing.assert_array_equal(np.asarray(again), np.asarray(picture))


def test_a_registration_takes_them_and_gives_them_in_the_frame_of_the_fixed_one() -> None:
    couple = cell(3, data_bar=None, rotation=30.0, mirror=False)
    fixed, moving = couple.fixed.to_xarray(), couple.moving.to_xarray()
    away = fixed.assign_coords(y=fixed.y + 100.0)
    limits: dict[str, Any] = {"rotation": (20.0, 40.0), "mirror": False, "moving_channel": 1}
    result = register(away, moving, **limits)
    assert result
    places = couple.fixed.grid.lattice(5)
    expected = couple.moving_from_fixed(places)
    found = result.transform_points(places + np.array([100.0, 0.0]))
    assert np.linalg.norm(found - expected, axis=1).max() < 1.0
    warped = result.warp().to_xarray()
    np.testing.assert_allclose(warped.y, away.y)
    assert warped.c.values.tolist() == list(couple.moving.channels)
