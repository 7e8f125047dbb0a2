"""ITK transform files, with SimpleITK as the judge."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from correlight.errors import ReadError, TransformError, WriteError
from correlight.exchange import read_itk, read_transform, write_itk
from correlight.geometry import Grid
from correlight.transforms import Affine, Chain, Displacement, Projective, Transform

HEADER = "#Insight Transform File V1.0\n#Transform 0\n"


def random_affine(ndim: int, seed: int) -> Affine:
    rng = np.random.default_rng(seed)
    return Affine.of(np.eye(ndim) + rng.normal(scale=0.3, size=(ndim, ndim)), rng.normal(size=ndim) * 1e3)


def through_itk(transform: sitk.Transform, points: np.ndarray) -> np.ndarray:
    return np.array([transform.TransformPoint(point[::-1].tolist())[::-1] for point in points])


@pytest.mark.parametrize("ndim", [2, 3])
def test_simpleitk_moves_points_as_we_do(ndim: int, tmp_path: Path) -> None:
    transform = random_affine(ndim, ndim)
    write_itk(tmp_path / "a.tfm", transform)
    points = np.random.default_rng(0).normal(size=(20, ndim)) * 100
    moved = through_itk(sitk.ReadTransform(str(tmp_path / "a.tfm")), points)
    assert np.abs(moved - transform(points)).max() < 1e-12 * 1e3


@given(ndim=st.sampled_from([2, 3]), seed=st.integers(0, 10**6))
def test_every_number_survives_the_round_trip(ndim: int, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("round") / "a.tfm"
    write_itk(path, random_affine(ndim, seed))
    assert np.array_equal(read_itk(path).matrix, random_affine(ndim, seed).matrix)  # type: ignore[attr-defined]


def test_the_file_is_as_itk_writes_it(tmp_path: Path) -> None:
    # Moving to fixed turns by 30 degrees in the plane and shifts by z + 1, y + 2, x + 3; the file holds the way back.
    c, s = np.sqrt(0.75), 0.5
    fixed_from_moving = Affine(np.array([[1, 0, 0, 1], [0, c, s, 2], [0, -s, c, 3], [0, 0, 0, 1]]))
    write_itk(tmp_path / "a.tfm", fixed_from_moving.inverse())
    lines = (tmp_path / "a.tfm").read_text().splitlines()
    assert lines[:3] == [*HEADER.splitlines(), "Transform: AffineTransform_double_3_3"]
    numbers = [float(text) for text in lines[3].removeprefix("Parameters: ").split()]
    expected = [c, s, 0, -s, c, 0, 0, 0, 1, -3.598076211353316, -0.2320508075688785, -1]
    assert numbers == pytest.approx(expected, abs=1e-12)
    assert [float(text) for text in lines[4].removeprefix("FixedParameters: ").split()] == [0, 0, 0]


def kinds() -> list[sitk.Transform]:
    euler, similarity = (
        sitk.Euler2DTransform((5, 7), 0.1, (1.5, -2)),
        sitk.Similarity2DTransform(1.3, 0.4, (3, 4), (9, 2)),
    )
    affine = sitk.AffineTransform(2)
    affine.SetMatrix((1, 2, 3, 5))
    affine.SetTranslation((11, 12))
    affine.SetCenter((1, -4))
    solid = sitk.AffineTransform(3)
    solid.SetMatrix((1, 2, 3, 4, 5, 6, 7, 8, 10))
    solid.SetTranslation((11, 12, 13))
    solid.SetCenter((1, 1, 1))
    turned = sitk.Euler3DTransform((1, 2, 3), 0.1, -0.2, 0.3, (4, 5, 6))
    other = sitk.Euler3DTransform(turned)
    other.SetComputeZYX(True)
    versor = (0.1, -0.2, 0.3, np.sqrt(1 - 0.14))
    return [
        euler,
        similarity,
        affine,
        solid,
        turned,
        other,
        sitk.VersorRigid3DTransform(versor, (4, 5, 6), (1, 2, 3)),
        sitk.Similarity3DTransform(1.3, versor, (4, 5, 6), (1, 2, 3)),
        sitk.TranslationTransform(2, (3, 4)),
        sitk.TranslationTransform(3, (3, 4, 5)),
    ]


@pytest.mark.parametrize("ending", [".tfm", ".h5"])
@pytest.mark.parametrize("transform", kinds(), ids=lambda transform: transform.GetName())
def test_linear_transforms_of_simpleitk_are_read(transform: sitk.Transform, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    sitk.WriteTransform(transform, str(path))
    points = np.random.default_rng(1).normal(size=(9, transform.GetDimension())) * 10
    assert np.abs(read_itk(path)(points) - through_itk(transform, points)).max() < 1e-11


def field(ndim: int) -> Displacement:
    shape = (4, 6, 5)[-ndim:]
    vectors = np.random.default_rng(ndim).normal(size=(*shape, ndim))
    return Displacement(vectors, Grid.of(shape, (0.5, 1.0, 2.0)[-ndim:], (3, 2, 1)[-ndim:], "micrometre"))


def mixed(ndim: int) -> dict[str, Transform]:
    return {
        "affine": random_affine(ndim, 3),
        "field": field(ndim),
        "field, then affine": Chain((field(ndim), random_affine(ndim, 1))),
        "affine, field, affine": Chain((Affine.identity(ndim), field(ndim), random_affine(ndim, 2))),
    }


@pytest.mark.parametrize("ending", [".tfm", ".h5"])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", list(mixed(2)))
def test_fields_and_composites_move_points_in_simpleitk_as_in_ours(
    name: str, ndim: int, ending: str, tmp_path: Path
) -> None:
    path, transform = tmp_path / f"a{ending}", mixed(ndim)[name]
    write_itk(path, transform)
    judge = sitk.ReadTransform(str(path))
    grid = field(ndim).grid
    # Up to half a pixel outside the first and the last centre both agree.
    index = np.random.default_rng(0).uniform(-0.49, np.array(grid.shape) - 0.51, size=(40, ndim))
    points = grid.points(index)
    expected = transform(points)
    assert np.abs(through_itk(judge, points) - expected).max() < 1e-9
    assert np.abs(read_itk(path)(points) - expected).max() < 1e-9
    sitk.WriteTransform(judge, str(tmp_path / f"b{ending}"))
    assert np.abs(read_itk(tmp_path / f"b{ending}")(points) - expected).max() < 1e-9


@pytest.mark.parametrize("size", [0.0, 2.5, -1.0, 1e18, np.nan])
def test_fields_of_an_impossible_size_are_named(size: float, tmp_path: Path) -> None:
    numbers = f"{size} 2 0 0 1 1 1 0 0 1"
    (tmp_path / "a.tfm").write_text(
        HEADER + f"Transform: DisplacementFieldTransform_double_2_2\nParameters: 1 2\nFixedParameters: {numbers}\n"
    )
    with pytest.raises(ReadError, match=r"a\.tfm"):
        read_itk(tmp_path / "a.tfm")


def test_hdf5_of_something_else_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(ReadError, match="no group TransformGroup"):
        read_itk(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["TransformGroup/0/TransformType"] = np.array([b"AffineTransform_double_2_2"])
        file.create_dataset("TransformGroup/0/TransformParameters", shape=(10**15,), dtype="f8", chunks=(1024,))
    with pytest.raises(ReadError, match="declares"):
        read_itk(tmp_path / "b.h5")


def test_the_misspelt_names_of_old_versions_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["TransformGroup/0/TransformType"] = np.array([b"TranslationTransform_double_2_2"])
        file["TransformGroup/0/TranformParameters"] = np.array([3.0, 4.0])
        file["TransformGroup/0/TranformFixedParameters"] = np.zeros(0)
    found = read_itk(tmp_path / "a.h5")
    assert isinstance(found, Affine)
    assert found.offset.tolist() == [4, 3]


def test_a_composite_is_applied_in_the_order_of_itk(tmp_path: Path) -> None:
    transform = sitk.CompositeTransform(kinds()[:3])
    sitk.WriteTransform(transform, str(tmp_path / "a.tfm"))
    points = np.random.default_rng(1).normal(size=(9, 2)) * 10
    assert np.abs(read_itk(tmp_path / "a.tfm")(points) - through_itk(transform, points)).max() < 1e-11


def test_files_without_final_newline_and_with_windows_lines_are_read(tmp_path: Path) -> None:
    text = HEADER + "Transform: TranslationTransform_double_2_2\nParameters: 3 4\nFixedParameters:"
    (tmp_path / "a.tfm").write_bytes(text.replace("\n", "\r\n").encode())
    assert read_itk(tmp_path / "a.tfm").offset.tolist() == [4, 3]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begins with"),
        ("hello", "begins with"),
        (HEADER, "names no transform"),
        (HEADER + "Parameters: 1 2\n", "before any"),
        (HEADER + "Transform: AffineTransform_double_2_2\nParameters: 1 0 0 1 5\nFixedParameters: 0 0", "got 5"),
        (HEADER + "Transform: AffineTransform_double_2_2\nParameters: 1 0 0 x 5 5\n", "not all numbers"),
        (HEADER + "Transform: AffineTransform_double_2_2\nParameters: 1 0 0 nan 5 5\n", "finite"),
        (HEADER + "Transform: BSplineTransform_double_2_2\nParameters: 1\n", "not described completely"),
        (HEADER + "Transform: ThinPlateSplineKernelTransform_double_2_2\nParameters: 1\n", "only these can be read"),
        (HEADER + "Transform: AffineTransform_double_2_3\nParameters: 1\n", "2-D to 2-D"),
        ("\xff\xfd", "no plain text"),
    ],
)
def test_damaged_files_are_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.tfm").write_bytes(text.encode("latin-1"))
    with pytest.raises(ReadError, match=words) as caught:
        read_itk(tmp_path / "a.tfm")
    assert "a.tfm" in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="does not exist"):
        read_itk(tmp_path / "none.tfm")
    with pytest.raises(WriteError, match="cannot be written"):
        write_itk(tmp_path / "none" / "a.tfm", Affine.identity())


def test_what_itk_cannot_hold_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(TransformError, match="no projective transform; write it as a matrix"):
        write_itk(tmp_path / "a.tfm", Projective(np.eye(3)))
    assert not (tmp_path / "a.tfm").exists()


# Class, number of axes, parameters, fixed parameters: what SimpleITK reads but has no constructor for.
PACKED = [
    ("IdentityTransform", 2, "", ""),
    ("IdentityTransform", 3, "", ""),
    ("ScaleTransform", 2, "1.2 0.8", "5 6"),
    ("ScaleTransform", 3, "1.2 0.8 2", "1 2 3"),
    ("ScaleLogarithmicTransform", 3, "0.2 -0.1 0.3", "1 2 3"),
    ("Rigid2DTransform", 2, "0.3 1 2", "5 6"),
    ("CenteredRigid2DTransform", 2, "0.3 5 6 1 2", ""),
    ("VersorTransform", 3, "0.1 0.2 0.3", "5 6 7"),
    ("QuaternionRigidTransform", 3, "0.1 0.2 0.3 0.9273618495495703 1 2 3", "5 6 7"),
    ("QuaternionRigidTransform", 3, "0.1 0.2 0.3 -0.9273618495495703 1 2 3", "5 6 7"),
    ("VersorRigid3DTransform", 3, "0.1 0.2 0.3 1 2 3", "5 6 7"),
    ("ScaleVersor3DTransform", 3, "0.1 0.2 0.3 1 2 3 1.1 1.2 0.9", "5 6 7"),
    ("ScaleSkewVersor3DTransform", 3, "0.1 0.2 0.3 1 2 3 1.1 1.2 0.9 .01 .02 .03 .04 .05 .06", "5 6 7"),
    ("MatrixOffsetTransformBase", 2, "1.1 0.2 -.1 0.9 1 2", "5 6"),
    ("MatrixOffsetTransformBase", 3, "1.1 0.2 0 -.1 0.9 0 0 .1 1 1 2 3", "5 6 7"),
    ("CenteredAffineTransform", 2, "1.1 0.2 -.1 0.9 5 6 1 2", "5 6"),
    ("CenteredAffineTransform", 3, "1.1 0.2 0 -.1 0.9 0 0 .1 1 5 6 7 1 2 3", "5 6 7"),
    ("CenteredEuler3DTransform", 3, "0.1 0.2 0.3 5 6 7 1 2 3", "5 6 7 0"),
]


@pytest.mark.parametrize(("kind", "ndim", "numbers", "fixed"), PACKED)
def test_every_linear_class_moves_points_as_in_simpleitk(
    kind: str, ndim: int, numbers: str, fixed: str, tmp_path: Path
) -> None:
    # Inside a composite SimpleITK does not ask for a constructor of its own.
    text = f"{HEADER}Transform: CompositeTransform_double_{ndim}_{ndim}\n#Transform 1\n"
    text += f"Transform: {kind}_double_{ndim}_{ndim}\nParameters: {numbers}\nFixedParameters: {fixed}\n"
    (tmp_path / "a.tfm").write_text(text)
    judge = sitk.ReadTransform(str(tmp_path / "a.tfm"))
    points = np.random.default_rng(1).normal(size=(9, ndim)) * 10
    assert np.abs(read_itk(tmp_path / "a.tfm")(points) - through_itk(judge, points)).max() < 1e-11


def test_a_versor_with_scales_and_shears_is_composed_as_in_simpleitk(tmp_path: Path) -> None:
    versor = (0.1, -0.2, 0.3, np.sqrt(1 - 0.14))
    judge = sitk.ComposeScaleSkewVersor3DTransform((1.1, 1.2, 0.9), (0.1, 0.2, -0.3), versor, (4, 5, 6), (1, 2, 3))
    sitk.WriteTransform(judge, str(tmp_path / "a.tfm"))
    points = np.random.default_rng(1).normal(size=(9, 3)) * 10
    assert np.abs(read_itk(tmp_path / "a.tfm")(points) - through_itk(judge, points)).max() < 1e-11


@pytest.mark.parametrize("kind", ["VersorTransform", "Euler3DTransform", "Similarity2DTransform_double_3_3"])
def test_a_class_of_other_dimension_is_named(kind: str, tmp_path: Path) -> None:
    name = kind if "_" in kind else f"{kind}_double_2_2"
    (tmp_path / "a.tfm").write_text(f"{HEADER}Transform: {name}\nParameters: 1 0 0\nFixedParameters: 0 0\n")
    with pytest.raises(ReadError, match=r"only these can be read|no such transform exists"):
        read_itk(tmp_path / "a.tfm")


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_matlab_file_of_ants_is_read(ndim: int, tmp_path: Path) -> None:
    judge = sitk.AffineTransform(ndim)
    judge.SetMatrix((np.eye(ndim) + 0.1 * np.arange(ndim * ndim).reshape(ndim, ndim)).ravel().tolist())
    judge.SetTranslation([5.0, 6.0, 7.0][:ndim])
    judge.SetCenter([30.0, 20.0, 10.0][:ndim])
    sitk.WriteTransform(judge, str(tmp_path / "0GenericAffine.mat"))
    points = np.random.default_rng(1).normal(size=(9, ndim)) * 10
    assert np.abs(read_transform(tmp_path / "0GenericAffine.mat")(points) - through_itk(judge, points)).max() < 1e-11


def test_a_matlab_file_of_something_else_is_named(tmp_path: Path) -> None:
    savemat(tmp_path / "five.mat", {"AffineTransform_double_2_2": np.ones(6), "fixed": np.ones(2)})
    savemat(tmp_path / "other.mat", {"a": np.ones(6)}, format="4")
    (tmp_path / "none.mat").write_bytes(b"")
    for name, words in (("five", "version 4"), ("other", "got a"), ("none", r"none\.mat")):
        with pytest.raises(ReadError, match=words):
            read_transform(tmp_path / f"{name}.mat")


@pytest.mark.parametrize("ending", [".tfm", ".h5"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_field_with_an_origin_and_turned_axes_moves_points_as_in_simpleitk(
    ndim: int, ending: str, tmp_path: Path
) -> None:
    rng, size = np.random.default_rng(ndim), [6, 5, 4][:ndim]
    image = sitk.Image(size, sitk.sitkVectorFloat64, ndim)
    for voxel in np.ndindex(*size):
        image[voxel] = rng.normal(size=ndim).tolist()
    turn = Affine.similarity(30).linear if ndim == 2 else np.linalg.qr(rng.normal(size=(3, 3)))[0]
    image.SetOrigin([100.0, 50.0, -20.0][:ndim])
    image.SetSpacing([0.5, 0.25, 2.0][:ndim])
    image.SetDirection(turn.ravel().tolist())
    index = rng.uniform(0, np.array(size) - 1, size=(40, ndim))
    points = np.array([image.TransformContinuousIndexToPhysicalPoint(place.tolist())[::-1] for place in index])
    judge = sitk.DisplacementFieldTransform(image)
    sitk.WriteTransform(judge, str(tmp_path / f"a{ending}"))
    assert np.abs(read_itk(tmp_path / f"a{ending}")(points) - through_itk(judge, points)).max() < 1e-9


def test_a_spline_with_an_origin_and_turned_axes_moves_points_as_in_simpleitk(tmp_path: Path) -> None:
    rng, turn = np.random.default_rng(0), Affine.similarity(30).linear
    judge = sitk.BSplineTransform(2, 3)
    judge.SetTransformDomainOrigin((100, 50))
    judge.SetTransformDomainDirection(turn.ravel().tolist())
    judge.SetTransformDomainPhysicalDimensions((10, 8))
    judge.SetTransformDomainMeshSize((4, 3))
    judge.SetParameters(rng.normal(size=len(judge.GetParameters())).tolist())
    sitk.WriteTransform(judge, str(tmp_path / "a.tfm"))
    local = rng.uniform(0.5, 7, size=(40, 2))
    points = (local @ turn.T + (100, 50))[:, ::-1]
    found = read_itk(tmp_path / "a.tfm")(points)
    assert np.abs(found - through_itk(judge, points)).max() < 1e-9
    assert np.abs(found - points).max() > 0.1
