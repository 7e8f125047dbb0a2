"""OME-XML of a TIFF file: which files belong together, and which of them are there.

A set of OME-TIFF files is described in each of them, or in one ``companion.ome``. Names of files come from the file, so
only plain names of regular files beside it are followed; planes whose file is missing or elsewhere are no data. What is
handed to tifffile names nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from correlight.errors import ReadError
from correlight.io.calibration import local_name
from correlight.parsing import is_plain_name, is_regular, parse_xml, read_text

_MOST_PLANES = 2**20  # of all images of a file; tifffile keeps a list of them, whether they are there or not
_SHOWN = 6  # names of files in a sentence
NO_IMAGES = "<OME></OME>"  # with which tifffile reads the pages of a file as they are


@dataclass(frozen=True, slots=True, eq=False)
class Ome:
    """What an OME-XML text says about the images of a file.

    Parameters
    ----------
    text : str
        For tifffile: without the planes that are not there.
    images : tuple of Element
        The images of which anything is there, in order.
    files : tuple of Path
        The other files that are read.
    missing : tuple of str
        Names of the files that are stated and not there.
    findings : tuple of str
        What is worth saying.
    """

    text: str
    images: tuple[ElementTree.Element, ...] = ()
    files: tuple[Path, ...] = ()
    missing: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


def read_ome(path: Path, text: str) -> Ome:
    """Understand the OME-XML of a TIFF file.

    Parameters
    ----------
    path : Path
        The TIFF file.
    text : str
        Its OME-XML.

    Raises
    ------
    ReadError
        If it, or the companion file that it names, brings a document type definition.
    """
    try:
        root = parse_xml(text, f"Expected OME-XML, but that of {path}")
    except ReadError as error:
        if "document type definition" in str(error):
            raise
        return Ome(NO_IMAGES, findings=("its OME-XML is not well-formed, so that nothing in it is used",))
    binary = next((element for element in root if local_name(element) == "BinaryOnly"), None)
    files: tuple[Path, ...] = ()
    own = root.get("UUID")
    if binary is not None:
        name = binary.get("MetadataFile", "")
        companion = path.parent / name
        if not is_plain_name(name) or not is_regular(companion):
            said = f"its description is in {name[:80]!r}, which is not beside it, so that only its own pages are read"
            return Ome(NO_IMAGES, missing=(name,), findings=(said,))
        root = parse_xml(read_text(companion, "OME-XML"), f"Expected OME-XML, but {companion}")
        files = (companion,)
    return _with_what_is_there(path, root, own, files)


def _with_what_is_there(path: Path, root: ElementTree.Element, own: str | None, files: tuple[Path, ...]) -> Ome:
    _adopt(path, root, own)
    used: dict[str, Path] = {}
    missing: dict[str, None] = {}
    outside: dict[str, None] = {}
    gone: list[str] = []
    images = [element for element in root if local_name(element) == "Image"]
    _check_count(path, images)
    kept = []
    for number, image in enumerate(images):
        for pixels, data in list(_planes(image)):
            name = _file_name(path, data, own)
            if name is None:
                continue
            if not is_plain_name(name):
                outside[name] = None
            elif not is_regular(path.parent / name):
                missing[name] = None
            else:
                used[name] = path.parent / name
                continue
            pixels.remove(data)
        if any(True for _ in _planes(image)):
            kept.append(image)
        else:
            gone.append(image.get("Name") or str(number))
            root.remove(image)
    findings = _modulo(root)
    if outside:
        findings.append(f"files that are named in other folders are not opened: {_listed(outside)}")
    if missing:
        findings.append(f"parts of the image are in files that are not beside it: {_listed(missing)}")
    if gone and kept:
        findings.append(f"images without any pixels here are left out: {_listed(dict.fromkeys(gone))}")
    absent = (*missing, *outside)
    if not kept:
        if images:
            findings.append("none of the described files is here, so that its own pages are read as they are")
        return Ome(NO_IMAGES, missing=absent, findings=tuple(findings))
    text = ElementTree.tostring(root, encoding="unicode").strip()
    return Ome(text, tuple(kept), (*files, *used.values()), absent, tuple(findings))


def _modulo(root: ElementTree.Element) -> list[str]:
    """Axes that are said to run over something else besides, such as the slices of a stack over angles."""
    found: dict[str, None] = {}
    for element in root.iter():
        name = local_name(element)
        if name.startswith("ModuloAlong"):
            kind = (element.get("TypeDescription") or element.get("Type") or "something else")[:40]
            found[f"stated, not understood: axis {name[-1]} runs over {kind} as well ({name[:20]})"] = None
    return list(found)


def _check_count(path: Path, images: list[ElementTree.Element]) -> None:
    """Refuse far more planes than any file holds, stated by a few digits."""
    total = 0
    for pixels in (element for image in images for element in image if local_name(element) == "Pixels"):
        sizes = [pixels.get(f"Size{axis}", "1").strip() for axis in "ZCT"]
        # What is no number is found by tifffile.
        total += math.prod(int(size[:20]) for size in sizes if size.isascii() and size.isdecimal())
    if total > _MOST_PLANES:
        raise ReadError(f"{path} states {total:,} planes, and at most {_MOST_PLANES:,} are read; export it again.")


def _planes(image: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, ElementTree.Element]]:
    for pixels in image:
        if local_name(pixels) == "Pixels":
            for data in pixels:
                if local_name(data) == "TiffData":
                    yield pixels, data


def _reference(data: ElementTree.Element) -> ElementTree.Element | None:
    return next((element for element in data if local_name(element) == "UUID"), None)


def _file_name(path: Path, data: ElementTree.Element, own: str | None) -> str | None:
    """The name of another file that holds the planes; None for the file itself."""
    uuid = _reference(data)
    if uuid is None:
        return None
    name = uuid.get("FileName", "")
    if (own and (uuid.text or "").strip() == own) or name.lower() == path.name.lower():
        data.remove(uuid)
        return None
    return name


def _adopt(path: Path, root: ElementTree.Element, own: str | None) -> None:
    """Take a file that was renamed for what it is: all its planes are in one file, which has another name."""
    references = [uuid for image in root for _, data in _planes(image) if (uuid := _reference(data)) is not None]
    names = {uuid.get("FileName", "") for uuid in references}
    if len(names) != 1 or (own and any((uuid.text or "").strip() != own for uuid in references)):
        return
    name = next(iter(names))
    if is_plain_name(name) and not is_regular(path.parent / name):
        for uuid in references:
            uuid.set("FileName", path.name)


def _listed(names: dict[str, None]) -> str:
    listed = [name[:80] for name in names]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
