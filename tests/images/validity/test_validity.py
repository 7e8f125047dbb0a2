"""Padding and data bars are found where they are, and nowhere else."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from correlight.errors import UsageError
from correlight.images.validity import find_valid, find_valid_channels
from tests.phantoms import noise

Array = NDArray[Any]


def texture(shape: tuple[int, int], seed: int = 0, sigma: float = 1.5) -> Array:
    """Smooth noise over the whole range of 8 bits, as dense as an electron micrograph."""
    return np.clip(128 + 45 * noise(shape, seed, sigma), 0, 255).astype(np.uint8)


def moved(picture: Array, degrees: float, scale: float, mirrored: bool, fill: float) -> tuple[Array, Array]:
    """A picture turned on a canvas grown to hold all of it, and where the canvas shows the picture.

    The footprint is computed from pixel centres mapped back, apart from the warp.
    """
    height, width = picture.shape
    angle = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirrored:
        linear = linear @ np.diag([-1.0, 1.0])
    edges = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])
    corners = edges @ linear.T
    shift = -corners.min(axis=0) - 0.5
    size = np.ceil(np.ptp(corners, axis=0)).astype(int)
    canvas = cv2.warpAffine(
        picture, np.hstack([linear, shift[:, None]]), tuple(size.tolist()),
        flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=fill,
    )  # fmt: skip
    y, x = np.mgrid[: size[1], : size[0]]
    source = (np.stack([x, y], -1) - shift) @ np.linalg.inv(linear).T
    inside = (source >= -0.5) & (source <= np.array([width, height]) - 0.5)
    return canvas, inside.all(axis=-1)


def assert_found(mask: Array, footprint: Array) -> None:
    assert (mask & footprint).sum() / (mask | footprint).sum() > 0.97
    assert (mask & ~footprint).sum() <= 0.005 * (~footprint).sum()


def with_bar(picture: Array, rows: int = 60, paper: int = 0, ink: int = 255, noise: int = 0) -> Array:
    """A picture with a bar of writing below it."""
    bar = np.full((rows, picture.shape[1]), paper, np.uint8)
    cv2.putText(bar, "15.0 kV  WD 4.9 mm  x 20 000  SE2", (20, rows - 20), cv2.FONT_HERSHEY_SIMPLEX, 1, ink, 2)
    cv2.rectangle(bar, (0, 0), (bar.shape[1] - 1, rows - 1), ink, 1)
    rng = np.random.default_rng(1)
    bar = np.clip(bar.astype(int) + rng.integers(-noise, noise + 1, bar.shape), 0, 255).astype(np.uint8)
    return np.vstack([picture, bar])


TURNS = [(3.0, 1.0, False), (-9.0, 1.0, True), (33.0, 2.0, True), (65.0, 0.7, False), (141.0, 0.5, False)]


@pytest.mark.parametrize(("degrees", "scale", "mirrored"), TURNS)
@pytest.mark.parametrize("fill", ["median", 0, 255])
def test_padding_around_a_turned_picture_is_found(degrees: float, scale: float, mirrored: bool, fill: Any) -> None:
    picture = texture((420, 500))
    value = float(np.median(picture)) if fill == "median" else float(fill)
    canvas, footprint = moved(picture, degrees, scale, mirrored, value)
    validity = find_valid(canvas)
    assert_found(validity.mask, footprint)
    ignored = 100 * (1 - validity.mask.mean())
    assert validity.findings == (
        f"constant padding (value {value:g}) around the image, {ignored:.0f} % of the pixels, is ignored",
    )


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_padding_is_found_in_every_pixel_type(dtype: Any) -> None:
    picture = texture((400, 450), seed=3).astype(dtype) * dtype(257 if dtype is np.uint16 else 0.00391)
    canvas, footprint = moved(picture, 25, 1.2, False, float(np.median(picture)))
    assert_found(find_valid(canvas).mask, footprint)


def test_a_fill_that_is_frequent_in_the_content_is_kept_there() -> None:
    picture = texture((400, 400), seed=4) // 32 * 32
    fill = float(np.median(picture))
    assert (picture == fill).mean() > 0.2
    canvas, footprint = moved(picture, 20, 1.0, False, fill)
    mask = find_valid(canvas).mask
    assert_found(mask, footprint)
    inner = ndimage.binary_erosion(footprint, iterations=4)
    assert mask[inner].all()


def test_a_turn_on_a_canvas_of_the_same_size_leaves_corners_that_are_found() -> None:
    picture = texture((500, 600), seed=5)
    matrix = cv2.getRotationMatrix2D((299.5, 249.5), 12, 1.0)
    canvas = cv2.warpAffine(picture, matrix, (600, 500), borderValue=0)
    footprint = cv2.warpAffine(np.ones_like(picture), matrix, (600, 500), borderValue=0).astype(bool)
    assert_found(find_valid(canvas).mask, footprint)


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_a_strip_of_padding_is_found(side: str) -> None:
    picture = texture((300, 400), seed=6)
    windows: dict[str, Any] = {"left": np.s_[:, :30], "right": np.s_[:, -30:], "top": np.s_[:25], "bottom": np.s_[-25:]}
    window = windows[side]
    picture[window] = 0
    expected = np.ones(picture.shape, bool)
    expected[window] = False
    mask = find_valid(picture).mask
    assert not (mask & ~expected).any()
    assert (mask & expected).sum() > 0.99 * expected.sum()


def test_missing_tiles_of_a_mosaic_are_found() -> None:
    picture = texture((600, 800), seed=7)
    picture[:200, :200] = 0
    picture[400:, 600:] = 0
    validity = find_valid(picture)
    expected = np.ones(picture.shape, bool)
    expected[:200, :200] = False
    expected[400:, 600:] = False
    np.testing.assert_array_equal(validity.mask, expected)
    assert validity.findings == ("missing tiles or gaps of the constant value 0, 17 % of the pixels, are ignored",)


def test_padding_within_padding_is_found() -> None:
    inner, _ = moved(texture((300, 300), seed=8), 0, 1.0, False, 0)
    framed = cv2.copyMakeBorder(inner, 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=1)
    canvas = cv2.copyMakeBorder(framed, 50, 50, 50, 50, cv2.BORDER_CONSTANT, value=90)
    validity = find_valid(canvas)
    expected = np.zeros(canvas.shape, bool)
    expected[90:-90, 90:-90] = True
    assert_found(validity.mask, expected)
    assert [finding[:26] for finding in validity.findings] == [
        "constant padding (value 90",
        "constant padding (value 1)",
    ]


def sparse_nuclei() -> Array:
    """Bright blobs on an exact zero, some of them cut by the frame."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:500, :600]
    picture = np.zeros((500, 600))
    for centre in rng.uniform((0, 0), (500, 600), (9, 2)):
        distance = np.hypot(y - centre[0], x - centre[1])
        picture += np.where(distance < 30, rng.poisson(80, picture.shape), 0)
    return np.clip(picture, 0, 255).astype(np.uint8)


def disc() -> Array:
    """A round specimen on an exact zero, as a head in an MR slice."""
    y, x = np.mgrid[:400, :400]
    return np.where(np.hypot((y - 200) / 180, (x - 200) / 140) < 1, texture((400, 400)), 0).astype(np.uint8)


def counts() -> Array:
    """Photon counts, of which most are zero."""
    return np.random.default_rng(3).poisson(0.08, (400, 400)).astype(np.uint8)


def bright_field() -> Array:
    """Tissue of irregular outline on a saturated background."""
    outline = ndimage.gaussian_filter(np.random.default_rng(4).normal(size=(500, 500)), 40)
    return np.where(outline > 0, texture((500, 500)), 255).astype(np.uint8)


@pytest.mark.parametrize("make", [sparse_nuclei, disc, counts, bright_field, lambda: texture((300, 333))])
def test_ordinary_pictures_keep_every_pixel(make: Any) -> None:
    validity = find_valid(make())
    assert validity.mask.all()
    assert validity.findings == ()


def test_a_turned_sparse_picture_whose_fill_is_its_background_keeps_every_pixel() -> None:
    canvas, _ = moved(sparse_nuclei(), 30, 1.0, False, 0)
    assert find_valid(canvas).mask.all()


@pytest.mark.parametrize(("paper", "ink"), [(0, 255), (255, 0), (8, 230)])
@pytest.mark.parametrize("noise", [0, 2])
@pytest.mark.parametrize("at_top", [False, True])
def test_a_data_bar_is_found_to_the_row(paper: int, ink: int, noise: int, at_top: bool) -> None:
    picture = with_bar(texture((700, 900), seed=9), 60, paper, ink, noise)
    rows = np.arange(760) >= 700
    if at_top:
        picture, rows = picture[::-1], rows[::-1]
    validity = find_valid(picture)
    where = "top" if at_top else "bottom"
    assert validity.findings == (f"a data bar of 60 rows at the {where} is ignored",)
    np.testing.assert_array_equal(validity.mask, np.broadcast_to(~rows[:, None], picture.shape))


def test_a_bar_and_padding_are_found_together() -> None:
    picture = texture((700, 900), seed=10)
    picture[:, :100] = 50
    validity = find_valid(with_bar(picture))
    assert not validity.mask[700:].any()
    assert not validity.mask[:, :100].any()
    assert validity.mask[:700, 102:].all()
    assert len(validity.findings) == 2


def test_a_dark_lower_edge_is_no_bar() -> None:
    picture = texture((700, 900), seed=11)
    picture[640:] = np.clip(texture((60, 900), seed=12).astype(int) - 90, 0, 255)
    assert find_valid(picture).findings == ()


def test_pixels_that_are_no_numbers_are_invalid() -> None:
    picture = texture((200, 200)).astype(np.float32)
    picture[50:60, 20:30] = np.nan
    picture[70, 80] = np.inf
    validity = find_valid(picture)
    np.testing.assert_array_equal(validity.mask, np.isfinite(picture))
    assert validity.findings == ("pixels that are not finite numbers, 0.25 % of the pixels, are ignored",)


def test_channels_must_agree_on_padding() -> None:
    first, second = texture((300, 300), seed=13), texture((300, 300), seed=14)
    first[:, :60] = 0
    assert find_valid_channels((first, second)).mask.all()
    second[:, :60] = 7
    mask = find_valid_channels((first, second)).mask
    assert not mask[:, :60].any()
    assert mask[:, 62:].all()
    blank = np.zeros_like(first)
    np.testing.assert_array_equal(find_valid_channels((blank, first)).mask, find_valid(first).mask)


def test_a_data_bar_in_any_channel_counts() -> None:
    bar, plain = with_bar(texture((700, 900), seed=15)), texture((760, 900), seed=16)
    mask = find_valid_channels((plain, bar)).mask
    assert mask[:700].all()
    assert not mask[700:].any()


@pytest.mark.parametrize("channels", [(), (np.zeros((5, 5, 5)),), (np.zeros((5, 5)), np.zeros((5, 6)))])
def test_channels_of_unlike_shapes_are_misuse(channels: Any) -> None:
    with pytest.raises(UsageError, match=r"\(Y, X\)"):
        find_valid_channels(channels)


def grey_of(path: Path) -> list[Array]:
    """The channels of a real picture, read without the package."""
    if path.suffix == ".npy":
        return [np.load(path)]
    if path.suffix.startswith(".tif"):
        pixels = tifffile.imread(path)
        return [pixels] if pixels.ndim == 2 else list(pixels.reshape(-1, *pixels.shape[-2:])[:2])
    pixels = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    return [pixels if pixels.ndim == 2 else pixels[..., :3].mean(axis=-1)]


def test_of_the_real_pictures_only_bars_and_true_padding_are_found(data: Path) -> None:
    pairs = json.loads((data / "pairs.json").read_text(encoding="utf-8"))
    paths = sorted({data / pair[side] for pair in pairs for side in ("fixed", "moving") if side in pair})
    paths = [path for path in paths if path.suffix in (".png", ".jpg", ".npy", ".tif")]
    assert len(paths) > 20
    for path in paths:
        for grey in grey_of(path):
            findings = find_valid(grey).findings
            if path.parent.name == "multibse":
                assert findings == ("a data bar of 79 rows at the bottom is ignored",), path.name
            elif path.stem.endswith("Border20"):
                assert findings == ("constant padding (value 1) around the image, 33 % of the pixels, is ignored",), (
                    path.name
                )
            else:
                assert findings == (), path.name


REAL = [
    "deepclem/EM.png", "deepclem/pairs/s7_em.png", "birl/Rat-Kidney_HE.jpg", "birl/Izd2-29-041-w35_proSPC.jpg",
    "axondeepseg/image.png", "vnc/raw/00.tif",
    "multibse/Indent_20230912_7kV_spot4.5_FOV100um_multiBSE_A_05.tif",
]  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_padding_around_real_pictures_is_found(data: Path, name: str) -> None:
    picture = grey_of(data / name)[0]
    picture = picture[:1000, :1000]
    kept = picture.dtype if picture.dtype in (np.uint8, np.uint16) else np.dtype(np.float32)
    picture = picture.astype(kept)
    fill = float(np.array(np.median(picture)).astype(kept))
    for degrees, scale, mirrored in [(-7.0, 1.0, False), (52.0, 0.6, True), (200.0, 1.4, False)]:
        canvas, footprint = moved(picture, degrees, scale, mirrored, fill)
        assert_found(find_valid(canvas).mask, footprint)
