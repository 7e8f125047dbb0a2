"""Parameter files of elastix, with transformix as the judge where it is installed."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from correlight.errors import ReadError, WriteError
from correlight.exchange import ExchangeContext, PointTable, files_of
from correlight.exchange.elastix import read_elastix, read_transformix, write_elastix, write_transformix
from correlight.exchange.parameters import affine_from_parameters
from correlight.geometry import Grid
from correlight.transforms import Affine
from tests.exchange.conftest import Elsewhere
from tests.exchange.vector import MOVING_FROM_FIXED_2D, MOVING_FROM_FIXED_3D, apart

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "elastix"
REAL = """(CenterOfRotationPoint 39.75 31.75)
(Direction 1 0 0 1)
(FixedImageDimension 2)
(FixedInternalImagePixelType "float")
(HowToCombineTransforms "Compose")
(InitialTransformParameterFileName "NoInitialTransform")
(MovingImageDimension 2)
(NumberOfParameters 6)
(Transform "AffineTransform") // as elastix 5 wrote it
(TransformParameters 0.9963946364 0.0871630224 -0.0872092339 0.9963852921 1.6165633 -2.0821285)
"""
TURN = "0.8660254037844387 0.5 0 -0.5 0.8660254037844387 0 0 0 1 -3.598076211353316 -0.2320508075688785 -1"


def parameter_file(kind: str, numbers: str, ndim: int, centre: str, *more: str) -> str:
    return "\n".join(
        [
            f'(Transform "{kind}")',
            f"(FixedImageDimension {ndim})",
            f"(MovingImageDimension {ndim})",
            f"(TransformParameters {numbers})",
            f"(CenterOfRotationPoint {centre})",
            *more,
            "",
        ]
    )


def test_the_quoted_transform_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(parameter_file("AffineTransform", TURN, 3, "0 0 0"))
    assert apart(read_elastix(tmp_path / "a.txt"), MOVING_FROM_FIXED_3D) < 1e-9


def test_a_file_that_elastix_wrote_turns_about_its_centre(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(REAL)
    # By hand: the centre (x, y) = (39.75, 31.75) moves by the last two numbers.
    assert np.abs(read_elastix(tmp_path / "a.txt")([[31.75, 39.75]]) - [[29.6678715, 41.3665633]]).max() < 1e-9


def test_the_initial_transform_is_applied_first(tmp_path: Path) -> None:
    chain = '(InitialTransformParameterFileName "{}")'
    first = parameter_file("TranslationTransform", "10 0", 2, "0 0", chain.format("NoInitialTransform"))
    second = parameter_file("AffineTransform", "2 0 0 2 0 0", 2, "0 0", chain.format("/gone/elsewhere/first.txt"))
    (tmp_path / "first.txt").write_text(first)
    (tmp_path / "second.txt").write_text(second)
    assert read_elastix(tmp_path / "second.txt")([[1.0, 1.0]]).tolist() == [[2.0, 22.0]]
    assert files_of(tmp_path / "second.txt") == (tmp_path / "second.txt", tmp_path / "first.txt")


def test_a_wrapped_itk_file_is_read(tmp_path: Path) -> None:
    sitk.WriteTransform(sitk.TranslationTransform(2, (3, 4)), str(tmp_path / "a.tfm"))
    (tmp_path / "a.txt").write_text('(Transform "File")\n(TransformFileName "a.tfm")\n')
    assert read_elastix(tmp_path / "a.txt")([[0.0, 0.0]]).tolist() == [[4.0, 3.0]]
    assert files_of(tmp_path / "a.txt") == (tmp_path / "a.txt", tmp_path / "a.tfm")
    assert files_of(tmp_path / "a.tfm") == (tmp_path / "a.tfm",)


@given(seed=st.integers(0, 10**6), zyx=st.booleans())
def test_euler_angles_turn_as_in_itk(seed: int, zyx: bool) -> None:
    rng = np.random.default_rng(seed)
    angles, shift, centre = rng.uniform(-3, 3, 3), rng.normal(size=3), rng.normal(size=3) * 10
    judge = sitk.Euler3DTransform(centre.tolist(), *angles.tolist(), shift.tolist())
    judge.SetComputeZYX(zyx)
    ours = affine_from_parameters("euler", 3, [*angles, *shift], centre, "it", zyx=zyx)
    point = rng.normal(size=3) * 10
    assert np.abs(ours(point[None, ::-1])[0, ::-1] - judge.TransformPoint(point.tolist())).max() < 1e-12 * 100


@given(seed=st.integers(0, 10**6))
def test_versors_turn_as_in_itk(seed: int) -> None:
    rng = np.random.default_rng(seed)
    quaternion = rng.normal(size=4)
    versor = quaternion / np.linalg.norm(quaternion) * np.sign(quaternion[3])
    shift, centre, scale = rng.normal(size=3), rng.normal(size=3) * 10, float(rng.uniform(0.3, 3))
    judge = sitk.Similarity3DTransform(scale, versor.tolist(), shift.tolist(), centre.tolist())
    ours = affine_from_parameters("similarity", 3, [*versor[:3], *shift, scale], centre, "it")
    point = rng.normal(size=3) * 10
    assert np.abs(ours(point[None, ::-1])[0, ::-1] - judge.TransformPoint(point.tolist())).max() < 1e-12 * 100


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (parameter_file("BSplineTransform", "1 2", 2, "0 0"), "not described completely"),
        (parameter_file("BSplineTransform", "1 2", 2, "0 0", '(UseCyclicTransform "true")'), "cyclic"),
        ("", "there is none"),
        ("(Transform )", "one dimension"),
        (parameter_file("SplineKernelTransform", "1", 2, "0 0"), "SplineKernelTransform"),
        (parameter_file("AffineTransform", "1 0 0", 2, "0 0"), "needs 6 finite"),
        (parameter_file("AffineTransform", "1 0 0 nan 1 1", 2, "0 0"), "finite"),
        (parameter_file("AffineTransform", "1 0 0 x 1 1", 2, "0 0"), "not all numbers"),
        (parameter_file("AffineTransform", "1 0 0 1 1 1", 4, "0 0"), "2 or 3"),
        (parameter_file("SimilarityTransform", "2 0 0 0 0 0 1", 3, "0 0 0"), "versor longer than 1"),
        (parameter_file("AffineTransform", "1 0 0 1 1 1", 2, "0 0").replace("(Center", "(Centre"), "centre"),
        (parameter_file("AffineTransform", "1 0 0 1 1 1", 2, "0 0", '(HowToCombineTransforms "Add")',
                        '(InitialTransformParameterFileName "b.txt")'), "adds"),
        (parameter_file("AffineTransform", "1 0 0 1 1 1", 2, "0 0",
                        '(InitialTransformParameterFileName "none.txt")'), "not found beside it"),
        (parameter_file("AffineTransform", "1 0 0 1 1 1", 2, "0 0",
                        '(InitialTransformParameterFileName "a.txt")'), "begins with 16 other files or with itself"),
    ],
)  # fmt: skip
def test_damaged_files_are_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ReadError, match=words):
        read_elastix(tmp_path / "a.txt")


def test_points_of_transformix_are_read_as_points_indices_or_output(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("point\n2\n1 2\n3 4\n")
    assert read_transformix(tmp_path / "a.txt").points.tolist() == [[2, 1], [4, 3]]
    assert read_transformix(tmp_path / "a.txt").unit == "micrometre"
    (tmp_path / "a.txt").write_text("1\n1 2 3\n")
    assert read_transformix(tmp_path / "a.txt").points.tolist() == [[3, 2, 1]]
    assert read_transformix(tmp_path / "a.txt").unit == "pixel"
    line = (
        "Point\t0\t; InputIndex = [ 0 0 ]\t; InputPoint = [ 0.000000 0.000000 ]\t; OutputIndexFixed = [ 1 -2 ]\t; "
        "OutputPoint = [ 1.500000 -2.000000 ]\t; Deformation = [ 1.500000 -2.000000 ]\n"
    )
    (tmp_path / "outputpoints.txt").write_text(line)
    assert read_transformix(tmp_path / "outputpoints.txt").points.tolist() == [[-2.0, 1.5]]


@pytest.mark.parametrize("text", ["", "point\n", "point\n3\n1 2\n", "point\n1\n1 x\n", "point\n1\n1\n", "index\n0\n"])
def test_damaged_points_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ReadError, match=r"a\.txt"):
        read_transformix(tmp_path / "a.txt")


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="cannot be written"):
        write_elastix(tmp_path / "none" / "a.txt", Affine.identity())


def test_points_move_as_transformix_moved_them_through_files_of_a_real_run() -> None:
    found = read_elastix(GOLDEN / "TransformParameters.1.txt")
    points, moved = (read_transformix(GOLDEN / name) for name in ("points.txt", "outputpoints.txt"))
    assert len(points.points) == 12
    # Numbers in the files have up to 17 digits, those of the moved points six decimals.
    assert np.abs(found(points.points) - moved.points).max() < 1e-6
    assert np.abs(points.points - moved.points).max() > 1


TRANSFORMIX = """
import itk
for job in given["jobs"]:
    parameters = itk.ParameterObject.New()
    parameters.AddParameterFile(job["file"])
    moving = itk.image_from_array(__import__("numpy").zeros(job["shape"], "float32"))
    filter = itk.TransformixFilter.New(moving)
    filter.SetTransformParameterObject(parameters)
    filter.SetFixedPointSetFileName(job["points"])
    filter.SetOutputDirectory(job["out"])
    filter.UpdateLargestPossibleRegion()
print("1")
"""

# Rigid, similar and affine maps in both dimensions, each packed in its own way, about a centre that is not zero.
KINDS = [
    ("TranslationTransform", "3.5 -2.25", 2, []),
    ("EulerTransform", "0.3 1.5 -2", 2, []),
    ("SimilarityTransform", "1.3 0.4 1.5 -2", 2, []),
    ("AffineTransform", "1.1 0.2 -0.1 0.9 1.5 -2", 2, []),
    ("TranslationTransform", "3.5 -2.25 1", 3, []),
    ("EulerTransform", "0.1 -0.2 0.3 1.5 -2 4", 3, ['(ComputeZYX "false")']),
    ("EulerTransform", "0.1 -0.2 0.3 1.5 -2 4", 3, ['(ComputeZYX "true")']),
    ("SimilarityTransform", "0.1 -0.2 0.3 1.5 -2 4 1.2", 3, []),
    ("AffineTransform", "1.1 0.2 0 -0.1 0.9 0.05 0.3 0 1.2 1.5 -2 4", 3, []),
]


def spline(order: int) -> tuple[str, str, int, list[str]]:
    """A B-spline transform whose lattice reaches beyond the 20 x 20 pixels that it moves."""
    numbers = " ".join(map(repr, np.random.default_rng(order).normal(size=2 * 8 * 8).tolist()))
    lattice = [
        "(GridSize 8 8)",
        "(GridIndex 0 0)",
        "(GridSpacing 4 4)",
        "(GridOrigin -4 -4)",
        "(GridDirection 1 0 0 1)",
    ]
    more = [*lattice, f"(BSplineTransformSplineOrder {order})", '(UseCyclicTransform "false")']
    return "BSplineTransform", numbers, 2, more


KINDS += [spline(order) for order in (1, 2, 3)]


def geometry(ndim: int) -> list[str]:
    ones, zeros = " ".join(["1"] * ndim), " ".join(["0"] * ndim)
    directions = " ".join(str(float(value)) for value in np.eye(ndim).ravel())
    return [
        f"(Size {' '.join(['20'] * ndim)})", f"(Index {zeros})", f"(Spacing {ones})", f"(Origin {zeros})",
        f"(Direction {directions})", '(UseDirectionCosines "true")', '(HowToCombineTransforms "Compose")',
        '(InitialTransformParameterFileName "NoInitialTransform")', '(ResampleInterpolator "FinalLinearInterpolator")',
        '(Resampler "DefaultResampler")', "(DefaultPixelValue 0)", '(ResultImageFormat "mhd")',
        '(ResultImagePixelType "float")', '(FixedInternalImagePixelType "float")',
        '(MovingInternalImagePixelType "float")',
    ]  # fmt: skip


def test_transformix_moves_points_as_we_do(tmp_path: Path, with_elastix: Elsewhere) -> None:
    jobs, expected = [], []
    grids = {2: ExchangeContext(fixed=Grid.of((20, 20))), 3: ExchangeContext(fixed=Grid.of((20, 20, 20)))}
    for number, (kind, numbers, ndim, more) in enumerate(KINDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        centre = " ".join(["7.5", "-3", "2"][:ndim])
        count = f"(NumberOfParameters {len(numbers.split())})"
        text = parameter_file(kind, numbers, ndim, centre, count, *more, *geometry(ndim))
        (folder / "TransformParameters.0.txt").write_text(text)
        jobs.append(folder)
        expected.append(read_elastix(folder / "TransformParameters.0.txt"))
    for ndim, transform in ((2, MOVING_FROM_FIXED_2D), (3, MOVING_FROM_FIXED_3D)):
        folder = tmp_path / f"written{ndim}"
        folder.mkdir()
        write_elastix(folder / "TransformParameters.0.txt", transform, grids[ndim])
        jobs.append(folder)
        expected.append(transform)
    given = []
    for folder, known in zip(jobs, expected, strict=True):
        points = np.random.default_rng(known.ndim).random((7, known.ndim)) * 20
        write_transformix(folder / "points.txt", PointTable(tuple("abcdefg"), points, "micrometre"))
        given.append(
            {
                "file": str(folder / "TransformParameters.0.txt"),
                "points": str(folder / "points.txt"),
                "out": str(folder),
                "shape": [20] * known.ndim,
            }
        )
    with_elastix(TRANSFORMIX, {"jobs": given})
    for folder, known in zip(jobs, expected, strict=True):
        points = read_transformix(folder / "points.txt").points
        moved = read_transformix(folder / "outputpoints.txt").points
        # transformix writes six decimals.
        assert np.abs(moved - known(points)).max() < 1e-6, folder.name
