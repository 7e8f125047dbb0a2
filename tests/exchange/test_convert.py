"""Every format, there and back, through the same door as the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlight.errors import CorrelightError, ReadError, TransformError, UsageError
from correlight.exchange import (
    FORMATS,
    ExchangeContext,
    LandmarkTable,
    PointTable,
    kind_of,
    read_file,
    read_landmarks,
    read_transform,
    write_file,
    write_landmarks,
)
from correlight.exchange.formats import recognise
from correlight.geometry import Grid, Unit
from correlight.transforms import Affine, Displacement, Projective

# Every name under which a transform can be written without a folder or a dataset to write into.
TRANSFORMS = [
    ("itk", "a.tfm"),
    ("itk", "a.h5"),
    ("elastix", "TransformParameters.0.txt"),
    ("matrix", "a.txt"),
    ("matrix", "a.csv"),
    ("matrix", "a.json"),
    ("napari", "a.txt"),
    ("napari", "a.csv"),
    ("trakem2", "a.xml"),
    ("ecclem", "a_transfo.xml"),
    ("mobie", "view.json"),
]
# A file of these could be taken for a matrix that leads the other way.
ALIKE = {"napari"}


def random_affine(ndim: int, seed: int) -> Affine:
    rng = np.random.default_rng(seed)
    return Affine.of(np.eye(ndim) + rng.normal(scale=0.25, size=(ndim, ndim)), rng.normal(size=ndim) * 100)


def context(ndim: int) -> ExchangeContext:
    fixed = Grid.of((7, 900, 1100)[-ndim:], (0.05, 0.01, 0.012)[-ndim:], unit="micrometre")
    moving = Grid.of((5, 200, 300)[-ndim:], (0.4, 0.11, 0.1)[-ndim:], unit="micrometre")
    return ExchangeContext(fixed, moving, name="light", ndim=ndim)


# HDF5 is read by a process of its own, which is too slow for a hundred examples.
@pytest.mark.parametrize(("name", "file"), [entry for entry in TRANSFORMS if entry[1] != "a.h5"])
@given(ndim=st.sampled_from([2, 3]), seed=st.integers(0, 10**6))
def test_an_affine_transform_comes_back(
    name: str, file: str, ndim: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _comes_back(tmp_path_factory.mktemp("there") / file, name, ndim, seed)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_an_affine_transform_comes_back_from_hdf5(ndim: int, seed: int, tmp_path: Path) -> None:
    _comes_back(tmp_path / "a.h5", "itk", ndim, seed)


def _comes_back(path: Path, name: str, ndim: int, seed: int) -> None:
    transform = random_affine(ndim, seed)
    write_file(path, transform, name, context(ndim))
    found = read_file(path, name if name in ALIKE else None, context(ndim))
    assert isinstance(found, Affine)
    points = np.random.default_rng(seed).normal(size=(9, ndim)) * 50
    moved = transform(points)
    condition = np.linalg.cond(transform.linear)
    assert np.abs(found(points) - moved).max() < 1e-9 * max(1.0, condition / 100)


@pytest.mark.parametrize(("name", "file"), [entry for entry in TRANSFORMS if entry[0] not in ALIKE])
def test_files_are_recognised_by_what_they_hold(name: str, file: str, tmp_path: Path) -> None:
    write_file(tmp_path / file, random_affine(2, 0), name, context(2))
    assert recognise(tmp_path / file) is FORMATS[name]


@pytest.mark.parametrize(("name", "file"), TRANSFORMS)
def test_a_projective_transform_is_kept_or_refused(name: str, file: str, tmp_path: Path) -> None:
    transform = Projective(np.array([[1.1, 0.1, 3], [-0.2, 0.9, 5], [1e-3, 2e-3, 1]]))
    if name not in ("matrix", "trakem2"):
        with pytest.raises(TransformError, match=r"projective|Projective"):
            write_file(tmp_path / file, transform, name, context(2))
        assert not (tmp_path / file).exists()
        return
    write_file(tmp_path / file, transform, name, context(2))
    found = read_file(tmp_path / file, None, context(2))
    assert isinstance(found, Projective)
    assert np.abs(found.matrix - transform.matrix).max() < 1e-9


@pytest.mark.parametrize(("name", "file"), TRANSFORMS)
def test_a_displacement_is_kept_or_refused(name: str, file: str, tmp_path: Path) -> None:
    vectors = np.random.default_rng(3).normal(size=(4, 5, 2))
    field = Displacement(vectors, Grid.of((4, 5), (0.5, 0.25), (2, 3), "micrometre"))
    if name != "itk":
        with pytest.raises(TransformError, match=r"displacement|Displacement"):
            write_file(tmp_path / file, field, name, context(2))
        assert not (tmp_path / file).exists()
        return
    write_file(tmp_path / file, field, name, context(2))
    found = read_file(tmp_path / file)
    assert isinstance(found, Displacement)
    assert found.grid == field.grid
    assert np.array_equal(found.vectors, field.vectors)


LANDMARKS = [("table", "a.csv"), ("bigwarp", "a.csv"), ("bigwarp", "a.json"), ("ecclem", "a.xml")]


def landmarks(ndim: int, seed: int, unit: Unit = "micrometre") -> LandmarkTable:
    rng = np.random.default_rng(seed)
    names = tuple(str(number) for number in range(6))
    fixed, moving = (PointTable(names, rng.normal(size=(6, ndim)) * 40, unit) for _ in range(2))
    return LandmarkTable(fixed, moving)


@pytest.mark.parametrize(("name", "file"), LANDMARKS)
@given(ndim=st.sampled_from([2, 3]), seed=st.integers(0, 10**6))
def test_landmarks_come_back(
    name: str, file: str, ndim: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path, pairs = tmp_path_factory.mktemp("there") / file, landmarks(ndim, seed)
    write_landmarks(path, pairs, name, context(ndim))
    found = read_landmarks(path)
    assert found.fixed.names == pairs.fixed.names
    for side in ("fixed", "moving"):
        assert np.array_equal(getattr(found, side).points, getattr(pairs, side).points)
        assert getattr(found, side).unit == "micrometre"


@pytest.mark.parametrize(("name", "file"), LANDMARKS[1:])
def test_landmarks_in_pixels_are_written_in_the_unit_of_their_images(name: str, file: str, tmp_path: Path) -> None:
    pairs, known = landmarks(2, 5, "pixel"), context(2)
    write_landmarks(tmp_path / file, pairs, name, known)
    found = read_landmarks(tmp_path / file)
    assert known.fixed is not None
    assert known.moving is not None
    assert np.abs(found.fixed.points - pairs.fixed.points * known.fixed.spacing).max() < 1e-12
    assert np.abs(found.moving.points - pairs.moving.points * known.moving.spacing).max() < 1e-12
    with pytest.raises(UsageError, match=r"give the fixed image or its pixel size|give both images"):
        write_landmarks(tmp_path / file, pairs, name)


@pytest.mark.parametrize(("name", "file"), [("table", "a.csv"), ("transformix", "a.txt")])
@pytest.mark.parametrize("unit", ["micrometre", "pixel"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_points_come_back(name: str, file: str, unit: Unit, ndim: int, tmp_path: Path) -> None:
    table = PointTable(("1", "2"), np.random.default_rng(1).normal(size=(2, ndim)), unit)
    write_file(tmp_path / file, table, name)
    found = read_file(tmp_path / file)
    assert isinstance(found, PointTable)
    assert kind_of(found) == "points"
    assert (found.names, found.unit) == (table.names, unit)
    assert np.array_equal(found.points, table.points)


def test_the_affine_of_a_napari_layer_leads_from_moving_to_fixed(tmp_path: Path) -> None:
    # napari: world = affine @ (scale * data), array order; the world is the fixed frame.
    transform = Affine.similarity(30, 1.5, source=(3, 4), target=(10, 20))
    write_file(tmp_path / "a.txt", transform, "napari")
    affine = np.loadtxt(tmp_path / "a.txt")
    fixed = np.array([[3.0, 4.0]])
    moving = transform(fixed)
    assert np.abs(affine @ [*moving[0], 1] - [*fixed[0], 1]).max() < 1e-12
    write_file(tmp_path / "a.csv", transform, "napari")
    assert np.array_equal(np.loadtxt(tmp_path / "a.csv", delimiter=","), affine)


def test_an_ending_that_stands_for_several_formats_must_be_explained(tmp_path: Path) -> None:
    with pytest.raises(TransformError, match="choose one: trakem2"):
        write_file(tmp_path / "a.xml", random_affine(2, 0))
    with pytest.raises(UsageError, match="A format is one of itk"):
        write_file(tmp_path / "a.xml", random_affine(2, 0), "word")
    with pytest.raises(TransformError, match="bigwarp does not hold a transform"):
        write_file(tmp_path / "a.csv", random_affine(2, 0), "bigwarp")


def test_formats_that_count_pixels_ask_for_their_size(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"TrakEM2 counts pixels.* give the fixed and the moving image or pixel size"):
        write_file(tmp_path / "a.xml", random_affine(2, 0), "trakem2")
    with pytest.raises(UsageError, match="eC-CLEM states the sizes"):
        write_file(tmp_path / "a.xml", random_affine(2, 0), "ecclem")
    with pytest.raises(UsageError, match="give its name"):
        write_file(tmp_path / "a.json", random_affine(2, 0), "mobie")


@pytest.mark.parametrize(("name", "file"), TRANSFORMS)
@pytest.mark.parametrize("part", [0.0, 0.3, 0.7])
def test_a_truncated_file_is_refused_or_whole(name: str, file: str, part: float, tmp_path: Path) -> None:
    path = tmp_path / file
    write_file(path, random_affine(2, 0), name, context(2))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    try:
        found = read_file(path, name, context(2))
    except CorrelightError:
        return
    assert isinstance(found, Affine)
    assert np.abs(found.matrix - random_affine(2, 0).matrix).max() < 1e-9


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;<MatrixTransformation/></a>'


DEFAULTS = '<!DOCTYPE a [<!ATTLIST b c CDATA "a long text">]><a><b/><b/></a>'


@pytest.mark.parametrize("name", ["trakem2", "ecclem", "bdv"])
def test_document_types_are_refused_before_anything_is_expanded(name: str, tmp_path: Path) -> None:
    outside = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
    for text in (BOMB, outside, DEFAULTS):
        (tmp_path / "a.xml").write_text(text)
        with pytest.raises(ReadError, match=r"document type|default values"):
            read_file(tmp_path / "a.xml", name, context(2))


@pytest.mark.parametrize(("name", "file"), [("mobie", "a.json"), ("bigwarp", "a.json"), ("matrix", "a.json")])
@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "null", '{"views": 3}', "1e999", "[[1e999, 0], [0]]", "{"])
def test_hostile_json_ends_in_one_sentence(name: str, file: str, text: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(ReadError) as caught:
        read_file(tmp_path / file, name)
    assert len(str(caught.value)) < 400


def test_transforms_are_not_read_from_landmarks_nor_the_other_way_round(tmp_path: Path) -> None:
    write_landmarks(tmp_path / "a.csv", landmarks(2, 0), "bigwarp")
    with pytest.raises(ReadError, match="holds landmarks; fit one"):
        read_transform(tmp_path / "a.csv")
    write_file(tmp_path / "a.tfm", random_affine(2, 0))
    with pytest.raises(ReadError, match="holds transform"):
        read_landmarks(tmp_path / "a.tfm")


def test_the_result_of_a_registration_is_read(tmp_path: Path) -> None:
    rows = random_affine(2, 1).matrix.tolist()
    (tmp_path / "result.json").write_text(json.dumps({"moving_from_fixed": {"type": "affine", "matrix": rows}}))
    found = read_transform(tmp_path / "result.json")
    assert isinstance(found, Affine)
    assert found.matrix.tolist() == rows
