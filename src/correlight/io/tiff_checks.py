"""Whether a TIFF file is whole, before anything is decoded."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import tifffile

from correlight.errors import ReadError
from correlight.io.door import check_regular
from correlight.parsing import is_plain_name, open_regular

_UNCOMPRESSED = 1  # Compression
_AT_MOST = {5: 1400, 8: 1040, 32773: 64, 32946: 1040}  # bytes that one of LZW, deflate and PackBits can unpack to
_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # of a TIFF tag; else 1
_WALK = 2**34  # bytes of pixels that are walked over whatever the size of the file
_RATIO = 4096  # beyond: no image that shows anything is packed as tightly

Sizes = dict[Path, int]


def check_directory(path: Path) -> None:
    """Refuse a file that ends before the tags of its first page do, or before the last of its pages.

    tifffile passes over such tags and pages, and with them would go the pixel size, or channels.
    """
    size = path.stat().st_size
    with open_regular(path, "an image file") as file:
        start = file.read(16)
        order, big = ("<" if start[:2] == b"II" else ">"), start[2:4] in (b"+\0", b"\0+")
        word, head, entry = (f"{order}{code}" for code in (("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")))
        offset = struct.unpack_from(word, start, 8 if big else 4)[0]
        file.seek(min(offset, size))
        count = struct.unpack(head, file.read(struct.calcsize(head)))[0]
        entries = file.read(min(count * struct.calcsize(entry), size))
        _check_chain(path, file, size, offset, (word, head, entry))
    for _, kind, number, value in struct.iter_unpack(entry, entries):
        length = number * _TYPE_BYTES.get(kind, 1)
        place = struct.unpack(word, value)[0]
        if length > len(value) and place + length > size:
            raise ReadError(f"{path} is truncated: the file ends before its tags do; copy or export it again.")


def _check_chain(path: Path, file: BinaryIO, size: int, first: int, codes: tuple[str, str, str]) -> None:
    """Follow the directories behind the first, of which each says where the next one lies, to the end."""
    word, head, entry = codes
    seen = {first}
    while len(data := file.read(struct.calcsize(word))) == struct.calcsize(word):
        offset = struct.unpack(word, data)[0]
        if offset == 0:
            return
        if offset in seen:
            # tifffile would go round, some four thousand million times.
            raise ReadError(f"{path} is damaged: its pages lead back to an earlier one; copy or export it again.")
        seen.add(offset)
        file.seek(min(offset, size))
        data = file.read(struct.calcsize(head))
        tags = struct.unpack(head, data)[0] * struct.calcsize(entry) if len(data) == struct.calcsize(head) else size
        if offset + tags > size:
            raise ReadError(f"{path} is truncated: the file ends before its pages do; copy or export it again.")
        file.seek(tags, 1)


def file_of(page: Any) -> Path:
    """The file that the bytes of a page lie in."""
    return Path(page.parent.filehandle.path)


def check_segments(path: Path, series: Any) -> None:
    """Refuse a file that ends before its pixels do, or states far more of them than it can hold."""
    sizes: Sizes = {}
    declared = 0
    for page in series.pages:
        if page is None:
            continue
        owner = file_of(page)
        size = sizes.setdefault(owner, owner.stat().st_size)
        keyframe = page.keyframe
        declared += keyframe.nbytes
        if _is_short(page, keyframe, size):
            raise ReadError(f"{owner} is truncated: the file ends before its pixels do; copy or export it again.")
    if declared > _WALK and declared > _RATIO * sum(sizes.values()):
        raise ReadError(
            f"{path} declares {declared / 2**30:,.1f} GiB of pixels and has {sum(sizes.values())} bytes, which is "
            "too little for that many pixels; export it again."
        )


def check_companions(path: Path, file: tifffile.TiffFile) -> None:
    """Refuse sets of Micro-Manager files of which a part is elsewhere or no regular file, before tifffile opens them.

    It looks for the parts of MMStack files by their names, and for those of NDTiff in an index that may name anything.
    """
    if getattr(file, "is_mmstack", False):
        for beside in path.parent.glob("*_MMStack*.tif"):
            check_regular(beside)
    index = path.parent / "NDTiff.index"
    if getattr(file, "is_ndtiff", False) and index.exists():
        check_regular(index)
        for _, name, *_ in tifffile.tifffile.read_ndtiff_index(str(index)):
            if not is_plain_name(str(name)):
                raise ReadError(f"{index} names {str(name)[:80]!r} in another folder, which is not opened.")
            check_regular(path.parent / str(name))


def other_files(path: Path, series: Any) -> tuple[Path, ...]:
    """The other files that pages of a series lie in, which are all beside the one that was named.

    Raises
    ------
    ReadError
        If one is not.
    """
    home = file_of(next(page for page in series.pages if page is not None)).parent
    own = home / path.name
    found = dict.fromkeys(file_of(page) for page in series.pages if page is not None)
    for entry in found:
        if entry.parent != home:
            raise ReadError(f"{path} refers to {entry}, which is in another folder and is not read.")
    return tuple(path.parent / entry.name for entry in found if entry != own)


def _is_short(page: Any, keyframe: Any, size: int) -> bool:
    """Whether the bytes of a page end behind the end of the file, or are too few."""
    stored = sum(page.databytecounts)
    if any(offset + count > size for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)):
        return True
    bits = keyframe.bitspersample
    bits = bits if isinstance(bits, int) else max(bits, default=8)
    needed = _rows_of(keyframe) * ((keyframe.imagewidth * _contiguous(keyframe) * bits + 7) // 8)
    # Tiles that were never written have no bytes, and need none.
    needed = needed * sum(count > 0 for count in page.databytecounts) // max(1, len(page.databytecounts))
    if keyframe.compression == _UNCOMPRESSED:
        halved = keyframe.photometric == 6  # colours may be stored for fewer pixels than brightness
        return bool(stored < needed and not keyframe.is_tiled and not halved)
    return bool(stored * _AT_MOST[keyframe.compression] < needed) if keyframe.compression in _AT_MOST else False


def _contiguous(keyframe: Any) -> int:
    return int(keyframe.samplesperpixel) if keyframe.planarconfig == 1 else 1


def _rows_of(keyframe: Any) -> int:
    planes = 1 if keyframe.planarconfig == 1 else int(keyframe.samplesperpixel)
    return int(keyframe.imagelength) * int(keyframe.imagedepth) * planes
