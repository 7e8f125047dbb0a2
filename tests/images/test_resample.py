"""Resampling against analytic truths and against SciPy and SimpleITK."""

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from correlight.errors import UsageError
from correlight.geometry import Grid, Unit
from correlight.images import kernel
from correlight.images.image import CoarseMask, Image
from correlight.images.kernel import Order
from correlight.images.resample import Resampling, output_grid, warp
from correlight.transforms import Affine, Chain, Displacement, Projective


def texture(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def ramp(grid: Grid, slopes: np.ndarray) -> np.ndarray:
    """A picture that is linear in position, so that linear interpolation of it is exact."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    return (grid.points(index.reshape(-1, grid.ndim)) @ slopes).reshape(1, *grid.shape)


@pytest.mark.parametrize("block", [17, 1024])
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_linear_ramp_is_moved_exactly(ndim: int, block: int) -> None:
    rng = np.random.default_rng(ndim)
    slopes = rng.normal(size=ndim)
    moving = Grid.of((40, 50, 45)[:ndim], tuple(rng.uniform(0.5, 2, ndim)), tuple(rng.normal(size=ndim)), "micrometre")
    onto = Grid.of((30, 28, 33)[:ndim], tuple(rng.uniform(0.5, 1.5, ndim)), unit="micrometre")
    moving_from_fixed = Affine.of(np.eye(ndim) + rng.normal(scale=0.1, size=(ndim, ndim)), rng.normal(size=ndim) - 3)
    values, footprint = warp(ramp(moving, slopes), moving, moving_from_fixed, onto, block=block)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in onto.shape], indexing="ij"), -1).reshape(-1, ndim)
    places = moving_from_fixed(onto.points(index))
    expected = (places @ slopes).reshape(onto.shape)
    inside = np.all((moving.index(places) >= 0) & (moving.index(places) <= np.array(moving.shape) - 1), axis=1)
    # A position within a millionth of a pixel of a centre counts as on it, which moves the value by no more than that.
    assert np.abs(values[0] - expected)[footprint].max() < 1e-5
    assert np.array_equal(footprint, inside.reshape(onto.shape))
    assert 0.05 < footprint.mean() < 1
    assert np.all(values[0][~footprint] == 0)


def test_random_texture_agrees_with_scipy() -> None:
    picture = texture(1, 90, 120)
    onto = Grid.of((100, 100))
    move = Affine.similarity(rotation=25, scale=0.9, mirror=True, source=(40, 50), target=(45, 61))
    values, footprint = warp(picture, Grid.of((90, 120)), move, onto)
    index = np.stack(np.meshgrid(np.arange(100.0), np.arange(100.0), indexing="ij"), -1).reshape(-1, 2)
    expected = ndimage.map_coordinates(picture[0].astype(float), move(index).T, order=1).reshape(100, 100)
    assert np.abs(values[0] - expected)[footprint].max() < 2e-6
    assert 0.5 < footprint.mean() < 0.95


@pytest.mark.parametrize("ndim", [2, 3])
def test_calibrated_grids_agree_with_simpleitk(ndim: int) -> None:
    rng = np.random.default_rng(5)
    moving = Grid.of((20, 36, 40)[:ndim], (0.4, 0.25, 0.3)[:ndim], unit="micrometre")
    onto = Grid.of((18, 30, 33)[:ndim], (0.5, 0.3, 0.35)[:ndim], 0.2, "micrometre")
    picture = texture(1, *moving.shape)
    move = Affine.of(np.eye(ndim) + rng.normal(scale=0.05, size=(ndim, ndim)), rng.normal(scale=0.5, size=ndim))
    values, footprint = warp(picture, moving, move, onto)
    itk_image = sitk.GetImageFromArray(picture[0])
    itk_image.SetSpacing(moving.spacing[::-1])
    transform = sitk.AffineTransform(ndim)
    transform.SetMatrix(move.linear[::-1, ::-1].ravel().tolist())
    transform.SetTranslation(move.offset[::-1].tolist())
    expected = sitk.GetArrayFromImage(
        sitk.Resample(
            itk_image,
            onto.shape[::-1],
            transform,
            sitk.sitkLinear,
            onto.origin[::-1],
            onto.spacing[::-1],
            np.eye(ndim).ravel().tolist(),
        )
    )
    assert footprint.mean() > 0.3
    assert np.abs(values[0] - expected)[footprint].max() < 2e-6


@settings(max_examples=25, deadline=None)
@given(
    block=st.integers(1, 60),
    rotation=st.floats(0, 360),
    scale=st.floats(0.3, 5),
    order=st.sampled_from(["linear", "nearest"]),
)
def test_blocks_make_the_same_picture_as_the_whole(block: int, rotation: float, scale: float, order: Order) -> None:
    grid, onto = Grid.of((50, 60)), Grid.of((33, 41))
    mask = texture(50, 60, seed=3) > 0.1
    move = Affine.similarity(rotation, scale, source=(16, 20), target=(25, 30))
    whole = warp(texture(2, 50, 60), grid, move, onto, order, mask, block=1000)
    parts = warp(texture(2, 50, 60), grid, move, onto, order, mask, block=max(block, 5))
    assert np.array_equal(whole[0], parts[0])
    assert np.array_equal(whole[1], parts[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint64, np.float32, np.float64, bool])
@pytest.mark.parametrize("order", ["linear", "nearest"])
def test_nothing_changes_without_a_move(dtype: type, order: Order) -> None:
    picture: NDArray[Any] = (texture(2, 30, 40) * 250).astype(dtype)
    grid = Grid.of((30, 40), 0.37, unit="micrometre")
    values, footprint = warp(picture, grid, Affine.identity(), grid, order)
    assert values.dtype == picture.dtype
    assert np.array_equal(values, picture)
    assert footprint.all()


def assert_rounded(values: NDArray[Any], exact: NDArray[np.float64]) -> None:
    """Values are the nearest integers to exact ones; weights in single precision know those to a millionth of all."""
    assert np.abs(values - exact).max() <= 0.5 + 1e-6 * np.iinfo(values.dtype).max


@settings(max_examples=25, deadline=None)
@given(
    rotation=st.floats(0, 360),
    scale=st.floats(0.05, 4),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    block=st.integers(7, 64),
    masked=st.booleans(),
)
def test_blocks_well_inside_are_made_as_exactly_as_others(
    rotation: float, scale: float, dtype: type, block: int, masked: bool
) -> None:
    """A weight may be rounded otherwise in its last digit, and then a value that lies halfway goes to either side."""
    grid, onto = Grid.of((150, 160)), Grid.of((90, 100))
    picture: NDArray[Any] = (texture(2, 150, 160) * np.iinfo(dtype).max).astype(dtype)
    mask = texture(150, 160, seed=3) > 0.001 if masked else None
    move = Affine.similarity(rotation, scale, mirror=True, source=(45, 50), target=(75, 80))
    values, footprint = warp(picture, grid, move, onto, mask=mask, block=block)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("correlight.images.kernel._inner_block", lambda *_: None)
        expected, sampled = warp(picture, grid, move, onto, mask=mask, block=block)
    exact, _ = warp(picture.astype(np.float64), grid, move, onto, mask=mask, block=block)
    assert_rounded(values, exact)
    assert_rounded(expected, exact)
    assert np.array_equal(footprint, sampled)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 999),
    scale=st.floats(0.2, 2.5),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    block=st.integers(20, 300),
    masked=st.booleans(),
)
def test_blocks_well_inside_a_volume_are_made_as_exactly_as_others(
    seed: int, scale: float, dtype: type, block: int, masked: bool
) -> None:
    """A weight may be rounded otherwise in its last digit, and then a value that lies halfway goes to either side."""
    grid, onto = Grid.of((24, 50, 60), (2.0, 1.0, 1.0)), Grid.of((30, 35, 40))
    picture: NDArray[Any] = (texture(2, 24, 50, 60) * np.iinfo(dtype).max).astype(dtype)
    mask = texture(24, 50, 60, seed=3) > 0.001 if masked else None
    turned, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    move = Affine.of(scale * turned, grid.centre - scale * turned @ onto.centre)
    made = kernel._inner_block
    quick: list[bool] = []

    def counted(*given: Any) -> Any:
        quick.append(True)
        return made(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("correlight.images.kernel._inner_block", counted)
        values, footprint = warp(picture, grid, move, onto, mask=mask, block=block)
        patch.setattr("correlight.images.kernel._inner_block", lambda *_: None)
        expected, sampled = warp(picture, grid, move, onto, mask=mask, block=block)
    exact, _ = warp(picture.astype(np.float64), grid, move, onto, mask=mask, block=block)
    assert_rounded(values, exact)
    assert_rounded(expected, exact)
    assert np.array_equal(footprint, sampled)
    assert footprint.any()
    # Where the whole output lies inside, however it is turned, every block is one that can be made the quick way.
    half_diagonal = np.linalg.norm(np.subtract(onto.shape, 1)) / 2
    assert quick or scale * half_diagonal > min(grid.extent) / 2 - 2 * max(grid.spacing)


def test_most_blocks_are_made_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bool] = []
    made_pixels: list[int] = []
    quick = kernel._inner_block

    def watched(*given: Any) -> Any:
        found = quick(*given)
        made.append(found is not None)
        made_pixels.append(0 if found is None else found[1].size)
        return found

    monkeypatch.setattr("correlight.images.kernel._inner_block", watched)
    grid = Grid.of((600, 600))
    picture = (texture(1, 600, 600) * 255).astype(np.uint8)
    warp(picture, grid, Affine.similarity(5, 0.9, source=(300, 300)), Grid.of((600, 600)), block=100)
    assert all(made)
    # All but the rim, whose pieces have at most 64 pixels a side.
    assert sum(made_pixels) > 0.7 * 600**2
    # Whole pixels at the very edge have no neighbour beyond it.
    made_pixels.clear()
    values, footprint = warp(picture, grid, Affine.identity(), grid, block=100)
    assert sum(made_pixels) >= (600 - 2 * 50) ** 2
    assert np.array_equal(values, picture)
    assert footprint.all()


@pytest.mark.parametrize("coarser", [1, 3])
@pytest.mark.parametrize("block", [16, 50, 1024])
def test_bands_follow_one_another_and_make_the_whole(block: int, coarser: int) -> None:
    grid, onto = Grid.of((120, 130)), Grid.of((301, 170), 0.6).shrink(coarser)
    picture = (texture(3, 120, 130) * 255).astype(np.uint8)
    mask = CoarseMask(texture(12, 13, seed=5) > 0.1, (120, 130))
    move = Affine.similarity(15, 1.2, source=(70, 50), target=(40, 60))
    bands = list(Resampling(picture, grid, move, onto, mask=mask, block=block).bands())
    values, footprint = warp(picture, grid, move, onto, mask=mask[...])
    assert np.array_equal(np.concatenate([band for band, _ in bands], axis=1), values)
    assert np.array_equal(np.concatenate([inside for _, inside in bands]), footprint)
    assert all(band.shape[1] <= block for band, _ in bands)
    assert 0 < footprint.mean() < 1


def test_blocks_come_in_order_whoever_makes_them_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("correlight.images.resample.threads", lambda most: 4)
    picture = (texture(1, 100, 100) * 255).astype(np.uint8)
    grid = Grid.of((100, 100))
    places = [part.region for part in Resampling(picture, grid, Affine.identity(), grid, block=20).blocks()]
    assert places == sorted(places, key=lambda region: (region[0].start, region[1].start))
    assert len(places) == 25


def test_integers_are_rounded_to_the_nearest() -> None:
    picture = np.array([[0, 3, 65535, 65535]], np.uint16).repeat(4, axis=0)[None]
    values, _ = warp(picture, Grid.of((4, 4)), Affine.of(np.eye(2), (0, 0.6)), Grid.of((4, 3)))
    assert values[0, 0].tolist() == [2, round(3 + 0.6 * 65532), 65535]


def test_the_largest_integers_do_not_overflow() -> None:
    picture = np.full((1, 4, 4), 2**63 - 1)
    values, _ = warp(picture, Grid.of((4, 4)), Affine.of(np.eye(2), (0.5, 0.5)), Grid.of((3, 3)))
    assert values.min() > 2**62


def test_labels_keep_their_values() -> None:
    labels = np.zeros((1, 80, 80), np.int32)
    labels[0, 10:40, 10:70], labels[0, 50:70, 20:60] = 7, 100_000
    move = Affine.similarity(30, 1.3, source=(40, 40))
    nearest, _ = warp(labels, Grid.of((80, 80)), move, Grid.of((80, 80)), "nearest")
    linear, _ = warp(labels, Grid.of((80, 80)), move, Grid.of((80, 80)))
    assert set(np.unique(nearest)) == {0, 7, 100_000}
    assert len(np.unique(linear)) > 3


def test_only_what_rests_on_valid_pixels_counts_as_sampled() -> None:
    mask = np.ones((10, 10), bool)
    mask[4, 6] = False
    picture = texture(1, 10, 10)
    values, footprint = warp(picture, Grid.of((10, 10)), Affine.of(np.eye(2), (0.5, 0)), Grid.of((10, 10)), mask=mask)
    expected = np.ones((10, 10), bool)
    expected[9] = False
    expected[3:5, 6] = False
    assert np.array_equal(footprint, expected)
    # An invalid pixel is moved nevertheless: a mask may be wrong, and lost pixels do not come back.
    assert values[0, 4, 6] == pytest.approx((picture[0, 4, 6] + picture[0, 5, 6]) / 2)


def test_the_mask_of_an_image_is_used_and_nan_stays_where_it_is() -> None:
    picture = texture(1, 40, 40)
    picture[0, 10, 10] = np.nan
    image = Image.from_array(picture, spacing=0.5, mask=np.isfinite(picture[0]))
    values, footprint = warp(image, image.grid, Affine.identity(), image.grid)
    assert np.array_equal(footprint, np.isfinite(picture[0]))
    assert np.array_equal(np.isnan(values[0]), ~footprint)


def test_a_coarse_output_is_the_mean_of_blocks_and_not_a_sample() -> None:
    picture = texture(1, 60, 90)
    grid = Grid.of((60, 90), 0.1, unit="micrometre")
    values, footprint = warp(picture, grid, Affine.identity(), grid.shrink(3))
    assert np.abs(values[0] - picture[0].reshape(20, 3, 30, 3).mean(axis=(1, 3))).max() < 1e-6
    assert footprint.all()


def test_fine_stripes_vanish_instead_of_turning_into_moire() -> None:
    stripes = np.where(np.arange(400) % 2, 1.0, 0.0)[None, None].repeat(400, axis=1)
    onto = Grid.of((80, 80), 4.7, 5.0)
    values, footprint = warp(stripes, Grid.of((400, 400)), Affine.similarity(5, source=(200, 200)), onto)
    assert footprint.sum() > 5000
    assert values[0][footprint].std() < 0.01
    sampled, _ = warp(stripes, Grid.of((400, 400)), Affine.similarity(5, source=(200, 200)), onto, "nearest")
    assert sampled[0][footprint].std() > 0.4


class Watched:
    """Pixels that note how much of them was cut out at once."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.shape, self.dtype, self.largest, self.total = pixels, pixels.shape, pixels.dtype, 0, 0

    def __getitem__(self, key: tuple) -> np.ndarray:
        cut = self.pixels[key]
        self.largest, self.total = max(self.largest, cut.size), self.total + cut.size
        return cut


@pytest.mark.parametrize("coarser", [1, 8])
def test_pixels_on_disk_are_read_in_parts(coarser: int) -> None:
    pixels = Watched(texture(1, 1024, 1024))
    grid = Grid.of((1024, 1024))
    values, _ = warp(pixels, grid, Affine.similarity(10, source=(512, 512)), grid.shrink(coarser), block=128)
    # A block turned by 10 degrees needs a source (cos + sin)² = 1.34 times its area, and an edge of two output pixels.
    assert pixels.largest < 2 * 128**2
    assert pixels.total < 2 * 1024**2
    assert values.any()


def test_what_lies_outside_is_not_read() -> None:
    pixels = Watched(texture(1, 64, 64))
    far = Affine.of(np.eye(2), (1000, 0))
    values, footprint = warp(pixels, Grid.of((64, 64)), far, Grid.of((64, 64)))
    assert not values.any()
    assert not footprint.any()
    assert pixels.total == 0
    assert list(Resampling(pixels, Grid.of((64, 64)), far, Grid.of((64, 64))).blocks()) == []


def test_a_projective_map_shows_the_image_once() -> None:
    # Beyond the vanishing line at x = 50 positions come back into the image, mirrored.
    move = Projective(np.array([[1, 0, 0], [0, 1, 0], [0, -0.02, 1]]))
    _, footprint = warp(texture(1, 400, 400), Grid.of((400, 400)), move, Grid.of((60, 90)))
    assert footprint[5:55, 5:40].all()
    assert not footprint[:, 50:].any()


def test_every_kind_of_transform_is_followed() -> None:
    grid = Grid.of((60, 70))
    projective = Projective(np.array([[1, 0.02, 2], [-0.01, 1.03, 1], [1e-4, -2e-4, 1]]))
    direct, where = warp(texture(1, 60, 70), grid, projective, grid)
    joined, there = warp(texture(1, 60, 70), grid, Chain((projective, Affine.identity())), grid)
    assert np.abs(direct - joined)[:, where & there].max() < 1e-5
    field = Displacement(np.full((60, 70, 2), (3.0, -2.0)), grid)
    shifted, covered = warp(texture(1, 60, 70), grid, field, grid)
    assert np.array_equal(shifted[0, :57, 2:], texture(1, 60, 70)[0, 3:, :68])
    assert covered[:57, 2:].all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": np.zeros((1, 5, 6))}, "Pixels of shape"),
        ({"mask": np.ones((2, 2), bool)}, "A mask of shape"),
        ({"moving_from_fixed": Affine.identity(3)}, "as many axes"),
        ({"order": "cubic"}, "order of interpolation"),
        ({"block": 0}, "at least one pixel"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict, words: str) -> None:
    call = {
        "image": np.zeros((1, 6, 6)),
        "image_grid": Grid.of((6, 6)),
        "moving_from_fixed": Affine.identity(),
        "onto": Grid.of((6, 6)),
    }
    with pytest.raises(UsageError, match=words):
        warp(**{**call, **change})


def test_the_output_grid_covers_the_fixed_field_in_pixels_of_the_moving_image() -> None:
    fixed = Grid.of((100, 200), 0.01, unit="micrometre")
    moving = Grid.of((50, 50))
    # 25 moving pixels per micrometre: one moving pixel is 0.04 µm, four fixed ones.
    grid = output_grid(fixed, moving, Affine.similarity(30, 25.0, mirror=True), "moving")
    assert grid.shape == (25, 50)
    assert grid.spacing == pytest.approx((0.04, 0.04))
    assert grid.unit == "micrometre"
    assert grid.corners() == pytest.approx(fixed.corners())
    assert output_grid(fixed, moving, Affine.identity(), "fixed") == fixed


def test_a_pixel_size_that_does_not_divide_the_field_covers_a_little_more() -> None:
    fixed = Grid.of((100, 100), 0.01, unit="micrometre")
    grid = output_grid(fixed, fixed, Affine.identity(), 0.03)
    assert grid.shape == (34, 34)
    assert grid.spacing == (0.03, 0.03)
    assert grid.corners()[0] == pytest.approx(fixed.corners()[0])


@pytest.mark.parametrize(
    ("unit", "choice", "words"),
    [("pixel", 0.1, "states none"), ("micrometre", 0.0, "positive"), ("micrometre", 1e-9, "too large")],
)
def test_impossible_output_grids_are_refused(unit: Unit, choice: float, words: str) -> None:
    fixed = Grid.of((100, 100), unit=unit)
    with pytest.raises(UsageError, match=words):
        output_grid(fixed, fixed, Affine.identity(), choice)


def test_each_channel_is_moved_as_it_should_be() -> None:
    grid = Grid.of((90, 110))
    labels = np.kron(np.arange(99).reshape(9, 11), np.ones((10, 10))) * 7
    both = np.stack([texture(90, 110) * 700, labels, texture(90, 110, seed=4) * 700]).astype(np.uint16)
    move = Affine.similarity(20, 0.4, source=(100, 120), target=(45, 55))
    onto = Grid.of((200, 240))
    values, footprint = warp(both, grid, move, onto, ("linear", "nearest", "linear"), block=64)
    smooth, covered = warp(both, grid, move, onto, block=64)
    sharp, _ = warp(both, grid, move, onto, "nearest", block=64)
    assert np.array_equal(values, np.stack([smooth[0], sharp[1], smooth[2]]))
    assert np.array_equal(footprint, covered)
    assert set(np.unique(values[1])) <= set(np.unique(labels))
    bands = list(Resampling(both, grid, move, onto, ("linear", "nearest", "linear"), block=64).bands())
    assert np.array_equal(np.concatenate([band for band, _ in bands], axis=1), values)
    with pytest.raises(UsageError, match="each of 3 channels"):
        warp(both, grid, move, onto, ("linear", "nearest"))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("order", ["linear", "nearest"])
@pytest.mark.parametrize("tilt", [0.0, 8.0])
def test_a_section_fills_the_slice_that_it_lies_in(dtype: type, order: Order, tilt: float) -> None:
    """Every column of a stack meets the section once, in the slice that is nearest to it, however it is tilted."""
    section: NDArray[Any] = np.ones((1, 1, 60, 70), dtype)
    own = Grid.of((1, 60, 70), (2.0, 1.0, 1.0))
    angle = np.radians(tilt)
    turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    # Along z of the stack, one slice further is one thickness of the section further.
    turn[0] /= turn[0, 0]
    stack = Grid.of((20, 40, 50), (2.0, 1.0, 1.0))
    middle = stack.centre + np.array([0.4, 0, 0])
    move = Affine.of(turn, own.centre - turn @ middle)
    values, footprint = warp(section, own, move, stack, order)
    assert np.array_equal(values[0] == 1, footprint)
    assert (footprint.sum(axis=0) == 1).all()
    depth = np.argmax(footprint, axis=0) * 2.0
    plane = middle[0] + (np.arange(50) - middle[2]) * np.tan(angle)
    assert np.abs(depth - plane).max() <= 1 + 1e-9
