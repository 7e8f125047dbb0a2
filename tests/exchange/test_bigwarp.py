"""Landmarks of BigWarp."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight.errors import ReadError
from correlight.exchange import ExchangeContext, read_landmarks
from correlight.exchange.bigwarp import read_bigwarp, write_bigwarp
from correlight.geometry import Grid

FLAT = '"Pt-0","true","47.5","103.99999999999999","51.09375","195.28125"\n'
SOLID = (
    '"Pt-0","true","78.04761904761905","113.78571428571429","135.0",'
    '"13.833333333333314","111.21428571428572","1.0E-4"\n'
)
LONELY = '"Pt-6","false","12.5","40.0","3.0","Infinity","Infinity","Infinity"\n'


def test_rows_of_four_numbers_are_flat_and_the_moving_point_comes_first(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(FLAT + FLAT.replace('"', "").replace("Pt-0", "b"))
    found = read_bigwarp(tmp_path / "a.csv")
    assert found.moving.points.tolist() == [[103.99999999999999, 47.5]] * 2
    assert found.fixed.points.tolist() == [[195.28125, 51.09375]] * 2
    assert found.fixed.names == ("Pt-0", "b")
    assert found.fixed.unit == "micrometre"
    assert read_bigwarp(tmp_path / "a.csv", "pixel").moving.unit == "pixel"


def test_points_without_partner_and_inactive_ones_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(SOLID + LONELY + SOLID.replace("true", "FALSE") + LONELY.replace("false", "true"))
    found = read_bigwarp(tmp_path / "a.csv")
    assert found.fixed.points.tolist() == [[1e-4, 111.21428571428572, 13.833333333333314]]
    assert found.moving.points.tolist() == [[135.0, 113.78571428571429, 78.04761904761905]]
    assert found.left_out == 3


def content(**changes: Any) -> dict[str, Any]:
    return {
        "type": "BigWarpLandmarks", "numDimensions": 3, "movingPoints": [[193.5, 163.25, 130.0], [1, 2, 3]],
        "fixedPoints": [[216.0, 233.5, 126.75], [float("inf")] * 3], "active": [True, False], "names": ["Pt-0", "Pt-1"],
    } | changes  # fmt: skip


@pytest.mark.parametrize("settings", [False, True])
def test_the_json_form_and_settings_that_hold_it_are_read(settings: bool, tmp_path: Path) -> None:
    whole = {"Transform": {"type": "Thin Plate Spline", "landmarks": content()}} if settings else content()
    (tmp_path / "a.json").write_text(json.dumps(whole))
    found = read_bigwarp(tmp_path / "a.json")
    assert found.moving.points.tolist() == [[130.0, 163.25, 193.5]]
    assert found.fixed.points.tolist() == [[126.75, 233.5, 216.0]]
    assert found.left_out == 1


def test_what_is_written_has_six_keys_and_quoted_fields(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(SOLID)
    landmarks = read_bigwarp(tmp_path / "a.csv")
    write_bigwarp(tmp_path / "b.csv", landmarks)
    assert (tmp_path / "b.csv").read_text() == SOLID.replace("1.0E-4", "0.0001")
    write_bigwarp(tmp_path / "b.json", landmarks)
    assert set(json.loads((tmp_path / "b.json").read_text())) == set(content())
    again = read_bigwarp(tmp_path / "b.json")
    assert np.array_equal(again.fixed.points, landmarks.fixed.points)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "", "6 fields"),
        ("a.csv", "a,true,1,2,3\n", "6 fields"),
        ("a.csv", FLAT + SOLID, "Row 2"),
        ("a.csv", FLAT.replace("47.5", "x"), "row 1"),
        ("a.csv", LONELY, "No landmark"),
        ("a.csv", '"a\n', "BigWarp"),
        ("a.json", "[]", "no object of the type"),
        ("a.json", json.dumps(content(type="Other")), "no object of the type"),
        ("a.json", json.dumps(content(names=["one"])), "of one length"),
        ("a.json", json.dumps(content(active=None)), "of one length"),
        ("a.json", json.dumps(content(numDimensions=2)), "with 2 coordinates"),
        ("a.json", json.dumps(content(movingPoints=[["x", 1, 2], [1, 2, 3]])), "landmark 1"),
    ],
)
def test_damaged_files_are_named(name: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ReadError, match=words):
        read_bigwarp(tmp_path / name)


def test_real_landmarks_of_light_and_electron_microscopy_are_read(data: Path) -> None:
    path = data / "elm" / "lm-em-landmarks_v14.csv"
    rows = [line for line in path.read_text().splitlines() if line.strip()]
    found = read_bigwarp(path)
    assert len(found.fixed.names) + found.left_out == len(rows)
    first = [float(cell.strip('"')) for cell in rows[0].split(",")[2:]]
    assert found.moving.points[0].tolist() == first[2::-1]
    assert found.fixed.points[0].tolist() == first[:2:-1]


def planes(moving_z: tuple[float, float], fixed_z: tuple[float, float]) -> str:
    rows = zip(("a", "b"), moving_z, fixed_z, strict=True)
    return "".join(f'"{name}","true","1.5","2.5","{m}","3.5","{n}.5","{f}"\n' for n, (name, m, f) in enumerate(rows))


def test_landmarks_of_flat_images_have_no_z(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(planes((0.0, 0.0), (0.0, 0.0)))
    found = read_bigwarp(tmp_path / "a.csv")
    assert found.moving.points.tolist() == [[2.5, 1.5], [2.5, 1.5]]
    assert found.fixed.points.tolist() == [[0.5, 3.5], [1.5, 3.5]]
    assert read_bigwarp(tmp_path / "a.csv", ndim=3).fixed.points.shape == (2, 3)
    # The images tell; a plane may also lie at another height.
    (tmp_path / "a.csv").write_text(planes((135.0, 135.0), (0.0, 0.0)))
    assert read_landmarks(tmp_path / "a.csv").fixed.points.shape == (2, 3)
    plane = ExchangeContext(Grid.of((40, 50)), Grid.of((40, 50)))
    assert read_landmarks(tmp_path / "a.csv", plane).fixed.points.tolist() == [[0.5, 3.5], [1.5, 3.5]]
    (tmp_path / "a.csv").write_text(planes((135.0, 134.0), (0.0, 0.0)))
    with pytest.raises(ReadError, match="different z"):
        read_landmarks(tmp_path / "a.csv", plane)
