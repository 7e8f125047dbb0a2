"""What rosettasciio (as a program of its own, for its licence) and tifffile read from the same files."""

import os
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from correlight.errors import CorrelightError
from correlight.io.axes import Selection
from correlight.io.content import Content
from correlight.io.kinds import content_of, kind_of
from tests.exchange.conftest import Elsewhere, elsewhere
from tests.vendor_files import dm, dm_image

RNG = np.random.default_rng(0)
PLANE = RNG.integers(1, 200, (40, 56))
STACK = RNG.integers(1, 200, (3, 40, 56))
MICROMETRES = {"nm": 1e-3, "µm": 1.0, "Å": 1e-4, "m": 1e6, "mm": 1e3}


@pytest.fixture(scope="module")
def with_rosettasciio() -> Elsewhere:
    return elsewhere("rsciio", "CORRELIGHT_ROSETTASCIIO_PYTHON")


# The third of three axes, or all of them, may be in a unit that is no length.
READ = """
import importlib, logging, warnings
import numpy as np
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
found = {}
for path in given["files"]:
    ending = path.rsplit(".", 1)[-1]
    kind = {"dm3": "digitalmicrograph", "dm4": "digitalmicrograph", "mrc": "mrc", "tif": "tiff"}[ending]
    try:
        signals = importlib.import_module("rsciio." + kind).file_reader(path)
    except Exception as error:
        found[path] = repr(error)
        continue
    found[path] = []
    for number, signal in enumerate(signals):
        pixels = np.asarray(signal["data"])
        if pixels.dtype.names:
            pixels = np.stack([pixels[name] for name in pixels.dtype.names], axis=-1)
        name = given["out"] + f"/{len(found)}_{number}.npy"
        np.save(name, pixels)
        axes = [[str(axis["name"]), float(axis["scale"]), str(axis["units"] or "")] for axis in signal["axes"]]
        found[path].append({"pixels": name, "axes": axes})
print(json.dumps(found))
"""


def ours(path: Path, **choice: Any) -> Content:
    """What is read here, of images however small."""
    return content_of(path, kind_of(path), calibrate=True, choice=Selection(**choice))


def same(content: Content, pixels: Any) -> bool:
    """Whether pixels of another reader, (Y, X), (Z, Y, X) or with colours last, are those that were read."""
    here = np.asarray(content.pixels)
    if any("palette" in text for text in content.findings):
        # Zeiss draws with the numbers 9, 18, 27 and so on, which stand for colours there and not for greys.
        here, pixels = np.where(pixels % 9, here, 0), np.where(pixels % 9, pixels, 0)
    if pixels.ndim == 4:
        # Pages of colours are channels here, without their opacity.
        pixels = np.moveaxis(pixels[..., :3], -1, 1)
    if content.rgb:
        return bool(pixels.shape[-1] >= 3 and np.array_equal(np.moveaxis(here, 0, -1), pixels[..., :3]))
    return bool(here.size == pixels.size and np.array_equal(here.ravel(), pixels.ravel()))


def lengths(axes: list[Any], ndim: int) -> list[float | None]:
    """Micrometres per pixel of the last axes; None where one is no length, or has no unit."""
    units = [MICROMETRES.get(unit) for _, _, unit in axes[-ndim:]]
    return [None if unit is None else scale * unit for (_, scale, _), unit in zip(axes[-ndim:], units, strict=True)]


def dm_files(folder: Path) -> None:
    """DM3 and DM4 of every kind of number, with third axes of length, of time and of neither."""
    for version in (3, 4):
        for kind in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"):
            (folder / f"{kind}.dm{version}").write_bytes(dm(version, [dm_image(PLANE.astype(kind), (4.0, 8.0), "nm")]))
        stack = STACK.astype("uint16")
        for unit, step in (("nm", 20.0), ("s", 2.5), ("", 1.0)):
            image = dm_image(stack, (step, 8.0, 8.0), (unit, "nm", "nm"))
            (folder / f"stack-{unit}.dm{version}").write_bytes(dm(version, [image]))
        images = [dm_image(stack[0], (1.0, 1.0), "nm", name) for name in ("thumbnail", "first", "second")]
        (folder / f"several.dm{version}").write_bytes(dm(version, images))


def mrc_files(folder: Path) -> None:
    """MRC of modes that mrcfile writes, flat and as volumes; not of bytes, which rosettasciio reads without sign."""
    mrcfile = pytest.importorskip("mrcfile", reason="mrcfile is not installed; it belongs to the extra formats")
    for kind in ("int16", "uint16", "float32"):
        for name, pixels in (("flat", PLANE), ("volume", STACK)):
            with mrcfile.new(folder / f"{name}-{kind}.mrc") as file:
                file.set_data(pixels.astype(kind))
                file.voxel_size = (40.0, 50.0, 60.0) if name == "volume" else (40.0, 50.0, 1.0)
                if name == "volume":
                    file.set_volume()


def tiff_files(folder: Path) -> None:
    """TIFF of ImageJ, of DigitalMicrograph, and with the lengths of a Zeiss microscope."""
    plane = PLANE.astype("uint16")
    options: dict[str, Any] = {"metadata": None, "photometric": "minisblack"}
    text = "ImageJ=1.53t\nunit=micron\nmin=0.0\nmax=200.0\n"
    tifffile.imwrite(
        folder / "imagej.tif", plane, resolution=(250, 200), resolutionunit="NONE", description=text, **options
    )
    tags = [
        *((code, "s", 0, unit, True) for code, unit in ((65003, "nm"), (65004, "nm"))),
        *((code, "d", 1, size, True) for code, size in ((65009, 4.0), (65010, 5.0))),
    ]
    tifffile.imwrite(folder / "gatan.tif", plane, extratags=tags, **options)
    shape = (40, 1024)
    lines = "0", "0", "0", "4.2503e-09", "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 4.25 nm", ""
    tags = [(34118, "s", 0, "\r\n".join(lines).encode("cp1252"), True)]
    tifffile.imwrite(folder / "zeiss.tif", np.resize(plane, shape), extratags=tags, **options)


@pytest.mark.parametrize("make", [dm_files, mrc_files, tiff_files])
def test_rosettasciio_reads_the_same(
    make: Callable[[Path], None], tmp_path: Path, with_rosettasciio: Elsewhere
) -> None:
    (tmp_path / "out").mkdir()
    make(tmp_path)
    compared = differing(sorted(tmp_path.glob("*.*")), tmp_path / "out", with_rosettasciio)
    assert compared > 2


def test_real_files_of_instruments_are_read_as_rosettasciio_does(tmp_path: Path, with_rosettasciio: Elsewhere) -> None:
    folder = os.environ.get("CORRELIGHT_INSTRUMENT_FILES")
    if not folder:
        pytest.skip("CORRELIGHT_INSTRUMENT_FILES names no folder with files of instruments")
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix in (".dm3", ".dm4", ".mrc", ".tif"))
    assert differing(files, tmp_path, with_rosettasciio) > 10


def differing(files: list[Path], folder: Path, with_rosettasciio: Elsewhere) -> int:
    """Compare what both readers make of files; how many images that were."""
    found = with_rosettasciio(READ, {"files": [str(path) for path in files], "out": str(folder)})
    compared, refused = 0, list[str]()
    for path in files:
        try:
            content = ours(path)
        except CorrelightError as error:
            refused.append(str(error))
            continue
        signals = found[str(path)]
        if isinstance(signals, str):
            continue
        images = [(np.load(signal["pixels"]), signal["axes"]) for signal in signals]
        shape = content.pixels.shape[1:]
        # Where one plane of several is read, it is the first.
        images += [(pixels[0], axes[1:]) for pixels, axes in images if len(axes) == 3 and len(shape) == 2]
        fitting = [axes for pixels, axes in images if same(content, pixels)]
        assert fitting, f"other pixels in {path.name}"
        expected = lengths(fitting[0], content.ndim)
        known = content.spacing is not None and content.spacing_source != "resolution tags"
        assert known == (None not in expected[-2:]), f"another pixel size in {path.name}: {content.spacing}, {fitting}"
        for here, there in zip(content.spacing or (), expected, strict=False):
            assert there is None or here == pytest.approx(there, rel=1e-5), path.name
        compared += 1
    assert not any("\n" in words for words in refused)
    return compared


# ------------------------------------------------------------------------------------------------------ tifffile

WRITTEN: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 32)},
    "packed": {"compression": "zlib", "predictor": True, "tile": (16, 16)},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True, "compression": "lzw"},
}
LENGTHS = {"T": 2, "C": 3, "Z": 4, "Y": 40, "X": 56, "S": 3}


ORDERS = ["YX", "CYX", "ZYX", "CZYX", "ZCYX", "TCZYX", "ZTCYX", "TCYX", "CTZYX"]
SAMPLES = [
    (kind, extra, layout)
    for kind in ("minisblack", "miniswhite", "rgb")
    for extra in ((), ("unassalpha",), ("unspecified", "unspecified"))
    for layout in ("contig", "separate")
]


def in_turn(cases: list[Any]) -> list[tuple[Any, str]]:
    """Each case with one of the ways to write it."""
    return list(zip(cases, cycle(WRITTEN), strict=False))


@pytest.mark.parametrize(("axes", "how"), in_turn(ORDERS))
def test_axes_channels_and_sizes_of_ome_are_those_of_tifffile(axes: str, how: str, tmp_path: Path) -> None:
    shape = [LENGTHS[axis] for axis in axes]
    pixels = RNG.integers(1, 60000, shape).astype(np.uint16)
    names = [f"dye {n}" for n in range(3)][: shape[axes.index("C")] if "C" in axes else 1]
    metadata: dict[str, Any] = {"axes": axes, "Channel": {"Name": names}, "PhysicalSizeX": 0.2, "PhysicalSizeY": 300}
    metadata |= {"PhysicalSizeYUnit": "nm", "PhysicalSizeZ": 1e-3, "PhysicalSizeZUnit": "mm"}
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, pixels, metadata=metadata, photometric="minisblack", **WRITTEN[how])
    content = ours(path, **({"time": 1} if "T" in axes else {}))
    expected = tifffile.imread(path)
    if "T" in axes:
        expected = expected.take(1, axis=axes.index("T"))
    left = axes.replace("T", "")
    expected = expected.transpose([left.index(axis) for axis in "CZYX" if axis in left])
    np.testing.assert_array_equal(np.asarray(content.pixels), expected if "C" in axes else expected[None])
    assert content.channels == tuple(names)
    assert content.spacing == pytest.approx((1.0, 0.3, 0.2)[-content.ndim :])


@pytest.mark.parametrize("axes", ["YX", "CYX", "ZYX", "ZCYX", "TZCYX", "TYX", "YXS", "TZYX"])
def test_axes_of_imagej_are_those_of_tifffile(axes: str, tmp_path: Path) -> None:
    pixels = RNG.integers(1, 200, [LENGTHS[axis] for axis in axes]).astype(np.uint8)
    metadata: dict[str, Any] = {"axes": axes, "unit": "um", "spacing": 0.5}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, imagej=True, resolution=(5, 4), metadata=metadata)
    content = ours(path, **({"time": 1} if "T" in axes else {}))
    expected = tifffile.imread(path)
    expected = expected[1] if "T" in axes else expected
    left = axes.replace("T", "").replace("S", "C")
    expected = expected.transpose([left.index(axis) for axis in "CZYX" if axis in left])
    np.testing.assert_array_equal(np.asarray(content.pixels), expected if "C" in left else expected[None])
    assert content.rgb == ("S" in axes)
    assert content.spacing == pytest.approx((0.5, 0.25, 0.2)[-content.ndim :])


@pytest.mark.parametrize(("case", "how"), in_turn(SAMPLES))
def test_samples_of_a_pixel_are_those_of_tifffile(
    case: tuple[str, tuple[str, ...], Any], how: str, tmp_path: Path
) -> None:
    kind, extra, layout = case
    base = 3 if kind == "rgb" else 1
    count = base + len(extra)
    shape = (40, 56, count) if layout == "contig" else (count, 40, 56)
    pixels = RNG.integers(0, 3, shape).astype(np.uint16) * 900
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {"metadata": None, "planarconfig": layout if count > 1 else None, "extrasamples": extra}
    tifffile.imwrite(path, pixels if count > 1 else pixels.squeeze(), photometric=kind, **options, **WRITTEN[how])
    planes = tifffile.imread(path)
    planes = planes[None] if count == 1 else np.moveaxis(planes, -1, 0) if layout == "contig" else planes
    if kind == "miniswhite":
        planes[: count - (extra == ("unassalpha",))] ^= 65535
    content = ours(path)
    alpha = extra == ("unassalpha",)
    np.testing.assert_array_equal(np.asarray(content.pixels), planes[:-1] if alpha else planes)
    assert content.rgb == (kind == "rgb" and len(extra) < 2)
    assert (content.opaque is not None) == alpha
    if alpha:
        np.testing.assert_array_equal(content.opaque, planes[-1] != 0)
