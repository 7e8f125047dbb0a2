"""`correlight convert`: files of one tool for another, from the command line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from correlight.cli import main
from correlight.cli.terminal import ACCEPTED, MISUSED, UNSURE
from correlight.errors import TransformError
from correlight.exchange import (
    FORMATS,
    ExchangeContext,
    PointTable,
    read_file,
    read_landmarks,
    read_transform,
    write_file,
    write_transform,
)
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.io import read, write_ome_tiff
from correlight.io.write_zarr import write_ome_zarr
from correlight.output.apply import read_saved
from correlight.transforms import Affine, BSplineField, Displacement, Projective, ThinPlate, Transform

TRANSFORM = Affine(np.array([[1.2, 0.1, 3], [-0.2, 0.9, 4], [0, 0, 1]]))
# Places in the corners of a square, and their weights in a spline.
CORNERS = np.array([[0.0, 0], [0, 8], [8, 0], [8, 8]]), np.array([[1.0, 0], [-1, 0], [-1, 0], [1, 0]])
FIELD = Grid.of((60, 80), 0.04, unit="micrometre")
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


@pytest.mark.parametrize("model", ["thin-plate", "elastic"])
def test_a_spline_result_is_converted_as_displacements_or_refused_with_the_reason(
    model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    grid = Grid.of((40, 50), 0.2, unit="micrometre")
    images = [Image.from_array(rng.integers(0, 255, (1, 40, 50), np.uint8), spacing=0.2) for _ in range(2)]
    for name, image in zip(("fixed", "moving"), images, strict=True):
        write_ome_tiff(tmp_path / f"{name}.ome.tif", image.levels[0], image.grid, image.channels)
    places = rng.uniform(0.5, 7.5, (12, 2))
    seen = places * 1.1 + 0.3 + rng.normal(0, 0.05, places.shape)
    rows = [f"p{n},micrometre,{a[0]},{a[1]},{b[0]},{b[1]}" for n, (a, b) in enumerate(zip(places, seen, strict=True))]
    (tmp_path / "pairs.csv").write_text("\n".join(["name,unit,fixed_y,fixed_x,moving_y,moving_x", *rows, ""]))
    sides = "--fixed", tmp_path / "fixed.ome.tif", "--moving", tmp_path / "moving.ome.tif"
    words = "landmarks", tmp_path / "pairs.csv", *sides, "-o", tmp_path / "out", "--model", model
    assert main([*map(str, words)]) in (ACCEPTED, UNSURE)
    assert json.loads((tmp_path / "out" / "result.json").read_text())["moving_from_fixed"]["type"] == model
    found = read_saved(tmp_path / "out").moving_from_fixed
    points = grid.lattice(7)
    for source in (tmp_path / "out", tmp_path / "out" / "result.json", tmp_path / "out" / "moving_from_fixed.h5"):
        for name in ("a.tfm", "a.h5", "a.zarr"):
            assert run(source, tmp_path / name, "--overwrite") == ACCEPTED
            assert np.abs(read_transform(tmp_path / name)(points) - found(points)).max() < 1e-9
    capsys.readouterr()
    what = "a chain of a displacement field and an affine map"
    for name, more in (
        ("b.txt", ()),
        ("b.json", ()),
        ("b.txt", ("--to", "elastix")),
        ("b.csv", ("--to", "napari")),
        ("b.xml", ("--to", "trakem2")),
        ("b.xml", ("--to", "bdv")),
        ("b.xml", ("--to", "ecclem")),
        ("b.json", ("--to", "mobie", "--name", "light")),
    ):
        # Of the folder the images are known, which these two ask for; text need not be read by another process.
        origin = "out" if more[1:2] in (("ecclem",), ("mobie",)) else "a.tfm"
        said = refused(capsys, tmp_path / origin, tmp_path / name, *more)
        assert what in said
        assert ".partial" not in said
        assert not (tmp_path / name).exists()


def test_a_spline_that_nothing_holds_as_it_is_is_sampled_or_refused(tmp_path: Path) -> None:
    spline = ThinPlate(*CORNERS, Affine.identity())
    fixed = Grid.of((17, 17), 0.5)
    for name in ("a.tfm", "a.zarr"):
        write_file(tmp_path / name, spline, context=ExchangeContext(fixed=fixed))
        found = read_transform(tmp_path / name)(fixed.lattice(12))
        assert np.abs(found - spline(fixed.lattice(12))).max() < 0.01 * 0.5
        assert np.abs(found - fixed.lattice(12)).max() > 0.05
    with pytest.raises(TransformError, match=r"a\.txt would hold an elastic spline"):
        write_file(tmp_path / "a.txt", ThinPlate(spline.places, spline.weights, spline.affine, stiffness=3.5))


def test_how_near_a_map_that_bends_is_read_back_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lattice = Grid.of((11, 11), (0.6, 0.8), (-1.8, -2.4), "micrometre")
    numbers = np.zeros((11, 11, 2))
    numbers[3:-3, 3:-3] = np.random.default_rng(4).normal(size=(5, 5, 2)) * 0.1
    write_transform(tmp_path / "a.h5", Affine.similarity(5) @ BSplineField(numbers, lattice))
    write_ome_tiff(tmp_path / "f.ome.tif", np.arange(4800, dtype=np.uint16).reshape(1, 60, 80), FIELD, ["a"])
    given = (tmp_path / "a.h5", "--fixed", tmp_path / "f.ome.tif", "--moving-spacing", "0.04")
    for out, more in (("a.zarr", ()), ("b.tfm", ()), ("a.txt", ("--to", "elastix"))):
        assert run(given[0], tmp_path / out, *given[1:], *more) == ACCEPTED
        said = capsys.readouterr().err
        assert "read back, the map is the same to within" in said
        assert "the map and its inverse lead back to within" in said


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
    assert "model" in refused(capsys, tmp_path / "bigwarp.csv", tmp_path / "a.tfm")
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
        (("a.txt", "b.xml"), "several formats; choose one: "),
        (("a.txt", "b.xml", "--to", "trakem2"), "counts pixels"),
        (("a.txt", "b.xml", "--to", "bdv"), "give the one to write into"),
        (("a.txt", "b.csv", "--to", "bigwarp"), "fields of both images must be known"),
        (("a.txt", "b.tfm", "--to", "word"), "A format is one of"),
        (("a.txt", "b.mat"), "A file of ITK ends in .tfm, .txt, .h5 or .hdf5; "),
        (("a.txt", "b.csv", "--to", "itk"), "b.csv ends in .csv"),
        (("a.txt", "b.json", "--to", "ngff"), "OME-NGFF ends in .zarr"),
        (("a.txt", "b.csv", "--to", "table"), "made of the transform (--landmarks N)"),
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
    write_transform(tmp_path / "p.txt", Projective(np.array([[1, 0, 0], [0, 1, 0], [1e-3, 0, 1]])))
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


def test_a_store_of_images_is_not_replaced_by_a_transform(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both are folders with a zarr.json."""
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(1, 64, 64)
    write_ome_zarr(tmp_path / "image.zarr", pixels, Grid.of((64, 64)), ("stain",))
    write_transform(tmp_path / "a.tfm", TRANSFORM)
    said = refused(capsys, tmp_path / "a.tfm", tmp_path / "image.zarr", "--to", "ngff", "--overwrite")
    assert "no earlier result that correlight wrote" in said
    assert np.array_equal(np.asarray(read(tmp_path / "image.zarr").levels[0]), pixels)
    for _ in range(2):
        assert run(tmp_path / "a.tfm", tmp_path / "b.zarr", "--to", "ngff", "--overwrite") == ACCEPTED
    assert np.allclose(read_transform(tmp_path / "b.zarr").matrix, TRANSFORM.matrix)  # type: ignore[attr-defined]


def test_landmarks_outside_their_image_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for name in ("fixed.ome.tif", "moving.ome.tif"):
        pixels = rng.integers(0, 255, (1, 64, 80)).astype(np.uint8)
        write_ome_tiff(tmp_path / name, pixels, Grid.of((64, 80), 0.1, unit="micrometre"), ("a",))
    lines = ["name,fixed_y,fixed_x,moving_y,moving_x", "a,1,2,3,4", "b,10,20,30,40", "c,63,79,64,20", "d,5,5,900,900"]
    (tmp_path / "in.csv").write_text("\n".join(lines))
    images = ("--fixed", tmp_path / "fixed.ome.tif", "--moving", tmp_path / "moving.ome.tif")
    assert run(tmp_path / "in.csv", tmp_path / "out.csv", "--to", "bigwarp", *images) == ACCEPTED
    said = capsys.readouterr().err
    assert "2 of 4 landmarks lie outside the moving image" in said
    assert "fixed image" not in said


def test_points_outside_the_images_that_are_given_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for name, size in (("fixed.ome.tif", 64), ("moving.ome.tif", 128)):
        pixels = rng.integers(0, 255, (1, size, size)).astype(np.uint8)
        write_ome_tiff(tmp_path / name, pixels, Grid.of((size, size), 0.1, unit="micrometre"), ("a",))
    (tmp_path / "in.csv").write_text("y,x\n1,2\n100,10\n200,1\n")
    fixed, moving = ("--fixed", tmp_path / "fixed.ome.tif"), ("--moving", tmp_path / "moving.ome.tif")
    for images, said in (
        (fixed, "2 of 3 points lie outside the fixed image"),
        ((*fixed, *moving), "1 of 3 points lie outside both"),
    ):
        assert run(tmp_path / "in.csv", tmp_path / "a.txt", "--to", "transformix", *images, "--overwrite") == ACCEPTED
        assert said in capsys.readouterr().err
    (tmp_path / "in.csv").write_text("y,x\n1,2\n")
    assert run(tmp_path / "in.csv", tmp_path / "a.txt", "--to", "transformix", *fixed, "--overwrite") == ACCEPTED
    assert "outside" not in capsys.readouterr().err


def test_images_that_a_transform_parts_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1, 64, 64)).astype(np.uint8)
    write_ome_tiff(tmp_path / "a.ome.tif", pixels, Grid.of((64, 64), 0.1, unit="micrometre"), ("a",))
    images = ("--fixed", tmp_path / "a.ome.tif", "--moving", tmp_path / "a.ome.tif")
    for shift, apart in ((700.0, True), (3.0, False)):
        write_transform(tmp_path / "a.tfm", Affine(np.array([[1, 0, shift], [0, 1, 0], [0, 0, 1.0]])))
        assert run(tmp_path / "a.tfm", tmp_path / "b.json", "--to", "matrix", *images, "--overwrite") == ACCEPTED
        assert ("lies outside the fixed one altogether" in capsys.readouterr().err) == apart


def test_the_part_of_a_file_whose_pixels_count_is_chosen_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        for name, size in (("overview", 1.0), ("wanted", 0.5)):
            sizes = {"PhysicalSizeX": size, "PhysicalSizeY": size}
            pixels = rng.integers(0, 255, (64, 64)).astype(np.uint8)
            file.write(pixels, metadata={"axes": "YX", "Name": name, **sizes})
    given = Affine(np.array([[1, 0, 10.0], [0, 1, -4.0], [0, 0, 1.0]]))
    write_transform(tmp_path / "a.tfm", given)
    images = [
        word for role in ("fixed", "moving") for word in (f"--{role}", tmp_path / "a.ome.tif", f"--{role}-scene", 1)
    ]
    assert run(tmp_path / "a.tfm", tmp_path / "b.xml", "--to", "trakem2", *images) == ACCEPTED
    said = capsys.readouterr().err
    assert "a.ome.tif: the file holds 2 images" in said
    assert "number 1 is read" in said
    half = Grid.of((64, 64), 0.5, unit="micrometre")
    found = read_transform(tmp_path / "b.xml", context=ExchangeContext(half, half))
    assert np.allclose(found.matrix, given.matrix)  # type: ignore[attr-defined]


PROJECTIVE = Projective(np.array([[1.2, 0.1, 0.03], [-0.2, 0.9, 0.04], [0.02, 0.01, 1]]))


def result_folder(folder: Path, transform: Transform = TRANSFORM, status: str = "accepted") -> Path:
    """A result whose images share most of their fields: 40 x 50 pixels of 0.1 and of 0.2 micrometres."""
    folder.mkdir()
    kind = "affine" if isinstance(transform, Affine) else "projective"
    content = {
        "moving_from_fixed": {"type": kind, "axes": "yx", "matrix": transform.matrix.tolist()},  # type: ignore[attr-defined]
        "status": status,
        "fixed": {"shape": [40, 50], "spacing": [0.1, 0.1]},
        "moving": {"shape": [60, 80], "spacing": [0.2, 0.2]},
        "fixed_unit": "micrometre",
        "moving_unit": "micrometre",
    }
    (folder / "result.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("name", ["bigwarp.csv", "em_bigwarp_2.json"])
def test_a_program_that_takes_landmarks_only_gets_landmarks_made_of_the_result(name, tmp_path, capsys) -> None:
    shift = Affine.of(np.eye(2) * 1.1, (0.4, 0.7))
    assert run(result_folder(tmp_path / "out", shift), tmp_path / name) == ACCEPTED
    assert "25 pairs of landmarks made of the transform" in capsys.readouterr().err
    made = read_landmarks(tmp_path / name)
    assert len(made.fixed.names) == 25
    # Each lies on steps of a ten-millionth of its image, of which the moving one is 16 micrometres wide.
    np.testing.assert_allclose(shift(made.fixed.points), made.moving.points, rtol=0, atol=2e-7 * 16)


def test_a_view_of_mobie_calls_its_source_as_the_moving_file_is_called(tmp_path, capsys) -> None:
    out = result_folder(tmp_path / "out", Affine.of(np.eye(2) * 1.1, (0.4, 0.7)))
    record = json.loads((out / "result.json").read_text())
    record["moving"]["path"] = "raw/light.ome.tif"
    (out / "result.json").write_text(json.dumps(record))
    assert run(out, tmp_path / "mobie.json") == ACCEPTED
    assert "calls its source light, after the moving image" in capsys.readouterr().err
    [view] = json.loads((tmp_path / "mobie.json").read_text())["views"].values()
    assert view["sourceTransforms"][0]["affine"]["sources"] == ["light"]
    assert run(out, tmp_path / "b_mobie.json", "--name", "lm") == ACCEPTED
    assert '"lm"' in (tmp_path / "b_mobie.json").read_text()
    capsys.readouterr()
    assert ".mat" not in refused(capsys, out, tmp_path / "a.abc")


def test_landmarks_are_made_in_the_number_asked_for(tmp_path, capsys) -> None:
    shift = Affine.of(np.eye(2) * 1.1, (0.4, 0.7))
    out = result_folder(tmp_path / "out", shift)
    # eC-CLEM takes both; the images are known from the result.
    assert run(out, tmp_path / "pairs.xml", "--to", "ecclem", "--landmarks", 3) == ACCEPTED
    assert len(read_landmarks(tmp_path / "pairs.xml").fixed.names) == 9
    assert run(out, tmp_path / "matrix.xml", "--to", "ecclem") == ACCEPTED
    places = np.array([[0.0, 0.0], [1.0, 3.0]])
    np.testing.assert_allclose(read_transform(tmp_path / "matrix.xml")(places), shift(places), atol=1e-9)
    capsys.readouterr()
    assert "from 2 to 100" in refused(capsys, out, tmp_path / "one.csv", "--landmarks", 1)
    assert run(out, tmp_path / "bigwarp.csv") == ACCEPTED
    capsys.readouterr()
    assert "leave their number out" in refused(
        capsys, tmp_path / "bigwarp.csv", tmp_path / "more.csv", "--landmarks", 4
    )


def test_landmarks_need_the_fields_of_the_images(tmp_path, capsys) -> None:
    write_transform(tmp_path / "a.tfm", TRANSFORM)
    assert "fields of both images" in refused(capsys, tmp_path / "a.tfm", tmp_path / "bigwarp.csv", *PIXELS)


def test_the_nearest_simpler_kind_is_written_with_what_it_costs(tmp_path, capsys) -> None:
    out = result_folder(tmp_path / "out", PROJECTIVE)
    assert "affine to write" in refused(capsys, out, tmp_path / "a.tfm")
    assert run(out, tmp_path / "b.tfm", "--model", "affine") == ACCEPTED
    said = capsys.readouterr().err
    fixed, moving = Grid.of((40, 50), 0.1, unit="micrometre"), Grid.of((60, 80), 0.2, unit="micrometre")
    places = fixed.lattice(25)
    places = places[moving.contains(PROJECTIVE(places))]
    found = read_transform(tmp_path / "b.tfm")
    back = PROJECTIVE.inverse()(found(places))
    most = np.linalg.norm(back - places, axis=1).max() / 0.1
    told = float(said.partition("average and ")[2].split()[0])
    # Told by the derivatives of the transform, here compared with the way back.
    assert told == pytest.approx(most, rel=0.1)


def test_a_refused_result_is_named_as_such(tmp_path, capsys) -> None:
    assert run(result_folder(tmp_path / "out", status="refused"), tmp_path / "a.tfm") == ACCEPTED
    assert "was refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "expected"),
    [("napari.txt", "napari"), ("a.txt", "matrix"), ("em-elastix.txt", "elastix"), ("table.csv", "matrix")],
)
def test_a_name_chooses_the_format(name, expected, tmp_path, capsys) -> None:
    assert run(result_folder(tmp_path / "out"), tmp_path / name) == ACCEPTED
    assert f": transform, {expected}" in capsys.readouterr().out


def test_help_lists_the_formats(capsys) -> None:
    main(["convert", "--help"])
    said = capsys.readouterr().out
    assert [name for name in FORMATS if name not in said] == []
