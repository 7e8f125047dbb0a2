from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from correlight import Grid
from correlight.simulate import Electron, Light, pair
from correlight.simulate import specimen as new_specimen
from correlight.simulate.model import Painting
from correlight.simulate.specimen import Specimen, SpecimenKind, centred
from correlight.transforms import Affine

CLEAN_ELECTRON = Electron(spot=0.5, grain=0.0, dose=2000.0, shading=0.0, streaks=0.0, charging=0.0, scratches=0)
BRIGHT_LIGHT = Light(photons=4000.0, background=0.01, haze=0.0, buried=0.0, vignetting=0.0, read_noise=1.0, dust=0)
NEW = ["tissue", "fibres", "neuropil", "plant"]
FIELD = Grid.of((240, 240), 0.1, unit="micrometre")


@cache
def specimen(kind: SpecimenKind, seed: int, extent: float) -> Specimen:
    """Several tests look at one specimen; to make it takes longer."""
    return new_specimen(kind, seed, extent=extent)


@cache
def drawing_of(kind: SpecimenKind, seed: int) -> Painting:
    return specimen(kind, seed, extent=30).paint(FIELD, centred(FIELD), 0.05)


def drawings(kind: SpecimenKind, count: int = 8) -> list[Painting]:
    return [drawing_of(kind, seed) for seed in range(count)]


def shown(section: Specimen) -> set[str]:
    return {shape.material.name for piece in section.parts for shape in piece.shapes}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "tissue",
            {"collagen", "elastin", "lumen", "secretion", "basement", "plasma", "erythrocyte", "heterochromatin"},
        ),
        ("fibres", {"collagen", "myofibril", "band", "disc", "myelin", "axoplasm", "mitochondrion", "heterochromatin"}),
        ("neuropil", {"process", "glia", "myelin", "mitochondrion", "vesicle", "density", "heterochromatin"}),
        ("plant", {"wall", "lignin", "middle lamella", "vacuole", "chloroplast", "thylakoid", "starch", "nucleolus"}),
    ],
)
def test_specimens_hold_what_a_microscopist_expects(kind, expected):
    together = set().union(*(shown(specimen(kind, seed, extent=40)) for seed in range(8)))
    assert expected <= together


@pytest.mark.parametrize("kind", ["cell", "grains", *NEW])
def test_no_shape_reaches_beyond_its_part(kind):
    """Instruments leave out parts whose circle misses the field; a shape outside it would vanish from some images."""
    for seed in range(3):
        for piece in specimen(kind, seed, extent=40).parts:
            for shape in piece.shapes:
                reach = np.hypot(*(shape.points - piece.centre).T).max() + shape.width / 2
                assert reach <= piece.radius, shape.material.name


@pytest.mark.parametrize("kind", NEW)
def test_the_field_is_filled_at_every_scale(kind):
    """Structure in every octave from 0.2 to 6 µm: the stain's standard deviation between a blur and the next."""
    octaves = []
    for drawing in drawings(kind, 4):
        stain = drawing.quantity("stain")
        blurred = [ndimage.gaussian_filter(stain, sigma / 0.1) for sigma in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)]
        octaves.append([np.std(fine - coarse) for fine, coarse in pairwise(blurred)])
    assert np.median(octaves, axis=0).min() > 0.01


@pytest.mark.parametrize("kind", NEW)
def test_every_resolution_shows_the_same_place(kind):
    section = specimen(kind, 5, extent=30)
    fine = Grid.of((480, 480), 0.05, unit="micrometre")
    place = Affine.similarity(rotation=31.0, source=fine.centre, target=(0.0, 0.0))
    blocks = section.paint(fine, place, 0.025).quantity("stain").reshape(120, 4, 120, 4).mean((1, 3))
    coarse = section.paint(fine.shrink(4), place, 0.025).quantity("stain")
    agreement = np.corrcoef(blocks.ravel(), coarse.ravel())[0, 1]
    assert agreement > 0.98
    assert np.corrcoef(blocks[:, 1:].ravel(), coarse[:, :-1].ravel())[0, 1] < agreement - 0.02


@pytest.mark.parametrize("kind", NEW)
def test_light_and_electrons_disagree_on_what_is_bright(kind):
    """Neither sign of the contrast holds over specimens, and no single specimen's images are copies."""
    agreement = []
    for seed in range(8):
        section = specimen(kind, seed, extent=20)
        electron = section.electron(0.2, (80, 80), optics=CLEAN_ELECTRON).grey(0)
        reflected = section.light(0.2, (80, 80), optics=BRIGHT_LIGHT).grey(1)
        agreement.append(np.corrcoef(electron.ravel(), reflected.ravel())[0, 1])
    assert min(agreement) < -0.2
    assert max(agreement) > 0.2
    assert np.abs(agreement).max() < 0.99


@pytest.mark.parametrize("kind", NEW)
def test_each_image_shows_what_the_other_does_not(kind):
    """Nuclei below the section are for light alone; fine membranes are for electrons alone."""
    section = specimen(kind, 4, extent=60)
    pictures = []
    for strength in (0.0, 0.5):
        optics = Light(photons=4000.0, haze=0.0, buried=strength, vignetting=0.0, read_noise=1.0, dust=0)
        pictures.append(section.light(0.2, (240, 240), optics=optics).grey(0))
    assert np.percentile(pictures[1] - pictures[0], 99.5) > 500
    names = {shape.material for piece in section.parts for shape in piece.shapes if shape.material.name == "membrane"}
    assert names
    assert all(material.stain > 0.5 and material.chromatin < 0.05 for material in names)


def test_glands_have_a_row_of_nuclei_around_a_lumen():
    """From the lumen outwards chromatin is met only after some epithelium, and then soon."""
    section = specimen("tissue", 1, extent=80)
    grid = Grid.of((800, 800), 0.1, unit="micrometre")
    drawing = section.paint(grid, centred(grid), 0.1)
    lumen = ndimage.binary_opening(drawing.fraction("lumen", "secretion") > 0.5, iterations=5)
    assert lumen.mean() > 0.005
    away = ndimage.distance_transform_edt(~lumen) * 0.1
    chromatin = drawing.fraction("heterochromatin", "nucleoplasm") > 0.5
    assert chromatin[(away > 0) & (away < 0.4)].mean() < 0.02
    assert chromatin[(away > 1) & (away < 8)].mean() > 0.05


def test_myelin_encloses_axons():
    """Every axon that is shown whole lies in a ring: filling the holes of the myelin swallows the axoplasm."""
    nerves = [d for d in drawings("fibres") if d.fraction("myelin").mean() > 0.1]
    assert nerves
    for drawing in nerves:
        myelin = drawing.fraction("myelin", "cytoplasm") > 0.3
        axons = drawing.fraction("axoplasm") > 0.5
        inside = ndimage.binary_fill_holes(np.pad(myelin, 1, constant_values=True))[1:-1, 1:-1]
        assert inside[axons].mean() > 0.9


def test_membranes_part_the_processes_of_neuropil():
    for drawing in drawings("neuropil", 4):
        share = drawing.fraction("membrane").mean()
        filled = drawing.fraction("process", "glia").mean()
        assert 0.02 < share < 0.4
        assert filled > 0.4


def test_neuropil_sizes_are_mixed():
    grid = Grid.of((500, 500), 0.02, unit="micrometre")
    areas = []
    for seed in range(4):
        drawing = specimen("neuropil", seed, extent=20).paint(grid, centred(grid), 0.01)
        regions, count = ndimage.label(drawing.fraction("membrane", "myelin") < 0.1)
        sizes = ndimage.sum_labels(np.ones(grid.shape), regions, range(1, count + 1)) * 0.02**2
        areas.append(sizes[sizes > 0.02])
    sizes = np.concatenate(areas)
    assert len(sizes) > 100
    assert np.quantile(sizes, 0.9) > 5 * np.quantile(sizes, 0.25)


@pytest.mark.parametrize("kind", NEW)
def test_pairs_of_every_kind_have_both_instruments(kind):
    both = pair(kind, 2, electron_shape=(96, 96), light_shape=(64, 64))
    assert both.fixed.channels == ("electron",)
    assert both.moving.channels == ("chromatin", "reflected", "particles")
    assert both.overlap >= 0.6
    assert both.fixed.grey(0).std() > 3
    again = pair(kind, 2, electron_shape=(96, 96), light_shape=(64, 64))
    assert np.array_equal(np.asarray(both.moving.levels[0]), np.asarray(again.moving.levels[0]))
