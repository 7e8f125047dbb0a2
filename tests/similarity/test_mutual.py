"""Mutual information against what theory, finite differences and SimpleITK say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.interpolate import BSpline

from correlight.similarity import sample
from correlight.similarity.mutual import BINS, MutualInformation, spread
from tests import phantoms

SHAPE = (96, 110)


def texture(seed: int, sigma: float = 2.0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Smooth noise in 256 grey values from 0 to 255/256, of which one minus the value is exact in float32."""
    return np.asarray(np.round(phantoms.texture(shape, seed, sigma) * 255) / 256, np.float32)


def pixels(shape: tuple[int, int], margin: int = 0) -> np.ndarray:
    rows, columns = np.mgrid[margin : shape[0] - margin, margin : shape[1] - margin]
    return np.stack([rows.ravel(), columns.ravel()], axis=1).astype(float)


def kernel_at(positions: np.ndarray) -> np.ndarray:
    """Weight of each bin at positions along the moving axis, shape (bins, N), by SciPy's B-spline."""
    element = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
    return np.nan_to_num(element(positions[None] - np.arange(BINS)[:, None]))


@given(seed=st.integers(0, 10_000))
def test_gradient_is_the_derivative(seed: int) -> None:
    rng = np.random.default_rng(seed)
    moving = rng.random((30, 40)).astype(np.float32)
    places = rng.integers(0, (29, 39), (500, 2)) + rng.uniform(0.25, 0.75, (500, 2))
    fixed = sample(moving[None], places)[0][0] + 0.2 * rng.random(500).astype(np.float32)
    measure = MutualInformation(fixed, moving)
    direction = rng.uniform(-1, 1, places.shape)
    # The step keeps every place in its pixel cell. Positions on the grey axis are rounded to 1e-6 bins, which gives
    # at most 1e-4 after division by the step; a move by a hundredth of a bin is far below the width of the kernel.
    step = 0.002
    numeric = (measure(places + step * direction).value - measure(places - step * direction).value) / (2 * step)
    assert np.sum(measure(places).gradient * direction) == pytest.approx(numeric, abs=5e-4)


def test_the_gradient_of_a_common_shift_is_the_derivative() -> None:
    moving = texture(0)
    places = pixels(SHAPE, 8) + 0.5
    fixed = sample(moving[None], places + np.array([0.8, -1.3]))[0][0]
    measure = MutualInformation(fixed, moving)
    gradient = measure(places).gradient.sum(axis=0)
    step = 0.01
    for axis in range(2):
        move = step * np.eye(2)[axis]
        numeric = (measure(places + move).value - measure(places - move).value) / (2 * step)
        # The value rises by tenths of a nat per pixel here; a hundredth of that.
        assert gradient[axis] == pytest.approx(numeric, rel=0.01)


@given(seed=st.integers(0, 10_000), count=st.integers(50, 400))
def test_the_parts_sum_to_the_value_which_is_never_negative(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    moving = rng.random((20, 20)).astype(np.float32)
    agreement = MutualInformation(rng.random(count).astype(np.float32), moving)(rng.uniform(0, 19, (count, 2)))
    assert agreement.parts.shape == (count,)
    assert agreement.parts.sum() == pytest.approx(agreement.value, abs=1e-12)
    assert 0 <= agreement.value <= np.log(BINS)


def test_independent_noise_gives_the_bias_of_its_histogram() -> None:
    # With counts in plain bins the expectation is (k - 1)(m - 1) / 2N. Kernels that overlap leave fewer independent
    # bins along the moving axis: m becomes the sum of E[w^2] / E[w] over their weights w.
    positions = np.linspace(2, BINS - 3, 20_001)
    weights = kernel_at(positions)
    used = weights.mean(axis=1) > 0
    independent = np.sum((weights[used] ** 2).mean(axis=1) / weights[used].mean(axis=1))
    values = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        moving = rng.random(SHAPE).astype(np.float32)
        fixed = rng.random(moving.size).astype(np.float32)
        values.append(MutualInformation(fixed, moving)(pixels(SHAPE)).value)
    expected = (BINS - 1) * (independent - 1) / (2 * np.prod(SHAPE))
    assert expected < (BINS - 1) ** 2 / (2 * np.prod(SHAPE))
    # 2 N I is about chi-squared with 200 degrees of freedom: 10 % for one image, 3.5 % for the mean of eight.
    assert np.mean(values) == pytest.approx(expected, rel=0.1)


def test_identical_images_of_few_grey_values_share_their_entropy() -> None:
    # Four levels lie more than the width of the kernel apart, so that smoothing mixes none of them.
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    levels = np.repeat(np.arange(4, dtype=np.float32) / 3, np.round(shares * 10_000).astype(int))
    image = np.random.default_rng(0).permutation(levels).reshape(100, 100)
    value = MutualInformation(image.ravel(), image)(pixels(image.shape)).value
    # The last row and column are sampled a thousandth of a pixel before their place.
    assert value == pytest.approx(-np.sum(shares * np.log(shares)), abs=0.001)


def test_identical_images_of_all_grey_values_lose_only_the_smoothing() -> None:
    # Evenly spread grey values in both: the joint histogram is an integral of the kernel over each fixed bin.
    levels = (np.arange(BINS * 1000) + 0.5) / (BINS * 1000)
    joint = kernel_at(levels * (BINS - 5) + 2).reshape(BINS, BINS, 1000).mean(axis=2).T / BINS
    product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    expected = np.sum(joint[joint > 0] * np.log(joint[joint > 0] / product[joint > 0]))
    image = np.random.default_rng(1).permutation(np.linspace(0, 1, 120 * 120, dtype=np.float32)).reshape(120, 120)
    value = MutualInformation(image.ravel(), image)(pixels(image.shape)).value
    assert value == pytest.approx(expected, abs=0.005)
    # That is two thirds of the entropy of the fixed bins; the rest goes into the smoothing.
    assert 0.6 * np.log(BINS) < value < np.log(BINS)


def test_inverted_grey_values_say_the_same() -> None:
    moving, places = texture(2), pixels(SHAPE, 4) + 0.3
    fixed = sample(texture(2)[None], places + 0.7)[0][0]
    plain = MutualInformation(fixed, moving)(places)
    inverted = MutualInformation(fixed, 1 - moving)(places)
    # Ranks and kernel are symmetric: only positions rounded to 1e-6 bins differ.
    assert inverted.value == pytest.approx(plain.value, abs=1e-5)
    np.testing.assert_allclose(inverted.gradient, plain.gradient, atol=1e-5)


def shifted_pair(seed: int, shift: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A fixed image and a moving one, `shift` further along, in which dark and bright are both dark."""
    scene = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((140, 150)), 3.0)
    scene = (scene - scene.mean()) / scene.std()
    fixed = scene[20:116, 20:130]
    places = np.indices(SHAPE).reshape(2, -1) + 20 - np.asarray(shift)[:, None]
    moved = ndimage.map_coordinates(scene, places, order=3).reshape(SHAPE)
    return fixed.astype(np.float32), np.exp(-((moved - 0.5) ** 2)).astype(np.float32)


@pytest.mark.parametrize("shift", [(0, 0), (2, -1), (-3, 3)])
def test_the_maximum_is_at_the_true_shift_though_no_line_relates_the_grey_values(shift: tuple[int, int]) -> None:
    fixed, moving = shifted_pair(3, shift)
    places = pixels(SHAPE, 10)
    measure = MutualInformation(sample(fixed[None], places)[0][0], moving)
    tried = [(y, x) for y in range(-4, 5) for x in range(-4, 5)]
    values = [measure(places + move).value for move in tried]
    assert tried[int(np.argmax(values))] == shift


def test_the_maximum_lies_where_simpleitk_has_it() -> None:
    itk = pytest.importorskip("SimpleITK", reason="SimpleITK is the other implementation of this measure")
    fixed, moving = shifted_pair(4, (1.0, -2.0))
    method = itk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(itk.sitkLinear)
    inner = np.zeros(SHAPE, np.uint8)
    inner[10:-10, 10:-10] = 1
    method.SetMetricFixedMask(itk.GetImageFromArray(inner))
    images = [itk.GetImageFromArray(array) for array in (fixed, moving)]
    places = pixels(SHAPE, 10)
    measure = MutualInformation(sample(fixed[None], places)[0][0], moving)
    tried = [(1.0 + dy, -2.0 + dx) for dy in (-1, -0.5, 0, 0.5, 1) for dx in (-1, -0.5, 0, 0.5, 1)]
    ours, theirs = [], []
    for move in tried:
        ours.append(measure(places + np.asarray(move)).value)
        method.SetInitialTransform(itk.TranslationTransform(2, move[::-1]))
        theirs.append(-method.MetricEvaluate(*images))
    assert tried[int(np.argmax(ours))] == tried[int(np.argmax(theirs))] == (1.0, -2.0)
    # Bins are placed otherwise (ranks here, a straight scale there), but a shift that is better for one is for both.
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99


def test_spread_keeps_order_and_gives_a_sparse_image_room() -> None:
    values = np.concatenate([np.zeros(9000), np.linspace(0.001, 0.01, 900), [1.0]]).astype(np.float32)
    out = spread(values, values)
    assert (np.diff(out) >= 0).all()
    assert out.min() == 0
    assert out.max() == 1
    # On a straight scale the 900 grey values would share a single bin of the histogram.
    assert np.ptp(out[9000:9900]) > 0.4


def test_spread_brings_values_beyond_the_reference_to_its_ends() -> None:
    reference = np.linspace(0, 1, 50, dtype=np.float32)
    np.testing.assert_array_equal(spread(np.array([-3, 7], np.float32), reference), [0, 1])


def test_a_blank_image_tells_nothing() -> None:
    blank = np.full((20, 20), 0.4, np.float32)
    agreement = MutualInformation(np.random.default_rng(0).random(400).astype(np.float32), blank)(pixels((20, 20)))
    assert agreement.value == pytest.approx(0, abs=1e-12)
    assert not agreement.gradient.any()
