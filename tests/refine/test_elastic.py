"""Smooth fields beyond a linear map: found where they are, and none where there is none or nothing is known."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from correlight.appearance import APPEARANCES
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.images.resample import warp
from correlight.images.volume import Volume
from correlight.refine.described import described
from correlight.refine.discrete import search_displacements
from correlight.refine.elastic import ElasticChoice, choose_field
from correlight.refine.grey_features import self_similarity
from correlight.refine.lattice import Lattice
from correlight.refine.planes import PlanePair
from correlight.refine.related import assumed, related
from correlight.refine.smooth_fit import smoothed
from correlight.refine.supported import evidence_of
from correlight.refine.volumes import VolumePair, levels_of
from correlight.simulate import pair
from correlight.transforms import Affine, Transform
from tests.phantoms import bend, noise

CHANNELS = APPEARANCES["descriptor and edges"].refine


def nearest_affine(truth: Transform, grid: Grid) -> Affine:
    points = grid.lattice(16)
    columns = np.column_stack([points, np.ones(len(points))])
    found = np.linalg.lstsq(columns, truth(points), rcond=None)[0]
    return Affine.of(found[:-1].T, found[-1])


@cache
def specimen(kind: Any = "cell", size: int = 320) -> Image:
    """An electron image."""
    made = pair(kind, seed=3, electron_shape=(size, size), light_shape=(128, 128), data_bar=False)
    return made.fixed


def moved(image: Image, by: Transform) -> Image:
    """The image as another shows it that ``by`` leads to: the truth is ``by`` itself."""
    values, shown = warp(image, image.grid, by, image.grid)
    return replace(image, levels=(values,), mask=shown)


def chosen(fixed: Image, moving: Image, pose: Affine, channel: int = 0) -> ElasticChoice:
    planes = PlanePair(Plane.of(fixed, 0), Plane.of(moving, channel), CHANNELS)
    return choose_field(planes, pose)


def beyond(choice: ElasticChoice, image: Image) -> float:
    """Mean displacement beyond the linear map in pixels."""
    if choice.fit is None:
        return 0.0
    return float(choice.fit.moved.mean() / image.grid.spacing[0])


def test_an_image_is_not_bent_onto_itself_nor_onto_its_affinely_moved_copy() -> None:
    image = specimen()
    assert beyond(chosen(image, image, Affine.identity()), image) <= 0.02
    turn = Affine.of([[1.03, 0.06], [-0.05, 0.98]], np.zeros(2))
    middle = image.grid.centre
    truth = Affine.of(turn.linear, middle - turn.linear @ middle + 2.3 * np.asarray(image.grid.spacing))
    assert beyond(chosen(moved(image, truth), image, truth), image) <= 0.2


def test_noise_of_its_own_in_each_image_bends_nothing() -> None:
    image = specimen()
    rng = np.random.default_rng(0)
    pixels = np.asarray(image.levels[0], np.float32)
    noisy = [replace(image, levels=(pixels + rng.normal(scale=pixels.std(), size=pixels.shape),)) for _ in range(2)]
    choice = chosen(noisy[0], noisy[1], Affine.identity())
    assert beyond(choice, image) <= 0.1


@pytest.mark.parametrize("kind", ["cell", "grains"])
def test_a_smooth_field_is_found_and_does_not_fold(kind: Any) -> None:
    image = specimen(kind)
    truth = bend(image.grid, 4, 6.0)
    fixed = moved(image, truth)
    pose = nearest_affine(truth, image.grid)
    choice = chosen(fixed, image, pose)
    assert choice.fit is not None
    fit, pixel = choice.fit, image.grid.spacing[0]
    points = image.grid.lattice(30)
    seen = image.grid.contains(truth(points)) & (fit.evidence_at(points) > 0.5)
    assert seen.mean() > 0.6
    before = np.linalg.norm(pose(points) - truth(points), axis=1)[seen] / pixel
    after = np.linalg.norm(pose(fit.field(points)) - truth(points), axis=1)[seen] / pixel
    assert np.median(before) > 1.5
    assert np.median(after) <= 0.25
    assert np.percentile(after, 90) <= 0.8
    assert fit.field.smallest_volume > 0.5
    assert fit.field.residual <= 0.02 * pixel
    assert fit.gain >= 2.0
    assert "standard errors" in choice.reason
    # The fits to the halves know the field as well, without having seen each other's parts.
    for half in fit.halves:
        apart = np.linalg.norm(pose(half(points)) - truth(points), axis=1)[seen] / pixel
        assert np.median(apart) < 0.5


def test_exchanged_images_give_the_inverse() -> None:
    image = specimen()
    truth = bend(image.grid, 3, 6.0)
    fixed = moved(image, truth)
    there, back = (chosen(one, other, Affine.identity()).fit for one, other in ((fixed, image), (image, fixed)))
    assert there is not None
    assert back is not None
    points = image.grid.lattice(20)
    seen = (there.evidence_at(points) > 0.5) & (back.evidence_at(there.field(points)) > 0.5)
    apart = np.linalg.norm(back.field(there.field(points)) - points, axis=1)[seen] / image.grid.spacing[0]
    assert np.linalg.norm(there.field.displaced(points), axis=1)[seen].mean() / image.grid.spacing[0] > 1.5
    assert np.median(apart) < 0.4


def test_unrelated_images_get_no_field() -> None:
    one, other = specimen("cell"), specimen("grains")
    choice = chosen(one, replace(other, grid=one.grid), Affine.identity())
    assert choice.fit is None
    assert "linear map was kept" in choice.reason


def test_a_torn_region_is_found_without_evidence_and_does_not_pull() -> None:
    image = specimen()
    truth = bend(image.grid, 3, 6.0)
    fixed = moved(image, truth)
    pixels = np.array(fixed.levels[0])
    hole = (slice(None), slice(110, 190), slice(120, 210))
    # Resin shows where the section tore: noise, and the edge of the tear.
    rng = np.random.default_rng(2)
    pixels[hole] = np.clip(pixels.mean() + rng.normal(scale=0.1 * pixels.std(), size=pixels[hole].shape), 0, 255)
    pose = nearest_affine(truth, image.grid)
    fit = chosen(replace(fixed, levels=(pixels,)), image, pose).fit
    assert fit is not None
    inner = fixed.grid.points(np.argwhere(np.ones((40, 50), bool)) + np.array([130, 140]))
    border = 30
    around = fixed.grid.lattice(24)
    index = fixed.grid.index(around)
    outside = ((index < 90) | (index > 240)).any(axis=1) & ((index > border) & (index < 319 - border)).all(axis=1)
    assert fit.evidence_at(inner).mean() < 0.25
    assert fit.evidence_at(around[outside]).mean() > 0.7
    off = np.linalg.norm(pose(fit.field(around)) - truth(around), axis=1) / image.grid.spacing[0]
    assert np.median(off[outside]) < 0.3
    within = np.linalg.norm(pose(fit.field(inner)) - truth(inner), axis=1) / image.grid.spacing[0]
    assert np.median(within) < 2.0


@pytest.mark.parametrize("shines_through", [False, True])
def test_a_fold_is_found_without_evidence_unless_what_lies_below_shines_through(shines_through: bool) -> None:
    image = specimen()
    truth = bend(image.grid, 3, 6.0)
    fixed = moved(image, truth)
    pixels = np.array(fixed.levels[0], float)
    # A flap is folded back over the tissue beside it; resin shows where it came from.
    rows, below, bare = slice(90, 230), slice(130, 210), slice(210, 290)
    flap = pixels[:, rows, bare][..., ::-1].copy()
    over = pixels[:, rows, below] * flap / pixels.max() if shines_through else flap
    pixels[:, rows, bare] = 0.9 * pixels.max() + np.random.default_rng(2).normal(scale=5.0, size=flap.shape)
    pixels[:, rows, below] = over
    pose = nearest_affine(truth, image.grid)
    fit = chosen(replace(fixed, levels=(pixels,)), image, pose).fit
    assert fit is not None

    def places(first: tuple[int, int], last: tuple[int, int]) -> np.ndarray:
        return fixed.grid.points(np.argwhere(np.ones(np.subtract(last, first), bool)) + np.asarray(first))

    def off(where: np.ndarray) -> float:
        apart = np.linalg.norm(pose(fit.field(where)) - truth(where), axis=1)
        return float(np.median(apart) / image.grid.spacing[0])

    folded, resin = places((110, 145), (210, 195)), places((110, 225), (210, 275))
    assert fit.evidence_at(resin).mean() < 0.25
    for whole in (places((30, 30), (70, 290)), places((250, 30), (290, 290)), places((30, 30), (290, 110))):
        assert fit.evidence_at(whole).mean() > 0.7
        assert off(whole) < 0.3
    if shines_through:
        assert off(folded) < 0.5
        return
    assert fit.evidence_at(folded).mean() < 0.25
    assert fit.deviation_at(folded).mean() > 1.5 * fit.deviation_at(whole).mean()


def stack(shape: tuple[int, int, int] = (16, 48, 48), seed: int = 0) -> Image:
    return Image.from_array(np.asarray(noise(shape, seed, (1.2, 2.0, 2.0)), np.float32)[None], (0.4, 0.2, 0.2))


@pytest.mark.slow
def test_a_field_in_space_is_found_between_stacks_of_inverted_contrast() -> None:
    image = stack()
    truth = bend(image.grid, 2, 2.5)
    fixed = moved(image, truth)
    other = replace(image, levels=(np.exp(-np.asarray(image.levels[0])),))
    volumes = [Volume.of(one, 0, 0.1) for one in (fixed, other)]
    both = VolumePair(levels_of(volumes[0], volumes[1], 1.0, [0.2]))
    fit = choose_field(both, Affine.identity(3)).fit
    assert fit is not None
    points = image.grid.lattice(10)
    seen = fit.evidence_at(points) > 0.5
    assert seen.mean() > 0.4
    voxel = np.asarray(image.grid.spacing)
    before = np.linalg.norm((truth(points) - points) / voxel, axis=1)[seen]
    after = np.linalg.norm((fit.field(points) - truth(points)) / voxel, axis=1)[seen]
    assert np.median(before) > 1.0
    assert np.median(after) < 0.5
    assert fit.field.smallest_volume > 0
    same = VolumePair(levels_of(volumes[1], volumes[1], 1.0, [0.2]))
    none = choose_field(same, Affine.identity(3))
    assert none.fit is None or none.fit.moved.mean() < 0.02 * 0.2


def test_the_search_sees_whole_displacements_in_both_directions() -> None:
    image = specimen()
    shift = Affine.of(np.eye(2), 8.0 * np.asarray(image.grid.spacing) * (1, -1))
    planes = PlanePair(Plane.of(moved(image, shift), 0), Plane.of(image, 0), CHANNELS)
    images = described([planes], Affine.identity(), 256)
    assert images is not None
    rough = assumed(images)
    assert rough is not None
    found = search_displacements(rough.thinned(160))
    sure = found.weights > 0.8
    assert sure.mean() > 0.5
    expected = np.array([8.0, -8.0]) * image.grid.spacing[0]
    assert np.abs(np.median(found.vectors[sure], axis=0) - expected).max() < 1.2 * image.grid.spacing[0]


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_lattice_reproduces_a_smooth_velocity_and_bends_as_little_as_nothing(ndim: int) -> None:
    field = Grid.of((30, 40, 36)[-ndim:], 0.5, 1.0, "micrometre")
    coarse, fine = Lattice.over(field, 2), Lattice.over(field, 4)
    numbers = np.random.default_rng(0).normal(size=(coarse.count, ndim))
    points = field.lattice(16)
    speed = coarse.design(points) @ numbers
    assert np.abs(coarse.velocity(numbers).velocity).max() == np.abs(numbers).max()
    found = smoothed(fine, points, speed, np.ones(len(points)), bending=1e-6)
    assert np.abs(fine.design(points) @ found - speed).max() < 0.03 * np.abs(speed).max()
    # Bending: not negative, and none but at the rim for what is the same everywhere.
    assert np.sum(numbers * (coarse.bending @ numbers)) > 0
    inner = (fine.bending @ np.ones(fine.count)).reshape(fine.inner)
    assert np.abs(inner[(slice(2, -2),) * ndim]).max() < 1e-12


def test_features_of_volumes_do_not_care_about_contrast() -> None:
    values = np.asarray(stack().levels[0][0], np.float32)
    one, other = self_similarity(values), self_similarity(-2 * values + 3)
    assert one.shape == (6, *values.shape)
    assert np.abs(one - other).max() < 1e-3
    assert self_similarity(values[:2]).shape[0] == 4


def test_evidence_needs_something_to_see() -> None:
    image = specimen()
    planes = PlanePair(Plane.of(image, 0), Plane.of(image, 0), CHANNELS)
    images = described([planes], Affine.identity(), 256)
    assert images is not None
    alike = related(images, None)
    assert alike is not None
    assert evidence_of(alike, None)[images.shown].mean() > 0.8
    blind = replace(alike, moving=np.zeros_like(alike.moving))
    assert evidence_of(blind, None).max() == 0
