"""Every field of every method's settings is read by the method while it works; one that nothing reads is found."""

import sys
from typing import Any, cast

import numpy as np
import pytest

from correlight.beads.method import BeadCandidate, BeadFitSettings, BeadRefinement
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.methods.protocols import MethodSettings
from correlight.methods.registry import METHOD_KINDS, MethodKind, method, names
from correlight.methods.task import Candidate, ImagePair, Task
from correlight.recipes import Part, Recipe, load
from correlight.registration.register import register
from correlight.search.limits import Limits
from tests.registration.by_recipe import pixels_per_pixel
from tests.small_models import cell_and_negative, negative
from tests.small_pairs import Couple, cell_with_beads, organelles, stacks

pytestmark = pytest.mark.usefixtures("beads_found_once")
Read = dict[tuple[MethodKind, str], set[str]]
# Deciding what is served, and validation, is not yet work: a field that only these read would change no result.
_IDLE = {"serves", "_without_effect"}


def recording(settings: MethodSettings, fields: set[str]) -> MethodSettings:
    """The same settings, which note the fields that are read of them, but for what `_IDLE` and pydantic read."""
    kind = type(settings)

    class Recording(kind):  # type: ignore[valid-type, misc]
        def __getattribute__(self, name: str) -> Any:
            frame = sys._getframe(1)
            idle = frame.f_code.co_name in _IDLE or frame.f_globals.get("__name__", "").startswith("pydantic")
            if name in kind.model_fields and not idle:
                fields.add(name)
            return super().__getattribute__(name)

    return cast(MethodSettings, Recording.model_construct(**dict(settings)))


def recorded(recipe: Recipe) -> tuple[Recipe, Read]:
    """The recipe with settings that note what is read of them."""
    read: Read = {(kind, part.method): set() for kind, part in recipe.parts.items()}
    parts = {
        kind: Part(part.method, recording(part.settings, read[kind, part.method]))
        for kind, part in recipe.parts.items()
    }
    # The recipe itself asks what its methods serve, for which it makes them.
    made = Recipe(recipe.name, recipe.summary, parts)
    for fields in read.values():
        fields.clear()
    return made, read


def unread(settings: type[MethodSettings], fields: set[str]) -> set[str]:
    return set(settings.model_fields) - fields


def runs() -> list[tuple[str, Couple, dict[str, Any]]]:
    """Small registrations that together use every method in every way that a setting counts for."""
    flat, turned, straight, clouds = cell_with_beads(), stacks(), stacks(0.0), organelles(2)
    near, about_z = (
        {
            "rotation": (angle - 0.5, angle + 0.5),
            "scale": (0.996 * pixels_per_pixel(pair), 1.004 * pixels_per_pixel(pair)),
            "mirror": False,
        }
        for pair, angle in ((flat, 130.0), (turned, 40.0))
    )
    return [
        ("classical", turned, about_z),
        ("classical", flat, near),
        ("predicted-stain", cell_and_negative(), {**near, "predictor": negative()}),
        # The kinds of transform are chosen from in the runs above.
        ("mutual-information", turned, {**about_z, "model": "rigid"}),
        ("mutual-information", flat, {**near, "model": "rigid"}),
        ("log-mi-3d", straight, {"model": "rigid"}),
        ("fiducials", flat, near),
        ("image-then-fiducials", flat, near),
        ("point-clouds", clouds, {"start": clouds.moving_from_fixed}),
    ]


@pytest.fixture(scope="module")
def consumed() -> Read:
    """What is read of the settings of every method, over all runs that may read one more of them."""
    total: Read = {}
    for name, couple, options in runs():
        predictor = options.pop("predictor", None)
        recipe, read = recorded(load(name) if predictor is None else load(name).with_predictor(predictor))
        if not any(unread(method(*key).Settings, total.get(key, set())) for key in read):
            continue
        assert register(couple.fixed, couple.moving, recipe, workers=1, **options).poses
        for key, fields in read.items():
            total.setdefault(key, set()).update(fields)
    return total


METHODS = [(kind, name) for kind in METHOD_KINDS for name in names(kind) if method(kind, name).Settings.model_fields]


def test_most_methods_have_something_to_set() -> None:
    assert len(METHODS) >= 8


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_every_field_is_read(kind: MethodKind, name: str, consumed: Read) -> None:
    assert unread(method(kind, name).Settings, consumed[kind, name]) == set()


class ColouredSettings(BeadFitSettings):
    """A setting more, that nothing reads."""

    colour: str = "red"


class ColouredRefinement(BeadRefinement):
    """A method whose author forgot a setting."""

    Settings = ColouredSettings


def test_a_field_that_nothing_reads_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fields: set[str] = set()
    settings = recording(ColouredSettings(models=("similarity",)), fields)
    flat = cell_with_beads()
    task = Task(ImagePair(flat.fixed, flat.moving), Limits((0.9, 1.1), rotation=(120.0, 140.0), mirror=(False,)))
    candidate = load("fiducials").make("search").find(task)
    assert isinstance(candidate, BeadCandidate)
    ColouredRefinement(settings).fit(task, candidate)  # type: ignore[arg-type]
    assert unread(ColouredSettings, fields) == {"colour"}


# Fields of searches that `register` reads and hands on as limits, with values that must change what is searched.
HANDED_ON: dict[str, dict[str, Any]] = {
    "classical": {"scale": (0.01, 50.0), "calibrated_tolerance": 0.3, "least_overlap": 0.77},
    "mutual-information": {"scale": (0.01, 50.0), "calibrated_tolerance": 0.3, "least_overlap": 0.77},
    "fiducials": {"scale": (0.01, 50.0), "calibrated_tolerance": 0.3, "least_overlap": 0.77},
    "log-mi-3d": {"least_overlap": 0.77},
}


@pytest.mark.parametrize(("recipe", "field"), [(name, field) for name, values in HANDED_ON.items() for field in values])
def test_what_is_handed_on_changes_the_limits(recipe: str, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of both readings of the files; the scale counts where a pixel size is unknown."""
    heard: list[Limits] = []

    def find(self: object, task: Task) -> Candidate:
        heard.append(task.limits)
        return Candidate((0, 0), ())

    shape = (1, 9, 40, 40) if recipe == "log-mi-3d" else (40, 40)
    pixels = np.random.default_rng(0).random(shape).astype(np.float32)
    spacing = None if field == "scale" else (0.1,) * (3 if recipe == "log-mi-3d" else 2)
    image, plain = Image.from_array(pixels, spacing), load(recipe)
    monkeypatch.setattr(method("search", plain.parts["search"].method), "find", find)
    for one in (plain, plain.with_settings("search", **{field: HANDED_ON[recipe][field]})):
        assert not register(image, image, one)
    before, after = heard[: len(heard) // 2], heard[len(heard) // 2 :]
    told = "least_overlap" if field == "least_overlap" else "scale"
    assert getattr(before[0], told) != getattr(after[0], told)
    other = "scale" if told == "least_overlap" else "least_overlap"
    assert getattr(before[0], other) == getattr(after[0], other)


@pytest.mark.parametrize(("recipe", "ndim"), [("classical", 2), ("fiducials", 2), ("log-mi-3d", 3)])
def test_the_least_overlap_is_kept(recipe: str, ndim: int) -> None:
    """Two fields are not laid where they belong if they share less there than is asked for."""
    couple = cut(cell_with_beads()) if ndim == 2 else stacks(0.0)
    made = load(recipe)
    methods = {kind: made.make(kind) for kind in ("appearance", "search") if kind in made.parts}
    appearance = methods["appearance"].appearance if "appearance" in methods else None
    rotation = (127.0, 133.0) if ndim == 2 else (-20.0, 20.0)
    found = {}
    for least in (0.2, 0.99):
        limits = Limits((0.95, 1.05), rotation, (False,), least)
        task = Task(ImagePair(couple.fixed, couple.moving, appearance=appearance), limits)
        found[least] = made.make("search").find(task).poses
    middle = couple.places.mean(axis=0)[None]

    def off(pose: Any) -> float:
        there = pose.moving_from_fixed(middle) - couple.moving_from_fixed(middle)
        return float(np.linalg.norm(there)) / max(couple.fixed.grid.extent)

    assert off(found[0.2][0]) < 0.05
    assert found[0.2][0].overlap < 0.98
    assert all(off(pose) > 0.05 for pose in found[0.99])


def cut(couple: Couple) -> Couple:
    """The moving image without a third along its last axis."""
    pixels = np.asarray(couple.moving.levels[0])
    pixels = pixels[..., : 2 * pixels.shape[-1] // 3]
    grid = Grid.of(pixels.shape[1:], couple.moving.grid.spacing, unit="micrometre")
    moving = Image((pixels,), grid, couple.moving.channels)
    half = np.asarray(couple.fixed.levels[0])[..., : 2 * couple.fixed.grid.shape[-1] // 3]
    fixed = Image((half,), Grid.of(half.shape[1:], couple.fixed.grid.spacing, unit="micrometre"), couple.fixed.channels)
    return Couple(fixed, moving, couple.moving_from_fixed, couple.places)
