"""What napari cannot show by an affine transform is resampled where it is looked at: bent images and tilted stacks."""

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("napari.layers", reason="napari is not installed; make test-napari")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed; make test-napari")

from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.resample import warp
from correlight.napari.layer_data import layer_data
from correlight.napari.layers import LayerImage
from correlight.napari.outcome import bent
from correlight.napari.placing import is_shown_by_affine, resampled
from correlight.transforms import Affine
from tests.small_pairs import section, stacks

from .conftest import Opened, pixels

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
    pair = section()
    flat, stack = (LayerImage(image, {0: None}, 0) for image in (pair.fixed, pair.moving))
    cut = bent(flat, stack, pair.moving_from_fixed)
    assert cut.grid == pair.fixed.grid
    assert cut.levels[0][0].shape == pair.fixed.grid.shape
    filled = bent(stack, flat, pair.moving_from_fixed.inverse())
    assert filled.grid == pair.moving.grid
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


def test_two_stacks_from_layers_to_overlay(opened: Open) -> None:
    pair = stacks()
    it = opened(images=False, show=True)
    for image, name in ((pair.fixed, "fixed"), (pair.moving, "moving")):
        for data, options, _ in layer_data(image, name):
            it.viewer.add_image(data, **options)
    assert it.panel.moving.value.name == "moving"
    it.panel.rotation.value, it.panel.mirror.value = "30, 50", False
    it.click(it.panel.start)
    it.wait()
    assert it.panel.view is not None, it.panel.message.value
    assert it.panel.view.outcome.result.status != "refused"
    made = it.viewer.layers["moving registered"]
    assert made.data.shape == pair.fixed.grid.shape
    assert not it.viewer.layers["moving"].visible
    # The resampled stack resembles the fixed one where it reaches, and is drawn.
    shown = np.asarray(made.data, float)
    reached = shown > 0
    assert reached.mean() > 0.2
    alike = np.corrcoef(shown[reached], np.asarray(pair.fixed.levels[0][0], float)[reached])[0, 1]
    assert abs(alike) > 0.3
    assert np.ptp(pixels(it.viewer)) > 50
    it.panel.view.checkerboard()
    assert "flicker (F) works" in it.panel.message.value
    it.click(it.panel.undo)
    assert [layer.name for layer in it.viewer.layers] == ["fixed", "moving"]
    assert it.viewer.layers["moving"].visible
