"""Transforms as plain matrices, and the choice of format by the name of the file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight.errors import ReadError, TransformError, WriteError
from correlight.exchange import ExchangeContext, read_transform, write_transform
from correlight.exchange.formats import recognise
from correlight.geometry import Grid
from correlight.output.convert import convert
from correlight.transforms import Affine, Displacement, Projective


@pytest.mark.parametrize("ending", [".txt", ".json"])
@pytest.mark.parametrize("kind", [Affine, Projective])
@pytest.mark.parametrize("size", [3, 4])
def test_every_number_survives_the_round_trip(ending: str, kind: type, size: int, tmp_path: Path) -> None:
    matrix = np.random.default_rng(size).normal(size=(size, size))
    matrix[-1] = [*([0.0] * (size - 1) if kind is Affine else np.full(size - 1, 1 / 3e4)), 1]
    path = tmp_path / f"moving_from_fixed{ending}"
    write_transform(path, kind(matrix))
    found = read_transform(path)
    assert type(found) is kind
    assert np.array_equal(found.matrix, matrix)  # type: ignore[attr-defined]


def test_an_affine_transform_goes_through_tfm_and_a_projective_one_does_not(tmp_path: Path) -> None:
    transform = Affine.similarity(33, 1.7, mirror=True, source=(3, 4), target=(50, 60))
    write_transform(tmp_path / "a.tfm", transform)
    assert np.array_equal(read_transform(tmp_path / "a.tfm").matrix, transform.matrix)  # type: ignore[attr-defined]
    (tmp_path / "itk.txt").write_bytes((tmp_path / "a.tfm").read_bytes())
    assert np.array_equal(read_transform(tmp_path / "itk.txt").matrix, transform.matrix)  # type: ignore[attr-defined]
    with pytest.raises(TransformError, match="ITK files hold no projective"):
        write_transform(tmp_path / "b.tfm", Projective(np.eye(3)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.txt", "# a comment\n1 2 3\n\n0 1 4 # another\n0 0 1\n"),
        ("commas.csv", "1,2,3\n0,1,4\n0,0,1\n"),
        ("short.txt", "1 2 3\n0 1 4\n"),
        ("bare.json", "[[1, 2, 3], [0, 1, 4]]"),
        ("named.json", '{"matrix": [[1, 2, 3], [0, 1, 4], [0, 0, 1]]}'),
        ("result.json", '{"status": "accepted", "moving_from_fixed": {"matrix": [[1, 2, 3], [0, 1, 4], [0, 0, 1]]}}'),
    ],
)
def test_matrices_are_read_however_they_are_written(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    found = read_transform(tmp_path / name, "matrix")
    assert isinstance(found, Affine)
    assert found.matrix.tolist() == [[1, 2, 3], [0, 1, 4], [0, 0, 1]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.txt", "# a comment\n1 2 3\n0 1 4\n0 0 1\n"),
        ("affinder.csv", "1,2,3\n0,1,4\n0,0,1\n"),
        ("bare.json", "[[1, 2, 3], [0, 1, 4]]"),
        ("named.json", '{"matrix": [[1, 2, 3], [0, 1, 4], [0, 0, 1]]}'),
    ],
)
def test_a_bare_matrix_is_not_taken_without_being_told_which_way_it_leads(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ReadError, match=r"which way it leads; give its format: matrix .* napari .* ecclem"):
        read_transform(tmp_path / name)
    back, there = read_transform(tmp_path / name, "napari"), read_transform(tmp_path / name, "matrix")
    assert np.abs(back(there([[5.0, 7.0]])) - [[5.0, 7.0]]).max() < 1e-12


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "1 2\n3 4\n", "got 2 x 2"),
        ("a.txt", "1 2 3\n0 1\n", "rows of one length"),
        ("a.txt", "1 2 3\n0 1 nan\n", "finite"),
        ("a.txt", "name,y,x\n1,2,3\n", "matrix of numbers"),
        ("a.txt", "", "which holds nothing"),
        ("a.txt", "1 0 0\n0 1 0\n0 0 0\n", "no transform"),
        ("a.json", "{", "no valid JSON"),
        ("a.json", "{}", "No matrix was found"),
        ("a.json", '{"moving_from_fixed": {"type": "elastic", "file": "a.h5"}}', "No matrix was found"),
        ("a.json", "3", "a single number"),
        ("a.xml", "1 2 3", "XML file of"),
        ("a.png", "1 2 3", "read from"),
        ("a", "1 2 3", "ends in nothing"),
    ],
)
def test_damaged_files_are_named(name: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ReadError, match=words) as caught:
        read_transform(tmp_path / name)
    assert name in str(caught.value)


def test_binary_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(bytes(range(128, 256)))
    with pytest.raises(ReadError, match="no plain text"):
        read_transform(tmp_path / "a.txt")
    with pytest.raises(ReadError, match="no file"):
        read_transform(tmp_path / "b.txt")
    with pytest.raises(ReadError, match="no file"):
        read_transform(tmp_path)


def test_transforms_are_written_only_where_they_fit(tmp_path: Path) -> None:
    with pytest.raises(TransformError, match=r"\.tfm.*; .*a\.png ends in \.png"):
        write_transform(tmp_path / "a.png", Affine.identity())
    with pytest.raises(TransformError, match="several formats; choose one: "):
        write_transform(tmp_path / "a.xml", Affine.identity())
    with pytest.raises(TransformError, match=r"a.txt would hold .*, so write it as .h5"):
        write_transform(tmp_path / "a.txt", Displacement(np.zeros((4, 4, 2)), Grid.of((4, 4))))
    with pytest.raises(WriteError, match="cannot be written"):
        write_transform(tmp_path / "none" / "a.txt", Affine.identity())


def test_the_json_says_what_it_holds(tmp_path: Path) -> None:
    write_transform(tmp_path / "a.json", Projective(np.eye(4)))
    content = json.loads((tmp_path / "a.json").read_text())["moving_from_fixed"]
    assert (content["type"], content["axes"]) == ("projective", "zyx")


def test_a_bare_matrix_of_pixels_is_read_with_the_pixel_sizes_of_the_images(tmp_path: Path) -> None:
    # What affinder writes of layers without scale: from pixels of the moving image to those of the fixed one.
    (tmp_path / "affinder.csv").write_text("2,0,50\n0,2,60\n0,0,1\n")
    fixed, moving = (Grid.of((400, 400), size, unit="micrometre") for size in (0.1, 0.2))
    context = ExchangeContext(fixed=fixed, moving=moving, unit="pixel")
    found = read_transform(tmp_path / "affinder.csv", "napari", context)
    np.testing.assert_allclose(found.inverse()(moving.points([[0, 0], [10, 20]])), fixed.points([[50, 60], [70, 100]]))
    spacings: Any = {"fixed_spacing": (0.1,), "moving_spacing": (0.2,)}
    done = convert(tmp_path / "affinder.csv", tmp_path / "a.tfm", read_as="napari", **spacings)
    assert "affinder.csv states no unit, so its numbers are taken for micrometres" in done.notes[0]
    told = convert(tmp_path / "affinder.csv", tmp_path / "b.tfm", read_as="napari", context=context, **spacings)
    assert told.notes == ()
    np.testing.assert_allclose(read_transform(tmp_path / "b.tfm").inverse()([[0, 0]]), [[5, 6]])


@pytest.mark.parametrize(("name", "text"), [("e.csv", ""), ("e.json", "[]\n"), ("e.txt", "\n \n")])
def test_a_file_that_holds_nothing_is_called_empty(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ReadError, match="which holds nothing"):
        recognise(tmp_path / name)
