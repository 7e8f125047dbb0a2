"""Transforms: direction, composition, inverse and derivative, against explicit numbers and SimpleITK."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from correlight.errors import TransformError
from correlight.geometry import Grid
from correlight.transforms import Affine, Chain, Displacement, Projective, Transform, compose

SEEDS = st.integers(0, 2**32 - 1)
DIMENSIONS = st.sampled_from([2, 3])


def some_points(rng: np.random.Generator, ndim: int, size: float = 100.0) -> np.ndarray:
    return rng.uniform(0, size, (20, ndim))


def some_affine(rng: np.random.Generator, ndim: int) -> Affine:
    """Any rotation, mirrored or not, scales 1/4 to 4 along skewed axes, any shift."""
    turns = [np.linalg.qr(rng.normal(size=(ndim, ndim)))[0] for _ in range(2)]
    scales = np.exp(rng.uniform(-np.log(4), np.log(4), ndim))
    return Affine.of(turns[0] * scales @ turns[1], rng.uniform(-500, 500, ndim))


def some_projective(rng: np.random.Generator, ndim: int) -> Projective:
    """An affine map with a perspective that keeps the field of 100 well away from the vanishing line."""
    matrix = some_affine(rng, ndim).matrix.copy()
    matrix[-1, :-1] = rng.uniform(-1e-3, 1e-3, ndim)
    return Projective(matrix)


def some_displacement(rng: np.random.Generator, ndim: int) -> Displacement:
    """Waves whose slopes stay below 0.16 per component, so that they cannot fold, on a grid with its own origin."""
    grid = Grid.of((11, 14, 9)[:ndim], spacing=(9.0, 7.0, 12.0)[:ndim], origin=(-3.0, 2.0, 1.0)[:ndim])
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    phases = grid.points(index) / 20.0
    waves = [3.0 * np.sin(phases[..., (axis + 1) % ndim] + rng.uniform(0, 6)) for axis in range(ndim)]
    return Displacement(np.stack(waves, -1), grid)


MAKERS: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "affine": some_affine,
    "projective": some_projective,
    "displacement": some_displacement,
}
KINDS = st.sampled_from(sorted(MAKERS))


def finite_differences(transform: Transform, points: np.ndarray, step: float = 1e-5) -> np.ndarray:
    columns = []
    for axis in range(transform.ndim):
        shift = np.zeros(transform.ndim)
        shift[axis] = step
        columns.append((transform(points + shift) - transform(points - shift)) / (2 * step))
    return np.stack(columns, -1)


class TestDirection:
    """Which way is round, up and mirrored: the numbers of the page of conventions."""

    def test_rotation_is_counter_clockwise_on_screen(self) -> None:
        quarter = Affine.similarity(rotation=90.0)
        right, up, left, down = [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [1.0, 0.0]
        np.testing.assert_allclose(quarter([right, up, left, down]), [up, left, down, right], atol=1e-15)

    def test_thirty_degrees(self) -> None:
        turn = Affine.similarity(rotation=30.0, scale=2.0)
        np.testing.assert_allclose(turn([[0.0, 1.0]]), [[-1.0, np.sqrt(3)]], atol=1e-15)

    def test_mirror_flips_x_before_the_rotation(self) -> None:
        np.testing.assert_allclose(Affine.similarity(mirror=True)([[2.0, 3.0]]), [[2.0, -3.0]], atol=0)
        turned = Affine.similarity(rotation=90.0, mirror=True)
        np.testing.assert_allclose(turned([[0.0, 1.0]]), [[1.0, 0.0]], atol=1e-15)

    def test_source_goes_to_target(self) -> None:
        turn = Affine.similarity(33.0, 1.7, True, source=(5.0, 6.0), target=(-1.0, 9.0))
        np.testing.assert_allclose(turn([[5.0, 6.0]]), [[-1.0, 9.0]], atol=1e-12)
        np.testing.assert_allclose(Affine.similarity(33.0, source=(5.0, 6.0))([[5.0, 6.0]]), [[5.0, 6.0]], atol=1e-12)

    @given(st.floats(0, 359.999), st.floats(0.01, 100), st.booleans())
    def test_a_similarity_tells_how_it_was_made(self, rotation: float, scale: float, mirror: bool) -> None:
        made = Affine.similarity(rotation, scale, mirror, target=(40.0, -7.0))
        assert made.mirrored is mirror
        assert made.scale == pytest.approx(scale, rel=1e-12)
        assert abs((made.rotation - rotation + 180) % 360 - 180) < 1e-9

    @pytest.mark.parametrize("angle", [-1e-17, -1e-30, 0.0, 360.0, -360.0, 720.0])
    def test_rotation_stays_below_a_full_turn(self, angle: float) -> None:
        assert 0.0 <= Affine.similarity(angle).rotation < 360.0

    def test_scale_is_the_geometric_mean(self) -> None:
        assert Affine.of(np.diag([4.0, 9.0]), [0, 0]).scale == pytest.approx(6.0)
        assert Affine.of(np.diag([1.0, 8.0, 27.0]), [0, 0, 0]).scale == pytest.approx(6.0)

    def test_the_matmul_operator_applies_its_right_side_first(self) -> None:
        turn = Affine.similarity(rotation=90.0)
        shift = Affine.of(np.eye(2), [0.0, 10.0])
        np.testing.assert_allclose((shift @ turn)([[0.0, 1.0]]), [[-1.0, 10.0]], atol=1e-14)
        np.testing.assert_allclose((turn @ shift)([[0.0, 1.0]]), [[-11.0, 0.0]], atol=1e-14)
        np.testing.assert_allclose(compose([turn, shift])([[0.0, 1.0]]), [[-1.0, 10.0]], atol=1e-14)


class TestEveryKind:
    """Laws that hold for every transform, in two and three dimensions."""

    @given(SEEDS, DIMENSIONS, KINDS, KINDS)
    def test_composition(self, seed: int, ndim: int, outer_kind: str, inner_kind: str) -> None:
        rng = np.random.default_rng(seed)
        outer, inner = MAKERS[outer_kind](rng, ndim), MAKERS[inner_kind](rng, ndim)
        points = some_points(rng, ndim)
        both = outer @ inner
        expected = outer(inner(points))
        sane = np.all(np.abs(expected) < 1e5, axis=1)
        np.testing.assert_allclose(both(points)[sane], expected[sane], rtol=1e-9, atol=1e-9)
        assert both.ndim == ndim
        assert isinstance(both, Transform)

    @given(SEEDS, DIMENSIONS, KINDS)
    def test_there_and_back(self, seed: int, ndim: int, kind: str) -> None:
        rng = np.random.default_rng(seed)
        moving_from_fixed = MAKERS[kind](rng, ndim)
        fixed_from_moving = moving_from_fixed.inverse()
        points = some_points(rng, ndim)
        # Newton stops at 1e-10 of the field, here at most 108 wide; matrices at their condition number times eps.
        limit = 2e-8 if kind == "displacement" else 1e-9
        np.testing.assert_allclose(fixed_from_moving(moving_from_fixed(points)), points, rtol=0, atol=limit)
        back = fixed_from_moving.inverse()
        np.testing.assert_allclose(back(points), moving_from_fixed(points), rtol=0, atol=1e-9)

    @given(SEEDS, DIMENSIONS, KINDS)
    def test_jacobian_agrees_with_finite_differences(self, seed: int, ndim: int, kind: str) -> None:
        rng = np.random.default_rng(seed)
        transform = MAKERS[kind](rng, ndim)
        points = some_points(rng, ndim)
        if kind == "displacement":
            # The slope jumps between two cells: keep the steps within one.
            index = transform.grid.index(points)  # type: ignore[attr-defined]
            points = points[np.all(np.abs(index - np.round(index)) > 1e-4, axis=1)]
        jacobian = transform.jacobian(points)  # type: ignore[attr-defined]
        assert jacobian.shape == (len(points), ndim, ndim)
        np.testing.assert_allclose(jacobian, finite_differences(transform, points), rtol=1e-5, atol=1e-6)

    @given(SEEDS, DIMENSIONS)
    def test_a_sequence_chains_its_parts(self, seed: int, ndim: int) -> None:
        rng = np.random.default_rng(seed)
        parts = (some_affine(rng, ndim), some_displacement(rng, ndim), some_projective(rng, ndim))
        # The affine map first brought back into the field, so that perspective and waves see points where they live.
        chain = Chain((parts[0].inverse(), parts[0], *parts[1:]))
        points = some_points(rng, ndim)
        index = parts[1].grid.index(points)
        points = points[np.all(np.abs(index - np.round(index)) > 1e-4, axis=1)]
        expected = parts[2](parts[1](points))
        np.testing.assert_allclose(chain(points), expected, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(chain.jacobian(points), finite_differences(chain, points), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(chain.inverse()(expected), points, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("kind", sorted(MAKERS))
    @pytest.mark.parametrize("points", [[1.0, 2.0], [[1.0, 2.0, 3.0]], [[[1.0, 2.0]]]])
    def test_points_of_another_shape_are_misuse(self, kind: str, points: list) -> None:
        transform = MAKERS[kind](np.random.default_rng(0), 2)
        with pytest.raises(TransformError, match=r"shape \(N, 2\)"):
            transform(points)

    @pytest.mark.parametrize("kind", sorted(MAKERS))
    def test_no_points_give_no_points(self, kind: str) -> None:
        transform = MAKERS[kind](np.random.default_rng(0), 2)
        assert transform(np.empty((0, 2))).shape == (0, 2)
        assert transform.inverse()(np.empty((0, 2))).shape == (0, 2)  # type: ignore[attr-defined]
        assert transform.jacobian(np.empty((0, 2))).shape == (0, 2, 2)  # type: ignore[attr-defined]


class TestMatrices:
    def test_matrices_cannot_be_changed_behind_the_back(self) -> None:
        mine = np.eye(3)
        transform = Affine(mine)
        mine[0, 2] = 5.0
        np.testing.assert_array_equal(transform.matrix, np.eye(3))
        with pytest.raises(ValueError, match="read-only"):
            transform.matrix[0, 2] = 1.0

    def test_affine_maps_stay_affine(self) -> None:
        turn = Affine.similarity(20.0)
        assert isinstance(turn @ turn.inverse(), Affine)
        assert isinstance(turn @ Projective(np.eye(3)), Projective)
        assert isinstance(compose([Projective(np.eye(3)), turn]), Projective)

    def test_a_projective_matrix_is_scaled_to_a_last_element_of_one(self) -> None:
        matrix = np.array([[2.0, 0.0, 4.0], [0.0, 2.0, 6.0], [0.0, 0.002, 2.0]])
        projective = Projective(matrix)
        assert projective.matrix[-1, -1] == 1.0
        # (2 * 10 + 4) / (0.002 * 100 + 2), (2 * 100 + 6) / (0.002 * 100 + 2)
        np.testing.assert_allclose(projective([[10.0, 100.0]]), [[24 / 2.2, 206 / 2.2]], rtol=1e-15)

    def test_the_vanishing_line_has_no_image(self) -> None:
        projective = Projective(np.array([[1.0, 0, 0], [0, 1.0, 0], [0, -0.1, 1.0]]))
        assert not np.any(np.isfinite(projective([[3.0, 10.0]])))

    def test_perspective_agrees_with_opencv(self) -> None:
        import cv2

        projective = some_projective(np.random.default_rng(4), 2)
        points = some_points(np.random.default_rng(5), 2)
        # x first: swap rows and columns of the first two axes.
        swap = [1, 0, 2]
        theirs = cv2.perspectiveTransform(points[:, None, ::-1].copy(), projective.matrix[swap][:, swap])
        np.testing.assert_allclose(projective(points), theirs[:, 0, ::-1], rtol=1e-12)

    @pytest.mark.parametrize(
        ("build", "words"),
        [
            (lambda: Affine(np.eye(2)), "3 x 3 or 4 x 4"),
            (lambda: Affine(np.full((3, 3), np.nan)), "finite"),
            (lambda: Affine(np.array([[1, 0, 0], [0, 1, 0], [0, 1e-3, 1]])), "last row"),
            (lambda: Affine(np.diag([1.0, 1.0, 1.000001])), "last row"),
            (lambda: Affine(np.diag([1.0, 0.0, 1.0])).inverse(), "singular"),
            (lambda: Projective(np.diag([1.0, 0.0, 1.0])).inverse(), "singular"),
            # Regular in its upper left block, and yet everything falls onto one line.
            (lambda: Projective(np.array([[1.0, 0, 1], [0, 1, 1], [0.5, 0.5, 1]])).inverse(), "singular"),
            (lambda: Projective(np.array([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]])), "to infinity"),
            (lambda: Affine.identity(3).rotation, "two dimensions"),
            (lambda: Chain(()), "at least one"),
            (lambda: Chain((Affine.identity(2), Affine.identity(3))), "one dimension"),
        ],
    )
    def test_misuse(self, build, words: str) -> None:
        with pytest.raises(TransformError, match=words):
            build()

    def test_a_thin_section_is_not_flat(self) -> None:
        """Nanometres across and millimetres along differ by 1e6 and still make a transform."""
        thin = Affine.of(np.diag([1e-3, 1e3, 1e3]), [0, 0, 0])
        np.testing.assert_allclose(thin.inverse()(thin([[1.0, 2.0, 3.0]])), [[1.0, 2.0, 3.0]], rtol=1e-12)


class TestDisplacement:
    GRID = Grid.of((3, 4), spacing=(2.0, 5.0), origin=(1.0, -1.0))

    def test_linear_between_the_pixels_and_constant_beyond(self) -> None:
        vectors = np.zeros((3, 4, 2))
        vectors[1, 1] = [4.0, -8.0]
        field = Displacement(vectors, self.GRID)
        at_pixel, half_way, quarter = [3.0, 4.0], [3.0, 6.5], [2.0, 6.5]
        np.testing.assert_allclose(
            field([at_pixel, half_way, quarter]), [[7.0, -4.0], [5.0, 2.5], [3.0, 4.5]], atol=1e-14
        )
        edge = np.zeros((3, 4, 2))
        edge[:, 3] = [1.0, 2.0]
        np.testing.assert_allclose(Displacement(edge, self.GRID)([[3.0, 1000.0]]), [[4.0, 1002.0]], atol=1e-12)

    def test_inverse_reaches_beyond_the_field(self) -> None:
        """At the edge the slope of the field ends: the step that is right inside would overshoot outside."""
        grid = Grid.of((5, 5))
        vectors = np.zeros((5, 5, 2))
        vectors[..., 1] = -0.8 * np.arange(5)
        squeeze = Displacement(vectors, grid)
        points = np.array([[2.0, 3.9], [2.0, 4.5], [2.0, 30.0], [-50.0, -3.0], [80.0, 1.25]])
        np.testing.assert_allclose(squeeze.inverse()(squeeze(points)), points, atol=1e-8)
        np.testing.assert_allclose(squeeze.jacobian([[2.0, 30.0]]), [np.eye(2)], atol=0)

    def test_inverse_of_a_rough_field(self) -> None:
        """Neighbouring vectors that differ as much as they may without folding."""
        rng = np.random.default_rng(3)
        rough = Displacement(rng.uniform(-0.24, 0.24, (20, 20, 2)), Grid.of((20, 20)))
        points = rng.uniform(-2, 22, (500, 2))
        np.testing.assert_allclose(rough.inverse()(rough(points)), points, atol=1e-8)

    def test_jacobian_of_the_inverse(self) -> None:
        field = some_displacement(np.random.default_rng(1), 2)
        points = np.array([[20.0, 30.0], [55.5, 61.0]])
        inverse = field.inverse()
        np.testing.assert_allclose(inverse.jacobian(points), finite_differences(inverse, points, 1e-4), atol=1e-4)

    def test_one_fold_between_two_pixels_is_found(self) -> None:
        """Central differences would not see it: the pixels on both sides cancel."""
        vectors = np.zeros((6, 6, 2))
        vectors[3, 3, 1] = 1.2
        with pytest.raises(TransformError, match="folds"):
            Displacement(vectors, Grid.of((6, 6))).inverse()
        vectors[3, 3, 1] = 0.9
        assert Displacement(vectors, Grid.of((6, 6))).inverse().ndim == 2

    def test_a_fold_in_a_volume_is_found(self) -> None:
        vectors = np.zeros((4, 4, 4, 3))
        vectors[2, 2, 2, 0] = 1.5
        with pytest.raises(TransformError, match="folds"):
            Displacement(vectors, Grid.of((4, 4, 4))).inverse()

    @given(SEEDS, DIMENSIONS, st.floats(0.1, 0.6))
    def test_a_fold_is_found_exactly_where_a_corner_of_a_cell_turns_over(
        self, seed: int, ndim: int, size: float
    ) -> None:
        grid = Grid.of((4, 3, 5)[:ndim], spacing=(1.0, 2.0, 0.5)[:ndim])
        field = Displacement(size * np.random.default_rng(seed).normal(size=(*grid.shape, ndim)), grid)
        cells = np.stack(np.meshgrid(*[np.arange(n - 1) for n in grid.shape], indexing="ij"), -1).reshape(-1, ndim)
        corners = [cells + np.where(upper, 1 - 1e-9, 1e-9) for upper in product([False, True], repeat=ndim)]
        volumes = np.linalg.det(field.jacobian(grid.points(np.concatenate(corners))))
        if volumes.min() > 1e-6:
            assert field.inverse().ndim == ndim
        elif volumes.min() < -1e-6:
            with pytest.raises(TransformError, match="folds"):
                field.inverse()

    def test_a_single_plane_moves_as_one(self) -> None:
        flat = Displacement(np.full((1, 4, 4, 3), 2.0), Grid.of((1, 4, 4)))
        np.testing.assert_allclose(flat([[7.0, 1.0, 1.0]]), [[9.0, 3.0, 3.0]], atol=0)
        np.testing.assert_allclose(flat.inverse()([[9.0, 3.0, 3.0]]), [[7.0, 1.0, 1.0]], atol=1e-9)

    @pytest.mark.parametrize(
        ("vectors", "words"),
        [(np.zeros((4, 3, 2)), "must have the shape"), (np.full((3, 4, 2), np.nan), "must be finite")],
    )
    def test_misuse(self, vectors: np.ndarray, words: str) -> None:
        with pytest.raises(TransformError, match=words):
            Displacement(vectors, self.GRID)


class TestAgreesWithSimpleITK:
    """ITK maps fixed to moving too, but in x-first order."""

    @given(SEEDS, DIMENSIONS)
    def test_affine(self, seed: int, ndim: int) -> None:
        rng = np.random.default_rng(seed)
        ours = some_affine(rng, ndim)
        theirs = sitk.AffineTransform(ndim)
        theirs.SetMatrix(ours.linear[::-1, ::-1].ravel().tolist())
        theirs.SetTranslation(ours.offset[::-1].tolist())
        for point in some_points(rng, ndim)[:5]:
            np.testing.assert_allclose(
                ours([point])[0], theirs.TransformPoint(point[::-1].tolist())[::-1], rtol=1e-12, atol=1e-9
            )

    def test_counter_clockwise_on_screen_is_a_negative_angle_in_itk(self) -> None:
        theirs = sitk.Similarity2DTransform()
        theirs.SetAngle(-np.deg2rad(30.0))
        theirs.SetScale(2.0)
        ours = Affine.similarity(30.0, 2.0)
        np.testing.assert_allclose(ours([[3.0, 7.0]])[0], theirs.TransformPoint((7.0, 3.0))[::-1], rtol=1e-14)

    def test_rotation_in_space(self) -> None:
        angles = np.deg2rad([10.0, 20.0, 30.0])
        theirs = sitk.VersorRigid3DTransform()
        xyzw = Rotation.from_rotvec(angles).as_quat()
        theirs.SetRotation(xyzw.tolist())
        # The rotation vector of SciPy is x first; reversing both axes of its matrix gives array order.
        ours = Affine.of(Rotation.from_rotvec(angles).as_matrix()[::-1, ::-1], np.zeros(3))
        point = np.array([1.0, 2.0, 3.0])
        np.testing.assert_allclose(ours([point])[0], theirs.TransformPoint(point[::-1].tolist())[::-1], atol=1e-12)

    @pytest.mark.parametrize("ndim", [2, 3])
    def test_displacement_field(self, ndim: int) -> None:
        ours = some_displacement(np.random.default_rng(7), ndim)
        # Vector images hold x first in their components; their pixels are laid out in array order.
        image = sitk.GetImageFromArray(np.ascontiguousarray(ours.vectors[..., ::-1]), isVector=True)
        image.SetSpacing(ours.grid.spacing[::-1])
        image.SetOrigin(ours.grid.origin[::-1])
        theirs = sitk.DisplacementFieldTransform(image)
        for point in some_points(np.random.default_rng(8), ndim, 80.0):
            moved = theirs.TransformPoint(point[::-1].tolist())[::-1]
            np.testing.assert_allclose(ours([point])[0], moved, rtol=1e-10, atol=1e-9)
