"""OME-Zarr stores that lie, are damaged or were made to harm; written by zarr and then changed."""

import asyncio
import gzip
import json
import os
import pickle
import tomllib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pytest
import zarr

from correlight.errors import ReadError
from correlight.io import read
from correlight.io.omezarr import read_ome_zarr
from correlight.io.zarr_codecs import fits
from correlight.io.zarr_store import open_array

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 60_000, (3, 80, 120)).astype(np.uint16)


def store(path: Path, pixels: Any = PIXELS, steps: list[dict[str, Any]] | None = None, **options: Any) -> Path:
    """An OME-Zarr 0.4 or 0.5 of channels, rows and columns, 20 nm."""
    kind = options.pop("zarr_format", 2)
    group = zarr.open_group(str(path), mode="w", zarr_format=kind)
    options = {"chunks": (1, 40, 40), **options}
    group.create_array("s0", data=pixels, **options)
    names = "cyx"
    axes = [{"name": name, "type": "channel" if name == "c" else "space"} for name in names]
    for axis in axes[1:]:
        axis["unit"] = "nanometer"
    scale = {"type": "scale", "scale": [1, 20, 20]}
    image = {
        "version": "0.4",
        "axes": axes,
        "datasets": [{"path": "s0", "coordinateTransformations": steps or [scale]}],
    }
    about: dict[str, Any] = {
        "multiscales": [image],
        "omero": {"channels": [{"label": text} for text in ("DAPI", "GFP", "RFP")]},
    }
    group.attrs.update(about if kind == 2 else {"ome": {"version": "0.5", **about}})
    return path


def meddled(path: Path, change: Callable[[dict[str, Any]], object], name: str = ".zarray") -> Path:
    file = path / "s0" / name
    stated = json.loads(file.read_text())
    change(stated)
    file.write_text(json.dumps(stated))
    return path


# -------------------------------------------------------------------------------------------------- code of others


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_an_array_of_objects_runs_nothing(tmp_path: Path) -> None:
    path, sprung = store(tmp_path / "a.zarr"), tmp_path / "sprung"
    meddled(path, lambda stated: stated.update(dtype="|O", filters=[{"id": "pickle", "protocol": 5}], compressor=None))
    for chunk in (path / "s0").iterdir():
        if chunk.name[0].isdigit():
            chunk.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ReadError, match=r"asks for the type '\|O', which is not read"):
        read(path)
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"filters": [{"id": "pickle", "protocol": 5}]}, "filter 'pickle'"),
        ({"filters": [{"id": "delta", "dtype": "|O"}]}, "filter 'delta'"),
        ({"filters": [{"id": "msgpack2"}]}, "filter 'msgpack2'"),
        ({"compressor": {"id": "pickle"}}, "codec 'pickle'"),
        ({"dtype": [["a", "<i4"]]}, "the type"),
        ({"dtype": "<c8"}, "the type '<c8'"),
        ({"dtype": "<U4"}, "the type '<U4'"),
    ],
)
def test_version_2_is_read_by_a_list_of_types_and_codecs(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=words):
        read(meddled(store(tmp_path / "a.zarr"), lambda stated: stated.update(change)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_type": "string"}, "the type 'string'"),
        ({"data_type": {"name": "numpy.datetime64", "configuration": {}}}, "the type"),
        (
            {"codecs": [{"name": "bytes"}, {"name": "numcodecs.pickle", "configuration": {}}]},
            "codec 'numcodecs.pickle'",
        ),
        ({"codecs": [{"name": "bytes"}, {"name": "gzip"}, {"name": "gzip"}]}, "codec 'gzip' in this place"),
        ({"storage_transformers": [{"name": "x"}]}, "a storage transformer"),
        ({"codecs": "bytes"}, "no list of codecs"),
    ],
)
def test_version_3_is_read_by_a_list_of_types_and_codecs(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", zarr_format=3)
    with pytest.raises(ReadError, match=words):
        read(meddled(path, lambda stated: stated.update(change), "zarr.json"))


def test_no_version_of_a_dependency_with_a_known_hole_is_allowed() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    # Pickle filters of Zarr 2; the sandbox of templates; weights that run code.
    for name, least in (("numcodecs", (0, 16, 6)), ("jinja2", (3, 1, 6)), ("torch", (2, 6))):
        (line,) = [line for line in lines if line.startswith(f"{name}>=")]
        assert tuple(int(part) for part in line.partition(">=")[2].split(",")[0].split(".")) >= least


CODECS: list[Any] = [
    None, numcodecs.Blosc(), numcodecs.Zlib(), numcodecs.GZip(), numcodecs.Zstd(), numcodecs.LZ4(), numcodecs.BZ2(),
    numcodecs.LZMA(),
]  # fmt: skip


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: "none" if codec is None else codec.codec_id)
def test_every_codec_on_the_list_is_read(codec: Any, tmp_path: Path) -> None:
    image = read(store(tmp_path / "a.zarr", compressors=codec))
    np.testing.assert_array_equal(image.levels[0], PIXELS)
    filtered = read(store(tmp_path / "b.zarr", compressors=codec, filters=[numcodecs.Delta(dtype="<u2")]))
    np.testing.assert_array_equal(filtered.levels[0], PIXELS)


@pytest.mark.parametrize("codec", [None, "gzip", "zstd", "blosc"])
@pytest.mark.parametrize("shards", [None, (3, 80, 80)])
def test_shards_and_codecs_of_version_3_are_read(codec: str | None, shards: Any, tmp_path: Path) -> None:
    kinds = {"gzip": zarr.codecs.GzipCodec, "zstd": zarr.codecs.ZstdCodec, "blosc": zarr.codecs.BloscCodec}  # type: ignore[attr-defined]
    made = kinds[codec]() if codec else None
    image = read(store(tmp_path / "a.zarr", zarr_format=3, compressors=made, shards=shards))
    np.testing.assert_array_equal(image.levels[0], PIXELS)


# ------------------------------------------------------------------------------------------- files outside, and pipes


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in the file system here")
@pytest.mark.parametrize("name", ["s0/0.0.0", "s0/.zarray", ".zattrs", "s0/5.5.5"])
def test_a_pipe_in_a_store_is_not_waited_for(name: str, tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr")
    (path / name).unlink(missing_ok=True)
    os.mkfifo(path / name)
    with pytest.raises(ReadError, match=r"regular files in a store|there is no array|holds none|folder"):
        read(path)


@pytest.mark.parametrize("name", ["s0/0.0.0", "s0/.zarray", ".zattrs", "s0"])
def test_a_link_out_of_a_store_is_not_followed(name: str, tmp_path: Path) -> None:
    path, outside = store(tmp_path / "a.zarr"), tmp_path / "outside"
    (path / name).rename(outside)
    (path / name).symlink_to(outside)
    with pytest.raises(ReadError, match="leads out of its store"):
        read(path)


def test_a_link_within_a_store_is_followed(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr")
    (path / "s0" / "0.0.0").rename(path / "elsewhere")
    (path / "s0" / "0.0.0").symlink_to(path / "elsewhere")
    np.testing.assert_array_equal(read(path).levels[0], PIXELS)


def test_a_chunk_that_became_a_pipe_after_opening_is_not_waited_for(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr")
    array, _ = open_array(path, path / "s0")
    (path / "s0" / "0.0.0").unlink()
    os.mkfifo(path / "s0" / "0.0.0")
    with pytest.raises(ReadError, match="regular files"):
        array[0]
    with pytest.raises(ReadError, match="regular files"):
        asyncio.run(array.store.get_partial_values(None, [("0.0.0", None)]))


# ------------------------------------------------------------------------------------------------------ bounded work

LONG = 200_000_000


def bomb(codec: str) -> bytes:
    if codec == "zlib":
        return zlib.compress(bytes(LONG))
    return (
        gzip.compress(bytes(LONG)) if codec == "gzip" else bytes(numcodecs.get_codec({"id": codec}).encode(bytes(LONG)))
    )


@pytest.mark.parametrize("codec", ["gzip", "zlib", "bz2", "zstd", "lz4", "blosc"])
def test_what_decodes_to_too_much_is_known_before(codec: str) -> None:
    data = bomb(codec)
    assert not fits(data, codec, 2**26)
    assert fits(data, codec, LONG + 1)


@pytest.mark.parametrize("codec", ["gzip", "zlib", "bz2", "lzma", "zstd", ""])
def test_what_is_no_compressed_data_is_left_to_its_decoder(codec: str) -> None:
    for data in (b"", b"\x28\xb5\x2f\xfd", b"nothing of the kind" * 9000):
        assert fits(data, codec, 2**31)


def test_a_bomb_behind_another_member_is_found() -> None:
    assert not fits(gzip.compress(b"a") + bomb("gzip"), "gzip", 2**26)


@pytest.mark.parametrize("kind", ["2", "3", "shard"])
def test_a_chunk_that_decodes_to_gigabytes_is_refused(kind: str, tmp_path: Path) -> None:
    data = gzip.compress(bytes(LONG))
    if kind == "2":
        path = store(tmp_path / "a.zarr", compressors=numcodecs.GZip())
        (path / "s0" / "1.0.1").write_bytes(data)
    else:
        shards = (3, 80, 120) if kind == "shard" else None
        path = store(tmp_path / "a.zarr", zarr_format=3, compressors=zarr.codecs.GzipCodec(), shards=shards)  # type: ignore[attr-defined]
        file = path / "s0" / "c" / ("0/0/0" if kind == "shard" else "1/0/1")
        if kind == "shard":
            index = np.tile(np.array([0, len(data)], "<u8"), 18).tobytes()
            checksum = google_crc32c.value(index).to_bytes(4, "little")
            data = data + index + checksum
        file.write_bytes(data)
    with pytest.raises(ReadError, match="would decode to more than"):
        read(path)


def test_an_array_that_is_nearly_nowhere_stored_is_refused_at_once(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr")
    meddled(path, lambda stated: stated.update(shape=[3, 80_000, 120_000], chunks=[1, 400, 400]))
    with pytest.raises(ReadError, match=r"chunks of .* only 18 are stored"):
        read(path)


def test_a_file_longer_than_any_chunk_is_not_read(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr")
    with (path / "s0" / "0.0.0").open("r+b") as file:
        file.truncate(2**37)
    with pytest.raises(ReadError, match="GiB long"):
        read(path)


# --------------------------------------------------------------------------------------- what is announced and lacks


@pytest.mark.parametrize("kind", [2, 3])
def test_a_channel_without_chunks_is_no_data(kind: int, tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", zarr_format=kind)
    for file in (path / "s0").rglob("*"):
        if file.is_file() and file.relative_to(path / "s0").as_posix().removeprefix("c/")[0] == "1":
            file.unlink()
    image = read(path)
    np.testing.assert_array_equal(image.levels[0], PIXELS[[0, 2]])
    assert image.channels == ("DAPI", "RFP")
    assert "channel 1 is announced, but none of the pixels are stored; left out as no data" in image.findings


def test_single_chunks_that_lack_are_said(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr")
    (path / "s0" / "1.0.1").unlink()
    image = read(path)
    assert image.levels[0].shape == PIXELS.shape
    assert "1 of 18 chunks are not stored and read as the fill value" in image.findings
    for file in (path / "s0").glob("[0-9]*"):
        file.unlink()
    with pytest.raises(ReadError, match="None of the pixels"):
        read(path)


def test_slices_without_chunks_are_no_data(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr")
    stated = json.loads((path / ".zattrs").read_text())
    stated["multiscales"][0]["axes"][0] = {"name": "z", "type": "space", "unit": "nanometer"}
    (path / ".zattrs").write_text(json.dumps(stated))
    for file in (path / "s0").glob("1.*"):
        file.unlink()
    image = read(path)
    np.testing.assert_array_equal(image.valid().all(axis=(1, 2)), [True, False, True])
    assert "of 3 slices 1 are announced and not stored; they are no data" in image.findings


def test_channels_left_out_of_a_store_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("correlight.io.content.IN_MEMORY", 1000)
    path = store(tmp_path / "a.zarr")
    for file in (path / "s0").glob("1.*"):
        file.unlink()
    content = read_ome_zarr(path)
    pixels = content.pixels
    assert not isinstance(pixels, np.ndarray)
    assert content.channels == ("DAPI", "RFP")
    np.testing.assert_array_equal(pixels[:, 3:9, ::2], PIXELS[[0, 2], 3:9, ::2])
    np.testing.assert_array_equal(pixels[1, 3], PIXELS[2, 3])


# ------------------------------------------------------------------------------------------------------ where it lies

SCALE: dict[str, Any] = {"type": "scale", "scale": [1, 20, 20]}
SHIFT: dict[str, Any] = {"type": "translation", "translation": [0, 60_000, 52_000]}


@pytest.mark.parametrize("steps", [[SCALE, SHIFT], [{"type": "sequence", "transformations": [SCALE, SHIFT]}]])
def test_a_translation_is_where_the_pixels_lie(steps: list[dict[str, Any]], tmp_path: Path) -> None:
    image = read(store(tmp_path / "a.zarr", steps=steps))
    assert image.grid.origin == pytest.approx((60.0, 52.0))
    np.testing.assert_allclose(image.grid.points([[10, 5]]), [[60.2, 52.1]])
    assert read(tmp_path / "a.zarr", spacing=0.04).grid.origin == pytest.approx((60.0, 52.0))


def test_a_translation_of_the_whole_image_comes_after_its_scale(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", steps=[SCALE, SHIFT])
    stated = json.loads((path / ".zattrs").read_text())
    stated["multiscales"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [1, 2, 2]}, SHIFT]
    (path / ".zattrs").write_text(json.dumps(stated))
    grid = read(path).grid
    assert grid.spacing == pytest.approx((0.04, 0.04))
    assert grid.origin == pytest.approx((180.0, 156.0))


def test_a_transformation_or_unit_that_is_not_understood_is_said(tmp_path: Path) -> None:
    odd = {"type": "rotation", "rotation": [[1, 0, 0], [0, 0, 1], [0, -1, 0]]}
    image = read(store(tmp_path / "a.zarr", steps=[SCALE, odd]))
    assert "stated, not understood: a coordinate transformation of the type 'rotation'" in image.findings
    path = store(tmp_path / "b.zarr")
    (path / ".zattrs").write_text((path / ".zattrs").read_text().replace("nanometer", "furlong"))
    image = read(path)
    assert not image.grid.calibrated
    assert "stated, not understood: 20 furlong per pixel along y" in image.findings


def test_a_scale_without_a_unit_is_said_and_a_translation_kept_in_pixels(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", steps=[SCALE, SHIFT])
    (path / ".zattrs").write_text((path / ".zattrs").read_text().replace('"nanometer"', '""'))
    image = read(path)
    assert (image.grid.unit, image.grid.origin) == ("pixel", (3000.0, 2600.0))
    assert "stated, not understood: 20 of no unit per pixel along y" in image.findings
    assert read(path, spacing=0.02).grid.origin == pytest.approx((60.0, 52.0))
