"""Layers become images with their pixel size, channels and place, or one sentence says why not."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari.layers", reason="napari is not installed; make test-napari")

from napari.layers import Image, Labels, Points

from correlight.errors import UsageError
from correlight.io import read, write_ome_tiff
from correlight.napari.layer_data import layer_data
from correlight.napari.layer_image import image_of
from correlight.napari.layers import stated_spacing, take
from correlight.napari.placing import in_micrometres
from correlight.napari.start import position_of

RNG = np.random.default_rng(1)


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 255, shape).astype(np.uint8)


def test_nanometres_become_micrometres() -> None:
    layer = Image(noise(64, 80), scale=(20, 30), translate=(1000, 0), units=("nm", "nm"))
    image = image_of(take(layer, "fixed"), (), "fixed").image
    assert image.grid.unit == "micrometre"
    np.testing.assert_allclose(image.grid.spacing, (0.02, 0.03))
    np.testing.assert_allclose(image.grid.origin, (1.0, 0.0))


def test_a_layer_without_unit_counts_pixels_whatever_its_scale() -> None:
    layer = Image(noise(64, 80), scale=(0.5, 0.5))
    assert stated_spacing(layer) is None
    assert image_of(take(layer, "fixed"), (), "fixed").image.grid.unit == "pixel"
    assert image_of(take(layer, "fixed"), (0.25,), "fixed").image.grid.spacing == (0.25, 0.25)


def test_padding_of_an_array_is_found_as_in_a_file() -> None:
    array = noise(128, 128) // 2 + 60
    array[:, :40] = 0
    image = image_of(take(Image(array), "fixed"), (), "fixed").image
    assert image.mask is not None
    assert not image.valid()[:, :35].any()


def test_a_file_that_a_layer_shows_is_registered_with_all_its_channels(tmp_path: Path) -> None:
    path = tmp_path / "two.ome.tif"
    write_ome_tiff(path, noise(2, 64, 64), read_grid((64, 64), 0.2), ("a", "b"))
    image = read(path)
    data, options, _ = layer_data(image, "two")[1]
    found = image_of(take(Image(data, **options), "fixed"), (), "fixed")
    assert found.image is image
    assert found.chosen == 1


def read_grid(shape: tuple[int, ...], spacing: float):  # type: ignore[no-untyped-def]
    from correlight.geometry import Grid

    return Grid.of(shape, spacing, unit="micrometre")


def test_a_layer_that_was_edited_is_no_longer_its_file(tmp_path: Path) -> None:
    path = tmp_path / "one.ome.tif"
    write_ome_tiff(path, noise(1, 64, 64), read_grid((64, 64), 0.2), ("a",))
    data, options, _ = layer_data(read(path), "one")[0]
    layer = Image(data, **options)
    layer.data = 255 - data
    found = image_of(take(layer, "fixed"), (), "fixed").image
    assert "path" not in found.source
    np.testing.assert_allclose(found.grid.spacing, 0.2)


def test_colours_are_one_image_and_a_pyramid_is_its_finest_level() -> None:
    colours = image_of(take(Image(noise(64, 64, 3), rgb=True), "fixed"), (), "fixed")
    assert colours.image.rgb
    assert colours.chosen is None
    levels = [noise(128, 128), noise(64, 64)]
    whole = image_of(take(Image(levels, multiscale=True), "fixed"), (), "fixed").image
    assert whole.grid.shape == (128, 128)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Labels(np.ones((64, 64), np.uint8), name="nuclei"), "holds labels"),
        (Points(np.ones((3, 2)), name="clicks"), "holds points"),
        (Image(noise(2, 2, 64, 64), name="movie"), "has 4 axes"),
        (Image(noise(64, 64), rotate=10, name="turned"), "is rotated"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_is_no_image_is_refused_in_a_sentence(layer: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        take(layer, "moving")


def test_a_pixel_size_of_the_wrong_number_of_axes_is_refused() -> None:
    with pytest.raises(UsageError, match="one positive number or 2"):
        image_of(take(Image(noise(64, 64)), "fixed"), (1.0, 2.0, 3.0), "fixed")


@pytest.mark.parametrize("translate", [(0, 0), (400, -90)])
def test_a_layer_in_micrometres_stays_in_its_place(translate: tuple[int, int]) -> None:
    """Also where somebody has moved it, and its file knows nothing of that."""
    affine = [[0, -1, 300], [1, 0, 500], [0, 0, 1]]
    layer = Image(noise(64, 64), scale=(20, 20), units=("nm", "nm"), translate=translate, affine=affine)
    before = position_of(layer).world_from_index
    in_micrometres(layer, read_grid((64, 64), 0.02))
    np.testing.assert_allclose(position_of(layer).world_from_index, before, atol=1e-12)
