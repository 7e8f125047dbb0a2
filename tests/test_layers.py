"""The house stands as drawn: every room imports only what lies below it.

The imports are read from the source, so those inside functions count as well. Imports for the type checker alone do
not: they are gone when the program runs.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "correlight"

# Lowest first. A room may use its own layer and all below it.
BASE = {"errors", "progress", "parsing"}
GEOMETRY = {"geometry", "transforms", "landmarks"}
PIXELS = {"images", "similarity", "appearance", "predict"}
LAYERS = [
    BASE,
    GEOMETRY,
    PIXELS,
    {"search", "refine"},
    {"evidence"},
    {"methods"},
    {"intensity"},
    {"beads", "point_clouds"},
    {"recipes", "registration"},
    {"output", "batch", "training"},
    {"notebook"},
    {"cli", "napari"},
]
# Rooms beside the road: what they know, and who may open their doors.
FORMATS = {"images"} | BASE | GEOMETRY
BESIDE = {
    "io": FORMATS,
    "exchange": FORMATS,
    "simulate": FORMATS | {"io"},
    "learn": set().union(*LAYERS[:4]) | {"io", "exchange", "simulate"},
}
SHELLS = {"batch", "output", "training", "notebook", "cli", "napari"}

GEOMETRY_ONLY = {"numpy", "scipy"}
# What is heavy, or has one door only: package -> the modules that may import it.
DOORS = {
    "torch": ("learn", "appearance.networks"),
    "safetensors": ("learn",),
    "dask": ("napari", "batch.pools"),
    "distributed": ("batch.pools",),
    "dask_jobqueue": ("batch.pools",),
    "rocrate": ("output.crate",),
    "tifffile": ("io",),
    "zarr": ("io", "exchange"),
    "imagecodecs": ("io",),
    "h5py": ("exchange",),
    "czifile": ("io",),
    "liffile": ("io",),
    "mrcfile": ("io",),
    "nd2": ("io",),
    "roifile": ("exchange",),
    "jinja2": ("output.report",),
    "PIL": ("output.report",),
    "cyclopts": ("cli",),
    "rich": ("cli.terminal",),
    "napari": ("napari",),
    "magicgui": ("napari",),
    "qtpy": ("napari",),
    "SimpleITK": (),
    "itk": (),
    "matplotlib": ("notebook", "output.figure.write"),
    "pandas": ("notebook",),
    "xarray": ("images.labelled",),
}
LAZY = {"torch"}
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "dask_jobqueue": "dask-jobqueue",
    "PIL": "pillow",
}


class Import:
    """One import statement: the module it names, and whether it runs when the importing module is loaded."""

    def __init__(self, target: str, at_load: bool) -> None:
        self.target, self.at_load = target, at_load

    @property
    def package(self) -> str:
        return self.target.partition(".")[0]

    @property
    def room(self) -> str:
        """The room of correlight that is entered; empty for the package itself."""
        return [*self.target.split("."), ""][1]


def imports(source: str, module: str, is_package: bool = False) -> Iterator[Import]:
    """Every import of a module named as in ``appearance.networks``."""
    here = ["correlight", *filter(None, module.split("."))]

    def walk(node: ast.AST, at_load: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    yield from walk(ast.Module([other], []), at_load)
                continue
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, at_load) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = here[: len(here) + is_package - child.level] if child.level else []
                origin = ".".join([*base, *([child.module] if child.module else [])])
                # "from correlight import geometry" enters a room as much as "import correlight.geometry".
                names = [f"{origin}.{alias.name}" for alias in child.names]
                yield from (Import(name if origin == "correlight" else origin, at_load) for name in names)
            elif isinstance(child, ast.Call) and ast.unparse(child.func).endswith(("import_module", "__import__")):
                first = child.args[0] if child.args else None
                if isinstance(first, ast.Constant):
                    yield Import(str(first.value), at_load)
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, at_load and not inside)

    yield from walk(ast.parse(source), True)


def allowed_rooms(room: str) -> set[str]:
    """The rooms that a room may enter, itself included."""
    if room in BESIDE:
        return BESIDE[room] | {room}
    depth = next(i for i, layer in enumerate(LAYERS) if room in layer)
    below = set().union(*LAYERS[: depth + 1])
    return below | (set(BESIDE) if room in SHELLS else set())


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """What is wrong with the imports of a module, in words."""
    room = module.partition(".")[0]
    if room and not any(room in layer for layer in [*LAYERS, BESIDE]):
        return [f"{module} stands in no layer; give it its place in the table"]
    found = []
    for entry in imports(source, module, is_package):
        if entry.package == "correlight":
            # The package itself holds the version and the lazily loaded names, which would hide the room behind them.
            if entry.room in ("", "__version__"):
                continue
            if not room or entry.room not in allowed_rooms(room):
                found.append(f"{module or 'correlight'} must not know {entry.target}")
            continue
        if entry.package in sys.stdlib_module_names:
            continue
        doors = DOORS.get(entry.package)
        if doors is not None and not any(module == door or module.startswith(door + ".") for door in doors):
            found.append(f"{module} must not import {entry.package}")
        if entry.package in LAZY and entry.at_load and room != "learn":
            found.append(f"{module} imports {entry.package} when it is loaded; import it where it is used")
        if room in GEOMETRY | {"errors", ""} and entry.package not in GEOMETRY_ONLY:
            found.append(f"{module} stands on numpy and scipy only, not on {entry.package}")
    return found


def modules() -> list[tuple[str, Path]]:
    """Every module of the package with its name below ``correlight``."""
    listed = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = list(path.relative_to(SOURCE).with_suffix("").parts)
        listed.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return listed


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_module_keeps_to_its_layer(module: str, path: Path) -> None:
    assert violations(path.read_text(encoding="utf-8"), module, path.name == "__init__.py") == []


def test_rooms_do_not_depend_on_each_other_in_circles() -> None:
    """Rooms of one layer may use each other, but data walks one way."""
    graph: dict[str, set[str]] = {}
    for module, path in modules():
        room = module.partition(".")[0]
        entered = {i.room for i in imports(path.read_text(encoding="utf-8"), module) if i.package == "correlight"}
        if room:
            graph.setdefault(room, set()).update(entered - {room, "", "__version__"})
    assert graph["transforms"] == {"errors", "geometry"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"rooms import each other in a circle: {' -> '.join(error.args[1])}")


def test_every_package_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    rooms = ("learn", "formats", "napari", "notebook", "cluster", "crate")
    lines = [*project["dependencies"], *(line for room in rooms for line in extras.get(room, []))]
    declared = {re.split(r"[^\w.-]", line)[0] for line in lines}
    used = {
        entry.package
        for module, path in modules()
        for entry in imports(path.read_text(encoding="utf-8"), module)
        if entry.package not in sys.stdlib_module_names and entry.package != "correlight"
    }
    assert {DISTRIBUTIONS.get(package, package) for package in used} <= declared


@pytest.mark.parametrize(
    ("module", "source", "words"),
    [
        ("geometry", "from correlight.images.image import Image", "must not know correlight.images"),
        ("geometry", "import skimage", "stands on numpy and scipy only"),
        ("transforms", "def f():\n    from correlight import search", "must not know correlight.search"),
        ("search.poses", "from ..evidence.confidence import judge", "must not know correlight.evidence"),
        ("io.tiff", "from correlight.appearance.edges import edges", "must not know correlight.appearance"),
        ("exchange.itk", "import correlight.registration.result", "must not know correlight.registration"),
        ("simulate.cell", "from correlight.registration import register", "must not know correlight.registration"),
        ("registration.register", "from correlight.io import read", "must not know correlight.io"),
        ("evidence.checks", "from correlight import register, Image", "must not know correlight.Image"),
        ("cli", "from correlight import Grid", "must not know correlight.Grid"),
        ("learn.data", "from correlight.registration import register", "must not know correlight.registration"),
        ("images.resample", "import torch", "must not import torch"),
        ("appearance.networks", "import torch", "imports torch when it is loaded"),
        ("appearance.networks_old", "def f():\n    import torch", "must not import torch"),
        ("search.poses", "import dask.array as da", "must not import dask"),
        ("exchange.itk", "import SimpleITK as sitk", "must not import SimpleITK"),
        ("output.report.pictures", "from importlib import import_module\nimport_module('matplotlib')", "matplotlib"),
        ("helpers", "import numpy", "stands in no layer"),
        ("", "import numpy\nimport cv2", "stands on numpy and scipy only"),
        ("", "from correlight.images.image import Image", "correlight must not know correlight.images"),
    ],
)
def test_a_violation_is_seen(module: str, source: str, words: str) -> None:
    assert any(words in sentence for sentence in violations(source, module, is_package=module == ""))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("appearance.networks", "def f():\n    import torch"),
        ("learn.training", "import torch"),
        ("io.tiff", "import tifffile\nfrom correlight.images.validity import find_valid"),
        ("simulate.write", "from correlight.io.write import write_ome_tiff"),
        ("search.poses", "from correlight.similarity import mutual\nfrom .template import match"),
        (
            "geometry",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from correlight.images.image import Image",
        ),
        ("cli", "from correlight import __version__\nimport correlight\nfrom correlight.io import read"),
    ],
)
def test_what_is_right_passes(module: str, source: str) -> None:
    assert violations(source, module) == []
