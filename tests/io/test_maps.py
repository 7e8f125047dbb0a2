"""Maps that the package has written come back as they were."""

from pathlib import Path

import numpy as np
import pytest

from correlight.errors import ReadError
from correlight.geometry import Grid
from correlight.io import write_tiff
from correlight.io.maps import read_map


@pytest.mark.parametrize("shape", [(2, 2), (18, 24), (3, 5, 7)])
def test_small_maps_with_holes_are_read(shape: tuple[int, ...], tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    values.flat[1] = np.nan
    write_tiff(tmp_path / "map.tif", values, Grid.of(shape, 0.5, unit="micrometre"))
    assert np.array_equal(read_map(tmp_path / "map.tif"), values.astype(float), equal_nan=True)


def test_what_is_no_map_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no picture")
    with pytest.raises(ReadError, match="map of numbers was expected"):
        read_map(tmp_path / "text.tif")
    with pytest.raises(ReadError, match="cannot be read"):
        read_map(tmp_path / "missing.tif")
