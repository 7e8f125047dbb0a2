"""Scenes, levels, frames and stage positions, in TIFF and OME-Zarr."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
import zarr

from correlight.errors import ReadError, UsageError
from correlight.io import read

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "ome-zarr"
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 60_000, (2, 80, 120)).astype(np.uint16)
MICRON = {"PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 200.0, "PhysicalSizeYUnit": "nm"}


def halves(pixels: Any) -> Any:
    """Means of blocks of 2 x 2."""
    return pixels.reshape(*pixels.shape[:-2], pixels.shape[-2] // 2, 2, pixels.shape[-1] // 2, 2).mean((-3, -1))


def pyramid(path: Path) -> Path:
    with tifffile.TiffWriter(path, ome=True) as file:
        about = {"axes": "CYX", "Channel": {"Name": ["a", "b"]}, **MICRON}
        file.write(PIXELS, subifds=1, tile=(32, 32), metadata=about)
        file.write(halves(PIXELS).astype(np.uint16), subfiletype=1, tile=(32, 32))
    return path


def test_a_level_of_a_pyramid_covers_the_same_field(tmp_path: Path) -> None:
    path = pyramid(tmp_path / "a.ome.tif")
    whole, small = read(path), read(path, level=1)
    np.testing.assert_array_equal(small.levels[0], halves(PIXELS).astype(np.uint16))
    assert whole.grid.spacing == pytest.approx((0.2, 0.1), rel=1e-12)
    assert small.grid.spacing == pytest.approx((0.4, 0.2), rel=1e-12)
    assert small.grid.origin == pytest.approx(whole.grid.shrink(2).origin, rel=1e-12)
    assert small.channels == ("a", "b")
    assert small.source["level"] == 1
    assert np.abs(small.grid.corners() - whole.grid.corners()).max() < 1e-12
    with pytest.raises(UsageError, match=r"no level 2 in .* it has 2"):
        read(path, level=2)


def test_channels_of_one_name_are_told_apart_and_it_is_said(tmp_path: Path) -> None:
    path, names = tmp_path / "a.ome.tif", ["DAPI", "DAPI 2", "DAPI"]
    tifffile.imwrite(path, PIXELS[[0, 1, 0]], metadata={"axes": "CYX", "Channel": {"Name": names}, **MICRON})
    image = read(path)
    assert image.channels == ("DAPI", "DAPI 2", "DAPI 3")
    assert image.findings == ("several channels have one name and are called DAPI, DAPI 2, DAPI 3 here",)


def test_scenes_of_a_tiff_are_chosen_by_number_or_name(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(PIXELS[0], metadata={"Name": "left", **MICRON})
        file.write(PIXELS[1, :60], metadata={"Name": "right", "PhysicalSizeX": 3.0, "PhysicalSizeY": 3.0})
    first = read(path)
    said = "the file holds 2 images, 0 (left, 80 x 120), 1 (right, 60 x 120); the first is read"
    assert first.findings == (said,)
    np.testing.assert_array_equal(first.levels[0][0], PIXELS[0])
    for scene in (1, "1", "right"):
        second = read(path, scene=scene)
        np.testing.assert_array_equal(second.levels[0][0], PIXELS[1, :60])
        assert second.grid.spacing == (3.0, 3.0)
        assert second.findings == (said.replace("the first", "number 1"),)
        assert second.source["scene"] == scene
    with pytest.raises(UsageError, match=r"no scene 'up' in .*; it has 0 \(left, 80 x 120\), 1 \(right, 60 x 120\)"):
        read(path, scene="up")


def test_frames_of_a_series_are_chosen_by_number(tmp_path: Path) -> None:
    frames = RNG.integers(0, 255, (4, 2, 40, 50)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.ome.tif", frames, metadata={"axes": "TCYX"}, ome=True)
    assert read(tmp_path / "a.ome.tif").findings == ("the file holds 4 frames of a time series; the first is read",)
    np.testing.assert_array_equal(read(tmp_path / "a.ome.tif").levels[0], frames[0])
    last = read(tmp_path / "a.ome.tif", time=3)
    np.testing.assert_array_equal(last.levels[0], frames[3])
    assert last.findings == ("the file holds 4 frames of a time series; number 3 is read",)
    with pytest.raises(UsageError, match="no frame 4"):
        read(tmp_path / "a.ome.tif", time=4)


@pytest.mark.parametrize("options", [{"scene": 1}, {"level": 1}, {"time": 1}, {"series": 1}, {"view": 1}])
def test_a_single_picture_offers_no_choice(options: dict[str, int], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS[0])
    with pytest.raises(UsageError, match="There is no"):
        read(tmp_path / "a.npy", **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="counted from 0"):
        read(tmp_path / "a.npy", **dict.fromkeys(options, -1))  # type: ignore[arg-type]


def test_the_stage_position_of_ome_is_in_micrometres(tmp_path: Path) -> None:
    plane = {"PositionX": [1.5], "PositionXUnit": ["mm"], "PositionY": [-20.0], "PositionYUnit": ["µm"]}
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS[:1], ome=True, metadata={"axes": "CYX", "Plane": plane})
    assert read(tmp_path / "a.ome.tif").source["stage_position"] == (-20.0, 1500.0)
    plane = {"PositionX": [1.5], "PositionY": [-20.0]}
    tifffile.imwrite(tmp_path / "b.ome.tif", PIXELS[:1], ome=True, metadata={"axes": "CYX", "Plane": plane})
    # Without a unit OME counts in a "reference frame" of no known length.
    assert "stage_position" not in read(tmp_path / "b.ome.tif").source


def test_the_stage_position_of_a_real_file_is_read(data: Path) -> None:
    path = sorted((data / "multibse").glob("*.tif"))[0]
    assert read(path).source["stage_position"] == pytest.approx((-1341.83, 1685.96), abs=1e-6)


# ----------------------------------------------------------------------------------------------------- OME-Zarr


def store(path: Path, version: str, pixels: Any = PIXELS, unit: str = "micrometer", **more: Any) -> Path:
    """A pyramid of two levels in one of three versions; the scale of channels is 1."""
    kind: Literal[2, 3] = 2 if version == "0.4" else 3
    group = zarr.open_group(str(path), mode="w", zarr_format=kind)
    axes = [{"name": "c", "type": "channel"}, *({"name": a, "type": "space", "unit": unit} for a in "yx")]
    datasets = []
    for level, data in enumerate((pixels, halves(pixels).astype(pixels.dtype))):
        array = group.create_array(f"s{level}", shape=data.shape, chunks=(1, 32, 32), dtype=data.dtype)
        array[...] = data
        step: dict[str, Any] = {"type": "scale", "scale": [1.0, 0.2 * 2**level, 0.1 * 2**level]}
        if version == "0.6":
            step |= {"input": {"path": f"s{level}"}, "output": {"name": "physical"}}
        datasets.append({"path": f"s{level}", "coordinateTransformations": [step]})
    image: dict[str, Any] = {"name": "a", "datasets": datasets}
    if version == "0.6":
        image["coordinateSystems"] = [{"name": "physical", "axes": axes}]
    else:
        image["axes"] = axes
    about = {"multiscales": [image], "omero": {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}, **more}
    if version == "0.4":
        image["version"] = "0.4"
        group.attrs.update(about)
    else:
        group.attrs["ome"] = {"version": version, **about}
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_every_version_of_ome_zarr_is_read(version: str, tmp_path: Path) -> None:
    path = store(tmp_path / "a.ome.zarr", version)
    whole, small = read(path), read(path, level=1)
    np.testing.assert_array_equal(whole.levels[0], PIXELS)
    np.testing.assert_array_equal(small.levels[0], halves(PIXELS).astype(np.uint16))
    assert (whole.grid.unit, whole.grid.spacing, whole.channels) == ("micrometre", (0.2, 0.1), ("DAPI", "GFP"))
    assert small.grid.spacing == (0.4, 0.2)
    assert small.grid.origin == pytest.approx((0.1, 0.05), rel=1e-12)
    assert (whole.source["reader"], whole.source["spacing_source"]) == ("OME-Zarr", "OME-Zarr")
    again = read(store(tmp_path / "b.ome.zarr", version))
    assert whole.source["sha256"] == again.source["sha256"]
    assert whole.source["sha256"] != read(store(tmp_path / "c.zarr", version, PIXELS + 1)).source["sha256"]


@pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
def test_what_ngff_zarr_wrote_is_read(version: str) -> None:
    image = read(GOLDEN / f"ramp-{version}.ome.zarr")
    expected = np.add.outer(np.arange(40) * 5, np.arange(48)) % 251
    np.testing.assert_array_equal(image.levels[0][0], expected)
    assert (image.grid.unit, image.grid.spacing, image.dtype) == ("micrometre", (0.2, 0.1), np.dtype(np.uint8))


@pytest.mark.parametrize(("unit", "length"), [("nanometer", 1e-3), ("angstrom", 1e-4), ("millimeter", 1e3)])
def test_units_of_ome_zarr_become_micrometres(unit: str, length: float, tmp_path: Path) -> None:
    grid = read(store(tmp_path / "a.zarr", "0.5", unit=unit)).grid
    assert grid.spacing == pytest.approx((0.2 * length, 0.1 * length), rel=1e-12)


def test_a_store_without_units_is_uncalibrated(tmp_path: Path) -> None:
    assert not read(store(tmp_path / "a.zarr", "0.5", unit="")).grid.calibrated


def test_images_of_a_collection_are_scenes(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=3)
    group.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for number in range(2):
        store(tmp_path / "a.zarr" / str(number), "0.5", PIXELS + number)
    assert read(tmp_path / "a.zarr").findings == ("the file holds 2 images; the first is read",)
    np.testing.assert_array_equal(read(tmp_path / "a.zarr", scene=1).levels[0], PIXELS + 1)
    with pytest.raises(UsageError, match="no scene 2"):
        read(tmp_path / "a.zarr", scene=2)


def meddle(path: Path, change: Any) -> Path:
    file = path / "zarr.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return path


def image_of(content: Any) -> Any:
    return content["attributes"]["ome"]["multiscales"][0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: image_of(c).update(datasets=[]), "lists none"),
        (lambda c: image_of(c)["datasets"][0].update(path="../../etc"), "refers to"),
        (lambda c: image_of(c)["datasets"][0].update(path=3), "refers to"),
        (lambda c: image_of(c)["datasets"][0].update(path="none"), "cannot be opened"),
        (lambda c: image_of(c).update(axes=[{"name": "x"}]), "describes 1"),
        (lambda c: image_of(c)["axes"][1].update(name="x"), "the axes 'CXX'"),
        (lambda c: image_of(c)["datasets"][0]["coordinateTransformations"][0].update(scale=[1, -1, 1]), "pixel size"),
        (
            lambda c: image_of(c)["datasets"][0]["coordinateTransformations"][0].update(scale=[1]),
            "one scale for each of 3 axes",
        ),
        (lambda c: c["attributes"]["ome"].update(multiscales=[]), "holds none"),
        (lambda c: c["attributes"].update(ome=3), "holds none"),
    ],
)
def test_damaged_stores_end_in_one_sentence(change: Any, words: str, tmp_path: Path) -> None:
    path = meddle(store(tmp_path / "a.zarr", "0.5"), change)
    with pytest.raises(ReadError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_store_that_declares_absurd_sizes_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", "0.5")
    (path / "s0" / "zarr.json").write_text(
        (path / "s0" / "zarr.json").read_text().replace("80", "8000000").replace("120", "12000000")
    )
    with pytest.raises(ReadError, match="at most 256 GiB"):
        read(path)
