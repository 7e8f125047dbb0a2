"""Files that belong together: each plane from its own file, what is missing is no data, nothing elsewhere is opened."""

import os
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from correlight.errors import ReadError, UsageError
from correlight.images.pyramid import stays_on_disk
from correlight.io import read

RNG = np.random.default_rng(0)
SHAPE = (150, 201)
NAMES = ("DAPI", "GFP", "RFP")


_WATCHED: list[list[str]] = []


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and _WATCHED:
        _WATCHED[-1].append(str(args[0]))


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The names of all files that are opened, by whatever library."""
    if not hasattr(_watch, "added"):
        sys.addaudithook(_watch)
        _watch.added = True  # type: ignore[attr-defined]
    _WATCHED.append([])
    yield _WATCHED[-1]
    _WATCHED.pop()


def planes(*shape: int) -> Any:
    return RNG.integers(1, 60_000, (*shape, *SHAPE)).astype(np.uint16)


def uuid(number: int) -> str:
    return f"urn:uuid:0000000{number}-0000-0000-0000-000000000000"


def ome_xml(
    files: Sequence[str],
    own: int | None,
    c: int = 1,
    z: int = 1,
    t: int = 1,
    images: int = 1,
    each: int = 1,
    binary_only: str = "",
) -> bytes:
    """A set whose files hold ``each`` planes, in the order of Z, C, T and images."""
    head = '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    head += f' UUID="{uuid(own)}"' if own is not None else ""
    if binary_only:
        return f'{head}><BinaryOnly MetadataFile="{binary_only}" UUID="{uuid(9)}"/></OME>'.encode()
    text, number = head + ">", 0
    for image in range(images):
        text += f'<Image ID="Image:{image}" Name="image {image}"><Pixels ID="Pixels:{image}" DimensionOrder="XYZCT" '
        text += f'Type="uint16" SizeX="{SHAPE[1]}" SizeY="{SHAPE[0]}" SizeZ="{z}" SizeC="{c}" SizeT="{t}" '
        text += f'PhysicalSizeX="0.{image + 1}" PhysicalSizeY="0.{image + 1}" PhysicalSizeZ="0.5">'
        text += "".join(f'<Channel ID="Channel:{image}:{n}" Name="{NAMES[n]}" SamplesPerPixel="1"/>' for n in range(c))
        for plane in range(c * z * t):
            file, page = divmod(number, each)
            text += f'<TiffData FirstZ="{plane % z}" FirstC="{plane // z % c}" FirstT="{plane // z // c}" IFD="{page}" '
            text += f'PlaneCount="1"><UUID FileName="{files[file]}">{uuid(file)}</UUID></TiffData>'
            number += 1
        text += "</Pixels></Image>"
    return f"{text}</OME>".encode()


def write(path: Path, pixels: Any, xml: bytes, **how: Any) -> Path:
    how = {"photometric": "minisblack", "metadata": None, **how}
    tifffile.imwrite(path, pixels, description=xml, **how)
    return path


def three(folder: Path, pixels: Any, **how: Any) -> list[Path]:
    """One channel per file; other pages before those of the second file, so that places in the files differ."""
    names = [f"s_C{n}.ome.tif" for n in range(3)]
    return [write(folder / name, pixels[n], ome_xml(names, n, c=3), **how) for n, name in enumerate(names)]


WAYS: dict[str, dict[str, Any]] = {
    "uncompressed": {},
    "strips": {"rowsperstrip": 7, "compression": "lzw"},
    "tiles": {"tile": (32, 48), "compression": "zlib", "predictor": True},
    "big-endian": {"byteorder": ">"},
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_every_channel_comes_from_its_own_file(
    way: str, large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr("correlight.io.content.IN_MEMORY", 10_000)
        monkeypatch.setattr("correlight.images.pyramid.WORKING", 64 * 64)
    pixels = planes(3)
    paths = three(tmp_path, pixels, **WAYS[way])
    for path in paths:
        image = read(path)
        assert stays_on_disk(image) == large
        np.testing.assert_array_equal(image.levels[0][...], pixels)
        assert image.channels == NAMES
        assert image.findings == ()
        assert {Path(entry.path).name for entry in image.source["files"]} == {entry.name for entry in paths}


def test_the_checksum_covers_every_file_of_a_set(tmp_path: Path) -> None:
    pixels = planes(3)
    first, second, _ = three(tmp_path, pixels)
    before = read(first).source["sha256"]
    assert read(second).source["sha256"] == before
    changed = pixels.copy()
    changed[1, 50, 50] += 1
    three(tmp_path, changed)
    assert read(first).source["sha256"] != before


def test_the_files_of_a_set_may_differ_in_the_way_they_are_stored(tmp_path: Path) -> None:
    pixels = planes(3)
    names = ["a.ome.tif", "b.ome.tif", "c.ome.tif"]
    for number, (name, way) in enumerate(zip(names, ({}, {}, {"byteorder": ">"}), strict=True)):
        write(tmp_path / name, pixels[number], ome_xml(names, number, c=3), **way)
    np.testing.assert_array_equal(read(tmp_path / "b.ome.tif").levels[0], pixels)


@pytest.mark.parametrize("large", [False, True])
def test_a_channel_that_is_missing_is_left_out_and_said(
    large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr("correlight.io.content.IN_MEMORY", 10_000)
    pixels = planes(3)
    paths = three(tmp_path, pixels)
    paths[1].unlink()
    image = read(paths[2])
    np.testing.assert_array_equal(image.levels[0][...], pixels[[0, 2]])
    assert image.channels == ("DAPI", "RFP")
    assert image.mask is None
    assert image.findings == (
        "parts of the image are in files that are not beside it: s_C1.ome.tif",
        "channels that the file states and does not hold are left out: GFP",
    )


@pytest.mark.parametrize("large", [False, True])
def test_slices_that_are_missing_are_no_data(large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr("correlight.io.content.IN_MEMORY", 10_000)
        monkeypatch.setattr("correlight.images.pyramid.WORKING", 6 * 64 * 64)
    pixels = planes(6)
    names = [f"z{n}.ome.tif" for n in range(6)]
    for number, name in enumerate(names):
        if number not in (1, 4):
            write(tmp_path / name, pixels[number], ome_xml(names, number, z=6))
    image = read(tmp_path / "z0.ome.tif")
    valid = image.valid()
    there = [0, 2, 3, 5]
    assert valid.shape == (6, *SHAPE)
    assert not valid[[1, 4]].any()
    if not large:
        assert valid[there].all()
    np.testing.assert_array_equal(np.asarray(image.levels[0][...])[0, there], pixels[there])
    assert "2 slices that the file states and does not hold are no data: 1, 4" in image.findings


def test_of_a_series_in_time_the_first_frame_that_is_there_is_read(tmp_path: Path) -> None:
    pixels = planes(4)
    names = [f"t{n}.ome.tif" for n in range(4)]
    for number in (2, 3):
        write(tmp_path / names[number], pixels[number], ome_xml(names, number, t=4))
    image = read(tmp_path / "t3.ome.tif")
    np.testing.assert_array_equal(image.levels[0][0], pixels[2])
    assert "the file holds 4 frames of a time series; frame 2 is the first that is there" in image.findings
    np.testing.assert_array_equal(read(tmp_path / "t3.ome.tif", time=3).levels[0][0], pixels[3])
    with pytest.raises(ReadError, match=r"None of the chosen pixels .* is there \(t0.ome.tif, t1.ome.tif\)"):
        read(tmp_path / "t3.ome.tif", time=0)


def test_pages_that_a_single_file_lacks_are_no_data(tmp_path: Path) -> None:
    pixels = planes(2)
    xml = ome_xml(["a.ome.tif"], 0, c=3, each=3)
    image = read(write(tmp_path / "a.ome.tif", pixels, xml))
    np.testing.assert_array_equal(image.levels[0], pixels)
    assert image.channels == ("DAPI", "GFP")
    assert "channels that the file states and does not hold are left out: RFP" in image.findings


def test_the_pixel_size_is_that_of_the_image_that_is_there(tmp_path: Path) -> None:
    pixels = planes(2)
    names = ["a.ome.tif", "b.ome.tif"]
    path = write(tmp_path / "b.ome.tif", pixels[1], ome_xml(names, 1, images=2))
    image = read(path)
    assert image.grid.spacing == (0.2, 0.2)
    assert "images without any pixels here are left out: image 0" in image.findings
    write(tmp_path / "a.ome.tif", pixels[0], ome_xml(names, 0, images=2))
    assert read(path, scene="image 1").grid.spacing == (0.2, 0.2)
    np.testing.assert_array_equal(read(path, series=0).levels[0][0], pixels[0])
    with pytest.raises(UsageError, match="are not the same image"):
        read(path, scene=1, series=0)


def test_a_file_that_was_renamed_is_still_itself(tmp_path: Path) -> None:
    pixels = planes(2)
    for own in (0, None):
        path = write(tmp_path / "new.ome.tif", pixels, ome_xml(["old.ome.tif"], own, c=2, each=2))
        np.testing.assert_array_equal(read(path).levels[0], pixels)


@pytest.mark.parametrize("name", ["../secret.ome.tif", "{tmp}/secret.ome.tif", "sub/secret.ome.tif", "..", "a\\b.tif"])
def test_files_in_other_folders_are_never_opened(name: str, tmp_path: Path, opened: list[str]) -> None:
    pixels = planes(2)
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    name = name.replace("{tmp}", str(tmp_path))
    names = ["a.ome.tif", name]
    for place in (tmp_path / "secret.ome.tif", here / "sub" / "secret.ome.tif"):
        write(place, pixels[1], ome_xml(names, 1, c=2))
    path = write(here / "a.ome.tif", pixels[0], ome_xml(names, 0, c=2))
    opened.clear()
    image = read(path)
    np.testing.assert_array_equal(image.levels[0], pixels[:1])
    assert image.channels == ("DAPI",)
    assert any(text.startswith("files that are named in other folders are not opened:") for text in image.findings)
    assert [entry.path for entry in image.source["files"]] == [str(path)]
    assert str(path) in opened
    assert not [where for where in opened if "secret" in where]


def test_a_pipe_in_the_place_of_a_part_is_not_waited_for(tmp_path: Path) -> None:
    pixels = planes(3)
    paths = three(tmp_path, pixels)
    paths[1].unlink()
    os.mkfifo(paths[1])
    assert read(paths[0]).channels == ("DAPI", "RFP")


def test_a_companion_describes_the_files_beside_it(tmp_path: Path) -> None:
    pixels = planes(2)
    names = ["a.ome.tif", "b.ome.tif"]
    (tmp_path / "set.companion.ome").write_bytes(ome_xml(names, 9, c=2))
    for number, name in enumerate(names):
        write(tmp_path / name, pixels[number], ome_xml(names, number, binary_only="set.companion.ome"))
    image = read(tmp_path / "b.ome.tif")
    np.testing.assert_array_equal(image.levels[0], pixels)
    assert (image.channels, image.grid.spacing) == (("DAPI", "GFP"), (0.1, 0.1))
    assert {Path(entry.path).name for entry in image.source["files"]} == {*names, "set.companion.ome"}
    (tmp_path / "set.companion.ome").unlink()
    alone = read(tmp_path / "b.ome.tif")
    np.testing.assert_array_equal(alone.levels[0], pixels[1:])
    assert "'set.companion.ome', which is not beside it" in alone.findings[0]


def test_a_document_type_definition_in_a_file_is_refused(tmp_path: Path) -> None:
    xml = ome_xml(["a.ome.tif"], 0).replace(b"?><OME", b'?><!DOCTYPE x [<!ENTITY a "b">]><OME')
    with pytest.raises(ReadError, match="document type definition"):
        read(write(tmp_path / "a.ome.tif", planes(), xml))


def test_a_part_of_another_shape_is_refused(tmp_path: Path) -> None:
    pixels = planes(3)
    paths = three(tmp_path, pixels, compression="zlib")
    names = [path.name for path in paths]
    write(paths[1], pixels[1][:100], ome_xml(names, 1, c=3), compression="zlib")
    with pytest.raises(ReadError, match=r"s_C1.ome.tif holds pages of another shape or type"):
        read(paths[0])


def unwritten(path: Path, pages: dict[int, list[int]]) -> Path:
    """Forget tiles of a file, as sparse files have them: no place and no bytes."""
    with tifffile.TiffFile(path, mode="r+") as file:
        for number, tiles in pages.items():
            page = file.pages[number]
            assert isinstance(page, tifffile.TiffPage)
            tags = page.tags
            for name in ("TileOffsets", "TileByteCounts"):
                values = list(tags[name].value)
                for tile in tiles:
                    values[tile] = 0
                tags[name].overwrite(values)
    return path


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("orientation", [1, 6])
def test_tiles_that_were_never_written_are_no_data(
    orientation: int, large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr("correlight.io.content.IN_MEMORY", 10_000)
        monkeypatch.setattr("correlight.images.pyramid.WORKING", 80 * 110)
    tags = [(274, "H", 1, orientation, True)]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, planes(), metadata=None, tile=(32, 48), compression="zlib", extratags=tags)
    image = read(unwritten(path, {0: [0, 7]}))
    valid = image.valid() if orientation == 1 else np.rot90(image.valid(), 1)
    assert not valid[:32, :48].any()
    assert not valid[32:64, 96:144].any()
    assert valid[66:, :].all()
    assert "tiles that the file does not hold are no data" in image.findings


def test_a_page_without_any_tile_is_a_channel_that_is_not_there(tmp_path: Path) -> None:
    pixels = planes(2)
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "CYX", "Channel": {"Name": ["a", "b"]}}
    tifffile.imwrite(path, pixels, ome=True, metadata=metadata, tile=(32, 48), compression="zlib")
    image = read(unwritten(path, {0: list(range(25))}))
    np.testing.assert_array_equal(image.levels[0], pixels[1:])
    assert (image.channels, image.mask) == (("b",), None)
    assert image.findings == ("channels that the file states and does not hold are left out: a",)


def headed(path: Path) -> None:
    """Move the directory of a TIFF file to its end, and write the header of NDTiff, version 2, in its place."""
    data = path.read_bytes()
    start = struct.unpack_from("<I", data, 4)[0]
    length = 2 + 12 * struct.unpack_from("<H", data, start)[0] + 4
    assert start == 8
    header = struct.pack("<IIII", 483_729, 2, 2_355_492, 2) + b"{}"
    place = len(data) + len(data) % 2
    directory = data[start : start + length]
    data = data[:4] + struct.pack("<I", place) + header + data[8 + len(header) :]
    path.write_bytes(data.ljust(place, b"\0") + directory)


def ndtiff(folder: Path, other: str, pixels: Any) -> Path:
    """A set of NDTiff as Micro-Manager writes it: two files and an index that names them."""
    index = b""
    for number, name in enumerate(("a_NDTiffStack.tif", other)):
        path = folder / name
        tags = [(51123, "s", 0, '{"Width": 201}', True)]
        tifffile.imwrite(path, pixels[number], metadata=None, extratags=tags)
        with tifffile.TiffFile(path) as file:
            offset = file.pages.first.dataoffsets[0]
        headed(path)
        axes = f'{{"channel": {number}}}'.encode()
        index += len(axes).to_bytes(4, "little") + axes
        index += len(name).to_bytes(4, "little") + name.encode()
        for value in (offset, SHAPE[1], SHAPE[0], 1, 0, 0, 0, 0):
            index += value.to_bytes(4, "little")
    (folder / "NDTiff.index").write_bytes(index)
    return folder / "a_NDTiffStack.tif"


def test_an_index_of_micro_manager_that_names_other_folders_is_refused(tmp_path: Path, opened: list[str]) -> None:
    here = tmp_path / "here"
    here.mkdir()
    path = ndtiff(here, "../secret.tif", planes(2))
    opened.clear()
    with pytest.raises(ReadError, match=r"names '../secret.tif' in another folder"):
        read(path)
    assert not [where for where in opened if "secret" in where]
    pixels = planes(2)
    image = read(ndtiff(here, "b_NDTiffStack.tif", pixels))
    np.testing.assert_array_equal(image.levels[0], pixels)
    assert {Path(entry.path).name for entry in image.source["files"]} == {"a_NDTiffStack.tif", "b_NDTiffStack.tif"}
