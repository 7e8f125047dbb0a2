"""`correlight convert`: files of one tool for another, from the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight.cli import ACCEPTED, MISUSED, main
from correlight.exchange import PointTable, read_file, read_landmarks, read_transform, write_file, write_transform
from correlight.geometry import Grid
from correlight.transforms import Affine, Displacement, Projective, Transform

TRANSFORM = Affine([[1.2, 0.1, 3], [-0.2, 0.9, 4], [0, 0, 1]])
PIXELS = ("--fixed-spacing", "0.01", "--moving-spacing", "0.1")


def run(*words: Any) -> int:
    return main(["convert", *map(str, words)])


def refused(capsys: pytest.CaptureFixture[str], *words: Any) -> str:
    assert run(*words) == MISUSED
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def record(folder: Path, transform: Transform) -> Path:
    """What a registration of two images would leave: the record and the transform."""
    folder.mkdir()
    name = "moving_from_fixed.tfm" if isinstance(transform, Affine) else "moving_from_fixed.h5"
    write_transform(folder / name, transform)
    about: dict[str, Any] = {"type": "affine", "axes": "yx"}
    about |= {"matrix": transform.matrix.tolist()} if isinstance(transform, Affine) else {"file": name}
    sides = {role: {"shape": [40, 50], "spacing": [step, step]} for role, step in (("fixed", 0.01), ("moving", 0.1))}
    units = {f"{role}_unit": "micrometre" for role in sides}
    (folder / "result.json").write_text(
        json.dumps({"moving_from_fixed": about, "status": "accepted", **sides, **units})
    )
    return folder


@pytest.mark.parametrize(
    ("name", "there", "back"),
    [
        ("a.tfm", (), ()),
        ("a.h5", (), ()),
        ("a.zarr", (), ()),
        ("TransformParameters.0.txt", ("--to", "elastix"), ()),
        ("a.csv", ("--to", "napari"), ("--from", "napari")),
        ("a.xml", ("--to", "trakem2", *PIXELS), PIXELS),
        ("a.json", ("--to", "mobie", "--name", "lm"), ("--dimensions", "2")),
    ],
)
def test_a_transform_goes_there_and_back(
    name: str, there: tuple[str, ...], back: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_transform(tmp_path / "start.txt", TRANSFORM)
    assert run(tmp_path / "start.txt", tmp_path / name, *there) == ACCEPTED
    assert capsys.readouterr().out.startswith(f"{tmp_path / name}: transform, ")
    assert run(tmp_path / name, tmp_path / "end.txt", *back) == ACCEPTED
    found = read_transform(tmp_path / "end.txt")
    assert isinstance(found, Affine)
    assert np.abs(found.matrix - TRANSFORM.matrix).max() < 1e-9


def test_of_a_result_the_images_are_known(tmp_path: Path) -> None:
    result = record(tmp_path / "out", TRANSFORM)
    for source in (result, result / "result.json", result / "moving_from_fixed.tfm"):
        assert run(source, tmp_path / "a.xml", "--to", "ecclem", "--overwrite") == ACCEPTED
        found = read_file(tmp_path / "a.xml")
        assert isinstance(found, Affine)
        assert np.abs(found.matrix - TRANSFORM.matrix).max() < 1e-9


def test_an_elastic_result_is_found_beside_its_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors = np.random.default_rng(0).normal(size=(4, 5, 2))
    field = Displacement(vectors, Grid.of((4, 5), 0.1, unit="micrometre"))
    result = record(tmp_path / "out", field)
    assert run(result, tmp_path / "a.zarr") == ACCEPTED
    found = read_transform(tmp_path / "a.zarr")
    points = np.random.default_rng(1).random((9, 2)) * 0.3
    assert np.abs(found(points) - field(points)).max() < 1e-12
    capsys.readouterr()
    assert "affine transforms only" in refused(capsys, result, tmp_path / "a.json", "--to", "mobie", "--name", "a")


def test_landmarks_become_other_landmarks_or_the_transform_that_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = np.random.default_rng(0).random((6, 2)) * 10
    rows = [
        f'"p{n}","{"true" if n else "false"}",{",".join(map(repr, [*m[::-1].tolist(), *f[::-1].tolist()]))}\n'
        for n, (f, m) in enumerate(zip(fixed, TRANSFORM(fixed), strict=True))
    ]
    (tmp_path / "bigwarp.csv").write_text("".join(rows))
    assert run(tmp_path / "bigwarp.csv", tmp_path / "table.csv") == ACCEPTED
    assert "1 landmark is inactive or without partner and left out" in capsys.readouterr().err
    assert np.array_equal(read_landmarks(tmp_path / "table.csv").fixed.points, fixed[1:])
    assert "--model" in refused(capsys, tmp_path / "bigwarp.csv", tmp_path / "a.tfm")
    assert run(tmp_path / "bigwarp.csv", tmp_path / "a.tfm", "--model", "affine") == ACCEPTED
    found = read_transform(tmp_path / "a.tfm")
    assert isinstance(found, Affine)
    assert np.abs(found.matrix - TRANSFORM.matrix).max() < 1e-9


def test_points_go_to_transformix_and_come_back(tmp_path: Path) -> None:
    table = PointTable(("1", "2"), np.array([[1.5, 2.5], [3.0, 4.0]]), "micrometre")
    write_file(tmp_path / "a.csv", table)
    assert run(tmp_path / "a.csv", tmp_path / "a.txt") == ACCEPTED
    assert (tmp_path / "a.txt").read_text() == "point\n2\n2.5 1.5\n4.0 3.0\n"
    assert run(tmp_path / "a.txt", tmp_path / "b.csv") == ACCEPTED
    assert (tmp_path / "b.csv").read_text() == (tmp_path / "a.csv").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a.txt", "b.xml"), "several formats; choose one with --to"),
        (("a.txt", "b.xml", "--to", "trakem2"), "counts pixels"),
        (("a.txt", "b.xml", "--to", "bdv"), "--into"),
        (("a.txt", "b.csv", "--to", "bigwarp"), "does not hold a transform"),
        (("a.txt", "b.tfm", "--to", "word"), "A format is one of"),
        (("a.txt", "b.png"), "ends in .png"),
        (("a.txt", "a.txt"), "would replace the input"),
        (("none.txt", "b.tfm"), "there is no file"),
        (("p.txt", "b.tfm"), "no projective"),
        (("a.txt", "b.xml", "--to", "trakem2", "--fixed-spacing", "x"), "one number of micrometres or Z,Y,X"),
        (("a.txt", "b.xml", "--to", "trakem2", "--fixed-spacing", "0"), "positive number"),
    ],
)
def test_what_cannot_be_done_ends_in_one_sentence_and_no_file(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_transform(tmp_path / "a.txt", TRANSFORM)
    write_transform(tmp_path / "p.txt", Projective([[1, 0, 0], [0, 1, 0], [1e-3, 0, 1]]))
    before = sorted(tmp_path.iterdir())
    assert said in refused(capsys, *(tmp_path / word for word in words[:2]), *words[2:])
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_that_exists_is_kept_unless_allowed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_transform(tmp_path / "a.txt", TRANSFORM)
    for name in ("a.tfm", "a.zarr"):
        assert run(tmp_path / "a.txt", tmp_path / name) == ACCEPTED
        capsys.readouterr()
        assert "exists" in refused(capsys, tmp_path / "a.txt", tmp_path / name)
        assert run(tmp_path / "a.txt", tmp_path / name, "--overwrite") == ACCEPTED
