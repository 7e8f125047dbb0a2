from typing import get_args

import numpy as np
import pytest
from scipy import ndimage

from correlight import Affine, Grid
from correlight.errors import UsageError
from correlight.simulate import Electron, Light, Specimen, specimen
from correlight.simulate.specimen import SpecimenKind

# No noise, no artefact: what is left is geometry.
CLEAN_ELECTRON = Electron(
    spot=0.5, grain=0.0, dose=2000.0, shading=0.0, streaks=0.0, charging=0.0, scratches=0, inverted=False
)
BRIGHT_LIGHT = Light(photons=4000.0, background=0.01, haze=0.0, buried=0.0, vignetting=0.0, read_noise=1.0, dust=0)
KINDS = get_args(SpecimenKind)
NUCLEUS = ("nucleoplasm", "heterochromatin", "nucleolus")


@pytest.fixture(scope="module")
def section() -> Specimen:
    return specimen(seed=5, extent=60)


def poses() -> list[Affine]:
    return [
        Affine.similarity(rotation=rotation, mirror=mirror, source=(12.8, 12.8), target=(3.0, -4.0))
        for rotation, mirror in ((0.0, False), (0.0, True), (117.0, False), (253.0, True))
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_pixels(kind):
    first, second = specimen(kind, 8, extent=40), specimen(kind, 8, extent=40)
    for take in (
        lambda s: s.electron(0.06, (96, 128)),
        lambda s: s.light(0.2, (48, 64)),
    ):
        assert np.array_equal(take(first).levels[0], take(second).levels[0])
        assert np.array_equal(take(first).levels[0], take(first).levels[0]), "looking must not change the specimen"


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_gives_another_specimen(kind):
    grid = Grid.of((96, 96), 0.2, unit="micrometre")
    place = Affine.of(np.eye(2), -grid.centre)
    maps = [specimen(kind, seed, extent=40).paint(grid, place, 0.2).quantity("stain") for seed in range(4)]
    for number, one in enumerate(maps):
        for other in maps[:number]:
            assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.35


def test_images_state_types_units_and_channels(section):
    electron = section.electron(0.06, (96, 128))
    light = section.light(0.2, (48, 64))
    assert (electron.dtype, light.dtype) == (np.uint8, np.uint16)
    assert electron.grid == Grid.of((96, 128), 0.06, unit="micrometre")
    assert light.grid == Grid.of((48, 64), 0.2, unit="micrometre")
    assert electron.channels == ("electron",)
    assert light.channels == ("chromatin", "reflected", "particles")
    assert specimen("grains", 0, extent=30).light(0.2, (32, 32)).channels == ("reflected",)


@pytest.mark.parametrize("place", poses())
def test_particles_lie_where_the_pose_sends_them(section, place):
    """Centroids of single particles against the positions the specimen states, mirrored, turned, and not.

    With 4000 photons at the peak the centroid of a Gaussian of sigma 1 px over a 7 px window is good to
    sqrt(window variance * background + sigma**2 * signal) / signal, below 0.02 px; a centroid in a finite window
    and neighbours outside it add a little. A mistake of half a pixel or of the sign would be ten times larger.
    """
    image = section.light(0.1, (256, 256), place, optics=BRIGHT_LIGHT)
    expected = image.grid.index(place.inverse()(section.particles))
    apart = np.hypot(*(expected[:, None] - expected[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(expected))
    alone = (apart.min(1) > 14) & np.all((expected > 6) & (expected < 249), axis=1)
    assert alone.sum() >= 3
    pixels = image.grey(2)
    pixels = pixels - np.median(pixels)
    for row, column in expected[alone]:
        y, x = round(row), round(column)
        window = np.clip(pixels[y - 4 : y + 5, x - 4 : x + 5], 0, None)
        found = np.add(ndimage.center_of_mass(window), (y - 4, x - 4))
        assert np.hypot(*(found - (row, column))) < 0.05


@pytest.mark.parametrize("mirror", [False, True])
def test_dense_particles_lie_there_in_the_electron_image_too(mirror):
    """Beads are discs of 9 drawn pixels, so their centroid is good to a fraction of a drawn pixel, 0.25 of these."""
    section = specimen(seed=8, extent=60)
    grid = Grid.of((800, 800), 0.06, unit="micrometre")
    place = Affine.similarity(rotation=117.0, mirror=mirror, source=grid.centre, target=(1.0, -2.0))
    shown = section.paint(grid, place, 0.015).fraction("particle")
    spots, count = ndimage.label(shown > 0)
    centres = np.array(ndimage.center_of_mass(shown, spots, range(1, count + 1)))
    expected = grid.index(place.inverse()(section.particles[section.dense]))
    expected = expected[np.all((expected > 4) & (expected < 795), axis=1)]
    assert len(expected) >= 10
    nearest = np.hypot(*(centres[None] - expected[:, None]).transpose(2, 0, 1)).min(1)
    # Two beads may touch and share a label; the median is of single ones.
    assert np.median(nearest) < 0.05


def test_every_resolution_shows_the_same_place(section):
    """A coarse picture is the fine one averaged: evaluated apart, yet pixel by pixel the same drawing."""
    fine = Grid.of((480, 480), 0.05, unit="micrometre")
    place = Affine.similarity(rotation=31.0, source=fine.centre, target=(0.0, 0.0))
    sharp = section.paint(fine, place, 0.025).quantity("stain")
    blocks = sharp.reshape(120, 4, 120, 4).mean((1, 3))
    coarse = section.paint(fine.shrink(4), place, 0.025).quantity("stain")
    assert np.corrcoef(blocks.ravel(), coarse.ravel())[0, 1] > 0.99
    # Moved by a single coarse pixel they agree far less, so the agreement above says where things are.
    assert np.corrcoef(blocks[:, 1:].ravel(), coarse[:, :-1].ravel())[0, 1] < 0.95


@pytest.mark.parametrize("place", poses()[2:])
def test_chromatin_glows_where_electrons_show_nuclei(section, place):
    light = section.light(0.1, (256, 256), place, optics=BRIGHT_LIGHT)
    nuclei = section.paint(light.grid, place).fraction(*NUCLEUS)
    glow = light.grey(0)
    assert 0.02 < (nuclei > 0.99).mean() < 0.6
    assert np.median(glow[nuclei > 0.99]) > 3 * np.median(glow[nuclei == 0])
    # The lens carries light at most 0.2 µm (more than two sigma) across the edge of a nucleus.
    reached = ndimage.binary_dilation(nuclei > 0, iterations=2)
    assert reached.mean() < 0.7
    assert reached[glow > np.percentile(glow, 98)].mean() > 0.99


def test_condensed_chromatin_is_dark_in_the_electron_image_and_bright_in_light(section):
    grid = Grid.of((400, 400), 0.06, unit="micrometre")
    place = Affine.of(np.eye(2), -grid.centre)
    electron = section.electron(0.06, (400, 400), place, optics=CLEAN_ELECTRON).grey(0)
    light = section.light(0.06, (400, 400), place, optics=BRIGHT_LIGHT).grey(0)
    drawing = section.paint(grid, place)
    clumps, plasm = drawing.fraction("heterochromatin") > 0.99, drawing.fraction("nucleoplasm") > 0.99
    assert electron[clumps].mean() < electron[plasm].mean() - 15
    assert light[clumps].mean() > 1.5 * light[plasm].mean()


def test_each_image_shows_what_the_other_does_not(section):
    """Mitochondria are for electrons alone; nuclei below the section, for light alone."""
    grid = Grid.of((400, 400), 0.06, unit="micrometre")
    place = Affine.of(np.eye(2), -grid.centre)
    drawing = section.paint(grid, place)
    mitochondria, cytoplasm = drawing.fraction("mitochondrion") > 0.9, drawing.fraction("cytoplasm") > 0.99
    electron = section.electron(0.06, (400, 400), place, optics=CLEAN_ELECTRON).grey(0)
    assert electron[mitochondria].mean() < electron[cytoplasm].mean() - 20
    stain = section.light(0.06, (400, 400), place, optics=BRIGHT_LIGHT).grey(0)
    far = ndimage.binary_erosion(drawing.fraction(*NUCLEUS) == 0, iterations=20)
    assert abs(stain[mitochondria & far].mean() - stain[cytoplasm & far].mean()) < 0.01 * stain.max()
    pictures = []
    for strength in (0.0, 0.5):
        optics = Light(photons=4000.0, haze=0.0, buried=strength, vignetting=0.0, read_noise=1.0, dust=0)
        pictures.append(section.light(0.06, (400, 400), place, optics=optics).grey(0))
    assert np.percentile(pictures[1] - pictures[0], 99) > 1000


def test_inverted_detector_turns_the_contrast(section):
    dark = section.electron(0.06, (128, 128), optics=CLEAN_ELECTRON).grey(0)
    bright = section.electron(0.06, (128, 128), optics=Electron(inverted=True, grain=0.0, scratches=0)).grey(0)
    assert np.corrcoef(dark.ravel(), bright.ravel())[0, 1] < -0.8


def test_light_is_blurred_to_the_stated_point_spread_function(section):
    """Second moment of a lone particle: the sigma that the optics state, plus a pixel's own 1/12."""
    optics = Light(aperture=0.8, photons=20000.0, gain=1.0, background=0.0, vignetting=0.0, read_noise=0.0)
    target = section.particles[np.argmin(np.hypot(*section.particles.T))]
    others = section.particles[np.any(section.particles != target, axis=1)]
    assert np.hypot(*(others - target).T).min() > 1.0
    place = Affine.of(np.eye(2), target - 0.03 * 15)
    spot = section.light(0.03, (31, 31), place, optics=optics).grey(2) - optics.offset
    y, x = np.mgrid[-15:16, -15:16]
    for axis in (y, x):
        # The window ends at 3.3 sigma, which takes 1 % off the variance.
        measured = np.sqrt(np.sum(spot * axis**2) / spot.sum() - 1 / 12) * 0.03
        assert measured == pytest.approx(optics.sigma(2), rel=0.03)


def test_noise_is_that_of_photons():
    """Beyond the edge of the specimen there is only background: its variance is gain squared times its photons."""
    optics = Light(photons=1000.0, background=0.2, haze=0.0, buried=0.0, vignetting=0.0, read_noise=0.0, gain=3.0)
    empty = Affine.of(np.eye(2), np.array([500.0, 500.0]))
    counts = specimen(seed=0, extent=20).light(0.1, (200, 200), empty, optics=optics).grey(2) - optics.offset
    assert counts.mean() == pytest.approx(3 * 200, rel=0.005)
    assert counts.var() == pytest.approx(9 * 200, rel=0.05)


@pytest.mark.parametrize("width", [256, 512, 1024])
def test_data_bar_is_burned_in_and_masked(section, width):
    plain = section.electron(0.05, (width // 2, width), optics=CLEAN_ELECTRON)
    barred = section.electron(0.05, (width // 2, width), optics=CLEAN_ELECTRON, data_bar=True)
    valid = barred.valid()
    rows = int((~valid[:, 0]).sum())
    assert plain.mask is None
    assert 16 <= rows < 0.1 * width
    assert np.array_equal(valid, np.broadcast_to(np.arange(width // 2)[:, None] < width // 2 - rows, valid.shape))
    assert np.array_equal(plain.grey(0)[valid], barred.grey(0)[valid])
    bar = barred.grey(0)[-rows + 1 :]
    assert np.median(bar) == 0
    assert 0.01 < (bar > 200).mean() < 0.3


def test_scale_bar_has_the_length_it_states(section):
    """The longest white run in the bar is the scale bar: a round number of micrometres."""
    bar = section.electron(0.05, (512, 1024), data_bar=True).grey(0)[-27:]
    runs = [len(run) for line in bar for run in "".join("#" if v == 255 else " " for v in line).split()]
    # 20 % of the 51.2 µm wide field is 10.2 µm; 10 µm are 200 pixels, ends included.
    assert max(runs) == 201


def test_grains_have_one_grey_each_and_boundaries():
    metal = specimen("grains", 2, extent=60)
    grid = Grid.of((300, 300), 0.1, unit="micrometre")
    place = Affine.of(np.eye(2), -grid.centre)
    drawing = metal.paint(grid, place)
    boundary, body = drawing.fraction("boundary"), drawing.fraction("grain", "second phase", "twin")
    assert 0.001 < boundary.mean() < 0.1
    assert body.mean() > 0.7
    regions, count = ndimage.label(body > 0.99)
    assert count >= 5
    stain = ndimage.mean(drawing.quantity("stain"), regions, range(1, count + 1))
    assert np.std(stain) > 0.02


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"kind": "brick"}, "cell, grains, tissue"),
        ({"seed": -1}, "seed of 0 or more"),
        ({"extent": 5.0}, "20 µm or more"),
    ],
)
def test_misuse_is_told_in_one_sentence(arguments, expected):
    with pytest.raises(UsageError, match=expected):
        specimen(**arguments)
