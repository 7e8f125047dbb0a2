import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import tifffile

from correlight import Affine
from correlight.errors import UsageError, WriteError
from correlight.simulate import SimulatedPair, pair, write_pair

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


@pytest.fixture(scope="module")
def both() -> SimulatedPair:
    return pair(
        seed=2,
        electron_shape=(200, 240),
        light_shape=(96, 128),
        electron_spacing=0.08,
        light_spacing=0.2,
        data_bar=True,
    )


def read(path):
    """Pixels and the attributes of OME's Pixels element, by tifffile alone."""
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        element = ElementTree.fromstring(file.ome_metadata or "").find(f".//{OME}Pixels")
        return file.series[0].asarray(), element


def test_files_hold_the_pixels_and_the_true_pixel_size(tmp_path, both):
    written = write_pair(tmp_path / "new" / "folder", both)
    for path, image in ((written.fixed, both.fixed), (written.moving, both.moving)):
        pixels, element = read(path)
        assert pixels.dtype == image.dtype
        assert np.array_equal(pixels.reshape(image.levels[0].shape), image.levels[0])
        for axis in "XY":
            assert float(element.get(f"PhysicalSize{axis}")) == pytest.approx(image.grid.spacing[0])
            assert element.get(f"PhysicalSize{axis}Unit") == "µm"
        assert [channel.get("Name") for channel in element.iter(f"{OME}Channel")] == list(image.channels)


def test_files_lie_as_they_are_told(tmp_path, both):
    written = write_pair(tmp_path, both, claimed_spacing=(0.088, None))
    assert float(read(written.fixed)[1].get("PhysicalSizeX")) == pytest.approx(0.088)
    assert read(written.moving)[1].get("PhysicalSizeX") is None
    truth = json.loads(written.truth.read_text(encoding="utf-8"))
    assert truth["claimed_spacing"] == {"fixed": 0.088, "moving": None}
    assert truth["true_spacing"] == {"fixed": 0.08, "moving": 0.2}


def test_truth_agrees_in_both_units_and_with_its_particles(tmp_path, both):
    truth = json.loads(write_pair(tmp_path, both, claimed_spacing=(0.5, 0.7)).truth.read_text(encoding="utf-8"))
    fixed, moving = (np.array(truth["particles"][name]) for name in ("fixed", "moving"))
    assert len(fixed) >= 1
    assert np.allclose(Affine(truth["moving_from_fixed"]["micrometre"])(fixed), moving)
    assert np.allclose(Affine(truth["moving_from_fixed"]["pixel"])(fixed / 0.08), moving / 0.2)
    assert (truth["kind"], truth["seed"]) == ("cell", 2)
    assert truth["overlap"] == both.overlap


@pytest.mark.parametrize("claimed", [(-0.1, 0.1), (0.1, float("inf")), (0.1,)])
def test_absurd_claims_are_refused_before_anything_is_written(tmp_path, both, claimed):
    with pytest.raises(UsageError):
        write_pair(tmp_path / "out", both, claimed_spacing=claimed)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_is_named(tmp_path, both):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with pytest.raises(WriteError, match="file"):
        write_pair(blocker / "below", both)
