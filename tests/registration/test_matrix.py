"""Every recipe with every kind of images and every option: it runs as it says, or it says in one sentence why not."""

from typing import Any

import numpy as np
import pytest

from correlight.beads.method import BeadCandidate, BeadFit
from correlight.errors import UsageError
from correlight.images.image import Image
from correlight.intensity.fit import ImageFit
from correlight.intensity.planes import PlaneCandidate
from correlight.intensity.volumes import VolumeCandidate
from correlight.methods.protocols import DIMENSIONS, OPTIONS, Dimension
from correlight.methods.task import Fit, ImagePair, Task
from correlight.point_clouds.method import CloudTransform
from correlight.recipes import Recipe, load, names
from correlight.registration.finish import finish as known
from correlight.registration.options import Methods, Options, check, dimension_of
from correlight.registration.register import register
from correlight.registration.result import Result
from correlight.registration.stack import prepared_stacks
from correlight.search.limits import Limits, claimed_scale
from correlight.transforms import Affine
from tests.small_pairs import Couple, cell_with_beads, organelles, section, stacks, stacks_of_beads

FLAT = Image.from_array(np.random.default_rng(0).random((40, 50)).astype(np.float32), 0.1)
STACK = Image.from_array(np.random.default_rng(1).random((1, 12, 40, 50)).astype(np.float32), (0.3, 0.1, 0.1))
IMAGES: dict[Dimension, tuple[Image, Image]] = {
    "2-D": (FLAT, FLAT),
    "3-D": (STACK, STACK),
    "section in stack": (FLAT, STACK),
}
KINDS_OF_TRANSFORM = ("rigid", "similarity", "affine", "projective", "elastic")

ALL: frozenset[str] = frozenset(OPTIONS)
LINEAR = frozenset(KINDS_OF_TRANSFORM[:3])
# What each recipe takes of options and of kinds of transform; what is not here is refused.
IN_THE_PLANE: dict[Dimension, frozenset[str]] = {"2-D": ALL | LINEAR | {"projective", "elastic"}}
BEADS_IN_THE_PLANE: dict[Dimension, frozenset[str]] = {"2-D": ALL | LINEAR | {"projective"}}
STACKS: dict[Dimension, frozenset[str]] = {"3-D": ALL | LINEAR | {"elastic"}, "section in stack": ALL | LINEAR}
CLOUDS = frozenset({"mirror", "start", "elastic"}) | LINEAR
SERVED: dict[str, dict[Dimension, frozenset[str]]] = {
    "auto": {**IN_THE_PLANE, **STACKS},
    "classical": {**IN_THE_PLANE, **STACKS},
    "descriptor": {**IN_THE_PLANE, **STACKS},
    "mutual-information": {**IN_THE_PLANE, **STACKS},
    "neural-mi": {**IN_THE_PLANE, "3-D": STACKS["3-D"]},
    "volumes-any-axis": STACKS,
    "log-mi-3d": {dimension: taken - {"rotation", "mirror"} for dimension, taken in STACKS.items()},
    "fiducials": {**BEADS_IN_THE_PLANE, "3-D": STACKS["3-D"] - {"rotation", "elastic"}},
    "fiducials-then-image": {**IN_THE_PLANE},
    "image-then-fiducials": {**BEADS_IN_THE_PLANE},
    "point-clouds": {"2-D": CLOUDS, "3-D": CLOUDS},
}
RUNS = [(recipe, dimension) for recipe, served in SERVED.items() for dimension in served]


def asked(dimension: Dimension) -> dict[str, dict[str, Any]]:
    """Every option, alone."""
    ndim = 2 if dimension == "2-D" else 3
    values = {"rotation": (0.0, 90.0), "scale": (0.9, 1.1), "mirror": False, "start": Affine.identity(ndim), "pose": 1}
    alone: dict[str, dict[str, Any]] = {name: {name: values[name]} for name in OPTIONS}
    return {**alone, **{model: {"model": model} for model in KINDS_OF_TRANSFORM}}


def test_the_table_names_every_recipe_that_ships() -> None:
    assert sorted(SERVED) == names()


@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize("recipe", sorted(SERVED))
def test_every_option_is_taken_or_refused_in_one_sentence(recipe: str, dimension: Dimension) -> None:
    """What is refused is refused by `register` before it looks at a pixel; what is taken runs further below."""
    chosen, images = load(recipe), IMAGES[dimension]
    assert dimension_of(*images) == dimension
    taken = set()
    for name, option in {"": {}, **asked(dimension)}.items():
        try:
            check(chosen, Methods.of(chosen), dimension, Options(**option))
        except UsageError as refusal:
            expected = str(refusal)
        else:
            taken.add(name)
            continue
        with pytest.raises(UsageError) as caught:
            register(*images, recipe, **option)
        said = str(caught.value)
        assert said == expected
        assert recipe in said
        assert said.endswith(".")
        assert ". " not in said
        assert "\n" not in said
        # It says what would have been taken.
        assert any(word in said for word in ("registers", "it takes", "is one of"))
    assert taken == ({""} | SERVED[recipe][dimension] if dimension in SERVED[recipe] else set())


def made_for(recipe: str, dimension: Dimension) -> Couple:
    """A small pair that a recipe is for."""
    if recipe == "point-clouds":
        return organelles(2 if dimension == "2-D" else 3)
    if recipe == "fiducials" and dimension == "3-D":
        return stacks_of_beads()
    if dimension == "2-D":
        return cell_with_beads()
    # Patches are for stacks that are not turned.
    rotation = 0.0 if recipe == "log-mi-3d" else 40.0
    return stacks(rotation) if dimension == "3-D" else section(rotation)


def around(pair: Couple, taken: frozenset[str]) -> dict[str, Any]:
    """The limits that a recipe takes, all at once, around the truth."""
    truth = pair.moving_from_fixed
    claimed = claimed_scale(pair.fixed.grid, pair.moving.grid)
    assert claimed is not None
    size, angle = claimed * truth.scale, turned(truth)
    options = {
        "rotation": (angle - 25, angle + 25),
        "scale": (0.93 * size, 1.07 * size),
        "mirror": False,
    }
    return {name: value for name, value in options.items() if name in taken}


def turned(transform: Affine) -> float:
    """Degrees in the plane."""
    return Affine.of(transform.linear[-2:, -2:], np.zeros(2)).rotation


# Mean error that is allowed, in micrometres: a third of a pixel of the light image, half a voxel.
ALLOWED = {"2-D": 0.05, "3-D": 0.5, "section in stack": 0.5}
# What a recipe must have made its transform with.
MEASURES = {
    "mutual-information": {"mutual information"},
    "log-mi-3d": {"mutual information"},
    "neural-mi": {"neural mutual information"},
}


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[Fit]:
    """What the refinements hand over."""
    handed: list[Fit] = []

    def finish(pair: ImagePair, fit: Fit, *rest: Any) -> Result:
        handed.append(fit)
        return known(pair, fit, *rest)

    monkeypatch.setattr("correlight.registration.register.finish", finish)
    return handed


@pytest.mark.parametrize(("recipe", "dimension"), RUNS)
def test_what_is_served_runs_as_the_recipe_says(recipe: str, dimension: Dimension, fits: list[Fit]) -> None:
    pair = made_for(recipe, dimension)
    options = around(pair, SERVED[recipe][dimension])
    if recipe in ("fiducials", "log-mi-3d"):
        # The first pose by its rank; it is judged once more, which is quick here.
        options["pose"] = 1
    if (recipe, dimension) == ("neural-mi", "3-D"):
        # One kind of transform, or else it climbs to three.
        options["model"] = "rigid"
    found = register(pair.fixed, pair.moving, recipe, workers=1, **options)
    assert found.recipe == recipe
    assert found.model == options.get("model", found.model)
    fit = fits[-1]
    if (recipe, dimension) == ("log-mi-3d", "section in stack"):
        # Patches of one slice are compared with a projection of the whole stack, where this one cannot be recognised.
        assert found.status == "refused"
    else:
        assert found.status == "accepted", found.verdict.reasons
        assert pair.error(found) < ALLOWED[dimension]
    if recipe == "point-clouds":
        assert isinstance(fit, CloudTransform)
    elif recipe == "fiducials":
        assert isinstance(fit, BeadFit)
        assert isinstance(fit.candidate, BeadCandidate)
    elif recipe == "image-then-fiducials":
        assert isinstance(fit, BeadFit)
        assert isinstance(fit.candidate, PlaneCandidate)
        assert fit.candidate.found_by is None
    else:
        assert isinstance(fit, ImageFit)
        assert fit.choice.measure in MEASURES.get(recipe, {"features", "mutual information"})
        assert isinstance(fit.candidate, PlaneCandidate if dimension == "2-D" else VolumeCandidate)
        if recipe == "fiducials-then-image":
            assert isinstance(fit.candidate, PlaneCandidate)
            assert isinstance(fit.candidate.found_by, BeadCandidate)
    if recipe in ("fiducials", "image-then-fiducials"):
        assert any("are expected by chance" in one.sentence for one in found.verdict.evidence)


@pytest.mark.parametrize("dimension", ["2-D", "3-D"])
def test_neural_mi_is_not_mutual_information_under_another_name(dimension: Dimension, fits: list[Fit]) -> None:
    """The same search and model, so that only the measure differs: other transforms, other halves, both right."""
    pair, recipe = made_for("neural-mi", dimension), load("neural-mi")
    other = recipe.with_settings("refinement", measure="mutual information")
    for one in (recipe, other):
        register(pair.fixed, pair.moving, one, model="rigid", workers=1, **around(pair, SERVED["neural-mi"][dimension]))
    neural, plain = fits
    assert isinstance(neural, ImageFit)
    assert isinstance(plain, ImageFit)
    assert (neural.choice.measure, plain.choice.measure) == ("neural mutual information", "mutual information")
    places, pixel = pair.fixed.grid.lattice(5), max(pair.fixed.grid.spacing)

    def apart(one: Any, two: Any) -> float:
        return float(np.linalg.norm(one(places) - two(places), axis=1).mean())

    assert 1e-4 * pixel < apart(neural.transform, plain.transform) < pixel
    for half, same in zip(neural.choice.halves, plain.choice.halves, strict=True):
        assert apart(half, same) > 1e-4 * pixel


SEARCHES = [
    (recipe, dimension)
    for recipe in ("classical", "mutual-information", "log-mi-3d", "fiducials")
    for dimension in SERVED[recipe]
]


def searched(recipe: Recipe, pair: Couple, limits: Limits, start: Affine | None = None) -> list[Affine]:
    """The poses that the search of a recipe finds."""
    methods = Methods.of(recipe)
    appearance = methods.appearance.appearance if methods.appearance is not None else None
    flat = dimension_of(pair.fixed, pair.moving) == "2-D"
    images = (pair.fixed, pair.moving) if flat else prepared_stacks(pair.fixed, pair.moving)
    task = Task(ImagePair(*images, appearance=appearance), limits, start=start)
    return [pose.linear for pose in methods.search.find(task).poses]


@pytest.mark.parametrize(("recipe", "dimension"), SEARCHES)
def test_a_search_keeps_to_limits_that_the_truth_lies_beyond(recipe: str, dimension: Dimension) -> None:
    """So that a limit that a search says it heeds, and does not, is found."""
    pair, options = made_for(recipe, dimension), SERVED[recipe][dimension]
    angle = turned(pair.moving_from_fixed) + 90
    limits = Limits(
        (1.25, 1.35),
        (angle - 15, angle + 15) if "rotation" in options else (0.0, 360.0),
        (True,) if "mirror" in options else (False, True),
        0.35,
    )
    poses = searched(load(recipe), pair, limits)
    if "mirror" in options:
        # Searches by images mirror in the plane, and try both directions of z besides; beads mirror in space.
        axes = 3 if recipe == "fiducials" and dimension == "3-D" else 2
        assert all(np.linalg.det(pose.linear[-axes:, -axes:]) < 0 for pose in poses)
    if dimension != "2-D":
        # Wrong poses of stacks run off when they are refined; that they were searched elsewhere is what can be said.
        middle = pair.places.mean(axis=0)[None]
        there = pair.moving_from_fixed(middle)
        apart = [abs(pose.scale / pair.moving_from_fixed.scale - 1) for pose in poses]
        moved = [np.linalg.norm(pose(middle) - there) / max(pair.moving.grid.extent) for pose in poses]
        assert all(max(both) > 0.03 for both in zip(apart, moved, strict=True))
        return
    for pose in poses:
        # Poses are refined a little after they were found.
        assert 1.25 / 1.08 < pose.scale < 1.35 * 1.08
        assert abs((turned(pose) - angle + 180) % 360 - 180) < 15 + 10


@pytest.mark.parametrize(("recipe", "dimension"), SEARCHES)
def test_a_search_stays_near_a_start_that_the_truth_is_far_from(recipe: str, dimension: Dimension) -> None:
    pair = made_for(recipe, dimension)
    grid, middle = pair.fixed.grid, pair.places.mean(axis=0)
    away = np.zeros(len(middle))
    away[-1] = 0.5 * grid.extent[-1]
    start = pair.moving_from_fixed @ Affine.of(np.eye(len(away)), away)
    size = pair.moving_from_fixed.scale
    poses = searched(load(recipe), pair, Limits((size / 1.05, size * 1.05)), start)
    far = [np.linalg.norm(pose(middle[None]) - pair.moving_from_fixed(middle[None])) / size for pose in poses]
    assert all(one > 0.1 * grid.extent[-1] for one in far)


@pytest.mark.parametrize("ndim", [2, 3])
def test_clouds_keep_to_a_start_and_to_their_handedness(ndim: int) -> None:
    pair = organelles(ndim)
    half = np.eye(ndim)
    half[-2:, -2:] *= -1
    middle = pair.fixed.grid.centre
    around_z = Affine.of(half, middle - half @ middle)
    right = register(pair.fixed, pair.moving, "point-clouds", start=pair.moving_from_fixed)
    wrong = register(pair.fixed, pair.moving, "point-clouds", start=pair.moving_from_fixed @ around_z)
    assert pair.error(right) < 2 * max(pair.moving.grid.spacing) / 3
    assert pair.error(wrong) > 0.1 * max(pair.fixed.grid.extent)
    assert not wrong
    mirrored = Image.from_array(np.asarray(pair.moving.levels[0])[..., ::-1].copy(), pair.moving.grid.spacing)
    kept = register(pair.fixed, mirrored, "point-clouds", mirror=False)
    assert not kept.poses[0].linear.mirrored
    assert not kept
