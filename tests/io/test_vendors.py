"""Files of instruments; MRC written by its own library, the others from their published descriptions."""

import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from correlight.errors import ReadError, UsageError
from correlight.io import read
from tests.vendor_files import CZI_METADATA, czi, dm, dm_image, lif

RNG = np.random.default_rng(0)
PAIR = RNG.integers(0, 60_000, (2, 40, 50)).astype(np.uint16)
VOLUME = RNG.integers(0, 255, (1, 4, 40, 50)).astype(np.uint8)
COLOURS = RNG.integers(0, 255, (40, 50, 3)).astype(np.uint8)
THUMBNAIL = dm_image(RNG.integers(0, 255, (8, 8)).astype(np.uint8), (1.0, 1.0), "")


def installed(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed; it belongs to the extra formats")


def made(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# ------------------------------------------------------------------------------------------------------------ LIF


def test_lif_images_with_their_names_sizes_and_stage(tmp_path: Path) -> None:
    installed("liffile")
    images: dict[str, Any] = {"one": (PAIR, (0.2, 0.1), ["DAPI", "GFP"]), "two": (VOLUME, (0.5, 0.2, 0.1), ["grey"])}
    path = made(tmp_path / "a.lif", lif(images, stage=(1e-3, 2e-3)))
    first, second = read(path), read(path, scene="two")
    np.testing.assert_array_equal(first.levels[0], PAIR)
    assert first.grid.spacing == pytest.approx((0.2, 0.1), rel=1e-12)
    assert (first.channels, first.source["reader"]) == (("DAPI", "GFP"), "LIF")
    assert first.source["stage_position"] == (1000.0, 2000.0)
    assert first.findings == ("the file holds 2 images, 0 (one), 1 (two); the first is read",)
    assert second.findings == ("the file holds 2 images, 0 (one), 1 (two); number 1 is read",)
    np.testing.assert_array_equal(second.levels[0], VOLUME)
    assert second.grid.spacing == pytest.approx((0.5, 0.2, 0.1), rel=1e-12)
    with pytest.raises(UsageError, match=r"it has 0 \(one\), 1 \(two\)"):
        read(path, scene="three")


def test_the_description_in_a_lif_file_may_not_bring_a_document_type(tmp_path: Path) -> None:
    installed("liffile")
    whole = lif({"one": (PAIR, (0.2, 0.1), ["a", "b"])})
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb">]><LMSDataContainerHeader Version="2">&b;</LMSDataContainerHeader>'
    text = bomb.encode("utf-16-le")
    head = whole[:4] + (5 + len(text)).to_bytes(4, "little") + b"\x2a" + len(bomb).to_bytes(4, "little")
    with pytest.raises(ReadError, match="document type definition"):
        read(made(tmp_path / "a.lif", head + text))


# ------------------------------------------------------------------------------------------------------------ CZI


def czi_tiles() -> bytes:
    """Two scenes of two channels of two tiles each; the second scene is brighter by one."""
    blocks = [
        (PAIR[c, :, x : x + 25] + s, {"C": c, "X": 100 + 60 * s + x, "Y": 7, "S": s})
        for c in (0, 1) for x in (0, 25) for s in (0, 1)
    ]  # fmt: skip
    return czi(blocks, CZI_METADATA)


def test_czi_tiles_are_joined_scene_by_scene(tmp_path: Path) -> None:
    installed("czifile")
    path = made(tmp_path / "a.czi", czi_tiles())
    first, second = read(path), read(path, scene="P2")
    np.testing.assert_array_equal(first.levels[0], PAIR)
    np.testing.assert_array_equal(second.levels[0], PAIR + 1)
    assert first.grid.spacing == pytest.approx((0.2, 0.1), rel=1e-12)
    assert (first.channels, first.source["spacing_source"]) == (("DAPI", "GFP"), "CZI metadata")
    assert first.source["stage_position"] == (-200.25, 1500.5)
    assert second.source["stage_position"] == (2.5, 1.5)


def test_czi_frames_stacks_and_colours(tmp_path: Path) -> None:
    installed("czifile")
    frames = made(tmp_path / "t.czi", czi([(PAIR[t], {"T": t}) for t in (0, 1)], CZI_METADATA))
    np.testing.assert_array_equal(read(frames, time=1).levels[0], PAIR[1:])
    assert "the file holds 2 frames of a time series; the first is read" in read(frames).findings
    stack = made(tmp_path / "z.czi", czi([(plane, {"Z": z}) for z, plane in enumerate(VOLUME[0])], CZI_METADATA))
    np.testing.assert_array_equal(read(stack).levels[0], VOLUME)
    assert read(stack).grid.spacing == pytest.approx((0.5, 0.2, 0.1), rel=1e-12)
    picture = read(made(tmp_path / "c.czi", czi([(COLOURS, {})], CZI_METADATA)))
    assert picture.rgb
    np.testing.assert_array_equal(picture.levels[0], np.moveaxis(COLOURS, -1, 0))


# --------------------------------------------------------------------------------------------------------- DM3, DM4


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_dm_images_behind_the_thumbnail(version: int, dtype: str, tmp_path: Path) -> None:
    pixels = (PAIR[0] // 512).astype(dtype)
    path = made(tmp_path / f"a.dm{version}", dm(version, [THUMBNAIL, dm_image(pixels, (2.0, 1.5), "nm")]))
    image = read(path)
    np.testing.assert_array_equal(image.levels[0][0], pixels)
    assert image.dtype == np.dtype(dtype)
    assert image.grid.spacing == pytest.approx((0.002, 0.0015), rel=1e-6)
    assert (image.source["reader"], image.source["stage_position"]) == ("DM", (-3.25, 12.5))


def test_dm_volumes_scenes_and_units_that_are_no_length(tmp_path: Path) -> None:
    stack = dm_image(VOLUME[0], (4.0, 2.0, 1.0), "µm", "stack")
    diffraction = dm_image(PAIR[1], (1.0, 1.0), "1/nm", "diffraction")
    path = made(tmp_path / "a.dm4", dm(4, [THUMBNAIL, stack, diffraction]))
    np.testing.assert_array_equal(read(path).levels[0], VOLUME)
    assert read(path).grid.spacing == (4.0, 2.0, 1.0)
    assert not read(path, scene="diffraction").grid.calibrated


@pytest.mark.parametrize(
    ("spacing", "units", "words"),
    [
        ((2.0, 1.5), ("nm", "nm"), "4 images in a stack"),  # as a stack builder leaves it
        ((1.0, 2.0, 1.5), ("", "nm", "nm"), "4 images in a stack"),
        ((2.5, 2.0, 1.5), ("s", "nm", "nm"), "4 frames of a time series"),
        ((2.5, 2.0, 1.5), ("eV", "nm", "nm"), "stated, not understood: 2.5 eV per pixel along z"),
        ((0.0, 2.0, 1.5), ("nm", "nm", "nm"), "stated, not understood: 0 nm per pixel along z"),
    ],
)
def test_a_third_axis_without_a_length_loses_neither_x_nor_y(
    spacing: tuple[float, ...], units: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    path = made(tmp_path / "a.dm3", dm(3, [dm_image(VOLUME[0], spacing, units)]))
    image = read(path)
    np.testing.assert_array_equal(image.levels[0][0], VOLUME[0, 0])
    assert image.grid.spacing == pytest.approx((0.002, 0.0015), rel=1e-6)
    assert any(words in finding for finding in image.findings)
    np.testing.assert_array_equal(read(path, time=3).levels[0][0], VOLUME[0, 3])


@pytest.mark.parametrize(
    ("spacing", "unit", "said"),
    [
        ((8.0, 8.0), "", "stated, not understood: 8 of no unit per pixel along x"),
        ((0.0, 8.0), "nm", "stated, not understood: 0 nm per pixel along y"),
        ((0.0, 8.0), "nm", "only the pixel size along x is known, 0.008 µm, so none is used"),
    ],
)
def test_a_scale_of_nothing_and_one_of_no_unit_are_said(
    spacing: tuple[float, float], unit: str, said: str, tmp_path: Path
) -> None:
    image = read(made(tmp_path / "a.dm3", dm(3, [dm_image(PAIR[0], spacing, unit)])))
    assert not image.grid.calibrated
    assert said in image.findings
    plain = read(made(tmp_path / "b.dm3", dm(3, [dm_image(PAIR[0], (1.0, 1.0), "")])))
    assert plain.findings == ()


def test_a_unit_that_is_not_understood_is_said(tmp_path: Path) -> None:
    path = made(tmp_path / "a.dm3", dm(3, [dm_image(PAIR[0], (2.0, 1.5), ("furlong", "nm"))]))
    image = read(path)
    assert not image.grid.calibrated
    assert "stated, not understood: 2 furlong per pixel along y" in image.findings
    assert "only the pixel size along x is known, 0.0015 µm, so none is used" in image.findings


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"%%%%", b"%%%!", "no mark"),
        (b"\x00\x00\x07\xd0", b"\x7f\xff\xff\xff", "truncated"),  # number of pixels
        (b"ImageList", b"ImagePost", "holds none"),
        (b"DataType", b"DataTipo", "type None"),
    ],
)
def test_damaged_dm_files_are_named(old: bytes, new: bytes, words: str, tmp_path: Path) -> None:
    whole = dm(3, [dm_image(PAIR[0], (2.0, 1.0), "nm")])
    assert old in whole
    with pytest.raises(ReadError, match=words):
        read(made(tmp_path / "a.dm3", whole.replace(old, new, 1)))


def test_tags_nested_without_end_are_refused(tmp_path: Path) -> None:
    tree: dict[str, Any] = {}
    for _ in range(200):
        tree = {"a": tree}
    with pytest.raises(ReadError, match="nested more than 32 deep"):
        read(made(tmp_path / "a.dm4", dm(4, [tree])))


# ------------------------------------------------------------------------------------------------------------ MRC


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float32"])
def test_mrc_pictures_in_angstrom(dtype: str, tmp_path: Path) -> None:
    mrcfile = installed("mrcfile")
    pixels = (PAIR[0] // 512).astype(dtype)
    mrcfile.write(tmp_path / "a.mrc", pixels, voxel_size=(10, 20, 30))
    image = read(tmp_path / "a.mrc")
    np.testing.assert_array_equal(image.levels[0][0], pixels)
    assert image.grid.spacing == pytest.approx((0.002, 0.001), rel=1e-6)
    assert (image.source["reader"], image.source["spacing_source"]) == ("MRC", "MRC header")


def test_mrc_volumes_stacks_and_headers_that_nobody_filled_in(tmp_path: Path) -> None:
    mrcfile = installed("mrcfile")
    volume = VOLUME[0].astype(np.int8)
    mrcfile.write(tmp_path / "a.mrc", volume, voxel_size=(10, 20, 30))
    np.testing.assert_array_equal(read(tmp_path / "a.mrc").levels[0][0], volume)
    assert read(tmp_path / "a.mrc").grid.spacing == pytest.approx((0.003, 0.002, 0.001), rel=1e-6)
    with mrcfile.new(tmp_path / "b.mrc", data=volume) as file:
        file.set_image_stack()
    stack = read(tmp_path / "b.mrc")
    assert stack.findings == ("the file holds 4 images in a stack; the first is read",)
    np.testing.assert_array_equal(read(tmp_path / "b.mrc", time=2).levels[0][0], volume[2])
    assert not stack.grid.calibrated


def test_a_lying_mrc_header_takes_no_memory(tmp_path: Path) -> None:
    mrcfile = installed("mrcfile")
    mrcfile.write(tmp_path / "a.mrc", PAIR[0], voxel_size=10)
    data = bytearray((tmp_path / "a.mrc").read_bytes())
    for place, words in ((40_000, "truncated"), (2_000_000_000, "at most 256 GiB"), (-3, "declares|damaged")):
        data[0:4] = place.to_bytes(4, "little", signed=True)
        data[4:8] = place.to_bytes(4, "little", signed=True)
        tracemalloc.start()
        try:
            with pytest.raises(ReadError, match=words):
                read(made(tmp_path / "a.mrc", bytes(data)))
            assert tracemalloc.get_traced_memory()[1] < 20e6
        finally:
            tracemalloc.stop()


# ------------------------------------------------------------------------------------------------------------ ND2


class FakeNd2:
    """What nd2 offers of a file with two positions of two channels (there is no writer of ND2)."""

    loops: ClassVar[dict[str, int]] = {"P": 2, "T": 3}
    calibrated: ClassVar[tuple[bool, ...]] = (True, True, False)

    def __init__(self, path: Path) -> None:
        self.sizes = {**self.loops, "C": 2, "Y": 40, "X": 50}
        self.dtype = PAIR.dtype
        points = [SimpleNamespace(name="A1"), SimpleNamespace(name=None)]
        self.experiment = [SimpleNamespace(type="XYPosLoop", parameters=SimpleNamespace(points=points))]
        volume = SimpleNamespace(axesCalibrated=self.calibrated)
        channels = [SimpleNamespace(channel=SimpleNamespace(name=name), volume=volume) for name in ("DAPI", "GFP")]
        self.metadata = SimpleNamespace(channels=channels)

    def __enter__(self) -> "FakeNd2":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def asarray(self, position: int | None = None) -> Any:
        assert position is not None
        loops = {**self.loops, "P": 1}
        frames = [PAIR + self.brighter(**{**place, "P": position}) for place in self.places(loops)]
        return np.stack(frames).reshape(*loops.values(), *PAIR.shape)

    @staticmethod
    def places(loops: dict[str, int]) -> list[dict[str, int]]:
        return [dict(zip(loops, place, strict=True)) for place in np.ndindex(*loops.values())]

    @staticmethod
    def brighter(P: int, T: int = 0, Z: int = 0, U: int = 0) -> int:
        return P + 10 * T + 100 * Z + 1000 * U

    def voxel_size(self) -> Any:
        return SimpleNamespace(x=0.1, y=0.2, z=1.0)

    def frame_metadata(self, frame: int) -> Any:
        here = self.places(self.loops)[frame]
        place = SimpleNamespace(x=100.0 * here["P"] + here.get("T", 0), y=-50.0, z=3.0)
        return SimpleNamespace(channels=[SimpleNamespace(position=SimpleNamespace(stagePositionUm=place))])


def test_nd2_positions_and_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nd2", SimpleNamespace(ND2File=FakeNd2))  # type: ignore[arg-type]
    path = made(tmp_path / "a.nd2", b"\xda\xce\xbe\x0a" + bytes(300))
    first, second = read(path, scene="A1"), read(path, scene=1, time=2)
    np.testing.assert_array_equal(first.levels[0], PAIR)
    np.testing.assert_array_equal(second.levels[0], PAIR + 21)
    assert (first.channels, first.grid.spacing) == (("DAPI", "GFP"), (0.2, 0.1))
    assert first.findings == (
        "the file holds 2 images, 0 (A1), 1; number 0 is read",
        "the file holds 3 frames of a time series; the first is read",
    )
    assert second.findings == (
        "the file holds 2 images, 0 (A1), 1; number 1 is read",
        "the file holds 3 frames of a time series; number 2 is read",
    )
    assert second.source["stage_position"] == (-50.0, 102.0)


@pytest.mark.parametrize(
    "loops", [{"T": 3, "P": 2}, {"P": 2, "T": 3}, {"T": 3, "Z": 4, "P": 2}, {"Z": 4, "P": 2, "T": 3}, {"P": 2, "U": 5}]
)
def test_nd2_loops_in_any_order(loops: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type("Loops", (FakeNd2,), {"loops": loops, "calibrated": (True, True, True)})
    monkeypatch.setitem(sys.modules, "nd2", SimpleNamespace(ND2File=kind))  # type: ignore[arg-type]
    path = made(tmp_path / "a.nd2", b"\xda\xce\xbe\x0a" + bytes(300))
    image = read(path, scene=1, time=2 if "T" in loops else None)
    expected = 1 + 20 * ("T" in loops)
    plane = image.levels[0][:, 0] if "Z" in loops else image.levels[0]
    np.testing.assert_array_equal(plane, PAIR + expected)
    assert image.source["stage_position"] == (-50.0, 100.0 + 2 * ("T" in loops))
    if "U" in loops:
        assert image.findings == (
            "the file holds 2 images, 0 (A1), 1; number 1 is read",
            "the file holds 5 steps of a custom loop (axis U); the first is read",
        )


def test_a_pixel_size_along_some_axes_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type("Deep", (FakeNd2,), {"loops": {"P": 2, "Z": 4}})
    monkeypatch.setitem(sys.modules, "nd2", SimpleNamespace(ND2File=kind))  # type: ignore[arg-type]
    image = read(made(tmp_path / "a.nd2", b"\xda\xce\xbe\x0a" + bytes(300)), scene=1)
    words = "the pixel size is 0.2 µm along y and 0.1 µm along x, but not stated along z, so none is used"
    assert not image.grid.calibrated
    assert words in image.findings


def test_an_nd2_file_of_a_single_position_says_where_it_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class One(FakeNd2):
        loops: ClassVar[dict[str, int]] = {"T": 3}

        def asarray(self, position: int | None = None) -> Any:
            assert position is None
            return np.stack([PAIR + 10 * t for t in range(3)])

        def frame_metadata(self, frame: int) -> Any:
            place = SimpleNamespace(x=float(frame), y=-50.0, z=3.0)
            return SimpleNamespace(channels=[SimpleNamespace(position=SimpleNamespace(stagePositionUm=place))])

    monkeypatch.setitem(sys.modules, "nd2", SimpleNamespace(ND2File=One))  # type: ignore[arg-type]
    path = made(tmp_path / "a.nd2", b"\xda\xce\xbe\x0a" + bytes(300))
    assert read(path, time=2).source["stage_position"] == (-50.0, 2.0)


def test_damaged_nd2_files_are_named(tmp_path: Path) -> None:
    installed("nd2")
    with pytest.raises(ReadError, match="truncated or damaged") as caught:
        read(made(tmp_path / "a.nd2", b"\xda\xce\xbe\x0a" + bytes(300)))
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------------------- bioio


class FakeBioio:
    """What bioio offers of a file with two scenes; which files it reads depends on its plug-ins."""

    scenes = ("left", "right")
    resolution_levels = (0,)
    channel_names: ClassVar[list[str]] = ["DAPI", "GFP"]
    dims = SimpleNamespace(order="TCZYX")
    physical_pixel_sizes = SimpleNamespace(Z=None, Y=0.2, X=0.1)

    def __init__(self, path: Path) -> None:
        if path.stat().st_size < 10:
            raise RuntimeError("no plug-in\nreads this")

    def set_scene(self, number: int) -> None:
        self.dask_data = np.stack([PAIR + 10 * t + number for t in range(3)])[:, :, None]

    def set_resolution_level(self, level: int) -> None:
        assert level == 0


def test_bioio_reads_what_nothing_else_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "a.vsi", bytes(20))
    monkeypatch.setattr("correlight.io.kinds.bioio_is_installed", lambda: False)
    with pytest.raises(ReadError, match="export the image as one of"):
        read(path)
    monkeypatch.setattr("correlight.io.kinds.bioio_is_installed", lambda: True)
    monkeypatch.setitem(sys.modules, "bioio", SimpleNamespace(BioImage=FakeBioio))  # type: ignore[arg-type]
    image = read(path, scene="right", time=2)
    np.testing.assert_array_equal(image.levels[0], PAIR + 21)
    assert (image.channels, image.grid.spacing, image.source["reader"]) == (("DAPI", "GFP"), (0.2, 0.1), "bioio")
    assert read(path).findings == (
        "the file holds 2 images, 0 (left), 1 (right); the first is read",
        "the file holds 3 frames of a time series; the first is read",
    )
    with pytest.raises(ReadError, match=r"with bioio \(no plug-in reads this\)"):
        read(made(tmp_path / "b.vsi", bytes(5)))


# ------------------------------------------------------------------------------------------------------- all of them


def whole(kind: str) -> bytes:
    if kind == "lif":
        return lif({"one": (PAIR, (0.2, 0.1), ["DAPI", "GFP"])})
    if kind == "czi":
        return czi_tiles()
    return dm(int(kind[-1]), [THUMBNAIL, dm_image(PAIR[0], (2.0, 1.0), "nm")])


@pytest.mark.parametrize(("kind", "package"), [("lif", "liffile"), ("czi", "czifile"), ("dm3", ""), ("dm4", "")])
@pytest.mark.parametrize("part", [0.0005, 0.02, 0.3, 0.6, 0.9, 0.999])
def test_truncated_files_are_refused(kind: str, package: str, part: float, tmp_path: Path) -> None:
    if package:
        installed(package)
    data = whole(kind)
    # The last bytes of a file may hold nothing; what lies before them counts.
    end = len(data) - (50 if part > 0.99 else 0)
    path = made(tmp_path / f"a.{kind}", data[: max(5, int(part * end))])
    with pytest.raises(ReadError) as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "package"), [("a.lif", "liffile"), ("a.czi", "czifile"), ("a.nd2", "nd2")])
def test_a_missing_reader_is_named_with_the_command_that_installs_it(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    start = {"a.lif": whole("lif"), "a.czi": whole("czi"), "a.nd2": b"\xda\xce\xbe\x0a" + bytes(300)}[name]
    with pytest.raises(ReadError, match=rf'package {package}; run: pip install "correlight\[formats\]"'):
        read(made(tmp_path / name, start))
