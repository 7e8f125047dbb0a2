"""Where layers lie while results come and go: what lies on an image stays on it, and what is taken back is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari.layers", reason="napari is not installed; make test-napari")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed; make test-napari")

from napari.layers import Image, Labels, Points, Shapes
from napari.layers.utils._link_layers import link_layers

from correlight.errors import UsageError
from correlight.exchange import LandmarkTable, PointTable, read_landmarks
from correlight.geometry import Grid
from correlight.landmarks import estimate
from correlight.napari.applied import Stated, applied
from correlight.napari.by_hand import ByHand
from correlight.napari.files import write_pairs
from correlight.napari.kept import Kept
from correlight.napari.layer_image import image_of
from correlight.napari.layers import companions, stated_spacing, take
from correlight.napari.notes import notes_of
from correlight.napari.outcome import Outcome, outcome_of
from correlight.napari.pairs import Paired, next_number, numbered
from correlight.napari.placing import carry, in_micrometres, steps_into_micrometres
from correlight.napari.start import position_of
from correlight.output.apply.saved import Frames, Saved
from correlight.registration.from_landmarks import from_landmarks

from .conftest import Opened

Open = Callable[..., Opened]
SHAPE = (64, 64)
PIXELS = np.random.default_rng(4).integers(0, 255, SHAPE).astype(np.uint8)
HERE = np.array([[8, 8], [8, 56], [56, 8], [56, 56], [30, 34], [20, 45]], float)
UM: dict[str, Any] = {"scale": (0.1, 0.1), "units": ("um", "um")}


def spline() -> Saved:
    """A map that bends, between two images that were registered in pixels."""
    there = HERE + np.array([[0, 0], [0, 1], [1, 0], [0, 0], [2, 2], [0, 0]])
    found = estimate(HERE, there, "thin-plate").moving_from_fixed
    return Saved(found, Frames(Grid.of(SHAPE), Grid.of(SHAPE), None, None, "accepted"))


def through(layer: Any, saved: Saved, **place: Any) -> tuple[Any, dict[str, Any]]:
    """The data and the looks of a layer after a map onto an image of the same kind."""
    stated = Stated.of(layer), Stated.of(Image(PIXELS, name="fixed", **place))
    done = applied(*stated, saved, lambda stage, fraction: None, to_fixed=True)
    assert done.made is not None
    return done.made[0], done.made[1]


def test_a_layer_in_pixels_lies_where_its_image_was_registered() -> None:
    layer = Labels(np.ones(SHAPE, np.uint8), translate=(40, 25))
    recorded = image_of(take(Image(PIXELS, translate=(40, 25)), "moving"), (), "moving").image.grid
    assert Stated.of(layer).placed(recorded) == recorded
    # With a typed pixel size, it lies as many pixels from the corner.
    typed = image_of(take(Image(PIXELS, translate=(40, 25)), "moving"), (0.5,), "moving").image.grid
    np.testing.assert_allclose(typed.origin, (20.0, 12.5))
    assert Stated.of(layer).placed(typed) == typed


@pytest.mark.parametrize("place", [{}, UM], ids=["pixels", "micrometres"])
def test_a_map_of_pixels_moves_images_of_any_unit(place: dict[str, Any]) -> None:
    square = np.zeros(SHAPE, np.float32)
    square[28:36, 30:38] = 1
    made, _ = through(Image(square, name="square", **place), spline(), **place)
    assert made.sum() == pytest.approx(64, rel=0.15)
    wanted = spline().moving_from_fixed.inverse()([[31.5, 33.5]])[0]
    np.testing.assert_allclose(np.argwhere(made > 0.5).mean(axis=0), wanted, atol=0.5)


def test_points_and_shapes_keep_what_they_are() -> None:
    points = Points(HERE, features={"id": list("abcdef")}, text="{id}", face_color="red", size=3)
    data, looks = through(points, spline())
    assert looks["features"]["id"].tolist() == list("abcdef")
    made = Points(data, **looks)
    assert made.text.values.tolist() == list("abcdef")
    np.testing.assert_allclose(made.face_color[0], [1, 0, 0, 1])
    box = np.array([[20, 20], [20, 50], [40, 50], [40, 20]], float)
    shapes = Shapes([box], shape_type="ellipse", edge_color="blue", features={"kind": ["mitochondrion"]})
    [corners], looks = through(shapes, spline())
    assert looks["features"]["kind"].tolist() == ["mitochondrion"]
    # What the ellipse covers, and not its box.
    y, x = corners.T
    area = abs(np.sum(y * np.roll(x, 1) - x * np.roll(y, 1))) / 2
    assert area == pytest.approx(np.pi * 10 * 15, rel=0.1)
    np.testing.assert_allclose(Shapes([corners], **looks).edge_color[0], [0, 0, 1, 1])


def test_what_lies_on_an_image_stays_on_it_when_that_gets_a_pixel_size() -> None:
    fixed, labels, kept = Image(PIXELS), Labels(np.ones(SHAPE, np.uint8), translate=(3, 4)), Kept()
    before = labels.data_to_world((10, 20))
    grid = Grid.of(SHAPE, 0.02, unit="micrometre")
    kept.keep(fixed, labels)
    steps = steps_into_micrometres(fixed, grid)
    assert steps is not None
    in_micrometres(fixed, grid)
    carry(labels, steps)
    np.testing.assert_allclose(labels.data_to_world((10, 20)), fixed.data_to_world((13, 24)))
    assert labels.units == fixed.units
    # That is no statement of its own pixel size.
    assert stated_spacing(labels) is None
    assert Stated.of(labels).placed(None) == Grid.of(SHAPE, 1.0, (3, 4))
    kept.put_back([fixed, labels])
    assert labels.data_to_world((10, 20)) == before
    assert str(labels.units[0]) == "pixel"


@pytest.mark.parametrize("first", [0, 1])
def test_who_is_taken_back_first_makes_no_difference(first: int) -> None:
    layer, keepers = Image(PIXELS), [Kept(), Kept()]
    for number, keeper in enumerate(keepers):
        keeper.keep(layer)
        layer.affine = np.diag([2.0 + number, 2.0 + number, 1.0])
    keepers[first].put_back([layer])
    assert layer.affine.affine_matrix[0, 0] == (3.0, 2.0)[first]
    keepers[1 - first].put_back([layer])
    assert layer.affine.affine_matrix[0, 0] == 1.0


def by_landmarks(panel: Any, fixed: Any, moving: Any, by: float) -> Outcome:
    """Let a panel show a result that pairs of landmarks make."""
    names = tuple("abcdef")
    pairs = LandmarkTable(PointTable(names, HERE, "pixel"), PointTable(names, HERE + by, "pixel"))
    sides = [image_of(take(layer, "moving"), (0.1,), "moving") for layer in (fixed, moving)]
    done = from_landmarks(sides[0].image, sides[1].image, pairs, "rigid")
    outcome = outcome_of(sides[0], sides[1], done.result, lambda stage, fraction: None, done)
    for _ in panel._registered(outcome):
        pass
    return outcome


def test_results_of_two_panels_come_and_go(opened: Open) -> None:
    it = opened(images=False)
    fixed, first, second = (it.viewer.add_image(PIXELS.copy(), name=name) for name in ("fixed", "first", "second"))
    labels = it.viewer.add_labels(np.ones(SHAPE, np.uint8), name="labels")
    _, other = it.viewer.window.add_plugin_dock_widget("correlight", "Register by landmarks")
    panel = it.panel
    by_landmarks(panel, fixed, first, 2)
    np.testing.assert_allclose(labels.data_to_world((9, 9)), fixed.data_to_world((9, 9)))
    # A second moving image leaves the first one where it lies, and Undo takes back one after the other.
    by_landmarks(panel, fixed, second, 5)
    for layer, by in ((first, 2), (second, 5)):
        np.testing.assert_allclose(layer.data_to_world((9 + by, 9 + by)), fixed.data_to_world((9, 9)), atol=1e-9)
    it.click(panel.undo)
    assert "The result of first stays" in panel.message.value
    assert panel.view is not None
    assert panel.view.moving == (first,)
    assert second.affine.affine_matrix[0, 2] == 0
    # Another panel takes the place of the result, and the first one lets go of it.
    by_landmarks(other, fixed, first, 3)
    assert panel.view is None
    assert panel.after.native.isHidden()
    assert panel.verdict.value == ""
    np.testing.assert_allclose(first.data_to_world((12, 12)), fixed.data_to_world((9, 9)), atol=1e-9)
    # What was applied stays with the image until it is taken back, and then all is as it was.
    _, apply = it.viewer.window.add_plugin_dock_widget("correlight", "Apply a transform")
    labels.affine = [[1, 0, 9], [0, 1, 0], [0, 0, 1]]
    apply.found.value = apply.found.choices[1]
    apply.layer.value, apply.onto.value = labels, fixed
    it.panel = apply
    it.click(apply.apply)
    it.wait()
    np.testing.assert_allclose(labels.data_to_world((12, 12)), fixed.data_to_world((9, 9)), atol=1e-9)
    it.click(other.undo)
    assert str(fixed.units[0]) == "micrometer"
    it.click(apply.back)
    for layer in (fixed, first, second, labels):
        assert str(layer.units[0]) == "pixel", layer.name
        assert layer.data_to_world((5, 5)) == (5, 5), layer.name


def test_one_map_of_the_predicted_error_is_shown_and_goes_with_the_result(opened: Open) -> None:
    it = opened(images=False)
    layers = [it.viewer.add_image(PIXELS.copy(), name=name) for name in ("fixed", "moving")]
    by_landmarks(it.panel, layers[0], layers[1], 2)
    for _ in range(2):
        it.click(it.panel.error)
    assert [layer.name for layer in it.viewer.layers] == ["fixed", "moving", "predicted error, µm"]
    it.click(it.panel.undo)
    assert list(it.viewer.layers) == layers


def test_limits_by_a_turn_are_those_of_one_pair(opened: Open) -> None:
    it = opened(images=False)
    for name in ("one", "two", "three"):
        it.viewer.add_image(PIXELS.copy(), name=name)
    it.panel.rotation.value = "-5, 5"
    it.panel._take_turn(ByHand(Grid.of(SHAPE), Grid.of(SHAPE), 30.0))
    assert (it.panel.rotation.value, it.panel.mirror.value) == ("15.0, 45.0", False)
    it.panel.moving.value = it.viewer.layers["three"]
    assert (it.panel.rotation.value, it.panel.mirror.value) == ("-5, 5", True)


def test_layers_that_are_linked_by_their_looks_only_are_no_channels() -> None:
    first, channel, apart = (Image(PIXELS, name=name, **UM) for name in ("first", "channel", "apart"))
    apart.scale = (0.3, 0.3)
    link_layers([first, apart], ("contrast_limits",))
    among = [first, channel, apart]
    assert companions(first, among) == (first,)
    [said] = notes_of(Image(PIXELS), first, among, placed=False)
    assert said.startswith("channel has the shape and the place of first")
    link_layers([first, channel])
    assert companions(first, among) == (first, channel)
    assert notes_of(Image(PIXELS), first, among, placed=False) == []


@pytest.mark.parametrize(("unit", "micrometres"), [("nanometer", 0.001), ("mm", 1000.0)])
def test_pairs_are_written_in_micrometres_whatever_the_layers_count(
    unit: str, micrometres: float, tmp_path: Any
) -> None:
    options = {"units": (unit, unit), "scale": (2.0, 2.0), "translate": (1.0, 0.0)}
    write_pairs(str(tmp_path / "pairs.csv"), [(HERE, options, "points")] * 2)
    table = read_landmarks(tmp_path / "pairs.csv")
    assert table.fixed.unit == "micrometre"
    np.testing.assert_allclose(table.fixed.points, (HERE * 2 + [1, 0]) * micrometres)


def test_landmarks_keep_their_numbers() -> None:
    assert numbered([1, 2, 3, 3, np.nan], [1]).tolist() == [1, 2, 3, 4, 5]
    # Set again after it was deleted, a landmark is the one that the other image still has.
    assert next_number([1, 3], [1, 2, 3]) == 2
    pairs = Paired.of([np.array([3, 1]), np.array([1, 2, 3])], [HERE[:2], HERE[:3]])
    assert pairs.numbers == (1, 3)
    np.testing.assert_array_equal(pairs.fixed, HERE[[1, 0]])
    np.testing.assert_array_equal(pairs.moving, HERE[[0, 2]])
    assert pairs.alone == ("2 in the moving image only",)


def test_pixels_that_cannot_be_written_are_converted_or_refused() -> None:
    def read(pixels: Any) -> Any:
        return image_of(take(Image(pixels, name="odd", multiscale=False), "moving"), (), "moving").image.levels[0]

    for kind, wanted in ((np.float16, np.float32), (np.int64, np.int32), (np.uint64, np.int32)):
        found = read(PIXELS.astype(kind))
        assert found.dtype == wanted
        np.testing.assert_array_equal(found[0], PIXELS)
    with pytest.raises(UsageError, match="odd has values beyond"):
        read(PIXELS * 1e300)
    array = pytest.importorskip("dask.array")
    lazy = array.from_array(PIXELS)
    with np.errstate(invalid="ignore"):
        unknown = Image(lazy[lazy[:, 0] > 9], name="odd", multiscale=False, contrast_limits=(0, 255))
    with pytest.raises(UsageError, match="does not know yet how many pixels"):
        take(unknown, "moving")


def test_a_flat_image_begins_in_the_slice_in_which_it_is_seen() -> None:
    stack = Image(np.zeros((5, *SHAPE)), scale=(2, 0.1, 0.1), units=("um",) * 3)
    plane = Grid.of(SHAPE, 0.1, unit="micrometre")
    space = Grid.of((5, *SHAPE), (2, 0.1, 0.1), unit="micrometre")
    start = position_of(stack, 6.0).to(space) @ position_of(Image(PIXELS, **UM), 6.0).to(plane).inverse()
    np.testing.assert_allclose(start([[0.0, 1.0, 2.0]]), [[6.0, 1.0, 2.0]])
