"""Only regular files are opened, a changed file is noticed, and memory is bounded by what is decoded."""

import os
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from correlight.errors import ReadError
from correlight.images.pyramid import stays_on_disk
from correlight.io import READABLE, VENDORS, read, read_mask, unchanged

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 60_000, (150, 201)).astype(np.uint16)


@pytest.mark.parametrize("suffix", [*READABLE, *VENDORS])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    os.mkfifo(path)
    with pytest.raises(ReadError, match="is a pipe; name a regular file"):
        read(path)
    with pytest.raises(ReadError, match="is a pipe"):
        read_mask(path, (40, 50))


def test_a_device_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").symlink_to("/dev/zero")
    with pytest.raises(ReadError, match="is a device"):
        read(tmp_path / "a.tif")


def test_a_link_to_itself_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.tif").symlink_to(tmp_path / "a.tif")
    with pytest.raises(ReadError):
        read(tmp_path / "a.tif")


# ----------------------------------------------------------------------------------------- changes underway


def rewrite(path: Path, pixels: Any) -> None:
    tifffile.imwrite(path, pixels, compression="zlib", tile=(32, 32))


@pytest.mark.parametrize("kept", ["time", "size"])
def test_an_image_that_was_rewritten_is_not_accepted_at_the_end(tmp_path: Path, kept: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS)
    image = read(path)
    unchanged(image)
    unchanged(replace(image, mask=None))
    before = path.stat()
    tifffile.imwrite(path, PIXELS[::-1] if kept == "time" else PIXELS[:140])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ReadError, match="was changed while it was in use"):
        unchanged(image)


def test_a_file_that_went_away_is_not_accepted_at_the_end(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    image = read(tmp_path / "a.npy")
    (tmp_path / "a.npy").unlink()
    with pytest.raises(ReadError, match="can no longer be read"):
        unchanged(image)


def test_pixels_on_disk_may_not_even_have_been_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    rewrite(path, PIXELS)
    in_memory = read(path)
    monkeypatch.setattr("correlight.io.content.IN_MEMORY", 1000)
    monkeypatch.setattr("correlight.images.pyramid.WORKING", 64 * 64)
    on_disk = read(path)
    os.utime(path)
    unchanged(in_memory)
    with pytest.raises(ReadError, match="was changed"):
        unchanged(on_disk)


def test_a_file_that_is_rewritten_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    rewrite(path, PIXELS)
    real = tifffile.TiffFile.close

    def close(self: Any) -> None:
        # Another program saves the file as soon as its pixels are in memory.
        real(self)
        monkeypatch.undo()
        rewrite(path, PIXELS[::-1])

    monkeypatch.setattr(tifffile.TiffFile, "__exit__", lambda self, *_: close(self))
    with pytest.raises(ReadError, match="was changed while it was read"):
        read(path)


# --------------------------------------------------------------------------------------------------- memory


def peak_of(path: Path, limit: int) -> tuple[str, float]:
    """What reading says, and the most memory (bytes) that it adds, in a process of its own with an end to it."""
    code = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({limit + 2**33}, {limit + 2**33}))\n"
        "from correlight.io import read\n"
        "import correlight.io.tiff, correlight.io.picture, zarr\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    read(sys.argv[1]); said = 'read'\n"
        "except Exception as error:\n"
        "    said = f'{type(error).__name__}: {error}'\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, said)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    number, _, said = done.stdout.strip().partition(" ")
    return said, float(number)


def png(height: int, width: int, colour: int, row: bytes, effort: int = 9) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    packer = zlib.compressobj(effort)
    body = b"".join(packer.compress(b"\0" + row) for _ in range(height)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_a_large_picture_takes_little_more_than_its_pixels(tmp_path: Path) -> None:
    row = RNG.integers(0, 255, 12_000, np.uint8).tobytes()
    path = tmp_path / "a.png"
    path.write_bytes(png(12_000, 12_000, 0, row, effort=1))
    said, peak = peak_of(path, 2**30)
    assert said == "read"
    assert peak < 3.5 * 12_000**2


def test_a_small_picture_that_unpacks_to_much_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(16_000, 16_000, 0, bytes(16_000)))
    assert path.stat().st_size < 300_000
    said, peak = peak_of(path, 2**30)
    assert "blank" in said
    assert peak < 0.8e9


def hollow(path: Path, side: int, tiles: int, **how: Any) -> Path:
    """A TIFF file whose header states many tiles, all of them in the same place."""
    tifffile.imwrite(path, np.zeros((tiles, tiles), np.uint8), tile=(tiles, tiles), metadata=None, **how)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        offset, count = page.dataoffsets[0], page.databytecounts[0]
    number = (-(-side // tiles)) ** 2
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        places = {name: tags[name].offset for name in ("ImageWidth", "ImageLength", "TileOffsets", "TileByteCounts")}
    for name in ("ImageWidth", "ImageLength"):
        struct.pack_into("<HHII", data, places[name], tags[name].code, 4, 1, side)
    for name, value in (("TileOffsets", offset), ("TileByteCounts", count)):
        struct.pack_into("<HHII", data, places[name], tags[name].code, 4, number, len(data))
        data += struct.pack("<I", value) * number
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_a_small_tiff_that_unpacks_to_much_is_bounded(tmp_path: Path, compression: str) -> None:
    path = hollow(tmp_path / "a.tif", 32_768, 4096, compression=compression)
    assert path.stat().st_size < 50_000
    said, peak = peak_of(path, 2**30)
    assert "blank" in said
    assert peak < 0.8e9


def test_many_tiles_in_one_place_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hollow(tmp_path / "a.tif", 16_384, 256, compression="zlib")
    reads = []
    real = os.pread

    def pread(*where: Any) -> bytes:
        reads.append(where)
        return real(*where)

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(ReadError, match="blank"):
        read(path)
    # Threads may meet at the same tile before the first of them has kept it.
    assert len(reads) <= 64


def test_a_page_that_lists_too_few_tiles_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    rewrite(path, PIXELS)
    with tifffile.TiffFile(path, mode="r+") as file:
        for name in ("TileOffsets", "TileByteCounts"):
            file.pages.first.tags[name].overwrite(file.pages.first.tags[name].value[:5])
    with pytest.raises(ReadError, match="truncated or damaged"):
        read(path)


def test_pages_that_lead_back_to_themselves_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([PIXELS] * 3), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path) as file:
        places = [page.offset for page in file.pages]
        last = file.pages[2]
        assert isinstance(last, tifffile.TiffPage)
        end = last.offset + 2 + 12 * len(last.tags)
    for place in places:
        data = bytearray(path.read_bytes())
        struct.pack_into("<I", data, end, place)
        (tmp_path / "b.tif").write_bytes(data)
        with pytest.raises(ReadError, match="lead back to an earlier one"):
            read(tmp_path / "b.tif")


def test_more_than_any_picture_packs_is_refused_before_it_is_walked_over(tmp_path: Path) -> None:
    path = hollow(tmp_path / "a.tif", 400_000, 4096, compression="zlib")
    with pytest.raises(ReadError, match=r"declares 149.0 GiB of pixels and has \d+ bytes"):
        read(path)


def test_one_strip_that_cannot_be_read_in_parts_is_looked_at_by_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("correlight.io.content.IN_MEMORY", 1000)
    monkeypatch.setattr("correlight.io.tiff_planes.SEGMENT", 1000)
    monkeypatch.setattr("correlight.images.pyramid.WORKING", 64 * 64)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, compression="zlib", rowsperstrip=150)
    image = read(path)
    assert stays_on_disk(image)
    np.testing.assert_array_equal(np.asarray(image.levels[0][0, 20:90, 7:99]), PIXELS[20:90, 7:99])
    mask = read_mask(path, PIXELS.shape)
    assert mask.shape == PIXELS.shape


def test_a_sparse_file_with_the_start_of_a_picture_is_refused_at_once(tmp_path: Path) -> None:
    for name, start in (
        ("a.png", imagecodecs.png_encode(PIXELS)[:60]),
        ("a.jpg", imagecodecs.jpeg8_encode((PIXELS >> 8).astype(np.uint8))[:400]),
    ):
        (tmp_path / name).write_bytes(start)
        os.truncate(tmp_path / name, 2**36)
        with pytest.raises(ReadError):
            read(tmp_path / name)
