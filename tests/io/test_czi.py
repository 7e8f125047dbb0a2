"""CZI files: blocks that Zeiss's own library compressed, further axes, tiles with gaps, and what is not read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from correlight.errors import ReadError, UsageError
from correlight.io import read
from correlight.io.further import choose_views
from tests.vendor_files import CZI_METADATA, czi

pytest.importorskip("czifile", reason="czifile is not installed; it belongs to the extra formats")

DATA = Path(__file__).parents[1] / "data" / "czi"
ROWS, COLUMNS = np.mgrid[:40, :48]
GREY = (ROWS * COLUMNS * 31 % 60013).astype(np.uint16)
UPPER = (GREY >> 8).astype(np.uint8)
COLOURS = np.stack([UPPER, UPPER[::-1], UPPER[:, ::-1]], axis=-1)


def made(path: Path, *args: Any, **options: Any) -> Path:
    path.write_bytes(czi(*args, **options))
    return path


@pytest.mark.parametrize("codec", ["zstd0", "zstd1"])
def test_blocks_that_the_library_of_zeiss_compressed(codec: str) -> None:
    image = read(DATA / f"grey-{codec}.czi")
    np.testing.assert_array_equal(image.levels[0][0], GREY)
    assert image.grid.spacing == pytest.approx((0.02, 0.02))
    assert image.channels == ("GFP",)
    colours = read(DATA / f"colours-{codec}.czi")
    assert colours.rgb
    np.testing.assert_array_equal(colours.levels[0], np.moveaxis(COLOURS, -1, 0))


RGB, BGR = (bytes.fromhex(f"24c3dd6f034efe4bb1853d77768dc9{last}") for last in ("0d", "0c"))


def jpeg_xr(pixels: Any) -> bytes:
    """JPEG XR without loss; Zeiss marks colours as stored blue first, which decoders turn."""
    return bytes(imagecodecs.jpegxr_encode(pixels, level=1.0)).replace(RGB, BGR)


CODECS: dict[str, tuple[int, Callable[[Any], bytes]]] = {
    "JPEG XR": (4, jpeg_xr),
    "LZW": (
        2,
        lambda pixels: bytes(imagecodecs.lzw_encode(pixels[..., ::-1].tobytes() if pixels.ndim == 3 else pixels)),
    ),
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("pixels", [GREY, UPPER, COLOURS], ids=["16 bits", "8 bits", "colours"])
def test_blocks_without_loss_in_older_codecs(codec: str, pixels: Any, tmp_path: Path) -> None:
    number, encode = CODECS[codec]
    image = read(made(tmp_path / "a.czi", [(pixels, {})], CZI_METADATA, number, encode))
    expected = np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels[None]
    np.testing.assert_array_equal(image.levels[0], expected)


def test_jpeg_blocks_keep_their_colours(tmp_path: Path) -> None:
    smooth = np.stack([4 * ROWS, 4 * COLUMNS, 2 * (ROWS + COLUMNS)], axis=-1).astype(np.uint8)
    path = made(
        tmp_path / "a.czi", [(smooth, {})], CZI_METADATA, 1, lambda p: bytes(imagecodecs.jpeg_encode(p, level=99))
    )
    assert np.abs(read(path).levels[0].astype(int) - np.moveaxis(smooth, -1, 0)).max() < 8  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("number", "words"), [(3, "lossless JPEG"), (7, "chunked compression"), (150, "a camera"), (2000, "a program")]
)
def test_a_compression_that_is_not_read_is_named_and_not_called_damage(number: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=words) as caught:
        read(made(tmp_path / "a.czi", [(GREY, {})], CZI_METADATA, number, lambda pixels: b"12345678"))
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("number", [4, 5, 6])
def test_a_few_bytes_do_not_become_gigabytes(number: int, tmp_path: Path) -> None:
    bomb = bytes(imagecodecs.zstd_encode(bytes(200_000_000)))
    large = bytes(imagecodecs.jpegxr_encode(np.zeros((4000, 4000), np.uint16)))
    data = {4: large, 5: bomb, 6: b"\x01" + bomb}[number]
    with pytest.raises(ReadError) as caught:
        read(made(tmp_path / "a.czi", [(GREY, {})], CZI_METADATA, number, lambda pixels: data))
    assert "\n" not in str(caught.value)


def test_the_gap_of_a_mosaic_is_no_data() -> None:
    first, second = read(DATA / "mosaic.czi"), read(DATA / "mosaic.czi", scene=1)
    covered = np.zeros(GREY.shape, bool)
    for top, left in ((0, 0), (0, 20), (16, 0)):
        covered[top : top + 24, left : left + 28] = True
    np.testing.assert_array_equal(first.levels[0][0], np.where(covered, GREY, 0))
    np.testing.assert_array_equal(second.levels[0][0], np.where(covered, GREY + 10, 0))
    for image in (first, second):
        assert not image.valid()[~covered].any()
        assert image.valid()[covered].mean() > 0.95
        assert any("3 tiles are joined" in text for text in image.findings)
        assert any("no tile covers" in text for text in image.findings)
    assert any("2 images" in text for text in first.findings)


@pytest.mark.parametrize("axis", "VHIRB")
def test_further_axes_are_never_mixed(axis: str, tmp_path: Path) -> None:
    blocks = [(GREY + number, {axis: number, "C": channel}) for number in (0, 1, 2) for channel in (0, 1)]
    path = made(tmp_path / "a.czi", blocks, CZI_METADATA)
    image = read(path)
    np.testing.assert_array_equal(image.levels[0], np.stack([GREY, GREY]))
    assert any(f"(axis {axis}); the first is read" in text for text in image.findings)
    for view in (2, f"{axis}=2"):
        np.testing.assert_array_equal(read(path, view=view).levels[0], np.stack([GREY + 2, GREY + 2]))
    with pytest.raises(UsageError, match="no view"):
        read(path, view=3)


def test_the_place_along_a_further_axis_is_chosen() -> None:
    path = Path("a.czi")
    assert choose_views(path, {"V": 3, "H": 1}, 2)[0] == {"V": 2, "H": 0}
    chosen, findings = choose_views(path, {"V": 3, "H": 2}, "H=1, V=2")
    assert chosen == {"V": 2, "H": 1}
    assert findings == (
        "the file holds 3 views (axis V); number 2 is read",
        "the file holds 2 phases (axis H); number 1 is read",
    )
    for wanted, words in (
        (1, "could mean any of"),
        ("V=3", "no view V=3"),
        ("X=1", "no view X=1"),
        ("left", "got 'left'"),
    ):
        with pytest.raises(UsageError, match=words):
            choose_views(path, {"V": 3, "H": 2}, wanted)
    assert choose_views(path, {"V": 1}, 0) == ({"V": 0}, ())


def test_a_channel_without_pixels_is_left_out_and_said(tmp_path: Path) -> None:
    blocks = [(GREY, {"C": 0, "T": 0}), (GREY + 1, {"C": 1, "T": 0}), (GREY + 2, {"C": 1, "T": 1})]
    image = read(made(tmp_path / "a.czi", blocks, CZI_METADATA), time=1)
    np.testing.assert_array_equal(image.levels[0], [GREY + 2])
    assert image.channels == ("GFP",)
    assert "channel 0 (DAPI) is announced, but has no pixels here; it is left out" in image.findings


def test_levels_of_a_pyramid_are_no_tiles(tmp_path: Path) -> None:
    blocks = [(GREY, {}), (GREY[::2, ::2].copy(), {"shrunk": 2})]
    np.testing.assert_array_equal(read(made(tmp_path / "a.czi", blocks, CZI_METADATA)).levels[0][0], GREY)
    with pytest.raises(ReadError, match="only smaller levels"):
        read(made(tmp_path / "a.czi", blocks[1:], CZI_METADATA))


def test_a_file_that_is_still_being_written_is_not_called_damaged(tmp_path: Path) -> None:
    path = made(tmp_path / "a.czi", [(GREY, {})], CZI_METADATA)
    data = bytearray(path.read_bytes())
    data[100] = 1
    path.write_bytes(data)
    with pytest.raises(ReadError, match="was not closed") as caught:
        read(path)
    assert "damaged" not in str(caught.value)


def test_tiles_without_end_take_no_memory(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="cover less than"):
        read(made(tmp_path / "a.czi", [(GREY, {}), (GREY, {"X": 20_000, "Y": 20_000})], CZI_METADATA))


def test_the_stage_position_is_that_of_the_scene_or_else_of_the_middle_of_its_blocks(tmp_path: Path) -> None:
    assert read(made(tmp_path / "a.czi", [(GREY, {})], CZI_METADATA)).source["stage_position"] == (-200.25, 1500.5)
    without = CZI_METADATA.replace("CenterPosition", "Other")
    blocks = [
        (GREY, {"X": 48 * n, "C": c, "stage_y": "+000000120.5000", "stage_x": 10.0 * n}) for n in (0, 1) for c in (0, 1)
    ]
    assert read(made(tmp_path / "b.czi", blocks, without)).source["stage_position"] == (120.5, 5.0)
    half = read(made(tmp_path / "c.czi", [(GREY, {"stage_x": 1.0})], without))
    assert "stage_position" not in half.source
    assert "stage_position" not in read(made(tmp_path / "d.czi", [(GREY, {})], without)).source


def test_tiles_are_counted_once_whatever_the_number_of_channels(tmp_path: Path) -> None:
    blocks = [(GREY, {"X": 40 * n, "C": c, "Z": z}) for n in (0, 1) for c in (0, 1) for z in (0, 1, 2)]
    image = read(made(tmp_path / "a.czi", blocks, CZI_METADATA))
    assert "2 tiles are joined; in the 320 pixels where they overlap, the later is shown" in image.findings
