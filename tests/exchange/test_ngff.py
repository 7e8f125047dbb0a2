"""Scenes of OME-NGFF 0.6, with ngff-zarr as the judge."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from correlight.errors import ReadError, TransformError
from correlight.exchange import ExchangeContext, read_file, read_transform, write_file
from correlight.exchange.ngff import read_ngff, write_scene
from correlight.geometry import Grid
from correlight.transforms import Affine, Chain, Displacement, Projective, Transform
from tests.exchange.conftest import Elsewhere
from tests.exchange.vector import MOVING_FROM_FIXED_2D, MOVING_FROM_FIXED_3D, apart

MICRON = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]


def field(ndim: int, seed: int = 0, origin: float = 0.0) -> Displacement:
    shape = (4, 6, 5)[-ndim:]
    vectors = np.random.default_rng(seed).normal(size=(*shape, ndim)) * 0.05
    return Displacement(vectors, Grid.of(shape, (0.5, 1.0, 2.0)[-ndim:], origin, "micrometre"))


def transforms(ndim: int) -> dict[str, Transform]:
    affine = MOVING_FROM_FIXED_2D if ndim == 2 else MOVING_FROM_FIXED_3D
    return {
        "affine": affine,
        "field": field(ndim),
        "field with origin": field(ndim, origin=0.75),
        "field, then affine": Chain((field(ndim), affine)),
        "affine, then field": Chain((affine, field(ndim, 1))),
        "field in the other direction": field(ndim).inverse(),
        "its inverse, then affine": Chain((field(ndim, 3).inverse(), affine)),
        "both sides": Chain((field(ndim), affine, field(ndim, 1, 0.5))),
    }


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", list(transforms(2)))
def test_a_transform_comes_back(name: str, ndim: int, tmp_path: Path) -> None:
    transform = transforms(ndim)[name]
    write_file(tmp_path / "a.ome.zarr", transform)
    found = read_transform(tmp_path / "a.ome.zarr")
    points = np.random.default_rng(2).random((50, ndim)) * 3
    assert np.abs(found(points) - transform(points)).max() < 1e-9


def scene(folder: Path, edges: list[dict[str, Any]], systems: list[str], axes: Any = MICRON) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "coordinateSystems": [{"name": name, "axes": axes} for name in systems],
        "coordinateTransformations": edges,
    }
    ome = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.6", "scene": content}}}
    (folder / "zarr.json").write_text(json.dumps(ome))
    return folder


def edge(kind: str, start: str, end: str, **parameters: Any) -> dict[str, Any]:
    return {"type": kind, "input": {"name": start}, "output": {"name": end}, **parameters}


def test_the_quoted_affine_is_read_from_moving_to_fixed(tmp_path: Path) -> None:
    c, s = np.sqrt(0.75), 0.5
    affine = [[c, s, 2], [-s, c, 3]]
    found = read_ngff(scene(tmp_path / "a.zarr", [edge("affine", "lm", "world", affine=affine)], ["world", "lm"]))
    assert apart(found, MOVING_FROM_FIXED_2D) < 1e-9


def test_edges_are_walked_in_both_directions(tmp_path: Path) -> None:
    edges = [
        edge("scale", "world", "b", scale=[2.0, 4.0]),
        edge("translation", "c", "b", translation=[1.0, 2.0]),
        edge("rotation", "c", "lm", rotation=[[0.0, -1.0], [1.0, 0.0]]),
    ]
    found = read_ngff(scene(tmp_path / "a.zarr", edges, ["world", "b", "c", "lm"]))
    # (3, 5) -> (6, 20) -> (5, 18) -> (-18, 5)
    assert found([[3.0, 5.0]]).tolist() == [[-18.0, 5.0]]


def test_sequences_and_bijections_are_unwrapped(tmp_path: Path) -> None:
    inner = [{"type": "scale", "scale": [2.0, 2.0]}, {"type": "translation", "translation": [1.0, 0.0]}]
    both = {"forward": {"type": "sequence", "transformations": inner}, "inverse": {"type": "identity"}}
    found = read_ngff(scene(tmp_path / "a.zarr", [edge("bijection", "world", "lm", **both)], ["world", "lm"]))
    assert found([[3.0, 5.0]]).tolist() == [[7.0, 10.0]]


def test_units_and_further_axes_are_taken_into_account(tmp_path: Path) -> None:
    axes = [{"name": "c", "type": "channel"}, *({"name": a, "type": "space", "unit": "nanometer"} for a in "yx")]
    affine = [[1, 0, 0, 0], [0, 2, 0, 500], [0, 0, 2, 1000]]
    path = scene(tmp_path / "a.zarr", [edge("affine", "world", "lm", affine=affine)], ["world", "lm"], axes)
    found = read_ngff(path)
    assert isinstance(found, Affine)
    assert np.abs(found.matrix - [[2, 0, 0.5], [0, 2, 1.0], [0, 0, 1]]).max() < 1e-12
    mixed = [[1, 0, 0, 0], [1, 2, 0, 500], [0, 0, 2, 1000]]
    with pytest.raises(ReadError, match="mixes space with other axes"):
        read_ngff(scene(tmp_path / "b.zarr", [edge("affine", "world", "lm", affine=mixed)], ["world", "lm"], axes))


def test_axes_may_be_declared_x_first(tmp_path: Path) -> None:
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "xy"]
    path = scene(
        tmp_path / "a.zarr", [edge("translation", "world", "lm", translation=[3.0, 2.0])], ["world", "lm"], axes
    )
    assert read_ngff(path)([[0.0, 0.0]]).tolist() == [[2.0, 3.0]]


def test_the_moving_system_must_be_chosen_among_several(tmp_path: Path) -> None:
    edges = [edge("translation", name, "world", translation=[float(n), 0.0]) for n, name in enumerate("ab")]
    path = scene(tmp_path / "a.zarr", edges, ["world", "a", "b"])
    with pytest.raises(ReadError, match="choose one of a, b by its name"):
        read_ngff(path)
    assert read_ngff(path, ExchangeContext(name="b"))([[0.0, 0.0]]).tolist() == [[-1.0, 0.0]]


@pytest.mark.parametrize(
    ("edges", "systems", "words"),
    [
        ([], ["world", "lm"], "choose one"),
        ([edge("warp", "world", "lm")], ["world", "lm"], "kind 'warp'"),
        ([edge("affine", "world", "lm")], ["world", "lm"], "incomplete"),
        ([edge("affine", "world", "lm", affine=[[1, 0], [0, 1]])], ["world", "lm"], "incomplete"),
        ([edge("scale", "world", "lm", scale=[1.0, float("nan")])], ["world", "lm"], "finite"),
        ([edge("identity", "world", "em")], ["world", "lm"], "does not declare"),
        ([{"type": "identity"}], ["world", "lm"], "input and an output"),
        ([{"type": "identity", "input": {"path": "../x", "name": "p"}, "output": {"name": "lm"}}], ["lm"], "inside it"),
        ([edge("displacements", "world", "lm", path="../../etc")], ["world", "lm"], "inside it"),
        ([edge("displacements", "world", "lm", path="none")], ["world", "lm"], "does not exist"),
        ([edge("scale", "lm", "world", scale=[0.0, 0.0])], ["world", "lm"], "singular"),
    ],
)  # fmt: skip
def test_damaged_scenes_are_named(edges: list, systems: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises((ReadError, TransformError), match=words) as caught:
        read_ngff(scene(tmp_path / "a.zarr", edges, systems))
    assert "\n" not in str(caught.value)


def test_deeply_wrapped_transforms_are_refused(tmp_path: Path) -> None:
    inner: dict[str, Any] = {"type": "identity"}
    for _ in range(50):
        inner = {"type": "sequence", "transformations": [inner]}
    with pytest.raises(ReadError, match="wrapped more than"):
        read_ngff(scene(tmp_path / "a.zarr", [{**edge("", "world", "lm"), **inner}], ["world", "lm"]))


def test_what_is_no_scene_is_refused(tmp_path: Path) -> None:
    zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=3)
    with pytest.raises(ReadError, match=r"A scene of OME-NGFF 0\.6 was expected"):
        read_ngff(tmp_path / "a.zarr")
    with pytest.raises(ReadError, match="where there is no file"):
        read_file(tmp_path / "none.zarr")
    with pytest.raises(TransformError, match="affine transforms and displacement fields"):
        write_file(tmp_path / "b.zarr", Projective(np.eye(3)))
    assert not (tmp_path / "b.zarr").exists()


READ_AND_MOVE = """
import numpy as np, ngff_zarr as nz
from ngff_zarr.v06.zarr_metadata import Affine, CoordinateSystemIdentifier
root, shape = given["root"], (40, 50)
for name, step in (("em", 0.01), ("lm", 0.1)):
    image = nz.to_ngff_image(np.zeros(shape, np.uint8), dims=("y", "x"), scale={"y": step, "x": step},
                             axes_units={"y": "micrometer", "x": "micrometer"}, name=name)
    nz.to_ome_zarr(f"{root}/{name}", nz.to_multiscales(image, scale_factors=1), version="0.6")
print(json.dumps([s.name for s in nz.from_ome_zarr(f"{root}/em").metadata.to_version("0.6").coordinateSystems]))
"""

READ_SCENE = """
import numpy as np, ngff_zarr as nz
scene = nz.NgffScene.from_ome_zarr(given["root"], validate=True)
edges = {t.name: t for t in scene.coordinateTransformations}
found = {"systems": [s.name for s in scene.coordinateSystems], "images": sorted(scene.images)}
found["edges"] = [[t.type, t.input.path or t.input.name, t.output.path or t.output.name]
                  for t in scene.coordinateTransformations]
found["affine"] = [list(map(float, row)) for t in scene.coordinateTransformations if t.type == "affine"
                   for row in t.affine]
print(json.dumps(found))
"""


@pytest.mark.parametrize("kind", ["affine", "field, then affine", "field with origin"])
def test_ngff_zarr_validates_the_scene_and_reads_the_same_numbers(
    kind: str, tmp_path: Path, with_ngff_zarr: Elsewhere
) -> None:
    root = tmp_path / "pair.ome.zarr"
    transform = transforms(2)[kind]
    zarr.open_group(str(root), mode="w", zarr_format=3)
    systems = with_ngff_zarr(READ_AND_MOVE, {"root": str(root)})
    grids = ExchangeContext(Grid.of((40, 50), 0.01, unit="micrometre"), Grid.of((40, 50), 0.1, unit="micrometre"))
    write_scene(root, transform, grids, fixed_image="em", moving_image="lm", system=systems[-1])
    found = with_ngff_zarr(READ_SCENE, {"root": str(root)})
    assert found["images"] == ["em", "lm"]
    assert found["systems"][0] == "fixed"
    assert ["identity", "em", "fixed"] in found["edges"]
    if kind != "field with origin":
        expected = MOVING_FROM_FIXED_2D.inverse().matrix[:2]
        assert np.abs(np.array(found["affine"]) - expected).max() < 1e-12
    points = np.random.default_rng(0).random((20, 2)) * 3
    assert np.abs(read_ngff(root, ExchangeContext(name="lm"))(points) - transform(points)).max() < 1e-9


FIELD = """
import numpy as np, ngff_zarr as nz
from ngff_zarr.v06.zarr_metadata import Displacements
import inspect
image = nz.from_ome_zarr(given["root"] + "/" + given["path"])
found = image.images[0]
print(json.dumps({"dims": list(found.dims), "scale": [found.scale[d] for d in "yx"],
                  "translation": [found.translation[d] for d in "yx"],
                  "values": np.asarray(found.data[...]).tolist()}))
"""


def test_ngff_zarr_reads_the_same_field(tmp_path: Path, with_ngff_zarr: Elsewhere) -> None:
    given = field(2, origin=0.75)
    write_scene(tmp_path / "a.zarr", given)
    found = with_ngff_zarr(FIELD, {"root": str(tmp_path / "a.zarr"), "path": "coordinateTransformations/step_0"})
    assert found["dims"][-2:] == ["y", "x"]
    assert found["scale"] == list(given.grid.spacing)
    assert found["translation"] == list(given.grid.origin)
    assert np.array_equal(np.moveaxis(np.array(found["values"]), 0, -1), given.vectors)
