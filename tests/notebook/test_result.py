"""What Python and notebooks are given: results that know their images."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import correlight
from correlight import Image, features, from_landmarks, register, warp
from correlight.cli import main
from correlight.errors import UsageError
from correlight.evidence.verdict import Verdict
from correlight.geometry import Grid
from correlight.images.fingerprint import fingerprint
from correlight.io import read
from correlight.landmarks import fit
from correlight.landmarks.synthetic import landmarks_of
from correlight.notebook.result import ResultWithImages
from correlight.registration.options import as_image
from correlight.simulate.write import write_pair
from correlight.transforms import Affine
from tests.small_pairs import cell

OF_NUMPY: dict[str, Any] = {"rotation": np.array([20, 40]), "mirror": np.False_}
LIMITS: dict[str, Any] = {"rotation": (20.0, 40.0), "mirror": False, "moving_channel": 1}


@pytest.fixture(scope="module")
def couple():
    return cell(3, data_bar=None, rotation=30.0, mirror=False)


@pytest.fixture(scope="module")
def result(couple) -> ResultWithImages:
    fixed, moving = (
        Image.from_array(np.asarray(one), one.grid.spacing, one.channels) for one in (couple.fixed, couple.moving)
    )
    return register(fixed, moving, **LIMITS)


@pytest.fixture(scope="module")
def refused() -> ResultWithImages:
    rng = np.random.default_rng(0)
    one, other = (rng.random((48, 48)) for _ in range(2))
    return register(one, other, rotation=(0.0, 5.0), mirror=False)


def test_arrays_with_pixel_sizes_give_the_same_as_images(couple, result) -> None:
    arrays = np.asarray(couple.fixed)[0], np.asarray(couple.moving)
    sizes = couple.fixed.grid.spacing[0], couple.moving.grid.spacing
    found = register(*arrays, fixed_spacing=sizes[0], moving_spacing=sizes[1], **LIMITS)
    places = couple.fixed.grid.lattice(5)
    np.testing.assert_allclose(found.transform_points(places), result.transform_points(places), rtol=0, atol=1e-9)


def test_a_pixel_size_that_is_given_replaces_that_of_an_image(couple) -> None:
    given = as_image("fixed", couple.fixed, 7.0)
    assert given.grid.spacing == (7.0, 7.0)
    assert given.source["spacing_source"] == "given by the caller"
    assert as_image("fixed", couple.fixed, None) is couple.fixed
    with pytest.raises(UsageError, match="fixed image"):
        as_image("fixed", couple.fixed, -1.0)


@pytest.mark.parametrize("given", ["em.tif", None, np.zeros((8, 8, 3)), [[1, 2], [3]], np.zeros((64, 64), complex)])
def test_what_is_no_image_is_refused_by_its_role(given) -> None:
    with pytest.raises(UsageError, match="moving image"):
        register(np.zeros((64, 64)), given)


def test_a_result_says_itself_in_a_line(result, refused) -> None:
    assert repr(result).startswith(f"<accepted, confidence {result.confidence:.2f}, ")
    assert "predicted error" in repr(result)
    assert repr(refused).startswith("<refused")
    # A figure invites use, and of a refused result there is nothing to use.
    assert "predicted error" not in repr(refused)


def test_points_go_there_and_back(result) -> None:
    places = np.array([[1.0, 2.0], [3.0, 1.0]])
    there = result.transform_points(places)
    np.testing.assert_array_equal(there, result.moving_from_fixed(places))
    np.testing.assert_allclose(result.transform_points(there, to="fixed"), places, atol=1e-9)
    assert result.transform_points([1.0, 2.0]).shape == (1, 2)
    with pytest.raises(UsageError, match="2 coordinates"):
        result.transform_points([[1.0, 2.0, 3.0]])
    with pytest.raises(UsageError, match="'moving' or 'fixed'"):
        result.transform_points(places, to="light")  # type: ignore[arg-type]


def test_the_moving_image_comes_on_the_fixed_pixels(result) -> None:
    fixed, moving = result.images
    moved = result.warp()
    values, covered = warp(moving, moving.grid, result.moving_from_fixed, fixed.grid)
    np.testing.assert_array_equal(np.asarray(moved), values)
    np.testing.assert_array_equal(moved.valid(), covered)
    assert (moved.grid, moved.channels) == (fixed.grid, moving.channels)


def test_another_channel_and_another_pixel_size_move_likewise(result) -> None:
    fixed, moving = result.images
    labels = Image.from_array((np.asarray(moving)[0] > 100).astype(np.uint8) * 7, moving.grid.spacing)
    moved = result.warp(labels, grid=2 * fixed.grid.spacing[0], order="nearest")
    assert set(np.unique(np.asarray(moved))) <= {0, 7}
    assert moved.grid.spacing == pytest.approx([2 * step for step in fixed.grid.spacing])


def test_nothing_moves_by_a_refused_result(refused) -> None:
    with pytest.raises(UsageError, match="refused"):
        refused.warp()


def test_saving_writes_the_folder_of_the_command_line(couple, tmp_path) -> None:
    files = write_pair(tmp_path, couple)
    found = register(read(files.fixed), read(files.moving), **LIMITS)
    saved = found.save(tmp_path / "python")
    options = ["--rotation", "20..40", "--no-mirror", "--moving-channel", "1", "-o", str(tmp_path / "shell")]
    assert main(["register", str(files.fixed), str(files.moving), *options]) == 0
    assert {path.name for path in saved.iterdir()} == {path.name for path in (tmp_path / "shell").iterdir()}
    written = ("moving_from_fixed.tfm", "overlay.png", "registered.ome.tif", "footprint.tif", "predicted_error.tif")
    for name in written:
        assert (saved / name).read_bytes() == (tmp_path / "shell" / name).read_bytes(), name
    record = json.loads((saved / "result.json").read_text(encoding="utf-8"))
    assert record["confidence"] == found.confidence
    with pytest.raises(UsageError, match="exists"):
        found.save(saved)


def test_landmarks_made_of_a_result_give_it_back(result) -> None:
    table = result.to_landmarks(4)
    fixed, moving = result.images
    assert moving.grid.contains(table.moving.points).all()
    assert 2 < len(table.fixed.points) <= 16
    again = fit(table.fixed.points, table.moving.points, "affine")
    places = fixed.grid.lattice(3)
    # They lie on steps of a ten-millionth of each image.
    exact = 2e-7 * max(moving.grid.extent)
    np.testing.assert_allclose(again(places), result.moving_from_fixed(places), rtol=0, atol=exact)


@pytest.mark.parametrize(
    ("count", "shift", "words"), [(1, 0.0, "from 2"), (5.0, 0.0, "from 2"), (5, 99.0, "nothing in common")]
)
def test_landmarks_that_cannot_be_made_are_refused(count, shift, words) -> None:
    grid = Grid.of((10, 10))
    with pytest.raises(UsageError, match=words):
        landmarks_of(Affine.of(np.eye(2), (shift, shift)), grid, grid, count)


def test_a_notebook_shows_image_and_result(result, refused) -> None:
    shown = result._repr_html_()
    assert shown.count("data:image/png;base64,") == 1
    assert "accepted" in shown
    for reason in refused.verdict.reasons:
        assert reason.split("(")[0].split("<")[0] in refused._repr_html_()
    image = Image.from_array(np.arange(4000.0).reshape(50, 80), 0.25, channels=["a <b>"])
    assert "50 x 80 pixels (y, x), float64, 0.25 µm per pixel; a &lt;b&gt;" in image._repr_html_()
    stack = Image.from_array(np.zeros((1, 3, 40, 40), np.uint16), (0.5, 0.1, 0.1))
    assert "3 x 40 x 40 pixels (z, y, x), uint16, 0.5 x 0.1 x 0.1 µm per pixel" in stack._repr_html_()


def test_plots_and_tables(result) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    pytest.importorskip("pandas")
    matplotlib.use("Agg")
    axes = result.plot()
    assert axes.get_title().startswith("accepted")
    np.testing.assert_array_equal(axes.images[0].get_array(), result.overlay())
    assert result.plot(axes) is axes
    table = result.evidence_table()
    assert list(table["name"]) == [one.name for one in result.verdict.evidence]
    assert len(result.poses_table()) == len(result.poses)


def test_a_package_that_is_missing_is_named(result, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UsageError, match=r"correlight\[notebook\]"):
        result.evidence_table()


def test_a_result_without_images_says_so(result) -> None:
    from dataclasses import replace

    with pytest.raises(UsageError, match="does not hold its images"):
        replace(result, images=None).warp()


def test_help_starts_at_the_public_function() -> None:
    assert "fixed_spacing" in str(__import__("inspect").signature(correlight.register))
    assert str(correlight.register.__doc__).startswith("Register the moving image")


def test_a_further_channel_lies_on_the_pixels_of_the_moving_image(result) -> None:
    moving = result.images[1]
    expected = result.warp()
    # The same image of a file that states no pixel size, or as an array.
    for given in (Image.from_array(np.asarray(moving)), np.asarray(moving)):
        moved = result.warp(given)
        np.testing.assert_array_equal(np.asarray(moved), np.asarray(expected))
    with pytest.raises(UsageError, match="another shape states none"):
        result.warp(np.asarray(moving)[0, :-1])


def test_pixels_do_not_become_micrometres(refused) -> None:
    # As if it had been accepted: what counts is that no image states a size.
    told = replace(refused, verdict=replace(refused.verdict, status="doubtful"))
    moving = told.images[1]
    found = told.warp(moving.with_spacing(0.1, "a test"))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(told.warp()))


def test_an_array_that_has_changed_is_noticed(couple, tmp_path) -> None:
    fixed, moving = np.asarray(couple.fixed)[0].copy(), np.asarray(couple.moving)[1].copy()
    changed = register(fixed, moving, **OF_NUMPY)
    assert "<img" in changed._repr_html_()
    moving[5, 5] += 1
    for use in (changed.warp, changed.overlay, lambda: changed.save(tmp_path / "out")):
        with pytest.raises(UsageError, match="moving image has changed"):
            use()
    assert not list(tmp_path.iterdir())
    assert "moving image has changed" in changed._repr_html_()


def test_pixels_are_told_apart_by_every_value_their_type_and_their_shape() -> None:
    values = np.arange(64.0).reshape(8, 8)
    prints = {fingerprint(Image.from_array(one)) for one in (values, values.T, values.astype(np.float32), values[None])}
    assert len(prints) == 3  # one channel or a flat array are the same
    assert fingerprint(Image.from_array(np.asfortranarray(values))) == fingerprint(Image.from_array(values))


@pytest.mark.parametrize(
    "use",
    [
        lambda result: result.warp("light.tif"),
        lambda result: result.warp(grid="none"),
        lambda result: result.warp(order=None),
        lambda result: result.save("out", grid="bogus"),
        lambda result: result.save("out", grid=None),
        lambda result: result.save(None),
        lambda result: result.save(b"x"),
        lambda result: result.transform_points([["a", 1]]),
        lambda result: result.transform_points([[1, 2], [3]]),
        lambda result: result.to_landmarks("5"),
        lambda result: result.plot(3),
        lambda result: result.figure(3),
        lambda result: result.figure("a.png", region=(1, 2, 3)),
        lambda result: result.figure("a.png", region="0,5,0,5"),
        lambda result: result.figure("a.png", longest=0),
        lambda result: result.figure("a.png", longest=1.5),
        lambda result: result.figure("a.png", channels="DAPI"),
        lambda result: result.figure("a.png", colours="puce"),
        lambda result: replace(result, verdict=Verdict("refused", 0.0, ())).transform_points([[1, 2]]),
        lambda result: from_landmarks(result.images[0], result.images[1], "pairs.csv"),  # type: ignore[arg-type]
        lambda result: features("em.tif"),
        lambda result: read(None),  # type: ignore[arg-type]
        lambda result: register(np.zeros((64, 64)), np.zeros((64, 64)), mirror="no"),  # type: ignore[arg-type]
        lambda result: Image.from_array(np.zeros((2, 64, 64)), channels=["DAPI", "DAPI"]),
    ],
)
def test_wrong_arguments_end_in_a_sentence(use, result) -> None:
    with pytest.raises(UsageError):
        use(result)


def test_an_option_that_there_is_not_is_refused_with_the_one_that_is_meant() -> None:
    pixels: Any = np.zeros((64, 64))
    for use, name, said in (
        (register, "fixed_pixel_size", r"^register has no option 'fixed_pixel_size'; did you mean 'fixed_spacing'\?$"),
        (from_landmarks, "xyz", "^from_landmarks has no option 'xyz'; it takes fixed, moving, landmarks, "),
    ):
        wrong: Any = {name: 1}
        with pytest.raises(UsageError, match=said):
            use(pixels, pixels, pixels, **wrong)


@pytest.mark.parametrize("size", [1e-30, 1e30, 10**400, True, b"1", "0.1", "abc", [], [[0.1]], [0.1, 0.1, 0.1], -1])
def test_a_pixel_size_that_nobody_means_is_refused(size) -> None:
    image = Image.from_array(np.zeros((8, 8)), 1)
    for made in (lambda: Image.from_array(np.zeros((8, 8)), size), lambda: image.with_spacing(size, "a test")):
        with pytest.raises(UsageError, match="pixel size is"):
            made()


def test_a_refused_result_makes_no_landmarks(refused) -> None:
    with pytest.raises(UsageError, match="was refused"):
        refused.to_landmarks()


def test_a_result_draws_a_figure_of_itself(couple, result, refused, tmp_path) -> None:
    made = result.figure(tmp_path / "a.tif", channels=["0", "2"], colours=["cyan"])
    drawn = read(made)
    assert drawn.rgb
    assert drawn.grid.shape[1] == couple.fixed.grid.shape[1]
    with pytest.raises(UsageError, match="allow it to be overwritten"):
        result.figure(made)
    with pytest.raises(UsageError, match="refused"):
        refused.figure(tmp_path / "b.png")
    with pytest.raises(UsageError, match=r"ending in \.png"):
        result.figure(tmp_path / "b.gif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
