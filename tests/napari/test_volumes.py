"""What napari cannot show by an affine transform is resampled where it is looked at: bent images and tilted stacks."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("napari.layers", reason="napari is not installed; make test-napari")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed; make test-napari")

from correlight.geometry import Grid
from correlight.images.display import COLOURS
from correlight.images.image import Image
from correlight.images.resample import warp
from correlight.napari.layer_data import layer_data
from correlight.napari.layer_image import LayerImage
from correlight.napari.outcome import bent
from correlight.napari.placing import is_shown_by_affine, resampled
from correlight.output.report import viewer
from correlight.simulate import pair
from correlight.transforms import Affine
from tests.phantoms import bend
from tests.small_pairs import section, stacks

from .conftest import Opened, pixels, press_key

Open = Callable[..., Opened]
RNG = np.random.default_rng(4)


def test_blocks_are_what_the_whole_would_be() -> None:
    image = Image.from_array(RNG.integers(0, 255, (2, 1500, 1300)).astype(np.uint8), 0.1)
    onto = Grid.of((1400, 1600), 0.09, unit="micrometre")
    turn = Affine.similarity(20.0, source=(60, 60))
    [lazy] = resampled(image, 1, turn, onto)
    whole = warp(image, image.grid, turn, onto)[0][1]
    assert lazy.numblocks == (2, 2)
    np.testing.assert_array_equal(np.asarray(lazy), whole)


def test_colours_come_last_and_large_planes_have_levels() -> None:
    colours = Image.from_array(RNG.integers(0, 255, (3, 64, 64)).astype(np.uint8), 0.1, rgb=True)
    levels = resampled(colours, None, Affine.identity(), Grid.of((6000, 5000), 0.001, unit="micrometre"))
    assert [level.shape for level in levels] == [(6000, 5000, 3), (3000, 2500, 3)]
    np.testing.assert_array_equal(
        np.asarray(resampled(colours, None, Affine.identity(), colours.grid)[0])[5, 7], colours.levels[0][:, 5, 7]
    )


def test_a_section_and_its_stack_are_laid_either_way() -> None:
    couple = section()
    flat, stack = (LayerImage(image, {0: None}, 0) for image in (couple.fixed, couple.moving))
    cut = bent(flat, stack, couple.moving_from_fixed)
    assert cut.grid == couple.fixed.grid
    assert cut.levels[0][0].shape == couple.fixed.grid.shape
    filled = bent(stack, flat, couple.moving_from_fixed.inverse())
    assert filled.grid == couple.moving.grid
    # Where the section reaches, a column of the stack meets it in one slice.
    met = (np.asarray(filled.levels[0][0]) > 0).sum(axis=0)
    assert (met == 1).mean() > 0.2
    assert (met > 1).mean() < 0.01


def test_a_tilt_out_of_the_slices_is_not_left_to_napari(opened: Open) -> None:
    tilted = np.eye(4)
    tilted[0, 1] = 0.1
    it = opened()
    layers = [it.viewer.add_image(np.zeros((4, 8, 8)), name=name) for name in ("a", "b")]
    assert is_shown_by_affine(Affine(np.eye(4)), layers)
    assert not is_shown_by_affine(Affine(tilted), layers)
    assert not is_shown_by_affine(Affine(np.eye(4)), list(it.viewer.layers)[:1])


@pytest.mark.slow
def test_a_field_from_layers_to_overlay_in_the_colours_of_the_report(opened: Open) -> None:
    made = pair("cell", seed=3, electron_shape=(224, 224), light_shape=(96, 96), data_bar=False).fixed
    truth = Affine.similarity(20.0, 1.0, source=made.grid.centre) @ bend(made.grid, 3, 4.0)
    values, covered = warp(made, made.grid, truth, made.grid)
    fixed = replace(made, levels=(values,), mask=covered)
    it = opened(images=False, show=True)
    for image, name in ((fixed, "fixed"), (made, "moving")):
        for data, options, _ in layer_data(image, name):
            it.viewer.add_image(data, **options)
    it.panel.moving.value = it.viewer.layers["moving"]
    it.panel.model.value, it.panel.mirror.value = "elastic", False
    it.panel.rotation.value, it.panel.scale.value = "15, 25", "0.98, 1.02"
    it.click(it.panel.start)
    it.wait()
    assert it.panel.view is not None, it.panel.message.value
    outcome = it.panel.view.outcome
    assert outcome.result.model == "elastic", it.panel.verdict.value
    layer = it.viewer.layers["moving registered"]
    whole, reached = warp(made, made.grid, outcome.result.moving_from_fixed, fixed.grid, mask=made.mask)
    np.testing.assert_array_equal(layer.data, whole[0])
    assert it.viewer.layers.selection.active is layer
    # One colour means one image, here and in the report.
    told = viewer.prepare(outcome.result, fixed, made, whole, reached)["look"]
    assert told == outcome.look._asdict()
    assert layer.colormap.name == f"correlight {told['moving']}"
    assert it.viewer.layers["fixed"].colormap.name == f"correlight {told['fixed']}"
    np.testing.assert_allclose(layer.colormap.map([1.0])[0, :3] * 255, COLOURS[told["moving"]], atol=0.5)
    # The keys are heard whatever layer is active.
    press_key(it, "F")
    it.qtbot.waitUntil(lambda: not layer.visible, timeout=5000)
    press_key(it, "F")
    assert layer.visible
    it.click(it.panel.undo)
    assert [(each.name, each.colormap.name, each.blending) for each in it.viewer.layers] == [
        ("fixed", "gray", "translucent"),
        ("moving", "gray", "translucent"),
    ]


def test_two_stacks_from_layers_to_overlay(opened: Open) -> None:
    couple = stacks()
    it = opened(images=False, show=True)
    for image, name in ((couple.fixed, "fixed"), (couple.moving, "moving")):
        for data, options, _ in layer_data(image, name):
            it.viewer.add_image(data, **options)
    assert it.panel.moving.value.name == "moving"
    it.panel.rotation.value, it.panel.mirror.value = "30, 50", False
    it.click(it.panel.start)
    it.wait()
    assert it.panel.view is not None, it.panel.message.value
    assert it.panel.view.outcome.result.status != "refused"
    made = it.viewer.layers["moving registered"]
    assert made.data.shape == couple.fixed.grid.shape
    assert not it.viewer.layers["moving"].visible
    # The resampled stack resembles the fixed one where it reaches, and is drawn.
    shown = np.asarray(made.data, float)
    reached = shown > 0
    assert reached.mean() > 0.2
    alike = np.corrcoef(shown[reached], np.asarray(couple.fixed.levels[0][0], float)[reached])[0, 1]
    assert abs(alike) > 0.3
    assert np.ptp(pixels(it.viewer)) > 50
    it.panel.view.checkerboard()
    assert "flicker (F) works" in it.panel.message.value
    it.click(it.panel.undo)
    assert [layer.name for layer in it.viewer.layers] == ["fixed", "moving"]
    assert it.viewer.layers["moving"].visible
