"""Recipes: those that ship are sound, and one that is not is refused with its fault."""

import dataclasses
from importlib import resources
from pathlib import Path

import pytest
from pydantic import ValidationError

from correlight.errors import UsageError
from correlight.recipes import load, names

SEARCH = '[search]\nmethod = "features"\n'
REFINEMENT = '[refinement]\nmethod = "images"\nmodels = ["affine"]\n'
EVIDENCE = '[evidence]\nmethod = "images"\n'
APPEARANCE = '[appearance]\nmethod = "edges"\n'
HEAD = 'name = "mine"\nsummary = "s"\n'


def test_the_shipped_recipes_load_and_carry_their_file_name() -> None:
    assert {"auto", "mutual-information"} <= set(names())
    for name in names():
        assert load(name).name == name
        assert load(name).summary


def test_a_recipe_is_at_most_25_lines() -> None:
    for name in names():
        text = resources.files("correlight.recipes").joinpath(f"{name}.toml").read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 25


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load("auto").parts["search"].settings.least_overlap = 0.1  # type: ignore[attr-defined]
    with pytest.raises(dataclasses.FrozenInstanceError):
        load("auto").name = "other"  # type: ignore[misc]


def test_a_recipe_with_other_settings_is_another_recipe() -> None:
    auto = load("auto")
    wider = auto.with_settings("search", least_overlap=0.5)
    assert wider.parts["search"].settings.model_dump() == {
        **auto.parts["search"].settings.model_dump(),
        "least_overlap": 0.5,
    }
    assert wider.parts["refinement"] == auto.parts["refinement"]
    assert auto.parts["search"].settings.model_dump()["least_overlap"] == 0.35
    with pytest.raises(UsageError, match=r"auto does not fit at 'search.colour'"):
        auto.with_settings("search", colour=1)
    with pytest.raises(UsageError, match=r"auto does not fit at 'search.least_overlap'"):
        auto.with_settings("search", least_overlap=2.0)


def test_a_file_is_a_recipe_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(HEAD + APPEARANCE + SEARCH + "scale = [0.9, 1.1]\n" + REFINEMENT + EVIDENCE)
    recipe = load(file)
    assert recipe.parts["search"].settings.model_dump()["scale"] == (0.9, 1.1)
    assert recipe.parts["refinement"].settings.model_dump()["models"] == ("affine",)
    assert recipe.make("search").scale == (0.9, 1.1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "not valid TOML"),
        (HEAD, r"names no search method; add the table \[search\]"),
        (HEAD + APPEARANCE + SEARCH + REFINEMENT, r"names no evidence method; add the table \[evidence\]"),
        ('name = "x"\n' + SEARCH, "'summary': a text was expected"),
        (HEAD + "colour = 1\n" + APPEARANCE + SEARCH + REFINEMENT + EVIDENCE, "at 'colour'"),
        (HEAD + 'search = "features"\n' + REFINEMENT + EVIDENCE, "at 'search': a table that names its method"),
        (HEAD + "[search]\nscale = [1.0, 2.0]\n" + REFINEMENT + EVIDENCE, "at 'search': a table that names its method"),
        (HEAD + APPEARANCE + '[search]\nmethod = "magic"\n' + REFINEMENT + EVIDENCE, "at 'search.method': .*magic"),
        (HEAD + APPEARANCE + SEARCH + "colour = 1\n" + REFINEMENT + EVIDENCE, "at 'search.colour'"),
        (HEAD + APPEARANCE + SEARCH + REFINEMENT + 'measure = "sight"\n' + EVIDENCE, "at 'refinement.measure'"),
        (HEAD + APPEARANCE + SEARCH + '[refinement]\nmethod = "images"\n' + EVIDENCE, "at 'refinement.models'"),
        (HEAD + SEARCH + REFINEMENT + EVIDENCE, r"compares images and names no appearance; add \[appearance\]"),
        (
            HEAD + APPEARANCE + '[search]\nmethod = "beads"\n[refinement]\nmethod = "beads"\nmodels = ["rigid"]\n'
            '[evidence]\nmethod = "beads"\n',
            "an appearance that none of its methods uses",
        ),
        (
            HEAD + APPEARANCE + SEARCH + '[refinement]\nmethod = "beads"\nmodels = ["rigid"]\n[evidence]\n'
            'method = "beads"\n',
            "refinement method 'beads' cannot go on from the search method 'features'",
        ),
        (
            HEAD + APPEARANCE + SEARCH + REFINEMENT + '[evidence]\nmethod = "point clouds"\n',
            "evidence method 'point clouds' cannot go on from the refinement method 'images'",
        ),
        (
            HEAD + '[search]\nmethod = "patches"\n' + REFINEMENT + 'measure = "features"\n' + EVIDENCE,
            "serve no images together",
        ),
        (
            HEAD + APPEARANCE + SEARCH + 'orientations = "all"\nhypotheses = 3\n' + REFINEMENT + EVIDENCE,
            "hypotheses count for flat images, which orientations = 'all' excludes",
        ),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said_in_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        load(file)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_an_unknown_recipe_or_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nosuch.*auto"):
        load("nosuch")
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "missing.toml")
