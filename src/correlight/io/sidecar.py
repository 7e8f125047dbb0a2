"""Metadata that programs write beside an image: XML files of FEI (Thermo) EPU and of Zeiss ZEN.

A file beside an image says something of the image it was written for. It is believed only where it states the size
of that image and the image has it: exports are often binned, and keep the same name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from correlight.errors import ReadError
from correlight.io import calibration
from correlight.io.content import Content
from correlight.io.serialem import read_mdoc
from correlight.io.texts import text_beside
from correlight.parsing import is_regular, read_xml

_METRE = 1e6  # micrometres
_ENDINGS = (
    "{stem}.xml",
    "{name}.xml",
    "{name}_metadata.xml",
    "{stem}_metadata.xml",
    "{stem}_meta.xml",
    "{stem}_info.xml",
)
_FEI, _ZEISS = {"MicroscopeImage"}, {"ImageDocument", "ImageMetadata"}


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a file beside an image states.

    Parameters
    ----------
    spacing : tuple of float or None
        Micrometres per pixel, (y, x).
    stage : tuple of float or None
        Where the stage stood, micrometres, (y, x).
    source : str
        The file and its kind, as a report calls it.
    findings : tuple of str
        What is stated and not taken.
    path : Path or None
        The file.
    """

    spacing: tuple[float, ...] | None = None
    stage: tuple[float, ...] | None = None
    source: str = ""
    findings: tuple[str, ...] = ()
    path: Path | None = None


def with_sidecar(
    path: Path, content: Content, *, calibrate: bool = True, section: int = 0, texts: bool = True
) -> Content:
    """An image with the pixel size and the stage position that a file beside it states, where it states none itself.

    Parameters
    ----------
    path : Path
        The picture.
    content : Content
        What it holds.
    calibrate : bool
        Whether the pixel size is wanted.
    section : int
        The image that is read, of those that an ``.mdoc`` file describes.
    texts : bool
        Whether the texts of scanning microscopes are looked for, too.
    """
    if content.ndim != 2:
        return content
    mdoc = read_mdoc(path)
    beside = read_sidecar(path, content.pixels.shape[-2:])
    found = [] if beside is None else [beside]
    if mdoc is not None:
        spacing, said = mdoc.spacing(section, content.pixels.shape[-1])
        stage = mdoc.numbers(section, "StagePosition")
        place = (stage[1], stage[0]) if len(stage) == 2 else None
        name = f".mdoc file {path.name}.mdoc"
        found.insert(0, Sidecar(spacing, place, name, said, path.with_name(f"{path.name}.mdoc")))
    if texts:
        text = text_beside(path, content.pixels.shape[-1])
        found.append(Sidecar(text.sizes, None, text.source, text.findings, text.files[0] if text.files else None))
    for entry in found:
        findings = (*content.findings, *(entry.findings if content.spacing is None else ()))
        content = replace(content, findings=findings, stage=content.stage or entry.stage)
        content = replace(content, files=(*content.files, *([entry.path] if entry.path else [])))
        if calibrate and content.spacing is None and entry.spacing is not None:
            sizes = calibration.checked(path, entry.spacing, entry.source)
            content = replace(content, spacing=sizes, spacing_source=entry.source)
    return content


def read_sidecar(path: Path, shape: Sequence[int]) -> Sidecar | None:
    """The metadata beside an image; None where there is no file of a known kind.

    Parameters
    ----------
    path : Path
        The image.
    shape : (rows, columns)
        Of the image.
    """
    for ending in _ENDINGS:
        beside = path.with_name(ending.format(stem=path.stem, name=path.name))
        if beside == path or not is_regular(beside):
            continue
        try:
            root = read_xml(beside, "metadata of an image")
        except ReadError:
            continue  # any program may leave an .xml beside an image; only those of a known kind count
        kind = calibration.local_name(root)
        if kind in _FEI:
            return _checked(beside, "FEI XML", _fei(root), shape)
        if kind in _ZEISS:
            return _checked(beside, "Zeiss XML", _zeiss(root), shape)
    return None


_Stated = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]  # pixel size, shape, stage; nan where none is


def _checked(beside: Path, kind: str, stated: _Stated, shape: Sequence[int]) -> Sidecar:
    spacing, size, stage = stated
    source = f"{kind} {beside.name}"
    place = stage if all(math.isfinite(value) for value in stage) else None
    if not all(calibration.SMALLEST <= value <= calibration.LARGEST for value in spacing):
        return Sidecar(None, place, source, (), beside)
    if tuple(size) == tuple(float(n) for n in shape):
        return Sidecar(spacing, place, source, (), beside)
    words = f"{spacing[0]:g} x {spacing[1]:g} µm per pixel"
    told = (
        "of an image of unknown size"
        if any(math.isnan(n) for n in size)
        else f"of {size[0]:.0f} x {size[1]:.0f} pixels"
    )
    return Sidecar(None, place, source, (f"stated, not used: {words} {told} in {beside.name}",), beside)


def _find(root: ElementTree.Element, *names: str) -> ElementTree.Element | None:
    """The first element below another along a path of names, whatever their namespaces."""
    current: ElementTree.Element | None = root
    for name in names:
        if current is None:
            return None
        current = next((e for e in current.iter() if e is not current and calibration.local_name(e) == name), None)
    return current


def _number(root: ElementTree.Element, *names: str) -> float:
    found = _find(root, *names)
    return math.nan if found is None else calibration.number(found.text)


def _fei(root: ElementTree.Element) -> _Stated:
    spacing = tuple(_number(root, "SpatialScale", "pixelSize", axis, "numericValue") * _METRE for axis in "yx")
    shape = tuple(_number(root, "ReadoutArea", side) for side in ("height", "width"))
    stage = tuple(_number(root, "stage", "Position", axis) * _METRE for axis in "YX")
    return spacing, shape, stage


def _zeiss(root: ElementTree.Element) -> _Stated:
    found = {"X": math.nan, "Y": math.nan}
    for element in root.iter():
        if calibration.local_name(element) == "Distance" and element.get("Id") in found:
            found[str(element.get("Id"))] = _number(element, "Value") * _METRE
    shape = tuple(_number(root, "Image", name) for name in ("SizeY", "SizeX"))
    return (found["Y"], found["X"]), shape, (math.nan, math.nan)
