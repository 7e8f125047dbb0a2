"""Small files of instruments, written from the published descriptions where no library writes them.

CZI: ZISRAW (CZI) file format, design specification 1.2.2. LIF: Leica image file formats, version 3.2. DM3 and DM4:
https://www.rsb.info.nih.gov/ij/plugins/DM3Format.gj.html
"""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# ------------------------------------------------------------------------------------------------------------ LIF


def _memory(data: bytes, name: str) -> bytes:
    text = name.encode("utf-16-le")
    head = struct.pack("<BQBI", 0x2A, len(data), 0x2A, len(name)) + text
    return struct.pack("<II", 0x70, len(head)) + head + data


def lif(
    images: dict[str, tuple[Array, tuple[float, ...], list[str]]],
    stage: tuple[float, float] | list[tuple[float, float]] | None = None,
    flags: str = "",
) -> bytes:
    """A LIF file; each image is pixels (C, [Z,] Y, X), micrometres per pixel, and names of its channels.

    With a list of places the pixels are tiles, (M, C, [Z,] Y, X); flags say how the stage runs, 'FlipX="1"'.
    """
    elements, blocks = "", b""
    for number, (name, (pixels, spacing, channels)) in enumerate(images.items()):
        size, tiled = pixels.itemsize, isinstance(stage, list)
        parts, step = "", size
        inner = pixels.shape[1 + tiled :][::-1]
        for axis, (count, distance) in enumerate(zip(inner, spacing[::-1], strict=True), start=1):
            length = (count - 1) * distance * 1e-6
            parts += (
                f'<DimensionDescription DimID="{axis}" NumberOfElements="{count}" Origin="0" Length="{length!r}" '
                f'Unit="m" BitInc="0" BytesInc="{step}"/>'
            )
            step *= count
        if tiled:
            parts += (
                f'<DimensionDescription DimID="10" NumberOfElements="{len(pixels)}" Origin="0" Length="1" Unit="" '
                f'BitInc="0" BytesInc="{step * len(channels)}"/>'
            )
        listed = "".join(
            f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * size}" NameOfMeasuredQuantity="{label}" '
            f'Min="0" Max="1" Unit="" LUTName="Gray" IsLUTInverted="0" BytesInc="{step * place}" BitInc="0"/>'
            for place, label in enumerate(channels)
        )
        places = stage if isinstance(stage, list) else [] if stage is None else [stage]
        tile = "".join(f'<Tile FieldX="0" FieldY="0" PosX="{x!r}" PosY="{y!r}"/>' for y, x in places)
        elements += (
            f'<Element Name="{name}" Visibility="1" UniqueID="{number}"><Data><Image><ImageDescription>'
            f"<Channels>{listed}</Channels><Dimensions>{parts}</Dimensions></ImageDescription>"
            f'<Attachment Name="TileScanInfo" {flags}>{tile}</Attachment></Image></Data>'
            f'<Memory Size="{pixels.nbytes}" MemoryBlockID="MemBlock_{number}"/></Element>'
        )
        blocks += _memory(pixels.tobytes(), f"MemBlock_{number}")
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="pair"><Data/><Memory Size="0" MemoryBlockID="MemBlock_x"/>'
        f"<Children>{elements}</Children></Element></LMSDataContainerHeader>"
    )
    text = xml.encode("utf-16-le")
    return struct.pack("<IIBI", 0x70, 5 + len(text), 0x2A, len(xml)) + text + blocks


# ------------------------------------------------------------------------------------------------------------ CZI


def _segment(name: bytes, data: bytes) -> bytes:
    return struct.pack("<16sqq", name, len(data), len(data)) + data


def _entry(kind: int, place: int, axes: list[tuple[bytes, int, int]], codec: int, shrunk: int) -> bytes:
    head = struct.pack("<2siqiiBB4si", b"DV", kind, place, 0, codec, 0, 0, b"", len(axes))
    entries = [(axis, start, size * (shrunk if axis in b"XY" else 1), 0.0, size) for axis, start, size in axes]
    return head + b"".join(struct.pack("<4siifi", *entry) for entry in entries)


def czi(
    blocks: list[tuple[Array, dict[str, Any]]],
    metadata: str,
    codec: int = 0,
    encode: Callable[[Array], bytes] | None = None,
) -> bytes:
    """A CZI file; each block is a plane (Y, X) or (Y, X, 3), and where it starts along S, T, C, Z, Y, X and others.

    The entry "shrunk" makes the block a level of a pyramid, which stands for so many times its pixels; "stage_y" and
    "stage_x" say where the stage stood.
    """
    body, entries = b"", []
    start = 32 + 512
    for pixels, where in blocks:
        axes = [(b"X", where.get("X", 0), pixels.shape[1]), (b"Y", where.get("Y", 0), pixels.shape[0])]
        further = [axis for axis in where if axis not in "CZTSYX" and len(axis) == 1]
        axes += [(axis.encode(), where.get(axis, 0), 1) for axis in ("C", "Z", "T", "S", *further)]
        kind = 3 if pixels.ndim == 3 else {2: 1, 1: 0}[pixels.itemsize]
        stored = pixels[..., ::-1] if pixels.ndim == 3 else pixels
        data = stored.tobytes() if encode is None else encode(pixels)
        entry = _entry(kind, start + len(body), axes, codec, where.get("shrunk", 1))
        entries.append(entry)
        place = "".join(f"<Stage{axis}Position>{where[f'stage_{axis.lower()}']}</Stage{axis}Position>" for axis in "XY"
                        if f"stage_{axis.lower()}" in where)  # fmt: skip
        about = f"<METADATA><Tags>{place}</Tags></METADATA>".encode() if place else b""
        head = struct.pack("<iiq", len(about), 0, len(data)) + entry
        body += _segment(b"ZISRAWSUBBLOCK", head + bytes(max(0, 256 - len(head))) + about + data)
    directory = _segment(b"ZISRAWDIRECTORY", struct.pack("<i124x", len(entries)) + b"".join(entries))
    text = metadata.encode()
    about = _segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(text), 0) + text)
    places = start + len(body), start + len(body) + len(directory)
    head = struct.pack("<iiii16s16siqqiq", 1, 0, 0, 0, b"", b"", 0, places[0], places[1], 0, 0)
    return _segment(b"ZISRAWFILE", head.ljust(512, b"\0")) + body + directory + about


CZI_METADATA = """<?xml version="1.0"?><ImageDocument><Metadata><Information><Image><Dimensions>
<Channels><Channel Id="Channel:0" Name="DAPI"/><Channel Id="Channel:1" Name="GFP"/></Channels>
<S><Scenes><Scene Index="0" Name="P1"><CenterPosition>1500.5,-200.25</CenterPosition></Scene>
<Scene Index="1" Name="P2"><CenterPosition>1.5,2.5</CenterPosition></Scene></Scenes></S></Dimensions></Image>
</Information>
<Scaling><Items><Distance Id="X"><Value>1.0E-07</Value></Distance><Distance Id="Y"><Value>2.0E-07</Value></Distance>
<Distance Id="Z"><Value>5.0E-07</Value></Distance></Items></Scaling></Metadata></ImageDocument>"""

# ------------------------------------------------------------------------------------------------------ DM3 and DM4

_DM = {"int16": 2, "int32": 3, "uint16": 4, "uint32": 5, "float32": 6, "float64": 7, "int8": 9, "uint8": 10}
_DM_PIXELS = {"int16": 1, "float32": 2, "uint8": 6, "int32": 7, "int8": 9, "uint16": 10, "uint32": 11, "float64": 12}


class _Dm:
    """Writes tags in little-endian values, as the program does."""

    def __init__(self, version: int) -> None:
        self.version, self.word = version, ">q" if version == 4 else ">i"

    def value(self, value: Any) -> bytes:
        if isinstance(value, str):
            about, data = [20, 4, len(value)], value.encode("utf-16-le")
        elif isinstance(value, np.ndarray):
            about, data = [20, _DM[value.dtype.name], value.size], value.tobytes()
        elif isinstance(value, int):
            about, data = [5], struct.pack("<I", value)
        else:
            about, data = [6], struct.pack("<f", value)
        numbers = b"".join(struct.pack(self.word, number) for number in about)
        return b"%%%%" + struct.pack(self.word, len(about)) + numbers + data

    def group(self, tags: dict[str, Any]) -> bytes:
        out = struct.pack(">BB", 1, 0) + struct.pack(self.word, len(tags))
        for label, value in tags.items():
            name = b"" if label.startswith("#") else label.encode()
            body = self.group(value) if isinstance(value, dict) else self.value(value)
            length = struct.pack(">q", len(body)) if self.version == 4 else b""
            out += struct.pack(">BH", 20 if isinstance(value, dict) else 21, len(name)) + name + length + body
        return out


def dm_image(
    pixels: Array, spacing: tuple[float, ...], unit: str | tuple[str, ...], name: str = "STEM"
) -> dict[str, Any]:
    """The tags of one image; one unit, or one for each spacing."""
    units = (unit,) * len(spacing) if isinstance(unit, str) else unit
    calibrations = {
        f"#{n}": {"Origin": 0.0, "Scale": step, "Units": name}
        for n, (step, name) in enumerate(zip(spacing[::-1], units[::-1], strict=True))
    }
    return {
        "ImageData": {
            "Calibrations": {"Dimension": calibrations},
            "Data": pixels.ravel(),
            "DataType": _DM_PIXELS[pixels.dtype.name],
            "Dimensions": {f"#{n}": size for n, size in enumerate(pixels.shape[::-1])},
        },
        "ImageTags": {"Microscope Info": {"Stage Position": {"Stage X": 12.5, "Stage Y": -3.25, "Stage Z": 0.5}}},
        "Name": name,
    }


def dm(version: int, images: list[dict[str, Any]]) -> bytes:
    """A DM3 or DM4 file; the first of several images is the thumbnail."""
    writer = _Dm(version)
    tree = writer.group({"ImageList": {f"#{n}": image for n, image in enumerate(images)}, "Mode": "a longer text"})
    return struct.pack(">i", version) + struct.pack(writer.word, len(tree)) + struct.pack(">i", 1) + tree + bytes(8)
