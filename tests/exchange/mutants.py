"""Files of other tools changed where their structure is: a number, a key, an element, a row, a list of HDF5."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np

Rng = np.random.Generator
WORDS = [
    "nan", "-inf", "Infinity", "1e999", "1e308", "-1e-308", "0", "-1", "2.5", "3", "", " ", "null", "x", "9" * 400,
    "1_0", "0x10", "٣", "\0", "matrix(1,0,0,1,0,0)", "../../etc/passwd", "/dev/zero", "true", "1,2", "[", "<", ")", '"',
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, -1, 2.5, 1e308, float("nan"), float("inf"), 10**400, "", "x", "1", "../x", "/dev/zero", [],
    {}, [[]], [[[]]], [None], {"": 0}, {"path": "..", "name": "x"}, [1.0] * 12, [["1"]], "\0", "9" * 400,
]  # fmt: skip


def mutant(path: Path, rng: Rng) -> None:
    """Change a file or a Zarr group once or twice, as its kind allows."""
    if path.is_dir():
        path = sorted(path.rglob("zarr.json"))[rng.integers(len(sorted(path.rglob("zarr.json"))))]
    change = {".json": _json, ".xml": _xml, ".h5": _hdf5}.get(path.suffix, _text)
    for _ in range(rng.integers(1, 3)):
        change(path, rng)


def _pick(rng: Rng, items: Any) -> Any:
    return items[int(rng.integers(len(items)))]


def _json(path: Path, rng: Rng) -> None:
    content = json.loads(path.read_text())
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(content)
    if not places:
        return
    node, key = _pick(rng, places)
    ways: list[Callable[[], Any]] = [
        lambda: node.__setitem__(key, copy.deepcopy(_pick(rng, VALUES))),
        lambda: node.__setitem__(key, copy.deepcopy(_pick(rng, places)[0])),
        lambda: node.pop(key),
        lambda: node.append(copy.deepcopy(node[key])) if isinstance(node, list) else node.update(x=node.pop(key)),
        lambda: node.__setitem__(key, [node[key]]),
    ]
    _pick(rng, ways)()
    path.write_text(json.dumps(content))


def _xml(path: Path, rng: Rng) -> None:
    try:
        root = ElementTree.fromstring(path.read_text())
    except ElementTree.ParseError:  # an earlier change of this file put a NUL into it
        return
    parent = _pick(rng, list(root.iter()))
    element = _pick(rng, list(parent)) if len(parent) else parent
    ways: list[Callable[[], Any]] = [
        lambda: element.attrib and element.set(_pick(rng, list(element.attrib)), _pick(rng, WORDS)),
        lambda: element.attrib and element.attrib.pop(_pick(rng, list(element.attrib))),
        lambda: setattr(element, "text", _pick(rng, WORDS)),
        lambda: setattr(
            element, "text", re.sub(r"\S+", _pick(rng, WORDS).replace("\\", ""), element.text or "", count=1)
        ),
        lambda: setattr(element, "tag", _pick(rng, [other.tag for other in root.iter()])),
        lambda: parent.append(copy.deepcopy(element)),
        lambda: element is not parent and parent.remove(element),
    ]
    _pick(rng, ways)()
    path.write_text(ElementTree.tostring(root, encoding="unicode"))


def _text(path: Path, rng: Rng) -> None:
    lines = path.read_text().splitlines()
    number = int(rng.integers(len(lines))) if lines else 0
    if not lines:
        return
    tokens = list(re.finditer(r"[^\s,;()\"]+", lines[number]))
    way = rng.integers(6)
    if way <= 2 and tokens:
        token = _pick(rng, tokens)
        lines[number] = lines[number][: token.start()] + _pick(rng, WORDS) + lines[number][token.end() :]
    elif way == 3:
        lines.pop(number)
    elif way == 4:
        lines.insert(number, _pick(rng, lines))
    elif tokens:
        lines[number] += _pick(rng, [" ", ",", ""]) + _pick(rng, tokens)[0]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _hdf5(path: Path, rng: Rng) -> None:
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = _pick(rng, [name for name in names if name.startswith("TransformGroup")] or ["TransformGroup"])
        values: list[Any] = [
            np.zeros(0), np.full(6, np.nan), np.ones((3, 4)), np.array([b"AffineTransform_double_9_9"]), 1.0,
            np.array([b"x" * 300]), np.array([1 + 2j]), np.zeros(2, "u1"), np.array([(1, 2.0)], dtype="i4,f8"),
        ]  # fmt: skip
        if name in file:
            del file[name]
        way = rng.integers(4)
        if way == 0:
            file[name] = _pick(rng, values)
        elif way == 1:
            file[name] = h5py.SoftLink("/HDFVersion")
        elif way == 2:
            file.create_group(name)
