"""The shipped descriptor: geometry, masks, agreement between threads, and what it is for."""

import json

import cv2
import numpy as np
import pytest
from scipy import ndimage

from correlight.appearance import APPEARANCES
from correlight.appearance.channels import group
from correlight.appearance.descriptor import PLANES, STRIDE, learned, load, shipped
from correlight.appearance.features import features
from correlight.errors import ReadError, UsageError
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.simulate import pair


def blobs(seed: int, shape: tuple[int, int] = (200, 240)) -> np.ndarray:
    """Smooth noise with sharp-edged islands, from 0 to 1."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), 6)
    picture = 0.6 * (smooth > 0.3 * smooth.std()) + 0.4 * ndimage.gaussian_filter(rng.random(shape), 2)
    return np.asarray((picture - picture.min()) / np.ptp(picture), np.float32)


def test_planes_have_a_quarter_of_the_resolution_and_vectors_below_one() -> None:
    for shape in ((200, 240), (201, 243), (64, 67)):
        planes, support = shipped().planes(blobs(0, shape), np.ones(shape, bool))
        assert planes.shape == (PLANES, -(-shape[0] // STRIDE), -(-shape[1] // STRIDE))
        assert support.shape == planes.shape[1:]
        assert np.all(np.sum(planes.astype(float) ** 2, axis=0) < 1 + 1e-5)


def test_moving_an_image_by_four_pixels_moves_its_features_by_one() -> None:
    values = blobs(1, (240, 280))
    mask = np.ones((200, 240), bool)
    one, _ = shipped().planes(np.ascontiguousarray(values[:200, :240]), mask)
    other, _ = shipped().planes(np.ascontiguousarray(values[8:208, 4:244]), mask)
    # Away from the rim, which sees other pixels, only mean and deviation of the cut-outs differ.
    assert np.corrcoef(one[:, 17:-15, 16:-15].ravel(), other[:, 15:-17, 15:-16].ravel())[0, 1] > 0.99


def test_contrast_and_brightness_do_not_matter() -> None:
    values, mask = blobs(2), np.ones((200, 240), bool)
    one, other = (shipped().planes(picture, mask)[0] for picture in (values, np.float32(0.3) * values + np.float32(7)))
    assert np.abs(one - other).max() < 1e-3


def test_masked_pixels_do_not_matter() -> None:
    values, mask = blobs(3), np.ones((200, 240), bool)
    mask[:, 180:], mask[20:40, 30:60] = False, False
    other = np.where(mask, values, np.float32(9))
    one, two = (shipped().planes(picture, mask) for picture in (values, other))
    assert np.array_equal(one[0], two[0])
    assert not one[1][:, 45:].any()


def test_one_thread_and_two_agree() -> None:
    from importlib import resources

    values, mask = blobs(4), np.ones((200, 240), bool)
    with resources.as_file(resources.files("correlight.appearance") / "descriptor.onnx") as path:
        one, two = (load(path, threads).planes(values, mask)[0] for threads in (1, 2))
        assert path.stat().st_size < 5e6
    assert np.abs(one - two).max() < 1e-4


@pytest.mark.parametrize("kind", ["cell", "grains", "fibres"])
def test_eight_bits_and_six_planes_change_products_of_features_little(kind) -> None:
    couple = pair(kind, 3, electron_shape=(320, 320), light_shape=(256, 256))
    for image in (couple.fixed, couple.moving):
        plane = Plane.of(image, 0)
        exact = group(*shipped().planes(plane.values, plane.mask)).planes
        quick = learned(plane.values, plane.mask)[0].planes
        assert quick.shape == (6, *exact.shape[1:])
        # Products of the features of two places are what correlation sums; planes themselves may be turned.
        places = np.random.default_rng(0).integers(0, exact[0].size, (2, 4000))
        of_exact, of_quick = (
            np.sum(np.multiply(*(p.reshape(len(p), -1)[:, i] for i in places)), axis=0) for p in (exact, quick)
        )
        # Six planes hold 97 % of the energy of an image or more, and eight bits blur them by a hundredth.
        assert np.corrcoef(of_exact, of_quick)[0, 1] > 0.96
        assert np.sum(of_exact * of_quick) / np.sum(of_exact**2) == pytest.approx(1, abs=0.05)


def test_features_of_two_instruments_agree_where_they_show_the_same_and_nowhere_else() -> None:
    """The correlation over the field has its maximum within one pixel of a plane of the truth."""
    rights = 0
    for seed in range(6):
        couple = pair(
            "cell", seed, rotation=0.0, mirror=False, stretch=1.0, shear=0.0, electron_spacing=0.05,
            light_spacing=0.1, electron_shape=(480, 480), light_shape=(240, 240), data_bar=False,
        )  # fmt: skip
        # The light image at the pixels of the electron image, shifted as the truth says.
        fixed = cv2.resize(couple.fixed.grey(0), (240, 240), interpolation=cv2.INTER_AREA)
        moving = couple.moving.grey(0)
        ones, others = (learned(np.asarray(v, np.float32), np.ones(v.shape, bool))[0].planes for v in (fixed, moving))
        product = np.sum(np.fft.rfft2(ones, (160, 160)) * np.conj(np.fft.rfft2(others, (160, 160))), axis=0)
        peak = np.array(np.unravel_index(np.argmax(np.fft.irfft2(product, (160, 160))), (160, 160)))
        shift = np.where(peak >= 60, peak - 160, peak)
        middle = couple.moving_from_fixed.inverse()(couple.moving.grid.centre[None])[0] / 0.1 - 119.5
        rights += bool(np.hypot(*(shift - middle / STRIDE)) < 1.5)
    assert rights >= 5


def test_an_image_unlike_any_in_training_is_unusual() -> None:
    couple = pair("cell", 5, electron_shape=(320, 320), light_shape=(256, 256))
    known = Image.from_array(couple.fixed.levels[0][0])
    plane = Plane.of(known, 0)
    familiar = shipped().unusualness(plane.values, plane.mask)
    # Black and white squares, as on a printed code: no instrument of the training made such a picture.
    code = np.kron(np.random.default_rng(0).random((24, 24)) > 0.5, np.ones((12, 12))).astype(np.float32)
    strange = shipped().unusualness(code, np.ones(code.shape, bool))
    assert familiar < 1 < strange


def test_a_file_that_is_no_descriptor_is_refused(tmp_path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no network")
    with pytest.raises(ReadError, match=r"x\.onnx was expected to be a descriptor"):
        load(tmp_path / "x.onnx")


def test_every_appearance_keeps_its_promise() -> None:
    values, mask = blobs(5), np.ones((200, 240), bool)
    for appearance in APPEARANCES.values():
        assert {made.stride for made in appearance.search(values, mask)} == {appearance.stride}
        for made in (*appearance.search(values, mask), *appearance.refine(values, mask)):
            assert made.planes.shape[1:] == (-(-200 // made.stride), -(-240 // made.stride))
            assert made.energy[made.support].mean() == pytest.approx(1, abs=1e-3)


def test_features_lie_where_the_image_lies() -> None:
    grid = Grid((200, 240), (0.5, 0.5), (3.0, -2.0), "micrometre")
    image = Image((blobs(6)[None],), grid, ("a",))
    made = features(image)
    assert made.grid == Grid((50, 60), (2.0, 2.0), (3.0, -2.0), "micrometre")
    assert made.levels[0].shape == (PLANES, 50, 60)
    coarser = features(image, spacing=1.0)
    assert coarser.grid.spacing == (4.0, 4.0)
    assert coarser.grid.origin == pytest.approx((3.25, -1.75))


def test_a_volume_is_described_slice_by_slice() -> None:
    stack = np.stack([blobs(seed, (64, 80)) for seed in range(3)])
    grid = Grid((3, 64, 80), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), "micrometre")
    made = features(Image((stack[None],), grid, ("a",)))
    assert made.levels[0].shape == (PLANES, 3, 16, 20)
    assert made.grid.spacing == (2.0, 4.0, 4.0)
    single = features(Image.from_array(stack[1], 1.0))
    assert np.array_equal(made.levels[0][:, 1], np.asarray(single.levels[0]))


def test_features_refuse_what_they_cannot_describe() -> None:
    with pytest.raises(UsageError, match="positive"):
        features(Image.from_array(blobs(0)), spacing=-1.0)
    with pytest.raises(UsageError, match="at least 16 per side"):
        features(Image.from_array(blobs(0)), spacing=20.0)


def test_the_file_says_what_it_was_trained_on() -> None:
    facts = json.loads(shipped().session.get_modelmeta().custom_metadata_map["correlight"])
    assert facts["settings"]["steps"] > 1000
    assert set(facts["settings"]["kinds"]) >= {"cell", "grains", "tissue", "fibres", "neuropil"}
