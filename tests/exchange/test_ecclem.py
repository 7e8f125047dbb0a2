"""Files of eC-CLEM, both versions."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from correlight.errors import ReadError, TransformError, UsageError
from correlight.exchange import ExchangeContext, LandmarkTable, PointTable
from correlight.exchange.ecclem import read_ecclem, write_ecclem
from correlight.geometry import Grid
from correlight.transforms import Affine, Projective
from tests.exchange.vector import FIXED_FROM_MOVING_3D, MOVING_FROM_FIXED_2D, MOVING_FROM_FIXED_3D, apart

CELLS = {
    "m00": 0.8660254037844386, "m01": -0.5, "m02": 0, "m03": 3, "m10": 0.5, "m11": 0.8660254037844386, "m12": 0,
    "m13": 2, "m20": 0, "m21": 0, "m22": 1, "m23": 1, "m30": 0, "m31": 0, "m32": 0, "m33": 1,
}  # fmt: skip


def matrix(**changes: float) -> str:
    cells = " ".join(f'{name}="{value}"' for name, value in {**CELLS, **changes}.items())
    return f'<MatrixTransformation order="3" {cells} formerpixelsizeX="0.1" formerpixelsizeY="0.1" />'


def linear(path: Path, *matrices: str, size: str = 'nz="40"') -> Path:
    target = f'<TargetSize width="1024" height="1024" sx="0.01" sy="0.01" sz="0.05" {size}/>'
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<root>{target}{"".join(matrices)}</root>')
    return path


def test_the_quoted_transform_leads_from_source_to_target(tmp_path: Path) -> None:
    assert apart(read_ecclem(linear(tmp_path / "a.xml", matrix())), MOVING_FROM_FIXED_3D) < 1e-9


def test_without_slices_the_transform_is_flat(tmp_path: Path) -> None:
    assert apart(read_ecclem(linear(tmp_path / "a.xml", matrix(m23=0), size="")), MOVING_FROM_FIXED_2D) < 1e-9
    assert read_ecclem(tmp_path / "a.xml", ExchangeContext(ndim=3)).ndim == 3  # type: ignore[union-attr]
    with pytest.raises((TransformError, ReadError), match="leaves the plane"):
        read_ecclem(linear(tmp_path / "a.xml", matrix(m02=0.2), size=""))


def test_updates_are_applied_in_the_order_of_the_file(tmp_path: Path) -> None:
    shift = {**dict.fromkeys(CELLS, 0.0), "m00": 1.0, "m11": 1.0, "m22": 1.0, "m33": 1.0, "m03": 10.0}
    path = linear(tmp_path / "a.xml", matrix(), matrix(**shift))
    later = Affine.of(np.eye(3), [0.0, 0.0, 10.0])
    assert apart(read_ecclem(path), (later @ FIXED_FROM_MOVING_3D).inverse()) < 1e-9


SCHEMA = """<root><transformation type="SIMILARITY" noiseModel="ISOTROPIC">
<sequenceSize dimension="2" type="source"/><sequenceSize dimension="2" type="target"/>
{}{}</transformation></root>"""
SOURCE = """<dataset type="source" n="2" dimension="2" pointType="FIDUCIAL">
<point id="0"><coordinate dimension="0">12.5</coordinate><coordinate dimension="1">3.0</coordinate></point>
<point id="1"><coordinate dimension="1">4.0</coordinate><coordinate dimension="0">1.0</coordinate></point></dataset>"""
TARGET = """<dataset type="target" n="2" dimension="2" pointType="FIDUCIAL">
<point id="1"><coordinate dimension="0">9.0</coordinate><coordinate dimension="1">8.0</coordinate></point>
<point id="0"><coordinate dimension="0">1.5</coordinate><coordinate dimension="1">0.7</coordinate></point>
<point id="7"><coordinate dimension="0">1.5</coordinate><coordinate dimension="1">0.7</coordinate></point></dataset>"""


@pytest.mark.parametrize("order", [(SOURCE, TARGET), (TARGET, SOURCE)])
def test_pairs_are_joined_by_their_id_whatever_the_order(order: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(SCHEMA.format(*order))
    found = read_ecclem(tmp_path / "a.xml")
    assert isinstance(found, LandmarkTable)
    assert found.moving.points.tolist() == [[3.0, 12.5], [4.0, 1.0]]
    assert found.fixed.points.tolist() == [[0.7, 1.5], [8.0, 9.0]]
    assert found.left_out == 1


@pytest.mark.parametrize(("z", "ndim"), [("0.0", 2), ("4.5", 3)])
def test_the_pairs_behind_an_elastic_transform_are_read(z: str, ndim: int, tmp_path: Path) -> None:
    pairs = "".join(
        f'<pointspairsinphysicalcoordinates pairnumber="{n}" xsource="{n}.5" ysource="2" zsource="{"0.0" if n else z}" '
        f'xtarget="3" ytarget="{n}" ztarget="0.0"/>'
        for n in range(2)
    )
    (tmp_path / "a.xml").write_text(f"<root><transfoelements Npoints='2'/>{pairs}</root>")
    found = read_ecclem(tmp_path / "a.xml")
    assert isinstance(found, LandmarkTable)
    assert found.fixed.points.shape == (2, ndim)
    assert found.moving.points[:, -2:].tolist() == [[2.0, 0.5], [2.0, 1.5]]
    assert found.fixed.points[:, -2:].tolist() == [[0.0, 3.0], [1.0, 3.0]]


def test_tables_hold_a_matrix_or_points(tmp_path: Path) -> None:
    rows = [[CELLS[f"m{row}{column}"] for column in range(4)] for row in range(4)]
    (tmp_path / "a.csv").write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    assert apart(read_ecclem(tmp_path / "a.csv"), MOVING_FROM_FIXED_3D) < 1e-9
    (tmp_path / "b.csv").write_text("id,dimension_1,dimension_2,dimension_3\n0,1,2,3\n1,4,5,6\n")
    points = read_ecclem(tmp_path / "b.csv")
    assert isinstance(points, PointTable)
    assert points.points.tolist() == [[3, 2, 1], [6, 5, 4]]
    assert points.names == ("0", "1")


def test_a_written_transform_states_the_sizes_of_both_images(tmp_path: Path) -> None:
    fixed, moving = Grid.of((40, 50), 0.01, unit="micrometre"), Grid.of((20, 30), (0.2, 0.1), unit="micrometre")
    write_ecclem(tmp_path / "a.xml", MOVING_FROM_FIXED_2D, ExchangeContext(fixed, moving))
    root = ElementTree.parse(tmp_path / "a.xml").getroot()
    assert root.tag == "root"
    size, element = root[0].attrib, root[1].attrib
    assert size == {"width": "50", "height": "40", "sx": "0.01", "sy": "0.01", "sz": "0.01"}
    flat = {**CELLS, "m23": 0}
    assert {name: float(element[name]) for name in CELLS} == pytest.approx(flat, abs=1e-12)
    assert (element["formerpixelsizeX"], element["formerpixelsizeY"]) == ("0.1", "0.2")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    bare, grid = Grid.of((40, 50)), Grid.of((40, 50), 0.01, unit="micrometre")
    with pytest.raises(UsageError, match="counts micrometres"):
        write_ecclem(tmp_path / "a.xml", MOVING_FROM_FIXED_2D, ExchangeContext(bare, grid))
    with pytest.raises(UsageError, match="states the sizes"):
        write_ecclem(tmp_path / "a.xml", MOVING_FROM_FIXED_2D, ExchangeContext(grid, grid, sized=False))
    with pytest.raises(TransformError, match="affine transforms only"):
        write_ecclem(tmp_path / "a.xml", Projective(np.eye(3)), ExchangeContext(grid, grid))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<root/>", "there are none"),
        ("<root><MatrixTransformation m00='1'/></root>", "needs a number m01"),
        (f"<root>{matrix(m03=float('nan'))}</root>", "finite"),
        (f"<root>{matrix(m00=0, m01=0, m10=0, m11=0)}</root>", "singular"),
        (SCHEMA.format(SOURCE, ""), "one of the type target"),
        (SCHEMA.format(SOURCE, TARGET.replace("0.7", "x")), "coordinates"),
        (SCHEMA.format(SOURCE, TARGET.replace('<coordinate dimension="0">1.5</coordinate>', "", 1)), "coordinates"),
        ("<root>", "no well-formed"),
    ],
)
def test_damaged_files_are_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises((ReadError, TransformError), match=words):
        read_ecclem(tmp_path / "a.xml")


@pytest.mark.parametrize("text", ["", "1,2\n3,4\n", "1,x\n", "id,dimension_1\n0,1\n", "1,2,3\n4,5\n"])
def test_damaged_tables_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ReadError, match=r"a\.csv"):
        read_ecclem(tmp_path / "a.csv")


FLAT = "<root><MatrixTransformation {} process_date='2026'/>{}</root>"


def flat(*rows: str) -> str:
    cells = [row.split() for row in rows]
    return " ".join(f'm{r}{c}="{cell}"' for r, row in enumerate(cells) for c, cell in enumerate(row))


def test_the_3_x_3_matrix_of_flat_images_is_read(tmp_path: Path) -> None:
    rows = "0.8660254037844386 -0.5 3", "0.5 0.8660254037844386 2", "0 0 1"
    (tmp_path / "a.xml").write_text(FLAT.format(flat(*rows), "<transformation/>"))
    assert apart(read_ecclem(tmp_path / "a.xml"), MOVING_FROM_FIXED_2D) < 1e-9
    (tmp_path / "a.csv").write_text("\n".join(row.replace(" ", ",") for row in rows) + "\n")
    assert apart(read_ecclem(tmp_path / "a.csv"), MOVING_FROM_FIXED_2D) < 1e-9
    (tmp_path / "a.xml").write_text(FLAT.format(flat(*rows[:2], "0 1 1"), ""))
    with pytest.raises(ReadError, match="last row"):
        read_ecclem(tmp_path / "a.xml")
    (tmp_path / "a.xml").write_text(FLAT.format(flat(*rows), matrix()))
    with pytest.raises(ReadError, match="3 x 3 beside 4 x 4"):
        read_ecclem(tmp_path / "a.xml")


@pytest.mark.parametrize("transform", [MOVING_FROM_FIXED_2D, MOVING_FROM_FIXED_3D])
def test_the_rows_that_are_written_lead_from_moving_to_fixed_x_first(transform: Affine, tmp_path: Path) -> None:
    grid = Grid.of((4, 40, 50)[-transform.ndim :], 0.01, unit="micrometre")
    write_ecclem(tmp_path / "a.csv", transform, ExchangeContext(grid, grid))
    rows = np.loadtxt(tmp_path / "a.csv", delimiter=",")
    assert rows[:2, -1].tolist() == pytest.approx([3, 2], abs=1e-12)
    assert rows[0, 1] == pytest.approx(-0.5, abs=1e-12)
    assert apart(read_ecclem(tmp_path / "a.csv"), transform) < 1e-9


def test_pairs_of_flat_images_have_no_z(tmp_path: Path) -> None:
    third = '<coordinate dimension="2">{}</coordinate></point>'
    texts = [text.replace("</point>", third.format(0.0)) for text in (SOURCE, TARGET)]
    (tmp_path / "a.xml").write_text(SCHEMA.format(*texts))
    found = read_ecclem(tmp_path / "a.xml")
    assert isinstance(found, LandmarkTable)
    assert found.moving.points.tolist() == [[3.0, 12.5], [4.0, 1.0]]
    assert read_ecclem(tmp_path / "a.xml", ExchangeContext(ndim=3)).fixed.points.shape == (2, 3)  # type: ignore[union-attr]
