"""Datasets of BigDataViewer: XML that says where each view lies.

A view registration lists affine maps, three rows with x first, of which the last is applied first. It begins with pixel
numbers, centres at whole numbers, so the calibration is one of them. A new registration goes on top of the list, and
everything else in the file stays as it is, to the byte. (spim_data, ViewRegistration.java)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, UsageError, WriteError
from correlight.exchange.context import UNKNOWN, ExchangeContext, affine_from_xyz, require_affine, xyz_from_affine
from correlight.exchange.reading import reads
from correlight.parsing import parse_xml, read_text
from correlight.transforms import Affine, Transform

Rows = NDArray[np.float64]

_NAME = "correlight"
_SMALLEST, _LARGEST = 1e-9, 1e9  # voxel sizes that can be meant, in whatever unit
_LENGTHS = {
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
    **dict.fromkeys(("", "px", "pixel", "pixels"), 1.0),
}


@reads("a dataset of BigDataViewer")
def read_bdv(path: str | Path, context: ExchangeContext = UNKNOWN) -> Affine:
    """Read how one view lies on another.

    Parameters
    ----------
    path : str or Path
        The XML file of a dataset.
    context : ExchangeContext
        ``name`` is the moving setup, by number or name, which a file of more than two needs. The fixed one is the first
        other setup; in a dataset of one it is the world. ``ndim`` says how many axes to read; without it two where all
        images are flat.

    Returns
    -------
    Affine
        ``moving_from_fixed`` between positions in micrometres.

    Raises
    ------
    ReadError
        If the file is damaged, or does not say which setup moves.
    TransformError
        If two axes are asked for and the third takes part.
    """
    dataset = _dataset(path)
    fixed, moving = _roles(dataset, context, path)
    time = min(time for time, number in dataset.models if number == moving.number)
    world_from_fixed = _world(moving) if fixed is None else _physical(dataset, fixed, time)
    fixed_from_moving = np.linalg.inv(world_from_fixed) @ _physical(dataset, moving, time)
    ndim = context.ndim or (2 if all(setup.flat for setup in (fixed, moving) if setup is not None) else 3)
    return affine_from_xyz(fixed_from_moving[:3], ndim, f"The registration in {path}").inverse()


def write_bdv(path: str | Path, moving_from_fixed: Transform, context: ExchangeContext) -> None:
    """Write a dataset with one more registration on top of the moving view's.

    Parameters
    ----------
    path : str or Path
        The file to write.
    moving_from_fixed : Affine
        Takes fixed to moving positions in micrometres.
    context : ExchangeContext
        ``into`` is the dataset to start from, ``name`` the moving setup as for `read_bdv`.

    Raises
    ------
    TransformError
        If the transform is not affine.
    UsageError
        If there is no dataset to start from.
    ReadError
        If that dataset is damaged, or does not say which setup moves.
    WriteError
        If the file cannot be written.
    """
    affine = require_affine(moving_from_fixed, "BigDataViewer")
    if context.into is None:
        raise UsageError("BigDataViewer's XML describes a whole dataset; give the one to write into.")
    dataset = _dataset(context.into)
    fixed, moving = _roles(dataset, context, context.into)
    fixed_from_moving = np.vstack([xyz_from_affine(affine.inverse()), [0.0, 0.0, 0.0, 1.0]])
    text, expected = dataset.text, dict(dataset.models)
    for key in [key for key in dataset.models if key[1] == moving.number]:
        world_from_fixed = _world(moving) if fixed is None else _physical(dataset, fixed, key[0])
        wanted = world_from_fixed @ fixed_from_moving
        added = wanted @ np.linalg.inv(_physical(dataset, moving, key[0]))
        expected[key] = added @ dataset.models[key]
        text = _inserted(text, key, added)
    # What stands in a comment looks the same to a search; a second reading shows whether the right place was met.
    found = _parsed(text, context.into).models
    if any(not np.allclose(found[key], expected[key], rtol=1e-9) for key in expected):
        raise ReadError(f"The registration of setup {moving.number} could not be found in {context.into}.")
    try:
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise WriteError(f"The dataset cannot be written to {path}: {error.strerror or error}.") from error


@dataclass(frozen=True, slots=True)
class _Setup:
    """One image of a dataset: its voxels in micrometres, x first, and how long the unit of its file is."""

    number: int
    name: str
    voxel: Rows
    length: float
    flat: bool


@dataclass(frozen=True, slots=True)
class _Dataset:
    """The text of a dataset, its setups, and the map from pixels to the world for each time and setup."""

    text: str
    setups: dict[int, _Setup]
    models: dict[tuple[int, int], Rows]


def _dataset(path: str | Path) -> _Dataset:
    return _parsed(read_text(path, "a dataset of BigDataViewer"), path)


def _parsed(text: str, path: str | Path) -> _Dataset:
    root = parse_xml(text, f"Expected a dataset of BigDataViewer, but {path}")
    try:
        setups = {setup.number: setup for setup in map(_setup, root.iter("ViewSetup"))}
        models: dict[tuple[int, int], Rows] = {}
        for view in root.iter("ViewRegistration"):
            model = np.eye(4)
            for element in view.iter("ViewTransform"):
                model = model @ _rows(element.findtext("affine") or "")
            models[int(view.attrib["timepoint"]), int(view.attrib["setup"])] = model
    except (KeyError, ValueError) as error:
        raise ReadError(f"{path} is no complete dataset of BigDataViewer ({error}); export it again.") from error
    if not models or any(number not in setups for _, number in models):
        raise ReadError(f"View setups with a registration each were expected in {path}; export it again.")
    return _Dataset(text, setups, models)


def _setup(element: ElementTree.Element) -> _Setup:
    number = int(element.findtext("id") or "")
    voxel = element.find("voxelSize")
    unit = (voxel.findtext("unit") or "").strip().lower() if voxel is not None else ""
    if unit not in _LENGTHS:
        raise ValueError(f"the unit {unit!r} of setup {number} is not known")
    size = (voxel.findtext("size") or "").split() if voxel is not None else ["1", "1", "1"]
    steps = np.array([float(step) for step in size])
    if steps.shape != (3,) or not ((steps >= _SMALLEST) & (steps <= _LARGEST)).all():
        raise ValueError(f"setup {number} has no voxel size of three positive numbers")
    flat = (element.findtext("size") or "").split()[2:] == ["1"]
    return _Setup(number, element.findtext("name") or "", steps * _LENGTHS[unit], _LENGTHS[unit], flat)


def _rows(text: str) -> Rows:
    numbers = np.array([float(value) for value in text.split()])
    if numbers.shape != (12,) or not np.isfinite(numbers).all():
        raise ValueError(f"an affine map needs 12 finite numbers, got {numbers.size}")
    rows: Rows = np.vstack([numbers.reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])
    if abs(np.linalg.det(rows)) < 1e-300:
        raise ValueError("an affine map is singular")
    return rows


def _roles(dataset: _Dataset, context: ExchangeContext, path: str | Path) -> tuple[_Setup | None, _Setup]:
    """The fixed setup, None where there is one only, and the moving one."""
    setups = [dataset.setups[number] for number in sorted({number for _, number in dataset.models})]
    known = ", ".join(f"{setup.number} ({setup.name})" for setup in setups)
    if context.name is not None:
        chosen = [setup for setup in setups if context.name in (setup.name, str(setup.number))]
    else:
        chosen = setups[-1:] if len(setups) <= 2 else []
    if len(chosen) != 1:
        raise ReadError(f"One moving setup of {path} was expected; choose one of {known} by its name.")
    return next((setup for setup in setups if setup is not chosen[0]), None), chosen[0]


def _physical(dataset: _Dataset, setup: _Setup, time: int) -> Rows:
    """The world from positions in micrometres within one image."""
    own = [key for key in dataset.models if key[1] == setup.number]
    model = dataset.models[(time, setup.number) if (time, setup.number) in own else min(own)]
    return np.asarray(model @ np.diag([*(1 / setup.voxel), 1.0]))


def _world(setup: _Setup) -> Rows:
    """The world from micrometres where the world is the fixed frame: it has the unit of the file."""
    return np.diag([*([1 / setup.length] * 3), 1.0])


def _inserted(text: str, key: tuple[int, int], rows: Rows) -> str:
    """The text with one more transform right after the opening tag of a registration."""
    start = text.find("<ViewRegistration")
    while start >= 0:
        close = text.find(">", start)
        if close < 0:
            break
        line = text.rfind("\n", 0, start) + 1
        opening, start = text[start : close + 1], text.find("<ViewRegistration", close)
        if not opening[len("<ViewRegistration") :][:1].isspace() or not _opens(opening, key):
            continue
        before = text[line : close + 1 - len(opening)]
        margin = before if before.strip(" \t") == "" else ""
        end = "\r\n" if "\r\n" in text else "\n"
        indent = margin + "  "
        numbers = " ".join(repr(float(value) + 0.0) for value in rows[:3].ravel())
        lines = [
            f'{indent}<ViewTransform type="affine">',
            f"{indent}  <Name>{_NAME}</Name>",
            f"{indent}  <affine>{numbers}</affine>",
            f"{indent}</ViewTransform>",
        ]
        return text[: close + 1] + end + end.join(lines) + text[close + 1 :]
    raise ReadError(f"The registration of setup {key[1]} at time {key[0]} could not be found.")


def _opens(tag: str, key: tuple[int, int]) -> bool:
    """Whether an opening tag is that of a registration."""
    whole = tag if tag.endswith("/>") else tag[:-1] + "/>"
    stated = parse_xml(whole, "A registration").attrib
    return (stated.get("timepoint"), stated.get("setup")) == (str(key[0]), str(key[1]))
