"""Stacks in OME-Zarr, with ome-zarr as the judge."""

from pathlib import Path

import numpy as np
import pytest

from correlight.geometry import Grid
from correlight.io.write_zarr import ZarrBands
from tests.exchange.conftest import Elsewhere

READ = """
import numpy as np
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
node = next(iter(Reader(parse_url(given["path"], mode="r"))()))
metadata = node.metadata
print(json.dumps({
    "axes": metadata["axes"],
    "steps": metadata["coordinateTransformations"],
    "channels": metadata["channel_names"],
    "shapes": [level.shape for level in node.data],
    "type": str(node.data[0].dtype),
    "slice": np.asarray(node.data[0][1, 2, :, :5]).tolist(),
}))
"""


def test_a_stack_has_all_its_spacings_and_channels_for_ome_zarr(with_ome_zarr: Elsewhere, tmp_path: Path) -> None:
    """Two channels of an anisotropic stack that begins elsewhere, slice by slice as results are written."""
    grid = Grid.of((4, 40, 2100), (0.6, 0.25, 0.22), (3.0, -1.0, 2.0), "micrometre")
    pixels = np.random.default_rng(0).integers(0, 60_000, (2, *grid.shape)).astype(np.uint16)
    path = tmp_path / "registered.ome.zarr"
    with ZarrBands(path, pixels.shape, pixels.dtype, grid, ("actin", "DNA")) as store:
        for number in range(grid.shape[0]):
            store.add(pixels[:, number])
    found = with_ome_zarr(READ, {"path": str(path)})
    assert [axis["name"] for axis in found["axes"]] == ["c", "z", "y", "x"]
    assert [axis.get("unit") for axis in found["axes"][1:]] == ["micrometer"] * 3
    assert found["channels"] == ["actin", "DNA"]
    assert found["type"] == "uint16"
    assert found["shapes"] == [[2, 4, 40, 2100], [2, 4, 20, 1050], [2, 4, 10, 525]]
    for level, steps in enumerate(found["steps"]):
        kinds = {step["type"]: step[step["type"]] for step in steps}
        wide = 2**level
        assert kinds["scale"] == pytest.approx([1.0, 0.6, 0.25 * wide, 0.22 * wide])
        shift = (wide - 1) / 2
        assert kinds["translation"] == pytest.approx([0.0, 3.0, -1.0 + shift * 0.25, 2.0 + shift * 0.22])
    assert np.array_equal(found["slice"], pixels[1, 2, :, :5])
