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
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.methods.protocols import DIMENSIONS, OPTIONS, Dimension
from correlight.methods.task import Fit, ImagePair
from correlight.point_clouds.method import CloudTransform
from correlight.recipes import load, names
from correlight.registration.finish import finish as known
from correlight.registration.options import Methods, Options, check, dimension_of
from correlight.registration.register import register
from correlight.registration.result import Result
from correlight.transforms import Affine
from tests.registration.by_recipe import (
    KINDS_OF_TRANSFORM,
    SERVED,
    close_around,
    made_for,
    pixels_per_pixel,
    rotation_of,
    task_of,
)
from tests.small_models import PREDICTING
from tests.small_pairs import Couple

pytestmark = pytest.mark.usefixtures("beads_found_once")
FLAT = Image.from_array(np.random.default_rng(0).random((40, 50)).astype(np.float32), 0.1)
STACK = Image.from_array(np.random.default_rng(1).random((1, 12, 40, 50)).astype(np.float32), (0.3, 0.1, 0.1))
IMAGES: dict[Dimension, tuple[Image, Image]] = {
    "2-D": (FLAT, FLAT),
    "3-D": (STACK, STACK),
    "section in stack": (FLAT, STACK),
}
RUNS = [(recipe, dimension) for recipe, served in SERVED.items() for dimension in served]


def asked(dimension: Dimension) -> dict[str, dict[str, Any]]:
    """Every option, alone."""
    ndim = 2 if dimension == "2-D" else 3
    limits = {"rotation": (0.0, 90.0), "scale": (0.9, 1.1), "stretch": (1.0, 1.3)}
    middle = PointTable(("1",), np.full((1, ndim), 5.0), "pixel")
    values = {**limits, "mirror": False, "start": Affine.identity(ndim), "pose": 1}
    values["landmarks"] = LandmarkTable(middle, middle)
    alone: dict[str, dict[str, Any]] = {name: {name: values[name]} for name in OPTIONS}
    # They lead a field, which only one model has.
    alone["landmarks"]["model"] = "elastic"
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


def around(pair: Couple, taken: frozenset[str]) -> dict[str, Any]:
    """The limits that a recipe takes, all at once, close around the truth: a narrow search is a quick one."""
    scale, angle = pixels_per_pixel(pair), rotation_of(pair.moving_from_fixed)
    options = {"rotation": (angle - 0.5, angle + 0.5), "scale": (0.996 * scale, 1.004 * scale), "mirror": False}
    return {name: value for name, value in options.items() if name in taken}


# Mean error that is allowed, in micrometres: a third of a pixel of the light image, half a voxel.
ALLOWED = {"2-D": 0.05, "3-D": 0.5, "section in stack": 0.5}
# What a recipe must have made its transform with.
MEASURES = {
    "mutual-information": {"mutual information"},
    "log-mi-3d": {"mutual information"},
    "neural-mi": {"neural mutual information"},
    "dictionaries": {"weighted squares", "mutual information"},
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
    if recipe in PREDICTING:
        options["predictor"] = PREDICTING[recipe]()
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
def test_neural_mi_is_not_mutual_information_under_another_name(dimension: Dimension) -> None:
    """The same pose and model, so that only the measure differs: other transforms, other halves, both right."""
    pair, recipe = made_for("neural-mi", dimension), load("neural-mi")
    other = recipe.with_settings("refinement", measure="mutual information")
    task = task_of(recipe, pair, close_around(pair), model="rigid")
    candidate = Methods.of(recipe).search.find(task)
    neural, plain = (Methods.of(one).refinement.fit(task, candidate) for one in (recipe, other))
    assert isinstance(neural, ImageFit)
    assert isinstance(plain, ImageFit)
    assert (neural.choice.measure, plain.choice.measure) == ("neural mutual information", "mutual information")
    places, pixel = pair.fixed.grid.lattice(5), max(pair.fixed.grid.spacing)

    def apart(one: Any, two: Any) -> float:
        return float(np.linalg.norm(one(places) - two(places), axis=1).mean())

    assert 1e-4 * pixel < apart(neural.transform, plain.transform) < pixel
    for half, same in zip(neural.choice.halves, plain.choice.halves, strict=True):
        assert apart(half, same) > 1e-4 * pixel
