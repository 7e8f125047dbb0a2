"""Maps that the package has written come back as they were."""

import os
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
    with pytest.raises(ReadError, match=r"Expected a map of numbers, but .* does not exist"):
        read_map(tmp_path / "missing.tif")
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(ReadError, match="is a pipe"):
        read_map(tmp_path / "pipe.tif")


def test_a_damaged_map_ends_in_one_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(0).random((18, 24)).astype(np.float32)
    write_tiff(tmp_path / "map.tif", values, Grid.of((18, 24), 0.5, unit="micrometre"))
    whole = (tmp_path / "map.tif").read_bytes()
    said = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        data = bytearray(whole)
        for place in random.integers(0, len(data), 4):
            data[place] = random.integers(256)
        (tmp_path / "map.tif").write_bytes(bytes(data))
        try:
            read_map(tmp_path / "map.tif")
        except ReadError as error:
            said.append(str(error))
    assert len(said) > 20
    assert not [text for text in said if "\n" in text]
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
