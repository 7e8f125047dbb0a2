"""Pictures against arithmetic that can be done by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images import display
from correlight.images.image import Image
from correlight.output.report import pictures, viewer
from correlight.search.pose import Pose
from correlight.transforms import Affine, Projective

SPARSE = pictures.Look("grey", "magenta", "bright")


@given(st.floats(1e-6, 1e6))
def test_nice_length_is_round_and_the_largest_that_fits(longest):
    length = pictures.nice_length(longest)
    assert length <= longest * (1 + 1e-6)
    assert length > longest / 2.5 * (1 - 1e-6)
    assert f"{length:.6e}"[0] in "125"


@pytest.mark.parametrize(
    ("length", "symbol", "words"),
    [(5, "µm", "5 µm"), (0.2, "µm", "200 nm"), (0.5, "px", "0.5 px"), (100, "px", "100 px")],
)
def test_length_label(length, symbol, words):
    assert pictures.length_label(length, symbol) == words


def test_display_has_square_pixels_and_is_never_finer_than_the_image():
    assert display.display_shape(Grid.of((100, 100), (2.0, 1.0)), 1600) == (200, 100)
    assert display.display_shape(Grid.of((5000, 10000)), 1600) == (800, 1600)
    assert display.display_shape(Grid.of((1, 10000)), 1600) == (1, 1600)


def test_stretch_ignores_what_is_masked_and_not_finite():
    values = np.linspace(0, 1, 1001)
    values[:2] = np.nan, np.inf
    valid = np.ones(1001, bool)
    values[-1], valid[-1] = 1e6, False
    grey = display.stretch(values, valid)
    assert grey[0] == 0
    assert grey[1] == 255
    assert grey[500] == pytest.approx(127, abs=2)
    assert display.stretch(np.full((3, 3), np.nan)).max() == 0
    assert display.stretch(np.full((3, 3), 7)).max() == 0


def test_stretch_shows_a_stain_too_sparse_for_percentiles():
    sparse = np.zeros((100, 100))
    sparse[5, 5] = 3.0
    assert display.stretch(sparse)[5, 5] == 255


@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "u4", "f2", "f4", ">f8"])
def test_resize_takes_means_of_areas_for_every_pixel_type(dtype):
    ramp = np.arange(64).reshape(8, 8).astype(dtype)
    means = ramp.reshape(2, 4, 2, 4).astype(float).mean(axis=(1, 3))
    # Whole-number types round to the nearest.
    assert np.abs(display.resize(ramp, (2, 2)) - means).max() <= (0.5 if dtype == "u1" else 0)


def test_tint_replaces_grey_in_proportion_to_light():
    fixed = np.array([[100, 100, 100]], np.uint8)
    moving = np.array([[0, 51, 255]], np.uint8)
    drawn = pictures.tinted(fixed, moving, (255, 0, 255))
    assert drawn.tolist() == [[[100, 100, 100], [131, 80, 131], [255, 0, 255]]]
    hidden = pictures.tinted(fixed, moving, (255, 0, 255), np.array([[True, True, False]]))
    assert hidden[0, 2].tolist() == [100, 100, 100]


def test_a_channel_has_one_colour_by_its_number():
    colours = [pictures.colour_of(number) for number in range(7)]
    assert colours == ["magenta", "green", "cyan", "yellow", "orange", "blue", "magenta"]
    assert pictures.colour_of(None) == "magenta"


def test_signal_is_what_stands_out_from_the_ground():
    dark = np.array([[0, 0, 0, 200]], np.uint8)
    assert np.array_equal(pictures.signal(dark), dark)
    assert np.array_equal(pictures.signal(255 - dark), dark)
    # Padding of a bright picture with black must not turn it over.
    padded = np.hstack([np.zeros((1, 9), np.uint8), 255 - dark])
    covered = np.arange(13)[None] >= 9
    assert np.array_equal(pictures.signal(padded, covered)[covered], dark[0])


def test_sample_is_linear_between_and_keeps_the_unknown_unknown():
    coarse, fine = Grid.of((3, 3), 10.0), Grid.of((21, 21), 1.0)
    plane = coarse.points(np.indices((3, 3)).reshape(2, -1).T).sum(axis=1).reshape(3, 3)
    expected = np.indices((21, 21)).sum(axis=0)
    # OpenCV interpolates with weights in steps of 1/32 of a pixel: 10 / 32 here, halved by rounding, on both axes.
    assert np.abs(pictures.sample(plane, coarse, fine) - expected).max() <= 10 / 32
    plane[0, 0] = np.nan
    holed = pictures.sample(plane, coarse, fine)
    assert np.isnan(holed[0, 0])
    assert np.isfinite(holed[10:, 10:]).all()


def test_heat_is_clear_where_nothing_is_known_and_brightens_with_the_value():
    layer = pictures.heat(np.array([[0.0, 0.5, 1.0, np.nan]]), 0, 1)
    assert layer[0, :, 3].tolist() == [255, 255, 255, 0]
    light = layer[0, :3, :3].astype(int) @ [2, 7, 1]
    assert light[0] < light[1] < light[2]


def test_micro_sign_differs_from_u_by_its_tail_only():
    micro, plain = pictures.lettering("µ", 40).astype(int), pictures.lettering("u", 40).astype(int)
    width = min(micro.shape[1], plain.shape[1])
    bottom = np.flatnonzero(plain.max(axis=1) > 60)[-1]
    assert np.count_nonzero(micro[bottom + 1 :] > 60) > 20
    # The tail hangs from the left stem.
    assert np.argwhere(micro[bottom + 1 :] > 60)[:, 1].max() < width / 2
    assert plain[bottom + 1 :].max() <= 60
    assert np.flatnonzero(micro.max(axis=1) > 60)[0] == np.flatnonzero(plain.max(axis=1) > 60)[0]


def test_the_font_has_every_letter_that_is_drawn():
    missing = pictures.lettering("\uffff", 40)
    letters = [chr(code) for code in range(33, 127)] + ["µ"]
    drawn = {letter: pictures.lettering(letter, 40) for letter in letters}
    assert len({picture.shape[0] for picture in drawn.values()}) == 1
    assert all(picture.any() and not np.array_equal(picture, missing) for picture in drawn.values())


def test_encode_keeps_the_order_of_colours():
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    coded = display.encode(red, "png")
    assert np.asarray(cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR))[0, 0].tolist() == [0, 0, 255]
    assert display.data_uri(coded).startswith("data:image/png;base64,")
    assert display.data_uri(display.encode(red, "jpeg")).startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("shape", [(0, 3), (70_000, 1)])
def test_encode_says_which_sizes_it_takes(shape):
    with pytest.raises(UsageError, match="1 to 65500 pixels a side"):
        display.encode(np.zeros(shape, np.uint8), "jpeg")


def test_smallest_level_that_is_fine_enough_is_read():
    class Level:
        dtype = np.dtype(np.uint8)

        def __init__(self, side: int, value: int) -> None:
            self.pixels = np.full((1, side, side), value, np.uint8)
            self.shape = self.pixels.shape

        def __getitem__(self, key):
            return self.pixels[key]

    image = Image((Level(64, 1), Level(32, 2), Level(16, 3)), Grid.of((64, 64)), ("c",))
    assert display.shrunk(image, 0, (20, 20)).max() == 2
    assert display.shrunk(image, 0, (16, 16)).max() == 3
    assert display.shrunk(image, None, (60, 60)).max() == 1


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("kind", [Affine, Projective])
def test_pose_picture_lays_the_spot_where_the_pose_says(mirror, kind):
    fixed = Image.from_array(np.full((120, 200), 128, np.uint8), spacing=0.5)
    pose = Affine.similarity(30, 3.0, mirror, source=fixed.grid.centre, target=(150, 130))
    # A square of 21 moving pixels, 3.5 fixed ones, is painted where the pose takes fixed pixel (30, 120).
    row, column = np.round(pose([[15.0, 60.0]])[0]).astype(int)
    moving_pixels = np.zeros((300, 260), np.uint8)
    moving_pixels[row - 10 : row + 11, column - 10 : column + 11] = 255
    moving = Image.from_array(moving_pixels)
    drawn = viewer.pose_picture(Pose(kind(pose.matrix), 1.0, 1.0), fixed, moving, (0, 0), SPARSE).astype(int)
    assert drawn.shape == (120, 200, 3)
    tint = np.clip(drawn[..., 0] - drawn[..., 1], 0, None)
    near = np.zeros_like(tint)
    near[18:42, 108:132] = tint[18:42, 108:132]
    rows, columns = np.indices(tint.shape)
    centre = (rows * near).sum() / near.sum(), (columns * near).sum() / near.sum()
    # Rounding the square to whole moving pixels leaves 0.5 / 1.5 fixed pixels per axis at this scale.
    assert centre == pytest.approx((30, 120), abs=0.4)


def test_pose_picture_of_a_real_pair_lays_chromatin_on_dark_nuclei(data, pairs):
    pair = pairs["deepclem-demo"]
    section = Image.from_array(np.asarray(cv2.imread(str(data / pair["fixed"]), cv2.IMREAD_GRAYSCALE)))
    stain = Image.from_array(np.asarray(cv2.imread(str(data / pair["moving"]), cv2.IMREAD_COLOR)).max(axis=2))
    true = Affine(np.vstack([pair["moving_from_fixed_px_yx"], [0, 0, 1]]))
    shape = display.display_shape(section.grid, 240)
    ground = display.stretch(display.shrunk(section, 0, shape)).astype(float)

    def brightness_under_stain(pose):
        drawn = viewer.pose_picture(Pose(pose, 1.0, 1.0), section, stain, (0, 0), SPARSE).astype(float)
        stained = (drawn[..., 0] - drawn[..., 1] > 120)[4:-4, 4:-4]
        return float(np.median(ground[4:-4, 4:-4][stained])) / float(np.median(ground))

    away = Affine.of(np.eye(2), (0.0, 60.0)) @ true
    assert brightness_under_stain(true) < 0.75 < brightness_under_stain(away)


def test_one_look_for_every_picture_of_a_pair() -> None:
    rng = np.random.default_rng(0)
    dense = rng.integers(90, 170, (40, 40)).astype(np.uint8)
    spots = np.where(rng.random((40, 40)) > 0.97, 255, 3).astype(np.uint8)
    # Two electron images: both in colour, so that neither hides the other; what agrees is grey.
    both = pictures.look_of(dense, dense)
    assert both == pictures.Look("green", "magenta", "screen")
    for channel in range(6):
        drawn = pictures.laid_over(dense, dense, None, pictures.look_of(dense, dense, channel=channel))
        assert np.ptp(drawn, axis=2).max() == 0
    # Spots on a dark ground: the electron image stays grey.
    assert pictures.look_of(dense, spots, channel=2) == pictures.Look("grey", "cyan", "bright")
    # Stained tissue on bright glass.
    assert pictures.look_of(dense, 255 - spots)[::2] == ("grey", "even")
