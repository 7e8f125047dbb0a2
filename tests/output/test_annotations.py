"""Annotations as QuPath exports them go through every kind of transform, both ways, with all that they carry."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight import cli
from correlight.errors import ReadError, UsageError
from correlight.exchange import write_transform
from correlight.exchange.geojson import read_geojson, write_geojson
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.io import read, write_ome_tiff
from correlight.output.apply import apply, read_saved
from correlight.output.apply.outlines import NEAR, followed
from correlight.output.folder import write_result
from correlight.output.target import reserve
from correlight.transforms import Affine, BSplineField, Displacement, Projective, Transform, VelocityField
from tests.known_pair import known_result

FIXED, MOVING = Grid.of((120, 160), 0.02, unit="micrometre"), Grid.of((150, 140), 0.03, unit="micrometre")
TURN = Affine.similarity(10, 1.02, source=FIXED.centre, target=MOVING.centre)

# As QuPath 0.5 exports it, with what others add.
QUPATH: dict[str, Any] = {
    "type": "FeatureCollection",
    "bbox": [0, 0, 1, 1],
    "made by": "somebody",
    "features": [
        {
            "type": "Feature",
            "id": "c0ffee00-0000-4000-8000-000000000001",
            "geometry": {"type": "Polygon", "coordinates": [[[40, 30], [110, 30], [110, 90], [40, 90], [40, 30]]]},
            "properties": {
                "objectType": "annotation",
                "name": "soma",
                "classification": {"name": "Tumor: Positive", "color": [200, 0, 0]},
                "isLocked": True,
                "measurements": {"Area µm^2": 12.5, "Ratio": None},
            },
        },
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [60.5, 50.5]},
            "nucleusGeometry": {"type": "Polygon", "coordinates": [[[60, 50], [61, 50], [61, 51], [60, 50]]]},
            "properties": {"objectType": "cell", "metadata": {"ANNOTATION_DESCRIPTION": "ä"}},
        },
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "isEllipse": True,
                "plane": {"c": -1, "z": 0, "t": 0},
                "coordinates": [[[50, 45], [55, 40], [60, 45], [55, 50], [50, 45]]],
            },
            "properties": None,
        },
        {
            "type": "Feature",
            "geometry": {
                "type": "MultiPolygon",
                "coordinates": [
                    [[[30, 30], [70, 30], [70, 60], [30, 30]], [[40, 32], [45, 32], [45, 36], [40, 32]]],
                    [[[80, 80], [90, 80], [90, 90], [80, 80]]],
                ],
            },
            "properties": {"classification": {"names": ["a", "b"]}},
        },
        {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[30, 60, 7], [120, 60, 8]]}},
        {"type": "Feature", "geometry": None, "properties": {"name": "nowhere"}},
    ],
}


def bump(strength: float) -> Any:
    lattice = Grid.of((11, 11), (0.6, 0.8), (-1.8, -2.4), "micrometre")
    numbers = np.zeros((11, 11, 2))
    numbers[3:-3, 3:-3] = np.random.default_rng(4).normal(size=(5, 5, 2)) * strength
    return numbers, lattice


MAPS: dict[str, Transform] = {
    "affine": TURN,
    "projective": Projective(
        [[1.0, 0.01, 0.2], [0.0, 0.98, 0.3], [0.01, 0.02, 1.0]] @ np.linalg.inv(Affine.identity().matrix)
    ),
    "spline": TURN @ BSplineField(*bump(0.15)),
    "flow": TURN @ VelocityField(*bump(0.15)),
    "displacement": TURN
    @ Displacement(0.05 * np.random.default_rng(1).normal(size=(7, 9, 2)), Grid.of((7, 9), 0.4, unit="micrometre")),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images, a result folder for every kind of map, and the annotations."""
    folder = tmp_path_factory.mktemp("annotations")
    rng = np.random.default_rng(0)
    for name, grid in (("fixed", FIXED), ("moving", MOVING)):
        write_ome_tiff(folder / f"{name}.ome.tif", rng.integers(0, 255, (1, *grid.shape), np.uint8), grid, ["a"])
    images = read(folder / "fixed.ome.tif"), read(folder / "moving.ome.tif")
    for name, move in MAPS.items():
        result = replace(known_result(*images, moving_from_fixed=TURN), moving_from_fixed=move)
        with reserve(folder / name) as made:
            write_result(made, result, *images, grid="none")
    (folder / "qupath.geojson").write_text(json.dumps(QUPATH), encoding="utf-8")
    return folder


def moved(home: Path, out: Path, kind: str, points_in: Any, source: str = "qupath.geojson") -> tuple[Any, Any]:
    done = apply(home / kind, home / source, home / "fixed.ome.tif", out, points_in=points_in)
    return done, json.loads(out.read_text(encoding="utf-8"))


def positions(content: Any) -> np.ndarray:
    """All positions of a file, in pixels from the centre of the first one, array order."""
    return np.vstack([path.points for path in content.paths])


@pytest.mark.parametrize("points_in", ["moving", "fixed"])
@pytest.mark.parametrize("kind", list(MAPS))
def test_every_position_goes_where_points_go(kind: str, points_in: str, home: Path, tmp_path: Path) -> None:
    _, content = moved(home, tmp_path / "a.geojson", kind, points_in)
    assert isinstance(content, dict)
    before, after = read_geojson(home / "qupath.geojson"), read_geojson(tmp_path / "a.geojson")
    source, target = (FIXED, MOVING) if points_in == "fixed" else (MOVING, FIXED)
    # A velocity is saved as its flow, whose exact inverse the one of the velocity is near to.
    move = read_saved(home / kind).moving_from_fixed
    move = move if points_in == "fixed" else move.inverse()
    for one, other in zip(before.paths, after.paths, strict=True):
        expected = target.index(move(source.points(one.points)))
        # Every corner is still there, in its order, whatever stands between.
        near = [int(np.abs(other.points - corner).max(axis=1).argmin()) for corner in expected[:-1]]
        assert near == sorted(near)
        assert np.abs(other.points[near] - expected[:-1]).max(initial=0.0) < 1e-3
        assert np.abs(other.points[-1] - expected[-1]).max() < 1e-3
        assert one.kind != "ring" or np.array_equal(other.points[0], other.points[-1])
    if kind in ("affine", "projective"):
        assert len(positions(after)) == len(positions(before))


@pytest.mark.parametrize("points_in", ["moving", "fixed"])
@pytest.mark.parametrize("kind", ["spline", "flow", "displacement"])
def test_edges_follow_the_field(kind: str, points_in: str, home: Path, tmp_path: Path) -> None:
    done, _ = moved(home, tmp_path / "a.geojson", kind, points_in)
    before, after = read_geojson(home / "qupath.geojson"), read_geojson(tmp_path / "a.geojson")
    source, target = (FIXED, MOVING) if points_in == "fixed" else (MOVING, FIXED)
    # A velocity is saved as its flow, whose exact inverse the one of the velocity is near to.
    move = read_saved(home / kind).moving_from_fixed
    move = move if points_in == "fixed" else move.inverse()
    said = next(note for note in done.notes if "further corners" in note)
    assert said.endswith(f"to 0.1 pixels of the {'moving' if points_in == 'fixed' else 'fixed'} image")
    assert f"got {len(positions(after)) - len(positions(before))} further" in said
    ring, line = before.paths[0].points, after.paths[0].points
    places = np.vstack([a + np.linspace(0, 1, 97)[:, None] * (b - a) for a, b in pairwise(ring)])
    curve = target.index(move(source.points(places)))
    assert distances(curve, line).max() < NEAR * 1.2
    straight = target.index(move(source.points(ring)))
    assert distances(curve, straight).max() > 3 * NEAR


def distances(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Of points from a line."""
    steps = np.diff(line, axis=0)
    apart = points[:, None] - line[:-1]
    share = np.clip((apart * steps).sum(2) / np.maximum((steps**2).sum(1), 1e-12), 0, 1)
    return np.asarray(np.linalg.norm(apart - share[..., None] * steps, axis=2).min(axis=1))


def test_all_else_is_kept_as_it_stands(home: Path, tmp_path: Path) -> None:
    done, content = moved(home, tmp_path / "a.geojson", "flow", "moving")
    assert content["made by"] == "somebody"
    before, after = QUPATH["features"], content["features"]
    assert len(after) == len(before)
    for one, other in zip(before, after, strict=True):
        assert list(one) == list(other)
        assert {key: one[key] for key in ("id", "properties") if key in one} == {
            key: other[key] for key in ("id", "properties") if key in other
        }
    assert after[5]["geometry"] is None
    assert after[2]["geometry"]["plane"] == {"c": -1, "z": 0, "t": 0}
    # QuPath draws what is called an ellipse as the ellipse in its box.
    assert "isEllipse" not in after[2]["geometry"]
    assert "1 ellipse is written as the polygons that they become" in done.notes
    assert "measurements stay as they are: they belong to the image that they were made in" in done.notes
    assert "stated, not understood, and kept as it stands: made by" in done.notes
    heights = [position[2] for position in after[4]["geometry"]["coordinates"]]
    assert heights[0] == 7
    assert heights[-1] == 8
    everything = positions(read_geojson(tmp_path / "a.geojson"))[:, ::-1] + 0.5
    assert content["bbox"] == pytest.approx([*everything.min(axis=0), *everything.max(axis=0)], abs=1e-3)
    assert (tmp_path / "a.geojson").read_text(encoding="utf-8").count("ä") == 1


def test_the_way_there_and_back_ends_where_it_began(home: Path, tmp_path: Path) -> None:
    moved(home, tmp_path / "there.geojson", "spline", "fixed")
    apply(home / "spline", tmp_path / "there.geojson", home / "fixed.ome.tif", tmp_path / "back.geojson")
    before, after = read_geojson(home / "qupath.geojson"), read_geojson(tmp_path / "back.geojson")
    corners = np.vstack([path.points for path in before.paths])
    ends = np.vstack([path.points for path in after.paths])
    # Positions are written to a ten-thousandth of a pixel.
    assert np.abs(corners[:, None] - ends[None]).max(axis=2).min(axis=1).max() < 2e-3


@pytest.mark.parametrize("form", ["list", "feature", "geometry", "collection"])
def test_other_forms_of_geojson_keep_their_form(form: str, home: Path, tmp_path: Path) -> None:
    feature = QUPATH["features"][1]
    content: Any = {
        "list": [feature, feature],
        "feature": feature,
        "geometry": feature["geometry"],
        "collection": {"type": "GeometryCollection", "geometries": [feature["geometry"], feature["nucleusGeometry"]]},
    }[form]
    (tmp_path / "in.json").write_text(json.dumps(content))
    apply(home / "affine", tmp_path / "in.json", home / "fixed.ome.tif", tmp_path / "out.json", points_in="fixed")
    out = json.loads((tmp_path / "out.json").read_text())
    assert type(out) is type(content)
    first = out[0] if form == "list" else out
    point = first["geometries"][0] if form == "collection" else first if form == "geometry" else first["geometry"]
    expected = MOVING.index(TURN(FIXED.points([[50.0, 60.0]])))[0][::-1] + 0.5
    assert point == {"type": "Point", "coordinates": pytest.approx(expected.tolist(), abs=1e-4)}


def test_what_lies_outside_or_beyond_the_field_is_said(home: Path, tmp_path: Path) -> None:
    far = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [2000, 40]}, "properties": {"name": "far"}}
    near = QUPATH["features"][2]
    (tmp_path / "in.geojson").write_text(json.dumps([near, far]))
    done = apply(home / "displacement", tmp_path / "in.geojson", home / "fixed.ome.tif", tmp_path / "out.geojson")
    assert done.outside == ("2 (far)",)
    assert any(note.startswith("1 annotation lies beyond the field") for note in done.notes)


def test_a_fold_is_said(home: Path, tmp_path: Path) -> None:
    vectors = np.zeros((9, 9, 2))
    vectors[4, 4] = [1.5, 0.0]
    fold = Displacement(vectors, Grid.of((9, 9), (0.3, 0.4), unit="micrometre"))
    write_transform(tmp_path / "fold.h5", fold)
    same = home / "fixed.ome.tif"
    with pytest.raises(UsageError, match=r"folds over itself .* from the fixed to the moving image only"):
        apply(tmp_path / "fold.h5", home / "qupath.geojson", same, tmp_path / "a.geojson", moving_spacing=0.02)
    table = "name,unit,y,x\na,micrometre,1.35,1.6\nb,micrometre,0.1,0.1\n"
    (tmp_path / "points.csv").write_text(table)
    done = apply(tmp_path / "fold.h5", tmp_path / "points.csv", same, tmp_path / "b.csv", points_in="fixed")
    assert "1 point has a place in a fold of the field, which turns its surroundings inside out" in done.notes
    done = apply(tmp_path / "fold.h5", same, same, tmp_path / "c.tif")
    assert any("the field folds on" in note and "shows places twice" in note for note in done.notes)


def test_points_say_how_exactly_the_map_leads_back(home: Path, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("name,unit,y,x\na,micrometre,1.5,1.6\nb,micrometre,40,40\n")
    fixed = home / "fixed.ome.tif"
    for points_in in ("fixed", "moving"):
        done = apply(home / "flow", tmp_path / "points.csv", fixed, tmp_path / f"{points_in}.csv", points_in=points_in)
        assert any(note.startswith("the map and its inverse lead back to within") for note in done.notes)
        assert any(note.startswith("1 point has a place beyond the field") for note in done.notes)
    done = apply(home / "affine", tmp_path / "points.csv", fixed, tmp_path / "affine.csv")
    assert done.notes == ()


def test_pixels_of_an_unknown_image_are_asked_for(home: Path, tmp_path: Path) -> None:
    write_transform(tmp_path / "alone.h5", MAPS["spline"])
    arguments = tmp_path / "alone.h5", home / "qupath.geojson", home / "fixed.ome.tif"
    with pytest.raises(UsageError, match="give its pixel size"):
        apply(*arguments, tmp_path / "a.geojson")
    apply(*arguments, tmp_path / "a.geojson", moving_spacing=0.03)
    moved(home, tmp_path / "b.geojson", "spline", "moving")
    one, other = read_geojson(tmp_path / "a.geojson"), read_geojson(tmp_path / "b.geojson")
    assert np.abs(positions(one) - positions(other)).max() < 1e-6


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"type": "Topology"}, "Features of GeoJSON were expected"),
        ({"type": "FeatureCollection"}, "A list of features was expected"),
        ([{"type": "Feature", "geometry": {"type": "Circle"}}], "got 'Circle'"),
        ([{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1]}}], "needs x and y"),
        ([{"type": "Feature", "geometry": {"type": "Point", "coordinates": ["a", 2]}}], "needs x and y"),
        ([{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[1, 2]]}}], "needs x and y"),
        ([{"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[1, float("nan")]]}}], "needs x and"),
        ([{"type": "Feature", "geometry": None}], "holds no geometry"),
        ([{"type": "Feature", "geometry": {"type": ["Point"], "coordinates": [1, 2]}}], "A geometry was|is damaged"),
        ([{"type": "Feature", "geometry": {"type": "Point", "coordinates": [10**400, 2]}}], "needs x and y"),
        ([{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1e200, 2]}}], "needs x and y"),
        ([{"type": ["Feature"]}], "Features of GeoJSON"),
        ([{"type": "Feature", "geometry": [1, 2]}], "A geometry was expected"),
        (7, "A list of features|Features of GeoJSON"),
    ],
)
def test_damaged_annotations_are_named(content: Any, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text(json.dumps(content))
    with pytest.raises(ReadError, match=words):
        read_geojson(tmp_path / "a.geojson")


def test_only_edges_that_leave_their_curve_are_cut() -> None:
    def move(points: np.ndarray) -> np.ndarray:
        return points + np.column_stack([5 * np.sin(points[:, 1] / 20), 0 * points[:, 0]])

    points = np.array([[0.0, 0.0], [0.0, 100.0], [30.0, 100.0], [30.0, 101.0]])
    joined = np.array([True, True, True, False])
    moved, place = followed(points, joined, move, 10.0)
    assert {int(number) for number in place if number % 1} == {0}
    assert 8 < len(moved) - 4 < 64
    straight, place = followed(points, joined, move, float("inf"))
    assert np.array_equal(place, [0, 1, 2, 3])
    assert np.array_equal(straight, move(points))


def test_a_file_that_cannot_be_written_is_named(home: Path, tmp_path: Path) -> None:
    found = read_geojson(home / "qupath.geojson")
    with pytest.raises(Exception, match="The annotations cannot be written"):
        write_geojson(tmp_path / "none" / "a.geojson", found, list(found.paths), set())


def test_the_command_line_moves_annotations(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.geojson"
    where = [str(home / "flow"), str(home / "qupath.geojson"), "--like", str(home / "fixed.ome.tif")]
    assert cli.main(["apply", *where, "-o", str(out), "--points-in", "fixed"]) == 0
    told = capsys.readouterr()
    assert str(out) in told.out
    assert "further corners" in told.err
    assert cli.main(["apply", *where, "-o", str(tmp_path / "a.tif")]) == 2
    assert "a name ending in .geojson or .json was expected" in capsys.readouterr().err
    assert cli.main(["apply", *where, "-o", str(tmp_path / "b.geojson"), "--moving-scene", "2"]) == 2
    assert "holds annotations, of which there is no part" in capsys.readouterr().err


def test_annotations_of_stacks_are_refused(tmp_path: Path, home: Path) -> None:
    grid = Grid.of((4, 40, 40), 0.1, unit="micrometre")
    stack = Image.from_array(np.random.default_rng(0).integers(0, 255, (1, *grid.shape), np.uint8), grid.spacing)
    write_ome_tiff(tmp_path / "stack.ome.tif", np.asarray(stack.levels[0]), grid, ["a"])
    write_transform(tmp_path / "a.tfm", Affine.identity(3))
    with pytest.raises(UsageError, match="has three axes; give a table of points"):
        apply(tmp_path / "a.tfm", home / "qupath.geojson", tmp_path / "stack.ome.tif", tmp_path / "a.geojson")
