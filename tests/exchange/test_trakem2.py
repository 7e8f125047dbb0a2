"""Transform lists of TrakEM2, Register Virtual Stack Slices and DeepCLEM."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from correlight.errors import ReadError, TransformError, UsageError
from correlight.exchange import ExchangeContext
from correlight.exchange.trakem2 import read_trakem2, write_trakem2
from correlight.geometry import Grid
from correlight.transforms import Displacement, Projective
from tests.exchange.vector import MOVING_FROM_FIXED_2D, MOVING_FROM_FIXED_3D, apart

PIXELS = ExchangeContext(Grid.of((50, 60)), Grid.of((50, 60)))
VOXELS = ExchangeContext(Grid.of((5, 50, 60)), Grid.of((5, 50, 60)))


def listed(path: Path, *entries: tuple[str, str], root: str = "ict_transform_list") -> Path:
    lines = [f'\t<iict_transform class="mpicbg.trakem2.transform.{name}" data="{data}" />\n' for name, data in entries]
    path.write_text(f"<{root}>\n{''.join(lines)}</{root}>\n" if root else lines[0])
    return path


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("AffineModel2D", "0.8660254037844386 0.5 -0.5 0.8660254037844386 3.0 2.0"),
        ("RigidModel2D", "0.5235987755982988 3.0 2.0"),
        ("SimilarityModel2D", "0.8660254037844386 0.5 3.0 2.0"),
        ("HomographyModel2D", "0.8660254037844386 -0.5 3 0.5 0.8660254037844386 2 0 0 1"),
    ],
)
@pytest.mark.parametrize("root", ["ict_transform_list", "ictl", ""])
def test_every_model_stands_for_the_same_transform(name: str, data: str, root: str, tmp_path: Path) -> None:
    found = read_trakem2(listed(tmp_path / "a.xml", (name, data), root=root), PIXELS)
    assert np.abs(found.matrix - MOVING_FROM_FIXED_2D.matrix).max() < 1e-9


def test_models_of_volumes_are_read(tmp_path: Path) -> None:
    c = 0.8660254037844386
    data = f"{c} -0.5 0 0 0.5 {c} 0 0 0 0 1 0"
    path = listed(tmp_path / "a.xml", ("AffineModel3D", data), ("TranslationModel3D", "3 2 1"))
    assert apart(read_trakem2(path, VOXELS), MOVING_FROM_FIXED_3D) < 1e-9


def test_a_list_is_applied_from_top_to_bottom(tmp_path: Path) -> None:
    path = listed(tmp_path / "a.xml", ("RigidModel2D", "0.5 10 0"), ("TranslationModel2D", "12.0 5.0"))
    found = read_trakem2(path, PIXELS)
    # The moving pixel at zero is turned first, then shifted twice: x = 10 + 12, y = 5.
    assert np.abs(found([[5.0, 22.0]])).max() < 1e-9


def test_pixels_become_micrometres_on_both_sides(tmp_path: Path) -> None:
    known = ExchangeContext(Grid.of((50, 60), 0.01, unit="micrometre"), Grid.of((50, 60), 0.1, unit="micrometre"))
    found = read_trakem2(listed(tmp_path / "a.xml", ("TranslationModel2D", "3 2")), known)
    # The moving pixel (0, 0) lies on the fixed pixel (2, 3), which is 0.02, 0.03 µm away from the first.
    assert np.abs(found([[0.02, 0.03], [0.03, 0.03]]) - [[0, 0], [0.1, 0]]).max() < 1e-12


def test_the_file_is_written_line_by_line_with_the_class_first(tmp_path: Path) -> None:
    write_trakem2(tmp_path / "a.xml", MOVING_FROM_FIXED_2D, PIXELS)
    lines = (tmp_path / "a.xml").read_text().splitlines()
    assert lines[0] == "<ict_transform_list>"
    start = '\t<iict_transform class="mpicbg.trakem2.transform.AffineModel2D" data="'
    assert lines[1].startswith(start)
    numbers = [float(text) for text in lines[1].removeprefix(start).removesuffix('" />').split()]
    assert numbers == pytest.approx([0.8660254037844386, 0.5, -0.5, 0.8660254037844386, 3, 2], abs=1e-12)
    assert len(lines) == 3


def test_what_has_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TransformError, match="no projective transform of volumes"):
        write_trakem2(tmp_path / "a.xml", Projective(np.eye(4)), VOXELS)
    with pytest.raises(TransformError, match=r"write it as \.h5"):
        write_trakem2(tmp_path / "a.xml", Displacement(np.zeros((4, 4, 2)), Grid.of((4, 4))), PIXELS)
    with pytest.raises(UsageError, match="TrakEM2 counts pixels"):
        read_trakem2(tmp_path / "a.xml", ExchangeContext())
    assert not (tmp_path / "a.xml").exists()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("MovingLeastSquaresTransform", "affine 2 1", "only these can be read"),
        ("CubicBSplineTransform", "1 2 3", "only these can be read"),
        ("RigidModel2D", "1 2", "needs 3 finite numbers; got 2"),
        ("RigidModel2D", "1 2 x", "not all numbers"),
        ("RigidModel2D", "1 2 inf", "finite"),
        ("AffineModel2D", "0 0 0 0 1 1", "singular"),
        ("HomographyModel2D", "1 0 0 0 1 0 0 0 0", "is no transform"),
        ("AffineModel3D", "1 0 0 0 0 1 0 0 0 0 1 0", "other dimensions"),
    ],
)
def test_damaged_lists_are_named(name: str, data: str, words: str, tmp_path: Path) -> None:
    with pytest.raises((ReadError, TransformError), match=words):
        read_trakem2(listed(tmp_path / "a.xml", (name, data)), PIXELS)


def test_a_list_without_transforms_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<ict_transform_list/>")
    with pytest.raises(ReadError, match="there are none"):
        read_trakem2(tmp_path / "a.xml", PIXELS)


def project(path: Path, *patches: tuple[str, str, str], doctype: str = "") -> Path:
    """A project of TrakEM2: title, affine map and coordinate transform of each patch of 60 x 50 pixels."""
    body = "".join(
        f'<t2_patch oid="{number}" title="{title}" transform="matrix({affine})" o_width="60" o_height="50" '
        f'width="61.0" height="51.0" type="0">{inner}</t2_patch>'
        for number, (title, affine, inner) in enumerate(patches, start=10)
    )
    text = f'<?xml version="1.0" encoding="ISO-8859-1"?>\n{doctype}<trakem2><project id="0" title="Präparat"/>'
    text += f'<t2_layer_set oid="3"><t2_layer oid="5" z="0.0">{body}</t2_layer></t2_layer_set></trakem2>\n'
    path.write_bytes(text.encode("latin-1"))
    return path


def inner(*entries: tuple[str, str]) -> str:
    models = "".join(
        f'<ict_transform class="mpicbg.trakem2.transform.{name}" data="{data}"/>' for name, data in entries
    )
    return f"<ict_transform_list>{models}</ict_transform_list>"


DOCTYPE = """<!DOCTYPE trakem2_anything [
<!ELEMENT trakem2 (project,t2_layer_set)>
<!ELEMENT t2_patch EMPTY>
<!ATTLIST t2_patch oid NMTOKEN #REQUIRED>
]>
"""


@pytest.mark.parametrize("doctype", ["", DOCTYPE])
def test_a_patch_of_a_project_is_chosen_by_title_or_number(doctype: str, tmp_path: Path) -> None:
    patches = ("em.tif", "1,0,0,1,0,0", ""), ("lm.tif", "0.9,0.1,-0.1,0.9,95,3", "")
    path = project(tmp_path / "a.xml", *patches, doctype=doctype)
    with pytest.raises(ReadError, match=r"which image is meant; .* em\.tif \(10\), lm\.tif \(11\)"):
        read_trakem2(path, PIXELS)
    with pytest.raises(ReadError, match="has 0 called 'x'"):
        read_trakem2(path, replace(PIXELS, name="x"))
    for name in ("lm.tif", "11"):
        found = read_trakem2(path, replace(PIXELS, name=name))
        # matrix(a,b,c,d,e,f): the pixel (x, y) = (10, 20) goes to (0.9 * 10 - 0.1 * 20 + 95, 0.1 * 10 + 0.9 * 20 + 3).
        assert np.abs(found([[22.0, 102.0]]) - [[20.0, 10.0]]).max() < 1e-9


def test_the_affine_of_a_patch_comes_after_its_list_and_counts_from_the_corner_of_the_box(tmp_path: Path) -> None:
    # By hand, after Patch.java: a turn by 90 degrees takes 60 x 50 pixels to x from 100.5 - 49 to 100.5, and y from 7
    # to 66; the box begins at the whole pixel (51, 7), and what lies there goes where the affine map takes (0, 0).
    turned = inner(("AffineModel2D", "0 1 -1 0 100.5 7"))
    path = project(tmp_path / "a.xml", ("lm.tif", "2,0,0,2,10,20", turned))
    found = read_trakem2(path, PIXELS)
    x, y = 12.0, 30.0
    box = np.array([100.5 - y - 51, 7 + x - 7])
    layer = 2 * box + (10, 20)
    assert np.abs(found([layer[::-1]]) - [[y, x]]).max() < 1e-9
    joined = inner(("TranslationModel2D", "5 0"), ("TranslationModel2D", "0 7"))
    found = read_trakem2(project(path, ("lm.tif", "1,0,0,1,3,4", joined)), PIXELS)
    assert np.abs(found([[4.0, 3.0]])).max() < 1e-9


def test_a_patch_of_another_image_is_refused(tmp_path: Path) -> None:
    path = project(tmp_path / "a.xml", ("lm.tif", "1,0,0,1,0,0", inner(("TranslationModel2D", "5 0"))))
    with pytest.raises(ReadError, match="60 x 50 pixels and the moving image 70 x 50"):
        read_trakem2(path, ExchangeContext(Grid.of((50, 60)), Grid.of((50, 70))))
    for text in ("rotate(3)", "matrix(1,0,0,1)", "matrix(1,0,0,1,0,nan)", "matrix(1,0,0,1,0,x)"):
        path.write_text(f'<trakem2><t2_patch oid="1" transform="{text}"/></trakem2>')
        with pytest.raises(ReadError, match=r"a\.xml"):
            read_trakem2(path, PIXELS)


def test_two_lists_in_one_file_are_not_joined(tmp_path: Path) -> None:
    path = listed(tmp_path / "a.xml", ("TranslationModel2D", "3 2"))
    path.write_text(f"<all>{path.read_text() * 2}</all>")
    with pytest.raises(ReadError, match="got 2, and nothing says of what"):
        read_trakem2(path, PIXELS)
